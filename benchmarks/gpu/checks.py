"""What a section is made of: checks by name, what they are given, and what comes out of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.gpu.device import Device


@dataclass(frozen=True)
class Outcome:
    """What one check found. The names of `figures` begin with the unit, "ms at 1 row"; None stands for what
    the device does not tell. `passed` is None where figures are all that was asked for.
    """

    figures: dict[str, float | int | None] = field(default_factory=dict)
    passed: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Job:
    """What all checks are given. `small`: tiny models, to try the script itself. `seconds`: what one group
    of timings may take.
    """

    device: Device
    small: bool = False

    @property
    def seconds(self) -> float:
        return 0.0 if self.small else 2.0


Checks = Iterator[tuple[str, Callable[[], Outcome]]]
"""A section's checks in order. What several need is made by the first that runs and let go after the last."""
