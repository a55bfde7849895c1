"""The official LCM-LoRAs: what they are called, where they are, and how to be sure of them."""

from __future__ import annotations

from dataclasses import dataclass

from lib_lcm.families import SD15, SDXL, SSD1B, Family

LICENCE = "OpenRAIL++"


@dataclass(frozen=True)
class OfficialLora:
    """One published LCM-LoRA file.

    `name` is the conventional name under which it is saved in the WebUI's LoRA folder (without ending),
    `size` is in bytes. `other_sha256` and `other_sizes` are of earlier uploads of the same weights.
    """

    family: Family
    name: str
    repo: str
    size: int
    sha256: str
    other_sha256: tuple[str, ...] = ()
    other_sizes: tuple[int, ...] = ()
    filename: str = "pytorch_lora_weights.safetensors"

    @property
    def url(self) -> str:
        """The page that a person can download the file from."""
        return f"https://huggingface.co/{self.repo}"


OFFICIAL_LORAS: tuple[OfficialLora, ...] = (
    OfficialLora(
        SD15,
        "lcm_lora_sd15",
        "latent-consistency/lcm-lora-sdv1-5",
        134_621_556,
        "8f90d840e075ff588a58e22c6586e2ae9a6f7922996ee6649a7f01072333afe4",
    ),
    OfficialLora(
        SDXL,
        "lcm_lora_sdxl",
        "latent-consistency/lcm-lora-sdxl",
        393_855_224,
        "a764e6859b6e04047cd761c08ff0cee96413a8e004c9f07707530cd776b19141",
        # before revision a18548dd (2023-11-24), and as re-uploaded in lllyasviel/misc
        other_sha256=("c3dbf7eb26dd00ae6b6b95da69be9f1cb95a3b2c5bcf9be82323227a19b91329",),
        other_sizes=(393_854_624,),
    ),
    OfficialLora(
        SSD1B,
        "lcm_lora_ssd1b",
        "latent-consistency/lcm-lora-ssd-1b",
        209_991_222,
        "7adaaa69db6f011058a19fd1d5315fdf19ef79fcd513cdab30e173833fd5c59b",
    ),
)


def official_lora(family: Family) -> OfficialLora | None:
    """The published LCM-LoRA of `family`, or None where there is none."""
    return next((lora for lora in OFFICIAL_LORAS if lora.family is family), None)


def family_of_sha256(sha256: str) -> Family | None:
    """The family of the published LCM-LoRA whose content has this SHA-256 (hex, any case), or None."""
    digest = sha256.lower()
    for lora in OFFICIAL_LORAS:
        if digest == lora.sha256 or digest in lora.other_sha256:
            return lora.family
    return None
