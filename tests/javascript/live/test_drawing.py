"""What makes Live draw, and when: a change of what decides the picture, when it has stayed for a moment."""

import pytest

from tests.browser import needs_chromium
from tests.javascript.live.live_page import LivePage

pytestmark = needs_chromium

TICK = "#script_txt2img_lcm_live input"
LORA = "#script_txt2img_lcm_lora input"
NOTE = "\u00a0\u00b7\u00a0"  # between an entry of the LoRA list and what the page says of it


def test_ticking_live_draws_a_picture(page):
    page.pass_time(2000)
    assert page.drawn() == [] and page.line == ""
    page.tick()
    page.pass_time(page.PAUSE)
    assert page.drawn() == ["a star"] and page.line == f"Live is drawing. · seed {page.seed}"
    page.pass_time(300)
    page.finish()
    assert (
        page.shown[0].startswith("lcm-live-")
        and page.line == f"Live: not saved; Generate keeps it · seed {page.seed} · 0.3 s"
    )
    page.pass_time(10_000)
    assert page.drawn() == ["a star"]


def test_a_draft_is_called_one_as_long_as_it_is_shown(live):
    live.server(drafts=True)
    live.type("moon")
    live.draw()
    assert live.line.endswith(" · 0.0 s · draft") and live.shown[0].endswith(".draft.png")
    live.press_generate()
    live.pass_time(100)
    assert live.line.endswith(" · 0.0 s · draft")
    live.finish()
    live.pass_time(1000)
    assert live.line.endswith(" · 0.0 s")


def test_live_that_is_ticked_again_draws_the_same_again(page):
    page.type("77", "seed")
    page.tick()
    page.draw()
    page.tick()
    page.pass_time(1000)
    page.tick()
    page.draw()
    assert [(job["prompt"], job["seed"]) for job in page.jobs()] == 2 * [("a star", "77")]


def test_live_that_the_page_ticks_by_itself_draws(page):
    """As another extension may do it."""
    page.type("77", "seed")
    for is_on in (True, False, True):
        page.element(TICK, "(tick, isOn) => { tick.checked = isOn; }", is_on)
        page.pass_time(100 + page.PAUSE)
        if is_on:
            page.finish()
    assert page.drawn() == ["a star", "a star"]


def test_a_picture_follows_what_is_typed_once_the_typing_stops(live):
    live.focus("#txt2img_prompt textarea")
    for key in "moon":
        live.page.keyboard.type(key)
        live.pass_time(290)
    live.pass_time(9)
    assert live.drawn() == []
    live.pass_time(2)
    assert live.drawn() == ["moon"]


def test_a_change_of_the_page_starts_the_pause_anew(live):
    """One that no event says anything of, such as what the WebUI makes of the user's change."""
    live.type("x")
    live.pass_time(250)
    live.change_by_itself("#txt2img_width input", "128")
    live.pass_time(250)
    assert live.drawn() == []
    live.pass_time(250)
    assert live.drawn() == ["x"]


@pytest.mark.parametrize(
    "debounce,pause", [(2, 2000), (None, 300), ("long", 300), ("Infinity", 300), (-1, 300)]
)
def test_the_pause_is_the_settings_or_what_it_is_at_first(live, debounce, pause):
    live.set_options(lcm_live_debounce=debounce)
    live.type("x")
    live.pass_time(pause - 1)
    assert live.drawn() == []
    live.pass_time(2)
    assert live.drawn() == ["x"]


def test_there_may_be_no_pause(live):
    live.set_options(lcm_live_debounce=0)
    live.type("x")
    live.pass_time(1)
    assert live.drawn() == ["x"]


def test_any_character_of_a_long_prompt_counts(live):
    long = "a star" + " " * 5000
    live.type(f"{long} x")
    live.draw()
    live.type(f"{long} y")
    live.pass_time(live.PAUSE)
    assert live.drawn() == [f"{long} x", f"{long} y"]


def pick_next(live: LivePage, selector: str) -> None:
    live.element(selector, "field => field.focus()")
    live.page.keyboard.press("ArrowDown")


def change_entries(live: LivePage, selector: str, entries: str) -> None:
    """The user picks other entries of a drop-down that has several."""
    live.element(selector, "(list, entries) => { list.innerHTML = entries; }", entries)
    live.press_elsewhere()


CHANGES = {
    "negative prompt": lambda live: live.type("blurred", "neg_prompt"),
    "style": lambda live: change_entries(live, "#txt2img_styles", "<div class=token>Ink</div>"),
    "number": lambda live: live.type("128", "width"),
    "tick": lambda live: live.click("#txt2img_tiling input"),
    "choice": lambda live: live.click("#txt2img_resize label:last-child input"),
    "select": lambda live: pick_next(live, "#txt2img_sampling select"),
    "LCM's steps": lambda live: live.type_into("#script_txt2img_lcm_steps input", "2"),
    "LCM-LoRA": lambda live: live.choose(LORA, f"other{NOTE}SD 1.5"),
    "checkpoint": lambda live: live.choose("#setting_sd_model_checkpoint input", "other"),
    "module taken away": lambda live: change_entries(live, "#modules", ""),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_picture_follows_each_control(live, change):
    change(live)
    live.draw()
    assert live.drawn() == ["a star"]
    live.pass_time(2000)
    assert live.drawn() == ["a star"]


def test_a_value_that_is_put_back_draws_nothing(live):
    for width in ("128", "64"):
        live.type(width, "width")
        live.pass_time(200)
    live.pass_time(2000)
    assert live.drawn() == []


def test_of_a_slider_that_is_dragged_the_last_value_is_drawn(live):
    x, y = live.place("#txt2img_width input[type=range]")
    live.page.mouse.move(x, y)
    live.page.mouse.down()
    for step in range(1, 6):
        live.page.mouse.move(x + 5 * step, y)
        live.pass_time(200)
    assert live.drawn() == []
    live.page.mouse.up()
    live.pass_time(live.PAUSE)
    assert [job["width"] for job in live.jobs()] == [live.value("#txt2img_width input[type=range]")]
    assert int(live.value("#txt2img_width input[type=range]")) > 1024


def change_box(name: str):
    return lambda live: live.change_by_itself(f"#script_txt2img_lcm_{name} textarea", "another word")


NO_CHANGES = {
    "click": lambda live: live.press_elsewhere(),
    **{name: change_box(name) for name in ("exchange", "done", "pasted")},
    "preset": lambda live: live.click("#script_txt2img_lcm_quality label:last-child input"),
    "note at the LCM-LoRA": lambda live: live.change_by_itself(LORA, f"Auto{NOTE}lcm_lora_sdxl"),
    "disabled control": lambda live: live.change_by_itself("#txt2img_resize_to input", "128x128"),
}


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_what_decides_nothing_draws_nothing(live, change):
    change(live)
    live.press_elsewhere()
    live.pass_time(2000)
    assert live.drawn() == []


def test_what_the_webui_changes_by_itself_is_drawn_when_the_user_does_something(live):
    live.change_by_itself("#txt2img_width input", "128")
    live.pass_time(2000)
    assert live.drawn() == []
    live.press_elsewhere()
    live.pass_time(live.PAUSE)
    assert live.drawn() == ["a star"]


@pytest.mark.parametrize("kind", ["input", "change", "keydown", "pointerup", "click", "drop", "paste"])
def test_whatever_the_user_does_counts(live, kind):
    """Also where the page keeps the event to one of its parts."""
    live.change_by_itself("#txt2img_width input", "128")
    live.js("kind => document.body.dispatchEvent(new Event(kind, { bubbles: false }))", kind)
    live.pass_time(live.PAUSE)
    assert live.drawn() == ["a star"]


@pytest.mark.parametrize("gradio", [3, 4])
def test_what_is_typed_into_a_drop_down_to_find_an_entry_draws_nothing(live):
    before = live.value(LORA)
    live.click(LORA)
    live.type_into(LORA, "lcm_lo")
    live.pass_time(1000)
    live.change_by_itself(LORA, before)  # as gradio does when nothing was picked
    live.press_elsewhere()
    live.pass_time(1000)
    assert live.drawn() == []
    live.click(LORA)
    live.type_into(LORA, "other")
    live.press_elsewhere()
    live.pass_time(live.PAUSE)
    assert live.drawn() == ["a star"]


def test_a_drop_down_that_is_open_when_live_begins_counts_as_it_is(page):
    page.click(LORA)
    page.element(TICK, "tick => { tick.checked = true; }")
    page.pass_time(100 + page.PAUSE)
    assert page.drawn() == ["a star"]


def test_nothing_starts_while_an_input_method_is_composing(live):
    live.focus("#txt2img_prompt textarea")
    keyboard = live.page.context.new_cdp_session(live.page)
    for text in ("h", "ほ", "ほし"):
        place = {"selectionStart": len(text), "selectionEnd": len(text)}
        keyboard.send("Input.imeSetComposition", {"text": text, **place})
        live.pass_time(1000)
    assert live.value("#txt2img_prompt textarea") == "ほし"  # it is in the field, and yet
    assert live.drawn() == []
    keyboard.send("Input.insertText", {"text": "星"})
    live.draw()
    assert live.drawn() == ["星"]
    keyboard.send("Input.imeSetComposition", {"text": "空", "selectionStart": 1, "selectionEnd": 1})
    live.pass_time(1050)
    # where the browser says no more than this
    live.element("#txt2img_prompt", "place => place.dispatchEvent(new CompositionEvent('compositionend'))")
    live.pass_time(301)
    assert live.drawn() == ["星", "星空"]


def test_nothing_starts_while_the_page_is_hidden(live):
    live.type("x")
    live.js("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    live.pass_time(2000)
    assert live.drawn() == []
    live.js("delete document.hidden")
    live.pass_time(401)
    assert live.drawn() == ["x"]
