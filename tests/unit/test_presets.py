"""The presets of the page."""

import pytest

from lib_lcm.options import Limits
from lib_lcm.plan.presets import PRESETS, negative_controls, negative_of, preset_of, steps_by_preset


def test_the_presets_and_their_steps():
    assert steps_by_preset(Limits()) == {"Preview 1": 1, "Draft 2": 2, "Standard 4": 4, "Final 8": 8}
    assert [preset_of(preset.steps) for preset in PRESETS] == [preset.label for preset in PRESETS]


@pytest.mark.parametrize("steps", [3, 5, 20, None])
def test_other_steps_are_those_of_none(steps):
    assert preset_of(steps) is None


def test_only_presets_within_the_limits_are_offered():
    assert list(steps_by_preset(Limits(2, 4))) == ["Draft 2", "Standard 4"]
    assert list(steps_by_preset(Limits(2, 2, min_cfg=1.0, max_cfg=1.0))) == ["Draft 2"]
    assert list(steps_by_preset(Limits(min_cfg=1.2))) == list(steps_by_preset(Limits()))


@pytest.mark.parametrize(
    "steps,light", [(1, 1.5), (2, 1.5), (3, 2.5), (4, 2.0), (5, 2.0), (6, 2.5), (8, 2.5)]
)
def test_what_the_negative_prompt_may_be_to_do(steps, light):
    controls = negative_controls(Limits(), steps)
    assert controls == {"Off": (1.0, "All"), "Light": (light, "Middle"), "Full": (1.5, "All")}
    assert [negative_of(*values) for values in controls.values()] == list(controls)


def test_a_negative_prompt_that_cannot_be_left_out_or_used_has_no_presets():
    assert negative_controls(Limits(min_cfg=1.2), 4) == {} == negative_controls(Limits(max_cfg=1.0), 4)
