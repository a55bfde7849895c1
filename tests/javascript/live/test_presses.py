"""Presses of Generate: of Live's own only the picture is seen, and everybody else's stay what they are."""

import pytest

from tests.browser import needs_chromium

pytestmark = needs_chromium

LOST = "Generate did not answer."


def finish_ordinary(live) -> None:
    """Until the ordinary picture is over for the page too, which looks twice a second."""
    live.finish()
    live.pass_time(600)


def test_generate_makes_the_same_picture_and_saves_it(live):
    live.press_generate()
    assert live.saved() == ["a star"] and [job["seed"] for job in live.jobs()] == [live.seed]
    live.pass_time(100)
    assert live.line.startswith("Live waits for another picture to finish. · seed") and not live.is_announced
    finish_ordinary(live)
    live.pass_time(2000)
    assert live.drawn() == [] and live.shown == ["00001.png"] and live.line.startswith("Live: not saved")


def test_a_press_that_gradio_does_not_listen_to_is_not_done_some_time_later(live):
    live.press_generate()
    live.press_generate()
    finish_ordinary(live)
    live.type("x")
    live.draw()
    live.pass_time(1000)
    assert live.saved() == ["a star"] and live.drawn() == ["x"]


def test_what_generate_has_drawn_is_not_drawn_again(live):
    live.type("x")
    live.press_generate()
    finish_ordinary(live)
    live.pass_time(2000)
    assert live.saved() == ["x"] and live.drawn() == []


def test_nothing_starts_while_another_picture_is_drawn(live):
    live.press_generate()
    live.type("x")
    live.pass_time(2000)
    assert live.drawn() == []
    finish_ordinary(live)
    assert live.drawn() == ["x"]


def test_a_task_that_ends_twice_is_counted_once(live):
    """The WebUI's function calls again what has thrown an error."""
    script = """(gallery) => {
        let isFirst = true;
        const atEnd = () => { if (isFirst) { isFirst = false; throw new Error("the first time"); } };
        requestProgress("task(other)", gallery.parentElement, gallery, atEnd, null, 1);
    }"""
    live.element("#txt2img_gallery", script)
    live.type("x")
    live.pass_time(1000)
    assert live.drawn() == []
    live.pass_time(1000)
    assert live.drawn() == ["x"]


def progress(live) -> list:
    """The number of progress bars, and how the buttons are shown that stand in the place of Generate."""
    return live.js("""() => {
        const buttons = ["interrupt", "skip"].map((name) => document.querySelector(`#txt2img_${name}`));
        const bars = document.querySelectorAll(".progressDiv");
        return [bars.length, ...buttons.map(({ style }) => style.display)];
    }""")


def test_of_a_live_run_nothing_is_to_be_seen_but_its_picture(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    assert progress(live) == [0, "none", "none"]
    live.finish()
    assert live.js("localStorage.length") == 0, "the WebUI would offer to go on with it"
    live.press_generate()
    assert progress(live) == [1, "block", "block"]
    finish_ordinary(live)
    assert progress(live) == [0, "none", "none"] and live.js("localStorage.length") == 0


def test_a_live_press_that_the_webui_fails_at_leaves_generate_as_it_was(live):
    live.js("() => { window.kept = localSet; window.localSet = () => { throw new Error('full'); }; }")
    live.type("x")
    live.pass_time(live.PAUSE)
    live.js("() => { window.localSet = kept; }")
    live.press_generate()
    assert live.saved() == ["x"]


@pytest.mark.parametrize("gradio", [3, 4])
def test_generate_pressed_during_a_run_is_done_after_it_once(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    live.press_generate()
    live.pass_time(1000)
    assert live.drawn() == ["x"]
    live.finish()
    live.pass_time(1000)
    assert live.saved() == ["x"]
    finish_ordinary(live)
    live.type("y")
    live.draw()
    live.pass_time(2000)
    assert live.drawn() == ["x", "y"] and live.saved() == ["x"]


def test_a_press_during_a_run_that_fails_is_done_after_it(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    live.press_generate()
    live.fail()
    live.pass_time(2100)
    assert live.saved() == ["x"]


def test_a_press_during_a_run_that_gradio_loses_is_not_done_some_time_later(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    live.press_generate()
    live.delay_next_press(None)
    live.finish()
    live.type("y")
    live.draw()
    live.pass_time(1000)
    assert live.drawn() == ["x", "y"] and live.saved() == []


def test_shift_and_enter_during_a_run_make_one_picture(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    live.page.keyboard.press("Shift+Enter")
    live.finish()
    live.pass_time(100)
    finish_ordinary(live)
    live.pass_time(2000)
    assert live.drawn() == ["x"] and live.saved() == ["x"]


@pytest.mark.parametrize("gradio", [3, 4])
def test_a_press_that_is_dealt_with_too_late_draws_and_saves_nothing(live):
    live.delay_next_press(7000)
    live.type("x")
    live.pass_time(5200)
    assert live.line.startswith("Live is drawing.")
    live.pass_time(300)
    assert live.line.startswith(LOST) and live.is_announced and live.stops() == [(2, False, None)]
    live.pass_time(2000)
    assert [job["number"] for job in live.jobs()] == [2] and live.drawn() == [] and live.saved() == []
    assert live.js("localStorage.length") == 0
    live.type("y")
    live.draw()
    assert live.drawn() == ["y"] and live.shown[0].endswith("-3.png")


def test_a_press_that_waits_because_the_page_stood_still_is_drawn(live):
    live.delay_next_press(9000)
    live.type("x")
    live.pass_time(live.PAUSE)
    live.page.clock.fast_forward(10_000)
    assert live.drawn() == ["x"] and live.stops() == []


DEEDS = {
    "another extension's click": lambda live: live.element("#elsewhere", "button => button.click()"),
    "key": lambda live: live.page.keyboard.press("Shift"),
    "click some time before": lambda live: (live.press_elsewhere(), live.pass_time(1)),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_a_live_press_that_is_dealt_with_late_stays_live_whatever_else_is_done(live, deed):
    live.delay_next_press(None)
    live.type("x")
    live.pass_time(1000)
    deed(live)
    live.js("webui.gradio.call('txt2img')")
    assert live.drawn() == ["x"] and live.saved() == []


def test_a_live_press_right_after_a_click_of_the_users_stays_live(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    live.type("y")
    live.pass_time(1000)
    live.delay_next_press(0)
    live.press_elsewhere()
    live.finish()  # and the next run begins before any time has passed
    assert live.drawn() == ["x", "y"] and live.saved() == []


USERS_PRESSES = {
    "click": lambda live: live.press_generate(),
    "Shift+Enter": lambda live: live.page.keyboard.press("Shift+Enter"),
    "Ctrl+Enter": lambda live: live.page.keyboard.press("Control+Enter"),
    "another extension's click": lambda live: live.element("#txt2img_generate", "button => button.click()"),
    "another extension's button": lambda live: live.press_elsewhere(),
}


@pytest.mark.parametrize("press", USERS_PRESSES.values(), ids=USERS_PRESSES)
def test_generate_is_the_users_also_where_a_live_press_got_lost(live, press):
    live.element("#elsewhere", "button => { button.onclick = () => webui.gradio.press('txt2img'); }")
    live.delay_next_press(None)
    live.type("x")
    live.pass_time(6000)
    assert live.line.startswith(LOST)
    press(live)
    finish_ordinary(live)
    live.pass_time(2000)
    assert live.saved() == ["x"] and live.drawn() == []


def test_a_lost_press_is_forgotten_with_the_next_live_one(live):
    live.delay_next_press(None)
    live.type("x")
    live.pass_time(6000)
    live.type("y")
    live.draw()
    assert live.drawn() == ["y"]
    live.js("webui.gradio.call('txt2img')")  # as other extensions do, some time after a click
    assert live.saved() == ["y"]
