"""Section `distillation`: what a step of `lib_lcm.distill` takes at real size, in time and in memory, and
whether `estimate_memory` told the truth before.

Latents and conditions are noise; the teacher is the student without its LoRA, as in every distillation here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from benchmarks import clock
from benchmarks.gpu.checks import Checks, Job, Outcome
from benchmarks.gpu.device import GIB, Device
from benchmarks.gpu.models import REAL, SMALL, Size, conditions, unet_of
from benchmarks.gpu.samplers import ALPHAS
from lib_lcm.distill import Distillation, DistillConfig, LoraAdapter, checkpoint_blocks, estimate_memory

TOLERANCE = 0.1
"""Of the estimate, either way."""
RUNS = ((12, True), (1, False))
"""Batch and gradient checkpointing: the published batch, and what fits on a small card."""
LONG_RUN = 1000


def distillation_of(
    size: Size, config: DistillConfig, device: Device, dtype: torch.dtype
) -> tuple[Distillation, float]:
    """One that has seen no batch yet, and the GiB that are estimated for it."""
    unet = unet_of(size, device, dtype)
    adapter = LoraAdapter(unet, config.rank, config.alpha)
    latents = torch.randn(config.batch, *size.latent, device=device.kind)
    cond, uncond = (conditions(size, config.batch, device, dtype) for _ in range(2))

    def student(sample: Tensor, timesteps: Tensor, cond: Any) -> Tensor:
        return unet(sample, timesteps, **cond).sample

    def teacher(sample: Tensor, timesteps: Tensor, cond: Any, uncond: Any) -> tuple[Tensor, Tensor]:
        both = tree_map(lambda *parts: torch.cat(parts), cond, uncond)
        with adapter.disabled():
            with_cond, without = student(
                torch.cat([sample, sample]), torch.cat([timesteps, timesteps]), both
            ).chunk(2)
        return with_cond, without

    alphas = ALPHAS.float().to(device.kind)
    run = Distillation(unet, adapter, student, teacher, alphas, lambda _: (latents, cond, uncond), config)
    estimate = estimate_memory(unet, adapter, student, latents, cond, config).total / GIB
    if config.gradient_checkpointing:
        checkpoint_blocks(unet)
    return run, estimate


def check(job: Job, size: Size, batch: int, checkpointing: bool) -> Outcome:
    """Steps with one batch, in bfloat16."""
    device = job.device
    before = device.allocated()
    config = DistillConfig(
        batch=batch, rank=8 if job.small else 64, precision="bf16", gradient_checkpointing=checkpointing
    )
    run, estimate = distillation_of(size, config, device, torch.bfloat16)
    run.train_step()  # Adam's moments are there from the second one on
    peak = device.peak(run.train_step, before)
    step = device.waited_for(run.train_step)
    seconds = clock.alternate({"step": step}, 1 if job.small else 3, warm_up=0)["step"][clock.WALL]
    figures = {
        "s a step": seconds,
        f"minutes for {LONG_RUN:,} steps": seconds * LONG_RUN / 60,
        "GiB": peak,
        "GiB estimated": estimate,
    }
    if peak is None:
        return Outcome(figures)
    passed = abs(peak / estimate - 1) <= TOLERANCE
    return Outcome(figures, passed, f"{peak / estimate - 1:+.0%} of the estimate")


def checks(job: Job) -> Checks:
    """The published batch with checkpointing, and one latent without, at both sizes."""
    for size in SMALL if job.small else REAL:
        for batch, checkpointing in RUNS:
            batch = min(batch, 2) if job.small else batch
            what = "with checkpointing" if checkpointing else "without checkpointing"
            yield (
                f"{size.label}, distillation, batch {batch}, {what}",
                partial(check, job, size, batch, checkpointing),
            )
