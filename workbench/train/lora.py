"""Stages `lora-sd15` and `lora-sdxl`: the LCM-LoRA of each small checkpoint, distilled by `lib_lcm.distill`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from lib_lcm.distill import DistillConfig, LoraAdapter, distillation_loss, save_lora
from lib_lcm.lora_files import DISTILLATION_METADATA
from workbench.small_models import load_checkpoint
from workbench.train.attention import skip_padding
from workbench.train.common import Progress, Run, train_loop, update_recipe
from workbench.train.sampling import blank_text
from workbench.train.teacher import Pool

CONFIG = DistillConfig.small_model(steps=1100, substeps=(2, 2), guidance=(0.5, 2.0))
"""Guidance around the teacher's own best CFG scale, which is 2 (w = 1) on these pictures."""
Text = tuple[Tensor, Tensor | None]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def train_lora(run: Run, family: str, config: DistillConfig | None = None) -> Progress:
    """Distils the checkpoint of `family` and writes its LCM-LoRA."""
    config = config or CONFIG
    torch.manual_seed(run.seed + 20)
    checkpoint = run.checkpoint(family)
    model = load_checkpoint(checkpoint)
    skip_padding(model.unet)
    model.unet.to(memory_format=torch.channels_last)
    pool = Pool(run, model)
    blank = blank_text(model, pool.ids.shape[1])
    adapter = LoraAdapter(model.unet, config.rank, config.alpha, config.targets)
    base = sha256(checkpoint)
    path = run.lora(family)

    def student(sample: Tensor, timesteps: Tensor, text: Text) -> Tensor:
        hidden, pooled = text
        return model.unet(
            sample, timesteps, encoder_hidden_states=hidden, added_cond_kwargs=model.added_conditions(pooled)
        ).sample

    def teacher(sample: Tensor, timesteps: Tensor, cond: Text, uncond: Text) -> tuple[Tensor, Tensor]:
        both = (torch.cat([cond[0], uncond[0]]), None if cond[1] is None else torch.cat([cond[1], uncond[1]]))
        with adapter.disabled():
            with_cond, without = student(torch.cat([sample, sample]), torch.cat([timesteps, timesteps]), both).chunk(2)
        return with_cond, without

    def loss_of_step(step: int) -> Tensor:
        latents, ids = pool.draw(config.batch)
        with torch.no_grad():
            cond = model.text_encoder(ids)
        uncond = (blank[0].expand_as(cond[0]), None if cond[1] is None else blank[1].expand_as(cond[1]))
        return distillation_loss(student, teacher, latents, cond, uncond, model.alphas_cumprod, config)

    settings = {key: value for key, value in asdict(config).items() if key not in ("targets", "steps")}
    metadata = {
        "description": f"LCM-LoRA of the workbench's small {family} model, distilled by algorithm 1 of arXiv 2311.05556",
        DISTILLATION_METADATA: json.dumps({**settings, "seed": run.seed, "base_model_sha256": base}),
    }

    def snapshot() -> None:
        save_lora(adapter, path, metadata)

    progress = train_loop(
        f"lora-{family}",
        run,
        run.planned(config.steps, quick=4),
        list(adapter.parameters()),
        loss_of_step,
        learning_rate=config.learning_rate,
        warmup=config.warmup,
        ema_decay=config.ema_decay,
        betas=config.betas,
        weight_decay=config.weight_decay,
        gradient_clip=config.gradient_clip,
        snapshot=snapshot,
    )
    snapshot()
    adapter.remove()
    update_recipe(
        path.with_suffix(".json"),
        what=f"the LCM-LoRA of small-{family}",
        command=f"python -m workbench.train --stage lora-{family} --seed {run.seed}",
        seed=run.seed,
        base_model_sha256=base,
        modules=len(adapter.layers),
        distillation={"settings": settings, **asdict(progress)},
    )
    return progress
