"""What does a negative prompt do when the CFG scale acts in some steps only? A guided step costs two UNet
rows, any other one.

    python dev.py bench guidance [--steps N ...] [--prompts N] [--search N]

The prompt leaves one thing open, a colour say, and the negative prompt names one value of it. Counted is how
often that value comes out all the same, and how often everything that the prompt does say is right. Every
row starts from the same noise and is given the same fresh noise. `--search` compares many ways of guiding on
few prompts; without it those that came out of it are measured on others.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import clock, frontier
from benchmarks.statistics import paired_difference, wilson
from benchmarks.unwanted import TASKS, Wish, wishes
from lib_lcm.sampling.samplers import sample_lcm
from lib_lcm.sampling.schedules import lcm_timesteps
from workbench.scenes.judge import Judge, Verdict
from workbench.small_models import MODELS, SmallModel
from workbench.train.common import bar_interval
from workbench.train.evaluate import BATCH, LOOK_OF, LORA_OF, load_with_loras
from workbench.train.sampling import encode_cut, to_pictures

SEARCH_SEED, FINAL_SEED = 2468, 8642
PROMPTS = 1024
FULL = 1.5
"""The CFG scale of a guided run as it was before: LCM's default with a negative prompt, in every step."""
SCALES = (1.5, 2.0, 2.5, 3.0)
STEPS, CLAIMED = (2, 3, 4, 6, 8), (2, 4, 8)
LOWER = (999, 299)
"""Two timesteps of which the second is lower than the reference's 499; see `schedule_search`."""
Scales = tuple[float, ...]
"""The CFG scale of each step."""


def rows_of(scales: Scales) -> int:
    """UNet rows of one picture."""
    return sum(1 if scale == 1 else 2 for scale in scales)


def label_of(scales: Scales) -> str:
    return " ".join(f"{scale:g}" for scale in scales)


class Predictions:
    """The UNet's answers to one batch of prompts. Rows that begin alike are computed once: with the same
    noise they are the same up to the first step that they guide differently.
    """

    def __init__(self, model: SmallModel, prompts: Sequence[str]) -> None:
        self.model, self.count = model, len(prompts)
        self._texts = [encode_cut(model, prompts)]
        self._known: dict[tuple[Scales, int], Tensor] = {}

    def against(self, negatives: Sequence[str]) -> None:
        """Sets the negative prompts."""
        self._texts.append(encode_cut(self.model, negatives))

    def noise(self, before: Scales, scale: float, x: Tensor, timestep: int) -> Tensor:
        """Of the variance-preserving x [B, 4, 8, 8], for a step at `scale` after steps guided as `before`."""
        cond = self._half(before, 0, x, timestep)
        if scale == 1:
            return cond
        uncond = self._half(before, 1, x, timestep)
        return uncond + scale * (cond - uncond)

    def _half(self, before: Scales, half: int, x: Tensor, timestep: int) -> Tensor:
        if (before, half) not in self._known:
            times = torch.full((self.count,), timestep, device=x.device)
            self._known[before, half] = self.model.predict(x, times, self._texts[half])
        return self._known[before, half]


@torch.no_grad()
def sample(
    predictions: Predictions, scales: Scales, timesteps: Sequence[int], generator: torch.Generator
) -> Tensor:
    """Scaled latents [B, 4, 8, 8]."""
    model = predictions.model
    table = ((1 - model.alphas_cumprod) / model.alphas_cumprod).sqrt().tolist()
    levels = [table[t] for t in timesteps]
    steps = iter(range(len(scales)))

    def noise(*_: Any) -> Tensor:
        return torch.randn(predictions.count, 4, 8, 8, generator=generator).to(model.device)

    def denoise(x: Tensor, _sigma: Tensor) -> Tensor:
        i = next(steps)
        level = levels[i]
        told = predictions.noise(scales[:i], scales[i], x / (1 + level**2) ** 0.5, timesteps[i])
        return x - level * told

    x = noise() * (1 + levels[0] ** 2) ** 0.5
    sigmas = torch.tensor([*levels, 0.0])
    return sample_lcm(denoise, x, sigmas, disable=True, noise_sampler=noise, timesteps=timesteps)


def measure(
    model: SmallModel,
    judge: Judge,
    asked: Sequence[Wish],
    rows: Sequence[Scales],
    seed: int,
    timesteps: Sequence[int] = (),
) -> dict[Scales, list[dict[str, bool]]]:
    """Of each row what is judged of each picture. Every row has the same number of steps, at the reference's
    timesteps unless others are given.

    The negative prompt names what the picture without one shows, as by a person who does not want that; a
    value by chance where nothing can be told. "named" says which it was.
    """
    plain = (1.0,) * len(rows[0])
    found: dict[Scales, list[dict[str, bool]]] = {scales: [] for scales in rows}
    timesteps = timesteps or lcm_timesteps(len(plain))
    for start in range(0, len(asked), BATCH):
        batch = list(asked[start : start + BATCH])
        predictions = Predictions(model, [wish.prompt for wish in batch])

        def draw(scales: Scales, predictions: Predictions = predictions, start: int = start) -> list[Verdict]:
            generator = torch.Generator().manual_seed(seed * 100_003 + start)
            return judge(to_pictures(model, sample(predictions, scales, timesteps, generator)))

        without = draw(plain)
        batch = [wish.seen_in(verdict) for wish, verdict in zip(batch, without, strict=True)]
        named = [wish.judged(verdict)["unwanted"] for wish, verdict in zip(batch, without, strict=True)]
        predictions.against([wish.negative for wish in batch])
        for scales in rows:
            seen = without if scales == plain else draw(scales)
            found[scales] += [
                {"named": flag, **wish.judged(verdict)}
                for flag, wish, verdict in zip(named, batch, seen, strict=True)
            ]
    return found


def guided(steps: int, which: Collection[int], scale: float) -> Scales:
    """CFG 1 but in the steps `which`, counted from 0."""
    return tuple(scale if index in which else 1.0 for index in range(steps))


def full(steps: int) -> Scales:
    return (FULL,) * steps


@dataclass(frozen=True)
class Cell:
    """One table: a task and a number of steps, on so many prompts for each checkpoint."""

    task: str
    steps: int
    prompts: int
    held_out: bool = False
    timesteps: tuple[int, ...] = ()
    """The reference's where there are none."""

    @property
    def name(self) -> str:
        at = f" at {' '.join(map(str, self.timesteps))}" if self.timesteps else ""
        return f"{self.task}, {self.steps} steps{at}" + (", held out" if self.held_out else "")


def candidates(steps: int) -> list[Scales]:
    """What the search compares: none, all, each two steps in a row but the first, in short runs each step
    alone and in long ones three in a row, at every one of SCALES.
    """
    runs: list[Collection[int]] = [(first,) for first in range(steps if steps <= 4 else 0)]
    runs += [(first, first + 1) for first in range(1, steps - 1)]
    runs += [range(first, first + 3) for first in range(1, steps - 3 if steps > 4 else 0)]
    found = [guided(steps, run, scale) for run in runs for scale in SCALES]
    return list(dict.fromkeys([guided(steps, (), 1.0), full(steps), *found]))


def final_rows(cell: Cell) -> list[Scales]:
    """None, all, and what came out of the search: the steps before the last one, in longer runs also three
    in the middle; of two steps, the last.
    """
    steps = cell.steps
    if cell.timesteps:
        chosen = [guided(steps, (steps - 1,), scale) for scale in (2.0, 2.25, 2.5)]
    elif steps < 3:
        chosen = [guided(steps, (steps - 1,), scale) for scale in (1.5, 1.75, 2.0)]
    else:
        chosen = [guided(steps, (steps - 2,), scale) for scale in (2.5, 3.0)]
    if steps > 3:
        chosen += [guided(steps, (steps - 3, steps - 2), scale) for scale in (2.0, 2.5)]
    if steps > 5:
        chosen.append(guided(steps, range(steps // 2 - 1, steps // 2 + 2), 2.5))
    return list(dict.fromkeys([guided(steps, (), 1.0), full(steps), *chosen]))


def summary(judged: Mapping[Scales, Sequence[Mapping[str, bool]]]) -> list[dict[str, Any]]:
    """For each row the share of pictures, in per cent: `unwanted`, of those that showed it without a negative
    prompt; `right`, of all, and `flat`. In points, with half the width of their interval: `more_left` against
    CFG 1.5 in all steps and `more_right` against no guidance, on the same pictures.
    """
    steps = len(next(iter(judged)))
    plain, whole = judged[guided(steps, (), 1.0)], judged[full(steps)]

    def shown(rows: Sequence[Mapping[str, bool]]) -> list[bool]:
        return [row["unwanted"] for row in rows if row["named"]]

    told = []
    for scales, rows in judged.items():
        left, right = shown(rows), [row["right"] for row in rows]
        told.append(
            {
                "scales": label_of(scales),
                "rows": rows_of(scales),
                "prompts": len(rows),
                "named": len(left),
                "unwanted": _per_cent(left),
                "unwanted_interval": _interval(left),
                "right": _per_cent(right),
                "right_interval": _interval(right),
                "flat": _per_cent([row["flat"] for row in rows]),
                "more_left": _points(left, shown(whole)),
                "more_right": _points(right, [row["right"] for row in plain]),
            }
        )
    return told


def _per_cent(flags: Sequence[bool]) -> float:
    return round(100 * sum(flags) / max(1, len(flags)), 1)


def _interval(flags: Sequence[bool]) -> list[float]:
    return [round(100 * bound, 1) for bound in wilson(sum(flags), len(flags))]


def _points(ours: list[bool], theirs: list[bool]) -> list[float]:
    return [round(100 * value, 1) for value in paired_difference(ours, theirs)] if ours else [0.0, 100.0]


def cells(steps: Sequence[int], prompts: int) -> list[Cell]:
    """Colours in CLAIMED steps get all prompts; other numbers of steps, other tasks and what was held out of
    training, fewer.
    """
    found = [Cell("colour", count, prompts if count in CLAIMED else prompts // 2) for count in steps]
    if 2 in steps:
        found.append(Cell("colour", 2, prompts, timesteps=LOWER))
    if 4 in steps:
        found += [Cell(task, 4, prompts // 4) for task in TASKS[1:]]
        found.append(Cell("colour", 4, prompts // 4, held_out=True))
    if 8 in steps:
        found += [Cell("size", 8, prompts // 4), Cell("colour", 8, prompts // 8, held_out=True)]
    return found


class Models:
    """The checkpoints that are there, each with its LCM-LoRA."""

    def __init__(self, models: Path, device: torch.device) -> None:
        self.loaded: dict[str, SmallModel] = {}
        for name, family in LORA_OF.items():
            checkpoint = models / "Stable-diffusion" / f"small-{name}.safetensors"
            lora = models / "Lora" / f"lcm_lora_{family}.safetensors"
            if not (checkpoint.exists() and lora.exists()):
                print(f"Absent: there is no {checkpoint.name} with {lora.name}.")
                continue
            self.loaded[name], loras = load_with_loras(checkpoint, device, lcm=lora)
            loras.apply(lcm=1.0)

    def measure(self, cell: Cell, rows: Sequence[Scales], seed: int) -> dict[str, list[dict[str, Any]]]:
        """{checkpoint: its `summary`}"""
        asked = wishes(cell.task, cell.prompts, seed, held_out=cell.held_out)
        return {
            name: summary(
                measure(model, Judge(LOOK_OF.get(name, "plain")), asked, rows, seed, cell.timesteps)
            )
            for name, model in self.loaded.items()
        }


def table(found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> str:
    """The figures as Markdown: of each row what is left of the unwanted, and what is right."""
    lines = []
    for name, models in found.items():
        lines += [f"## {name}", ""]
        lines += [f"| CFG by step | rows | {' | '.join(f'`{model}`' for model in models)} |"]
        lines += ["|---" * (2 + len(models)) + "|"]
        for rows in zip(*models.values(), strict=True):
            shares = [f"{row['unwanted']:.1f} / {row['right']:.1f}" for row in rows]
            lines.append(f"| {rows[0]['scales']} | {rows[0]['rows']} | {' | '.join(shares)} |")
        lines += [
            "",
            "On the same pictures: unwanted against CFG 1.5 in all steps / right against CFG 1.",
            "",
        ]
        lines += [f"| CFG by step | rows | {' | '.join(f'`{model}`' for model in models)} |"]
        lines += ["|---" * (2 + len(models)) + "|"]
        for rows in zip(*models.values(), strict=True):
            shares = [
                "{:+.1f} ± {:.1f} / {:+.1f} ± {:.1f}".format(*row["more_left"], *row["more_right"])
                for row in rows
            ]
            lines.append(f"| {rows[0]['scales']} | {rows[0]['rows']} | {' | '.join(shares)} |")
        first = next(iter(models.values()))[0]
        named = ", ".join(str(rows[0]["named"]) for rows in models.values())
        lines += [
            "",
            f"{first['prompts']} prompts; of {named} of them it could be told what is unwanted.",
            "",
        ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python dev.py bench guidance", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS))
    parser.add_argument("--prompts", type=int, default=PROMPTS, help=f"for each checkpoint ({PROMPTS})")
    parser.add_argument(
        "--search", type=int, metavar="PROMPTS", help="compare many ways of guiding, on so many prompts"
    )
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with Stable-diffusion and Lora")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    options = parser.parse_args(arguments)
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    if options.search:
        todo = [Cell("colour", steps, options.search) for steps in options.steps]
        name, seed = "guidance_search", SEARCH_SEED
    else:
        todo, name, seed = cells(options.steps, options.prompts), "guidance", FINAL_SEED
    models = Models(options.models, torch.device(options.device))
    found: dict[str, Any] = {}
    for cell in tqdm(todo, desc=name, mininterval=bar_interval()):
        rows = candidates(cell.steps) if options.search else final_rows(cell)
        found[cell.name] = models.measure(cell, rows, seed)
        path = clock.save(name, {"seed": seed, "cells": found})  # what there is, if it is stopped
        path.with_suffix(".md").write_text(table(found), encoding="utf-8")
    claimed = [cell for cell in todo if cell == Cell("colour", cell.steps, cell.prompts)]
    drawn = {cell.steps: found[cell.name] for cell in claimed if cell.steps in CLAIMED}
    frontier.plot(drawn, path.with_suffix(".png"))
    print(table(found))
    print(f"Written to {path.parent}: {name}.json, {name}.md, {name}.png.")


if __name__ == "__main__":
    main()
