"""Stages `text-...`: the text transformers learn to sum up a caption in its last token, before any denoiser
reads it.

SD's text encoder came trained as well. A denoiser that has to teach it draws well for a thousand steps and
ignores the caption; to tell facts from words takes the transformer alone a few hundred steps, each a tenth as
long. The denoisers then leave it as it is.

SD 1.5's tells what the caption says, thing by thing. SDXL's, which is shared by SSD-1B, tells what stands
where: the denoiser of that layout, with attention at no more than 4x4 positions, draws everything else right
and does not learn in 4,000 steps to put "right of a circle" and "on the right" together.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from workbench.scenes import random_scenes
from workbench.small_models import SmallTextEncoder, build_model, write_safetensors
from workbench.train.attention import cut
from workbench.train.common import (
    FULL_CAPTION_SHARE,
    Progress,
    Run,
    plain_settings,
    train_loop,
    update_recipe,
)
from workbench.train.muon import Muon, embeddings


@dataclass(frozen=True)
class TextSettings:
    """`captions` is how many different ones there are to train on."""

    steps: int = 300
    batch: int = 128
    learning_rate: float = 1e-2
    captions: int = 20_000


def text_path(run: Run, family: str) -> Path:
    """Where the trained text transformer of "sd15" or "sdxl" lies."""
    return run.data / f"text-{family}.safetensors"


def captions_and_facts(
    run: Run, family: str, count: int, *seed: int, full: float = 1.0, held_out: bool = False
) -> tuple[list[str], list[dict]]:
    """`count` captions, a share of `full` of them complete, and the facts of their scenes that the family's
    transformer tells.
    """
    rng = np.random.default_rng([run.seed, *seed])
    scenes = random_scenes(count, rng, held_out=held_out)
    captions = [scene.caption if rng.random() < full else scene.loose_caption(rng) for scene in scenes]
    return captions, [(scene if family == "sd15" else scene.in_reading_order).facts for scene in scenes]


def train_text(run: Run, family: str, settings: TextSettings | None = None) -> Progress:
    """Trains the transformer of `family`, "sd15" or "sdxl", and writes it to `run.data`."""
    settings = settings or (TextSettings() if family == "sd15" else TextSettings(steps=1000))
    torch.manual_seed(run.seed + 5)
    model = build_model(family, run.seed)
    encoder, tokenizer = model.text_encoder.to(run.device), model.tokenizer

    captions, facts = captions_and_facts(
        run, family, 512 if run.quick else settings.captions, 6, full=FULL_CAPTION_SHARE
    )
    words: dict[str, list[str]] = {}
    for row in facts:
        for name, word in row.items():
            if word not in words.setdefault(name, []):
                words[name].append(word)
    heads = nn.Linear(encoder.config["hidden_size"], sum(len(known) + 1 for known in words.values())).to(
        run.device
    )
    ids, answers = (
        cut(tokenizer(captions), tokenizer.pad_id).to(run.device),
        _answers(facts, words).to(run.device),
    )

    def ask(ids: Tensor) -> tuple[Tensor, ...]:
        return heads(last_token(encoder, ids)).split([len(known) + 1 for known in words.values()], dim=1)

    def loss_of_step(step: int) -> Tensor:
        chosen = torch.randint(len(ids), (settings.batch,)).to(run.device)
        said = ask(ids[chosen])
        return sum(F.cross_entropy(scores, answers[chosen, index]) for index, scores in enumerate(said))

    parameters = [*encoder.clip.parameters(), *heads.parameters()]
    progress = train_loop(
        f"text-{family}",
        run,
        run.planned(settings.steps, quick=12),
        parameters,
        loss_of_step,
        learning_rate=settings.learning_rate,
        optimizer=Muon(parameters, settings.learning_rate, tables=embeddings([encoder])),
        warmup=30,
        ema_decay=0.98,
    )
    write_safetensors(encoder.clip.state_dict(), text_path(run, family), {})

    right = {}
    for name, held_out in (("captions of training", False), ("held-out combinations", True)):
        asked, truth = captions_and_facts(run, family, 64 if run.quick else 1024, 7, held_out=held_out)
        with torch.no_grad():
            said = torch.stack(
                [
                    scores.argmax(dim=1)
                    for scores in ask(cut(tokenizer(asked), tokenizer.pad_id).to(run.device))
                ],
                dim=1,
            )
        right[name] = round(100 * float((said.cpu() == _answers(truth, words)).all(dim=1).float().mean()), 1)
    recipe = text_path(run, family).with_suffix(".json")
    update_recipe(
        recipe, seed=run.seed, settings=plain_settings(settings), text=asdict(progress), every_fact_read=right
    )
    return progress


def last_token(encoder: SmallTextEncoder, ids: Tensor) -> Tensor:
    """The transformer's output at the end of each caption of `ids` [B, L], [B, 64]."""
    hidden = encoder.clip(input_ids=ids).last_hidden_state
    return hidden[torch.arange(len(ids), device=ids.device), (ids == encoder.eos_id).int().argmax(dim=1)]


def _answers(facts: list[dict[str, str]], words: dict[str, list[str]]) -> Tensor:
    """int64 [N, K]: which of its words answers each question; one more stands for "not asked of this
    scene".
    """
    return torch.tensor(
        [
            [known.index(row[name]) if name in row else len(known) for name, known in words.items()]
            for row in facts
        ]
    )


def load_text(run: Run, family: str, encoder: SmallTextEncoder) -> None:
    """Puts the family's trained transformer into `encoder`, frozen. FileNotFoundError when its stage has not
    run.
    """
    path = text_path(run, family)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the stage '{path.stem}' first")
    encoder.clip.load_state_dict(load_file(path))
    encoder.clip.requires_grad_(False)
