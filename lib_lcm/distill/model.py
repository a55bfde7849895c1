"""What a distillation asks of a model, whatever file it is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_lcm.distill.config import DistillConfig
from lib_lcm.families import Family
from lib_lcm.sampling import schedules

LOWEST_ABAR = 4.8973451890853435e-08
"""Of a schedule that ends in noise alone ("ztsnr"); 0 would have no square root to divide by."""


class CannotDistill(Exception):
    """Why nothing was distilled, as one sentence that says what to do."""


Cond = tuple[Tensor, ...]
"""Encoded texts: hidden [B, L, width], and for SDXL and its like pooled [B, width]."""


class Model(Protocol):
    """What is distilled. `unet` has diffusers' names; `latent_shape` is that of one picture; `alphas_cumprod`
    is float32 [1000]; `cfg` is the CFG scale that its pictures are drawn with, `config` how it is distilled.
    """

    family: Family
    unet: nn.Module
    alphas_cumprod: Tensor
    cfg: float
    config: DistillConfig

    @property
    def latent_shape(self) -> tuple[int, int, int]: ...

    @property
    def prediction_type(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> Cond:
        """On the CPU; an empty text becomes what guidance compares the others with."""

    def predict(self, sample: Tensor, timesteps: Tensor, cond: Cond) -> Tensor:
        """The UNet's answer for variance-preserving `sample` [B, 4, h, w] at `timesteps` [B]."""

    def latents(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in -1..1 -> [B, 4, h, w] as the UNet sees them."""

    def decode(self, latents: Tensor) -> Tensor:
        """[B, 4, h, w] -> [B, 3, H, W] in -1..1."""


Loader = Callable[[Path, torch.device, torch.dtype], Model]


def alphas_cumprod(ends_in_noise: bool = False) -> Tensor:
    """SD's, float32 [1000]; with `ends_in_noise` brought to zero at the last timestep (arXiv 2305.08891), as
    a checkpoint's key "ztsnr" asks for.
    """
    table = schedules.alphas_cumprod()
    if ends_in_noise:
        root = table.sqrt()
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        table = root.square().clamp(min=LOWEST_ABAR)
    return table.float()


@torch.no_grad()
def prediction_type(model: Model, blank: Cond, device: torch.device) -> str:
    """ "epsilon" or "v_prediction", by asking: what the UNet answers to noise is the noise, or unlike it."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 4, 64, 64, generator=generator).to(device)
    dtype = next(model.unet.parameters()).dtype
    blank = tuple(part.to(device, dtype) for part in blank)
    answer = model.predict(noise.to(dtype), torch.tensor([schedules.TRAIN_STEPS - 1], device=device), blank)
    alike = F.cosine_similarity(answer.float().flatten(), noise.flatten(), dim=0)
    return "epsilon" if alike > 0.5 else "v_prediction"
