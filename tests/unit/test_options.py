import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lcm.options import OPTIONS, LcmOptions, Limits, OptionsError, options_from_args


def test_the_table_names_every_option_in_the_order_of_the_class():
    assert [option.name for option in OPTIONS] == [field.name for field in fields(LcmOptions)]


def test_no_arguments_mean_off():
    assert options_from_args([]) == LcmOptions(enabled=False)
    assert options_from_args([None]) == LcmOptions(enabled=False)


def test_positional_arguments_are_in_the_order_of_the_table_and_trailing_ones_have_defaults():
    assert options_from_args([True, 0.9, 6, 1.5, "my_lora", "WebUI"]) == LcmOptions(
        True, 0.9, 6, 1.5, "my_lora", "webui"
    )
    everything = [True, 0.9, 6, 1.5, "my_lora", "WebUI", "TCD", 0]
    assert options_from_args(everything) == LcmOptions(True, 0.9, 6, 1.5, "my_lora", "webui", "tcd", 0.0)
    assert options_from_args([True, 0.5]) == LcmOptions(True, weight=0.5)


def test_one_object_stands_for_all_arguments():
    given_object = {"enabled": True, "weight": 0.9, "steps": 4, "cfg": 1.5}
    assert options_from_args([given_object]) == LcmOptions(True, 0.9, 4, 1.5)
    # the page's own defaults may follow it: the WebUI fills up missing trailing arguments
    assert options_from_args([given_object, 1.0, 4, 1.0, "Auto", "Trailing"]) == LcmOptions(True, 0.9, 4, 1.5)


def test_keywords_are_read_in_any_case_and_names_are_kept():
    options = options_from_args([{"enabled": True, "lora": "AUTO", "schedule": "Trailing", "sampler": "Tcd"}])
    assert (options.lora, options.schedule, options.sampler) == ("auto", "trailing", "tcd")
    assert options_from_args([{"enabled": True, "lora": "My_LoRA"}]).lora == "My_LoRA"


def test_other_values_are_not_looked_at_while_lcm_is_off():
    assert options_from_args([False, "nonsense", -3]) == LcmOptions()


@pytest.mark.parametrize(
    "args,parts",
    [
        ([{"enabled": True, "wieght": 1}], ["'wieght'", "enabled, weight, steps"]),
        (["yes"], ["'enabled'", "'yes'", "true or false"]),
        ([1], ["'enabled'", "1", "true or false"]),
        ([True, 1.6], ["'weight'", "1.6", "0 to 1.5"]),
        ([True, float("nan")], ["'weight'", "nan"]),
        ([True, float("inf")], ["'weight'", "inf"]),
        ([True, 10**400], ["'weight'"]),
        ([True, True], ["'weight'", "True"]),
        ([True, "1"], ["'weight'", "'1'"]),
        ([True, 1, 17], ["'steps'", "17", "1 to 8"]),
        ([True, 1, 0], ["'steps'", "0"]),
        ([True, 1, 4.5], ["'steps'", "4.5", "whole number"]),
        ([True, 1, float("nan")], ["'steps'", "nan"]),
        ([True, 1, 4, 15.5], ["'cfg'", "15.5", "1 to 2"]),
        ([True, 1, 4, [1]], ["'cfg'", "[1]"]),
        ([True, 1, 4, 1, 7], ["'lora'", "7"]),
        ([True, 1, 4, 1, " "], ["'lora'"]),
        ([True, 1, 4, 1, "auto", "karras"], ["'schedule'", "'karras'", '"trailing", "finer" or "webui"']),
        (
            [{"enabled": True, "sampler": "Euler a"}],
            ["'sampler'", "'Euler a'", '"auto", "lcm", "tcd", "euler" or "ddim"'],
        ),
        ([{"enabled": True, "gamma": 1.1}], ["'gamma'", "1.1", "0 to 1"]),
        ([{"enabled": True, "gamma": -0.1}], ["'gamma'", "-0.1"]),
        ([{"enabled": True, "gamma": float("nan")}], ["'gamma'", "nan"]),
    ],
)
def test_a_bad_value_is_refused_with_its_field_its_value_and_what_is_allowed(args, parts):
    with pytest.raises(OptionsError) as error:
        options_from_args(args)
    for part in parts:
        assert part in str(error.value)
    assert str(error.value).endswith(".") and len(str(error.value)) < 250


def test_what_is_not_given_is_filled_up_from_the_defaults_and_what_is_given_stays():
    defaults = {"weight": 0.8, "schedule": "webui", "steps": 6, "cfg": 2.0}
    filled = options_from_args([{"enabled": True}]).filled(defaults)
    assert (filled.weight, filled.schedule, filled.steps, filled.cfg) == (0.8, "webui", None, None)
    given = options_from_args([{"enabled": True, "weight": 0, "schedule": "Trailing"}])
    assert (given.filled(defaults).weight, given.filled(defaults).schedule) == (0, "trailing")


def test_bounds_are_settings():
    def limits(method):
        return Limits(max_steps=12, max_cfg=3.0)

    assert options_from_args([True, 1, 12, 3.0], limits).steps == 12
    with pytest.raises(OptionsError, match="1 to 12"):
        options_from_args([True, 1, 13], limits)
    # without settings, what some method or other works with
    assert options_from_args([True, 1, 16, 9.0]).steps == 16


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(json_values, max_size=10))
def test_whatever_comes_is_options_or_one_sentence(args):
    try:
        options = options_from_args(args)
    except OptionsError as error:
        assert "LCM option" in str(error)
    else:
        json.dumps(vars(options))
        assert options.weight is None or 0 <= options.weight <= 1.5
        assert options.gamma is None or 0 <= options.gamma <= 1
        assert options.steps is None or 1 <= options.steps <= 16
