"""The options of one generation. A row of `OPTIONS` is all that parser, API, page, X/Y/Z plot, infotext and
settings need to know of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lib_lcm.methods import LCM, METHODS, Method, method_named
from lib_lcm.text import Text, joined

SCRIPT_TITLE = "LCM"
"""The always-on script on the page, and the key of its arguments in the API's `alwayson_scripts`."""

AUTO, BEST, NONE = "auto", "best", "none"
AUTO_LABEL, BEST_LABEL, NO_LORA = "Auto", "Best installed", "None"
"""How the page and infotexts write these values of the option "lora"."""
OWN_LABEL = "As the LoRA wants"
"""How the page writes "auto" for what the LoRA's method decides."""
ENTRY_SEPARATOR = "\u00a0\u00b7\u00a0"
"""Between the option and the note in an entry of the LoRA drop-down: no file's name holds it by chance."""

TRAILING, FINER, WEBUI = "trailing", "finer", "webui"
SCHEDULE_LABELS = {TRAILING: "Trailing", FINER: "Finer", WEBUI: "WebUI"}
ALL, MIDDLE = "all", "middle"
GUIDED_LABELS = {ALL: "All", MIDDLE: "Middle"}
METHOD_LABELS = {
    AUTO: OWN_LABEL,
    **{one.name: one.label for one in METHODS if one.recipe is not None and not one.is_of_checkpoint},
}
SAMPLER_LABELS = {"lcm": "LCM", "tcd": "TCD", "euler": "Euler trailing", "ddim": "DDIM trailing"}
"""Option "sampler" -> the sampler's name on the page, in the WebUI's list of samplers and in its infotext."""


class OptionsError(ValueError):
    """An LCM option that cannot be used; the message names the field, its value and what is allowed."""


@dataclass(frozen=True)
class Limits:
    """The range in which a method works: what a request is brought into, and what an LCM option must lie
    in.
    """

    min_steps: int = 1
    max_steps: int = 8
    min_cfg: float = 1.0
    max_cfg: float = 2.0


LimitsOf = Callable[[Method], Limits]


def limits_of(method: Method) -> Limits:
    """The range of the method's recipe; LCM's for one that has none."""
    recipe = method.recipe or LCM.recipe
    return Limits() if recipe is None else Limits(*recipe.steps[:2], *recipe.cfg[:2])


DEFAULT_LIMITS = limits_of(LCM)


def widest(limits: LimitsOf) -> Limits:
    """What some method or other works with."""
    every = [limits(method) for method in METHODS if method.recipe is not None]
    return Limits(
        min(one.min_steps for one in every),
        max(one.max_steps for one in every),
        min(one.min_cfg for one in every),
        max(one.max_cfg for one in every),
    )


# --- kinds of values ----------------------------------------------------------------------------------------


class Kind:
    """What values an option has. `None` is never one: it means that nothing was given."""

    def allowed(self, limits: Limits) -> str:
        """The values in words, as part of a sentence."""
        raise NotImplementedError

    def read(self, value: Any, limits: Limits) -> Any:
        """A value from page or API. Raises ValueError for one that is not allowed."""
        raise NotImplementedError

    def shown(self, value: Any) -> Any:
        """A value as the page has it."""
        return value

    def written(self, value: Any) -> Any:
        """A value as infotexts have it."""
        return self.shown(value)

    def pasted(self, text: str) -> Any:
        """A value from an infotext, as the page has it; None for nonsense."""
        return text


@dataclass(frozen=True)
class Boolean(Kind):
    def allowed(self, limits: Limits) -> str:
        return Text("true or false")

    def read(self, value: Any, limits: Limits) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value


@dataclass(frozen=True)
class Number(Kind):
    """From `low` to `high`, or within these two fields of `Limits` where they are names; `step` is the
    slider's.
    """

    low: float | str
    high: float | str
    step: float
    is_whole: bool = False

    def bounds(self, limits: Limits) -> tuple[float, float]:
        low, high = (getattr(limits, end) if isinstance(end, str) else end for end in (self.low, self.high))
        return low, high

    def allowed(self, limits: Limits) -> str:
        low, high = self.bounds(limits)
        if self.is_whole:
            return Text("a whole number from {low} to {high}", low=low, high=high)
        return Text("a number from {low:g} to {high:g}", low=low, high=high)

    def read(self, value: Any, limits: Limits) -> float | None:
        low, high = self.bounds(limits)
        # NaN fails the comparison, infinities and very large whole numbers lie outside it
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError
        if not self.is_whole:
            return float(value)
        if value != int(value):  # a slider of the page may send 4.0 for 4
            raise ValueError
        return int(value)

    def pasted(self, text: str) -> float | None:
        number = number_in(text)
        if self.is_whole:
            return int(number) if number is not None and number == int(number) else None
        return number


@dataclass(frozen=True)
class Choice(Kind):
    """One of the keys of `labels`; the page shows and sends the labels. Capitals do not count."""

    labels: Mapping[str, str]

    def allowed(self, limits: Limits) -> str:
        quoted = (f'"{choice}"' for choice in self.labels)
        *others, last = quoted
        return Text("{one} or {other}", one=joined(others), other=last) if others else last

    def read(self, value: Any, limits: Limits) -> str:
        key = self._key(value) if isinstance(value, str) else None
        if key is None:
            raise ValueError
        return key

    def shown(self, value: Any) -> str:
        return self.labels[value]

    def pasted(self, text: str) -> str | None:
        key = self._key(text)
        return None if key is None else self.labels[key]

    def _key(self, text: str) -> str | None:
        spellings = {spelled.lower(): key for key, label in self.labels.items() for spelled in (label, key)}
        return spellings.get(text.lower())


@dataclass(frozen=True)
class MethodName(Choice):
    """The name of a method; the page and this kind's other users see the labels, which hold commas."""

    def written(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class OwnNumber(Number):
    """A number, or None for what the LoRA's method says: OWN_LABEL on the page, "auto" in the API."""

    def allowed(self, limits: Limits) -> str:
        return Text('{number} or "{auto}"', number=super().allowed(limits), auto=AUTO)

    def read(self, value: Any, limits: Limits) -> float | None:
        if isinstance(value, str):  # a drop-down of the page sends texts
            if value.strip().lower() in (AUTO, OWN_LABEL.lower()):
                return None
            value = number_in(value)
        return super().read(value, limits)

    def shown(self, value: Any) -> str:
        return OWN_LABEL if value is None else shown_number(value)

    def pasted(self, text: str) -> Any:
        number = number_in(text)
        return None if number is None else shown_number(number)

    @property
    def choices(self) -> list[str]:
        """What the page offers."""
        count = round((float(self.high) - float(self.low)) / self.step)
        return [OWN_LABEL, *(f"{float(self.low) + i * self.step:g}" for i in range(count + 1))]


@dataclass(frozen=True)
class LoraName(Kind):
    """The name of a LoRA, or "auto", "best" or "none"; the page sends an entry of its drop-down."""

    def allowed(self, limits: Limits) -> str:
        return Text('"auto", "best", "none" or the name of a LoRA')

    def read(self, value: Any, limits: Limits) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError
        return lora_option(value)


def option_of(entry: str) -> str:
    """The option that an entry of the LoRA drop-down stands for; any other text is the option itself."""
    for label in (AUTO_LABEL, BEST_LABEL):
        if entry.startswith(label + ENTRY_SEPARATOR):
            return label
    return entry.rpartition(ENTRY_SEPARATOR)[0] or entry


def lora_option(entry: str) -> str:
    """The same, with the words that are no names as the option has them."""
    option = option_of(entry)
    if option.lower() == BEST_LABEL.lower():
        return BEST
    return option.lower() if option.lower() in (AUTO, BEST, NONE) else option


# --- the table ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """One row.

    `default` is what the option is where nothing is given; None where the request's own value is used (steps,
    CFG scale) or the default of the settings. `first` is what the page starts with. `infotext` is the key in
    a picture's generation parameters, None where the WebUI's own key (Steps, CFG scale) serves. `axis` names
    it in X/Y/Z plot. `setting` is (label, info) of the setting for `first`, one for each family where the
    label has "{family}" in it.
    """

    name: str
    default: Any
    label: str
    help: str
    kind: Kind
    first: Any
    axis: str
    infotext: str | None
    setting: tuple[str, str] | None

    @property
    def is_of_family(self) -> bool:
        """Whether each family has a setting of its own for it."""
        return self.setting is not None and "{family}" in self.setting[0]

    def read(self, value: Any, limits: Limits = DEFAULT_LIMITS) -> Any:
        """A value from page or API. Raises OptionsError."""
        try:
            return self.kind.read(value, limits)
        except (ValueError, OverflowError):
            allowed = self.kind.allowed(limits)
            raise OptionsError(
                Text(
                    "LCM option '{name}' is {value}; it must be {allowed}.",
                    name=self.name,
                    value=shown_value(value),
                    allowed=allowed,
                )
            ) from None


def row(
    label: str,
    help: str,
    kind: Kind,
    default: Any = None,
    *,
    first: Any = None,
    axis: str | None = None,
    infotext: str | None = None,
    setting: tuple[str, str] | None = None,
) -> Any:
    """The field of `LcmOptions` for a row; see `Option`. `first` is the default, and `axis` the label, if not
    given.
    """
    first = default if first is None else first
    row = {"label": label, "help": help, "kind": kind, "first": first, "axis": axis or label}
    return field(default=default, metadata={**row, "infotext": infotext, "setting": setting})


@dataclass(frozen=True)
class LcmOptions:
    """What the user asked of LCM for one generation, in the order of the page and of the API's positional
    arguments.

    New options are appended, never inserted. `sampler`, `gamma` and `method` are "auto", or None, where the
    LoRA decides. `gamma` is how much of the noise TCD renews in each step; the others have no use for it.
    """

    enabled: bool = row(
        "LCM",
        "Make pictures in 1 to 8 steps with a LoRA for few steps, sampled as it was made for.",
        Boolean(),
        False,
        axis="Enabled",
    )
    weight: float | None = row(
        "LoRA weight",
        "1 is what the LCM-LoRA was made for; a little less leaves more to other LoRAs.",
        Number(0.0, 1.5, 0.05),
        first=1.0,
        axis="Weight",
        infotext="LCM weight",
        setting=(
            "LoRA weight for {family} checkpoints",
            "what the accordion starts with, and an API request that gives no weight gets",
        ),
    )
    steps: int | None = row(
        "Steps",
        "Sampling steps: 4 is the usual choice, 1 a sketch, 8 the finest.",
        Number("min_steps", "max_steps", 1, is_whole=True),
        first=4,
        setting=(
            "Steps for {family} checkpoints",
            "what the accordion starts with when such a checkpoint is loaded, within the bounds above",
        ),
    )
    cfg: float | None = row(
        "CFG scale",
        "1 is the fastest and ignores the negative prompt; up to 2 follows the prompt closer at twice the"
        " work.",
        Number("min_cfg", "max_cfg", 0.1),
        first=1.0,
        setting=(
            "CFG scale for {family} checkpoints",
            "what the accordion starts with, within the bounds above",
        ),
    )
    lora: str = row(
        "Few-step LoRA",
        "Auto takes the LCM-LoRA that fits the checkpoint; Best installed the best LoRA for few steps that is"
        " there; None is for checkpoints that are made for few steps themselves.",
        LoraName(),
        AUTO,
        first=AUTO_LABEL,
        axis="LoRA",
        infotext="LCM LoRA",
    )
    schedule: str | None = row(
        "Schedule",
        "Trailing visits the timesteps that the LoRA was distilled on; Finer ends lower in 2 to 4 steps, to"
        " be tried where details are wrong; WebUI hands over to the WebUI's own LCM sampler.",
        Choice(SCHEDULE_LABELS),
        first=TRAILING,
        infotext="LCM schedule",
        setting=(
            "Schedule",
            "what the accordion starts with after Reload UI, and an API request that gives no schedule gets",
        ),
    )
    sampler: str = row(
        "Sampler",
        "Each LoRA was made for one of them; with an LCM-LoRA, TCD keeps more detail.",
        Choice({AUTO: OWN_LABEL, **SAMPLER_LABELS}),
        AUTO,
    )
    gamma: float | None = row(
        "TCD gamma",
        "How much of the noise a TCD step renews: 0 none, 1 all; 0.3 is the usual choice, and more steps can"
        " do with more.",
        OwnNumber(0.0, 1.0, 0.1),
        infotext="LCM gamma",
    )
    method: str = row(
        "Method",
        "How the LoRA was made, which decides sampler, timesteps, steps and CFG scale; for a file that was"
        " taken for another kind, and for checkpoints that are made for few steps themselves.",
        MethodName(METHOD_LABELS),
        AUTO,
        infotext="LCM method",
    )
    guided_steps: str = row(
        "Guided steps",
        "In which steps a CFG scale above 1 acts, and with it the negative prompt: in the middle ones"
        " alone, it costs less.",
        Choice(GUIDED_LABELS),
        ALL,
        infotext="LCM guided steps",
    )

    def filled(self, defaults: Mapping[str, Any]) -> LcmOptions:
        """The same with the defaults of the settings (name -> value) for what was not given, steps and CFG
        scale aside.
        """
        names = {name for name in defaults if name not in FROM_REQUEST and getattr(self, name) is None}
        return replace(self, **{name: defaults[name] for name in names})


FROM_REQUEST = ("steps", "cfg")
"""Options that stand for a value of the request itself."""


def rows_of(options: type) -> tuple[Option, ...]:
    """The table that the fields of a class like `LcmOptions` make."""
    return tuple(Option(name=one.name, default=one.default, **one.metadata) for one in fields(options))


OPTIONS = rows_of(LcmOptions)
OPTION = {option.name: option for option in OPTIONS}
FIRST = {option.name: option.first for option in OPTIONS if option.setting}
"""What the page starts with, and what stands for a weight or a schedule that is not given, before any
setting.
"""


def options_from_args(
    args: Sequence[Any], limits: LimitsOf = limits_of, checkpoint: Method = LCM
) -> LcmOptions:
    """The options from a script's arguments as the page and the API send them. Steps and CFG scale lie within
    what some method works with; which one counts, the plan knows.

    Either the values of OPTIONS in order, trailing ones left out, or one object whose keys are the options'
    names. Raises OptionsError for an unknown key, a wrong type or a value outside the bounds, which `limits`
    says for a method; where none is picked, those are named that fit most LoRAs or, with FULL_LCM as
    `checkpoint`, the loaded one. The other values are not looked at while LCM is off, so a request that does
    not use LCM cannot fail here.
    """
    if len(args) > 0 and isinstance(args[0], Mapping):
        values = dict(args[0])
        unknown = [key for key in values if key not in OPTION]
        if unknown:
            raise OptionsError(
                Text(
                    "LCM option {name!r} is unknown; the options are {names}.",
                    name=unknown[0],
                    names=", ".join(OPTION),
                )
            )
    else:
        values = dict(zip(OPTION, args, strict=False))
    given = {name: value for name, value in values.items() if value is not None}
    if not OPTION["enabled"].read(given.get("enabled", False)):
        return LcmOptions()
    method = OPTION["method"].read(given.get("method", AUTO))
    usual, bounds = limits(method_named(method) or checkpoint), widest(limits)

    def read(name: str, value: Any) -> Any:
        try:
            return OPTION[name].read(value, bounds)
        except OptionsError:
            return OPTION[name].read(value, usual)  # whose bounds are the ones to name

    return LcmOptions(**{name: read(name, value) for name, value in given.items()})


# --- values in texts ----------------------------------------------------------------------------------------


def shown_value(value: Any) -> str:
    """A value out of a request as it can stand in a sentence: short, and one line."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        # nested as deep as Python can read but not write; a number of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def shown_number(value: float) -> str:
    """A number as people write it, and exactly: 1, 0.8, and all digits where six are not enough."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def number_in(text: str | None) -> float | None:
    """The number that a text is; None where it is none, or no finite one."""
    try:
        number = None if text is None else float(text)
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None
