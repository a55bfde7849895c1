"""Which rows the UNet has to compute for a step: the parts of a prompt, and whether the negative prompt
counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

CFG_ONE_TOLERANCE = 1e-4

_AND = re.compile(r"\bAND\b")
_WEIGHT_AT_END = re.compile(r":\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*$")
_TAG = re.compile(r"<\w+:[^>]+>")
"""Of an extra network of any kind; the WebUI takes them out before it looks for parts."""


def part_weights(prompt: str) -> list[float]:
    """The weight of each part of a composable prompt, `a fox AND snow :0.5`, as the WebUI reads them: 1 where
    it has none. A prompt without AND is one part, and may have a weight all the same.
    """
    found = (_WEIGHT_AT_END.search(part) for part in _AND.split(_TAG.sub("", prompt)))
    return [1.0 if weight is None else float(weight[1]) for weight in found]


def is_cfg_one(cfg: float) -> bool:
    """Whether a CFG scale counts as 1, where the unconditional half of the UNet's work cancels out."""
    return abs(cfg - 1.0) < CFG_ONE_TOLERANCE


def edits_image(is_editing_checkpoint: bool, image_cfg: float | None) -> bool:
    """Whether guidance has the third term of image editing (InstructPix2Pix); at an image CFG scale of 1 it
    cancels out.
    """
    return is_editing_checkpoint and image_cfg not in (None, 1.0)


def is_cond_enough(cfg: float, weights: Sequence[float], is_editing: bool) -> bool:
    """Whether the guided result is the conditional prediction alone: CFG 1, one part at weight 1, no image
    editing.
    """
    return is_cfg_one(cfg) and list(weights) == [1.0] and not is_editing


@dataclass(frozen=True)
class Guided:
    """What the CFG scale means for the prompts of one pass.

    `rows` is how often a picture stands in the UNet's batch: once for each part of the prompt, and once more
    for the negative prompt where that is computed, twice in image editing.
    """

    rows: int = 1
    has_negative_prompt: bool = False
    ignores_negative_prompt: bool = False


def guided(
    cfg: float, prompt: str, negative_prompt: str, *, is_editing: bool, leaves_out_uncond: bool, is_ours: bool
) -> Guided:
    """`leaves_out_uncond`: the host itself computes nothing of the negative prompt at CFG 1, whatever the
    prompt. `is_ours`: our sampler runs, which leaves it out where the conditional prediction is enough.
    """
    weights = part_weights(prompt)
    is_left_out = is_ours and is_cond_enough(cfg, weights, is_editing)
    is_left_out = is_left_out or (is_cfg_one(cfg) and leaves_out_uncond)
    # of parts whose weights add up to 1 it cancels out too, though it is computed
    cancels_out = is_left_out or (is_cfg_one(cfg) and is_cfg_one(sum(weights)) and not is_editing)
    has_negative = bool(negative_prompt.strip())
    uncond_rows = 0 if is_left_out else 2 if is_editing else 1
    return Guided(len(weights) + uncond_rows, has_negative, has_negative and cancels_out)
