"""Command line of the trainer: `python -m workbench.train --all`, or `--stage NAME` (repeatable)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from workbench.small_models import MODELS
from workbench.train.common import DATA, Run
from workbench.train.evaluate import evaluate
from workbench.train.lora import train_lora
from workbench.train.teacher import train_teacher
from workbench.train.vae import encode_pool, train_vae, tune_decoder

STAGES: dict[str, Callable[[Run], Any]] = {
    "vae": train_vae,
    "latents": encode_pool,
    "decoder": tune_decoder,
    "teacher-sdxl": lambda run: train_teacher(run, "sdxl"),
    "teacher-sd15": lambda run: train_teacher(run, "sd15"),  # after sdxl: it starts from that one's text transformer
    "lora-sd15": lambda run: train_lora(run, "sd15"),
    "lora-sdxl": lambda run: train_lora(run, "sdxl"),
    "evaluate-sd15": lambda run: evaluate(run, "sd15"),
    "evaluate-sdxl": lambda run: evaluate(run, "sdxl"),
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workbench.train", description="Train the workbench's small models from nothing.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--all", action="store_true", help="every stage, in order")
    what.add_argument("--stage", action="append", choices=list(STAGES), help="one stage; may be given several times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="replaces the number of training steps of the stage")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything: shows that it runs, not that it works")
    parser.add_argument("--fresh", action="store_true", help="start again instead of continuing from a saved state")
    parser.add_argument("--data", type=Path, default=DATA, help="folder for states and the pool of latents")
    parser.add_argument("--models", type=Path, help=f"folder for the weights; default {MODELS}, or a folder in --data with --quick")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    data = options.data / "quick" if options.quick else options.data
    # A quick run must never replace the real weights unless told so.
    models = options.models or (data / "models" if options.quick else MODELS)
    run = Run(options.seed, data, models, options.steps, options.quick, resume=not options.fresh)
    for name in STAGES if options.all else options.stage:
        started = time.monotonic()
        result = STAGES[name](run)
        print(f"{name}: {result} ({time.monotonic() - started:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
