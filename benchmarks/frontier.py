"""The plot of what guidance costs and what it buys, from the figures of `guidance`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

GREY = "#7a7f87"
"""Of text and axes; like the colours of Okabe and Ito it can be read on white and on black."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900")
MARKERS = {"off": "o", "light": "D", "full": "s"}


def kind_of(scales: str) -> str:
    """What a row is: "1 1 1" is off, "1.5 1.5 1.5" full, anything else light."""
    told = set(scales.split())
    return "off" if told == {"1"} else "full" if "1" not in told else "light"


def plot(cells: Mapping[int, Mapping[str, Sequence[Mapping[str, Any]]]], path: Path) -> None:
    """Draws {steps: {checkpoint: rows}} to a PNG: for each number of steps UNet rows against the share of
    what was unwanted that is gone and against what is right, as means of the checkpoints. The background is
    transparent.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, and only needed here
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(9, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0.0)
    axes = figure.subplots(1, 2)
    for colour, (steps, models) in zip(COLOURS, sorted(cells.items()), strict=False):
        together = [
            (
                rows[0]["rows"],
                100 - mean(row["unwanted"] for row in rows),
                mean(row["right"] for row in rows),
                rows[0]["scales"],
            )
            for rows in zip(*models.values(), strict=True)
        ]
        for axis, column in zip(axes, (1, 2), strict=True):
            ends = [row for row in together if kind_of(row[3]) != "light"]
            axis.plot([row[0] for row in ends], [row[column] for row in ends], ":", color=colour, lw=1)
            for row in together:
                kind = kind_of(row[3])
                axis.plot(row[0], row[column], MARKERS[kind], color=colour, ms=6)
                if kind == "light":
                    scale, at = max(row[3].split(), key=float), (row[0], row[column])
                    axis.annotate(
                        scale, at, (-6, -3), textcoords="offset points", color=GREY, fontsize=8, ha="right"
                    )
        axes[0].plot([], [], color=colour, lw=3, label=f"{steps} steps")
    for axis, title in zip(axes, ("unwanted thing gone, %", "all else as the prompt says, %"), strict=True):
        axis.set_title(title, color=GREY, fontsize=11)
        axis.set_xlabel("UNet rows of a picture", color=GREY)
        axis.tick_params(colors=GREY)
        axis.grid(color=GREY, alpha=0.25)
        axis.patch.set_alpha(0.0)
        for spine in axis.spines.values():
            spine.set_color(GREY)
    words = {"off": "CFG 1", "light": "some steps guided, at what scale", "full": "CFG 1.5 in all steps"}
    shapes = [
        Line2D([], [], color=GREY, marker=marker, ls="", label=words[kind])
        for kind, marker in MARKERS.items()
    ]
    lines = [*axes[0].get_legend_handles_labels()[0], *shapes]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False, labelcolor=GREY)
    figure.savefig(path, dpi=120, transparent=True)
