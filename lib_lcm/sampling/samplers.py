"""The consistency samplers, LCM and TCD, as functions with k-diffusion's sampler signature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tqdm.auto import trange

SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


def boundary_scalings(timestep: float) -> tuple[float, float]:
    """c_skip and c_out of the consistency function at a timestep (LCM paper, appendix C; diffusers'
    LCMScheduler).

    They make the function the identity at t = 0. At t = 19, the cleanest timestep that is ever visited,
    c_skip is 7e-6.
    """
    scaled = timestep * TIMESTEP_SCALING
    c_skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
    c_out = scaled / math.sqrt(scaled**2 + SIGMA_DATA**2)
    return c_skip, c_out


@torch.no_grad()
def sample_lcm(
    model: Callable[..., torch.Tensor],
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,
    noise_sampler: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    *,
    timesteps: Sequence[float] | None = None,
) -> torch.Tensor:
    """Multistep latent consistency sampling (LCM, arXiv 2310.04378, algorithm 3).

    model: `model(x, sigma, **extra_args)` returns the denoised latent, shape of x; sigma has shape [batch].
    x: noisy latent [batch, channels, height, width] in k-diffusion's variance-exploding scaling, at noise
        level sigmas[0].
    sigmas: descending noise levels [steps + 1]; the last is 0.
    callback: called after each model call with x, i, sigma, sigma_hat and denoised, as by k-diffusion's
        samplers.
    noise_sampler: `noise_sampler(sigma, sigma_next)` returns fresh unit noise of x's shape; torch.randn_like
        by default.
    timesteps: one per step, for the boundary scalings; without them the consistency function is the denoiser
        itself.

    Returns the denoised latent. Neither `x` nor any tensor returned by `model` is changed in place: a live
    preview may hold it. Raises ValueError when `timesteps` and `sigmas` do not belong together.
    """
    steps = len(sigmas) - 1
    if timesteps is not None and len(timesteps) != steps:
        raise ValueError(f"There are {len(timesteps)} timesteps for {steps} steps; give one for each.")
    levels = sigmas.tolist()  # once: reading a level from a GPU tensor at every step would wait for the GPU
    denoise = _denoiser(model, x, sigmas, extra_args, callback)
    noise_sampler = noise_sampler or (lambda *_: torch.randn_like(x))
    for i in trange(steps, disable=disable):
        denoised = denoise(x, i)
        if timesteps is not None:
            c_skip, c_out = boundary_scalings(timesteps[i])
            # c_skip weighs the sample in variance-preserving scaling, x / sqrt(1 + sigma^2)
            denoised = denoised * c_out + x * (c_skip / math.hypot(1.0, levels[i]))
        if levels[i + 1] > 0:
            x = denoised + noise_sampler(sigmas[i], sigmas[i + 1]) * levels[i + 1]
        else:
            x = denoised
        del denoised  # not to lie in memory during the next model call
    return x


@torch.no_grad()
def sample_tcd(
    model: Callable[..., torch.Tensor],
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,
    noise_sampler: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    *,
    jump_sigmas: Sequence[float],
) -> torch.Tensor:
    """Strategic stochastic sampling with trajectory consistency (TCD, arXiv 2402.19159, algorithm 4;
    diffusers' TCDScheduler).

    Each step follows the trajectory down to a noise level below the next one, and adds the noise that is
    missing there.

    model, x, extra_args, callback, noise_sampler: as for `sample_lcm`.
    sigmas: descending noise levels [steps + 1]. The reference ends at t = 0, whose level is not quite 0; 0 is
        fine too.
    jump_sigmas: the level that each step goes down to, one per step: the next of `sigmas` (or anything above)
        for a deterministic step, the lowest there is for one that renews all noise; `schedules.tcd_jumps`
        gives their timesteps.

    Returns the latent at the last of `sigmas`, scaled to the data's variance as the reference does.
    Neither `x` nor any tensor returned by `model` is changed in place: a live preview may hold it.
    Raises ValueError when `jump_sigmas` and `sigmas` do not belong together.
    """
    steps = len(sigmas) - 1
    if len(jump_sigmas) != steps:
        raise ValueError(
            f"There are {len(jump_sigmas)} levels to jump to for {steps} steps; give one for each."
        )
    levels = sigmas.tolist()  # once, as above
    denoise = _denoiser(model, x, sigmas, extra_args, callback)
    noise_sampler = noise_sampler or (lambda *_: torch.randn_like(x))
    for i in trange(steps, disable=disable):
        jump = min(max(jump_sigmas[i], 0.0), levels[i + 1])
        missing = math.sqrt(levels[i + 1] ** 2 - jump**2)
        denoised = denoise(x, i)
        # (x - denoised) / sigma is the predicted noise
        x = (x - denoised).mul_(jump / levels[i]).add_(denoised)
        del denoised  # not to lie in memory during the next model call
        if missing > 0 and i + 1 < steps:
            x.add_(noise_sampler(sigmas[i], sigmas[i + 1]), alpha=missing)
    return x if levels[-1] == 0 else x / math.hypot(1.0, levels[-1])


def _denoiser(
    model: Callable[..., torch.Tensor],
    x: torch.Tensor,
    sigmas: torch.Tensor,
    extra_args: dict[str, Any] | None,
    callback: Callable[[dict[str, Any]], None] | None,
) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """The model as `denoise(x, i)`, at the noise level of step i; the callback is shown what it returns."""
    s_in = x.new_ones([x.shape[0]])

    def denoise(x: torch.Tensor, i: int) -> torch.Tensor:
        denoised = model(x, sigmas[i] * s_in, **(extra_args or {}))
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        return denoised

    return denoise
