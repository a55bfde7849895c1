"""Settings -> LCM."""

from __future__ import annotations

import gradio as gr

from lib_lcm.options import DEFAULT_LIMITS, Limits
from lib_lcm.webui import host
from modules import shared

SECTION = ("lcm", "LCM")
TYPED_TAG_CHOICES = ("warn", "switch LCM on", "nothing")


def register() -> None:
    """Adds the section to the Settings page."""
    info = shared.OptionInfo

    def add(name: str, option) -> None:
        option.section = SECTION
        shared.opts.add_option(name, option)

    steps = {"minimum": 1, "maximum": 50, "step": 1}
    cfg = {"minimum": 1.0, "maximum": 10.0, "step": 0.1}
    add("lcm_min_steps", info(DEFAULT_LIMITS.min_steps, "Fewest steps of an LCM generation", gr.Slider, steps))
    add("lcm_max_steps", info(DEFAULT_LIMITS.max_steps, "Most steps of an LCM generation (requests above are lowered)", gr.Slider, steps))
    add("lcm_min_cfg", info(DEFAULT_LIMITS.min_cfg, "Lowest CFG scale of an LCM generation", gr.Slider, cfg))
    add("lcm_max_cfg", info(DEFAULT_LIMITS.max_cfg, "Highest CFG scale of an LCM generation (above 2 pictures burn)", gr.Slider, cfg))
    add(
        "lcm_typed_tag",
        info(TYPED_TAG_CHOICES[0], "An LCM-LoRA in the prompt while LCM is off", gr.Radio, {"choices": list(TYPED_TAG_CHOICES)}),
    )
    add(
        "lcm_trailing_by_hand",
        info(False, 'Sampler "LCM" picked by hand with LCM off: use the trailing schedule instead of the WebUI\'s own LCM sampler'),
    )


def limits() -> Limits:
    """The bounds of steps and CFG; a pair in the wrong order counts as the defaults."""
    min_steps, max_steps = (int(host.setting(f"lcm_{name}_steps", getattr(DEFAULT_LIMITS, f"{name}_steps"))) for name in ("min", "max"))
    min_cfg, max_cfg = (float(host.setting(f"lcm_{name}_cfg", getattr(DEFAULT_LIMITS, f"{name}_cfg"))) for name in ("min", "max"))
    if min_steps > max_steps:
        min_steps, max_steps = DEFAULT_LIMITS.min_steps, DEFAULT_LIMITS.max_steps
    if min_cfg > max_cfg:
        min_cfg, max_cfg = DEFAULT_LIMITS.min_cfg, DEFAULT_LIMITS.max_cfg
    return Limits(min_steps, max_steps, min_cfg, max_cfg)


def typed_tag() -> str:
    """What an LCM-LoRA tag in the prompt does while LCM is off: one of TYPED_TAG_CHOICES."""
    return host.setting("lcm_typed_tag", TYPED_TAG_CHOICES[0])


def trailing_by_hand() -> bool:
    """Whether the host's own LCM sampler, picked by hand, is to use the trailing schedule too."""
    return bool(host.setting("lcm_trailing_by_hand", False))
