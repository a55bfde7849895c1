"""`<lora:name:weight>` tags in a prompt: finding and reading them, and the names people give LCM-LoRAs.

Tags are read as the WebUI reads them (`<kind:item:item...>`; items with one "=" are named, the others
positional: name, text-encoder multiplier, UNet multiplier, dynamic rank), so that what is found here is what
the WebUI would apply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from lib_lcm.text import Text

# The kinds that the WebUI's LoRA extension answers to.
LORA_KINDS = ("lora", "lyco")
_TAG = re.compile(r"<(\w+):([^>]+)>")


@dataclass(frozen=True)
class LoraTag:
    """One `<lora:...>` or `<lyco:...>` tag.

    `weight` is the multiplier of the UNet's layers, the one that matters for an LCM-LoRA. `text` is the tag
    as typed and `start`, `end` its place in the prompt. `problem` is None or one sentence on why the WebUI
    cannot apply the tag; `weight` is 1.0 and `name` may be empty then.
    """

    kind: str
    name: str
    weight: float
    text: str
    start: int
    end: int
    problem: str | None = None


def find_tags(prompt: str) -> list[LoraTag]:
    """All LoRA tags of `prompt`, in order."""
    found = (match for match in _TAG.finditer(prompt) if match[1] in LORA_KINDS)
    return [
        _read_tag(match[1], tuple(match[2].split(":")), match[0], match.start(), match.end())
        for match in found
    ]


def tag_of_items(kind: str, items: Iterable[object]) -> LoraTag:
    """The tag whose parts the WebUI has already taken apart; it stands in no prompt, so its place is 0."""
    args = tuple(str(item) for item in items)
    return _read_tag(kind, args, f"<{kind}:{':'.join(args)}>", 0, 0)


def _read_tag(kind: str, args: tuple[str, ...], text: str, start: int, end: int) -> LoraTag:
    positional, named = _sort_items(args)
    problem = None
    weight = 1.0
    if not positional:
        problem = Text("The tag {tag!r} names no LoRA: write it as <{kind}:name:1>.", tag=text, kind=kind)
    else:
        try:
            # The UNet's multiplier follows the text encoder's unless it is given; the WebUI reads both, so
            # both must be numbers.
            weight = _number(positional[1]) if len(positional) > 1 else 1.0
            weight = _number(named.get("te", weight))
            weight = _number(positional[2]) if len(positional) > 2 else weight
            weight = _number(named.get("unet", weight))
            for rank in (*positional[3:4], *([named["dyn"]] if "dyn" in named else [])):
                int(rank)
        except ValueError:
            weight = 1.0
            problem = Text(
                "The tag {tag!r} has a weight that is not a number: write it as <{kind}:{name}:1>.",
                tag=text,
                kind=kind,
                name=positional[0],
            )
    return LoraTag(kind, positional[0] if positional else "", weight, text, start, end, problem)


def _sort_items(args: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Positional and named items, by the WebUI's rule: an item with exactly one "=" is named."""
    positional: list[str] = []
    named: dict[str, str] = {}
    for item in args:
        parts = item.split("=")
        if len(parts) == 2:
            named[parts[0]] = parts[1]
        else:
            positional.append(item)
    return positional, named


def _number(text: str | float) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number
