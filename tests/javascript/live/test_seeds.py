"""The seed of live pictures: a random one is drawn once and held, so that pictures can be compared."""

import pytest

from tests.browser import needs_chromium

pytestmark = needs_chromium


def test_a_random_seed_is_held_and_shown_and_given_back(page):
    page.tick()
    page.draw()
    held = page.seed
    assert int(held) >= 0 and f"seed {held}" in page.line
    page.type("x")
    page.draw()
    assert [job["seed"] for job in page.jobs()] == [held, held]
    page.tick()
    page.pass_time(1)
    assert page.seed == "-1"
    page.press_generate()
    assert page.jobs()[-1]["seed"] == "-1", "gradio does not know of it"


def test_the_dice_make_another_seed(live):
    held = live.seed
    live.click("#txt2img_random_seed")
    live.pass_time(live.PAUSE)
    assert live.seed not in ("-1", held) and [job["seed"] for job in live.jobs()] == [live.seed]


@pytest.mark.parametrize("chance, seed", [("0", "0"), ("1 - Number.EPSILON", "4294967293")])
def test_a_random_seed_is_one_of_those_that_the_webui_draws_from(page, chance, seed):
    page.js(f"() => {{ Math.random = () => {chance}; }}")
    page.tick()
    page.pass_time(1)
    assert page.seed == seed


def test_a_seed_of_the_users_own_is_used_and_stays(page):
    page.type("77", "seed")
    page.tick()
    page.draw()
    assert [job["seed"] for job in page.jobs()] == ["77"] and "seed" not in page.line
    page.tick()
    page.pass_time(1000)
    assert page.seed == "77"


@pytest.mark.parametrize("random", ["-1", "", " -1"])
def test_a_seed_that_is_being_typed_is_waited_for(live, random):
    live.element("#txt2img_seed input", "field => { field.type = 'text'; }")  # as other WebUIs have it
    live.type(random, "seed")
    live.pass_time(2000)
    assert live.drawn() == [] and live.seed == random
    live.press_elsewhere()
    live.pass_time(live.PAUSE)
    assert live.drawn() == ["a star"] and live.seed.isdigit()


def test_a_seed_that_is_typed_over_the_held_one_is_used_and_stays(live):
    live.type("42", "seed")
    live.draw()
    assert [job["seed"] for job in live.jobs()] == ["42"] and "seed" not in live.line
    live.tick()
    live.pass_time(1)
    assert live.seed == "42"


def test_a_seed_that_is_typed_while_live_waits_stays(live):
    live.click("#script_txt2img_lcm_enabled-checkbox input")
    live.type("42", "seed")
    live.pass_time(1000)
    live.tick()
    live.pass_time(1)
    assert live.seed == "42"


def test_a_held_seed_is_given_back_when_lcm_goes_off(live):
    assert live.seed.isdigit()
    live.click("#script_txt2img_lcm_enabled-checkbox input")
    live.pass_time(1000)
    assert live.seed == "-1" and live.line == "Live waits: tick LCM."


def test_the_seed_of_a_variation_is_held_where_there_is_one(live):
    held, field = live.seed, "#txt2img_subseed input"
    assert live.value(field) == "-1"
    live.click("#txt2img_subseed_show input")
    live.pass_time(live.PAUSE)
    assert live.value(field).isdigit() and live.seed == held and f"seed {held}" in live.line
    live.tick()
    live.pass_time(1)
    assert live.value(field) == live.seed == "-1"
