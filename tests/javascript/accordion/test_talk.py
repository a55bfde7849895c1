"""When the page asks its server what the accordion is to say, and when it is at rest."""

import json

import pytest

from tests.browser import needs_chromium

pytestmark = needs_chromium
SEEN_TWICE = 2_100
"""Milliseconds in which the page looks twice at what nothing reports."""


def test_both_tabs_are_asked_about_once_when_the_page_is_opened(opened):
    page = opened()
    page.pass_time(5_000)
    assert [asked["tab"] for asked in page.sent()] == ["txt2img", "img2img"]
    question = page.sent("txt2img")[0]
    assert question["question"] | {"token": ""} == {
        "token": "",
        "known": {"family": "sd15"},
        "problem": None,
        "is_scaled": False,
    }
    assert question["values"] == [False, 4, 20, "Euler", "Trailing"] and not page.is_settled
    page.answer_all()
    page.pass_time(60_000)
    assert page.sent() == [] and page.is_settled


def test_on_a_page_without_the_accordion_nothing_happens(opened):
    page = opened("without_lcm")
    page.pass_time(60_000)
    page.run("optionsChanged()")
    page.pass_time(5_000)
    assert page.sent() == [] and not page.is_settled


def test_of_several_changes_within_a_moment_the_last_one_asks(page):
    for is_typed in (False, False, True, False):
        page.changed(is_typed=is_typed)
        page.pass_time(30)
    assert page.sent() == [] and not page.is_settled
    page.pass_time(40)
    assert len(page.sent("txt2img")) == 1 and page.sent("img2img") == []


def test_what_is_typed_is_asked_about_when_the_typing_pauses(page):
    page.changed(is_typed=True)
    page.pass_time(390)
    assert page.sent() == []
    page.pass_time(30)
    assert len(page.sent()) == 1


def test_what_changes_during_a_question_is_asked_once_when_the_answer_has_come(page):
    page.changed()
    page.pass_time(100)
    for _ in range(3):
        page.changed()
        page.pass_time(100)
    assert len(page.sent()) == 1
    page.answer()
    page.pass_time(20)
    assert len(page.sent()) == 2 and not page.is_settled
    page.answer()
    page.pass_time(90)
    assert not page.is_settled
    page.pass_time(30)
    assert page.is_settled and len(page.sent()) == 2


def test_the_page_is_not_settled_while_the_other_tab_waits(page):
    page.changed("img2img")
    page.changed("txt2img")
    page.pass_time(100)
    page.answer("txt2img")
    page.pass_time(1_000)
    assert not page.is_settled
    page.answer("img2img")
    page.pass_time(200)
    assert page.is_settled


def test_a_press_that_gradio_loses_is_repeated_until_it_notices(page):
    page.run("gradio.notices = null")
    page.changed()
    page.pass_time(2_000)
    page.run("gradio.notices = 10")
    page.pass_time(520)
    assert len(page.sent()) == 1
    page.pass_time(5_000)
    assert len(page.sent()) == 1


def test_a_question_that_gradio_notices_late_counts_once(page):
    """The press was repeated meanwhile: what is sent again has no token, and the server makes nothing of
    it.
    """
    page.run("gradio.notices = 700")
    page.changed()
    page.pass_time(1_300)
    assert [asked["question"]["token"] is None for asked in page.sent()] == [False, True]
    assert page.sent()[1]["question"] == {"token": None}


def test_where_no_answer_comes_the_page_asks_again_what_has_changed_since(page):
    page.changed()
    page.pass_time(1_000)
    page.changed()
    page.pass_time(28_000)
    assert len(page.sent()) == 1 and not page.is_settled
    page.pass_time(2_000)
    assert len(page.sent()) == 2
    page.run("gradio.answer(0, {known: {family: 'sdxl'}})")  # after all: too late
    page.answer()
    page.changed()
    page.pass_time(100)
    assert page.sent()[-1]["question"]["known"] == {"family": "sd15"}


def test_what_the_server_wants_to_be_told_again_is_in_the_next_question(page):
    page.changed()
    page.pass_time(100)
    page.answer(known={"family": "sdxl", "entries": ["Auto"]})
    page.changed()
    page.pass_time(100)
    assert page.sent()[-1]["question"]["known"] == {"family": "sdxl", "entries": ["Auto"]}


# --- sliders and presets ------------------------------------------------------------------------------------

UNCHANGED = {"__type__": "update"}


def test_a_slider_follows_the_checkpoint_unless_it_was_moved_since_the_question(page):
    page.changed()
    page.pass_time(100)
    assert page.answer(moved=[6]) == [6]
    page.changed()
    page.pass_time(100)
    page.run("gradio.values.txt2img[1] = 3")
    assert page.answer(moved=[6]) == [UNCHANGED]
    page.changed()
    page.pass_time(100)
    assert page.answer(moved=[None]) == [UNCHANGED]


def test_a_preset_sets_the_sliders_when_it_is_picked_and_not_when_an_answer_shows_it(page):
    picked = (
        "label => lcmPage.picked('txt2img', {'Standard 4': 4, 'Final 8': 8}, label, gradio.exchange.txt2img)"
    )
    assert page.run(picked, "Standard 4") == UNCHANGED
    assert page.run(picked, "Final 8") == 8
    assert page.run(picked, None) == UNCHANGED


# --- the WebUI's own controls -------------------------------------------------------------------------------


def pasted(page, count: int = 2, is_lcm: bool = True, schedule=None, shown="Trailing") -> list:
    """What gradio gets for the schedule, which is `shown`, and for so many of the WebUI's own controls."""
    told = json.dumps({"is_lcm": is_lcm, "schedule": schedule, "note": schedule and "It is set."})
    return page.run(
        "([count, told, shown]) => lcmPage.pasted('txt2img', count, told, shown)", [count, told, shown]
    )


def test_a_pasted_picture_of_lcm_gives_back_what_the_controls_held_while_lcm_was_off(page):
    assert pasted(page) == [UNCHANGED, 20, "Euler"]  # of the fresh page
    page.run("lcmPage.held('txt2img', false, 27, 'DDIM')")
    page.run("lcmPage.held('txt2img', true, 4, 'LCM')")  # as pasting has set them
    assert pasted(page) == [UNCHANGED, 27, "DDIM"]
    page.run("lcmPage.held('img2img', false, 9, 'Heun')")
    assert pasted(page) == [UNCHANGED, 27, "DDIM"]
    assert pasted(page, is_lcm=False) == [UNCHANGED] * 3


def test_what_a_fresh_page_holds_is_the_users_also_where_lcm_is_on_from_the_start(opened):
    page = opened()
    page.run("gradio.values.txt2img = [true, 4, 33, 'DDIM', 'Trailing']")
    page.pass_time(100)
    page.run("gradio.values.txt2img = [true, 4, 4, 'LCM', 'Trailing']")
    page.answer_all()
    page.changed()
    page.pass_time(100)
    assert pasted(page) == [UNCHANGED, 33, "DDIM"]


def test_before_anything_is_known_a_pasted_picture_changes_nothing(opened):
    page = opened()
    assert pasted(page) == [UNCHANGED] * 3
    assert pasted(page, 1) == [UNCHANGED] * 2


def test_the_schedule_of_a_pasted_picture_of_the_webuis_own_lcm_goes_with_the_next(page):
    own = {"is_lcm": False, "schedule": "WebUI", "shown": "WebUI"}
    other = {"is_lcm": False}

    def told() -> str | None:
        page.changed()
        page.pass_time(100)
        problem = page.sent("txt2img")[-1]["question"]["problem"]
        page.answer()
        page.pass_time(200)
        return problem

    assert pasted(page, **own)[0] == UNCHANGED and told() == "It is set."
    page.run("gradio.values.txt2img[4] = 'WebUI'")
    assert told() is None
    assert pasted(page, **own)[0] == UNCHANGED  # another of them
    assert pasted(page, **other, shown="WebUI")[0] == "Trailing"
    assert pasted(page, **other, shown="WebUI")[0] == UNCHANGED  # it is the user's now
    pasted(page, **own)
    assert pasted(page, is_lcm=True, shown="WebUI")[0] == UNCHANGED  # of its own
    pasted(page, **own)
    assert pasted(page, **other, shown="Finer")[0] == UNCHANGED  # the user has chosen since


def test_what_there_is_to_say_of_a_pasted_picture_is_said_though_nothing_else_changes(page):
    pasted(page, is_lcm=False, schedule="WebUI")
    page.pass_time(100)
    assert page.sent()[-1]["question"]["problem"] == "It is set."


# --- what makes it ask --------------------------------------------------------------------------------------


def test_a_button_that_has_done_its_work_makes_it_ask_with_its_problem_until_all_is_answered(page):
    page.run("""lcmPage.done('txt2img', '{"at": 1, "problem": "No."}')""")
    page.pass_time(100)
    page.changed()  # whatever else comes with it must not take it away
    page.pass_time(100)
    page.answer()
    page.pass_time(100)
    page.answer()
    page.pass_time(200)
    page.changed()
    page.pass_time(100)
    assert [asked["question"]["problem"] for asked in page.sent()] == ["No.", "No.", None]


def test_a_problem_that_comes_during_a_question_is_in_the_next_one(page):
    page.changed()
    page.pass_time(100)
    page.run("""lcmPage.done('txt2img', '{"at": 1, "problem": "No."}')""")
    page.answer()
    page.pass_time(100)
    assert [asked["question"]["problem"] for asked in page.sent()] == [None, "No."]


def test_while_no_checkpoint_is_loaded_it_asks_now_and_then_and_less_and_less(page):
    page.changed()
    page.pass_time(100)
    for pause in (500, 1_500, 4_000, 8_000, 16_000, 32_000):
        page.answer(pending=True)
        asked = len(page.sent())
        page.pass_time(pause - 100)
        assert len(page.sent()) == asked and page.is_settled
        page.pass_time(200)
        assert len(page.sent()) == asked + 1
    page.answer(pending=True)
    page.pass_time(300_000)
    assert len(page.sent()) == 7


def test_a_checkpoint_that_is_loaded_ends_the_asking(page):
    page.changed()
    page.pass_time(100)
    page.answer(pending=True)
    page.pass_time(600)
    page.answer(pending=False)
    page.forget()
    page.pass_time(120_000)
    assert page.sent() == []
    page.changed()
    page.pass_time(100)
    page.answer(pending=True)
    page.pass_time(600)
    assert len(page.sent()) == 2, "it does not begin anew"


def test_an_answer_that_comes_after_it_was_given_up_is_not_taken_for_the_next_ones(page):
    page.changed()
    page.pass_time(100)
    page.pass_time(30_500)
    assert page.is_settled, "no answer comes any more"
    page.changed()
    page.pass_time(100)
    late, asked = (sent["number"] for sent in page.sent())
    moved = page.run("number => gradio.answer(number, { moved: [7] })", late)
    page.pass_time(1_000)
    assert moved == [{"__type__": "update"}] and not page.is_settled
    assert page.run("number => gradio.answer(number, { moved: [7] })", asked) == [7]
    page.pass_time(1_000)
    assert page.is_settled


@pytest.mark.parametrize("is_pending", [False, True])
def test_after_a_generation_its_tab_is_asked_about_and_the_other_where_no_checkpoint_was_loaded(
    page, is_pending
):
    for tab in ("txt2img", "img2img"):
        page.changed(tab)
        page.pass_time(100)
        page.answer(tab, pending=is_pending)
    page.forget()
    show = "display => { document.querySelector('#img2img_interrupt').style.display = display; }"
    page.run(show, "block")
    page.pass_time(100)
    assert page.sent() == [], "it has only begun"
    page.run(show, "none")
    page.pass_time(100)
    assert {asked["tab"] for asked in page.sent()} == ({"txt2img", "img2img"} if is_pending else {"img2img"})


@pytest.mark.parametrize("name", ["sd_model_checkpoint", "sd_checkpoint_hash", "lcm_max_steps"])
def test_a_changed_setting_of_lcm_or_another_checkpoint_makes_it_ask(page, name):
    page.run("name => { opts[name] = 'another'; }", name)
    page.pass_time(SEEN_TWICE)
    assert [asked["tab"] for asked in page.sent()] == ["txt2img", "img2img"]
    page.answer_all()
    page.pass_time(10_000)
    assert page.sent() == []


def test_of_settings_that_the_webui_reports_it_asks_at_once(page):
    page.run("opts.lcm_max_steps = 6; optionsChanged()")
    page.pass_time(20)
    assert len(page.sent()) == 2
    page.answer_all()
    page.run("optionsChanged()")
    page.pass_time(10_000)
    assert page.sent() == []


def test_other_settings_make_it_ask_nothing(page):
    page.run("opts.samples_save = false; optionsChanged()")
    page.pass_time(10_000)
    assert page.sent() == []


def test_what_is_typed_into_the_quicksettings_is_waited_for(page):
    type_in = "text => { document.querySelector('#quicksettings input').value = text; }"
    for text in ("t", "tw", "two"):
        page.run(type_in, text)
        page.pass_time(1_000)
        assert page.sent() == []
    assert not page.is_settled
    page.pass_time(1_100)
    assert len(page.sent()) == 2


def test_a_value_that_changes_back_at_once_is_asked_about_all_the_same(page):
    """What was answered in between was about the other one."""
    page.run("opts.lcm_max_steps = 6")
    page.pass_time(1_000)
    page.run("opts.lcm_max_steps = 8")
    page.pass_time(SEEN_TWICE)
    assert len(page.sent()) == 2


def test_a_page_that_is_looked_at_again_asks(page):
    page.run("document.dispatchEvent(new Event('visibilitychange'))")
    page.pass_time(20)
    assert len(page.sent()) == 2
    page.answer_all()
    page.run("""() => { Object.defineProperty(document, 'hidden', { value: true, configurable: true });
        document.dispatchEvent(new Event('visibilitychange')); }""")
    page.pass_time(5_000)
    assert page.sent() == []


def test_the_kind_of_size_on_img2img_is_asked_about_when_it_changes_also_back(page):
    show = "display => { document.querySelector('#img2img_tab_resize_by').style.display = display; }"
    for display, is_scaled in (("block", True), ("none", False)):
        page.run(show, display)
        page.pass_time(20)
        (asked,) = page.sent()
        assert asked["tab"] == "img2img" and asked["question"]["is_scaled"] is is_scaled
        page.answer_all()


def test_the_size_that_comes_of_it_is_asked_about_where_its_text_is_another_one(page):
    show = "text => { document.querySelector('#img2img_scale_resolution_preview').innerHTML = text; }"
    page.run(show, "512x512")
    page.pass_time(100)
    assert [asked["tab"] for asked in page.sent()] == ["img2img"]
    page.answer_all()
    page.run(show, "512x512")  # gradio 4 puts the same text there at every event
    page.pass_time(5_000)
    assert page.sent() == []
