"""The seconds of a page's last run: each page's own, by what the WebUI told it of that run."""

import json

import pytest

from lib_lcm.run_times import MOST, RunTimes


def told(job_timestamp, seed) -> str:
    return json.dumps([job_timestamp, seed])


def test_each_page_gets_those_of_its_own_run():
    times = RunTimes()
    times.note("20261126120000", 1, 0.5)
    times.note("20261126120001", 1, 2.5)
    assert (times.of(told("20261126120000", 1)), times.of(told("20261126120001", 1))) == (0.5, 2.5)
    assert times.of(told("20261126120000", 2)) is None and times.of(told("20261126120002", 1)) is None


def test_of_one_job_and_seed_the_last_generation_counts():
    times = RunTimes()
    times.note("a", 1, 0.5)
    times.note("a", 1, 0.7)
    assert times.of(told("a", 1)) == 0.7
    times.forget("a", 1)
    times.forget("a", 1)
    assert times.of(told("a", 1)) is None


def test_the_oldest_are_forgotten():
    times = RunTimes()
    for number in range(MOST):
        times.note("a", number, float(number))
    times.note("a", 0, 0.5)
    times.note("b", 0, 0.6)
    assert times.of(told("a", 1)) is None
    assert (times.of(told("a", 0)), times.of(told("a", 2)), times.of(told("b", 0))) == (0.5, 2.0, 0.6)


@pytest.mark.parametrize(
    "text", [None, "", "no JSON", "[]", "[1]", "[1, 2, 3]", "7", "null", "{}", '[["a"], 1]', '["a", {}]', "[1e999, 1]"]
)
def test_any_other_text_tells_of_no_run(text):
    times = RunTimes()
    times.note("a", 1, 0.5)
    assert times.of(text) is None
