"""What the UNet of a full latent consistency model (arXiv 2310.04378) takes in place of classifier-free
guidance: the guidance scale itself.

Its time embedding has one layer more, a projection P [channels, 256] without bias. P e(w) is added to the
timestep's sinusoid before the first layer, where w is the CFG scale less 1, and e as in diffusers'
LatentConsistencyModelPipeline.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from lib_lcm.checkpoints import EMBEDDING_WIDTH, PROJECTION_KEY
from lib_lcm.lora.header import Unusable, read_header

MAX_PERIOD = 10000.0


def read_projection(path: Path) -> torch.Tensor | None:
    """P of a converted checkpoint, float32 [channels, 256]; None for any other file, and one that cannot be
    read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if f'"{PROJECTION_KEY}"'.encode() not in read_header(path)[0]:
            return None
        with safe_open(str(path), framework="pt") as file:  # type: ignore[no-untyped-call]
            projection: torch.Tensor = file.get_tensor(PROJECTION_KEY)
    except (OSError, Unusable, SafetensorError):
        return None
    fits = projection.ndim == 2 and projection.shape[1] == EMBEDDING_WIDTH
    return projection.float() if fits else None


def guidance_embedding(cfg: float | torch.Tensor) -> torch.Tensor:
    """e(w) for w = `cfg` - 1, float32 [256], or [B, 256] for `cfg` [B]: sines, then cosines, of 1000 w at 128
    frequencies from 1 down to 1/10000.
    """
    half = EMBEDDING_WIDTH // 2
    frequencies = torch.exp(torch.arange(half) * (-math.log(MAX_PERIOD) / (half - 1)))
    # in float32 from here on, as there: an angle of 14,000 has no more than three decimals left
    w = torch.as_tensor(cfg - 1.0)
    angles = w[..., None] * 1000.0 * frequencies.to(w.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def guidance_offset(projection: torch.Tensor, cfg: float) -> torch.Tensor:
    """P e(w), float32 [channels]: what is to be added to the sinusoid of every timestep."""
    return projection @ guidance_embedding(cfg)
