"""Whether the CFG scale moves the small full LCM as it moves its teacher: one answer of it beside where the
teacher's guided steps end, and then whole pictures: how often each draws what the prompt asks for, and how
strong the pictures and their colours are.

    python dev.py bench full_lcm

For a picture the teacher takes 25 steps of DDIM with two rows each, the full LCM 4 with one, from the same
noise. Strength is the standard deviation of the latents, that of colours the one of the latents' means.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.statistics import wilson
from lib_lcm.distill.algorithm import Teacher, ddim_solve, denoised_and_noise
from lib_lcm.distill.latents import drawn
from lib_lcm.distill.model import Cond
from lib_lcm.distill.report import few_step_latents
from workbench.distil import SmallCheckpoint
from workbench.full_lcm import ADDED, BASE, FullLcm
from workbench.scenes import TEACHER_CFG, prompts
from workbench.scenes.judge import agreement
from workbench.scenes.render import to_uint8

SEED = 8642
BATCH = 128
CFG = (1.0, 2.0, 4.0, 8.0)
TIMESTEPS = (999, 759, 499, 259)
STEPS_OF_ANSWER = 8


def guided(model: SmallCheckpoint) -> Teacher:
    def teacher(sample: Tensor, timesteps: Tensor, cond: Cond, uncond: Cond) -> tuple[Tensor, Tensor]:
        both = tuple(torch.cat(halves) for halves in zip(cond, uncond, strict=True))
        return model.predict(torch.cat([sample] * 2), torch.cat([timesteps] * 2), both).chunk(2)

    return teacher


def conds_of(model: SmallCheckpoint, texts: list[str]) -> tuple[Cond, Cond]:
    """The encoded texts, and as many of no text."""
    encoded = model.encode([*texts, ""])
    return tuple(part[:-1] for part in encoded), tuple(
        part[-1:].expand(len(texts), *part.shape[1:]) for part in encoded
    )


def latents_of(model: SmallCheckpoint, texts: list[str], cfg: float, steps: int) -> Tensor:
    """[N, 4, 8, 8], of a full LCM in `steps`, of any other in 25."""
    parts = []
    for start in range(0, len(texts), BATCH):
        cond, uncond = conds_of(model, texts[start : start + BATCH])
        generator = torch.Generator().manual_seed(SEED + start)
        noise = torch.randn(len(cond[0]), *model.latent_shape, generator=generator)
        if isinstance(model, FullLcm):
            model.told = cfg
            part = few_step_latents(model, noise, cond, steps, model.prediction_type, SEED + start)
        else:
            model.cfg = cfg
            part = drawn(model, guided(model), noise, cond, uncond, model.prediction_type)
        parts.append(part)
    return torch.cat(parts)


@torch.no_grad()
def answers(model: SmallCheckpoint, texts: list[str], latents: Tensor, timestep: int, cfg: float) -> Tensor:
    """[N, 4, 8, 8]: what a full LCM answers at once for the noised `latents` of pictures of these texts, and
    where the guided steps of any other end.
    """
    cond, uncond = conds_of(model, texts)
    abar = model.alphas_cumprod[timestep]
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(SEED + timestep))
    sample = abar.sqrt() * latents + (1 - abar).sqrt() * noise
    starts = torch.full((len(latents),), timestep)
    if isinstance(model, FullLcm):
        model.told = cfg
        predicted = model.predict(sample, starts, cond)
        return denoised_and_noise(predicted, sample, abar, model.prediction_type)[0]
    return ddim_solve(
        guided(model), sample, starts, torch.zeros_like(starts), STEPS_OF_ANSWER,
        torch.full((len(latents),), cfg - 1.0), cond, uncond, model.alphas_cumprod, model.prediction_type
    )  # fmt: skip


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python dev.py bench full_lcm", description=__doc__)
    parser.add_argument("--added", type=Path, default=ADDED, help="what the full LCM adds to the checkpoint")
    parser.add_argument("--prompts", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=SEED, help="of the prompts")
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args(arguments)
    if not options.added.exists():
        parser.error(f"there is no {options.added}: docs/small-models.md says how to make it")
    wanted = prompts(options.prompts, options.seed)
    texts = [scene.caption for scene in wanted]
    models = {
        "teacher": SmallCheckpoint(BASE, torch.device("cpu"), torch.float32),
        "full LCM": FullLcm(options.added),
    }
    found = {
        (name, cfg): latents_of(model, texts, cfg, options.steps)
        for name, model in models.items()
        for cfg in tqdm(CFG, desc=name)
    }
    few = texts[:BATCH]
    print(f"One answer, {len(few)} prompts: strength at CFG {CFG[0]:g} and {CFG[-1]:g}; how far it goes\n")
    print("| timestep | teacher | full LCM | teacher goes | full LCM goes | along the teacher's way |")
    print("|---|---|---|---|---|---|")
    for timestep in TIMESTEPS:
        ends = {
            (name, cfg): answers(model, few, found["teacher", TEACHER_CFG][: len(few)], timestep, cfg)
            for name, model in models.items()
            for cfg in (CFG[0], CFG[-1])
        }
        cells = [" to ".join(f"{ends[name, cfg].std():.3f}" for cfg in (CFG[0], CFG[-1])) for name in models]
        way, taken = ((ends[name, CFG[-1]] - ends[name, CFG[0]]).flatten() for name in models)
        cells += [f"{one.square().mean().sqrt():.3f}" for one in (way, taken)]
        print(f"| {timestep} | " + " | ".join(cells) + f" | {taken @ way / (way @ way):.0%} |")
    print(f"\nPictures, {len(texts)} prompts, the full LCM's in {options.steps} steps\n")
    print(
        "| CFG | right: teacher | full LCM | strength: teacher | full LCM | of colours: teacher | full LCM |"
    )
    print("|---|---|---|---|---|---|---|")
    for cfg in CFG:
        cells = []
        for name, model in models.items():
            pictures = to_uint8(model.decode(found[name, cfg]))
            is_right = np.array([facts["all"] for facts in agreement(pictures, wanted)])
            low, high = wilson(int(is_right.sum()), len(is_right))
            cells.append(f"{is_right.mean():.1%} ({low:.1%} to {high:.1%})")
        cells += [f"{found[name, cfg].std():.3f}" for name in models]
        cells += [f"{found[name, cfg].mean(dim=(2, 3)).std():.3f}" for name in models]
        print(f"| {cfg:g} | " + " | ".join(cells) + " |")
