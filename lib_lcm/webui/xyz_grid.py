"""The axes "[LCM] ..." of the script "X/Y/Z plot".

An axis value goes where the page's own would: into the arguments of our script for that picture, on a list of
its own, since the plot copies the processing object but not what it refers to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lib_lcm.options import (
    AUTO,
    BEST,
    NONE,
    OPTION,
    OPTIONS,
    SCRIPT_TITLE,
    Boolean,
    Choice,
    LoraName,
    Number,
    Option,
    OptionsError,
    options_from_args,
)
from lib_lcm.text import Text, sentence_of
from lib_lcm.webui import loras, messages, settings
from lib_lcm.webui.host import scripts

PREFIX = "[LCM] "
BOOLEANS = {
    "true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False
}  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """The axis that varies an option."""

    option: Option

    @property
    def label(self) -> str:
        return PREFIX + self.option.axis

    @property
    def type(self) -> Callable[[str], Any]:
        """What X/Y/Z plot reads values as."""
        if not isinstance(self.option.kind, Number):
            return str
        return int if self.option.kind.is_whole else float

    @property
    def choices(self) -> Callable[[], list[str]] | None:
        """What X/Y/Z plot offers."""
        kind = self.option.kind
        if isinstance(kind, Boolean):
            return lambda: ["True", "False"]
        if isinstance(kind, LoraName):
            return loras.lora_choices
        return (lambda: list(kind.labels.values())) if isinstance(kind, Choice) else None

    def value(self, p, x: Any) -> Any:
        """A value of the axis as the option has it. Raises LcmRefusal for one that is neither true nor
        false.
        """
        if not isinstance(self.option.kind, Boolean):
            return x
        if x.strip().lower() not in BOOLEANS:
            raise self._refusal(p, Text("{value!r} is neither True nor False.", value=x))
        return BOOLEANS[x.strip().lower()]

    def apply(self, p, x: Any, xs: list[Any]) -> None:
        """Makes the picture of `p` with this value. Raises LcmRefusal where our script does not run."""
        script = next((one for one in p.scripts.alwayson_scripts if one.title() == SCRIPT_TITLE), None)
        if script is None:
            raise self._refusal(
                p, Text("LCM is not among the scripts: enable its extension, or choose another axis.")
            )
        args = list(p.script_args)
        first, last = script.args_from, script.args_to
        args[first:last] = with_option(args[first:last], self.option.name, self.value(p, x))
        p.script_args = type(p.script_args)(args)
        p.lcm_axes = {**getattr(p, "lcm_axes", {}), self.option.name: self.label}

    def confirm(self, p, xs: list[Any]) -> None:
        """Refuses the plot before its first picture when a value of the axis cannot be used."""
        for x in xs:
            value = self.value(p, x)
            try:
                options = options_from_args([{"enabled": True, self.option.name: value}], settings.limits)
            except OptionsError as error:
                raise self._refusal(p, sentence_of(error)) from None
            if options.lora not in (AUTO, BEST, NONE) and loras.library().find(options.lora) is None:
                raise self._refusal(
                    p,
                    Text(
                        "{name!r} is not in the LoRA folder; choose another name, or Auto.", name=options.lora
                    ),
                )

    def _refusal(self, p, problem: str) -> messages.LcmRefusal:
        return messages.refusal(p, Text("{axis}: {problem}", axis=self.label, problem=problem))


AXES = tuple(Axis(option) for option in OPTIONS)


def with_option(args: list[Any], option: str, value: Any) -> list[Any]:
    """The script's arguments, positional or one object, with another value for an option."""
    if args and isinstance(args[0], Mapping):
        return [{**args[0], option: value}, *args[1:]]
    index = list(OPTION).index(option)
    return [*args[:index], value, *args[index + 1 :]]


def register() -> None:
    """Adds the axes to the script's list, in place of those of an earlier load. Without that script there is
    nothing to do.
    """
    module = scripts.xyz_grid()
    if module is None:
        return
    labels = {axis.label for axis in AXES}
    module.axis_options[:] = [option for option in module.axis_options if option.label not in labels]
    for axis in AXES:
        module.axis_options.append(
            module.AxisOption(axis.label, axis.type, axis.apply, confirm=axis.confirm, choices=axis.choices)
        )
