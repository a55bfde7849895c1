"""Presets of Forge Neo: what each kind of model is drawn with, put into the page whenever that is opened."""

from __future__ import annotations

import gradio as gr

from modules.options import OptionInfo

PRESETS = {"sd": (32, 6.0), "xl": (24, 4.5)}
"""Steps and CFG scale."""
CONTROLS = {
    "t2i_step": ("txt2img", "steps"),
    "t2i_hr_step": ("txt2img", "hr_second_pass_steps"),
    "i2i_step": ("img2img", "steps"),
    "t2i_cfg": ("txt2img", "cfg_scale"),
    "t2i_hr_cfg": ("txt2img", "hr_cfg"),
    "i2i_cfg": ("img2img", "cfg_scale"),
}
"""The end of a setting's name -> tab and field of the control that it is put into."""


def options() -> dict[str, OptionInfo]:
    """The settings: which preset is chosen, and what they hold."""
    made = {"forge_preset": OptionInfo("sd")}
    for preset, (steps, cfg) in PRESETS.items():
        for name in CONTROLS:
            made[f"{preset}_{name}"] = OptionInfo(steps if name.endswith("step") else cfg)
    return made


def connect(demo: gr.Blocks) -> None:
    """Once the tabs exist, and before defaults are saved: those of these controls are not."""
    from modules import infotext_utils
    from modules.shared import opts

    def put():
        return [gr.update(value=getattr(opts, f"{opts.forge_preset}_{name}")) for name in CONTROLS]

    controls = []
    for tab, field in CONTROLS.values():
        fields = infotext_utils.paste_fields[tab]["fields"]
        controls += [one.component for one in fields if one.api == field]
    for control in controls:
        control.do_not_save_to_config = True
    demo.load(fn=put, inputs=[], outputs=controls, show_progress=False, queue=False)
