"""What the layers of a LoRA say, given the names and shapes of its tensors: the family, the rank, and whether
they are all of a UNet.

Family. The input width of the cross-attention keys tells SD 1.x (768), SD 2.x (1024), the SDXL refiner (1280)
and SDXL (2048) apart; `unet_layouts` tells SSD-1B from SDXL. A LoRA that leaves those keys alone is placed by
its other layers, where these can belong to one family only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from lib_lcm.families import FLUX, SD2, SD3, SD15, SDXL, SSD1B, VEGA, Family, of_width
from lib_lcm.lora.key_names import split_key
from lib_lcm.lora.unet_layouts import (
    DEPTH_BEYOND_REFINER,
    LAYOUTS,
    Outline,
    covers_all_layers,
    outline_of,
    sdxl_or_smaller,
)
from lib_lcm.text import Text


class Layers(NamedTuple):
    """What a tensor table says, metadata aside.

    `foreign` is None or, for a table without a single LoRA layer, what the file is instead. `incomplete`
    counts the layers that lack one half. `covers_unet` says that plain pairs are on all layers of the UNet
    that distillation trains, `is_distilled` that they also have one rank and diffusers' names, as an LCM-LoRA
    has. `has_kohya_names`: all tensors are named as kohya's trainer does, which every WebUI reads.
    """

    data_bytes: int
    family: Family | None = None
    rank: int | None = None
    modules: int = 0
    incomplete: int = 0
    has_text_encoder: bool = False
    is_plain_unet_lora: bool = False
    covers_unet: bool = False
    is_distilled: bool = False
    has_kohya_names: bool = False
    foreign: str | None = None


class _Contents:
    """The tensors of one file, sorted.

    `modules`, `downs` and `ups` are keyed by (component, module); `downs` and `ups` hold the shapes of plain
    LoRA halves, and `cross_attention` the parts, by name, of every UNet layer whose input is the text's
    embedding.
    """

    def __init__(self, shapes: Mapping[str, list[int]]):
        self.modules: set[tuple[str, str]] = set()
        self.downs: dict[tuple[str, str], list[int]] = {}
        self.ups: dict[tuple[str, str], list[int]] = {}
        self.cross_attention: dict[str, dict[str, list[int]]] = {}
        self.kinds: set[str] = set()
        self.components: set[str] = set()
        self.ranks: Counter[int] = Counter()
        self.has_ldm_names = False
        for name, shape in shapes.items():
            component, module, part, kind, ldm_names, is_cross_attention_input = split_key(name)
            self.components.add(component)
            if kind is None:
                continue
            self.kinds.add(kind)
            self.modules.add((component, module))
            if ldm_names:
                self.has_ldm_names = True
            if part == "down":
                self.downs[component, module] = shape
            elif part == "up":
                self.ups[component, module] = shape
            if part in _PARTS_LED_BY_RANK and len(shape) > 1:
                self.ranks[shape[0]] += 1
            if is_cross_attention_input:
                self.cross_attention.setdefault(module, {})[part] = shape
        self.outline = outline_of(module for component, module in self.modules if component == "unet")

    @property
    def rank(self) -> int | None:
        """The commonest rank, the smallest of equally common ones."""
        return min(self.ranks, key=lambda rank: (-self.ranks[rank], rank)) if self.ranks else None

    @property
    def is_plain_unet_lora(self) -> bool:
        return self.components == {"unet"} and self.kinds == {"lora"}

    @property
    def has_one_rank(self) -> bool:
        halves = [(down, self.ups.get(key, ())) for key, down in self.downs.items()]
        return len(self.ranks) == 1 and all(
            len(down) > 1 and len(up) > 1 and up[1] == down[0] for down, up in halves
        )


def recognise(shapes: Mapping[str, list[int]], data_bytes: int) -> Layers:
    contents = _Contents(shapes)
    if not contents.modules:
        return Layers(data_bytes, foreign=_what_else(shapes))
    family = _family(contents)
    plain = contents.is_plain_unet_lora
    covers_unet = plain and covers_all_layers(family, contents.outline)
    return Layers(
        data_bytes,
        family=family,
        rank=contents.rank,
        modules=len(contents.modules),
        incomplete=len(contents.downs.keys() ^ contents.ups.keys()),
        has_text_encoder="text_encoder" in contents.components,
        is_plain_unet_lora=plain,
        # Distillation works on diffusers' UNet; SDXL LoRAs with convolutions in LDM names come from kohya's
        # style trainer.
        is_distilled=covers_unet and not contents.has_ldm_names and contents.has_one_rank,
        covers_unet=covers_unet,
        has_kohya_names=all(name.startswith("lora_") for name in shapes),
    )


def _what_else(shapes: Mapping[str, list[int]]) -> str:
    """What a file without a single LoRA layer is, and what to do with it."""
    if not shapes:
        return Text("has no weights in it: download it again")
    if any(
        name.startswith(("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "conditioner."))
        for name in shapes
    ):
        return Text("is a checkpoint, not a LoRA: move it to models/Stable-diffusion")
    if shapes.keys() <= {"emb_params", "clip_l", "clip_g"}:
        return Text("is an embedding, not a LoRA: move it to the embeddings folder")
    return Text(
        "is not a LoRA (none of its {count} tensors is a LoRA's): move it out of the LoRA folder",
        count=len(shapes),
    )


# --- the family ---------------------------------------------------------------------------------------------


def _family(contents: _Contents) -> Family | None:
    """The family that the LoRA was made for, or None where the layers do not say or contradict each other."""
    if "video" in contents.components:
        return None  # video models share the image models' widths
    outline = contents.outline
    if not outline.modules:
        return _family_of_transformer(contents) or _family_of_text_encoder(contents)
    widths = {
        width for parts in contents.cross_attention.values() if (width := _input_width(parts)) is not None
    }
    if len(widths) > 1:
        return None
    if widths:
        family = of_width(widths.pop())
    else:
        family = _family_without_width(contents) or _family_of_text_encoder(contents)
    if family not in LAYOUTS or not _fits(outline, family):
        return None
    return sdxl_or_smaller(outline) if family is SDXL else family


def _family_without_width(contents: _Contents) -> Family | None:
    """The family of a UNet LoRA that leaves the cross-attention's inputs alone, where its other layers can
    belong to one family only.
    """
    if max(contents.outline.depths.values(), default=0) >= DEPTH_BEYOND_REFINER:
        return SDXL
    # Only SD 1.x projects into its attentions with 1x1 convolutions (four dimensions); the later families use
    # linear layers (two).
    if any(module.endswith("_proj_in") and len(shape) == 4 for (_, module), shape in contents.downs.items()):
        return SD15
    # SDXL and what was cut out of it are alone in having attention in the first block on the way up.
    fitting = {family for family in LAYOUTS if _fits(contents.outline, family)}
    if contents.outline.depths and fitting <= {SDXL, SSD1B, VEGA}:
        return SDXL
    return None


def _fits(outline: Outline, family: Family) -> bool:
    """Whether the family's UNet has attention in all places where the LoRA has some."""
    return outline.depths.keys() <= set(LAYOUTS[family].attentions)


def _family_of_text_encoder(contents: _Contents) -> Family | None:
    """What the text encoder's layers say: kohya's `lora_te_` is SD 1.x (768 wide) or SD 2.x (1024), a second
    one beside a UNet SDXL.
    """
    for (component, module), shape in contents.downs.items():
        if (
            component == "text_encoder"
            and module.startswith("lora_te_")
            and module.endswith("_self_attn_q_proj")
            and len(shape) == 2
        ):
            return {768: SD15, 1024: SD2}.get(shape[1])
    if contents.outline.modules and any(
        component == "text_encoder" and module.startswith(("lora_te2_", "text_encoder_2."))
        for component, module in contents.modules
    ):
        return SDXL
    return None


def _family_of_transformer(contents: _Contents) -> Family | None:
    """SD 3 or Flux, from the names and widths of a diffusion transformer's layers."""
    names = [module for component, module in contents.modules if component == "other"]
    if any(
        name.startswith(("double_blocks_", "single_blocks_", "single_transformer_blocks_")) for name in names
    ):
        return FLUX
    if any(name.startswith("joint_blocks_") for name in names):
        return SD3
    for (_, module), shape in contents.downs.items():
        if re.fullmatch(r"transformer_blocks_\d+_attn_(to|add)_[qkv](_proj)?", module) and len(shape) == 2:
            return {1536: SD3, 2432: SD3}.get(shape[1])  # SD 3 and 3.5 medium, 3.5 large
    return None


# --- shapes -------------------------------------------------------------------------------------------------

_PARTS_LED_BY_RANK = frozenset({"down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b", "b1"})


def _input_width(parts: Mapping[str, list[int]]) -> int | None:
    """The input width of the linear layer that these parts change, or None where their shapes do not say."""
    for part in ("down", "diff", "hada_w1_b", "b1"):
        if len(parts.get(part, ())) == 2:
            return parts[part][1]
    # LoKr is a Kronecker product w1 x w2, so the widths multiply; either factor may itself be a product of
    # two.
    factors = [parts.get(f"lokr_{w}", parts.get(f"lokr_{w}_b", ())) for w in ("w1", "w2")]
    inputs = [factor[1] for factor in factors if len(factor) == 2]
    return math.prod(inputs) if len(inputs) == 2 else None
