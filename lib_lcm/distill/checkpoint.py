"""A checkpoint as WebUIs have it, one safetensors file in the original layout, with all that a distillation
asks of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from lib_lcm.distill import networks
from lib_lcm.distill.config import DistillConfig
from lib_lcm.distill.model import CannotDistill, Cond, alphas_cumprod, prediction_type
from lib_lcm.families import SD2, SDXL
from lib_lcm.lora.file import shown_name

POOLED_WIDTH = 1280
TEXTS_AT_ONCE = 16


class Checkpoint:
    """The `Model` of a file. The UNet is on `device` in `dtype`; the rest comes there when it works.

    Raises CannotDistill for a file that is no such checkpoint.
    """

    def __init__(self, path: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.path, self.device = path, device
        self._tensors = networks.read(path)
        self.unet, self.family = networks.unet_of(self._tensors, path, device, dtype)
        with networks.whole(path, "VAE"):
            self._vae = networks.autoencoder(self._tensors, path, 0.13025 if self._is_xl else 0.18215)
        self.cfg = 5.0 if self._is_xl else 7.5
        self.config = DistillConfig.sdxl() if self._is_xl else DistillConfig()
        self.alphas_cumprod = alphas_cumprod(ends_in_noise="ztsnr" in self._tensors).to(device)

    def _text_encoders(self) -> list[networks.TextEncoder]:
        with networks.whole(self.path, "text encoder"):
            found = networks.text_encoders(self._tensors, self._is_xl)
        if len(found) != (2 if self._is_xl else 1):
            raise CannotDistill(
                f"{shown_name(self.path)} lacks its text encoder: name a checkpoint that is whole."
            )
        return found

    @cached_property
    def latent_shape(self) -> tuple[int, int, int]:
        if self._is_xl:
            return 4, 128, 128
        # of SD 2.x, those for 768x768 predict v
        is_large = self.family is SD2 and self.prediction_type == "v_prediction"
        return (4, 96, 96) if is_large else (4, 64, 64)

    @cached_property
    def prediction_type(self) -> str:
        zeros = torch.zeros(1, 77, self.family.width or 0), torch.zeros(1, POOLED_WIDTH)
        return prediction_type(self, zeros if self._is_xl else self.encode([""]), self.device)

    @property
    def _is_xl(self) -> bool:
        return self.family.width == SDXL.width

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Cond:
        parts = []
        for encoder in self._text_encoders():
            with networks.on_device(self.device, encoder.network):
                batches = [texts[at : at + TEXTS_AT_ONCE] for at in range(0, len(texts), TEXTS_AT_ONCE)]
                parts.append([torch.cat(part) for part in zip(*map(encoder, batches), strict=True)])
        hidden = torch.cat([part[0] for part in parts], dim=-1)
        if not self._is_xl:
            return (hidden,)
        said = torch.tensor([float(bool(text)) for text in texts])
        return hidden * said[:, None, None], parts[-1][1] * said[:, None]

    def predict(self, sample: Tensor, timesteps: Tensor, cond: Cond) -> Tensor:
        added = None
        if self._is_xl:
            side = 8 * self.latent_shape[-1]
            sizes = torch.tensor([side, side, 0, 0, side, side], device=sample.device, dtype=sample.dtype)
            added = {"text_embeds": cond[1], "time_ids": sizes.repeat(len(sample), 1)}
        answer: Tensor = self.unet(
            sample, timesteps, encoder_hidden_states=cond[0], added_cond_kwargs=added
        ).sample
        return answer

    @torch.no_grad()
    def latents(self, pictures: Tensor) -> Tensor:
        with networks.on_device(self.device, self._vae):
            parts = [
                self._vae.encode(one.to(self.device)).latent_dist.mean for one in torch.split(pictures, 1)
            ]
        return torch.cat(parts) * float(self._vae.config.scaling_factor)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        with networks.on_device(self.device, self._vae):
            scaled = latents.to(self.device).float() / self._vae.config.scaling_factor
            return torch.cat([self._vae.decode(one).sample.cpu() for one in torch.split(scaled, 1)])
