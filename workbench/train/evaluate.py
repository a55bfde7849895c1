"""Stage `evaluate`: how often each sampler draws what the caption asks for. The figures go into the recipes
beside the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from workbench import scenes
from workbench.scenes import Scene
from workbench.scenes.judge import agreement, rates
from workbench.scenes.render import render
from workbench.small_models import SmallModel
from workbench.train.common import Run, bar_interval, update_recipe
from workbench.train.sampling import (
    evenly_to_lowest,
    load_for_cut_captions,
    reference_timesteps,
    sample_euler,
    sample_lcm,
    to_pictures,
)
from workbench.webui.lora_weights import LayerDelta, layers_of, match_layers

SEED = 1234
BATCH = 128


@dataclass(frozen=True)
class Method:
    """One row of the figures. `schedule` is "euler", or for the consistency sampler "reference", "webui", or
    the timesteps themselves.

    `lora` is the weight of the LCM-LoRA, 0 for none.
    """

    label: str
    schedule: str | tuple[int, ...]
    steps: int
    cfg: float = 1.0
    lora: float = 0.0

    @property
    def rows(self) -> int:
        """UNet rows for one picture: two per step where guidance needs both halves."""
        return self.steps * (1 if self.cfg == 1 else 2)


TEACHER_METHODS = (
    *tuple(Method(f"Euler, 25 steps, CFG {cfg:g}", "euler", 25, cfg) for cfg in (2.0, 3.0, 5.0)),
    Method("Euler, 4 steps, CFG 1", "euler", 4),
    Method("Euler, 4 steps, CFG 2", "euler", 4, 2.0),
    Method("LCM timesteps, 4 steps, CFG 1, no LoRA", "reference", 4),
    Method("LCM timesteps, 2 steps, CFG 1, no LoRA", "reference", 2),
)
LORA_METHODS = (
    *tuple(
        Method(f"LCM-LoRA, {steps} step{'s' if steps > 1 else ''}, CFG 1", "reference", steps, lora=1.0)
        for steps in (1, 2, 4, 8)
    ),
    Method("LCM-LoRA, 2 steps, CFG 1, the WebUI's own timesteps", "webui", 2, lora=1.0),
)
LORA_OF = {"sd15": "sd15", "sd15-lit": "sd15", "sdxl": "sdxl", "ssd1b": "ssd1b"}
LOOK_OF = {"sd15-lit": "lit"}


def timesteps_of(method: Method) -> Sequence[int]:
    """The timesteps of a method of the consistency sampler."""
    if isinstance(method.schedule, tuple):
        return method.schedule
    return (
        reference_timesteps(method.steps)
        if method.schedule == "reference"
        else evenly_to_lowest(method.steps)
    )


def sample(model: SmallModel, method: Method, captions: list[str], generator: torch.Generator) -> Tensor:
    """Scaled latents [B, 4, 8, 8]."""
    if method.schedule == "euler":
        return sample_euler(model, captions, method.steps, method.cfg, generator)
    return sample_lcm(model, captions, timesteps_of(method), method.cfg, generator)


def draw(
    model: SmallModel, method: Method, captions: Sequence[str], seed: int, batch: int = BATCH
) -> tuple[np.ndarray, Tensor]:
    """Pictures, uint8 [N, 64, 64, 3], and their latents. The same noise for the same captions and seed,
    whatever the method.
    """
    pictures, latents = [], []
    for start in range(0, len(captions), batch):
        generator = torch.Generator().manual_seed(seed * 100_003 + start)
        latents.append(sample(model, method, list(captions[start : start + batch]), generator))
        pictures.append(to_pictures(model, latents[-1]))
    return np.concatenate(pictures), torch.cat(latents).cpu()


def measure(
    model: SmallModel, method: Method, wanted: Sequence[Scene], look: str = "plain"
) -> list[dict[str, bool]]:
    """What is right of the picture of each scene."""
    pictures, _ = draw(model, method, [scene.caption for scene in wanted], SEED)
    return agreement(pictures, wanted, look)


def measure_autoencoder(
    model: SmallModel, wanted: Sequence[Scene], look: str = "plain"
) -> list[dict[str, bool]]:
    """The same for real pictures that went through the autoencoder: the ceiling of every other figure."""
    pictures = render(wanted, np.random.default_rng([SEED, 1]), look, model.device)
    with torch.no_grad():
        restored = [to_pictures(model, model.encode_pictures(part)) for part in pictures.split(BATCH)]
    return agreement(np.concatenate(restored), wanted, look)


class MergedLoras:
    """LoRAs added to a model's weights, as a WebUI does it, so that they cost no time when a picture is
    drawn.

    `files` are those of the LoRAs by any name; those that do not exist are left out. Raises ValueError for
    one that has layers that the model has not.
    """

    def __init__(self, model: SmallModel, files: Mapping[str, Path]) -> None:
        modules = {name: module for name, (_, module) in layers_of(model).items()}
        self.layers: dict[str, dict[str, LayerDelta]] = {}
        for name, path in files.items():
            if not path.exists():
                continue
            self.layers[name], unmatched = match_layers(load_file(path, device=str(model.device)), model)
            if unmatched:
                raise ValueError(
                    f"{path.name} has {len(unmatched)} tensors for no layer of this model, the first"
                    f" {unmatched[0]}"
                )
        self._weights = {layer: modules[layer].weight for layers in self.layers.values() for layer in layers}
        self._originals = {layer: weight.detach().clone() for layer, weight in self._weights.items()}

    @torch.no_grad()
    def apply(self, **weights: float) -> None:
        """The model with each named LoRA at its weight, without the others; without any it is exactly the
        model as it was loaded.

        Raises KeyError where a LoRA that is missing shall have a weight other than 0.
        """
        for layer, weight in self._weights.items():
            weight.copy_(self._originals[layer])
        for name, strength in weights.items():
            if strength:
                for layer, delta in self.layers[name].items():
                    self._weights[layer].add_(delta.delta(self._originals[layer]), alpha=strength)


def load_with_loras(
    checkpoint: Path, device: torch.device | str = "cpu", **files: Path
) -> tuple[SmallModel, MergedLoras]:
    """A checkpoint ready for cut captions, and the LoRAs that can be applied to it."""
    model = load_for_cut_captions(checkpoint, device)
    return model, MergedLoras(model, files)


def evaluate(run: Run, prompts: int = 512) -> dict[str, dict[str, float]]:
    """Measures every checkpoint there is with every method and writes the figures, in per cent, into the
    recipes.
    """
    prompts = 16 if run.quick else prompts
    wanted, unseen = scenes.prompts(prompts, SEED), scenes.prompts(prompts // 2, SEED, held_out=True)
    summary = {}
    for name, family in LORA_OF.items():
        if not run.checkpoint(name).exists():
            continue
        look = LOOK_OF.get(name, "plain")
        model, loras = load_with_loras(run.checkpoint(name), run.device, lcm=run.lora(family))
        figures = {"real pictures through the autoencoder": measure_autoencoder(model, wanted, look)}
        lora_figures = {}
        for method in tqdm(
            TEACHER_METHODS + (LORA_METHODS if loras.layers else ()),
            desc=f"evaluate-{name}",
            mininterval=bar_interval(),
        ):
            loras.apply(lcm=method.lora)
            figures_of_kind = lora_figures if method.lora and name == family else figures
            figures_of_kind[method.label] = measure(model, method, wanted, look)
            if method.steps in (4, 25):
                figures_of_kind[f"{method.label}, held-out combinations"] = measure(
                    model, method, unseen, look
                )
        entry = {"prompts": prompts, "seed": SEED, "unit": "per cent of pictures"}
        update_recipe(run.checkpoint(name).with_suffix(".json"), figures={**entry, **_per_cent(figures)})
        if loras.layers and name == family:
            update_recipe(run.lora(family).with_suffix(".json"), figures={**entry, **_per_cent(lora_figures)})
        summary[name] = {label: row["all"] for label, row in _per_cent({**figures, **lora_figures}).items()}
    return summary


def _per_cent(figures: dict[str, list[dict[str, bool]]]) -> dict[str, dict[str, float]]:
    return {
        label: {name: round(100 * share, 1) for name, share in rates(rows).items()}
        for label, rows in figures.items()
    }
