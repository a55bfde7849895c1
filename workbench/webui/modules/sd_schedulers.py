"""Noise schedules of the drop-down: each gives n + 1 sigmas, descending to 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from workbench.webui.k_diffusion_host import k_diffusion


@dataclass
class Scheduler:
    """`function(n, sigma_min, sigma_max, device)`, with `inner_model` too if need_inner_model."""

    name: str
    label: str
    function: Callable | None
    default_rho: float = -1
    need_inner_model: bool = False
    aliases: list | None = None


def _with_zero(levels, device):
    return torch.tensor([float(level) for level in levels] + [0.0], device=device)


def _at_timesteps(inner_model, timesteps, device):
    return _with_zero([inner_model.t_to_sigma(t) for t in timesteps], device)


def _ends(inner_model, sigma_min, sigma_max):
    return float(inner_model.sigma_to_t(torch.tensor(sigma_max))), float(
        inner_model.sigma_to_t(torch.tensor(sigma_min))
    )


def uniform(n, sigma_min, sigma_max, inner_model, device):
    """What the denoiser itself suggests: timesteps from the last to the first, evenly spaced."""
    return inner_model.get_sigmas(n).to(device)


def normal(n, sigma_min, sigma_max, inner_model, device):
    """Evenly spaced timesteps, both ends included."""
    start, end = _ends(inner_model, sigma_min, sigma_max)
    return _at_timesteps(inner_model, torch.linspace(start, end, n), device)


def sgm_uniform(n, sigma_min, sigma_max, inner_model, device):
    """Evenly spaced timesteps, the last end left out."""
    start, end = _ends(inner_model, sigma_min, sigma_max)
    return _at_timesteps(inner_model, torch.linspace(start, end, n + 1)[:-1], device)


def simple(n, sigma_min, sigma_max, inner_model, device):
    """Every (length / n)-th entry of the model's own noise levels, from the highest."""
    levels = inner_model.sigmas
    stride = len(levels) / n
    return _with_zero([levels[-1 - int(i * stride)] for i in range(n)], device)


def ddim(n, sigma_min, sigma_max, inner_model, device):
    """DDIM's timesteps: 1, 1 + k, 1 + 2k, ... for whole k; there can be one more than n."""
    levels = inner_model.sigmas
    stride = max(len(levels) // n, 1)
    return _with_zero(levels[1::stride].flip(0), device)


def kl_optimal(n, sigma_min, sigma_max, device):
    """Evenly spaced in the arctangent, down to the lowest level and no further: the last is not 0."""
    ends = torch.tensor([sigma_max, sigma_min]).atan()
    return torch.linspace(float(ends[0]), float(ends[1]), n + 1, device=device).tan()


def align_your_steps(n, sigma_min, sigma_max, device):
    """NVIDIA's eleven levels for SD 1.5 (arXiv 2404.14507), whatever the ends, interpolated in the
    logarithm.
    """
    published = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
    levels = torch.nn.functional.interpolate(
        torch.tensor(published).log().view(1, 1, -1), size=n, mode="linear", align_corners=True
    )
    return _with_zero(levels.flatten().exp(), device)


schedulers = [
    Scheduler("automatic", "Automatic", None),
    Scheduler("uniform", "Uniform", uniform, need_inner_model=True),
    Scheduler("karras", "Karras", k_diffusion.sampling.get_sigmas_karras, default_rho=7.0),
    Scheduler("exponential", "Exponential", k_diffusion.sampling.get_sigmas_exponential),
    Scheduler(
        "polyexponential", "Polyexponential", k_diffusion.sampling.get_sigmas_polyexponential, default_rho=1.0
    ),
    Scheduler("sgm_uniform", "SGM Uniform", sgm_uniform, need_inner_model=True, aliases=["SGMUniform"]),
    Scheduler("kl_optimal", "KL Optimal", kl_optimal),
    Scheduler("align_your_steps", "Align Your Steps", align_your_steps),
    Scheduler("simple", "Simple", simple, need_inner_model=True),
    Scheduler("normal", "Normal", normal, need_inner_model=True),
    Scheduler("ddim", "DDIM", ddim, need_inner_model=True),
]
schedulers_map = {
    **{scheduler.name: scheduler for scheduler in schedulers},
    **{scheduler.label: scheduler for scheduler in schedulers},
}
