"""The English texts for users, collected from the source: what localizations/*.json has to translate."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from lib_lcm.lora.catalog import PUBLISHED
from lib_lcm.options import GUIDED_LABELS, OPTIONS, OWN_LABEL, SAMPLER_LABELS, SCHEDULE_LABELS
from lib_lcm.plan.presets import PRESETS

ROOT = Path(__file__).parents[1]
MAKERS = ("Text", "problem", "_named")
"""What a template is given to, as the first argument."""


def _calls(names: tuple[str, ...]) -> Iterator[ast.Call]:
    for file in (ROOT / "lib_lcm").rglob("*.py"):
        if file.parent.name == "distill":  # a command, which speaks English
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "attr", getattr(node.func, "id", "")) in names
            ):
                yield node


def _strings(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from (*_strings(node.body), *_strings(node.orelse))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def sentences() -> set[str]:
    """Every template that a `Text` is made of."""
    return {text for call in _calls(MAKERS) if call.args for text in _strings(call.args[0])}


def settings() -> list[tuple[str, str]]:
    """(label, info) of the rows of Settings -> LCM, once for each family where a row is of families."""
    written = [call.args[2:4] for call in _calls(("Setting",))]
    rows = [(label.value, info.value) for label, info in written if isinstance(label, ast.Constant)]
    rows += [option.setting for option in OPTIONS if option.setting]
    families = [lora.family.label for lora in PUBLISHED if lora.method == "lcm"]
    return [
        (label.format(family=family), info)
        for label, info in rows
        for family in (families if "{family}" in label else families[:1])
    ]


def page_texts() -> set[str]:
    """Every text of ours that stands on the page."""
    options = {text for option in OPTIONS for text in (option.label, option.help)}
    labels = (SCHEDULE_LABELS, SAMPLER_LABELS, GUIDED_LABELS)
    choices = {label for some in labels for label in some.values()} | {
        *(preset.label for preset in PRESETS),
        OWN_LABEL,
    }
    script = (ROOT / "javascript" / "lcm_live.js").read_text(encoding="utf-8")
    live = set(re.findall(r'\w+: "(.*)",', script.split("const TEXT = {")[1].split("};")[0]))
    assert len(live) >= 10 and len(settings()) >= 10
    of_settings = {text for label, info in settings() for text in (label, f"({info})")}
    return sentences() | options | choices | live | of_settings
