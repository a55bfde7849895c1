"""Does a LoRA draw better by its own method's recipe than by another's? Two LoRAs of small-sd15, one of LCM
and one for exactly 4 steps, each in 4 steps at CFG 1 by every recipe.

    python dev.py bench recipes [--prompts N] [--seeds N N]

Draws with the extension's own samplers, on prompts and seeds that nothing was trained, tuned or searched on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import clock
from benchmarks.statistics import paired_difference, wilson
from lib_lcm.sampling.samplers import sample_lcm, sample_tcd
from lib_lcm.sampling.schedules import lcm_timesteps, tcd_jumps
from workbench.scenes import prompts as prompts_of
from workbench.scenes.judge import agreement, rates
from workbench.small_models import MODELS, SmallModel
from workbench.train.common import DATA, bar_interval
from workbench.train.evaluate import BATCH, load_with_loras
from workbench.train.sampling import encode_cut, to_pictures

SEEDS, PROMPTS = [5678, 8765], 1024
STEPS = 4
GAMMA = 0.3
"""TCD's own, by its authors."""
OWN = {"LCM-LoRA": "LCM", "trailing-4 LoRA": "trailing"}
"""The recipe of each LoRA's own method."""


def timesteps_of(recipe: str) -> list[int]:
    """The reference's, 999 759 499 259, or the ends of four equal parts, 999 749 499 249."""
    return lcm_timesteps(STEPS, original_steps=STEPS) if recipe == "trailing" else lcm_timesteps(STEPS)


def sampler_of(recipe: str, table: Sequence[float]) -> tuple[list[float], Callable[..., Tensor]]:
    """The noise levels of a recipe and its sampler; `table` has the level of each timestep."""
    timesteps = timesteps_of(recipe)
    levels = [table[t] for t in timesteps]
    if recipe == "LCM":
        return [*levels, 0.0], partial(sample_lcm, timesteps=timesteps)
    if recipe == "TCD":
        jumps = [table[t] for t in tcd_jumps(timesteps, GAMMA)]
        return [*levels, table[0]], partial(sample_tcd, jump_sigmas=jumps)
    levels.append(0.0)
    return levels, partial(sample_tcd, jump_sigmas=levels[1:])  # no fresh noise: DDIM, or Euler


@torch.no_grad()
def sample(model: SmallModel, recipe: str, captions: Sequence[str], generator: torch.Generator) -> Tensor:
    """Scaled latents [B, 4, 8, 8]."""
    table = ((1 - model.alphas_cumprod) / model.alphas_cumprod).sqrt().tolist()
    levels, sampler = sampler_of(recipe, table)
    text = encode_cut(model, captions)

    def noise(*_: Any) -> Tensor:
        return torch.randn(len(captions), 4, 8, 8, generator=generator).to(model.device)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        level = float(sigma[0])
        timestep = min(timesteps_of(recipe), key=lambda t: abs(table[t] - level))
        times = torch.full((len(x),), timestep, device=x.device)
        return x - level * model.predict(x / (1 + level**2) ** 0.5, times, text)

    x = noise() * (1 + levels[0] ** 2) ** 0.5
    return sampler(denoise, x, torch.tensor(levels), disable=True, noise_sampler=noise)


def draw(model: SmallModel, recipe: str, captions: Sequence[str], seed: int) -> np.ndarray:
    """Pictures, uint8 [N, 64, 64, 3]; every recipe starts from the same noise."""
    pictures = []
    for start in range(0, len(captions), BATCH):
        generator = torch.Generator().manual_seed(seed * 100_003 + start)
        latents = sample(model, recipe, captions[start : start + BATCH], generator)
        pictures.append(to_pictures(model, latents))
    return np.concatenate(pictures)


def measure(
    models: Path, files: Mapping[str, Path], prompts: int, seeds: Sequence[int], device: torch.device
) -> dict[str, Any]:
    """{LoRA: {recipe: what is right}} for those of `files` that are there."""
    checkpoint = models / "Stable-diffusion" / "small-sd15.safetensors"
    model, loras = load_with_loras(checkpoint, device, **files)
    scenes = {seed: prompts_of(prompts, seed) for seed in seeds}
    found: dict[str, Any] = {}
    rows = [(name, recipe) for name in loras.layers for recipe in ("LCM", "TCD", "trailing")]
    for name, recipe in tqdm(rows, desc="recipes", mininterval=bar_interval()):
        loras.apply(**{name: 1.0})
        judged = []
        for seed, wanted in scenes.items():
            judged += agreement(draw(model, recipe, [scene.caption for scene in wanted], seed), wanted)
        right = [row["all"] for row in judged]
        low, high = wilson(sum(right), len(right))
        found.setdefault(name, {})[recipe] = {
            **{what: round(100 * share, 1) for what, share in rates(judged).items()},
            "interval": [round(100 * low, 1), round(100 * high, 1)],
            "right": "".join("01"[flag] for flag in right),
        }
    return found


def differences(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Every LoRA's own recipe against each other one, and the LoRAs by their own recipes against each other;
    points with half the width of their 95 % interval.
    """
    pairs = [
        ((name, OWN[name]), (name, recipe))
        for name, recipes in found.items()
        for recipe in recipes
        if recipe != OWN[name]
    ]
    pairs += combinations([(name, OWN[name]) for name in found], 2)
    told = []
    for one, other in pairs:
        ours, theirs = (
            [flag == "1" for flag in found[name][recipe]["right"]] for name, recipe in (one, other)
        )
        mean, half = paired_difference(ours, theirs)
        told.append(
            {
                "of": ", ".join(one),
                "over": ", ".join(other),
                "points": round(100 * mean, 1),
                "interval": round(100 * half, 1),
            }
        )
    return told


def table(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The figures as Markdown; a difference within its interval is said to be none."""
    lines = ["| LoRA | recipe | all | 95 % | mosaic | colour | shape | relation |", "|---" * 8 + "|"]
    for name, recipes in found.items():
        for recipe, row in recipes.items():
            cells = [
                f"{name} | {recipe}{' (its own)' if OWN[name] == recipe else ''} | {row['all']:.1f} %",
                "{:.1f}–{:.1f}".format(*row["interval"]),
                *(f"{row[what]:.1f} %" for what in ("mosaic", "colour", "shape", "relation")),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for told in differences(found):
        within = ", within the interval" if abs(told["points"]) <= told["interval"] else ""
        lines.append(
            "- {of} against {over}: {points:+.1f} ± {interval:.1f} points".format(**told) + f"{within}."
        )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python dev.py bench recipes", description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=PROMPTS, help=f"for each seed ({PROMPTS})")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of the prompts and the noise")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with Stable-diffusion and Lora")
    parser.add_argument(
        "--lora",
        type=Path,
        default=DATA / "models" / "Lora" / "trailing_4_lora_sd15.safetensors",
        help="the LoRA for exactly 4 steps; default: where its training leaves it",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    options = parser.parse_args(arguments)
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    files = dict(zip(OWN, (options.models / "Lora" / "lcm_lora_sd15.safetensors", options.lora), strict=True))
    for path in files.values():
        if not path.exists():
            print(f"Absent: there is no {path}.")
    found = measure(options.models, files, options.prompts, options.seeds, torch.device(options.device))
    settings = {"seeds": options.seeds, "prompts": options.prompts}
    path = clock.save("recipes", {"settings": settings, "loras": found, "differences": differences(found)})
    text = table(found)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
    print(f"Written to {path.parent}: recipes.json, recipes.md.")


if __name__ == "__main__":
    main()
