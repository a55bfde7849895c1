"""Parsers for two notations in prompts: editing over time, and attention weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*$")
_WEIGHT_CLOSING = re.compile(r":\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*\)")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
ROUND, SQUARE = 1.1, 1 / 1.1
"""What one pair of brackets does to the attention: (more), [less]."""


@dataclass
class _Edit:
    """`[before:after:when]`"""

    before: list
    after: list
    when: str


@dataclass
class _Alternate:
    """`[a|b|c]`, one per step in turn."""

    options: list[list]


def _matching_bracket(text: str, start: int) -> int | None:
    """Index of the bracket that closes the one at `start`, or None."""
    closing = {"(": ")", "[": "]"}
    expected = []
    i = start
    while i < len(text):
        char = text[i]
        if char == "\\":
            i += 1
        elif char in closing:
            expected.append(closing[char])
        elif char in ")]":
            if char != expected[-1]:
                return None
            expected.pop()
            if not expected:
                return i
        i += 1
    return None


def _split_top_level(text: str, separator: str) -> list[str]:
    parts, depth, last, i = [], 0, 0, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] in "([":
            depth += 1
        elif text[i] in ")]":
            depth -= 1
        elif text[i] == separator and depth == 0:
            parts.append(text[last:i])
            last = i + 1
        i += 1
    return [*parts, text[last:]]


def _bracket_node(content: str):
    """What `[content]` stands for: an edit, an alternation, or None when it is neither."""
    options = _split_top_level(content, "|")
    if len(options) > 1:
        return _Alternate([_parse(option) for option in options])
    parts = _split_top_level(content, ":")
    when = _NUMBER.match(parts[-1])
    if when is None or len(parts) not in (2, 3):
        return None
    before = parts[0] if len(parts) == 3 else ""
    return _Edit(_parse(before), _parse(parts[-2]), when.group(1))


def _parse(text: str) -> list:
    """Text as a list of strings, edits and alternations."""
    nodes: list = []
    literal_from, i = 0, 0
    while i < len(text):
        if text[i] == "\\":
            i += 2
            continue
        end = _matching_bracket(text, i) if text[i] == "[" else None
        node = _bracket_node(text[i + 1 : end]) if end is not None else None
        if node is None:
            i += 1
            continue
        nodes += [text[literal_from:i], node]
        i = literal_from = end + 1
    return [*nodes, text[literal_from:]]


def _edits(nodes: list):
    for node in nodes:
        if isinstance(node, _Edit):
            yield node
            yield from _edits(node.before + node.after)
        elif isinstance(node, _Alternate):
            yield node
            yield from _edits([inner for option in node.options for inner in option])


def prompt_schedule(
    prompt: str, base_steps: int, hires_steps: int | None = None, old_timeline: bool = False
) -> list[list]:
    """[[last step, text], ...] in order of steps.

    A `when` with a decimal point is a share of the pass (1.0 to 2.0 for the hires pass), without one a step
    number that goes on counting in the hires pass. The old timeline has no second pass, and takes numbers
    below 1 for a share.
    """
    second_pass = hires_steps is not None and not old_timeline
    steps = hires_steps if second_pass else base_steps

    def step_of(when: str) -> int:
        value = float(when)
        if old_timeline:
            value = value * steps if value < 1 else value
        elif "." in when:
            value = (value - second_pass) * steps
        else:
            value -= base_steps if second_pass else 0
        return min(steps, int(value))

    def text_at(nodes: list, step: int) -> str:
        parts = []
        for node in nodes:
            if isinstance(node, _Edit):
                parts.append(text_at(node.before if step <= step_of(node.when) else node.after, step))
            elif isinstance(node, _Alternate):
                parts.append(text_at(node.options[(step - 1) % len(node.options)], step))
            else:
                parts.append(node)
        return "".join(parts)

    nodes = _parse(prompt)
    ends = {steps}
    for node in _edits(nodes):
        if isinstance(node, _Alternate):
            ends.update(range(1, steps + 1))
        elif step_of(node.when) >= 1:
            ends.add(step_of(node.when))
    return [[end, text_at(nodes, end)] for end in sorted(ends)]


def parse_prompt_attention(text: str) -> list[list]:
    """[[text, weight], ...]: (a) is 1.1, (a:1.5) is 1.5, [a] is 1/1.1, nested brackets multiply, `\\(` is a
    bracket as text.

    The keyword BREAK, which ends a chunk of 75 tokens, becomes ["BREAK", -1].
    """
    pieces: list[list] = []

    def add(piece: str, weight: float) -> None:
        for position, part in enumerate(_BREAK.split(piece)):
            if position:
                pieces.append(["BREAK", -1])
            if part:
                pieces.append([part, weight])

    def group(i: int, closing: str) -> int:
        """Read up to `closing` or the end; returns the index after it."""
        start = len(pieces)
        plain = ""
        factor = {")": ROUND, "]": SQUARE, "": 1.0}[closing]
        while i < len(text):
            weight = _WEIGHT_CLOSING.match(text, i) if closing == ")" else None
            if weight or (closing and text[i] == closing):
                factor = float(weight.group(1)) if weight else factor
                i = weight.end() if weight else i + 1
                break
            if text[i] == "\\" and i + 1 < len(text):
                plain += text[i + 1]
                i += 2
            elif text[i] in "([":
                add(plain, 1.0)
                plain = ""
                i = group(i + 1, ")" if text[i] == "(" else "]")
            else:
                plain += text[i]
                i += 1
        add(plain, 1.0)
        for piece in pieces[start:]:
            piece[1] *= factor if piece[0] != "BREAK" else 1
        return i

    group(0, "")

    def merge(merged: list[list], piece: list) -> list[list]:
        if merged and merged[-1][1] == piece[1] and "BREAK" not in (merged[-1][0], piece[0]):
            merged[-1][0] += piece[0]
        else:
            merged.append(piece)
        return merged

    return reduce(merge, pieces, []) or [["", 1.0]]
