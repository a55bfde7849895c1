"""Settings -> LCM. Reading one tolerates that it is absent (a WebUI that has not built its Settings page) or
nonsense (a config.json that was edited by hand): the default counts then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

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
from lib_lcm.text import Text
from lib_lcm.webui.host import server

SECTION = ("lcm", "LCM")
WARN, SWITCH_ON, NOTHING = Text("warn"), Text("switch LCM on"), Text("nothing")
TYPED_TAG_CHOICES = (WARN, SWITCH_ON, NOTHING)
STEPS_RANGE = (1, 50)
CFG_RANGE = (1.0, 10.0)
DEFAULT_DEBOUNCE, DEBOUNCE_RANGE = 0.3, (0.1, 3.0)
DEFAULT_PATIENCE, PATIENCE_RANGE = 4.0, (0.0, 60.0)
FAMILIES = tuple(lora.family for lora in OFFICIAL_LORAS)
DEFAULTS = Defaults()


@dataclass(frozen=True)
class Setting:
    """One row of Settings -> LCM. The WebUI puts `info` in parentheses beside the label."""

    name: str
    default: Any
    label: str
    info: str
    component: tuple[Any, dict[str, Any] | None] = (None, None)


def _slider(minimum: float, maximum: float, step: float):
    return gr.Slider, {"minimum": minimum, "maximum": maximum, "step": step}


def _radio(choices):
    return gr.Radio, {"choices": list(choices)}


_STEPS, _CFG = _slider(*STEPS_RANGE, 1), _slider(*CFG_RANGE, 0.1)

BOUNDS = (
    Setting(
        "lcm_min_steps",
        DEFAULT_LIMITS.min_steps,
        "Fewest steps of an LCM generation",
        "a request's own steps below it are raised",
        _STEPS,
    ),
    Setting(
        "lcm_max_steps",
        DEFAULT_LIMITS.max_steps,
        "Most steps of an LCM generation",
        "a request's own steps above it are lowered; LCM gains nothing beyond 8",
        _STEPS,
    ),
    Setting(
        "lcm_min_cfg",
        DEFAULT_LIMITS.min_cfg,
        "Lowest CFG scale of an LCM generation",
        "a request's own CFG scale below it is raised; 1 is the fastest",
        _CFG,
    ),
    Setting(
        "lcm_max_cfg",
        DEFAULT_LIMITS.max_cfg,
        "Highest CFG scale of an LCM generation",
        "a request's own CFG scale above it is lowered; above 2 pictures burn",
        _CFG,
    ),
)
OF_FAMILY = (
    Setting(
        "lcm_steps",
        DEFAULTS.steps,
        "Steps for {family} checkpoints",
        "what the accordion starts with when such a checkpoint is loaded, within the bounds above",
        _STEPS,
    ),
    Setting(
        "lcm_cfg",
        DEFAULTS.cfg,
        "CFG scale for {family} checkpoints",
        "what the accordion starts with, within the bounds above",
        _CFG,
    ),
    Setting(
        "lcm_weight",
        DEFAULTS.weight,
        "LoRA weight for {family} checkpoints",
        "what the accordion starts with, and an API request that gives no weight gets",
        _slider(MIN_WEIGHT, MAX_WEIGHT, 0.05),
    ),
)
"""One of each for every family with a published LoRA; each is called `name_FAMILY`."""
OTHERS = (
    Setting(
        "lcm_schedule",
        SCHEDULE_LABELS[TRAILING],
        "Schedule",
        "what the accordion starts with after Reload UI, and an API request that gives no schedule gets",
        _radio(SCHEDULE_LABELS.values()),
    ),
    Setting(
        "lcm_typed_tag",
        WARN,
        "An LCM-LoRA in the prompt while LCM is off",
        "warn: where sampler, steps or CFG scale cannot work with it; switch LCM on: for this picture;"
        " nothing: leave it alone",
        _radio(TYPED_TAG_CHOICES),
    ),
    Setting(
        "lcm_trailing_by_hand",
        False,
        'Use the trailing schedule for the sampler "LCM" picked by hand',
        "with LCM off; without this the WebUI's own LCM sampler runs as it would without the extension",
    ),
    Setting(
        "lcm_live_debounce",
        DEFAULT_DEBOUNCE,
        "Live: seconds without a change before a picture is drawn",
        "less draws while you are still typing",
        _slider(*DEBOUNCE_RANGE, 0.1),
    ),
    Setting(
        "lcm_live_patience",
        DEFAULT_PATIENCE,
        "Live: seconds that a newer change waits for the picture in progress",
        "after them that picture is interrupted; 0 interrupts at once",
        _slider(*PATIENCE_RANGE, 0.5),
    ),
    Setting(
        "lcm_download_mirror",
        "",
        "Download LCM-LoRAs from this copy of the Hugging Face Hub",
        "empty: HF_ENDPOINT of the environment, or huggingface.co; what stands here wins over both and is not"
        " sent your Hugging Face token",
        (gr.Textbox, {"placeholder": "https://hf-mirror.com"}),
    ),
)


def register() -> None:
    """Adds the section to the Settings page."""
    for row in BOUNDS:
        _add(row.name, row.label, row)
    for family in FAMILIES:
        for row in OF_FAMILY:
            _add(f"{row.name}_{family}", row.label.format(family=family.label), row)
    for row in OTHERS:
        _add(row.name, row.label, row)


def _add(name: str, label: str, row: Setting) -> None:
    server.add_setting(SECTION, name, row.default, label, row.info, row.component)


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
    return server.setting("lcm_trailing_by_hand", False) is True


def download_mirror() -> str:
    """The address of a copy of the Hugging Face Hub, "" where none is set. One that is no address is refused
    by the download.
    """
    value = server.setting("lcm_download_mirror", "")
    return value.strip() if isinstance(value, str) else ""


def _number(name: str, default: float, minimum: float, maximum: float) -> float:
    value = server.setting(name, default)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and minimum <= value <= maximum else default  # NaN lies nowhere


def _whole(name: str, default: int, minimum: int, maximum: int) -> int:
    return int(_number(name, default, minimum, maximum))


def _choice(name: str, choices: tuple[str, ...], default: str) -> str:
    value: Any = server.setting(name, default)
    return value if value in choices else default
