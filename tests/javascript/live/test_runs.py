"""How runs go: one at a time, the latest input wins, and the next one comes however the last one ends."""

import itertools
from pathlib import Path

import pytest

from tests.browser import needs_chromium, wait_until

pytestmark = needs_chromium

PICTURE = Path(__file__).parents[3] / "docs" / "page.png"

TYPE_ON = """setInterval(() => {
    const field = document.querySelector('#txt2img_prompt textarea');
    field.value += 'x';
    updateInput(field);
}, 200)"""


def begin(live, prompt: str) -> None:
    """A run of this prompt is being drawn."""
    live.type(prompt)
    live.pass_time(live.PAUSE)
    assert live.drawn()[-1:] == [prompt]


def test_one_run_at_a_time_and_the_latest_input_wins(live):
    begin(live, "x")
    for text in ("y", "z"):
        live.type(text)
        live.pass_time(500)
    assert live.drawn() == ["x"] and live.stops() == []
    live.finish()
    live.pass_time(1)
    assert live.drawn() == ["x", "z"] and live.shown[0].endswith("-2.png")
    live.finish()
    live.pass_time(2000)
    assert live.drawn() == ["x", "z"] and live.shown[0].endswith("-3.png")


def test_a_run_that_keeps_newer_input_waiting_too_long_is_interrupted(live):
    begin(live, "x")
    live.pass_time(10_000)  # nothing waits for it
    live.type("y")
    live.pass_time(live.PAUSE + 3900)
    assert live.stops() == []
    live.pass_time(200)
    assert live.stops() == [(2, True, None)]
    live.pass_time(5000)
    assert len(live.stops()) == 1
    live.finish()
    live.pass_time(2000)
    assert live.drawn() == ["x", "y"] and "No picture" not in live.line


def test_a_run_that_was_interrupted_for_nothing_has_not_failed(live):
    begin(live, "x")
    live.type("y")
    live.pass_time(5000)
    assert live.stops() == [(2, True, None)]
    live.type("x")
    live.finish()
    live.pass_time(2100)
    assert live.drawn() == ["x"] and live.line.startswith("Live: not saved")


@pytest.mark.parametrize("patience, seconds", [(1, 1), (None, 4)])
def test_the_patience_is_the_settings(live, patience, seconds):
    live.set_options(lcm_live_patience=patience)
    begin(live, "x")
    live.type("y")
    live.pass_time(live.PAUSE + 1000 * seconds - 100)
    assert live.stops() == []
    live.pass_time(200)
    assert live.stops() == [(2, True, None)]


def test_patience_begins_anew_where_nothing_waits_any_more(live):
    begin(live, "x")
    live.type("y")
    live.pass_time(2000)
    live.type("x")
    live.pass_time(2000)
    live.type("y")
    live.pass_time(2000)
    assert live.stops() == []
    live.finish()
    live.pass_time(1)
    live.type("z")
    live.pass_time(2000)
    assert live.drawn() == ["x", "y"] and live.stops() == []


def test_patience_goes_on_while_more_is_typed(live):
    begin(live, "x")
    live.type("y")
    live.pass_time(live.PAUSE)
    live.js(TYPE_ON)
    live.pass_time(3500)
    assert live.stops() == []
    live.pass_time(700)
    assert live.stops() == [(2, True, None)]


def test_a_run_is_not_interrupted_for_what_is_still_being_typed(live):
    begin(live, "x")
    live.js(TYPE_ON)
    live.pass_time(10_000)
    assert live.stops() == [] and live.drawn() == ["x"]


def test_a_failing_run_is_reported_and_not_repeated(live):
    begin(live, "x")
    live.fail()
    live.pass_time(1500)
    assert live.line.startswith("Live is drawing.")  # its picture may be on its way
    live.pass_time(600)
    assert live.line.startswith("No picture came; see below the gallery. · seed") and live.is_announced
    live.pass_time(5000)
    assert live.drawn() == ["x"] and live.stops() == []
    begin(live, "y")
    live.finish()
    assert live.line.startswith("Live: not saved") and not live.is_announced


def test_the_picture_of_a_run_that_is_over_is_waited_for(live):
    begin(live, "x")
    requests = []
    live.page.route("**/slow", lambda route: requests.append(route))
    live.js("webui.server.end('http://webui.test/slow')")
    wait_until(live.page, lambda: requests)
    live.pass_time(1000)
    assert live.line.startswith("Live is drawing.")
    requests[0].fulfill(path=PICTURE)
    live.js("webui.server.arrival")
    live.page.unroute("**/slow")
    assert live.line.startswith("Live: not saved; Generate keeps it · seed") and live.line.endswith(
        " · 1.0 s"
    )


@pytest.mark.parametrize("gradio", [3, 4])
def test_a_run_that_waits_for_another_pages_job_is_in_the_queue(live):
    live.server(isBusy=True)
    live.type("x")
    live.pass_time(1000)
    assert live.drawn() == [] and live.line.startswith("Live is in the queue. · seed")
    live.pass_time(60_000)
    assert live.line.startswith("Live is in the queue.")
    live.server(isBusy=False)
    live.pass_time(400)
    assert live.drawn() == ["x"] and live.line.startswith("Live is drawing.")
    live.finish()
    assert live.shown[0].endswith("-2.png") and live.stops() == []


@pytest.mark.parametrize("gradio", [3, 4])
def test_impatience_reaches_no_other_job(live):
    live.set_options(lcm_live_patience=0)
    live.server(isBusy=True)
    live.type("x")
    live.pass_time(1000)
    live.type("y")
    live.pass_time(1000)
    assert live.stops() == [(2, True, None)]
    live.server(isBusy=False)
    live.pass_time(2500)
    assert live.drawn() == ["y"] and "No picture" not in live.line


def test_a_run_that_gradio_refuses_is_reported_and_the_next_one_comes(live):
    live.gradio_refuses(True)
    live.type("x")
    live.pass_time(11_000)
    assert live.line.startswith("Live is in the queue.")
    live.pass_time(1500)
    assert live.line.startswith("No picture came") and live.drawn() == []
    assert live.stops() == [(2, False, None)], "it might come after all"
    live.gradio_refuses(False)
    begin(live, "y")


@pytest.mark.parametrize("gradio", [4])
def test_a_run_that_is_interrupted_while_gradio_holds_it_back_is_over(live):
    live.server(isBusy=True)
    live.type("x")
    live.pass_time(1000)
    live.type("y")
    live.pass_time(live.PAUSE + 4000 + 2000)
    assert live.stops() == [(2, True, None), (2, False, None)]
    assert [job["number"] for job in live.jobs()] == [2, 3] and "No picture" not in live.line


@pytest.mark.parametrize("state", ["isDown", "isBroken"])
def test_a_server_that_does_not_answer_is_reported_and_the_next_run_comes(live, state):
    begin(live, "x")
    live.server(**{state: True})
    live.pass_time(2100)
    assert live.line.startswith("No picture came")
    live.server(**{state: False})
    live.lose_runs()
    live.forget()
    begin(live, "y")


def test_a_server_that_does_not_answer_for_a_moment_is_waited_for(live):
    begin(live, "x")
    for is_down in (True, False, True, False):
        live.server(isDown=is_down)
        live.pass_time(1000)
    assert live.line.startswith("Live is drawing.")
    live.finish()
    assert live.line.startswith("Live: not saved")


def test_a_run_that_the_server_has_forgotten_is_over(live):
    begin(live, "x")
    live.pass_time(1000)
    live.lose_runs()
    live.pass_time(2100)
    assert live.line.startswith("No picture came") and live.stops() == []


def test_the_server_is_asked_when_it_can_know_of_the_run(live):
    live.delay_next_press(3000)
    live.type("x")
    live.pass_time(3000 + live.PAUSE)
    assert live.drawn() == ["x"]
    live.js("() => { webui.server.questions = []; }")
    live.pass_time(250)
    assert live.js("webui.server.questions") == []
    live.pass_time(200)
    assert len(live.js("webui.server.questions")) == 1


def test_the_server_is_asked_every_300_ms_and_one_question_at_a_time(live):
    begin(live, "x")
    live.pass_time(3000)
    live.server(answersAfter=2000)
    live.pass_time(10_000)
    questions = live.js("webui.server.questions")
    assert not any(question["preview"] for question in questions), "it costs time, and nobody sees it"
    times = [question["time"] for question in questions]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert min(pauses) >= 300 and 8 <= sum(pause <= 400 for pause in pauses) <= 10
    assert sum(pause >= 2300 for pause in pauses) == len(pauses) - sum(pause <= 400 for pause in pauses) >= 3
