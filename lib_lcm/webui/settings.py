"""Settings -> LCM. Reading one tolerates that it is absent (a WebUI that has not built its Settings page) or
nonsense (a config.json that was edited by hand): the default counts then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from lib_lcm.families import Family
from lib_lcm.lora.catalog import PUBLISHED
from lib_lcm.methods import LCM, Method
from lib_lcm.options import DEFAULT_LIMITS, OPTIONS, Choice, Limits, Number, Option, limits_of
from lib_lcm.plan.typed_tag import NOTHING, SWITCH_ON, WARN
from lib_lcm.text import Text
from lib_lcm.webui.host import server

SECTION = ("lcm", "LCM")
LCM_LORA, BEST_INSTALLED = Text("LCM-LoRA"), Text("best installed")
TYPED_TAG_CHOICES = (WARN, SWITCH_ON, NOTHING)
DEFAULT_DEBOUNCE, DEFAULT_PATIENCE = 0.3, 4.0  # seconds


@dataclass(frozen=True)
class Setting:
    """One row of the section. The WebUI puts `info` in parentheses beside the label."""

    name: str
    default: Any
    label: str
    info: str
    kind: Number | Choice | bool | str = False

    @property
    def component(self):
        """The gradio component and its arguments, as the WebUI takes them."""
        if isinstance(self.kind, Number):
            return gr.Slider, {"minimum": self.kind.low, "maximum": self.kind.high, "step": self.kind.step}
        if isinstance(self.kind, Choice):
            return gr.Radio, {"choices": list(self.kind.labels.values())}
        return (gr.Textbox, {"placeholder": self.kind}) if isinstance(self.kind, str) else (None, None)

    def value(self) -> Any:
        """What is set; the default for nonsense."""
        value = server.setting(self.name, self.default)
        if isinstance(self.kind, Choice):
            return value if value in self.kind.labels.values() else self.default
        if isinstance(self.kind, Number):
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            is_within = is_number and self.kind.low <= value <= self.kind.high  # NaN lies nowhere
            return type(self.default)(value) if is_within else self.default
        return value.strip() if isinstance(self.kind, str) and isinstance(value, str) else value


STEPS_RANGE, CFG_RANGE = Number(1, 50, 1), Number(1.0, 10.0, 0.1)
"""What bounds and defaults can be set to, whatever the bounds are."""

MAX_STEPS = Setting(
    "lcm_max_steps",
    DEFAULT_LIMITS.max_steps,
    "Most steps of an LCM generation",
    "a request's own steps above it are lowered; LCM gains nothing beyond 8",
    STEPS_RANGE,
)
MAX_CFG = Setting(
    "lcm_max_cfg",
    DEFAULT_LIMITS.max_cfg,
    "Highest CFG scale of an LCM generation",
    "a request's own CFG scale above it is lowered; above 2 pictures burn",
    CFG_RANGE,
)
AUTO_MEANS = Setting(
    "lcm_auto",
    LCM_LORA,
    "What Auto takes as few-step LoRA",
    "the LCM-LoRA that fits the checkpoint, or the best LoRA for few steps that is installed for it",
    Choice({choice: choice for choice in (LCM_LORA, BEST_INSTALLED)}),
)
TYPED_TAG = Setting(
    "lcm_typed_tag",
    WARN,
    "A LoRA for few steps in the prompt while LCM is off",
    "warn: where sampler, steps or CFG scale cannot work with it; switch LCM on: for this picture; nothing:"
    " leave it alone",
    Choice({choice: choice for choice in TYPED_TAG_CHOICES}),
)
TRAILING_BY_HAND = Setting(
    "lcm_trailing_by_hand",
    False,
    'Use the trailing schedule for the sampler "LCM" picked by hand',
    "with LCM off; without this the WebUI's own LCM sampler runs as it would without the extension",
)
LIVE_DEBOUNCE = Setting(
    "lcm_live_debounce",
    DEFAULT_DEBOUNCE,
    "Live: seconds without a change before a picture is drawn",
    "less draws while you are still typing",
    Number(0.1, 3.0, 0.1),
)
LIVE_PATIENCE = Setting(
    "lcm_live_patience",
    DEFAULT_PATIENCE,
    "Live: seconds that a newer change waits for the picture in progress",
    "after them that picture is interrupted; 0 interrupts at once",
    Number(0.0, 60.0, 0.5),
)
DOWNLOAD_MIRROR = Setting(
    "lcm_download_mirror",
    "",
    "Download LCM-LoRAs from this copy of the Hugging Face Hub",
    "empty: HF_ENDPOINT of the environment, or huggingface.co; what stands here wins over both and is not"
    " sent your Hugging Face token",
    "https://hf-mirror.com",
)


def families() -> list[Family]:
    """The families with settings of their own: those with a published LCM-LoRA."""
    return list(dict.fromkeys(lora.family for lora in PUBLISHED if lora.method == LCM.name))


def of_option(option: Option, family: Family | None = None) -> Setting:
    """The setting for what an option starts with; of a family where each has one of its own."""
    label, info = option.setting
    name, kind = f"lcm_{option.name}", option.kind
    first = option.kind.shown(option.first)
    if isinstance(kind, Number) and isinstance(kind.low, str):
        kind = STEPS_RANGE if kind.is_whole else CFG_RANGE
    if option.is_of_family and family is not None:
        name, label = f"{name}_{family}", label.format(family=family.label)
        first = family.defaults.get(option.name, first)
    return Setting(name, first, label, info, kind)


def rows() -> list[Setting | Text]:
    """The section, in its order, with its headings."""
    options = [option for option in OPTIONS if option.setting]
    return [
        Text("Ranges of the sliders, and of what a request may ask for"),
        MAX_STEPS,
        MAX_CFG,
        Text("What the accordion starts with"),
        *(of_option(option, family) for family in families() for option in options if option.is_of_family),
        *(of_option(option) for option in options if not option.is_of_family),
        Text("LoRAs"),
        AUTO_MEANS,
        TYPED_TAG,
        TRAILING_BY_HAND,
        DOWNLOAD_MIRROR,
        Text("Live"),
        LIVE_DEBOUNCE,
        LIVE_PATIENCE,
    ]


def register() -> None:
    """Adds the section to the Settings page."""
    for place, row in enumerate(rows()):
        if isinstance(row, Text):
            server.add_heading(SECTION, f"lcm_heading_{place}", str(row))
        else:
            server.add_setting(SECTION, row.name, row.default, row.label, row.info, row.component)


def limits(method: Method = LCM) -> Limits:
    """The bounds of steps and CFG: those of the settings for methods that work in LCM's range, else the
    method's own.
    """
    own, usual = limits_of(method), DEFAULT_LIMITS
    steps, cfg = (own.min_steps, own.max_steps), (own.min_cfg, own.max_cfg)
    if steps == (usual.min_steps, usual.max_steps):
        steps = steps[0], MAX_STEPS.value()
    if cfg == (usual.min_cfg, usual.max_cfg):
        cfg = cfg[0], MAX_CFG.value()
    return Limits(*steps, *cfg)


def defaults(family: Family | None) -> dict[str, Any]:
    """Option -> what is used for checkpoints of a family where nothing is given; steps and CFG lie within
    `limits`.
    """
    bounds, found = limits(), {}
    for option in OPTIONS:
        if option.setting is None:
            continue
        value = of_option(option, family).value()
        if isinstance(option.kind, Choice):
            value = option.kind.read(value, bounds)
        elif isinstance(option.kind, Number):
            low, high = option.kind.bounds(bounds)
            value = min(max(value, low), high)
        found[option.name] = value
    return found


def auto_is_best() -> bool:
    """Whether Auto takes the best LoRA for few steps that is installed, and not the LCM-LoRA."""
    return AUTO_MEANS.value() == BEST_INSTALLED


def typed_tag() -> str:
    """What the tag of a LoRA for few steps in the prompt does while LCM is off: one of TYPED_TAG_CHOICES."""
    return TYPED_TAG.value()


def trailing_by_hand() -> bool:
    """Whether the host's own LCM sampler, picked by hand, is to use the trailing schedule too."""
    return TRAILING_BY_HAND.value() is True


def download_mirror() -> str:
    """The address of a copy of the Hugging Face Hub, "" where none is set. One that is no address is refused
    by the download.
    """
    return str(DOWNLOAD_MIRROR.value() or "")
