"""How long start-up took, by part."""

from __future__ import annotations

import time


class Timer:
    """Collects named durations; `record(name)` takes the time since the previous record."""

    def __init__(self):
        self.start = self.last = time.perf_counter()
        self.records: dict[str, float] = {}
        self.total = 0.0

    def record(self, category: str, extra_time: float = 0) -> None:
        now = time.perf_counter()
        self.records[category] = self.records.get(category, 0.0) + now - self.last + extra_time
        self.total += now - self.last + extra_time
        self.last = now

    def summary(self) -> str:
        parts = ", ".join(
            f"{name}: {seconds:.1f}s" for name, seconds in self.records.items() if seconds >= 0.1
        )
        return f"{self.total:.1f}s" + (f" ({parts})" if parts else "")

    def reset(self) -> None:
        self.__init__()


startup_timer = Timer()
