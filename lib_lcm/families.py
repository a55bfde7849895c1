"""The families of models: the kind of UNet that a checkpoint holds or that a LoRA was made for, one row
each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Unet:
    """Where a UNet has its blocks: two residual blocks for a level on the way down, three on the way up."""

    levels: int
    attention_levels: tuple[int, ...]
    mid_attention: bool = True
    mid_resnets: int = 2


@dataclass(frozen=True, eq=False)
class Family:
    """One row.

    `name` is the short name used in file names, settings and the API, `label` the one that people use.
    `width` is the input width of the cross-attention keys (`attn2.to_k`), the one figure that every SD-like
    UNet and LoRA carries. `configs` are the classes by which Forge and reForge name the architecture that
    they detect; `words` what an LCM-LoRA's usual name says of the family. `defaults` are options that start
    otherwise than elsewhere.
    """

    name: str
    label: str
    width: int | None = None
    unet: Unet | None = None
    configs: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


SD15 = Family(
    "sd15", "SD 1.5", 768, Unet(4, (0, 1, 2)),
    configs=("SD15", "SD15_instructpix2pix"), words=("15", "v15", "sd15", "sdv15", "sdv1", "sd1"),
)  # fmt: skip
SDXL = Family(
    "sdxl", "SDXL", 2048, Unet(3, (1, 2)),
    configs=("SDXL", "SDXL_instructpix2pix"),
    words=("xl", "sdxl", "sdxl10", "sdxlbase", "sdxlbase10", "sdxlbasev10"),
)  # fmt: skip
# it shares SDXL's width and is told apart by its layout (`lora.unet_layouts`)
SSD1B = Family(
    "ssd1b", "SSD-1B", 2048, Unet(3, (1, 2), mid_attention=False, mid_resnets=1),
    configs=("SSD1B",), words=("ssd1b", "ssd"),
)  # fmt: skip
# SSD-1B's smaller sister, Segmind-Vega
VEGA = Family(
    "vega", "Segmind-Vega", 2048, Unet(3, (1, 2), mid_attention=False, mid_resnets=1),
    configs=("Segmind_Vega",), words=("vega", "vegart", "segmindvega", "segmindvegart"),
)  # fmt: skip
SD2 = Family("sd2", "SD 2.x", 1024, Unet(4, (0, 1, 2)), configs=("SD20", "SD21UnclipL", "SD21UnclipH"))
SDXL_REFINER = Family("sdxl_refiner", "SDXL refiner", 1280, Unet(4, (1, 2)), configs=("SDXLRefiner",))
SD3 = Family("sd3", "SD 3", configs=("SD3",))
FLUX = Family("flux", "Flux", configs=("Flux", "FluxSchnell"))
UNKNOWN = Family("unknown", "unknown")

FAMILIES: tuple[Family, ...] = (SD15, SDXL, SSD1B, VEGA, SD2, SDXL_REFINER, SD3, FLUX, UNKNOWN)


def family_named(name: str | Family) -> Family:
    """The family of that short name. Raises ValueError for any other."""
    for family in FAMILIES:
        if name is family or name == family.name:
            return family
    raise ValueError(f"{name!r} is no family of models.")


def of_width(width: int | None) -> Family | None:
    """The first family whose cross-attention keys have this input width, or None."""
    return next((family for family in FAMILIES if width is not None and family.width == width), None)


def of_config(name: str) -> Family:
    """The family that Forge or reForge calls so; UNKNOWN for a name that is in no row."""
    return next((family for family in FAMILIES if name in family.configs), UNKNOWN)


def of_word(word: str) -> Family | None:
    """The family that a word in a LoRA's usual name means, or None."""
    return next((family for family in FAMILIES if word in family.words), None)
