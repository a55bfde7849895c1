"""Algorithm 1 of the reports on LCM-LoRA and on full LCMs, whose UNet is told the guidance: the teacher's
guided solver, the consistency function, and the loss between two of its answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lib_lcm.distill.config import DistillConfig

Student = Callable[..., Tensor]
"""(sample, timesteps, cond) -> prediction; that of a full LCM gets w [B] after them."""
Teacher = Callable[[Tensor, Tensor, Any, Any], tuple[Tensor, Tensor]]


def boundary_scalings(timesteps: Tensor, config: DistillConfig) -> tuple[Tensor, Tensor]:
    """(c_skip, c_out) [B]: 1 and 0 at timestep 0, so that a consistency function leaves a clean sample as it
    is.
    """
    scaled = timesteps.double() * config.timestep_scaling
    total = scaled**2 + config.sigma_data**2
    return (config.sigma_data**2 / total).float(), (scaled / total.sqrt()).float()


def denoised_and_noise(
    prediction: Tensor, sample: Tensor, abar: Tensor, prediction_type: str
) -> tuple[Tensor, Tensor]:
    """(x0, epsilon), each [B, ...], from a network's prediction; `abar` is alpha-bar broadcastable to
    `sample`.
    """
    signal, noise_level = abar.sqrt(), (1.0 - abar).sqrt()
    if prediction_type == "epsilon":
        return (sample - noise_level * prediction) / signal, prediction
    return signal * sample - noise_level * prediction, signal * prediction + noise_level * sample


def velocity(prediction: Tensor, sample: Tensor, abar: Tensor, prediction_type: str) -> Tensor:
    """v [B, ...] from a network's prediction; `abar` as above. Its error counts at all timesteps."""
    denoised, noise = denoised_and_noise(prediction, sample, abar, prediction_type)
    return abar.sqrt() * noise - (1.0 - abar).sqrt() * denoised


def ddim_solve(
    teacher: Teacher,
    sample: Tensor,
    starts: Tensor,
    ends: Tensor,
    substeps: int,
    w: Tensor,
    cond: Any,
    uncond: Any,
    alphas_cumprod: Tensor,
    prediction_type: str = "epsilon",
) -> Tensor:
    """Takes `sample` [B, ...] from timesteps `starts` to `ends` (int64 [B]) in `substeps` guided DDIM steps;
    `w` [B].
    """
    w = _column(w, sample)
    now = starts
    for index in range(substeps):
        after = starts + torch.div((ends - starts) * (index + 1), substeps, rounding_mode="trunc")
        abar, abar_after = (_column(alphas_cumprod[t], sample) for t in (now, after))
        # What a network answers in half precision is used in the sample's own.
        with_cond, without = (prediction.to(sample) for prediction in teacher(sample, now, cond, uncond))
        # x0 and epsilon are both affine in the prediction, so guiding the prediction guides the two of them
        # alike.
        denoised, noise = denoised_and_noise(
            with_cond + w * (with_cond - without), sample, abar, prediction_type
        )
        sample = abar_after.sqrt() * denoised + (1.0 - abar_after).sqrt() * noise
        now = after
    return sample


def consistency(
    network: Student,
    sample: Tensor,
    timesteps: Tensor,
    cond: Any,
    alphas_cumprod: Tensor,
    config: DistillConfig,
) -> Tensor:
    """The consistency function f(x_t, t) = c_skip x_t + c_out x0(x_t, t), [B, ...]."""
    c_skip, c_out = (_column(scaling, sample) for scaling in boundary_scalings(timesteps, config))
    abar = _column(alphas_cumprod[timesteps], sample)
    denoised, _ = denoised_and_noise(
        network(sample, timesteps, cond).to(sample), sample, abar, config.prediction_type
    )
    return c_skip * sample + c_out * denoised


def distance(predicted: Tensor, target: Tensor, config: DistillConfig) -> Tensor:
    """Mean loss between [B, ...] tensors: pseudo-Huber sqrt(d^2 + c^2) - c, or the mean squared
    difference.
    """
    difference = predicted.float() - target.float()
    if config.loss == "l2":
        return difference.square().mean()
    return ((difference.square() + config.huber_c**2).sqrt() - config.huber_c).mean()


def distillation_loss(
    student: Student,
    teacher: Teacher,
    latents: Tensor,
    cond: Any,
    uncond: Any,
    alphas_cumprod: Tensor,
    config: DistillConfig,
) -> Tensor:
    """One step of Algorithm 1 on clean `latents` [B, ...]: draws timesteps, noise and w from torch's random
    state, returns the loss.

    The student of a full LCM is told w, so that it answers as the teacher with that guidance; with the method
    "guided" it learns no more than that answer (first stage of arXiv 2210.03142), to begin a full LCM with.
    The target comes from the student itself, without gradient, at the timestep where the teacher's solver
    ends. With the method "trailing" it is where the solver ends, and the student has to get there in one DDIM
    step: progressive distillation (arXiv 2202.00512) of all the teacher's steps at once.
    """
    count = len(latents)
    starts = config.grid[torch.randint(config.grid_points, (count,))].to(latents.device)
    ends = (starts - torch.randint(config.hop[0], config.hop[1] + 1, (count,)).to(starts)).clamp(min=0)
    substeps = int(torch.randint(config.substeps[0], config.substeps[1] + 1, ()))
    low, high = config.guidance
    w = (low + (high - low) * torch.rand(count)).to(latents)

    def network(*asked: Any) -> Tensor:
        return student(*asked, w) if config.tells_guidance else student(*asked)

    abar = _column(alphas_cumprod[starts], latents)
    sample = abar.sqrt() * latents + (1.0 - abar).sqrt() * torch.randn_like(latents)
    if config.method == "guided":
        with torch.no_grad():
            with_cond, without = teacher(sample, starts, cond, uncond)
        guided = with_cond + _column(w, sample) * (with_cond - without)
        answer, wanted = (
            velocity(prediction.to(sample), sample, abar, config.prediction_type)
            for prediction in (network(sample, starts, cond), guided)
        )
        return distance(answer, wanted, config)
    with torch.no_grad():
        earlier = ddim_solve(
            teacher, sample, starts, ends, substeps, w, cond, uncond, alphas_cumprod, config.prediction_type
        )
    if config.method == "trailing":
        step = ddim_solve(
            lambda *asked: (student(*asked[:3]),) * 2, sample, starts, ends, 1, 0 * w, cond, uncond,
            alphas_cumprod, config.prediction_type
        )  # fmt: skip
        return distance(step, earlier, config)
    with torch.no_grad():
        target = consistency(network, earlier, ends, cond, alphas_cumprod, config)
    return distance(consistency(network, sample, starts, cond, alphas_cumprod, config), target, config)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B, 1, ...] of `like`'s dtype."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))
