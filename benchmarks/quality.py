"""Agreement of pictures with their prompts, distance from real data, and cost: every way of sampling, on the
workbench's own models.

    python dev.py bench quality [--quick | --prompts N]

Writes benchmarks/results/quality.json, quality.md and quality.png. The models are those in workbench/models,
or `--models DIR` after training others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from benchmarks import clock
from benchmarks.statistics import frechet_distance, paired_difference, wilson
from workbench.contact_sheet import contact_sheet
from workbench.scenes import TEACHER_CFG, random_scenes
from workbench.scenes import prompts as prompts_of
from workbench.scenes.classifier import CLASSIFIER, load_classifier
from workbench.scenes.judge import agreement, rates
from workbench.scenes.render import render
from workbench.small_models import MODELS
from workbench.train.evaluate import LOOK_OF, LORA_OF, Method, draw, load_with_loras, measure_autoencoder
from workbench.train.lora import STYLE, STYLE_LOOK

SEED = 4321
PROMPTS, QUICK_PROMPTS = 1024, 64
"""For the rows that carry the claim."""
SIDE_SHARE = 8
"""The rows beside them get one prompt for so many of theirs."""
REAL = 4096
"""Real latents that generated ones are compared with."""
TEACHER = "Euler, 25 steps"
BEST_TEACHER = f"{TEACHER}, CFG {TEACHER_CFG:g}"
WITH_HELD_OUT = (BEST_TEACHER, "LCM-LoRA, 4 steps, CFG 1")
"""The lines that are also measured on combinations that training never showed."""
LCM_STEPS = (1, 2, 3, 4, 6, 8)
LORA_KINDS = {"lcm": "LCM-LoRA", "style": "style LoRA"}


@dataclass(frozen=True)
class Row:
    """One line of the table. `main` rows get all prompts; `style` is the weight of the style LoRA;
    `host_rows` what a real WebUI computes where it differs from this benchmark: A1111's own LCM computes both
    halves at CFG 1 too."""

    method: Method
    main: bool = True
    style: float = 0.0
    host_rows: int | None = None

    @property
    def rows(self) -> int:
        return self.host_rows or self.method.rows


def rows_of(name: str) -> list[Row]:
    """The lines for the checkpoint `name`: all of them for sd15, for the others what the claim needs."""
    everything = name == "sd15"
    # of the second checkpoint the claim is about what the LoRA does on it, not against itself
    is_teacher = LORA_OF[name] == name
    rows = [
        Row(Method(f"{TEACHER}, CFG {cfg:g}", "euler", 25, cfg), main=is_teacher and cfg == TEACHER_CFG)
        for cfg in (2.0, 3.0)
    ]
    rows += [
        Row(Method(f"Euler, 4 steps, CFG {cfg:g}", "euler", 4, cfg), main=is_teacher and cfg <= 3.0)
        for cfg in (5.0, 3.0, 2.0, 1.0)
    ]
    rows += [Row(Method("Euler, 4 steps, CFG 1, LCM-LoRA", "euler", 4, lora=1.0), main=False)]
    rows += [
        Row(Method(f"LCM timesteps, {steps} steps, no LoRA", "reference", steps), main=False)
        for steps in (2, 4)
    ]
    rows += _lcm_rows(1.0, main=(1, 2, 3, 4) if everything else (2, 4))
    if not everything:
        return rows
    rows.insert(0, Row(Method(f"Euler, 50 steps, CFG {TEACHER_CFG:g}", "euler", 50, TEACHER_CFG), main=False))
    rows.append(Row(Method(f"{TEACHER}, CFG 5", "euler", 25, 5.0), main=False))
    rows += [
        Row(Method(f"Euler, 8 steps, CFG {cfg:g}", "euler", 8, cfg), main=False)
        for cfg in (5.0, 3.0, 2.0, 1.0)
    ]
    rows += _lcm_rows(1.5)
    rows.append(Row(Method("LCM-LoRA, 4 steps, CFG 5 (misuse)", "reference", 4, 5.0, 1.0), main=False))
    rows.append(Row(Method(f"style LoRA 1, {BEST_TEACHER}", "euler", 25, TEACHER_CFG), main=False, style=1.0))
    for style in (0.8, 1.0):
        rows.append(
            Row(
                Method(f"style LoRA {style:g} + LCM-LoRA, 4 steps", "reference", 4, lora=1.0),
                main=False,
                style=style,
            )
        )
    return rows


def _lcm_rows(cfg: float, main: Collection[int] = ()) -> Iterator[Row]:
    """LCM-LoRA in every number of steps, with the reference's timesteps and the WebUI's; those in `main` with
    all prompts.
    """
    for steps in LCM_STEPS:
        label = f"LCM-LoRA, {steps} step{'s' if steps > 1 else ''}, CFG {cfg:g}"
        yield Row(Method(label, "reference", steps, cfg, 1.0), main=steps in main)
        if steps > 1:  # a single step starts at 999 either way
            yield Row(
                Method(f"{label}, the WebUI's timesteps", "webui", steps, cfg, 1.0),
                main=steps in main,
                host_rows=2 * steps,
            )


class Bench:
    """One run: which models, how many prompts, and the prompts themselves."""

    def __init__(self, models: Path, prompts: int, side_prompts: int, device: torch.device) -> None:
        self.models, self.device = models, device
        self.prompts, self.side_prompts = prompts, side_prompts
        self.scenes, self.held_out = prompts_of(prompts, SEED), prompts_of(side_prompts, SEED, held_out=True)
        self.classifier = load_classifier(models / CLASSIFIER) if (models / CLASSIFIER).exists() else None

    def checkpoint(self, name: str) -> Path:
        return self.models / "Stable-diffusion" / f"small-{name}.safetensors"

    def lora(self, name: str) -> Path:
        return self.models / "Lora" / f"{name}.safetensors"

    def run(self) -> dict[str, Any]:
        """{checkpoint: list of figures}, with {"absent": ...} in place of what cannot be measured."""
        return {name: self.measure_checkpoint(name) for name in LORA_OF}

    def measure_checkpoint(self, name: str) -> dict[str, Any]:
        if not self.checkpoint(name).exists():
            return {"absent": f"there is no {self.checkpoint(name).name}"}
        look = LOOK_OF.get(name, "plain")
        files = {
            "lcm": self.lora(f"lcm_lora_{LORA_OF[name]}"),
            **({"style": self.lora(STYLE)} if name == "sd15" else {}),
        }
        model, loras = load_with_loras(self.checkpoint(name), self.device, **files)
        real = self.real_latents(model, look)
        floor_of = {
            count: frechet_distance(real[REAL : REAL + count], real[:REAL])
            for count in (self.prompts, self.side_prompts)
        }
        figures = [
            _summary("real pictures through the autoencoder", measure_autoencoder(model, self.scenes, look))
        ]
        for row in tqdm(rows_of(name), desc=f"small-{name}", mininterval=2.0):
            method = row.method
            weights = {"lcm": method.lora, "style": row.style}
            missing = [
                LORA_KINDS[name] for name, weight in weights.items() if weight and name not in loras.layers
            ]
            if missing:
                figures.append({"label": method.label, "absent": f"no {missing[0]}"})
                continue
            loras.apply(**weights)
            scenes = self.scenes[: self.prompts if row.main else self.side_prompts]
            row_look = STYLE_LOOK if row.style else look
            wall, cpu = time.perf_counter(), time.process_time()
            pictures, latents = draw(model, method, [scene.caption for scene in scenes], SEED)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            entry = _summary(method.label, agreement(pictures, scenes, row_look))
            if self.classifier:
                entry["by_classifier"] = round(
                    100 * rates(self.classifier.agreement(pictures, scenes))["all"], 1
                )
            entry |= {
                "unet_calls": method.steps,
                "unet_rows": row.rows,
                "seconds_per_picture": wall / len(scenes),
                "cpu_seconds_per_picture": cpu / len(scenes),
                "latent_distance": frechet_distance(latents, real[:REAL]) if row_look == look else None,
                "latent_distance_floor": floor_of[len(scenes)] if row_look == look else None,
            }
            if method.label in WITH_HELD_OUT:
                unseen, _ = draw(model, method, [scene.caption for scene in self.held_out], SEED)
                entry["held_out"] = _summary("", agreement(unseen, self.held_out, row_look))
            figures.append(entry)
        return {"rows": figures, "targets": targets(figures)}

    @torch.no_grad()
    def real_latents(self, model: Any, look: str) -> Tensor:
        """Latents of REAL real pictures and, for the floor, of as many more as there are prompts."""
        rng = np.random.default_rng([SEED, 9])
        parts = []
        for _ in range(0, REAL + self.prompts, 256):
            pictures = render(random_scenes(256, rng), rng, look, self.device)
            parts.append(model.encode_pictures(pictures).cpu())
        return torch.cat(parts)[: REAL + self.prompts]

    def sheet(self) -> Image.Image | None:
        """Six prompts by the methods that the claim is about; None without a small-sd15."""
        if not self.checkpoint("sd15").exists():
            return None
        model, loras = load_with_loras(self.checkpoint("sd15"), self.device, lcm=self.lora("lcm_lora_sd15"))
        chosen = {
            "LCM-LoRA\n4 steps, CFG 1": Method("", "reference", 4, lora=1.0),
            "LCM-LoRA\n2 steps, CFG 1": Method("", "reference", 2, lora=1.0),
            f"Euler\n4 steps, CFG {TEACHER_CFG:g}": Method("", "euler", 4, TEACHER_CFG),
            "Euler\n4 steps, CFG 1": Method("", "euler", 4),
            f"teacher\nEuler 25, CFG {TEACHER_CFG:g}": Method("", "euler", 25, TEACHER_CFG),
        }
        captions = [scene.caption for scene in self.scenes[:6]]
        columns = []
        for method in chosen.values():
            loras.apply(lcm=method.lora)
            columns.append([Image.fromarray(picture) for picture in draw(model, method, captions, SEED)[0]])
        rows = [
            (caption, pictures)
            for caption, pictures in zip(captions, zip(*columns, strict=True), strict=True)
        ]
        return contact_sheet("small-sd15", list(chosen), rows)


def _summary(label: str, judged: Sequence[dict[str, bool]]) -> dict[str, Any]:
    """Shares in per cent, the interval of "all", and of each prompt whether all was right."""
    right = [row["all"] for row in judged]
    low, high = wilson(sum(right), len(right))
    return {
        "label": label,
        "prompts": len(right),
        **{name: round(100 * share, 1) for name, share in rates(judged).items()},
        "interval": [round(100 * low, 1), round(100 * high, 1)],
        "right": "".join("01"[flag] for flag in right),
    }


def targets(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The comparisons that the claim stands on, in points, each with half the width of its 95 % interval;
    absent where a row is.
    """
    by_label = {row["label"]: row for row in figures if "right" in row}

    def best(prefix: str) -> dict[str, Any] | None:
        rows = [row for label, row in by_label.items() if label.startswith(prefix) and "LoRA" not in label]
        most = max((len(row["right"]) for row in rows), default=0)
        rows = [row for row in rows if len(row["right"]) == most]  # of few prompts the best is the luckiest
        return max(rows, key=lambda row: row["all"], default=None)

    def points(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
        if one is None or other is None:
            return None
        ours, theirs = ([flag == "1" for flag in row["right"]] for row in (one, other))
        count = min(len(ours), len(theirs))
        mean, half = paired_difference(ours[:count], theirs[:count])
        return {
            "of": one["label"],
            "over": other["label"],
            "points": round(100 * mean, 1),
            "interval": round(100 * half, 1),
        }

    four, two = by_label.get("LCM-LoRA, 4 steps, CFG 1"), by_label.get("LCM-LoRA, 2 steps, CFG 1")
    return {
        "4 steps against the teacher (wanted: -5 or more)": points(four, best(TEACHER)),
        "4 steps against Euler 4 at its best CFG, no LoRA (wanted: 30)": points(four, best("Euler, 4 steps")),
        "2 steps against the WebUI's timesteps (wanted: 20)": points(
            two, by_label.get("LCM-LoRA, 2 steps, CFG 1, the WebUI's timesteps")
        ),
    }


def overview(results: dict[str, Any]) -> list[str]:
    """A table of the lines that all checkpoints have, with a column for each; ¹ marks those of fewer
    prompts.
    """
    measured = {
        name: {row["label"]: row for row in result["rows"]}
        for name, result in results.items()
        if "rows" in result
    }
    if not measured:
        return []
    most = max(row.get("prompts", 0) for rows in measured.values() for row in rows.values())

    def cell(row: dict[str, Any]) -> str:
        return "absent" if "absent" in row else f"{row['all']:.1f} %{'' if row['prompts'] == most else ' ¹'}"

    lines = [
        f"| method | UNet rows | {' | '.join(f'`{name}`' for name in measured)} |",
        "|---" * (len(measured) + 2) + "|",
    ]
    for label, first in next(iter(measured.values())).items():
        if all(label in rows for rows in measured.values()):
            cells = [cell(rows[label]) for rows in measured.values()]
            lines.append(f"| {label} | {first.get('unet_rows', '')} | {' | '.join(cells)} |")
    return [*lines, ""]


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = overview(results)
    for name, result in results.items():
        lines += [f"## small-{name}", ""]
        if "absent" in result:
            lines += [f"Absent: {result['absent']}.", ""]
            continue
        teacher = next((row for row in result["rows"] if row["label"] == BEST_TEACHER), {})
        columns = (
            "method",
            "all",
            "95 %",
            "prompts",
            "all, by the classifier",
            "held out",
            "distance (floor)",
            "UNet rows",
            "ms",
        )
        lines += [
            f"| {' | '.join(columns)} | times as fast as the teacher |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for row in result["rows"]:
            if "absent" in row:
                lines.append(f"| {row['label']} | absent: {row['absent']} ||||||||||")
                continue
            cells = [
                row["label"],
                f"{row['all']:.1f} %",
                "{:.1f}–{:.1f}".format(*row["interval"]),
                str(row["prompts"]),
            ]
            cells.append(f"{row['by_classifier']:.1f} %" if "by_classifier" in row else "absent")
            cells.append(f"{row['held_out']['all']:.1f} %" if "held_out" in row else "")
            far = row.get("latent_distance")
            cells.append("" if far is None else f"{far:.2f} ({row['latent_distance_floor']:.2f})")
            seconds = row.get("seconds_per_picture")
            cells += ["", "", ""] if seconds is None else [str(row["unet_rows"]), f"{1000 * seconds:.1f}"]
            if seconds is not None:
                cells.append(
                    f"{teacher['seconds_per_picture'] / seconds:.1f}"
                    if "seconds_per_picture" in teacher
                    else ""
                )
            lines.append("| " + " | ".join(cells) + " |")
        lines += ["", *(f"- {name}: {_told(found)}" for name, found in result["targets"].items()), ""]
    first, second = (_four_steps(results.get(name, {})) for name in ("sd15", "sd15-lit"))
    share = f"{100 * second / first:.0f} %" if first and second else "absent"
    what = "of what the first one does with the LCM-LoRA in 4 steps"
    lines.append(f"The second checkpoint reaches {share} {what} (wanted: 90 %).")
    return "\n".join(lines) + "\n"


def _told(found: dict[str, Any] | None) -> str:
    return (
        "absent"
        if found is None
        else f"{found['points']:+.1f} ± {found['interval']:.1f} points ({found['of']}; {found['over']})"
    )


def _four_steps(result: dict[str, Any]) -> float | None:
    return next(
        (row.get("all") for row in result.get("rows", ()) if row["label"] == "LCM-LoRA, 4 steps, CFG 1"), None
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python dev.py bench quality", description=__doc__.splitlines()[0])
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument(
        "--quick", action="store_true", help=f"a look: {QUICK_PROMPTS} prompts, wide intervals"
    )
    how_many.add_argument(
        "--prompts",
        type=int,
        default=PROMPTS,
        help=f"for the rows that carry the claim ({PROMPTS}); others get an eighth",
    )
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with Stable-diffusion and Lora")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    options = parser.parse_args(arguments)
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    if options.prompts < 2 * SIDE_SHARE:  # an interval needs two
        parser.error(f"--prompts is {options.prompts}; it must be at least {2 * SIDE_SHARE}.")
    prompts = QUICK_PROMPTS if options.quick else options.prompts
    bench = Bench(options.models, prompts, prompts // SIDE_SHARE, torch.device(options.device))
    results = bench.run()
    path = clock.save("quality", {"seed": SEED, "checkpoints": results})
    text = table(results)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    sheet = bench.sheet()
    if sheet is not None:
        sheet.save(path.with_suffix(".png"))
    print(text)
    print(f"Written to {path.parent}: quality.json, quality.md, quality.png.")


if __name__ == "__main__":
    main()
