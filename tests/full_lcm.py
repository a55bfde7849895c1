"""Small full latent consistency models, as they are published and as the base checkpoints of WebUIs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from tests.unit.lora_fixtures import ldm
from workbench.small_models import LAYOUTS

PROJECTION = "time_embedding.cond_proj.weight"


def build_full_lcm(family: str, seed: int = 0) -> UNet2DConditionModel:
    """diffusers' UNet that takes the guidance scale, in the workbench's small layout of `family`; float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**LAYOUTS[family], time_cond_proj_dim=256)
        # a new projection is so small that without it little would change
        torch.nn.init.normal_(unet.time_embedding.cond_proj.weight, std=0.1)
    return unet.eval().requires_grad_(False)


def in_original_names(unet: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet's tensors in diffusers' names, in those of the original layout."""
    return {f"model.diffusion_model.{_original_name(key, unet)}": tensor for key, tensor in unet.items()}


def _original_name(key: str, unet: Mapping[str, Tensor]) -> str:
    module, _, part = key.rpartition(".")
    name = ldm(module)
    if name == "output_blocks.2.2.conv" and not any(
        key.startswith("up_blocks.0.attentions.") for key in unet
    ):
        name = "output_blocks.2.1.conv"  # in SD 1.5 it follows no attention
    return f"{name}.{part}"


def save_base(unet: Mapping[str, Tensor], path: Path, **more: Any) -> Path:
    """A whole checkpoint in the original layout, with a few tensors in the place of text encoder and VAE."""
    rest = {
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": torch.randn(8),
        "first_stage_model.decoder.conv_in.weight": torch.randn(4, 4, 3, 3),
        "alphas_cumprod": torch.rand(10),
    }
    tensors = {**in_original_names(unet), **rest, **more}
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, {"format": "pt"})
    return path
