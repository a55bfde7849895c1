"""Which timesteps a consistency model visits, and the noise level at each.

The reference is diffusers' `LCMScheduler.set_timesteps` (schedulers/scheduling_lcm.py);
tests/unit/test_schedule.py compares with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch

from lib_lcm.methods import EVEN, GRID

TRAIN_STEPS = 1000
"""Timesteps of the noise schedule that SD 1.x, SD 2.x and SDXL were trained with."""

BETAS = 0.00085, 0.012
"""Of the first and the last of them."""

ORIGINAL_STEPS = 50
"""Points of the DDIM grid that the official LCM-LoRAs were distilled on (t = 19, 39, ..., 999)."""


def usable_steps(*, original_steps: int = ORIGINAL_STEPS, strength: float = 1.0) -> int:
    """How many points of the distillation grid a denoising strength of `strength` leaves; no run can have
    more steps.
    """
    return int(original_steps * strength)


def lcm_timesteps(
    steps: int, *, original_steps: int = ORIGINAL_STEPS, strength: float = 1.0, train_steps: int = TRAIN_STEPS
) -> list[int]:
    """The timesteps that a run of `steps` steps visits, in descending order.

    The distillation grid (`original_steps` points) is cut at `int(original_steps * strength)` points, and
    `steps` of the rest are taken, evenly by index, starting at the noisiest. Where the cut leaves fewer
    points than `steps` (diffusers raises there), all that are left are visited, so the list can be shorter
    than `steps`, and empty for strength 0.

    Raises ValueError when an argument is out of its range.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1.")
    if not 1 <= original_steps <= train_steps:
        raise ValueError(
            f"original_steps is {original_steps}; it must be between 1 and {train_steps}, the timesteps of"
            " the model."
        )
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength is {strength}; it must be between 0 and 1.")
    skip = train_steps // original_steps
    points = usable_steps(original_steps=original_steps, strength=strength)
    count = min(steps, points)
    if count == 0:
        return []
    # The reference floors np.linspace(0, points, count, endpoint=False), whose rounding (i * spacing in
    # floats) decides which of two points some of the longer runs visit: 22 steps at strength 0.6, for one.
    spacing = points / count
    return [(points - math.floor(i * spacing)) * skip - 1 for i in range(count)]


FINER_TIMESTEPS = {2: [999, 299], 3: [999, 519, 139], 4: [999, 652, 325, 59]}
"""Steps -> timesteps that end lower than the reference's. With an LCM-LoRA they drew more right on all small
checkpoints, most on the one that the LoRA was not distilled from: docs/small-models.md.
"""


def even_timesteps(steps: int, *, strength: float = 1.0, train_steps: int = TRAIN_STEPS) -> list[int]:
    """The timesteps of diffusers' `timestep_spacing="trailing"`, in descending order: `steps` evenly from the
    last one of the model down, as Lightning, DMD2 and others were distilled on.

    A denoising strength below 1 leaves the last `int(steps * strength)` of them, so the list can be shorter
    than `steps`. Where it leaves none (diffusers raises there), the one step starts at the strength itself;
    strength 0 gives no step. Raises ValueError when an argument is out of its range.
    """
    if not 1 <= steps <= train_steps:
        raise ValueError(f"steps is {steps}; it must be between 1 and {train_steps}.")
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength is {strength}; it must be between 0 and 1.")
    # halves are rounded to even, by numpy there as by Python here
    timesteps = [round(train_steps - i * (train_steps / steps)) - 1 for i in range(steps)]
    return timesteps[steps - int(steps * strength) :] or _one_timestep(train_steps, strength)


def timesteps_by(rule: str | int, steps: int, *, strength: float = 1.0) -> list[int]:
    """The timesteps that a recipe of `methods` visits: by its rule, or the one that it names, descending."""
    if rule == GRID:
        return lcm_timesteps(steps, strength=strength)
    if rule == EVEN:
        return even_timesteps(steps, strength=strength)
    return [min(int(rule), last) for last in _one_timestep(TRAIN_STEPS, strength)]


def _one_timestep(train_steps: int, strength: float) -> list[int]:
    """The noisiest timestep that a denoising strength leaves, if any."""
    return [math.ceil(train_steps * strength) - 1] if strength > 0 else []


def tcd_jumps(timesteps: Sequence[float], gamma: float) -> list[int]:
    """The timestep that each step of TCD follows the trajectory to, before it adds noise up to the next of
    `timesteps`.

    The last step goes to t = 0, the lowest of the model's table, which still has a little noise. Exactly the
    reference's arithmetic (`TCDScheduler.step`, where gamma is called `eta`), which is done in float32.
    Raises ValueError for a gamma outside 0 to 1.
    """
    if not 0.0 <= gamma <= 1.0:
        raise ValueError(f"gamma is {gamma}; it must be between 0 and 1.")
    following = torch.tensor([*timesteps[1:], 0.0], dtype=torch.float32)
    return torch.floor((1.0 - gamma) * following).long().tolist()


def webui_timesteps(steps: int) -> list[float]:
    """The (fractional) timesteps of the WebUI's own LCM sampler, A1111 1.8.0 and later: evenly from 999 down
    to 19.

    They leave the distillation grid for most step counts, which is why "trailing" is the default of this
    extension. Raises ValueError for less than one step.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1.")
    first, last = TRAIN_STEPS - 1, TRAIN_STEPS // ORIGINAL_STEPS - 1
    if steps == 1:
        return [float(first)]
    return [first + (last - first) * i / (steps - 1) for i in range(steps)]


def webui_unet_timesteps(steps: int, *, is_on_grid: bool, original_steps: int = ORIGINAL_STEPS) -> list[int]:
    """The timesteps that the WebUI's own LCM sampler tells the UNet at its evenly spaced noise levels.

    A1111 tells it the nearest point of the distillation grid (`is_on_grid`), Forge and reForge the nearest of
    all timesteps; Forge Neo's go down to 0 (`original_steps` 1000). Computed as they do on a CPU, in float32:
    halfway between two points the last bit decides.
    """
    levels, skip = _log_levels(is_on_grid), TRAIN_STEPS // original_steps
    points = levels[skip - 1 :: skip]
    timesteps = torch.linspace(TRAIN_STEPS - 1, skip - 1, steps)
    positions = (timesteps - (skip - 1)) / skip
    below, fraction = positions.floor().long(), positions.frac()
    told = (1 - fraction) * points[below] + fraction * points[positions.ceil().long()]
    known, stride = (points, skip) if is_on_grid else (levels, 1)
    nearest = (told.exp().log() - known[:, None]).abs().argmin(dim=0)
    return [int(index) * stride + stride - 1 for index in nearest]


def alphas_cumprod() -> torch.Tensor:
    """alpha-bar of each timestep of SD 1.x, SD 2.x and SDXL, float64 [TRAIN_STEPS]: beta is linear in its
    square root.
    """
    low, high = (beta**0.5 for beta in BETAS)
    return torch.cumprod(1 - torch.linspace(low, high, TRAIN_STEPS, dtype=torch.float64) ** 2, dim=0)


@cache
def _log_levels(is_of_a1111: bool) -> torch.Tensor:
    """The logarithms of the noise levels of SD 1.x, SD 2.x and SDXL [TRAIN_STEPS], float32, ascending."""
    kept = alphas_cumprod()
    if is_of_a1111:  # keeps these in float32, the others the logarithms
        kept = kept.float()
    return ((1 - kept) / kept).sqrt().log().float()


def sigma_at(timestep: float, sigmas: Sequence[float], *, original_steps: int | None = None) -> float:
    """The noise level at a timestep, from a model's table `sigmas` (ascending, one per timestep).

    Between two entries the logarithm is interpolated, as k-diffusion does. With `original_steps` the
    interpolation runs between points of the distillation grid, as in the WebUI's own LCM sampler.
    """
    if original_steps is None:
        step, offset = 1, 0
    else:
        step = len(sigmas) // original_steps
        offset = step - 1
    position = min(max((timestep - offset) / step, 0.0), (len(sigmas) - 1 - offset) / step)
    low = math.floor(position)
    fraction = position - low
    below = sigmas[low * step + offset]
    if fraction == 0.0:
        return float(below)
    above = sigmas[(low + 1) * step + offset]
    return math.exp((1.0 - fraction) * math.log(below) + fraction * math.log(above))
