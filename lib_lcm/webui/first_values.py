"""What the accordion's controls start with: what the user has saved for the page, else what Settings -> LCM says.

The WebUI writes every control's first value and a slider's bounds into ui-config.json when it first sees them, and puts them into the
controls whenever it builds the page; Settings -> Defaults changes them there. So a setting that changes a first value would never be seen
again. Here bounds are always those of the settings, and a saved value counts where it is another than the built-in one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lib_lcm.webui import host

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
        value = min(max(value, low), high) if is_number else self.setting()  # ui-config.json may have been edited by hand
        return {"value": value, "minimum": low, "maximum": high}


_controls: list[_FirstValue] = []
_ticks: list[Any] = []


def follow_settings(control, built_in, setting: Callable[[], Any], bounds: Callable[[], Bounds] | None = None) -> None:
    """From now on `control`, made with the value `built_in`, starts with `setting()` instead, and a slider has the `bounds()`."""
    first = _FirstValue(control, built_in, setting, bounds)
    host.change_page_config(control, first.attributes)
    control.lcm_setting = setting
    _controls.append(first)


def only_on_page(tick) -> None:
    """From now on a saved default ticks `tick` on the page alone: a request over the API that says nothing of LCM is not for LCM."""
    tick.lcm_setting = lambda: False
    _ticks.append(tick)


def on_page(control) -> Any:
    """The value with which the control comes up on the page."""
    return getattr(control, "lcm_on_page", control.value)


def without_saved(controls: Sequence[Any]) -> list[Any]:
    """The values of the controls as they would be if the user had saved none."""
    return [control.lcm_setting() if hasattr(control, "lcm_setting") else control.value for control in controls]


def settle_all() -> None:
    """The page has been built: the controls themselves get the values that the API reads from them."""
    settle([*(first.control for first in _controls), *_ticks])


def settle(controls: Sequence[Any]) -> None:
    """The same for some of the controls."""
    ids = {id(control) for control in controls}
    for first in [first for first in _controls if id(first.control) in ids]:
        for name, value in first.attributes().items():
            setattr(first.control, name, value)
        _controls.remove(first)
    for tick in [tick for tick in _ticks if id(tick) in ids]:
        tick.lcm_on_page, tick.value = tick.value, False
        _ticks.remove(tick)
