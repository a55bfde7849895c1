"""LoRA files for the tests: headers as real trainers write them, over weights that are one sparse hole.

The layouts come from diffusers' own UNet class, built on the meta device from the models' published
configurations, so that names and shapes are the library's and not this project's idea of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

DTYPE_BYTES = {"F16": 2, "BF16": 2, "F32": 4}

# What sets each model apart in its unet/config.json (stable-diffusion-v1-5, stable-diffusion-2-1,
# stable-diffusion-xl-base-1.0, stable-diffusion-xl-refiner-1.0, segmind/SSD-1B, segmind/Segmind-Vega).
_SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_REFINER = {
    "block_out_channels": (384, 768, 1536, 1536),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": 4,
    "cross_attention_dim": 1280,
    "attention_head_dim": (6, 12, 24, 24),
    "use_linear_projection": True,
}
_WITHOUT_MID = dict(_SDXL, mid_block_type="UNetMidBlock2D")
UNET_CONFIGS = {
    "sd15": {"cross_attention_dim": 768},
    "sd2": {
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "sdxl": _SDXL,
    "ssd1b": dict(
        _WITHOUT_MID,
        transformer_layers_per_block=(1, (2, 2), (4, 4)),
        reverse_transformer_layers_per_block=((4, 4, 10), (2, 1, 1), 1),
    ),
    "vega": dict(
        _WITHOUT_MID,
        transformer_layers_per_block=(1, (1, 1), (2, 2)),
        reverse_transformer_layers_per_block=((2, 2, 2), (1, 1, 1), 1),
    ),
    "sdxl_refiner": _REFINER,
    # the small models that are trained for tests: the families' layouts, few channels, few transformer blocks
    "small_sd15": {"block_out_channels": (64, 64, 64, 64), "cross_attention_dim": 768},
    "small_sdxl": dict(
        _SDXL,
        block_out_channels=(32, 64, 64),
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(2, 4, 4),
        norm_num_groups=16,
    ),
}

# The layers that diffusers' distillation scripts train (train_lcm_distill_lora_sdxl.py, `target_modules`).
LCM_TARGETS = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "conv_shortcut",
    "downsamplers.0.conv",
    "upsamplers.0.conv",
    "time_emb_proj",
)
STYLE_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")
ATTENTION_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


@cache
def unet_layers(model: str) -> dict[str, tuple[int, ...]]:
    """Weight shapes of the UNet's linear and convolution layers by diffusers' dotted path."""
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET_CONFIGS[model])
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return {
        name: tuple(module.weight.shape) for name, module in unet.named_modules() if isinstance(module, kinds)
    }


def targeted_layers(model: str, targets: Iterable[str] = LCM_TARGETS) -> dict[str, tuple[int, ...]]:
    """The layers of `model` whose path ends with one of `targets`, as peft chooses them."""
    endings = tuple("." + target for target in targets)
    return {name: shape for name, shape in unet_layers(model).items() if name.endswith(endings)}


def text_encoder_layers(width: int = 768, layers: int = 12) -> dict[str, tuple[int, ...]]:
    """The linear layers of a CLIP text encoder by transformers' dotted path."""
    result = {}
    for i in range(layers):
        block = f"text_model.encoder.layers.{i}"
        result.update({f"{block}.self_attn.{x}_proj": (width, width) for x in ("q", "k", "v", "out")})
        result.update({f"{block}.mlp.fc1": (4 * width, width), f"{block}.mlp.fc2": (width, 4 * width)})
    return result


# --- naming and pairs ---------------------------------------------------------------------------------------


def kohya(path: str, prefix: str = "lora_unet") -> str:
    return f"{prefix}_{path.replace('.', '_')}"


LDM_OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "time_embedding.cond_proj": "time_embed.cond_proj",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def ldm(path: str) -> str:
    """The layer's path in the original UNet, as kohya's SDXL trainer writes it: walks the blocks in order and
    numbers them through.
    """
    if path in LDM_OUTSIDE_BLOCKS:
        return LDM_OUTSIDE_BLOCKS[path]
    resnet = {
        "norm1": "in_layers.0",
        "norm2": "out_layers.0",
        "conv1": "in_layers.2",
        "conv2": "out_layers.3",
        "time_emb_proj": "emb_layers.1",
        "conv_shortcut": "skip_connection",
    }
    place, number, kind, index, rest = re.fullmatch(
        r"(down_blocks|mid_block|up_blocks)\.?(\d?)\.(attentions|resnets|downsamplers|upsamplers)\.(\d)\.(.+)",
        path,
    ).groups()
    rest = resnet.get(rest, rest)
    if place == "mid_block":
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{3 * int(number) + 3}.0.op"
    if kind == "upsamplers":
        # after a residual block and, in SDXL, always an attention
        return f"output_blocks.{3 * int(number) + 2}.2.conv"
    blocks = 3 * int(number) + int(index) + (1 if place == "down_blocks" else 0)
    side, part = ("input" if place == "down_blocks" else "output"), (1 if kind == "attentions" else 0)
    return f"{side}_blocks.{blocks}.{part}.{rest}"


def lora_shapes(shape: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the down and up halves of a LoRA of a linear or convolution layer with this weight."""
    if len(shape) == 4:
        return (rank, *shape[1:]), (shape[0], rank, 1, 1)
    return (rank, shape[1]), (shape[0], rank)


def kohya_lora(
    layers: Mapping[str, tuple[int, ...]], rank: int, prefix: str = "lora_unet", conv_rank: int | None = None
) -> dict:
    """Tensor shapes of a LoRA in kohya's style: `lora_down`, `lora_up`, `alpha`. `conv_rank` is that of the
    3x3 convolutions.
    """
    tensors = {}
    for path, shape in layers.items():
        is_conv = len(shape) == 4 and shape[-1] == 3
        down, up = lora_shapes(shape, conv_rank if is_conv and conv_rank else rank)
        name = kohya(path, prefix)
        tensors.update({f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": ()})
    return tensors


def paired_lora(
    layers: Mapping[str, tuple[int, ...]], rank: int, down: str, up: str, prefix: str = ""
) -> dict:
    """Tensor shapes of a LoRA in a dotted style, with these endings for its halves."""
    tensors = {}
    for path, shape in layers.items():
        down_shape, up_shape = lora_shapes(shape, rank)
        tensors.update({f"{prefix}{path}{down}": down_shape, f"{prefix}{path}{up}": up_shape})
    return tensors


def peft_lora(
    layers: Mapping[str, tuple[int, ...]], rank: int, prefix: str = "base_model.model.", adapter: str = ""
) -> dict:
    return paired_lora(layers, rank, f".lora_A{adapter}.weight", f".lora_B{adapter}.weight", prefix)


def official_lora_tensors(model: str, rank: int = 64) -> dict:
    """Names and shapes of the published LCM-LoRA of "sd15", "sdxl" or "ssd1b" (or of another model, made the
    same way).
    """
    return kohya_lora(targeted_layers(model), rank)


# --- the files ----------------------------------------------------------------------------------------------


def header_bytes(
    tensors: Mapping[str, tuple], metadata: Mapping[str, str] | None = None, dtype: str = "F16"
) -> tuple[bytes, int]:
    """The header as the safetensors library writes it (sorted, padded to eight bytes), and the number of
    bytes of weights that follow.
    """
    header = {} if metadata is None else {"__metadata__": dict(metadata)}
    position = 0
    for name, shape in sorted(tensors.items()):
        end = position + DTYPE_BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return text + b" " * (-len(text) % 8), position


def write_header(path: Path, header: bytes, data_bytes: int) -> Path:
    """A file of this header followed by `data_bytes` zeros, which take no room on disks that know sparse
    files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + data_bytes)
    return path


def write_lora(
    path: Path,
    tensors: Mapping[str, tuple[int, ...]],
    metadata: Mapping[str, str] | None = None,
    dtype: str = "F16",
) -> Path:
    return write_header(path, *header_bytes(tensors, metadata, dtype))
