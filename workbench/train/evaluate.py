"""Stage `evaluate`: how often each sampler draws what the caption asks for. The figures go into the recipes beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from lib_lcm.distill import LoraAdapter
from workbench.judge import agreement
from workbench.pictures import ALL_SCENES, random_pictures, to_tensor
from workbench.small_models import SmallModel, load_checkpoint
from workbench.train.attention import skip_padding
from workbench.train.common import Run, update_recipe
from workbench.train.sampling import evenly_to_lowest, reference_timesteps, sample_euler, sample_lcm, to_pictures

SEED = 1234
BATCH = 128


@dataclass(frozen=True)
class Method:
    """One row of the figures. `schedule` is "euler", or for the consistency sampler "reference" or "webui"."""

    label: str
    schedule: str
    steps: int
    cfg: float
    lora: bool


TEACHER_METHODS = (
    Method("Euler, 25 steps, CFG 2", "euler", 25, 2.0, False),
    Method("Euler, 25 steps, CFG 3", "euler", 25, 3.0, False),
    Method("Euler, 25 steps, CFG 5", "euler", 25, 5.0, False),
    Method("Euler, 4 steps, CFG 1", "euler", 4, 1.0, False),
    Method("LCM timesteps, 4 steps, CFG 1, no LoRA", "reference", 4, 1.0, False),
    Method("LCM timesteps, 2 steps, CFG 1, no LoRA", "reference", 2, 1.0, False),
)
LORA_METHODS = (
    Method("LCM-LoRA, 1 step, CFG 1", "reference", 1, 1.0, True),
    Method("LCM-LoRA, 2 steps, CFG 1", "reference", 2, 1.0, True),
    Method("LCM-LoRA, 4 steps, CFG 1", "reference", 4, 1.0, True),
    Method("LCM-LoRA, 8 steps, CFG 1", "reference", 8, 1.0, True),
    Method("LCM-LoRA, 4 steps, CFG 1.5", "reference", 4, 1.5, True),
    Method("LCM-LoRA, 4 steps, CFG 5 (misuse)", "reference", 4, 5.0, True),
    Method("LCM-LoRA, 2 steps, CFG 1, the WebUI's own timesteps", "webui", 2, 1.0, True),
    Method("LCM-LoRA, 4 steps, CFG 1, the WebUI's own timesteps", "webui", 4, 1.0, True),
)


def sample(model: SmallModel, method: Method, captions: list[str], generator: torch.Generator) -> Tensor:
    """Scaled latents [B, 4, 8, 8]."""
    if method.schedule == "euler":
        return sample_euler(model, captions, method.steps, method.cfg, generator)
    timesteps = reference_timesteps(method.steps) if method.schedule == "reference" else evenly_to_lowest(method.steps)
    return sample_lcm(model, captions, timesteps, method.cfg, generator)


def measure(model: SmallModel, method: Method, prompts: int) -> dict[str, float]:
    """Shares of right attributes over `prompts` full captions; the scenes are visited evenly and the seed is fixed."""
    order = np.random.default_rng(SEED).permutation(len(ALL_SCENES))
    scenes = [ALL_SCENES[order[index % len(ALL_SCENES)]] for index in range(prompts)]
    generator = torch.Generator().manual_seed(SEED)
    pictures = [
        to_pictures(model, sample(model, method, [scene.caption for scene in scenes[start : start + BATCH]], generator))
        for start in range(0, prompts, BATCH)
    ]
    return agreement(np.concatenate(pictures), scenes)


def measure_autoencoder(model: SmallModel, prompts: int) -> dict[str, float]:
    """The same for real pictures that went through the autoencoder: the ceiling of every other figure."""
    pictures, scenes = random_pictures(prompts, np.random.default_rng(SEED))
    with torch.no_grad():
        restored = [to_pictures(model, model.encode_pictures(part)) for part in to_tensor(pictures).split(BATCH)]
    return agreement(np.concatenate(restored), scenes)


def load_with_lora(checkpoint: Path, lora: Path | None) -> tuple[SmallModel, LoraAdapter | None]:
    """A checkpoint ready for cut captions, and its LCM-LoRA attached (None when `lora` is None or missing)."""
    model = load_checkpoint(checkpoint)
    skip_padding(model.unet)
    model.unet.to(memory_format=torch.channels_last)
    if lora is None or not lora.exists():
        return model, None
    state = load_file(lora)
    rank = next(tensor.shape[0] for key, tensor in state.items() if key.endswith("lora_down.weight"))
    alpha = float(next(tensor for key, tensor in state.items() if key.endswith(".alpha")))
    adapter = LoraAdapter(model.unet, rank, alpha)
    adapter.load_kohya_state(state)
    return model, adapter


def evaluate(run: Run, family: str, prompts: int = 1024, methods: tuple[Method, ...] | None = None) -> dict[str, dict[str, float]]:
    """Measures every method and writes the figures, in per cent, into both recipes."""
    prompts = 16 if run.quick else prompts
    model, adapter = load_with_lora(run.checkpoint(family), run.lora(family))
    chosen = methods or (TEACHER_METHODS + (LORA_METHODS if adapter else ()))
    figures = {"real pictures through the autoencoder": measure_autoencoder(model, prompts)}
    for method in tqdm(chosen, desc=f"evaluate-{family}", mininterval=10.0):
        if adapter:
            adapter.enabled = method.lora
        figures[method.label] = measure(model, method, prompts)
    per_cent = {label: {name: round(100 * share, 1) for name, share in row.items()} for label, row in figures.items()}
    lora_labels = {method.label for method in LORA_METHODS}
    teacher_rows = {label: row for label, row in per_cent.items() if label not in lora_labels}
    lora_rows = {label: row for label, row in per_cent.items() if label in lora_labels}
    entry = {"prompts": prompts, "seed": SEED, "unit": "per cent of pictures"}
    update_recipe(run.checkpoint(family).with_suffix(".json"), figures={**entry, **teacher_rows})
    if adapter:
        update_recipe(run.lora(family).with_suffix(".json"), figures={**entry, **lora_rows})
    return per_cent
