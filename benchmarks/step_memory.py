"""What a step of distillation takes on a CPU at real size, in memory and time, against the estimate.

    python dev.py bench step_memory --batch 2 --checkpointing

The networks have random weights; memory is what this process holds beyond what it held before.
"""

from __future__ import annotations

import argparse
import threading
import time

import psutil
import torch

from benchmarks.gpu.device import GIB, Device
from benchmarks.gpu.distillation import distillation_of
from benchmarks.gpu.models import REAL
from lib_lcm.distill import DistillConfig

SECONDS_BETWEEN_LOOKS = 0.01


def main(arguments: list[str]) -> None:
    sizes = {size.label: size for size in REAL}
    parser = argparse.ArgumentParser(prog="python dev.py bench step_memory", description=__doc__)
    parser.add_argument("--size", choices=list(sizes), default=next(iter(sizes)))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--checkpointing", action="store_true")
    options = parser.parse_args(arguments)
    process = psutil.Process()
    before = peak = process.memory_info().rss
    config = DistillConfig(batch=options.batch, gradient_checkpointing=options.checkpointing)
    run, estimate = distillation_of(sizes[options.size], config, Device("cpu"), torch.float32)
    is_over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(SECONDS_BETWEEN_LOOKS):
            peak = max(peak, process.memory_info().rss)

    threading.Thread(target=watch, daemon=True).start()
    for number in (1, 2):  # Adam's moments are there from the second one on
        peak, began = 0, time.monotonic()
        run.train_step()
        seconds, held = time.monotonic() - began, (peak - before) / GIB
        print(
            f"{options.size}, batch {options.batch}, step {number}: {seconds:.0f} s, {held:.2f} GiB,"
            f" {estimate:.2f} estimated ({held / estimate - 1:+.0%})",
            flush=True,
        )
    is_over.set()
