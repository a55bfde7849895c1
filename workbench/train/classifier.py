"""Stage `classifier`: the second opinion beside the judge's, trained on real renders of every look, some with
a mosaic that is none.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.scenes import HELD_OUT, Scene, random_scenes
from workbench.scenes.classifier import CLASSIFIER, QUESTIONS, Classifier, answers
from workbench.scenes.judge import rates
from workbench.scenes.render import LOOKS, SIDE, TILE, render, to_uint8
from workbench.small_models import write_safetensors
from workbench.train.common import Progress, Run, plain_settings, train_loop, update_recipe
from workbench.train.muon import Muon

UNKNOWN = -100
"""The answer to a question that means nothing for a picture; the loss leaves it out."""
HELD_OUT_SHARE = 0.2
"""Pictures of combinations that the denoisers never see: the classifier has to know them."""
FLAT_SHARE = 0.3
"""Pictures whose tiles are neither clearly light nor clearly dark."""


@dataclass(frozen=True)
class ClassifierSettings:
    """`noise` is the largest standard deviation of the noise on pictures, in levels of 255; `shade` how far
    their colours may be off.
    """

    steps: int = 2500
    batch: int = 64
    learning_rate: float = 1e-2
    warmup: int = 50
    ema_decay: float = 0.99
    noise: float = 6.0
    shade: float = 6.0


def random_tiles(count: int, is_flat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tones of the tiles, [count, 8, 8]: near -1 or 1, or in a flat mosaic anything between, or all much the
    same.
    """
    shape = (count, SIDE // TILE, SIDE // TILE)
    coins = rng.integers(0, 2, shape) * 2.0 - 1.0
    clear = coins * rng.uniform(0.75, 1.15, shape)
    soft = np.where(
        rng.random((count, 1, 1)) < 0.5, rng.uniform(-1, 1, shape), coins * rng.uniform(0, 0.4, (count, 1, 1))
    )
    return np.where(is_flat[:, None, None], soft, clear)


def examples(
    count: int, settings: ClassifierSettings, rng: np.random.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Pictures [count, 3, 64, 64] in -1..1, a little off as a decoder's are, and the number of each right
    answer, [count].
    """
    unseen = round(HELD_OUT_SHARE * count) if HELD_OUT else 0
    scenes = random_scenes(count - unseen, rng) + random_scenes(unseen, rng, held_out=True)
    is_flat = rng.random(count) < FLAT_SHARE
    pictures = render(scenes, rng, LOOKS[rng.integers(len(LOOKS))], tiles=random_tiles(count, is_flat, rng))
    pictures = (
        pictures + torch.from_numpy(rng.uniform(-1, 1, (count, 3, 1, 1)) * settings.shade / 127.5).float()
    )
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    pictures = torch.lerp(pictures, blurred, torch.from_numpy(rng.uniform(0, 0.8, (count, 1, 1, 1))).float())
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    pictures = (
        pictures + noise * torch.from_numpy(rng.uniform(0, settings.noise / 127.5, (count, 1, 1, 1))).float()
    )
    return pictures.clamp(-1, 1), right_answers(scenes, is_flat)


def right_answers(scenes: list[Scene], is_flat: np.ndarray) -> dict[str, Tensor]:
    """For each question int64 [B]: the number of the right answer, UNKNOWN where there is none."""
    told = [
        {**answers(scene), "mosaic": "no" if flat else "yes"}
        for scene, flat in zip(scenes, is_flat, strict=True)
    ]
    return {
        name: torch.tensor([known.index(row[name]) if name in row else UNKNOWN for row in told])
        for name, known in QUESTIONS.items()
    }


def train_classifier(run: Run, settings: ClassifierSettings | None = None) -> Progress:
    """Trains the classifier, writes it, and notes in its recipe how often it is right of real renders."""
    settings = settings or ClassifierSettings()
    torch.manual_seed(run.seed + 40)
    classifier = Classifier()
    path = run.models / CLASSIFIER

    def loss_of_step(step: int) -> Tensor:
        pictures, wanted = examples(settings.batch, settings, np.random.default_rng([run.seed, 6, step]))
        logits = classifier(pictures)
        # The sum over the batch by the batch: a batch may have no picture of two objects.
        return sum(
            F.cross_entropy(logits[name], wanted[name], ignore_index=UNKNOWN, reduction="sum")
            for name in QUESTIONS
        ) / len(pictures)

    progress = train_loop(
        "classifier",
        run,
        run.planned(settings.steps, quick=8),
        list(classifier.parameters()),
        loss_of_step,
        learning_rate=settings.learning_rate,
        optimizer=Muon(classifier.parameters(), settings.learning_rate),
        warmup=settings.warmup,
        ema_decay=settings.ema_decay,
    )
    write_safetensors({name: tensor.half() for name, tensor in classifier.state_dict().items()}, path, {})
    update_recipe(
        path.with_suffix(".json"),
        what="a classifier of the pictures, the second opinion beside the judge's",
        command=run.command("classifier", progress.steps),
        seed=run.seed,
        training={"settings": plain_settings(settings), **run.arithmetic, **asdict(progress)},
        right_of_real_renders={
            look: measure_classifier(classifier, look, 64 if run.quick else 3000) for look in LOOKS
        },
    )
    return progress


def measure_classifier(classifier: Classifier, look: str, count: int) -> dict[str, float]:
    """How often, in per cent, it is right of `count` real renders that it was not trained on."""
    rng = np.random.default_rng([77, LOOKS.index(look)])
    scenes = random_scenes(count // 2, rng) + random_scenes(count - count // 2, rng, held_out=True)
    rows = []
    for start in range(0, count, 256):
        part = scenes[start : start + 256]
        rows += classifier.agreement(to_uint8(render(part, rng, look)), part)
    return {name: round(100 * share, 1) for name, share in rates(rows).items()}
