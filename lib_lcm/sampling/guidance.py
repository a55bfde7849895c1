"""Which rows the UNet has to compute for a step: the parts of a prompt, and whether the negative prompt
counts.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

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

    `rows` is how often a picture stands in the UNet's batch of each step: once for each part of the prompt,
    and once more for the negative prompt where that is computed, twice in image editing. `steps` are the
    indices of the steps in which the CFG scale acts; None where it does in all.
    """

    rows: tuple[int, ...] = ()
    steps: tuple[int, ...] | None = None
    has_negative_prompt: bool = False
    ignores_negative_prompt: bool = False


def guided(
    cfg: float,
    prompt: str,
    negative_prompt: str,
    steps: int,
    *,
    in_middle: bool,
    is_editing: bool,
    leaves_out_uncond: bool,
    is_ours: bool,
) -> Guided:
    """A pass of so many steps. `in_middle`: the CFG scale acts in the middle steps alone.
    `leaves_out_uncond`: the host itself computes nothing of the negative prompt at CFG 1, whatever the
    prompt. `is_ours`: our sampler runs, which leaves it out where the conditional prediction is enough.
    """
    weights = part_weights(prompt)

    def is_left_out(scale: float) -> bool:
        is_enough = is_ours and is_cond_enough(scale, weights, is_editing)
        return is_enough or (is_cfg_one(scale) and leaves_out_uncond)

    def rows_at(scale: float) -> int:
        return len(weights) + (0 if is_left_out(scale) else 2 if is_editing else 1)

    middle = middle_steps(steps) if in_middle and not is_cfg_one(cfg) else None
    rows = [rows_at(cfg if middle is None or index in middle else 1.0) for index in range(steps)]
    # of parts whose weights add up to 1 it cancels out too, though it is computed
    cancels_out = is_left_out(cfg) or (is_cfg_one(cfg) and is_cfg_one(sum(weights)) and not is_editing)
    has_negative = bool(negative_prompt.strip())
    return Guided(tuple(rows), middle, has_negative, has_negative and cancels_out)


def middle_steps(steps: int) -> tuple[int, ...]:
    """The indices of the steps that are worth guiding most, of so many: one, two or three in the middle; of
    two, the last.

    The first step is the worst one to guide; the last flattens the picture; what is large is decided before
    the late ones. docs/small-models.md has the figures.
    """
    if steps < 3:
        return (steps - 1,)
    if steps < 6:
        return tuple(range((steps - 1) // 2, steps - 1))
    first = steps // 2 - 1
    return (first, first + 1, first + 2)


def highest_middle_cfg(highest: float, steps: int) -> float:
    """The highest CFG scale that works in the middle steps of so many, where `highest` does in all of them.
    It is also the best one there, as docs/small-models.md has it: of three steps, one alone is guided.
    """
    factor = 0.75 if steps < 3 else 1.0 if steps in (4, 5) else 1.25
    return max(1.0, round(highest * factor, 2))


def in_some_steps(
    guided: Callable[..., Any], unguided: Callable[..., Any], steps: Collection[int]
) -> Callable[..., Any]:
    """The denoiser `guided` in the steps of these indices, `unguided` in the others; for one pass, in which
    it is called once a step.
    """
    index = itertools.count()

    def denoise(*args: Any, **kwargs: Any) -> Any:
        return (guided if next(index) in steps else unguided)(*args, **kwargs)

    return denoise
