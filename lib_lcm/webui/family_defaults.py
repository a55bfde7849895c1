"""The accordion's sliders start with the defaults of the loaded checkpoint's family, and follow it until they are moved."""

from __future__ import annotations

import gradio as gr

from lib_lcm.families import ModelFamily
from lib_lcm.webui import host, settings

FOLLOWING = ("steps", "cfg", "weight")


def loaded_family() -> ModelFamily:
    """The loaded checkpoint's family; SD 1.5 while none is loaded."""
    model = host.loaded_model()
    return ModelFamily.sd15 if model is None else host.model_family(model)


def follow(trigger, **sliders) -> None:
    """When `trigger` is clicked (javascript/lcm.js does so when the checkpoint has changed), sets the sliders that still have the
    defaults of the family before. `sliders` are those of FOLLOWING, by name.
    """
    family = gr.State(loaded_family().value)
    controls = [sliders[name] for name in FOLLOWING]

    def change(before, *values):
        model = host.selected_model()
        now = None if model is None else host.model_family(model)
        if now is None or now.value == before:
            return [before, *(gr.update() for _ in values)]
        return [now.value, *(_update(*change) for change in zip(values, followed(values, before, now), strict=True))]

    trigger.click(change, inputs=[family, *controls], outputs=[family, *controls], show_progress=False, queue=False)  # as LoraControl


def _update(old, new):
    return gr.update() if new == old else gr.update(value=new)


def followed(values, before: str, now: ModelFamily) -> list:
    """The sliders' values after a change of family: what still is the default of the family before becomes that of the one now."""
    old, new = (settings.defaults(family) for family in (before, now))
    return [getattr(new, name) if value == getattr(old, name) else value for name, value in zip(FOLLOWING, values, strict=True)]
