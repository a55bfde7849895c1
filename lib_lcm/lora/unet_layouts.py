"""Where the UNets of the model families have their blocks, and what a LoRA's layers say when they are held
against that.

SSD-1B is SDXL with parts left out, so every name in an SSD-1B LoRA is also a name in SDXL; it is recognised
by its exact outline (`sdxl_or_smaller`). A LoRA that leaves out more than SSD-1B does is called SDXL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from lib_lcm.families import FAMILIES, SDXL, SSD1B, VEGA, Family, Unet


class Layout(NamedTuple):
    """Where a UNet has attention and residual blocks, in diffusers' names."""

    attentions: tuple[str, ...]
    resnets: tuple[str, ...]
    samplers: tuple[str, ...]


def _layout(unet: Unet) -> Layout:
    """The layout of a UNet, in diffusers' names."""
    levels, attention_levels = unet.levels, unet.attention_levels
    down = range(levels)
    up = [levels - 1 - level for level in down]  # the level that each up block works on
    return Layout(
        attentions=(
            *(f"down_blocks_{b}_attentions_{i}" for b in down if b in attention_levels for i in range(2)),
            *(("mid_block_attentions_0",) if unet.mid_attention else ()),
            *(
                f"up_blocks_{b}_attentions_{i}"
                for b, level in enumerate(up)
                if level in attention_levels
                for i in range(3)
            ),
        ),
        resnets=(
            *(f"down_blocks_{b}_resnets_{i}" for b in down for i in range(2)),
            *(f"mid_block_resnets_{i}" for i in range(unet.mid_resnets)),
            *(f"up_blocks_{b}_resnets_{i}" for b in range(levels) for i in range(3)),
        ),
        samplers=(
            *(f"down_blocks_{b}_downsamplers_0_conv" for b in range(levels - 1)),
            *(f"up_blocks_{b}_upsamplers_0_conv" for b in range(levels - 1)),
        ),
    )


LAYOUTS = {family: _layout(family.unet) for family in FAMILIES if family.unet is not None}


def _depths_without_mid(
    down_1: tuple[int, ...], down_2: tuple[int, ...], up_0: tuple[int, ...], up_1: tuple[int, ...]
) -> dict[str, int]:
    places = LAYOUTS[SSD1B].attentions
    return dict(zip(places, (*down_1, *down_2, *up_0, *up_1), strict=True))


# Transformer blocks per attention: segmind/SSD-1B's unet/config.json; its smaller sister Segmind-Vega shares
# outline and names.
_SSD1B_DEPTHS = _depths_without_mid((2, 2), (4, 4), (4, 4, 10), (2, 1, 1))
_VEGA_DEPTHS = _depths_without_mid((1, 1), (2, 2), (2, 2, 2), (1, 1, 1))
# SDXL has up to 10 transformer blocks in one attention, the refiner 4, every other family 1.
DEPTH_BEYOND_REFINER = 5
_BLOCK_LAYERS = (
    *(f"attn{n}_to_{x}" for n in (1, 2) for x in ("q", "k", "v", "out_0")),
    "ff_net_0_proj",
    "ff_net_2",
)
_TRANSFORMER_BLOCK = re.compile(
    r"((?:down_blocks_\d+|up_blocks_\d+|mid_block)_attentions_\d+)_transformer_blocks_(\d{1,4})_"
)
_ATTENTION = re.compile(r"(?:down_blocks_\d+|up_blocks_\d+|mid_block)_attentions_\d+")


class Outline(NamedTuple):
    """Where a LoRA touches a UNet: `modules` by diffusers' names, and transformer blocks per attention (0:
    projections only).
    """

    modules: frozenset[str]
    depths: Mapping[str, int]


def outline_of(modules: Iterable[str]) -> Outline:
    modules = frozenset(modules)
    depths: dict[str, int] = {}
    for module in modules:
        place, block = _place(module)
        if place and depths.get(place, -1) < block:
            depths[place] = block
    return Outline(modules, depths)


@lru_cache(maxsize=16384)
def _place(module: str) -> tuple[str | None, int]:
    """The attention that `module` is in and how many transformer blocks that attention must have, or (None,
    0).
    """
    block = _TRANSFORMER_BLOCK.match(module)
    if block:
        return block[1], int(block[2]) + 1
    attention = _ATTENTION.match(module)
    return (attention[0], 0) if attention else (None, 0)


def sdxl_or_smaller(outline: Outline) -> Family:
    """SDXL, SSD-1B or Segmind-Vega for a LoRA with SDXL's width and outline.

    Leaving things out proves little: style LoRAs do it too. SSD-1B needs all ten of its attentions, no
    mid-block attention, and either exactly its 34 transformer blocks, or no more than these together with a
    mid block of a single residual block.
    """
    if outline.depths == _VEGA_DEPTHS:
        return VEGA
    if outline.depths == _SSD1B_DEPTHS and "mid_block_resnets_1_conv1" not in outline.modules:
        return SSD1B
    single_mid = (
        "mid_block_resnets_0_conv1" in outline.modules and "mid_block_resnets_1_conv1" not in outline.modules
    )
    within = outline.depths.keys() == _SSD1B_DEPTHS.keys() and all(
        0 < outline.depths[p] <= _SSD1B_DEPTHS[p] for p in outline.depths
    )
    return SSD1B if single_mid and within else SDXL


def covers_all_layers(family: Family | None, outline: Outline) -> bool:
    """Whether the LoRA has every layer that the published distillation scripts train, in every block of the
    family's layout.

    The number of transformer blocks per attention and the skip connections on the way down (present where the
    channels change) are taken from the file, so that small models of the same layout count. Embeddings and
    conv_in/out are not required.
    """
    layout = None if family is None else LAYOUTS.get(family)
    if layout is None or outline.depths.keys() != set(layout.attentions) or 0 in outline.depths.values():
        return False
    required = set(layout.samplers)
    for place in layout.attentions:
        required.update((f"{place}_proj_in", f"{place}_proj_out"))
        required.update(
            f"{place}_transformer_blocks_{i}_{layer}"
            for i in range(outline.depths[place])
            for layer in _BLOCK_LAYERS
        )
    for resnet in layout.resnets:
        required.update(f"{resnet}_{layer}" for layer in ("conv1", "conv2", "time_emb_proj"))
        if resnet.startswith("up_"):
            # the skip connections always widen the input on the way up
            required.add(f"{resnet}_conv_shortcut")
    return required <= outline.modules
