"""Timing several things so that they can be compared: by turns, in one process, by medians."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

RESULTS = Path(__file__).resolve().parent / "results"
WALL, CPU = "seconds", "cpu_seconds"
"""Wall-clock time, and this process's own processor time, which other programs on the machine disturb less.
"""


def alternate(
    actions: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 2
) -> dict[str, dict[str, float]]:
    """Runs every action once per round, each round beginning with another one. Returns medians: {name: {WALL:
    s, CPU: s}}.
    """
    names = list(actions)
    taken: dict[str, dict[str, list[float]]] = {name: {WALL: [], CPU: []} for name in names}
    for one in range(-warm_up, rounds):
        first = one % len(names)
        for name in names[first:] + names[:first]:
            wall, cpu = time.perf_counter(), time.process_time()
            actions[name]()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if one >= 0:
                taken[name][WALL].append(wall)
                taken[name][CPU].append(cpu)
    return {
        name: {kind: statistics.median(values) for kind, values in kinds.items()}
        for name, kinds in taken.items()
    }


def save(name: str, figures: Mapping) -> Path:
    """Writes `figures` and what they were measured on to benchmarks/results/NAME.json; returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    setting = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    path.write_text(json.dumps({"measured_with": setting, **figures}, indent=2) + "\n", encoding="utf-8")
    return path
