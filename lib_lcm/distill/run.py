"""One distillation with its model in memory: what it learns from, how it learns, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib_lcm.distill.algorithm import Student
from lib_lcm.distill.latents import TEACHER_STEPS, Progress, Prompts, drawn, of_pictures, own_latents
from lib_lcm.distill.lora import LoraAdapter, lora_metadata, save_lora
from lib_lcm.distill.memory import autocast
from lib_lcm.distill.model import Cond, Model
from lib_lcm.distill.training import SEED_STRIDE, Distillation
from lib_lcm.lora.file import shown_name
from lib_lcm.lora.hashes import sha256_of_file

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Job:
    """What is to be distilled into which file.

    `prompts` as in `read_prompts`; `pictures` is how many the teacher draws to learn from. `compare` is
    another LCM-LoRA for the report; by default the one that is in the output's folder. `changes` are made to
    the model's own configuration.
    """

    checkpoint: Path
    output: Path
    device: torch.device
    prompts: Path | None = None
    pictures: int = 640
    compare: Path | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def precision(self) -> str:
        """Half on CUDA: not bfloat16, whose errors are multiplied by 14 at the noisiest timestep."""
        return "fp16" if self.device.type == "cuda" else "fp32"

    @property
    def folder(self) -> Path:
        """Where an unfinished run lies."""
        return self.output.with_suffix(".unfinished")

    @property
    def preview(self) -> Path:
        """What the LoRA draws in the course of training."""
        return self.folder / "preview.png"

    @property
    def report(self) -> Path:
        """Beside the LoRA under its name, where WebUIs look for the picture of its card."""
        return self.output.with_suffix(".png")


class Run:
    """`config` is settled by `cost.settle` before anything is drawn or trained."""

    def __init__(self, job: Job, model: Model, prompts: Prompts) -> None:
        self.job, self.model, self.prompts = job, model, prompts
        self.pictures = job.pictures if prompts.pictures is None else len(prompts.pictures)
        encoded = model.encode([*prompts.texts, ""])
        self._texts = tuple(part[:-1] for part in encoded)
        self._blank = tuple(part[-1:] for part in encoded)
        kind = model.prediction_type
        self.config = replace(model.config, prediction_type=kind, precision=job.precision, **job.changes)
        torch.manual_seed(self.config.seed)
        self.adapter = LoraAdapter(model.unet, self.config.rank, self.config.alpha, self.config.targets)

    @cached_property
    def sha256(self) -> str:
        """Of the checkpoint's file, which takes a while to read."""
        return sha256_of_file(self.job.checkpoint)

    @property
    def student(self) -> Student:
        return self.model.predict

    def teacher(self, sample: Tensor, timesteps: Tensor, cond: Cond, blank: Cond) -> tuple[Tensor, Tensor]:
        both = tuple(torch.cat(parts) for parts in zip(cond, blank, strict=True))
        with self.adapter.disabled():
            with_cond, without = self.model.predict(
                torch.cat([sample, sample]), torch.cat([timesteps, timesteps]), both
            ).chunk(2)
        return with_cond, without

    def conds(self, rows: Tensor) -> tuple[Cond, Cond]:
        """The encoded texts of these rows, counted round, and as many of no text, on the device."""
        place = self.job.device, DTYPES[self.config.precision]
        cond = tuple(part[rows % len(part)].to(*place) for part in self._texts)
        return cond, tuple(part.expand(len(rows), *part.shape[1:]).to(*place) for part in self._blank)

    def draw(self, noise: Tensor, rows: Tensor, steps: int = TEACHER_STEPS) -> Tensor:
        """Latents [B, 4, h, w] that the teacher draws from unit noise for the texts of these rows."""
        with autocast(self.config, self.job.device):
            return drawn(
                self.model, self.teacher, noise.to(self.job.device), *self.conds(rows),
                self.config.prediction_type, steps
            )  # fmt: skip

    def latents(self, progress: Progress) -> Tensor:
        """What is learned from: float16 [N, 4, h, w] on the CPU, of the texts in turn."""
        if self.prompts.pictures is not None:
            return of_pictures(self.model, self.prompts.pictures, self.job.folder)
        return own_latents(
            self.draw, self.model.latent_shape, self.pictures, self.config.batch, self.job.folder,
            self.config.seed, progress
        )  # fmt: skip

    def distillation(self, latents: Tensor) -> Distillation:
        def batch(index: int) -> tuple[Tensor, Cond, Cond]:
            generator = torch.Generator().manual_seed(self.config.seed * SEED_STRIDE + index)
            rows = torch.randint(len(latents), (self.config.batch,), generator=generator)
            return latents[rows].float().to(self.job.device), *self.conds(rows)

        return Distillation(
            self.model.unet, self.adapter, self.student, self.teacher, self.model.alphas_cumprod, batch,
            self.config
        )  # fmt: skip

    def save(self, steps: int) -> None:
        checkpoint = self.job.checkpoint
        metadata = lora_metadata(
            self.config,
            base_model=checkpoint.stem,
            base_model_sha256=self.sha256,
            steps=steps,
            description=f"LCM-LoRA of {shown_name(checkpoint)}, distilled from what it draws itself"
            " (algorithm 1 of arXiv 2311.05556)",
        )
        save_lora(self.adapter, self.job.output, metadata)
