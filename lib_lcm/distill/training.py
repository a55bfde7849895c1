"""The training loop: batches in, a LoRA out, interruptible at any time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib_lcm.distill.algorithm import Student, Teacher, distillation_loss
from lib_lcm.distill.checkpointing import checkpoint_blocks
from lib_lcm.distill.config import DistillConfig
from lib_lcm.distill.lora import LoraAdapter
from lib_lcm.distill.memory import autocast, estimate_memory
from lib_lcm.distill.optimisation import MovingAverage, grad_scaler, save_state

Batch = tuple[Tensor, Any, Any]
"""Clean latents [B, ...], the conditions of their captions, and those of no caption."""
SEED_STRIDE = 1_000_003
"""Keeps the random states of runs with neighbouring seeds apart."""


class Distillation:
    """One distillation of `adapter`, a LoRA on `unet`.

    `student` and `teacher` as in `lib_lcm.distill`; `alphas_cumprod` float [train_steps], on the UNet's
    device. `batch(index)` returns batch number `index`, the same whenever it is asked for the same; each step
    asks for `config.accumulation` of them.

    Every step has a random state of its own, and with the state of an interrupted run loaded, what follows is
    bit for bit what would have followed (on one machine and version of torch, with kernels that are
    deterministic).
    """

    def __init__(
        self,
        unet: nn.Module,
        adapter: LoraAdapter,
        student: Student,
        teacher: Teacher,
        alphas_cumprod: Tensor,
        batch: Callable[[int], Batch],
        config: DistillConfig,
    ) -> None:
        self.unet, self.adapter, self.student, self.teacher = unet, adapter, student, teacher
        self.alphas_cumprod, self.batch, self.config = alphas_cumprod, batch, config
        self.parameters = list(adapter.parameters())
        self.device = self.parameters[0].device
        weight = next(unet.parameters())
        if config.precision == "fp32" and weight.dtype != torch.float32:
            raise ValueError(
                f"the UNet's weights are {weight.dtype}: choose the precision 'bf16' or 'fp16', or convert"
                " them to float32"
            )
        autocast(config, self.device)  # raises for what the device cannot do
        unet.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        self.scaler = grad_scaler(self.device, enabled=config.precision == "fp16")
        self.average = MovingAverage(self.parameters, config.ema_decay) if config.ema_decay else None
        self.step = 0
        self.seconds = 0.0
        self.losses: list[float] = []

    def run(
        self,
        *,
        state_path: str | Path | None = None,
        save_every: float = 60.0,
        until: int | None = None,
        on_step: Callable[[Distillation], None] | None = None,
        say: Callable[[str], None] | None = print,
    ) -> None:
        """Trains until `config.steps` (or, to stop early, `until`) steps are made.

        `state_path`: continues from the state in this file when it is there, and writes it every `save_every`
        seconds and at the end. `say`, where it is given, gets the memory estimate before the first step.
        `on_step` is called after each one.
        """
        path = None if state_path is None else Path(state_path)
        if path is not None and path.exists():
            self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        last = self.config.steps if until is None else min(until, self.config.steps)
        if self.step < last and say is not None:
            say(self.memory())
        undo = checkpoint_blocks(self.unet) if self.config.gradient_checkpointing else lambda: None
        saved_at = time.monotonic()
        try:
            while self.step < last:
                self.train_step()
                if on_step is not None:
                    on_step(self)
                if path is not None and time.monotonic() - saved_at > save_every:
                    save_state(self.state_dict(), path)
                    saved_at = time.monotonic()
        finally:
            undo()
        if path is not None:
            save_state(self.state_dict(), path)

    def train_step(self) -> float:
        """One step of the optimiser; returns its loss, the mean over the batches."""
        started = time.monotonic()
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate_at(self.step)
        torch.manual_seed(config.seed * SEED_STRIDE + self.step)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(config.accumulation):
            latents, cond, uncond = self.batch(self.step * config.accumulation + part)
            with autocast(config, self.device):
                loss = distillation_loss(
                    self.student, self.teacher, latents, cond, uncond, self.alphas_cumprod, config
                )
            self.scaler.scale(loss / config.accumulation).backward()
            total += loss.item() / config.accumulation
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, config.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        if self.average is not None:
            self.average.update()
        self.losses.append(total)
        self.seconds += time.monotonic() - started
        return total

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the LoRA has its moving average as weights (its last weights, where there is no average):
        what is to be saved.
        """
        return nullcontext() if self.average is None else self.average.in_place()

    def memory(self) -> str:
        """The sentence about memory, see `estimate_memory`. Draws the next batch, and changes nothing."""
        latents, cond, _ = self.batch(self.step * self.config.accumulation)
        try:
            return str(estimate_memory(self.unet, self.adapter, self.student, latents, cond, self.config))
        except (RuntimeError, NotImplementedError, TypeError) as error:
            # a student that needs more than shapes
            return (
                f"The memory that distillation needs could not be estimated ({str(error).splitlines()[0]})."
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "lora": [parameter.detach() for parameter in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`. ValueError when it is of another LoRA, or has an average where
        `config` has none.
        """
        shapes = [tensor.shape for tensor in state["lora"]]
        if shapes != [parameter.shape for parameter in self.parameters] or (state["average"] is None) != (
            self.average is None
        ):
            raise ValueError(
                "the saved state is of another LoRA or configuration: remove the file to start anew"
            )
        with torch.no_grad():
            for parameter, saved in zip(self.parameters, state["lora"], strict=True):
                parameter.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step, self.seconds, self.losses = state["step"], state["seconds"], list(state["losses"])
