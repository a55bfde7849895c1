"""What Live waits for before it draws, and the line that says so."""

import pytest

from tests.browser import needs_chromium

pytestmark = needs_chromium

LINE = ".lcm-live-status"
SCRIPTS = "#tab_txt2img #script_list input"
LCM = "#script_txt2img_lcm_enabled-checkbox input"


def test_live_waits_for_lcm(live):
    live.click(LCM)
    live.type("x")
    live.pass_time(2000)
    assert live.drawn() == [] and live.line == "Live waits: tick LCM." and live.is_announced
    live.click(LCM)
    live.pass_time(live.PAUSE)
    assert live.drawn() == ["x"] and not live.is_announced


def test_live_waits_while_a_script_is_chosen(live):
    live.choose(SCRIPTS, "X/Y/Z plot")
    live.type("x")
    live.pass_time(2000)
    assert live.drawn() == [] and live.line == "Live waits: a script is chosen." and live.is_announced
    live.choose(SCRIPTS, "None")
    live.pass_time(live.PAUSE)
    assert live.drawn() == ["x"]


def test_live_waits_while_a_generation_would_be_refused(live):
    line = '<div id="script_txt2img_lcm_status"><div class="lcm-status lcm-refusal">No LoRA</div></div>'
    live.js("line => document.body.insertAdjacentHTML('beforeend', line)", line)
    live.type("x")
    live.pass_time(2000)
    assert live.drawn() == [] and live.is_announced
    assert live.line == "Live waits: nothing can be drawn."
    live.js("() => document.querySelector('.lcm-refusal').classList.remove('lcm-refusal')")
    live.pass_time(2 * live.PAUSE)  # no event says it
    assert live.drawn() == ["x"]


@pytest.mark.parametrize("nothing", ["None", ""])
def test_a_list_of_scripts_that_is_looked_into_is_not_waited_for(live, nothing):
    live.change_by_itself(SCRIPTS, nothing)
    live.click(SCRIPTS)
    live.pass_time(1000)
    assert live.drawn() == [] and live.line.startswith("Live: not saved")


def test_a_script_of_the_other_tab_is_not_waited_for(live):
    live.change_by_itself("#tab_img2img #script_list input", "Loopback")
    live.type("x")
    live.pass_time(live.PAUSE)
    assert live.drawn() == ["x"]


FUNCTIONS = ("submit", "submit_img2img", "randomId", "requestProgress", "showSubmitButtons", "updateInput")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_live_says_that_it_does_not_work_where_the_page_lacks_a_function(open_page, name):
    page = open_page(f"lacks={name}")
    page.tick()
    page.pass_time(1000)
    assert page.line == "Live does not work in this WebUI: its page lacks functions that Live needs."
    assert page.jobs() == [] and page.is_announced
    assert page.js("submit?.name ?? 'submit'") == "submit", "it was replaced"


def test_without_lcm_on_the_page_its_functions_stay_as_they_are(open_page):
    page = open_page("without_lcm")
    page.pass_time(1000)
    assert page.js("some => some.map((name) => window[name].name)", FUNCTIONS) == list(FUNCTIONS)
    page.press_generate()
    assert page.saved() == ["a star"]


def test_the_line_is_left_alone_while_it_says_the_same(live):
    """Else the text that somebody has selected there would lose its selection ten times a second."""
    live.element(LINE, "line => { line.firstChild.isFirst = true; }")
    live.pass_time(2000)
    assert live.element(LINE, "line => line.firstChild.isFirst")


def test_each_text_of_the_line_is_on_its_own(live):
    """So that the WebUI's localization finds it."""
    texts = live.element(LINE, "line => Array.from(line.children, (part) => part.textContent)")
    assert (
        texts == ["Live: not saved; Generate keeps it", "seed", live.seed, "0.0 s"]
        and live.line == f"Live: not saved; Generate keeps it · seed {live.seed} · 0.0 s"
    )


def test_the_progress_of_each_picture_is_not_announced(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    assert live.line.startswith("Live is drawing.") and not live.is_announced
    live.finish()
    assert live.line.startswith("Live: not saved") and not live.is_announced


def test_a_line_says_nothing_of_the_time_before_live_was_ticked(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    live.fail()
    live.pass_time(2100)
    assert live.line.startswith("No picture came") and live.line.endswith(" s")
    live.tick()
    live.pass_time(1)
    assert live.line == ""
    live.tick()
    live.pass_time(1)
    assert live.line == f"Live: not saved; Generate keeps it · seed {live.seed}"


def test_a_tab_without_live_is_left_alone(open_page):
    page = open_page()
    page.element("#script_img2img_lcm_enabled", "accordion => accordion.remove()")
    page.tick()
    page.draw()
    page.open_tab("img2img").press_generate()
    assert page.drawn() == page.saved() == ["a star"]


@pytest.mark.parametrize("part", [LINE, "#txt2img_seed", "#txt2img_styles", "#quicksettings", "#script_list"])
def test_a_page_that_lacks_a_part_draws_as_well(page, part):
    page.element(part, "part => part.remove()")
    page.tick()
    page.pass_time(page.PAUSE)
    assert page.drawn() == ["a star"]
