"""The workbench's small diffusion models: Stable Diffusion's layout and names at a hundredth of the size.

Three families exist. `sd15` has SD 1.5's UNet blocks and 768-wide text; `sdxl` has SDXL's blocks, 2048-wide
text, a pooled text vector and size ids; `ssd1b` is SDXL without the attention in the middle and with fewer
transformer blocks, as SSD-1B is. All make 64x64 pictures from 4x8x8 latents; of what, `workbench.scenes`
says. A checkpoint is one safetensors file with the prefixes `unet.`, `vae.` and `text_encoder.`, diffusers'
and transformers' parameter names, and its configuration in the header under the key `workbench`.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from workbench.tokenizer import MAX_LENGTH, Tokenizer

MODELS = Path(__file__).resolve().parent / "models"
CHECKPOINTS = MODELS / "Stable-diffusion"
LORAS = MODELS / "Lora"

TRAIN_STEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012
"""Noise schedule of SD 1.x and SDXL: beta is linear in its square root."""

METADATA_KEY = "workbench"

TEXT_CONFIG = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
VAE_CONFIG = {
    "block_out_channels": [8, 16, 32, 64],
    "layers_per_block": 1,
    # norms over a channel or two take away the mean, and with it the colour of a background
    "norm_num_groups": 1,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
    "sample_size": 64,
}
SIZE_ID_WIDTH = 8
POOLED_WIDTH = 1280
SD15_LAYOUT: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": [80, 40, 24, 16],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "cross_attention_dim": 768,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}
SDXL_LAYOUT: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": [40, 64, 8],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 2048,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
    "use_linear_projection": True,
    "transformer_layers_per_block": [1, 1, 2],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": SIZE_ID_WIDTH,
    "projection_class_embeddings_input_dim": POOLED_WIDTH + 6 * SIZE_ID_WIDTH,
}
SSD1B_LAYOUT: dict[str, Any] = {
    **SDXL_LAYOUT,
    "mid_block_type": "UNetMidBlock2D",  # one residual block, no attention
    # SSD-1B keeps fewer transformer blocks than SDXL, but the last attention on the way up as deep as it was.
    "transformer_layers_per_block": [1, 1, 1],
    "reverse_transformer_layers_per_block": [[1, 1, 2], [1, 1, 1], 1],
}
LAYOUTS = {"sd15": SD15_LAYOUT, "sdxl": SDXL_LAYOUT, "ssd1b": SSD1B_LAYOUT}
"""Sizes with which two SD 1.5 checkpoints, one of SDXL, one of SSD-1B and their LoRAs stay under 40 MB in
fp16.
"""
DEFAULT_SIZE_IDS = (64.0, 64.0, 0.0, 0.0, 64.0, 64.0)
"""SDXL's six size ids (original height and width, crop top and left, target height and width) that every
training picture had.
"""


Text = tuple[Tensor, Tensor | None]
"""Encoded texts: hidden [B, L, 768 or 2048], and pooled [B, 1280] or None."""


class SmallTextEncoder(nn.Module):
    """A small CLIP text transformer whose output is widened to what the UNet's cross-attention expects.

    Positions after the end-of-text token are zero in the output, so a caption means the same whatever it is
    padded to.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        self.eos_id = int(config["eos_token_id"])
        clip_keys = {
            key: value for key, value in config.items() if key not in ("output_width", "pooled_width")
        }
        self.clip = CLIPTextModel(CLIPTextConfig(**clip_keys))
        self.text_proj = nn.Linear(config["hidden_size"], config["output_width"])
        self.pooled_proj = (
            nn.Linear(config["hidden_size"], config["pooled_width"]) if config.get("pooled_width") else None
        )

    def forward(self, input_ids: Tensor) -> Text:
        """Encodes `input_ids`, int [B, L], L <= 77."""
        hidden = self.clip(input_ids=input_ids).last_hidden_state
        length = input_ids.shape[1]
        is_eos = input_ids == self.eos_id
        end = torch.where(is_eos.any(dim=1), is_eos.int().argmax(dim=1), length - 1)
        used = torch.arange(length, device=input_ids.device) <= end[:, None]
        pooled = (
            self.pooled_proj(hidden[torch.arange(len(end), device=end.device), end])
            if self.pooled_proj is not None
            else None
        )
        return self.text_proj(hidden) * used[..., None], pooled


@dataclass
class SmallModel:
    """One checkpoint in memory.

    `scaling_factor`: latents that the UNet sees are VAE means times this. `alphas_cumprod`: float32 [1000],
    alpha-bar of each timestep.
    """

    family: str
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: SmallTextEncoder
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    prediction_type: str = "epsilon"
    scaling_factor: float = 1.0
    alphas_cumprod: Tensor = field(default_factory=lambda: scaled_linear_alphas_cumprod())
    path: Path | None = None

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"unet": self.unet, "vae": self.vae, "text_encoder": self.text_encoder}

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> SmallModel:
        """Moves every module (in place) and returns the model."""
        for module in self.modules.values():
            module.to(device=device, dtype=dtype)
        if device is not None:
            self.alphas_cumprod = self.alphas_cumprod.to(device)
        return self

    def eval(self) -> SmallModel:
        """Puts every module in evaluation mode without gradients and returns the model."""
        for module in self.modules.values():
            module.eval().requires_grad_(False)
        return self

    def encode_texts(self, texts: str | Sequence[str]) -> Text:
        """One text or a list of texts, each padded to 77 tokens."""
        return self.text_encoder(self.tokenizer(texts).to(self.device))

    def added_conditions(self, pooled: Tensor | None) -> dict[str, Tensor] | None:
        """The UNet's `added_cond_kwargs` for pooled text [B, 1280]; None for a family that has none."""
        if pooled is None:
            return None
        size_ids = torch.tensor(DEFAULT_SIZE_IDS, device=pooled.device, dtype=pooled.dtype)
        return {"text_embeds": pooled, "time_ids": size_ids.repeat(len(pooled), 1)}

    def predict(
        self, sample: Tensor, timesteps: Tensor, text: Text, guidance: Tensor | None = None
    ) -> Tensor:
        """The UNet's answer to variance-preserving `sample` [B, 4, h, w] at `timesteps` [B], for encoded
        `text`; [B, 4, h, w]. `guidance` [B, 256] is what a full LCM takes.
        """
        hidden, pooled = text
        return self.unet(
            sample,
            timesteps,
            encoder_hidden_states=hidden,
            added_cond_kwargs=self.added_conditions(pooled),
            timestep_cond=guidance,
        ).sample

    def encode_pictures(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in -1..1 -> scaled latents [B, 4, H/8, W/8] (the posterior's mean)."""
        return self.vae.encode(pictures).latent_dist.mean * self.scaling_factor

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, 4, h, w] -> pictures [B, 3, 8h, 8w], about -1..1, not clamped."""
        return self.vae.decode(latents / self.scaling_factor).sample


def scaled_linear_alphas_cumprod() -> Tensor:
    """float32 [1000], computed in float64 as in the CompVis code."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1.0 - betas, dim=0).float()


def text_config(family: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """Configuration of the family's text encoder."""
    return {
        **TEXT_CONFIG,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_LENGTH,
        "pad_token_id": tokenizer.pad_id,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "output_width": LAYOUTS[family]["cross_attention_dim"],
        "pooled_width": None if family == "sd15" else POOLED_WIDTH,
    }


def _assemble(settings: Mapping[str, Any]) -> SmallModel:
    return SmallModel(
        family=settings["family"],
        unet=UNet2DConditionModel(**settings["unet"]),
        vae=AutoencoderKL(**settings["vae"]),
        text_encoder=SmallTextEncoder(settings["text_encoder"]),
        tokenizer=Tokenizer(settings["vocabulary"]),
        prediction_type=settings["prediction_type"],
        scaling_factor=float(settings["scaling_factor"]),
    )


def build_model(family: str, seed: int = 0) -> SmallModel:
    """A randomly initialised model of `family` ("sd15", "sdxl" or "ssd1b"). ValueError for any other name."""
    if family not in LAYOUTS:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(LAYOUTS)}")
    tokenizer = Tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _assemble(
            {
                "family": family,
                "unet": copy.deepcopy(LAYOUTS[family]),
                "vae": copy.deepcopy(VAE_CONFIG),
                "text_encoder": text_config(family, tokenizer),
                "vocabulary": tokenizer.words,
                "prediction_type": "epsilon",
                "scaling_factor": 1.0,
            }
        )


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Writes beside `path` and renames, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(
        {key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()},
        partial,
        metadata=dict(metadata),
    )
    os.replace(partial, path)


def save_checkpoint(model: SmallModel, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Writes `model` as one safetensors file (see the module's docstring)."""
    settings = {
        "family": model.family,
        "unet": _plain_config(model.unet, LAYOUTS[model.family]),
        "vae": _plain_config(model.vae, VAE_CONFIG),
        "text_encoder": model.text_encoder.config,
        "vocabulary": model.tokenizer.words,
        "prediction_type": model.prediction_type,
        "scaling_factor": model.scaling_factor,
    }
    tensors = {
        f"{name}.{key}": tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, module in model.modules.items()
        for key, tensor in module.state_dict().items()
    }
    write_safetensors(tensors, Path(path), {"format": "pt", METADATA_KEY: json.dumps(settings)})


def _plain_config(module: Any, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `module.config` for `keys`, as plain JSON."""
    return json.loads(json.dumps({key: module.config[key] for key in keys}))


def read_settings(path: str | Path) -> dict[str, Any]:
    """The configuration in a checkpoint's header. ValueError when the file is not a workbench checkpoint."""
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
    if METADATA_KEY not in metadata:
        raise ValueError(f"{path} is not a workbench checkpoint: its header has no {METADATA_KEY!r} entry")
    return json.loads(metadata[METADATA_KEY])


def load_checkpoint(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> SmallModel:
    """Reads a checkpoint, in evaluation mode and without gradients.

    Raises ValueError when the file is not a workbench checkpoint, RuntimeError when weights are missing or of
    the wrong shape.
    """
    path = Path(path)
    model = _assemble(read_settings(path))
    with safe_open(str(path), framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is not iterable)
    for name, module in model.modules.items():
        prefix = f"{name}."
        module.load_state_dict(
            {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        )
    model.path = path
    return model.to(device, dtype).eval()
