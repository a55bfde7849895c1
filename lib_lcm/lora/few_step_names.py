"""What a LoRA's file name says of the few-step method that it was distilled for.

The LoRAs of other few-step methods have the layers of an LCM-LoRA, so that their names are all that tells
them apart.
"""

from __future__ import annotations

import os

OTHER_METHODS = ("hyper", "lightning", "turbo", "tcd", "pcm", "dmd", "flash")
"""Hyper-SD, SDXL Lightning and Turbo, trajectory (TCD) and phased (PCM) consistency distillation,
distribution matching (DMD), Flash Diffusion. Their LoRAs want other timesteps than LCM's."""


def other_method(relative: str) -> str | None:
    """The method other than LCM that a file's name speaks of, or None. `relative` is its path in the LoRA
    folder, with forward slashes.

    "hyper" may be a style's as well ("hyperrealistic").
    """
    words = _words(relative)
    if "lcm" in words:
        return None
    return next((method for method in OTHER_METHODS if any(word.startswith(method) for word in words)), None)


def names_steps(relative: str) -> bool:
    """Whether the name speaks of steps, as "Hyper-SD15-8steps-lora" does."""
    return not {"step", "steps"}.isdisjoint(_words(relative))


def _words(relative: str) -> list[str]:
    stem = os.path.splitext(relative.rsplit("/", 1)[-1].lower())[0]
    return "".join(c if c.isalpha() else " " for c in stem).split()
