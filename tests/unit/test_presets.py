"""The quality presets of the page."""

import pytest

from lib_lcm.options import Limits
from lib_lcm.plan.presets import PRESETS, preset_labels, preset_of, sliders_of


def test_the_presets_and_their_sliders():
    assert preset_labels(Limits()) == ["Preview 1", "Draft 2", "Standard 4", "Final 8", "Custom"]
    assert [sliders_of(label) for label in preset_labels(Limits())] == [
        (1, 1.0),
        (2, 1.0),
        (4, 1.0),
        (8, 1.0),
        None,
    ]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_sliders_that_stand_at_a_preset_show_it(preset):
    assert preset_of(*sliders_of(preset.label)) == preset.label
    assert preset_of(preset.steps, 1.5) == "Custom"


def test_sliders_elsewhere_are_custom():
    assert preset_of(3, 1.0) == "Custom" and preset_of(None, None) == "Custom"


def test_only_presets_within_the_limits_are_offered():
    assert preset_labels(Limits(2, 4)) == ["Draft 2", "Standard 4", "Custom"]
    assert preset_labels(Limits(min_cfg=1.2)) == ["Custom"]
    assert preset_labels(Limits(2, 2, min_cfg=1.0, max_cfg=1.0)) == ["Draft 2", "Custom"]
