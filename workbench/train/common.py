"""What every training stage needs: where things go, a loop that can be resumed, and the recipes beside the
weights.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lib_lcm.distill.optimisation import (
    COSINE_FLOOR,
    MovingAverage,
    grad_scaler,
    save_state,
    warm_up_and_cosine,
)

DATA = Path(__file__).resolve().parents[2] / "workbench-data"
"""Default folder of what is not shipped: training states and the pool of latents (ignored by git)."""
SAVE_EVERY_SECONDS = 60.0
SNAPSHOT_EVERY_SECONDS = 300.0
UPDATE_SHARE = 1.15
"""Time of a whole training step, optimiser and moving average included, to that of the forward and backward
passes.
"""
FULL_CAPTION_SHARE = 0.75
"""How many captions to train on are complete; the rest leave out or vary words."""
BRIEF_LOSSES = 50
"""The reported loss is the mean of this many last steps."""


@dataclass(frozen=True)
class Run:
    """One invocation of the trainer.

    `data`: folder for states and intermediate files; `models`: folder for the finished weights; `steps`:
    replaces a stage's own number of steps; `seconds`: makes it as many as fit into this time; `quick`: a few
    steps of everything, for tests. `precision`: "fp32", "bf16" or "fp16", the arithmetic of forward passes;
    weights are always fp32.
    """

    seed: int = 0
    data: Path = DATA
    models: Path = DATA / "models"
    steps: int | None = None
    quick: bool = False
    resume: bool = True
    device: torch.device = torch.device("cpu")
    precision: str = "fp32"
    seconds: float | None = None

    def planned(self, default: int, quick: int) -> int:
        """The number of steps of a stage whose full length is `default`."""
        return self.steps if self.steps is not None else quick if self.quick else default

    def autocast(self) -> AbstractContextManager:
        """The arithmetic of `precision`."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16 if self.precision == "bf16" else torch.float16)

    @property
    def arithmetic(self) -> dict[str, str]:
        """What a recipe says about how the numbers were computed."""
        return {"device": self.device.type, "precision": self.precision, "torch": torch.__version__}

    def command(self, stage: str, steps: int) -> str:
        """The command line that repeats a stage."""
        return f"python -m workbench.train --stage {stage} --seed {self.seed} --steps {steps}"

    def checkpoint(self, name: str) -> Path:
        return self.models / "Stable-diffusion" / f"small-{name}.safetensors"

    def lora(self, family: str, method: str = "lcm") -> Path:
        name = method.replace("-", "_")
        if method in ("full-lcm", "guided"):  # a part of a checkpoint, not for the folder of LoRAs
            return self.models / f"{name}_{family}.safetensors"
        return self.models / "Lora" / f"{name}_lora_{family}.safetensors"


@dataclass
class Progress:
    """What a finished loop reports: the numbers that go into the recipe beside the weights."""

    steps: int
    seconds: float
    first_loss: float
    final_loss: float


def train_loop(
    name: str,
    run: Run,
    steps: int,
    parameters: list[nn.Parameter],
    loss_of_step: Callable[[int], Tensor],
    *,
    learning_rate: float,
    warmup: int,
    ema_decay: float,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    gradient_clip: float = 1.0,
    learning_rate_floor: float = COSINE_FLOOR,
    optimizer: torch.optim.Optimizer | None = None,
    snapshot: Callable[[], None] | None = None,
) -> Progress:
    """`optimizer` (None: AdamW) with warm-up and cosine decay over `steps` calls of `loss_of_step(step)`;
    leaves the moving average in `parameters`.

    With `run.seconds` the number of steps is what fits into that time, by the pace of the first ones. The
    state goes to `run.data/<name>.state.pt` once a minute, and a later call continues from there, also with
    another `steps`. Every step has a random state of its own, so an interrupted run ends with the very
    weights of an uninterrupted one. `snapshot`, when given, is called every few minutes with the moving
    average in place.
    """
    optimizer = optimizer or make_optimizer(parameters, learning_rate, betas, weight_decay)
    scaler = grad_scaler(run.device, enabled=run.precision == "fp16")
    average = MovingAverage(parameters, ema_decay)
    state_path = run.data / f"{name}.state.pt"
    run.data.mkdir(parents=True, exist_ok=True)
    step, seconds_before, losses = 0, 0.0, []
    if run.resume and state_path.exists():
        state = torch.load(state_path, map_location="cpu", weights_only=True)
        with torch.no_grad():
            for parameter, saved in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        average.load_state_dict(state["average"])
        step, seconds_before, losses = state["step"], state["seconds"], state["losses"]
        steps = state["planned"] if run.seconds else steps
    elif run.seconds:
        steps = steps_in(run.seconds, parameters, loss_of_step)
    started = saved_at = snapshot_at = time.monotonic()
    pending: list[Tensor] = []  # losses still on the device: reading each at once would make a GPU wait

    def read_losses() -> None:
        losses.extend(torch.stack(pending).tolist() if pending else [])
        pending.clear()

    def save() -> None:
        read_losses()
        state = {
            "parameters": [parameter.detach() for parameter in parameters],
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "average": average.state_dict(),
            "step": step,
            "planned": steps,
            "seconds": seconds_before + time.monotonic() - started,
            "losses": losses,
        }
        save_state(state, state_path)

    with tqdm(total=steps, initial=step, desc=name, mininterval=bar_interval()) as bar:
        while step < steps:
            torch.manual_seed(run.seed * 1_000_003 + step)
            for group in optimizer.param_groups:
                factor = warm_up_and_cosine(step, steps, min(warmup, max(1, steps // 4)), learning_rate_floor)
                group["lr"] = learning_rate * factor * group.get("share", 1.0)
            loss = loss_of_step(step)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, gradient_clip)
            scaler.step(optimizer)
            scaler.update()
            average.update()
            step += 1
            pending.append(loss.detach())
            bar.update()
            if len(pending) >= 20:
                read_losses()
                bar.set_postfix(loss=f"{recent_mean(losses):.4f}", refresh=False)
            now = time.monotonic()
            if now - saved_at > SAVE_EVERY_SECONDS:
                save()
                saved_at = now
            if snapshot is not None and now - snapshot_at > SNAPSHOT_EVERY_SECONDS:
                with average.in_place():
                    snapshot()
                snapshot_at = now
    save()
    average.swap()
    seconds = seconds_before + time.monotonic() - started
    first = sum(losses[:10]) / max(1, len(losses[:10]))
    return Progress(steps=step, seconds=seconds, first_loss=first, final_loss=recent_mean(losses))


def zero_layers(module: nn.Module, *endings: str) -> None:
    """Makes the layers of `module` whose names end so start at zero, and with them the residual branches that
    they close.
    """
    for name, layer in module.named_modules():
        if name.endswith(endings):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


def steps_in(seconds: float, parameters: list[nn.Parameter], loss_of_step: Callable[[int], Tensor]) -> int:
    """How many steps fit into `seconds`, by timing a few that change nothing."""
    trials = 8
    for trial in range(-2, trials):
        if trial == 0:
            started = time.monotonic()
        loss_of_step(0).backward()
    if parameters[0].is_cuda:
        torch.cuda.synchronize()
    pace = (time.monotonic() - started) / trials * UPDATE_SHARE
    for parameter in parameters:
        parameter.grad = None
    return max(10, int(seconds / pace))


def bar_interval() -> float:
    """Seconds between two updates of a progress bar: few lines where they go into a file."""
    return 2.0 if sys.stderr.isatty() else 20.0


def make_optimizer(
    parameters: list[nn.Parameter], learning_rate: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW, fused where this torch can (on a CPU: from 2.4), which saves a twentieth of a step."""
    settings = {"lr": learning_rate, "betas": betas, "weight_decay": weight_decay}
    try:
        return torch.optim.AdamW(parameters, fused=True, **settings)
    except RuntimeError:
        return torch.optim.AdamW(parameters, **settings)


def recent_mean(losses: list[float]) -> float:
    recent = losses[-BRIEF_LOSSES:]
    return sum(recent) / max(1, len(recent))


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def plain_settings(settings: Any) -> dict[str, Any]:
    """The fields of a settings dataclass, without the planned lengths: a recipe states the steps that were
    really made.
    """
    return {
        key: value
        for key, value in asdict(settings).items()
        if not key.endswith("steps") or key == "substeps"
    }


def update_recipe(path: Path, **entries: Any) -> None:
    """Adds `entries` to the JSON recipe at `path`, keeping what is there."""
    write_json(path, {**read_json(path), **entries})
