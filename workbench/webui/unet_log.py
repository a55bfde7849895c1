"""Watches the UNet: a log of every forward, so that tests and the demo see what was computed, not what was
claimed.
"""

from __future__ import annotations

import threading
from collections import deque

import torch

KEPT = 10_000
"""Forwards that are kept, so that a server that nobody asks does not fill the memory with them."""
_calls: deque[dict] = deque(maxlen=KEPT)
_lock = threading.Lock()


def calls() -> list[dict]:
    """The forwards since the last `clear`, oldest first: `{"timesteps": [one per row], "rows": n}`."""
    with _lock:
        return list(_calls)


def clear() -> None:
    with _lock:
        _calls.clear()


def watch(unet: torch.nn.Module) -> None:
    """Make a UNet note its forwards."""
    unet.register_forward_pre_hook(_note, with_kwargs=True)


def _note(unet, args, kwargs) -> None:
    sample, timestep = args[:2]
    rows = sample.shape[0]
    timesteps = [round(float(t), 4) for t in torch.as_tensor(timestep).expand(rows)]
    with _lock:
        _calls.append({"timesteps": timesteps, "rows": rows})
