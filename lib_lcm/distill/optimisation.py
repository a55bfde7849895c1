"""What every training loop needs beside its optimiser: the learning rate's course, a moving average, a loss
scaler, saved states.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

COSINE_FLOOR = 0.02
"""Where the cosine ends, as a share of the peak learning rate."""


def warm_up(step: int, steps: int) -> float:
    """Share of the peak learning rate at `step`, counted from 0: a line that reaches 1 at the last of
    `steps`.
    """
    return min(1.0, (step + 1) / max(1, steps))


def warm_up_and_cosine(step: int, total: int, warmup: int, floor: float = COSINE_FLOOR) -> float:
    """The same, then half a cosine down to `floor` at `total`."""
    if step < warmup:
        return warm_up(step, warmup)
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


class MovingAverage:
    """Exponential moving average of parameters; early on the window is as long as the run so far, so that the
    start is forgotten.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.updates = 0
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Takes the parameters' values of now into the average."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.values, [parameter.detach() for parameter in self.parameters], 1.0 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges averages and live weights; call again to undo."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            live = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(live)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the parameters have their averages as values."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = state["updates"]
        for value, saved in zip(self.values, state["values"], strict=True):
            value.copy_(saved)


def grad_scaler(device: torch.device, enabled: bool) -> Any:
    """The loss scaler that fp16 needs; does nothing where it is not enabled. torch.amp has one from torch 2.3
    on.
    """
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device.type, enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Writes a training state; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(dict(state), partial)
    os.replace(partial, path)
