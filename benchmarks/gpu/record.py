"""What the runs found: docs/gpu.json, and docs/gpu.md, which is written from it.

A run is one device with one version of PyTorch; each of its sections has its own commit and date, so a
section can be run again alone.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
JSON, PAGE = "gpu.json", "gpu.md"
NOT_HERE = "not on this device"
INTRODUCTION = """# On a GPU

`python dev.py gpu` measures this and writes the page from [gpu.json](gpu.json). Networks are of real size
with random weights, in half precision, channels_last, with torch's scaled_dot_product_attention. Times are
medians of 3 to 20 rounds by turns, each waited for, after 3 calls to warm up (distillation: 3 steps after 2).
A picture goes from noise to decoded pixels; the text encoder is left out. GiB are the most that tensors took
at one time, those of the networks included.
"""


def read(folder: Path = DOCS) -> list[dict[str, Any]]:
    """The runs there are."""
    path = folder / JSON
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def write(runs: list[dict[str, Any]], folder: Path = DOCS) -> None:
    """Writes the runs and the page; each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {JSON: json.dumps(runs, indent=1, ensure_ascii=False) + "\n", PAGE: page(runs)}
    for name, text in texts.items():
        partial = folder / f"{name}.partial"
        partial.write_text(text, encoding="utf-8", newline="\n")
        os.replace(partial, folder / name)


def section_of(
    runs: list[dict[str, Any]], about: Mapping[str, Any], section: str, made: Mapping[str, Any]
) -> dict[str, Any]:
    """A new section in the run `about` this device, in the place of an older one; what is added to its
    "checks" is part of `runs`.
    """
    same = ("device", "torch", "small")
    run = next((run for run in runs if all(run[key] == about[key] for key in same)), None)
    if run is None:
        run = {"sections": {}}
        runs.append(run)
    run.update({**about, "sections": run["sections"]})
    run["sections"][section] = {**made, "complete": False, "checks": []}
    return run["sections"][section]


def commit() -> str:
    """Ours, with "and changes" where there are some; empty where this is no clone."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        return done.stdout.strip()

    try:
        head = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    except OSError:  # no git
        return ""
    return f"{head} and changes" if changed else head


def figures_text(figures: Mapping[str, float | int | None]) -> str:
    """ "12.1 ms at 1 row, 20 ms at 2 rows"."""
    return ", ".join(
        f"{name}: {NOT_HERE}" if value is None else f"{_shown(value)} {name}"
        for name, value in figures.items()
    )


def _shown(value: float | int) -> str:
    """Three digits that count, without an exponent where a person can do without."""
    if isinstance(value, int):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def page(runs: list[dict[str, Any]]) -> str:
    """The runs as Markdown."""
    lines = [INTRODUCTION]
    for run in runs:
        told = [f"{run['gib']} GiB"] if "gib" in run else []
        told += [f"CUDA {run['cuda']}"] if "cuda" in run else []
        told += [f"Python {run['python']}", *(["tiny models, to try the script"] if run["small"] else [])]
        lines += [f"## {run['device']}, torch {run['torch']}", "", ", ".join(told) + ".", ""]
        for name, section in run["sections"].items():
            ended = "" if section["complete"] else "; interrupted"
            lines += [
                f"### {name}",
                "",
                f"Commit {section['commit'] or 'unknown'}, {section['date']}{ended}.",
            ]
            lines += ["", "| check | result | figures | note |", "|---|---|---|---|"]
            for check in section["checks"]:
                cells = (check["check"], check["result"], figures_text(check["figures"]), check["note"])
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            lines.append("")
    return "\n".join(lines)
