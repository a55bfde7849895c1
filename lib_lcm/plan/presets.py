"""The presets of the page: names for a number of steps, and for what the negative prompt is to do. They set
other controls and are nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib_lcm.options import ALL, GUIDED_LABELS, MIDDLE, Limits
from lib_lcm.sampling.guidance import highest_middle_cfg, is_cfg_one
from lib_lcm.text import Text


@dataclass(frozen=True)
class Preset:
    """A name on the page and the steps that it stands for."""

    name: str
    steps: int

    @property
    def label(self) -> str:
        return f"{self.name} {self.steps}"


PRESETS = (Preset("Preview", 1), Preset("Draft", 2), Preset("Standard", 4), Preset("Final", 8))


def steps_by_preset(limits: Limits) -> dict[str, int]:
    """What the page offers, the presets that lie within the limits: label -> steps."""
    return {
        preset.label: preset.steps
        for preset in PRESETS
        if limits.min_steps <= preset.steps <= limits.max_steps
    }


def preset_of(steps: float) -> str | None:
    """The label of the preset that the slider stands at."""
    return next((preset.label for preset in PRESETS if preset.steps == steps), None)


OFF, LIGHT, FULL = Text("Off"), Text("Light"), Text("Full")
OFF_CFG, FULL_CFG = 1.0, 1.5


def negative_controls(limits: Limits, steps: int) -> dict[str, tuple[float, str]]:
    """What the negative prompt may be to do -> CFG scale and guided steps, as the page has them. Light
    suppresses as much as Full and costs less: docs/small-models.md.
    """
    if not limits.min_cfg <= OFF_CFG < limits.max_cfg:
        return {}
    return {
        OFF: (OFF_CFG, GUIDED_LABELS[ALL]),
        LIGHT: (highest_middle_cfg(limits.max_cfg, steps), GUIDED_LABELS[MIDDLE]),
        FULL: (min(FULL_CFG, limits.max_cfg), GUIDED_LABELS[ALL]),
    }


def negative_of(cfg: float, guided: str) -> str:
    """The preset that the CFG scale and the guided steps of the page amount to."""
    if is_cfg_one(cfg):
        return OFF
    return LIGHT if guided == GUIDED_LABELS[MIDDLE] else FULL
