"""What is left when Live is switched off or its page goes away: nothing to wait for, no files to remove."""

import pytest

from tests.browser import needs_chromium

pytestmark = needs_chromium

GO_AWAY = "persisted => { dispatchEvent(new PageTransitionEvent('pagehide', { persisted })); }"


def test_a_run_that_is_being_drawn_when_live_is_switched_off_is_shown(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    live.type("y")
    live.tick()
    live.pass_time(1000)
    assert live.stops() == [(2, False, 1)] and live.line == ""
    live.finish()
    live.pass_time(5000)
    assert live.drawn() == ["x"] and live.shown[0].endswith("-2.png") and live.line == ""


@pytest.mark.parametrize("gradio", [3, 4])
def test_a_run_in_the_queue_is_taken_back_when_live_is_switched_off(live):
    live.server(isBusy=True)
    live.type("x")
    live.pass_time(1000)
    live.tick()
    live.pass_time(1)
    assert live.stops() == [(2, False, 1)]
    live.server(isBusy=False)
    live.pass_time(5000)
    assert live.drawn() == [] and live.saved() == [] and live.shown[0].endswith("-1.png")


def test_patience_begins_anew_when_live_is_switched_on_again(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    live.type("y")
    live.pass_time(1000)
    live.tick()
    live.pass_time(10_000)
    live.tick()
    live.pass_time(live.PAUSE + 3500)
    assert live.stops() == [(2, False, 1)] and live.line.startswith("Live is drawing.")
    live.pass_time(1000)
    assert live.stops()[1:] == [(2, True, None)]


@pytest.mark.parametrize("may_come_back, kept", [(False, 0), (True, 1)])
def test_a_page_that_goes_away_says_which_files_it_still_needs(live, may_come_back, kept):
    live.js(GO_AWAY, may_come_back)
    assert live.stops() == [(1, False, kept)]
    assert live.js("webui.server.stops[0].outlivesPage"), "the browser may drop it"


def test_a_page_without_live_pictures_goes_away_without_a_word(page):
    page.js(GO_AWAY, False)
    assert page.stops() == []
