import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from lib_lcm.api.schema import args_schema
from lib_lcm.options import DEFAULT_LIMITS, OPTIONS, Limits, OptionsError, options_from_args

NAMES = [option.name for option in OPTIONS]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.floats(-1, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["auto", "none", "trailing", "webui", "Trailing", "WebUI", "lcm", "TCD", "my lora", " ", ""]
    ),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2))


def is_accepted(args, limits=DEFAULT_LIMITS) -> bool:
    try:
        options_from_args(args, limits)
    except OptionsError:
        return False
    return True


@pytest.mark.parametrize("limits", [DEFAULT_LIMITS, Limits(2, 12, 1.0, 3.5)])
def test_it_is_a_valid_schema(limits):
    Draft202012Validator.check_schema(args_schema(limits, ["a"]))


@given(values=st.dictionaries(st.sampled_from([*NAMES, "other"]), VALUES))
def test_it_allows_exactly_the_objects_that_are_accepted(values):
    args = [{**values, "enabled": True}]
    assert Draft202012Validator(args_schema(DEFAULT_LIMITS)).is_valid(args) == is_accepted(args)


@given(values=st.lists(VALUES, max_size=len(NAMES) - 1))
def test_it_allows_exactly_the_positional_arguments_that_are_accepted(values):
    args = [True, *values]
    assert Draft202012Validator(args_schema(DEFAULT_LIMITS)).is_valid(args) == is_accepted(args)


@given(steps=st.integers(-1, 15), cfg=st.floats(0, 5))
def test_it_follows_the_limits(steps, cfg):
    limits = Limits(2, 12, 1.5, 3.5)
    args = [{"enabled": True, "steps": steps, "cfg": cfg}]
    assert Draft202012Validator(args_schema(limits)).is_valid(args) == is_accepted(args, limits)


@pytest.mark.parametrize("args", [[], [False], [{}], [None]])
def test_it_allows_what_means_off(args):
    assert Draft202012Validator(args_schema(DEFAULT_LIMITS)).is_valid(args)
