"""Command line of the trainer: `python -m workbench.train --all --budget 150`, or `--stage NAME`
(repeatable).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from workbench.train.classifier import train_classifier
from workbench.train.common import DATA, Run
from workbench.train.evaluate import evaluate
from workbench.train.lora import FULL, GUIDED, TRAILING, config_on, train_lora, train_style
from workbench.train.teacher import train_teacher
from workbench.train.text import train_text
from workbench.train.vae import encode_pools, train_vae, tune_decoder


@dataclass(frozen=True)
class Stage:
    """`share` of a time budget, in parts; 0 for stages that take as long as they take."""

    call: Callable[[Run], Any]
    share: float = 0.0


def _text(family: str) -> Callable[[Run], Any]:
    return lambda run: train_text(run, family)


def _teacher(name: str) -> Callable[[Run], Any]:
    return lambda run: train_teacher(run, name)


def _lora(family: str) -> Callable[[Run], Any]:
    return lambda run: train_lora(run, family)


STAGES = {
    "text-sd15": Stage(_text("sd15"), 0.3),
    "text-sdxl": Stage(_text("sdxl"), 1),
    "vae": Stage(train_vae, 7),
    "decoder": Stage(tune_decoder, 4),
    "latents": Stage(encode_pools),
    "teacher-sd15": Stage(_teacher("sd15"), 31),
    "lora-sd15": Stage(_lora("sd15"), 10),
    "guided-sd15": Stage(lambda run: train_lora(run, "sd15", config_on(run.device, GUIDED)), 5),
    "full-lcm-sd15": Stage(lambda run: train_lora(run, "sd15", config_on(run.device, FULL)), 12),
    "trailing-4-sd15": Stage(lambda run: train_lora(run, "sd15", config_on(run.device, TRAILING)), 8),
    "teacher-sdxl": Stage(_teacher("sdxl"), 20),
    "lora-sdxl": Stage(_lora("sdxl"), 14),
    "teacher-sd15-lit": Stage(_teacher("sd15-lit"), 6),
    "teacher-sd15-v": Stage(_teacher("sd15-v"), 8),
    "style-sd15": Stage(train_style, 2),
    "teacher-ssd1b": Stage(_teacher("ssd1b"), 7),
    "lora-ssd1b": Stage(_lora("ssd1b"), 12),
    "classifier": Stage(train_classifier, 3),
    "evaluate": Stage(evaluate),
}
"""In the order in which they need each other; the most wanted ones come first, so that a budget cut short
leaves a whole pair.
"""
UNTIMED_SHARE = 0.1
"""Of a budget, kept for the stages that cannot be shortened: pools of latents and the figures at the end."""


def budgets(names: Sequence[str], minutes: float) -> dict[str, float]:
    """Seconds for each of the stages that can be shortened."""
    total = sum(STAGES[name].share for name in names)
    return {
        name: 60 * minutes * (1 - UNTIMED_SHARE) * STAGES[name].share / total
        for name in names
        if STAGES[name].share
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m workbench.train", description="Train the workbench's small models from nothing."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--all", action="store_true", help="every stage, in order")
    what.add_argument(
        "--stage", action="append", choices=list(STAGES), help="one stage; may be given several times"
    )
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="spread this time over the stages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="replaces the number of training steps of the stage")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few steps of everything: shows that it runs, not that it works",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start again instead of continuing from a saved state"
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder for states and the pools of latents")
    parser.add_argument("--models", type=Path, help="folder for the weights; default: models in --data")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "fp16"),
        help="of forward passes; default: bf16 on a GPU, else fp32",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    options = parser.parse_args(arguments)
    if options.budget is not None and options.steps is not None:
        parser.error("--budget and --steps exclude each other")
    return options


def run_of(options: argparse.Namespace) -> Run:
    """What the command line asks for. The shipped weights are only written over where --models names them."""
    device = torch.device(options.device)
    data = options.data / "quick" if options.quick else options.data
    return Run(
        seed=options.seed,
        data=data,
        models=options.models or data / "models",
        steps=options.steps,
        quick=options.quick,
        resume=not options.fresh,
        device=device,
        precision=options.precision or ("bf16" if device.type == "cuda" else "fp32"),
    )


def finished(run: Run) -> Path:
    """Where it is noted which stages of a budgeted run are done, so that the same command goes on after an
    interruption.
    """
    return run.data / "finished-stages.txt"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    run = run_of(options)
    run.data.mkdir(parents=True, exist_ok=True)
    names = list(STAGES) if options.all else options.stage
    seconds = budgets(names, options.budget) if options.budget else {}
    done = (
        set(finished(run).read_text().split())
        if options.budget and run.resume and finished(run).exists()
        else set()
    )
    for name in names:
        if name in done:
            print(f"{name}: done before", flush=True)
            continue
        started = time.monotonic()
        result = STAGES[name].call(replace(run, seconds=seconds.get(name)))
        print(f"{name}: {result} ({time.monotonic() - started:.0f} s)", flush=True)
        if options.budget:
            done.add(name)
            finished(run).write_text("\n".join(sorted(done)) + "\n")
    return 0


if __name__ == "__main__":
    # Of the whole process, so not in main(). After some 400 steps many numbers are below 1e-38, and as they
    # are a step then takes about twice as long on a CPU.
    torch.set_flush_denormal(True)
    raise SystemExit(main())
