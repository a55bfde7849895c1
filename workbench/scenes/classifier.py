"""A second opinion beside the judge's: a small convolutional network that has learnt from real renders what a
picture shows.

It names something for every picture, also for a smear, so it is the more lenient of the two; where both
agree, the figure is to be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from workbench.scenes import COLOURS, SHAPES, SIZES, Scene
from workbench.scenes.render import SIDE

LAYOUT_OF = {"left of": "side by side", "above": "one above the other"}
"""Of two objects in the order of reading."""
QUESTIONS: dict[str, tuple[str, ...]] = {
    "background": tuple(COLOURS),
    "mosaic": ("no", "yes"),
    "layout": (*SIZES, *LAYOUT_OF.values()),
    "colour 1": tuple(COLOURS),
    "shape 1": SHAPES,
    "colour 2": tuple(COLOURS),
    "shape 2": SHAPES,
}
"""What is asked of every picture, and the possible answers. Those about a second object mean nothing where
there is one.
"""
CLASSIFIER = "classifier.safetensors"
"""The file of its weights, in the folder of the models."""
CHANNELS = (32, 48, 64, 96)
HIDDEN = 128
BATCH = 256


def answers(scene: Scene) -> dict[str, str]:
    """The true answers to QUESTIONS, those about a second object only where there is one."""
    scene = scene.in_reading_order
    layout = LAYOUT_OF[scene.relation] if scene.relation else str(scene.things[0].size)
    told = {"background": scene.background, "mosaic": "yes", "layout": layout}
    for number, thing in enumerate(scene.things, start=1):
        told |= {f"colour {number}": thing.colour, f"shape {number}": thing.shape}
    return told


class Classifier(nn.Module):
    """Pictures, float [B, 3, 64, 64] in -1..1 -> for each of QUESTIONS the logits of its answers, [B, number
    of answers].
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *CHANNELS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths, CHANNELS, strict=False)
        )
        self.hidden = nn.Linear(CHANNELS[-1] * (SIDE // 2 ** len(CHANNELS)) ** 2, HIDDEN)
        self.heads = nn.ModuleDict({name: nn.Linear(HIDDEN, len(known)) for name, known in QUESTIONS.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        for convolution in self.convolutions:
            pictures = F.silu(convolution(pictures))
        hidden = F.silu(self.hidden(pictures.flatten(1)))
        return {name: head(hidden) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, pictures: np.ndarray) -> list[dict[str, str]]:
        """The likeliest answers for each of `pictures`, uint8 [B, 64, 64, 3]."""
        read: list[dict[str, str]] = []
        for start in range(0, len(pictures), BATCH):
            part = torch.from_numpy(pictures[start : start + BATCH]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
            best = {name: logits.argmax(dim=1).tolist() for name, logits in self(part).items()}
            read += [
                {name: QUESTIONS[name][row[index]] for name, row in best.items()}
                for index in range(len(part))
            ]
        return read

    def agreement(self, pictures: np.ndarray, scenes: Sequence[Scene]) -> list[dict[str, bool]]:
        """Of each picture, which answers are those of its scene, and under "all" whether all are."""
        rows = []
        for seen, scene in zip(self.read(pictures), scenes, strict=True):
            right = {name: seen[name] == answer for name, answer in answers(scene).items()}
            rows.append({**right, "all": all(right.values())})
        return rows


def load_classifier(path: Path) -> Classifier:
    """FileNotFoundError where it was not trained."""
    classifier = Classifier()
    classifier.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return classifier.eval()
