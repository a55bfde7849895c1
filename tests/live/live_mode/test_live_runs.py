"""Live's runs among each other and among other jobs: one at a time, the latest input wins, nothing of anybody else's is touched."""

import pytest

from tests.browser import needs_chromium, open_page
from tests.live.live_mode.live_page import DEBOUNCE, LivePage
from tests.prompts import OTHER, THIRD

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10")]


def test_generate_pressed_during_a_run_is_done_after_it(live):
    live.webui.disturb_next(at_call=1, do="hold")
    live.prompt.fill(OTHER)
    live.wait_until(lambda: live.events("held"), "the run")
    live.page.click("#txt2img_generate")
    live.settle()
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_until(lambda: live.saved() != [], "saving")
    live.settle()
    assert live.drawn() == [OTHER, OTHER] and len(live.saved()) == 1


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_a_press_that_is_dealt_with_too_late_draws_and_saves_nothing(live):
    live.delay_next_press(7000)
    live.prompt.fill(OTHER)
    live.wait_for_line("Generate did not answer")
    live.wait_until(lambda: live.events("postprocess"), "the late run")
    live.settle()
    assert live.saved() == [] and live.webui.calls() == []
    live.prompt.fill(THIRD)
    live.wait_for_picture(3)


def test_generate_is_the_users_also_where_a_live_press_got_lost(live):
    live.delay_next_press(None)
    live.prompt.fill(OTHER)
    live.wait_for_line("Generate did not answer")
    live.page.click("#txt2img_generate")
    live.wait_until(lambda: live.saved() != [], "saving")
    live.settle()
    assert live.drawn() == [OTHER] and len(live.saved()) == 1


def test_one_run_at_a_time_and_the_latest_input_wins(live):
    live.webui.disturb_next(at_call=1, do="hold")
    live.prompt.fill(OTHER)
    live.wait_until(lambda: live.events("held"), "the run")
    for text in ("first", "second", THIRD):
        live.prompt.fill(text)
        live.page.wait_for_timeout(1000 * DEBOUNCE + 200)
    assert live.drawn() == [OTHER] and live.shown() == 1
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_for_picture(3)
    live.settle()
    assert live.drawn() == [OTHER, THIRD]


def test_a_run_in_progress_is_finished_and_shown(live):
    live.webui.disturb_next(at_call=3, do="hold")
    live.prompt.fill(OTHER)
    live.wait_until(lambda: live.events("held"), "the run")
    live.prompt.fill(THIRD)
    live.page.wait_for_timeout(1000 * DEBOUNCE + 300)
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_for_picture(2)
    live.wait_for_picture(3)
    assert len(live.webui.calls()) == 8  # both to their end


def test_a_run_that_keeps_newer_input_waiting_too_long_is_interrupted(live):
    with live.webui.settings(lcm_live_patience=1):
        live.page.evaluate("opts.lcm_live_patience = 1")
        live.webui.disturb_next(at_call=2, do="hold")
        live.prompt.fill(OTHER)
        live.wait_until(lambda: live.events("held"), "the run")
        live.prompt.fill(THIRD)
        live.page.wait_for_timeout(1000 * DEBOUNCE + 2500)
        live.webui.client.post("/lcm-test-probe/release")
        live.wait_for_picture(3)
    assert live.drawn() == [OTHER, THIRD]
    assert [call["timesteps"] for call in live.webui.calls()] == [[999], [759], [999], [759], [499], [259]]
    assert live.shown() == 3


def test_nothing_is_left_behind_when_live_is_switched_off(live):
    live.webui.disturb_next(at_call=1, do="hold")
    live.prompt.fill(OTHER)
    live.wait_until(lambda: live.events("held"), "the run")
    live.prompt.fill(THIRD)
    live.tick.uncheck()
    live.page.wait_for_timeout(500)
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_for_picture(2)  # it had begun
    live.settle()
    assert live.drawn() == [OTHER] and live.line == ""
    progress = live.webui.client.get("/sdapi/v1/progress")
    assert progress["state"]["job_count"] == 0 and progress["state"]["interrupted"] is False


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_a_run_that_waits_for_another_job_is_taken_back_when_live_is_switched_off(live, browser):
    """The other job is one of another page, and comes to its end undisturbed."""
    other = LivePage(open_page(browser, live.webui.client.url), live.webui)
    live.webui.disturb_next(at_call=1, do="hold")
    other.prompt.fill(OTHER)
    other.page.click("#txt2img_generate")
    live.wait_until(lambda: live.events("held"), "the other job")
    live.prompt.fill(THIRD)
    live.wait_for_line("queue")
    live.tick.uncheck()
    live.page.wait_for_timeout(500)
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_until(lambda: len(live.events("postprocess")) == 2, "the end of both")
    live.settle()
    other.page.close()
    assert len(live.saved()) == 1  # the other job's
    assert len(live.webui.calls()) == 4  # those of the other job, to its end
    assert live.shown() == 1  # the picture before


def test_a_run_that_the_webui_has_not_heard_of_is_waited_for(live):
    """As on Forge, whose gradio holds back a press while another page's job is running."""
    unknown = {"active": False, "queued": False, "completed": False, "textinfo": "Waiting..."}
    live.page.route("**/internal/progress", lambda route: route.fulfill(json=unknown))
    live.webui.disturb_next(at_call=1, do="hold")
    live.prompt.fill(OTHER)
    live.wait_for_line("Live is in the queue.")
    live.page.wait_for_timeout(4_000)
    assert "Live is in the queue." in live.line
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_for_picture(2)
    live.settle()
    assert live.drawn() == [OTHER]


def test_impatience_reaches_no_other_job(live, browser):
    other = LivePage(open_page(browser, live.webui.client.url), live.webui)
    live.page.evaluate("opts.lcm_live_patience = 0")
    live.webui.disturb_next(at_call=1, do="hold")
    other.prompt.fill(OTHER)
    other.page.click("#txt2img_generate")
    live.wait_until(lambda: live.events("held"), "the other job")
    live.prompt.fill("withdrawn")
    live.wait_for_line("queue")
    live.prompt.fill(THIRD)
    live.page.wait_for_timeout(1000 * DEBOUNCE + 1000)
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_for_picture(3)
    assert [call["timesteps"] for call in live.webui.calls()] == 2 * [[999], [759], [499], [259]]
    other.page.close()


def test_two_pages_draw_by_turns(live, browser):
    other = LivePage(open_page(browser, live.webui.client.url), live.webui)
    other.prompt.fill(OTHER)
    other.tick.check()
    live.prompt.fill(THIRD)
    live.wait_for_picture(2)
    other.wait_for_picture(1)
    assert set(live.drawn()) == {OTHER, THIRD}
    other.page.close()
