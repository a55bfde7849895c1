"""What the accordion's controls start with: what the user has saved for the page, else what Settings -> LCM
says.

The WebUI writes every control's first value and a slider's bounds into ui-config.json when it first sees
them, and puts them into the controls whenever it builds the page; Settings -> Defaults changes them there. So
a setting that changes a first value would never be seen again. Here bounds are always those of the settings,
and a saved value counts where it is another than the built-in one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lib_lcm.webui.host import page

Bounds = tuple[float, float]


@dataclass(frozen=True)
class _FirstValue:
    control: Any
    built_in: Any
    setting: Callable[[], Any]
    bounds: Callable[[], Bounds] | None

    def attributes(self) -> dict[str, Any]:
        """What the control has instead of what was saved."""
        value = self.setting() if self.control.value == self.built_in else self.control.value
        if self.bounds is None:
            return {"value": value}
        low, high = self.bounds()
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # ui-config.json may have been edited by hand
        value = min(max(value, low), high) if is_number else self.setting()
        # The API takes the type of a control's value for that of all its values, and JSON has no 1.0.
        value = type(self.built_in)(value)
        return {"value": value, "minimum": low, "maximum": high}


# those that are not settled yet, by the identity of the control: gradio's components need not be hashable
_following: dict[int, _FirstValue] = {}
_ticks: dict[int, Any] = {}


def follow_settings(
    control, built_in, setting: Callable[[], Any], bounds: Callable[[], Bounds] | None = None
) -> None:
    """From now on `control`, made with the value `built_in`, starts with `setting()` instead, and a slider
    has the `bounds()`.
    """
    first = _FirstValue(control, built_in, setting, bounds)
    page.change_page_config(control, first.attributes)
    _following[id(control)] = first


def only_on_page(tick) -> None:
    """From now on a saved default ticks `tick` on the page alone: a request over the API that says nothing of
    LCM is not for LCM.
    """
    _ticks[id(tick)] = tick


def on_page(control) -> Any:
    """The value with which the control comes up on the page."""
    return getattr(control, "lcm_on_page", control.value)


def settle_all() -> None:
    """The page has been built: the controls themselves get the values that the API reads from them."""
    settle([*(first.control for first in _following.values()), *_ticks.values()])


def settle(controls: Sequence[Any]) -> None:
    """The same for some of the controls."""
    for control in controls:
        first = _following.pop(id(control), None)
        for name, value in first.attributes().items() if first is not None else ():
            setattr(control, name, value)
        if _ticks.pop(id(control), None) is not None:
            control.lcm_on_page, control.value = control.value, False
