"""Model families, and what a LoRA file's or a checkpoint's layout says about them."""

from __future__ import annotations

from enum import Enum


class ModelFamily(str, Enum):
    """The kind of UNet that a checkpoint holds or that a LoRA was made for.

    The value is the short name used in file names, settings and the API.
    """

    sd15 = "sd15"
    sdxl = "sdxl"
    ssd1b = "ssd1b"
    sd2 = "sd2"
    sdxl_refiner = "sdxl_refiner"
    sd3 = "sd3"
    flux = "flux"
    unknown = "unknown"

    @property
    def label(self) -> str:
        """The name that people use for the family."""
        return _LABELS[self]

    def __str__(self) -> str:
        return self.value


_LABELS = {
    ModelFamily.sd15: "SD 1.5",
    ModelFamily.sdxl: "SDXL",
    ModelFamily.ssd1b: "SSD-1B",
    ModelFamily.sd2: "SD 2.x",
    ModelFamily.sdxl_refiner: "SDXL refiner",
    ModelFamily.sd3: "SD 3",
    ModelFamily.flux: "Flux",
    ModelFamily.unknown: "unknown",
}

# Input width of the cross-attention keys (`attn2.to_k`), the one figure that every SD-like UNet and LoRA
# carries. SSD-1B shares 2048 with SDXL and is told apart by its layout (see `unet_layouts`).
FAMILY_OF_CROSS_ATTENTION_WIDTH = {
    768: ModelFamily.sd15,
    1024: ModelFamily.sd2,
    1280: ModelFamily.sdxl_refiner,
    2048: ModelFamily.sdxl,
}
