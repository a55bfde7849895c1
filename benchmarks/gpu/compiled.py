"""Section `compiled`: what torch.compile gains a UNet call, how long it takes, and what a switch of LoRAs
costs it. A measured answer to "should the extension offer it".

A WebUI switches LoRAs by changing the weights in place. So does this, in all layers: it negates them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.checks import Checks, Job, Outcome
from benchmarks.gpu.device import Device, NotHere
from benchmarks.gpu.models import ONE_BLOCK, REAL, Painter

MODES = ("default", "reduce-overhead")
CALLS_UNTIL_FAST = 3
"""With "reduce-overhead" the first compiles, the second warms up, the third records the CUDA graph."""
LARGEST_ERROR = 0.05
"""Of the largest value in the answer: kernels that are fused round otherwise."""


def need_compiler(device: Device, mode: str) -> None:
    """Raises NotHere where `mode` cannot work."""
    if device.kind != "cuda" and mode == "reduce-overhead":
        raise NotHere("it records CUDA graphs")
    if device.kind == "cpu":
        names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "cl"]
        if not any(map(shutil.which, names)):
            raise NotHere(f"there is no C++ compiler ({', '.join(names)})")
    elif device.kind in ("cuda", "xpu") and importlib.util.find_spec("triton") is None:
        raise NotHere("Triton is not installed")


@torch.no_grad()
def switch_lora(unet: nn.Module) -> None:
    """Other weights in the same place; once more, and they are what they were."""
    for module in unet.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.weight.neg_()


def graphs() -> int:
    """How many graphs torch.compile has made since its reset."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def check(job: Job, get_painter: Callable[[], Painter], mode: str) -> Outcome:
    """One way to compile, from nothing."""
    device = job.device
    need_compiler(device, mode)
    painter = get_painter()
    torch.compiler.reset()
    # to try the script itself, what the last try compiled will do
    with contextlib.nullcontext() if job.small else _nothing_cached():
        unet = torch.compile(painter.unet, mode=mode)
        before = painter.call()

        def call() -> Tensor:
            torch.compiler.cudagraph_mark_step_begin()
            return painter.call(unet=unet)

        def seconds(calls: int) -> float:
            start = time.perf_counter()
            for _ in range(calls):
                call()
            device.synchronize()
            return time.perf_counter() - start

        device.synchronize()
        compiling = seconds(CALLS_UNTIL_FAST)
        taken = device.medians({"eager": painter.call, "compiled": call}, job.seconds)
        memory = device.peak(call)
        made = graphs()
        switch_lora(painter.unet)
        try:
            switching = seconds(1)
            recompiled = graphs() - made
            after, expected = call().clone(), painter.call()
        finally:
            switch_lora(painter.unet)
    error, change = (_distance(other, expected) for other in (after, before))
    figures = {
        "s to compile": compiling,
        "ms a call, eager": 1000 * taken["eager"],
        "ms a call, compiled": 1000 * taken["compiled"],
        "times as fast": taken["eager"] / taken["compiled"],
        "GiB": memory,
        "ms the first call after a switch of LoRAs": 1000 * switching,
        "graphs compiled anew by it": recompiled,
        "error after it": error,
    }
    gain = taken["eager"] - taken["compiled"]
    note = f"pays off after {compiling / gain:,.0f} calls" if gain > 0 else "never pays off"
    # an answer with the old weights would be as far off as the switch moved it
    passed = error <= LARGEST_ERROR < change
    return Outcome(figures, passed, note if passed else f"the switch is not seen; {note}")


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest value of `other`."""
    return float((one.float() - other.float()).abs().max() / other.float().abs().max())


def _nothing_cached() -> contextlib.AbstractContextManager[Any]:
    """Inside, nothing that an earlier run compiled is found on the disk."""
    from torch._inductor import utils

    fresh: Any = getattr(utils, "fresh_cache", None) or utils.fresh_inductor_cache
    return fresh()


def checks(job: Job) -> Checks:
    """Both ways for SD 1.5's UNet, then for SDXL's."""
    for size in (ONE_BLOCK,) if job.small else REAL:
        painter = cache(partial(Painter, size, job.device, 1))
        for mode in MODES:
            yield f"{size.label}, torch.compile, {mode}", partial(check, job, painter, mode)
        painter.cache_clear()
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()  # lets go of the compiled UNet
