"""How often LCM-LoRAs draw what the prompt asks for on one of the small checkpoints, by the extension's
sampler.

    python dev.py bench own_lora workbench/models/Stable-diffusion/small-sd15-lit.safetensors \
        own.safetensors workbench/models/Lora/lcm_lora_sd15.safetensors

The first LoRA is compared with each of the others, on the same prompts and noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.statistics import paired_difference, wilson
from lib_lcm.distill import LoraAdapter
from lib_lcm.distill.report import few_step_latents
from workbench.distil import SmallCheckpoint
from workbench.scenes import Scene, prompts
from workbench.scenes.judge import agreement
from workbench.scenes.render import to_uint8
from workbench.train.evaluate import LOOK_OF

SEED = 4321
BATCH = 128
STEPS = (2, 4, 8)


def right(model: SmallCheckpoint, wanted: list[Scene], steps: int, look: str) -> np.ndarray:
    """Whether all is right of the picture of each scene, as the UNet is now."""
    encoded = model.encode([scene.caption for scene in wanted])
    found = []
    for start in range(0, len(wanted), BATCH):
        cond = tuple(part[start : start + BATCH] for part in encoded)
        generator = torch.Generator().manual_seed(SEED + start)
        noise = torch.randn(len(cond[0]), *model.latent_shape, generator=generator)
        latents = few_step_latents(model, noise, cond, steps, model.prediction_type, SEED + start)
        pictures = to_uint8(model.decode(latents))
        found += [facts["all"] for facts in agreement(pictures, wanted[start : start + BATCH], look)]
    return np.array(found)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python dev.py bench own_lora", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("loras", type=Path, nargs="+", metavar="LORA")
    parser.add_argument("--prompts", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=SEED, help="of the prompts")
    options = parser.parse_args(arguments)
    model = SmallCheckpoint(options.checkpoint, torch.device("cpu"), torch.float32)
    look = LOOK_OF.get(options.checkpoint.stem.removeprefix("small-"), "plain")
    wanted = prompts(options.prompts, options.seed)
    found: dict[tuple[str, int], np.ndarray] = {}
    for path in options.loras:
        adapter = LoraAdapter.of_file(model.unet, path)
        adapter.enabled = True
        for steps in tqdm(STEPS, desc=path.stem):
            found[path.stem, steps] = right(model, wanted, steps, look)
        adapter.remove()
    own, *others = [path.stem for path in options.loras]
    print(f"{options.checkpoint.stem}, {len(wanted)} prompts\n")
    print("| LoRA | " + " | ".join(f"{steps} steps" for steps in STEPS) + " |")
    print("|---|" + "---|" * len(STEPS))
    for name in (own, *others):
        cells = []
        for steps in STEPS:
            is_right = found[name, steps]
            low, high = wilson(int(is_right.sum()), len(is_right))
            cells.append(f"{is_right.mean():.1%} ({low:.1%} to {high:.1%})")
        print(f"| {name} | " + " | ".join(cells) + " |")
    for name in others:
        cells = []
        for steps in STEPS:
            points, half = paired_difference(list(found[own, steps]), list(found[name, steps]))
            cells.append(f"{100 * points:+.1f} ± {100 * half:.1f}")
        print(f"| {own} against {name} | " + " | ".join(cells) + " |")
