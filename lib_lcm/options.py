"""LcmOptions: every setting of one generation, its bounds, and its names in the API, the page and the
infotext, in one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from lib_lcm.lora.entries import option_of
from lib_lcm.text import Text

SCRIPT_TITLE = "LCM"
"""The always-on script on the page, and the key of its arguments in the API's `alwayson_scripts`."""

AUTO = "auto"
NONE = "none"
TRAILING = "trailing"
WEBUI = "webui"
SCHEDULE_LABELS = {TRAILING: "Trailing", WEBUI: "WebUI"}
LCM = "lcm"
TCD = "tcd"
SAMPLER_LABELS = {LCM: "LCM", TCD: "TCD"}
"""Option "sampler" -> the sampler's name on the page, in the WebUI's list of samplers and in its infotext."""


class OptionsError(ValueError):
    """An LCM option that cannot be used; the message names the field, its value and what is allowed."""


@dataclass(frozen=True)
class Limits:
    """The range in which LCM works: what a request is clamped to, and what an LCM option must lie in. Both
    are settings.
    """

    min_steps: int = 1
    max_steps: int = 8
    min_cfg: float = 1.0
    max_cfg: float = 2.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Option:
    """One row of the table: an attribute of LcmOptions and what it is called elsewhere.

    `infotext` is the key in a picture's generation parameters, None where the WebUI's own key (Steps, CFG
    scale) serves.
    """

    name: str
    label: str
    help: str
    infotext: str | None = None


OPTIONS: tuple[Option, ...] = (
    Option("enabled", "LCM", "Make pictures in 2 to 8 steps with an LCM-LoRA and the LCM sampler."),
    Option(
        "weight",
        "LoRA weight",
        "1 is what the LCM-LoRA was made for; a little less leaves more to other LoRAs.",
        "LCM weight",
    ),
    Option("steps", "Steps", "Sampling steps: 4 is the usual choice, 1 a sketch, 8 the finest."),
    Option(
        "cfg",
        "CFG scale",
        "1 is the fastest and ignores the negative prompt; up to 2 follows the prompt closer at twice the"
        " work.",
    ),
    Option(
        "lora",
        "LCM-LoRA",
        "Auto takes what fits the checkpoint; None is for checkpoints that are LCMs themselves.",
        "LCM LoRA",
    ),
    Option(
        "schedule",
        "Schedule",
        "Trailing visits the timesteps that the LoRA was distilled on; WebUI hands over to the WebUI's own"
        " LCM sampler.",
        "LCM schedule",
    ),
    Option(
        "sampler",
        "Sampler",
        "LCM is what LCM-LoRAs were made for; TCD is for the LoRAs of TCD and Hyper-SD, and keeps more"
        " detail.",
    ),
    Option(
        "gamma",
        "TCD gamma",
        "How much of the noise a TCD step renews: 0 none, 1 all; 0.3 is the usual choice, and more steps can"
        " do with more.",
        "LCM gamma",
    ),
)
"""In the order of the page and of the API's positional arguments. New options are appended, never inserted.
"""

MIN_WEIGHT, MAX_WEIGHT = 0.0, 1.5
MIN_GAMMA, MAX_GAMMA = 0.0, 1.0
DEFAULT_GAMMA = 0.3
"""Of TCD's authors, and of diffusers (`eta` of `TCDScheduler.step`)."""


@dataclass(frozen=True)
class LcmOptions:
    """What the user asked of LCM for one generation.

    `steps` and `cfg` are None where the request's own values are to be used, clamped to the LCM range;
    `weight` and `schedule` are None where nothing was asked for, and then `Defaults` has them. `lora` is
    "auto" (which may be remembered for the checkpoint), "none" or the name of a LoRA; `schedule` is
    "trailing" or "webui"; `sampler` is "lcm" or "tcd". `gamma` is how much of the noise TCD renews in each
    step, 0 to 1; LCM has no use for it.
    """

    enabled: bool = False
    weight: float | None = None
    steps: int | None = None
    cfg: float | None = None
    lora: str = AUTO
    schedule: str | None = None
    sampler: str = LCM
    gamma: float = DEFAULT_GAMMA


@dataclass(frozen=True)
class Defaults:
    """What the page starts with for checkpoints of one family, and what stands for a weight or a schedule
    that is not given. Settings.
    """

    steps: int = 4
    cfg: float = 1.0
    weight: float = 1.0
    schedule: str = TRAILING

    def fill(self, options: LcmOptions) -> LcmOptions:
        """The options with a weight and a schedule."""
        return replace(
            options,
            weight=self.weight if options.weight is None else options.weight,
            schedule=self.schedule if options.schedule is None else options.schedule,
        )


def options_from_args(args: Sequence[Any], limits: Limits = DEFAULT_LIMITS) -> LcmOptions:
    """The options from a script's arguments as the page and the API send them.

    Either the values of OPTIONS in order, trailing ones left out, or one object whose keys are the options'
    names. Raises OptionsError for an unknown key, a wrong type or a value outside the bounds. The other
    values are not looked at while LCM is off, so a request that does not use LCM cannot fail here.
    """
    if len(args) > 0 and isinstance(args[0], Mapping):
        values = dict(args[0])
        names = [option.name for option in OPTIONS]
        unknown = [key for key in values if key not in names]
        if unknown:
            raise OptionsError(
                Text(
                    "LCM option {name!r} is unknown; the options are {names}.",
                    name=unknown[0],
                    names=", ".join(names),
                )
            )
    else:
        values = {option.name: value for option, value in zip(OPTIONS, args, strict=False)}
    enabled = _boolean("enabled", values.get("enabled", False))
    if not enabled:
        return LcmOptions()
    return LcmOptions(
        enabled=True,
        weight=_optional(values, "weight", lambda v: _number("weight", v, MIN_WEIGHT, MAX_WEIGHT)),
        steps=_optional(values, "steps", lambda v: _integer("steps", v, limits.min_steps, limits.max_steps)),
        cfg=_optional(values, "cfg", lambda v: _number("cfg", v, limits.min_cfg, limits.max_cfg)),
        lora=_name("lora", _default(values, "lora", AUTO), (AUTO, NONE)),
        schedule=_optional(values, "schedule", lambda v: _choice("schedule", v, tuple(SCHEDULE_LABELS))),
        sampler=_choice("sampler", _default(values, "sampler", LCM), tuple(SAMPLER_LABELS)),
        gamma=_number("gamma", _default(values, "gamma", DEFAULT_GAMMA), MIN_GAMMA, MAX_GAMMA),
    )


def _default(values: Mapping, key: str, default: Any) -> Any:
    value = values.get(key)
    return default if value is None else value


def _optional(values: Mapping, key: str, check) -> Any:
    value = values.get(key)
    return None if value is None else check(value)


def shown_value(value: Any) -> str:
    """A value out of a request as it can stand in a sentence: short, and one line."""
    try:
        text = repr(value)
    except (
        RecursionError,
        ValueError,
    ):  # nested as deep as Python can read but not write; a number of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def shown_number(value: float) -> str:
    """A number as people write it, and exactly: 1, 0.8, and all digits where six are not enough."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _boolean(name: str, value: Any) -> bool:
    if value is None:  # what the API passes for an argument whose default it does not know
        return False
    if isinstance(value, bool):
        return value
    raise _refused(name, value, Text("true or false"))


def _number(name: str, value: Any, minimum: float, maximum: float) -> float:
    # NaN fails the comparison, infinities and very large whole numbers lie outside it
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not minimum <= value <= maximum:
        raise _refused(name, value, Text("a number from {low:g} to {high:g}", low=minimum, high=maximum))
    return float(value)


def _integer(name: str, value: Any, minimum: int, maximum: int) -> int:
    # a slider of the page may send 4.0 for 4
    number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not number or not minimum <= value <= maximum or value != int(value):
        raise _refused(name, value, Text("a whole number from {low} to {high}", low=minimum, high=maximum))
    return int(value)


def _name(name: str, value: Any, keywords: tuple[str, ...]) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _refused(name, value, Text('"auto", "none" or the name of a LoRA'))
    value = option_of(value)  # the page sends the drop-down's entry
    return value.lower() if value.lower() in keywords else value


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if isinstance(value, str) and value.lower() in choices:
        return value.lower()
    quoted = (f'"{choice}"' for choice in choices)
    raise _refused(
        name, value, reduce(lambda one, other: Text("{one} or {other}", one=one, other=other), quoted)
    )


def _refused(name: str, value: Any, allowed: str) -> OptionsError:
    return OptionsError(
        Text(
            "LCM option '{name}' is {value}; it must be {allowed}.",
            name=name,
            value=shown_value(value),
            allowed=allowed,
        )
    )
