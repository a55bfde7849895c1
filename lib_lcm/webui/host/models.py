"""The loaded model: which it is, its family, and what its kind of host does with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lib_lcm.checkpoints.guidance_input import read_projection
from lib_lcm.families import SD3, SDXL, SSD1B, UNKNOWN, Family, of_config, of_width
from lib_lcm.webui.host import server
from modules import shared


def loaded():
    """The loaded model, or None where none is: asking must not start a load, which can take a minute."""
    from modules import sd_models

    data = getattr(sd_models, "model_data", None)
    model = getattr(data, "sd_model", None) if data is not None else None
    # a placeholder before the first load [forge]
    return model if model is not None and _unet(model) is not None else None


def in_use():
    """The model of the generation that is going on."""
    return shared.sd_model


def selected():
    """The loaded model where it is the selected checkpoint, which the next generation will use; else None.
    See `is_selected`.
    """
    model = loaded()
    return model if model is not None and is_selected(model) else None


def is_selected(model, override: str | None = None) -> bool:
    """Whether a loaded model is the selected checkpoint, which may be loaded when a generation
    starts [forge]; a refiner stays after one.

    `override` is the checkpoint that a request's `override_settings` ask for in its place.
    """
    selected = _selected_checkpoint(override)
    loaded = getattr(model, "sd_checkpoint_info", None)
    return selected is None or loaded is None or selected.filename == loaded.filename


def selected_name(override: str | None = None) -> str | None:
    """The name of the checkpoint that a generation started now would use; see `is_selected`."""
    return getattr(_selected_checkpoint(override), "model_name", None)


def selected_file() -> Path | None:
    """The file of the selected checkpoint, of the loaded one where none is selected; None without either."""
    info = _selected_checkpoint(None) or getattr(loaded(), "sd_checkpoint_info", None)
    return None if info is None else Path(info.filename)


def checkpoint_of(overrides: Iterable[str]) -> str | None:
    """The checkpoint that a tab's "Override settings" name, which a pasted picture brings, as in "Model hash:
    9958cbd195".
    """
    option = shared.opts.data_labels.get("sd_model_checkpoint")
    label = getattr(option, "infotext", None)  # "Model hash" [a1111 reforge], "Model" [forge]
    parts = (str(override).partition(":") for override in overrides)
    return next((value.strip() for name, _, value in parts if name == label), None)


def _selected_checkpoint(override: str | None):
    from modules import sd_models

    # an override counts by one of a checkpoint's own names alone, and not at all by any other
    overriding = sd_models.checkpoint_aliases.get(override)
    name = server.setting("sd_model_checkpoint", None)
    if not overriding and not name:  # a preset that names none leaves this one to be loaded [neo]
        loading = getattr(getattr(sd_models, "model_data", None), "forge_loading_parameters", {})
        overriding = loading.get("checkpoint_info")
    return overriding or sd_models.get_closet_checkpoint_match(name or "")


def _unet(model):
    """The UNet module of a model, or None where it has none (a transformer, a placeholder)."""
    forge = getattr(model, "forge_objects", None)
    if forge is not None:
        return getattr(forge.unet.model, "diffusion_model", None)
    return getattr(getattr(model, "model", None), "diffusion_model", None)


def family_of(model) -> Family:
    """The family of a loaded model, from its architecture, never from its file's name."""
    forge = getattr(model, "forge_objects", None)
    config = getattr(model, "model_config", None) or (
        getattr(forge.unet.model, "model_config", None) if forge is not None else None
    )
    if config is not None:
        return of_config(type(config).__name__)
    if getattr(model, "is_sd3", False):
        return SD3
    unet = _unet(model)
    family = of_width(_cross_attention_width(unet)) or UNKNOWN
    if family is SDXL and _is_ssd1b(model, unet):
        return SSD1B
    return family


def _cross_attention_width(unet) -> int | None:
    for name, module in unet.named_modules() if unet is not None else ():
        if name.endswith("attn2.to_k"):
            return module.weight.shape[1]
    return None


def _is_ssd1b(model, unet) -> bool:
    if hasattr(model, "is_ssd"):
        return bool(model.is_ssd)
    # the model does not say so [a1111-1.6]
    middle = getattr(unet, "middle_block", None)  # SSD-1B is SDXL without attention in the middle
    return middle is not None and not any(name.endswith("attn2.to_k") for name, _ in middle.named_modules())


def computes_cond_only_at_cfg_one(model) -> bool:
    """Whether the host leaves out the unconditional half by itself at CFG 1."""
    return _is_of_forge(model)  # [forge reforge]


def own_lcm_is_on_grid(model) -> bool:
    """Whether the host's own LCM sampler tells the UNet timesteps of the distillation grid alone, not any."""
    return not _is_of_forge(model)  # [a1111]


def _is_of_forge(model) -> bool:
    return hasattr(model, "forge_objects")


def is_image_editing(model) -> bool:
    """Whether the checkpoint is an image-editing one (InstructPix2Pix), whose guidance has three terms."""
    return getattr(model, "cond_stage_key", None) == "edit"


_CODE_OF_HOST = {"ldm", "sgm", "torch", "modules", "networks"}


def is_unet_hooked(model) -> bool:
    """Whether another extension's code stands in the place of the UNet's `forward`, or of its group
    norms'.
    """
    unet = _unet(model)
    # an extension that was there and went may have left the class's own method behind as the object's
    if unet is None or getattr(unet.forward, "__func__", None) is not type(unet).forward:
        return True
    norms = {type(module) for module in unet.modules() if isinstance(module, torch.nn.GroupNorm)}
    return any(kind.forward.__module__.partition(".")[0] not in _CODE_OF_HOST for kind in norms)


_projections: dict[str, tuple[tuple[int, int], torch.Tensor | None]] = {}
"""Checkpoint file -> size and time of change, and what was found in it."""


def guidance_projection(model) -> torch.Tensor | None:
    """The projection of the guidance scale, float32 [channels, 256], where a loaded model is a full LCM made
    by `install.py --convert`; else None. The file is looked into once.
    """
    path = getattr(getattr(model, "sd_checkpoint_info", None), "filename", None)
    if path is None:
        return None
    known = _projections.get(path)
    try:
        status = os.stat(path)
    except OSError:  # moved away since it was loaded
        return None if known is None else known[1]
    state = (status.st_size, status.st_mtime_ns)
    if known is None or known[0] != state:
        known = _projections[path] = state, read_projection(Path(path))
    return known[1]


@contextmanager
def adding_to_timestep(model, offset: torch.Tensor | None) -> Iterator[None]:
    """While inside, `offset` [channels] is added to the sinusoid of each timestep before the UNet's time
    embedding; None changes nothing.

    It is what diffusers does with the guidance scale. The same could be had by a bias in the first layer, but
    that would be a change of weights, which hosts store in other precisions, move and patch with LoRAs.
    """
    if offset is None:
        yield
        return

    def add(layer, given):
        sinusoid = given[0]
        return ((sinusoid.float() + offset.to(sinusoid.device)).to(sinusoid.dtype), *given[1:])

    hook = _unet(model).time_embed[0].register_forward_pre_hook(add)
    try:
        yield
    finally:
        hook.remove()


def checkpoint_name(model) -> str | None:
    """The name of a loaded model's checkpoint, as the WebUI lists it, without folder and ending."""
    return getattr(getattr(model, "sd_checkpoint_info", None), "model_name", None)


def checkpoint_sha256(model) -> str | None:
    """The SHA-256 of a loaded model's checkpoint file; None where the WebUI does not compute it
    (--no-hashing).
    """
    return getattr(getattr(model, "sd_checkpoint_info", None), "sha256", None)


def distiller() -> str:
    """The module that is the command which distils this host's checkpoints."""
    from modules import sd_models

    # those of our own host have a layout of their own
    return getattr(sd_models, "lcm_distiller", "lib_lcm.distill")


@contextmanager
def off_device() -> Iterator[str]:
    """While inside, the memory of the device, whose name this gives, is free of the host's models, which do
    not change by that. For who has the WebUI's queue.
    """
    from modules import devices, sd_models

    is_cpu = devices.device.type == "cpu"
    names = ("backend.memory_management", "ldm_patched.modules.model_management")  # [forge neo], [reforge]
    memory = next((sys.modules[name] for name in names if name in sys.modules), None)
    if memory is not None:  # it brings back by itself what is needed next
        if not is_cpu:
            memory.unload_all_models()
        yield str(devices.device)
        return
    loaded_models = [] if is_cpu else sd_models.model_data.loaded_sd_models
    try:
        for model in loaded_models:
            sd_models.send_model_to_cpu(model)
        yield str(devices.device)
    finally:
        if loaded_models and sd_models.model_data.sd_model is not None:  # the others stay until they are used
            sd_models.send_model_to_device(sd_models.model_data.sd_model)
