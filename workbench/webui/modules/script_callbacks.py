"""Callbacks that extensions register outside a Script. An exception in one is reported and the others go
on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modules import errors
from workbench.webui import profiles


class ImageSaveParams:
    """An image about to be saved, or just saved: `pnginfo["parameters"]` is the infotext."""

    def __init__(self, image, p, filename, pnginfo):
        self.image = image
        self.p = p
        self.filename = filename
        self.pnginfo = pnginfo


class ExtraNoiseParams:
    def __init__(self, noise, x, xi):
        self.noise = noise
        self.x = x
        self.xi = xi


class CFGDenoiserParams:
    """Before the UNet runs: x [rows, 4, h, w] with conds first, sigma [rows], text_cond and text_uncond [n,
    tokens, width].
    """

    def __init__(
        self, x, image_cond, sigma, sampling_step, total_sampling_steps, text_cond, text_uncond, denoiser=None
    ):
        self.x = x
        self.image_cond = image_cond
        self.sigma = sigma
        self.sampling_step = sampling_step
        self.total_sampling_steps = total_sampling_steps
        self.text_cond = text_cond
        self.text_uncond = text_uncond
        if profiles.active.denoiser_in_callbacks:
            self.denoiser = denoiser


class CFGDenoisedParams:
    """After the UNet ran, before guidance: x as in CFGDenoiserParams, denoised."""

    def __init__(self, x, sampling_step, total_sampling_steps, inner_model):
        self.x = x
        self.sampling_step = sampling_step
        self.total_sampling_steps = total_sampling_steps
        self.inner_model = inner_model


class AfterCFGCallbackParams:
    """After guidance: x [images, 4, h, w]; what a callback leaves there is used."""

    def __init__(self, x, sampling_step, total_sampling_steps):
        self.x = x
        self.sampling_step = sampling_step
        self.total_sampling_steps = total_sampling_steps


class UiTrainTabParams:
    def __init__(self, txt2img_preview_params):
        self.txt2img_preview_params = txt2img_preview_params


class ImageGridLoopParams:
    def __init__(self, imgs, cols, rows):
        self.imgs = imgs
        self.cols = cols
        self.rows = rows


@dataclass
class ScriptCallback:
    script: str
    callback: Callable
    name: str = "unnamed"


_CATEGORIES = (
    "app_started", "model_loaded", "ui_tabs", "ui_train_tabs", "ui_settings", "before_image_saved",
    "image_saved", "extra_noise",
    "cfg_denoiser", "cfg_denoised", "cfg_after_cfg", "before_component", "after_component", "image_grid",
    "infotext_pasted",
    "script_unloaded", "before_ui", "on_reload", "list_optimizers", "list_unets",
)  # fmt: skip
callback_map: dict[str, list[ScriptCallback]] = {f"callbacks_{category}": [] for category in _CATEGORIES}


def add_callback(callbacks, fun, *, name=None, category="unknown", filename=None):
    """Append a callback, noting the file that registers it."""
    if filename is None:
        filename = next(
            (frame.filename for frame in inspect.stack(context=0) if frame.filename != __file__),
            "unknown file",
        )
    callbacks.append(ScriptCallback(filename, fun, name or f"{category}/{len(callbacks)}"))


def clear_callbacks():
    for callbacks in callback_map.values():
        callbacks.clear()


def _call(category: str, *args: Any, backwards: bool = False, **kwargs: Any) -> list:
    """Call all callbacks of a category; returns what they returned."""
    results = []
    callbacks = list(callback_map[f"callbacks_{category}"])
    for entry in reversed(callbacks) if backwards else callbacks:
        try:
            results.append(entry.callback(*args, **kwargs))
        except Exception:
            errors.report(f"Error executing callback {category} for {entry.script}", exc_info=True)
    return results


def _register(category: str, callback: Callable, name: str | None) -> None:
    add_callback(callback_map[f"callbacks_{category}"], callback, name=name, category=category)


def remove_current_script_callbacks():
    """Forget all callbacks of the file that calls this."""
    caller = next(
        (frame.filename for frame in inspect.stack(context=0) if frame.filename != __file__), "unknown file"
    )
    for callbacks in callback_map.values():
        callbacks[:] = [entry for entry in callbacks if entry.script != caller]


def remove_callbacks_for_function(callback_func):
    for callbacks in callback_map.values():
        callbacks[:] = [entry for entry in callbacks if entry.callback != callback_func]


def app_started_callback(demo, app):
    _call("app_started", demo, app)


def app_reload_callback():
    _call("on_reload")


def model_loaded_callback(sd_model):
    _call("model_loaded", sd_model)


def ui_tabs_callback():
    """All tabs that extensions add, each (blocks, title, id)."""
    return [tab for tabs in _call("ui_tabs") for tab in tabs or []]


def ui_settings_callback():
    _call("ui_settings")


def before_image_saved_callback(params: ImageSaveParams):
    _call("before_image_saved", params)


def image_saved_callback(params: ImageSaveParams):
    _call("image_saved", params)


def extra_noise_callback(params: ExtraNoiseParams):
    _call("extra_noise", params)


def cfg_denoiser_callback(params: CFGDenoiserParams):
    _call("cfg_denoiser", params)


def cfg_denoised_callback(params: CFGDenoisedParams):
    _call("cfg_denoised", params)


def cfg_after_cfg_callback(params: AfterCFGCallbackParams):
    _call("cfg_after_cfg", params)


def before_component_callback(component, **kwargs):
    _call("before_component", component, **kwargs)


def after_component_callback(component, **kwargs):
    _call("after_component", component, **kwargs)


def image_grid_callback(params: ImageGridLoopParams):
    _call("image_grid", params)


def infotext_pasted_callback(infotext, params):
    _call("infotext_pasted", infotext, params)


def script_unloaded_callback():
    _call("script_unloaded", backwards=True)


def before_ui_callback():
    _call("before_ui", backwards=True)


def list_unets_callback():
    options: list = []
    _call("list_unets", options)
    return options


def on_app_started(callback, *, name=None):
    """callback(demo: gr.Blocks | None, app: FastAPI): the server runs; routes can be added."""
    _register("app_started", callback, name)


def on_before_reload(callback, *, name=None):
    """callback(): the page is about to be rebuilt."""
    _register("on_reload", callback, name)


def on_model_loaded(callback, *, name=None):
    """callback(sd_model): a checkpoint was loaded."""
    _register("model_loaded", callback, name)


def on_ui_tabs(callback, *, name=None):
    """callback() -> list of (gr.Blocks, title, element id)."""
    _register("ui_tabs", callback, name)


def on_ui_train_tabs(callback, *, name=None):
    _register("ui_train_tabs", callback, name)


def on_ui_settings(callback, *, name=None):
    """callback(): the time to add options."""
    _register("ui_settings", callback, name)


def on_before_image_saved(callback, *, name=None):
    _register("before_image_saved", callback, name)


def on_image_saved(callback, *, name=None):
    _register("image_saved", callback, name)


def on_extra_noise(callback, *, name=None):
    _register("extra_noise", callback, name)


def on_cfg_denoiser(callback, *, name=None):
    """callback(CFGDenoiserParams), before each UNet forward."""
    _register("cfg_denoiser", callback, name)


def on_cfg_denoised(callback, *, name=None):
    """callback(CFGDenoisedParams), between the UNet and guidance."""
    _register("cfg_denoised", callback, name)


def on_cfg_after_cfg(callback, *, name=None):
    """callback(AfterCFGCallbackParams), after guidance."""
    _register("cfg_after_cfg", callback, name)


def on_before_component(callback, *, name=None):
    """callback(component, **kwargs), before each gradio component is made."""
    _register("before_component", callback, name)


def on_after_component(callback, *, name=None):
    _register("after_component", callback, name)


def on_image_grid(callback, *, name=None):
    _register("image_grid", callback, name)


def on_infotext_pasted(callback, *, name=None):
    """callback(infotext, params): params may be changed in place."""
    _register("infotext_pasted", callback, name)


def on_script_unloaded(callback, *, name=None):
    """callback(): the scripts are about to be loaded again; undo all patches."""
    _register("script_unloaded", callback, name)


def on_before_ui(callback, *, name=None):
    """callback(): the page is about to be built."""
    _register("before_ui", callback, name)


def on_list_optimizers(callback, *, name=None):
    _register("list_optimizers", callback, name)


def on_list_unets(callback, *, name=None):
    _register("list_unets", callback, name)
