"""Section `samplers`: every sampler by every recipe, in half precision on the device against float64 on the
CPU, from the same noise.

Errors are of the sampler's own arithmetic: the model stands in for a UNet and answers in float32, rounded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial

import torch
from diffusers import LCMScheduler
from torch import Tensor

from benchmarks.gpu.checks import Checks, Job, Outcome
from benchmarks.gpu.device import Device, Doubles
from lib_lcm.methods import METHODS
from lib_lcm.sampling.samplers import sample_lcm, sample_tcd
from lib_lcm.sampling.schedules import tcd_jumps, timesteps_by

SHAPE = (2, 4, 64, 64)
STEPS = (1, 2, 4, 8)
"""Where a recipe leaves the choice."""
LARGEST_ERROR = {torch.float16: 8e-3, torch.bfloat16: 6e-2}
"""About 16 times the rounding of a latent's value near 1."""
ALPHAS = LCMScheduler().alphas_cumprod.double()  # SD 1.x's and SDXL's
TABLE: list[float] = ((1 - ALPHAS) / ALPHAS).sqrt().tolist()
"""The noise level at each timestep."""

Way = tuple[str, "str | int", "float | None"]
"""Sampler, rule for timesteps, gamma."""


def ways() -> dict[Way, tuple[list[int], list[str]]]:
    """Each way of sampling that a method of the table has: its steps and the groups of methods that use
    it.
    """
    found: dict[Way, tuple[set[int], dict[str, None]]] = defaultdict(lambda: (set(), {}))
    for method in METHODS:
        if method.recipe is None:
            continue
        recipe = method.recipe
        steps, groups = found[recipe.sampler, recipe.timesteps, recipe.gamma]
        low, high, _ = recipe.steps
        steps.update([low] if low == high else [count for count in STEPS if low <= count <= high])
        groups[method.group] = None
    return {way: (sorted(steps), list(groups)) for way, (steps, groups) in found.items()}


def sampling(way: Way, steps: int) -> tuple[list[float], Callable[..., Tensor]]:
    """The noise levels [steps + 1] and the sampler for them, as `lib_lcm.webui.sampling` chooses them."""
    sampler, rule, gamma = way
    timesteps = timesteps_by(rule, steps)
    levels = [TABLE[timestep] for timestep in timesteps]
    if sampler == "lcm":
        return [*levels, 0.0], partial(sample_lcm, timesteps=timesteps)
    if sampler == "tcd":
        assert gamma is not None
        jumps = [TABLE[timestep] for timestep in tcd_jumps(timesteps, gamma)]
        return [*levels, TABLE[0]], partial(sample_tcd, jump_sigmas=jumps)
    assert sampler in ("euler", "ddim"), f"a sampler without a check: {sampler}"
    levels.append(0.0)
    return levels, partial(sample_tcd, jump_sigmas=levels[1:])


def network(x: Tensor, sigma: Tensor) -> Tensor:
    """A smooth stand-in for a UNet that returns a denoised latent, and reads no number on its way."""
    exact = torch.float64 if x.dtype is torch.float64 else torch.float32
    level = sigma.to(exact).view(-1, 1, 1, 1)
    scaled = x.to(exact) / (1 + level**2).sqrt()
    return torch.tanh(0.7 * scaled + 0.3 * scaled.roll(1, -1)).to(x.dtype)


def drawn(steps: int) -> list[Tensor]:
    """The start and the noise of each step, float32 on the CPU."""
    generator = torch.Generator().manual_seed(17)
    return [torch.randn(SHAPE, generator=generator) for _ in range(steps + 1)]


def prepared(
    way: Way, steps: int, noises: list[Tensor], exact: torch.dtype, kind: str
) -> Callable[[Callable[..., Tensor]], Tensor]:
    """Everything but the model on the device `kind`, with the noise as it is there; call it with the
    model.
    """
    levels, sampler = sampling(way, steps)
    sigmas = torch.tensor(levels, dtype=torch.float32).to(kind)  # where and as hosts have them
    start, *rest = noises
    # only Euler starts from noise * sigma, as k-diffusion does; the difference is 0.2 %
    start = (start * (levels[0] if way[0] == "euler" else (1 + levels[0] ** 2) ** 0.5)).to(kind, exact)
    rest = [noise.to(kind, exact) for noise in rest]

    def run(model: Callable[..., Tensor]) -> Tensor:
        queue = iter(rest)
        return sampler(model, start, sigmas, disable=True, noise_sampler=lambda *_: next(queue))

    return run


def check(device: Device, way: Way, steps: list[int], dtype: torch.dtype) -> Outcome:
    """Error, range, doubles and waiting of one way of sampling in one precision."""
    error, largest, doubles = 0.0, 0.0, Doubles(device.kind)
    for count in steps:
        noises = [noise.to(dtype).float() for noise in drawn(count)]  # the same to the last bit in both
        expected = prepared(way, count, noises, torch.float64, "cpu")(network)
        run = prepared(way, count, noises, dtype, device.kind)
        seen: list[Tensor] = []

        def watched(x: Tensor, sigma: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(x)
            return network(x, sigma)

        with doubles:
            result = run(watched)
        error = max(error, _largest(result.cpu().double() - expected))
        largest = max(largest, *(_largest(x.cpu().float()) for x in [*seen, result]))
    reads, waits = device.waits(lambda: run(network))  # the run of most steps
    problems = [
        *(["a value that is too large or none"] if not largest < torch.finfo(dtype).max else []),
        *([f"an error above {LARGEST_ERROR[dtype]:g}"] if not error <= LARGEST_ERROR[dtype] else []),
        *([f"{reads} numbers read in {steps[-1]} steps"] if reads else []),
        # the noise levels are read once, before the first step
        *([f"{waits} waits in {steps[-1]} steps"] if waits is not None and waits > 1 else []),
        *([f"float64 from {', '.join(doubles.made_by)}"] if doubles.made_by else []),
    ]
    figures = {
        "error": error,
        "largest value": largest,
        "numbers read": reads,
        "waits for the device": waits,
        "float64 tensors": doubles.made_by.total(),
    }
    return Outcome(figures, not problems, "; ".join(problems))


def _largest(tensor: Tensor) -> float:
    """The largest absolute value; infinite where one is no number."""
    return float(tensor.abs().nan_to_num(nan=float("inf")).max())


def checks(job: Job) -> Checks:
    """Each way of sampling in float16 and bfloat16."""
    for way, (steps, groups) in ways().items():
        sampler, rule, gamma = way
        name = f"{sampler}, {f't = {rule}' if isinstance(rule, int) else rule}"
        name += "" if gamma is None else f", gamma {gamma:g}"
        name += f", {'/'.join(map(str, steps))} steps ({', '.join(groups)})"
        for dtype in LARGEST_ERROR:
            yield (
                f"{name}, {str(dtype).removeprefix('torch.')}",
                partial(check, job.device, way, steps, dtype),
            )
