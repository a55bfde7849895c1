"""Every parameter of a distillation, with the published values as defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lib_lcm.distill.optimisation import warm_up, warm_up_and_cosine

TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2",
    "conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj",
)  # fmt: skip
"""Ends of the names of the UNet layers (diffusers' names) that the official LCM-LoRAs adapt."""


@dataclass(frozen=True)
class DistillConfig:
    """Parameters of a distillation; the defaults are the published ones for SD 1.5 (hop and grid: LCM, table
    of section 5).

    `grid_points`: length of the grid of start timesteps, which are 19, 39, ..., 999 for 50 points and 1000
    `train_steps`. `hop`: least and greatest number of timesteps between start and end (the paper's k); the
    end is never below 0. `substeps`: least and greatest number of DDIM steps that the teacher takes for one
    hop. `guidance`: bounds of w, drawn evenly; the teacher's x0 is cond + w (cond - uncond), that is, CFG
    scale 1 + w. `loss`: "huber" (pseudo-Huber with constant `huber_c`) or "l2". `alpha` / `rank` scales the
    LoRA. `ema_decay` of the exported LoRA: 0 keeps the last weights, as the reference does. `sigma_data`,
    `timestep_scaling`: of the boundary scalings. `prediction_type`: "epsilon" or "v_prediction". `steps` are
    those of the optimiser; each takes `accumulation` batches of `batch` latents. The learning rate rises over
    `warmup` steps and then stays ("constant") or falls along half a cosine to a fiftieth at the last one
    ("cosine"). `precision`: "fp32", "bf16" or "fp16" (CUDA only), that of the UNet; the LoRA, its optimiser
    and the loss are always float32. `gradient_checkpointing` computes the UNet's blocks again in the backward
    pass instead of keeping what they computed: a quarter more time, a fraction of the memory. `method`:
    "lcm"; "full-lcm", whose student is told w (arXiv 2310.04378); "guided", which such a student begins with;
    or "trailing", which is for a LoRA that is sampled in exactly `grid_points` steps without fresh noise (4:
    999 749 499 249), see `distillation_loss`; `hop` is then from each point to the next.
    """

    train_steps: int = 1000
    grid_points: int = 50
    hop: tuple[int, int] = (20, 20)
    substeps: tuple[int, int] = (1, 1)
    guidance: tuple[float, float] = (5.0, 15.0)
    loss: str = "huber"
    huber_c: float = 0.001
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    learning_rate_schedule: str = "constant"
    warmup: int = 0
    batch: int = 12
    accumulation: int = 1
    steps: int = 1000
    rank: int = 64
    alpha: float = 8.0
    targets: tuple[str, ...] = TARGETS
    ema_decay: float = 0.0
    sigma_data: float = 0.5
    timestep_scaling: float = 10.0
    prediction_type: str = "epsilon"
    precision: str = "fp32"
    gradient_checkpointing: bool = False
    seed: int = 0
    method: str = "lcm"

    def __post_init__(self) -> None:
        for name in ("hop", "substeps", "guidance"):
            low, high = getattr(self, name)
            if low > high or (name != "guidance" and low < 1):
                raise ValueError(
                    f"{name} must be (least, greatest){'' if name == 'guidance' else ' and at least 1'}, got"
                    f" {(low, high)}"
                )
        if not 1 <= self.grid_points <= self.train_steps:
            raise ValueError(
                f"grid_points must be between 1 and train_steps ({self.train_steps}), got {self.grid_points}"
            )
        if self.method == "trailing" and self.hop != (self.train_steps // self.grid_points,) * 2:
            raise ValueError(
                f"hop must be from each of the {self.grid_points} points to the next, got {self.hop}"
            )
        for name in ("batch", "accumulation", "steps", "rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {self.ema_decay}")
        for name, known in (
            ("method", ("lcm", "full-lcm", "guided", "trailing")),
            ("loss", ("huber", "l2")),
            ("prediction_type", ("epsilon", "v_prediction")),
            ("learning_rate_schedule", ("constant", "cosine")),
            ("precision", ("fp32", "bf16", "fp16")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(repr, known))}, got {getattr(self, name)!r}"
                )

    @classmethod
    def sdxl(cls) -> DistillConfig:
        """The published values for SDXL: as for SD 1.5, with w from 3."""
        return cls(guidance=(3.0, 15.0))

    @classmethod
    def small_model(cls, **changes: Any) -> DistillConfig:
        """For models of a few million parameters and minutes of training: long hops in few DDIM steps, mild
        guidance, a coarse Huber constant, a high learning rate and a small rank. The published hop of 20
        shows no gain in that time."""
        small = cls(
            hop=(200, 240), substeps=(2, 3), guidance=(2.0, 4.0), huber_c=0.03, learning_rate=3e-3,
            betas=(0.9, 0.99),
            weight_decay=0.0, learning_rate_schedule="cosine", warmup=20, batch=24, rank=8, alpha=8.0,
            ema_decay=0.98,
        )  # fmt: skip
        return replace(small, **changes)

    @property
    def label(self) -> str:
        """The method, with its number of steps where it has one: "lcm", "full-lcm", "trailing-4"."""
        return f"{self.method}-{self.grid_points}" if self.method == "trailing" else self.method

    @property
    def tells_guidance(self) -> bool:
        """The student is told w."""
        return self.method in ("full-lcm", "guided")

    @property
    def grid(self) -> Tensor:
        """Start timesteps, ascending int64 [grid_points]."""
        return torch.arange(1, self.grid_points + 1) * (self.train_steps // self.grid_points) - 1

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of optimiser step `step`, counted from 0."""
        if self.learning_rate_schedule == "constant":
            return self.learning_rate * warm_up(step, self.warmup)
        return self.learning_rate * warm_up_and_cosine(step, self.steps, self.warmup)
