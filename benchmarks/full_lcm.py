"""Whether the CFG scale moves the small full LCM as it moves its teacher: how often each draws what the
prompt asks for, how strong their pictures are, and how much of the teacher's way from CFG 1 the full LCM
goes, measured along it.

    python dev.py bench full_lcm

The teacher takes 25 steps of DDIM with two rows each, the full LCM 4 with one, from the same noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.statistics import wilson
from lib_lcm.distill.latents import drawn
from lib_lcm.distill.report import few_step_latents
from workbench.distil import SmallCheckpoint
from workbench.full_lcm import ADDED, BASE, FullLcm
from workbench.scenes import prompts
from workbench.scenes.judge import agreement
from workbench.scenes.render import to_uint8

SEED = 8642
BATCH = 128
CFG = (1.0, 2.0, 3.0, 5.0, 8.0)


def latents_of(model: SmallCheckpoint, texts: list[str], cfg: float, steps: int) -> Tensor:
    """[N, 4, 8, 8], of a full LCM in `steps`, of any other in 25."""
    encoded = model.encode([*texts, ""])

    def teacher(sample, timesteps, cond, uncond):
        both = tuple(torch.cat(halves) for halves in zip(cond, uncond, strict=True))
        return model.predict(torch.cat([sample] * 2), torch.cat([timesteps] * 2), both).chunk(2)

    parts = []
    for start in range(0, len(texts), BATCH):
        cond = tuple(part[:-1][start : start + BATCH] for part in encoded)
        uncond = tuple(part[-1:].expand_as(one) for part, one in zip(encoded, cond, strict=True))
        generator = torch.Generator().manual_seed(SEED + start)
        noise = torch.randn(len(cond[0]), *model.latent_shape, generator=generator)
        if isinstance(model, FullLcm):
            model.told = cfg
            part = few_step_latents(model, noise, cond, steps, model.prediction_type, SEED + start)
        else:
            model.cfg = cfg
            part = drawn(model, teacher, noise, cond, uncond, model.prediction_type)
        parts.append(part)
    return torch.cat(parts)


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
    print(f"{len(wanted)} prompts, full LCM in {options.steps} steps\n")
    print("| CFG | teacher: all right | full LCM: all right | teacher: spread | full LCM: spread | its way |")
    print("|---|---|---|---|---|---|")
    for cfg in CFG:
        cells = []
        for name, model in models.items():
            pictures = to_uint8(model.decode(found[name, cfg]))
            is_right = np.array([facts["all"] for facts in agreement(pictures, wanted)])
            low, high = wilson(int(is_right.sum()), len(is_right))
            cells.append(f"{is_right.mean():.1%} ({low:.1%} to {high:.1%})")
        cells += [f"{found[name, cfg].std():.3f}" for name in models]
        way, taken = ((found[name, cfg] - found[name, CFG[0]]).flatten() for name in models)
        cells.append("" if cfg == CFG[0] else f"{taken @ way / (way @ way):.0%}")
        print(f"| {cfg:g} | " + " | ".join(cells) + " |")
