"""The parts of a composable prompt, `a fox AND snow :0.5`, read as the WebUI reads them
(`modules.prompt_parser`).
"""

from __future__ import annotations

import re

_AND = re.compile(r"\bAND\b")
_WEIGHT_AT_END = re.compile(r":\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*$")
_TAG = re.compile(r"<\w+:[^>]+>")
"""Of an extra network of any kind; the WebUI takes them out before it looks for parts."""


def part_weights(prompt: str) -> list[float]:
    """The weight of each part, 1 where it has none. A prompt without AND is one part, and may have a weight
    all the same.
    """
    found = (_WEIGHT_AT_END.search(part) for part in _AND.split(_TAG.sub("", prompt)))
    return [1.0 if weight is None else float(weight[1]) for weight in found]
