"""The Script class that the WebUI sees, and what is registered with the WebUI once."""

from __future__ import annotations

import gradio as gr

from lib_lcm.options import SCRIPT_TITLE
from lib_lcm.webui import activation, api, registry, settings, xyz_grid
from lib_lcm.webui.generation import Generation
from lib_lcm.webui.ui import Accordion
from modules import script_callbacks, scripts

DENOISING_STRENGTH_ID = "img2img_denoising_strength"


class LcmScript(scripts.Script):
    """Always-on script "LCM": its arguments are the values of `lib_lcm.options.OPTIONS`, in order, or one object."""

    def __init__(self):
        super().__init__()
        self._generation = Generation()
        self._strength: gr.components.Component | None = None

    def title(self):
        return SCRIPT_TITLE

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def after_component(self, component, **kwargs):
        if kwargs.get("elem_id") == DENOISING_STRENGTH_ID and self.is_img2img:
            self._strength = component

    def ui(self, is_img2img):
        xyz_grid.register()  # all scripts are loaded now, and the selectable ones have not made their interface yet
        accordion = Accordion(self.elem_id, self._strength if is_img2img else None)
        self.infotext_fields = accordion.infotext_fields
        self.paste_field_names = accordion.paste_field_names
        return accordion.controls

    def process(self, p, *args):
        self._generation.process(p, args)

    def postprocess(self, p, processed, *args):
        self._generation.postprocess(p)


def install() -> None:
    """Registers the sampler, the settings and the API. Called each time the script file is loaded, also after "Reload UI"."""
    registry.register()
    activation.install()
    script_callbacks.on_ui_settings(settings.register)
    script_callbacks.on_app_started(api.add_routes)
    script_callbacks.on_script_unloaded(registry.unregister)
    script_callbacks.on_script_unloaded(activation.uninstall)
