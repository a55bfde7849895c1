"""Pictures from a small model during training and for its figures: Euler, and the consistency sampler, in
float32.

Short on purpose and independent of the extension, so that the figures of the models do not rest on the code
they are used to test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.scenes.render import to_uint8
from workbench.small_models import TRAIN_STEPS, SmallModel, Text, load_checkpoint
from workbench.train.attention import cut, skip_padding

LCM_GRID = 50
SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


def reference_timesteps(steps: int) -> list[int]:
    """Timesteps of diffusers' LCMScheduler: `steps` evenly spaced points of the 50-point grid 999, 979, ...,
    19.
    """
    grid = np.arange(1, LCM_GRID + 1) * (TRAIN_STEPS // LCM_GRID) - 1
    picked = np.floor(np.linspace(0, LCM_GRID, num=steps, endpoint=False)).astype(int)
    return [int(t) for t in grid[::-1][picked]]


def evenly_to_lowest(steps: int) -> list[int]:
    """Where a WebUI's own LCM sampler goes, but for its rounding: evenly from 999 down to 19, not the steps
    of the distillation grid.
    """
    return [int(t) for t in np.linspace(TRAIN_STEPS - 1, TRAIN_STEPS // LCM_GRID - 1, steps)]


def load_for_cut_captions(checkpoint: Path, device: torch.device | str = "cpu") -> SmallModel:
    """A finished checkpoint, frozen, that takes captions without the padding that all share."""
    model = load_checkpoint(checkpoint, device)
    skip_padding(model.unet)
    model.unet.to(memory_format=torch.channels_last)
    return model


@torch.no_grad()
def predict_noise(
    model: SmallModel, sample: Tensor, timestep: int, text: Text, blank: Text | None, cfg: float
) -> Tensor:
    """Noise [B, 4, h, w] for the variance-preserving `sample`, with classifier-free guidance unless `cfg` is
    1.
    """
    times = torch.full((len(sample),), timestep, device=sample.device)
    if cfg == 1 or blank is None:
        return model.predict(sample, times, text)
    hidden, pooled = text
    both = (
        torch.cat([hidden, blank[0].expand_as(hidden)]),
        None if pooled is None else torch.cat([pooled, blank[1].expand_as(pooled)]),
    )
    cond, uncond = model.predict(torch.cat([sample, sample]), torch.cat([times, times]), both).chunk(2)
    return uncond + cfg * (cond - uncond)


@torch.no_grad()
def encode_cut(model: SmallModel, captions: Sequence[str]) -> Text:
    """Encoded captions without the padding that all share; see `load_for_cut_captions`."""
    return model.text_encoder(cut(model.tokenizer(captions), model.tokenizer.pad_id).to(model.device))


@torch.no_grad()
def blank_text(model: SmallModel, length: int) -> Text:
    """What stands for "no prompt" in guidance, one row: the encoded empty caption for SD 1.5, zeros for
    SDXL.
    """
    hidden, pooled = model.text_encoder(model.tokenizer([""])[:, :length].to(model.device))
    return (hidden, None) if pooled is None else (torch.zeros_like(hidden), torch.zeros_like(pooled))


@torch.no_grad()
def sample_euler(
    model: SmallModel, captions: Sequence[str], steps: int, cfg: float, generator: torch.Generator
) -> Tensor:
    """Scaled latents by Euler's method (k-diffusion's, on its evenly spaced timesteps), [B, 4, 8, 8]."""
    text = encode_cut(model, captions)
    blank = blank_text(model, text[0].shape[1])
    sigma_table = ((1 - model.alphas_cumprod) / model.alphas_cumprod).sqrt()
    timesteps = np.linspace(TRAIN_STEPS - 1, 0, steps).round().astype(int)
    sigmas = [*(float(sigma_table[t]) for t in timesteps), 0.0]
    x = torch.randn(len(captions), 4, 8, 8, generator=generator).to(model.device) * sigmas[0]
    for timestep, sigma, sigma_next in zip(timesteps, sigmas, sigmas[1:], strict=False):
        noise = predict_noise(model, x / (1 + sigma**2) ** 0.5, int(timestep), text, blank, cfg)
        x = x + noise * (sigma_next - sigma)
    return x


@torch.no_grad()
def sample_lcm(
    model: SmallModel,
    captions: Sequence[str],
    timesteps: Sequence[int],
    cfg: float,
    generator: torch.Generator,
    noise_scale: float = 1.0,
) -> Tensor:
    """Scaled latents by multi-step consistency sampling (arXiv 2310.04378, algorithm 3), [B, 4, 8, 8].

    `noise_scale` multiplies the fresh noise between steps, 1 being the algorithm's.
    """
    text = encode_cut(model, captions)
    blank = blank_text(model, text[0].shape[1])
    sample = torch.randn(len(captions), 4, 8, 8, generator=generator).to(model.device)
    denoised = sample
    for index, timestep in enumerate(timesteps):
        abar = model.alphas_cumprod[timestep]
        noise = predict_noise(model, sample, timestep, text, blank, cfg)
        scaled = timestep * TIMESTEP_SCALING
        c_skip, c_out = (
            SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2),
            scaled / (scaled**2 + SIGMA_DATA**2) ** 0.5,
        )
        denoised = c_skip * sample + c_out * (sample - (1 - abar).sqrt() * noise) / abar.sqrt()
        if index + 1 < len(timesteps):
            abar_next = model.alphas_cumprod[timesteps[index + 1]]
            fresh = torch.randn(sample.shape, generator=generator).to(model.device)
            sample = abar_next.sqrt() * denoised + (1 - abar_next).sqrt() * noise_scale * fresh
    return denoised


@torch.no_grad()
def to_pictures(model: SmallModel, latents: Tensor, batch: int = 64) -> np.ndarray:
    """Scaled latents [B, 4, 8, 8] -> uint8 [B, 64, 64, 3]."""
    return np.concatenate([to_uint8(model.decode_latents(part)) for part in latents.split(batch)])
