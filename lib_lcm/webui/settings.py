"""Settings -> LCM. Reading one tolerates that it is absent (a WebUI that has not built its Settings page) or
nonsense (a config.json that was edited by hand): the default counts then.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from lib_lcm import text as texts
from lib_lcm.families import ModelFamily
from lib_lcm.lora.catalog import OFFICIAL_LORAS
from lib_lcm.options import (
    DEFAULT_LIMITS,
    MAX_WEIGHT,
    MIN_WEIGHT,
    SCHEDULE_LABELS,
    TRAILING,
    Defaults,
    Limits,
)
from lib_lcm.webui import host
from modules import shared

SECTION = ("lcm", "LCM")
WARN, SWITCH_ON, NOTHING = texts.TAG_WARN, texts.TAG_SWITCH_ON, texts.TAG_NOTHING
TYPED_TAG_CHOICES = (WARN, SWITCH_ON, NOTHING)
STEPS_RANGE = (1, 50)
CFG_RANGE = (1.0, 10.0)
DEFAULT_DEBOUNCE, DEBOUNCE_RANGE = 0.3, (0.1, 3.0)
DEFAULT_PATIENCE, PATIENCE_RANGE = 4.0, (0.0, 60.0)
FAMILIES = tuple(lora.family for lora in OFFICIAL_LORAS)
DEFAULTS = Defaults()


def register() -> None:
    """Adds the section to the Settings page."""
    steps, cfg = _slider(*STEPS_RANGE, 1), _slider(*CFG_RANGE, 0.1)
    _add("lcm_min_steps", DEFAULT_LIMITS.min_steps, steps)
    _add("lcm_max_steps", DEFAULT_LIMITS.max_steps, steps)
    _add("lcm_min_cfg", DEFAULT_LIMITS.min_cfg, cfg)
    _add("lcm_max_cfg", DEFAULT_LIMITS.max_cfg, cfg)
    for family in FAMILIES:
        _add("lcm_steps", DEFAULTS.steps, steps, family)
        _add("lcm_cfg", DEFAULTS.cfg, cfg, family)
        _add("lcm_weight", DEFAULTS.weight, _slider(MIN_WEIGHT, MAX_WEIGHT, 0.05), family)
    _add("lcm_schedule", SCHEDULE_LABELS[TRAILING], (gr.Radio, {"choices": list(SCHEDULE_LABELS.values())}))
    _add("lcm_typed_tag", WARN, (gr.Radio, {"choices": list(TYPED_TAG_CHOICES)}))
    _add("lcm_trailing_by_hand", False)
    _add("lcm_live_debounce", DEFAULT_DEBOUNCE, _slider(*DEBOUNCE_RANGE, 0.1))
    _add("lcm_live_patience", DEFAULT_PATIENCE, _slider(*PATIENCE_RANGE, 0.5))
    _add("lcm_download_mirror", "", (gr.Textbox, {"placeholder": "https://hf-mirror.com"}))


def _add(name: str, default, component=(None, None), family: ModelFamily | None = None) -> None:
    said = texts.SETTINGS[name] if family is None else texts.FAMILY_SETTINGS[name]
    label = said.label if family is None else said.label.format(family=family.label)
    option = shared.OptionInfo(default, label, *component)
    option.section = SECTION
    shared.opts.add_option(name if family is None else f"{name}_{family}", option.info(said.info))


def _slider(minimum, maximum, step):
    return gr.Slider, {"minimum": minimum, "maximum": maximum, "step": step}


def limits() -> Limits:
    """The bounds of steps and CFG; a pair in the wrong order counts as the defaults."""
    min_steps, max_steps = (
        _whole(f"lcm_{end}_steps", getattr(DEFAULT_LIMITS, f"{end}_steps"), *STEPS_RANGE)
        for end in ("min", "max")
    )
    min_cfg, max_cfg = (
        _number(f"lcm_{end}_cfg", getattr(DEFAULT_LIMITS, f"{end}_cfg"), *CFG_RANGE) for end in ("min", "max")
    )
    if min_steps > max_steps:
        min_steps, max_steps = DEFAULT_LIMITS.min_steps, DEFAULT_LIMITS.max_steps
    if min_cfg > max_cfg:
        min_cfg, max_cfg = DEFAULT_LIMITS.min_cfg, DEFAULT_LIMITS.max_cfg
    return Limits(min_steps, max_steps, min_cfg, max_cfg)


def defaults(family: ModelFamily | None) -> Defaults:
    """What is used for checkpoints of a family where nothing is given; steps and CFG lie within `limits`."""
    bounds = limits()
    schedule = _choice("lcm_schedule", tuple(SCHEDULE_LABELS.values()), SCHEDULE_LABELS[TRAILING])
    steps = _whole(f"lcm_steps_{family}", DEFAULTS.steps, *STEPS_RANGE)
    cfg = _number(f"lcm_cfg_{family}", DEFAULTS.cfg, *CFG_RANGE)
    return Defaults(
        steps=min(max(steps, bounds.min_steps), bounds.max_steps),
        cfg=min(max(cfg, bounds.min_cfg), bounds.max_cfg),
        weight=_number(f"lcm_weight_{family}", DEFAULTS.weight, MIN_WEIGHT, MAX_WEIGHT),
        schedule=schedule.lower(),
    )


def typed_tag() -> str:
    """What an LCM-LoRA tag in the prompt does while LCM is off: one of TYPED_TAG_CHOICES."""
    return _choice("lcm_typed_tag", TYPED_TAG_CHOICES, WARN)


def trailing_by_hand() -> bool:
    """Whether the host's own LCM sampler, picked by hand, is to use the trailing schedule too."""
    return host.setting("lcm_trailing_by_hand", False) is True


def download_mirror() -> str:
    """The address of a copy of the Hugging Face Hub, "" where none is set. One that is no address is refused
    by the download.
    """
    value = host.setting("lcm_download_mirror", "")
    return value.strip() if isinstance(value, str) else ""


def _number(name: str, default: float, minimum: float, maximum: float) -> float:
    value = host.setting(name, default)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and minimum <= value <= maximum else default  # NaN lies nowhere


def _whole(name: str, default: int, minimum: int, maximum: int) -> int:
    return int(_number(name, default, minimum, maximum))


def _choice(name: str, choices: tuple[str, ...], default: str) -> str:
    value: Any = host.setting(name, default)
    return value if value in choices else default
