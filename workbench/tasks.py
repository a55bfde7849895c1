"""What the small models can be trained to draw. A task says which pictures there are, how big the models are, and when a picture is right.

`shapes` is one shape in each picture (`workbench.pictures`), `scenes` the richer one (`workbench.scenes`). `SHIPPED` is the task of the
models in workbench/models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench import judge as shapes_judge
from workbench import pictures, scenes
from workbench.scenes import judge as scenes_judge
from workbench.scenes import render as scenes_render
from workbench.scenes.classifier import CLASSIFIER, load_classifier
from workbench.small_models import FIRST, SD15_LAYOUT, SDXL_LAYOUT, SSD1B_LAYOUT, TEXT_CONFIG, VAE_CONFIG, Architecture
from workbench.tokenizer import vocabulary

SHIPPED = "shapes"
Agreement = dict[str, bool]


@dataclass(frozen=True)
class Task:
    """A kind of pictures. A scene is whatever the task's own functions take and give; it has a full `caption`.

    `scenes(count, rng, held_out=False)` draws scenes to train on, or such as training never shows. `render(scenes, rng, look, device)`
    returns pictures [B, 3, 64, 64] in -1..1. `loose_caption(scene, rng)` is true of the scene but not complete. `facts(scene)` is
    what the full caption tells, one word for each question. `judge(look)` returns a function that says of pictures, uint8 [B, 64, 64, 3],
    and their scenes what is right in each; "all" is everything. `second_opinion(models)` does the same by the classifier among the
    models, or raises FileNotFoundError; None where the task has none.
    """

    name: str
    architecture: Architecture
    looks: tuple[str, ...]
    has_held_out: bool
    scenes: Callable[..., Sequence[Any]]
    render: Callable[[Sequence[Any], np.random.Generator, str, torch.device | str], Tensor]
    loose_caption: Callable[[Any, np.random.Generator], str]
    facts: Callable[[Any], dict[str, str]]
    judge: Callable[[str], Callable[[np.ndarray, Sequence[Any]], list[Agreement]]]
    second_opinion: Callable[[Path], Callable[[np.ndarray, Sequence[Any]], list[Agreement]]] | None = None

    def prompts(self, count: int, seed: int, *, held_out: bool = False) -> Sequence[Any]:
        """Scenes to measure with; the same for the same arguments."""
        return self.scenes(count, np.random.default_rng([seed, 77]), held_out=held_out)


def rates(rows: Sequence[Mapping[str, bool]]) -> dict[str, float]:
    """The share (0..1) of pictures in which each attribute is right, of those that have the attribute."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: sum(row[name] for row in rows if name in row) / sum(name in row for row in rows) for name in names}


def _all_shapes(count: int, rng: np.random.Generator, held_out: bool = False) -> list[pictures.Scene]:
    """Every scene as often as every other, in random order."""
    if held_out:
        raise ValueError("the task 'shapes' holds nothing out of training")
    order = rng.permutation(len(pictures.ALL_SCENES))
    return [pictures.ALL_SCENES[order[index % len(order)]] for index in range(count)]


def _render_shapes(chosen: Sequence[pictures.Scene], rng: np.random.Generator, look: str, device: torch.device | str) -> Tensor:
    if look != "plain":
        raise ValueError(f"the task 'shapes' has no look {look!r}")
    return pictures.to_tensor(np.stack([pictures.render(scene, rng) for scene in chosen])).to(device)


def _shapes_judge(look: str) -> Callable[[np.ndarray, Sequence[pictures.Scene]], list[Agreement]]:
    judge = shapes_judge.Judge()
    return lambda shown, wanted: [verdict.agrees(scene) for verdict, scene in zip(judge(shown), wanted, strict=True)]


def _scenes_judge(look: str) -> Callable[[np.ndarray, Sequence[scenes.Scene]], list[Agreement]]:
    judge = scenes_judge.Judge(look)
    return lambda shown, wanted: scenes_judge.agreement(shown, wanted, judge)


_SDXL = {**SDXL_LAYOUT, "block_out_channels": [64, 40, 16], "norm_num_groups": 8, "transformer_layers_per_block": [1, 1, 2]}
SCENES_ARCHITECTURE = Architecture(
    unets={
        "sd15": {**SD15_LAYOUT, "block_out_channels": [80, 40, 24, 16], "norm_num_groups": 8},
        "sdxl": _SDXL,
        # SSD-1B keeps fewer transformer blocks than SDXL, but the last attention on the way up as deep as it was.
        "ssd1b": {
            **_SDXL,
            "mid_block_type": SSD1B_LAYOUT["mid_block_type"],
            "transformer_layers_per_block": [1, 1, 1],
            "reverse_transformer_layers_per_block": [[1, 1, 2], [1, 1, 1], 1],
        },
    },
    # One group: norms over a channel or two take away the mean, and with it the colour of a background.
    vae={**VAE_CONFIG, "block_out_channels": [8, 16, 32, 64], "norm_num_groups": 1},
    text={**TEXT_CONFIG, "num_hidden_layers": 3},
    vocabulary=vocabulary(scenes.WORDS),
)
"""Sizes with which two SD 1.5 checkpoints, one of SDXL, one of SSD-1B and their LoRAs stay under 40 MB in fp16."""

SHAPES = Task("shapes", FIRST, ("plain",), False, _all_shapes, _render_shapes, pictures.loose_caption, asdict, _shapes_judge)
SCENES = Task(
    "scenes",
    SCENES_ARCHITECTURE,
    scenes_render.LOOKS,
    True,
    scenes.random_scenes,
    scenes_render.render,
    scenes.Scene.loose_caption,
    lambda scene: scene.facts,
    _scenes_judge,
    lambda models: load_classifier(models / CLASSIFIER).agreement,
)
TASKS = {task.name: task for task in (SHAPES, SCENES)}
