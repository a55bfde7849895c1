"""The device that is measured: what every kind can do, asked by name, and what only some can."""

from __future__ import annotations

import gc
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import clock

KINDS = ("cuda", "xpu", "mps", "cpu")
"""AMD's cards are "cuda" to PyTorch, too."""
GIB = 2**30
WARM_UP = 3
"""Calls before those that are timed: in the first, libraries choose their kernels."""
ROUNDS = (3, 20)


class NotHere(Exception):
    """The device, or what is installed, cannot do what a check is about; the message says why."""


class Device:
    """`kind` is one of KINDS; `half` the precision in which hosts run the UNet there."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._module: Any = getattr(torch, kind)
        # a CPU's float16 is slow, and older builds of PyTorch lack most of it
        self.half = torch.bfloat16 if kind == "cpu" else torch.float16

    @staticmethod
    def best() -> str | None:
        """The kind of accelerator that is here, if any."""
        return next((kind for kind in KINDS[:-1] if Device.is_there(kind)), None)

    @staticmethod
    def is_there(kind: str) -> bool:
        if kind == "mps":
            return torch.backends.mps.is_available()
        return kind == "cpu" or (hasattr(torch, kind) and getattr(torch, kind).is_available())

    @property
    def label(self) -> str:
        """The card's name."""
        if hasattr(self._module, "get_device_name"):
            return str(self._module.get_device_name())
        return f"{platform.processor() or platform.machine()}, {self.kind}"

    @property
    def about(self) -> dict[str, Any]:
        """What figures depend on besides the code."""
        here = {"backend": self.kind, "python": platform.python_version(), "torch": torch.__version__}
        if self.kind == "cuda":
            here["cuda"] = torch.version.cuda or f"ROCm {torch.version.hip}"
        if hasattr(self._module, "get_device_properties"):
            here["gib"] = round(self._module.get_device_properties(0).total_memory / GIB, 1)
        return {**here, "cpu_threads": torch.get_num_threads()}

    def synchronize(self) -> None:
        """Waits until the device has done all that it was given."""
        if hasattr(self._module, "synchronize"):
            self._module.synchronize()

    def free(self) -> None:
        """Gives back memory that nothing uses any more."""
        gc.collect()
        if hasattr(self._module, "empty_cache"):
            self._module.empty_cache()

    def allocated(self) -> int:
        """Bytes of the tensors that are there; 0 where the device does not tell."""
        return self._module.memory_allocated() if hasattr(self._module, "memory_allocated") else 0

    def peak(self, action: Callable[[], object], base: int = 0) -> float | None:
        """GiB of tensors that were there at most while `action` ran, beyond `base` bytes; None where the
        device does not tell.
        """
        if not hasattr(self._module, "reset_peak_memory_stats"):
            return None
        self._module.reset_peak_memory_stats()
        action()
        self.synchronize()
        return (self._module.max_memory_allocated() - base) / GIB

    def waited_for(self, action: Callable[[], object]) -> Callable[[], None]:
        """The action with all that it gave the device to do."""

        def run() -> None:
            action()
            self.synchronize()

        return run

    def medians(self, actions: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
        """Median seconds of each action, by turns, after WARM_UP calls; as many of ROUNDS as about fit into
        `seconds`. With 0 seconds it is a look: two calls after one.
        """

        synchronised = {name: self.waited_for(action) for name, action in actions.items()}
        rounds = 2
        if seconds:
            for _ in range(WARM_UP - 1):
                start = time.perf_counter()
                for run in synchronised.values():
                    run()
                round_takes = time.perf_counter() - start
            rounds = min(max(int(seconds / max(round_takes, 1e-6)), ROUNDS[0]), ROUNDS[1])
        taken = clock.alternate(synchronised, rounds, warm_up=1)
        return {name: kinds[clock.WALL] for name, kinds in taken.items()}

    def waits(self, action: Callable[[], object]) -> tuple[int, int | None]:
        """How often `action` reads a number from a tensor, and how often it waits for the device for any
        reason; None where the profiler does not see that. The first run of a kernel is not counted.
        """
        action()
        self.synchronize()
        is_cuda = self.kind == "cuda"
        with profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
        ) as seen:
            action()
        names = Counter(event.name for event in seen.events())
        waits = names["cudaStreamSynchronize"] + names["hipStreamSynchronize"] if is_cuda else None
        return max(names["aten::_local_scalar_dense"], names["aten::item"]), waits


class Doubles(TorchDispatchMode):
    """While entered, notes the operations that make a float64 tensor on the device `kind`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.made_by: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if (
                isinstance(leaf, torch.Tensor)
                and leaf.dtype is torch.float64
                and leaf.device.type == self.kind
            ):
                self.made_by[function.name()] += 1
        return result
