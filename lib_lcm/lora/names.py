"""The names that people give the published LCM-LoRAs, and the one that a checkpoint's own gets."""

from __future__ import annotations

import re
from pathlib import Path

from lib_lcm.families import Family, of_word

# Words that may stand in an LCM-LoRA's name beside "lcm" and the family without making it another file's
# name.
_FILLER = frozenset({"lora", "loras", "pytorch", "weights", "fp16", "safetensors"})
_RANK = re.compile(r"(?<![a-z0-9])(?:r|rank|dim)[ _-]?\d{1,3}(?![a-z0-9])")  # of a resized copy
_ENDING = re.compile(r"\.(safe\w*|pt|ckpt|bin)$", re.IGNORECASE)
_COPY = re.compile(r"(\s*\(\d+\)|[ _-]+copy)$", re.IGNORECASE)
# "sdv1-5" is sdv, 1, 5 and "ssd1b" is ssd, 1, b: digits and letters part, and are put together again below.
# "lcm" also parts from what may be glued to it ("lcmlora", "lcmxl").
_WORD = re.compile(r"fp16|lcm(?=(?:lora|sdxl|ssd|sdv?|xl)(?![a-z]))|[a-z]+|\d+|[^\sa-z\d_.()\[\]-]+")
_MOST_FOLDERS = 3


def own_name(checkpoint: Path) -> str:
    """What the LCM-LoRA that is distilled from this checkpoint's file is called, unless somebody names it."""
    return f"lcm_lora_{checkpoint.stem}"


def conventional_family(name: str) -> Family | None:
    """The family that `name` promises if it is a name that people give the published LCM-LoRAs, otherwise
    None.

    `name` may have folders and an ending: `lcm_lora_sdxl`, `lcm-lora-sdv1-5`, `LCM_15`,
    `lcm/SDXL/pytorch_lora_weights.safetensors`. Every word of it has to belong to such a name, so that a
    style called `calcmania_sdxl` or `lcm_comic_sdxl` does not count. A name proves nothing about the content.
    """
    if "lcm" not in name.lower():
        return None
    folders = re.split(r"[/\\]+", name.strip())
    words: list[str] = []
    for folder in reversed(folders[-1 - _MOST_FOLDERS :]):
        # from the file's name outwards, until the name is complete
        here = _WORD.findall(_RANK.sub("", _COPY.sub("", _ENDING.sub("", folder)).lower()))
        words = here + words
        if "lcm" in words:
            family = of_word("".join(word for word in words if word != "lcm" and word not in _FILLER))
            if family is not None:
                return family
    return None


def means_any_lcm_lora(name: str) -> bool:
    """Whether `name` is what people call an LCM-LoRA where it need not say of which family: `lcm`,
    `lcm_lora`.
    """
    words = _WORD.findall(name.strip().lower())
    return "lcm" in words and {*words} <= {"lcm", *_FILLER}
