"""Networks of real size with random weights: what they compute means nothing, what they cost does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import Tensor, nn

from benchmarks.gpu.device import Device
from benchmarks.gpu.samplers import TABLE
from benchmarks.sampler_cost import SD15_UNET
from lib_lcm.sampling.guidance import in_some_steps
from lib_lcm.sampling.samplers import sample_lcm
from lib_lcm.sampling.schedules import lcm_timesteps

CFG = 1.5
TOKENS = 77
SCALE = 8  # pixels of a picture to one of its latent
SDXL_UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 1280 + 6 * 256,
}
"""What differs from diffusers' defaults; these are SD 1.5's but for the text."""
KL = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
_TINY: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}
_TINY_KL = {**KL, "block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4}
_TINY_DECODER = {
    "num_encoder_blocks": (1, 1, 1, 1),
    "num_decoder_blocks": (1, 1, 1, 1),
    "encoder_block_out_channels": (8, 8, 8, 8),
    "decoder_block_out_channels": (8, 8, 8, 8),
}


@dataclass(frozen=True)
class Size:
    """A family's network: its name, the side of its pictures in pixels, and the configurations. The defaults
    of AutoencoderTiny are TAESD's.
    """

    name: str
    side: int
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    tiny_decoder: Mapping[str, Any]

    @property
    def latent(self) -> tuple[int, int, int]:
        return 4, self.side // SCALE, self.side // SCALE

    @property
    def label(self) -> str:
        return f"{self.name} {self.side}x{self.side}"


REAL = (Size("SD 1.5", 512, SD15_UNET, KL, {}), Size("SDXL", 1024, SDXL_UNET, KL, {}))
SMALL = (
    Size("small SD 1.5", 64, _TINY, _TINY_KL, _TINY_DECODER),
    Size(
        "small SDXL",
        64,
        {
            **_TINY,
            "transformer_layers_per_block": (1, 2),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 1280 + 6 * 8,
        },
        _TINY_KL,
        _TINY_DECODER,
    ),
)

ONE_BLOCK = replace(
    SMALL[0],
    name="one block of SD 1.5",
    unet={
        "block_out_channels": (8,),
        "down_block_types": ("DownBlock2D",),
        "mid_block_type": None,
        "up_block_types": ("UpBlock2D",),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "norm_num_groups": 4,
    },
)
"""As little as there is to compile, which takes a CPU half a minute."""


def made_there(
    kind: Callable[..., nn.Module], config: Mapping[str, Any], device: Device, dtype: torch.dtype
) -> Any:
    """A network with random weights, made on the device and in its precision: SDXL's in float32 would want 10
    GB of somebody's memory first.
    """
    usual = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device.kind):
            network = kind(**config)
    finally:
        torch.set_default_dtype(usual)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def unet_of(size: Size, device: Device, dtype: torch.dtype | None = None) -> Any:
    """Attention is torch's scaled_dot_product_attention, diffusers' default."""
    return made_there(UNet2DConditionModel, size.unet, device, dtype or device.half)


def decoder_of(size: Size, device: Device, is_tiny: bool) -> Callable[[Tensor], Tensor]:
    """From latents [B, 4, h, w] to pictures [B, 3, 8h, 8w]: the whole autoencoder's, or one of TAESD's
    size.
    """
    kind, config = (AutoencoderTiny, size.tiny_decoder) if is_tiny else (AutoencoderKL, size.vae)
    network = made_there(kind, config, device, device.half)
    return torch.no_grad()(lambda latents: network.decode(latents).sample)


def conditions(size: Size, rows: int, device: Device, dtype: torch.dtype) -> dict[str, Any]:
    """What the UNet is told beside the latent, for so many rows."""
    make = {"device": device.kind, "dtype": dtype}
    text = torch.randn(rows, TOKENS, size.unet["cross_attention_dim"], **make)
    if "addition_embed_type" not in size.unet:
        return {"encoder_hidden_states": text}
    sizes = torch.tensor([size.side, size.side, 0, 0, size.side, size.side], **make)
    added = {"text_embeds": torch.randn(rows, 1280, **make), "time_ids": sizes.repeat(rows, 1)}
    return {"encoder_hidden_states": text, "added_cond_kwargs": added}


class Painter:
    """One picture at a time by the LCM sampler, as the extension makes it at each CFG scale."""

    def __init__(self, size: Size, device: Device, most_rows: int = 2) -> None:
        self.size, self.device = size, device
        self.unet = unet_of(size, device)
        self._rows = {
            rows: (
                torch.randn(rows, *size.latent, device=device.kind, dtype=device.half).to(
                    memory_format=torch.channels_last
                ),
                conditions(size, rows, device, device.half),
            )
            for rows in range(1, most_rows + 1)
        }

    @torch.no_grad()
    def call(self, rows: int = 1, unet: Callable[..., Any] | None = None) -> Tensor:
        """One call of the UNet."""
        x, cond = self._rows[rows]
        return (self.unet if unet is None else unet)(x, self._timestep, **cond).sample

    @property
    def _timestep(self) -> Tensor:
        """On the device: a number would be sent there in each call."""
        return torch.full((), 499, device=self.device.kind)

    @torch.no_grad()
    def paint(self, steps: int, guided: Collection[int] = ()) -> Tensor:
        """The latent of one picture; the CFG scale acts in the steps `guided`, which take two rows."""
        timesteps = lcm_timesteps(steps)
        sigmas = torch.tensor([*(TABLE[timestep] for timestep in timesteps), 0.0]).to(self.device.kind)
        times = iter(torch.tensor(timesteps).to(self.device.kind))

        def denoise(x: Tensor, sigma: Tensor, *, rows: int) -> Tensor:
            scaled = (x / (1 + sigma**2).sqrt()).repeat(rows, 1, 1, 1)
            noise = self.unet(scaled, next(times), **self._rows[rows][1]).sample
            if rows == 2:
                cond, uncond = noise.chunk(2)
                noise = uncond + CFG * (cond - uncond)
            return x - sigma * noise

        model = in_some_steps(partial(denoise, rows=2), partial(denoise, rows=1), guided)
        start = torch.randn_like(self._rows[1][0]) * TABLE[timesteps[0]]
        return sample_lcm(model, start, sigmas, disable=True, timesteps=timesteps)
