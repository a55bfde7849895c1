"""A decoder of TAESD's layout, which makes pictures, in 0..1, of latents as the UNet sees them.

Its parameters have the names and shapes of `taesd_decoder.pth` and `taesdxl_decoder.pth`, so that a file of
them is one that WebUIs read.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

WIDTH = 64
LATENT_CHANNELS = 4


class SoftClamp(nn.Module):
    """Keeps latents within -3..3."""

    def forward(self, latents: Tensor) -> Tensor:
        return 3 * torch.tanh(latents / 3)


class Block(nn.Module):
    """Three convolutions beside the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv(x))


def _conv(channels_in: int, channels_out: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=bias)


def build_tiny_decoder(seed: int = 0) -> nn.Sequential:
    """A randomly initialised one: it draws blots, and as fast as a trained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [SoftClamp(), _conv(LATENT_CHANNELS, WIDTH), nn.ReLU()]
        for _ in range(3):  # each doubles the side
            layers += [Block(), Block(), Block()]
            layers += [nn.Upsample(scale_factor=2), _conv(WIDTH, WIDTH, bias=False)]
        return nn.Sequential(*layers, Block(), _conv(WIDTH, 3))


def save_tiny_decoder(decoder: nn.Sequential, path: Path) -> None:
    """Writes a file as old as TAESD's own: WebUIs refuse parts that newer torches add."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(decoder.state_dict(), path, _use_new_zipfile_serialization=False)
