"""Live mode in a real browser: what is changed in the page is drawn, once, at the end, and nothing is saved."""

import pytest

from tests.browser import needs_chromium
from tests.live.live_mode.live_page import DEBOUNCE, LivePage, address_of, is_there
from tests.live.page import choose, infotext, set_number, untick
from tests.live.test_loras import SD15
from tests.prompts import OTHER, PROMPT, THIRD

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10")]


def test_ticking_live_draws_a_picture_without_saving_it(page, webui):
    live = LivePage(page, webui)
    live.prompt.fill(PROMPT)
    live.settle()
    assert live.drawn() == [] and live.line == ""
    live.tick.check()
    live.wait_for_picture(1)
    assert live.drawn() == [PROMPT] and live.saved() == []
    assert [call["timesteps"] for call in webui.calls()] == [[999], [759], [499], [259]]


def test_a_picture_follows_what_is_typed_once_the_typing_stops(live):
    """On a slow machine the typing itself pauses, so there may be pictures in between; but none within the debounce after a key."""
    live.note_pauses()
    live.prompt.fill("")
    live.prompt.press_sequentially(OTHER, delay=20)
    live.wait_until(lambda: live.drawn()[-1:] == [OTHER], "the picture of all that was typed")
    live.settle()
    assert live.drawn()[-1] == OTHER
    assert len(live.pauses) == len(live.drawn()) and min(live.pauses) >= 1000 * DEBOUNCE
    assert live.saved() == []


def test_the_pause_is_the_settings(live):
    with live.webui.settings(lcm_live_debounce=2):
        live.page.evaluate("opts.lcm_live_debounce = 2")
        live.note_pauses()
        live.prompt.fill(OTHER)
        live.wait_for_picture(2)
    assert len(live.pauses) == 1 and live.pauses[0] >= 2000


def test_any_character_of_a_long_prompt_counts(live):
    long = f"{PROMPT}{' ' * (2500 - len(PROMPT))}"
    live.prompt.fill(f"{long} x")
    live.wait_for_picture(2)
    live.prompt.fill(f"{long} y")
    live.wait_for_picture(3)


def test_a_picture_follows_a_slider_and_a_value_that_is_put_back_draws_nothing(live):
    live.set_number("width", live.webui.side + 64)
    live.wait_for_picture(2)
    assert [event["width"] for event in live.events("process")] == [live.webui.side + 64]
    live.page.evaluate(
        """() => { const field = document.querySelector('#txt2img_prompt textarea');
        for (const text of [field.value + ' x', field.value]) { field.value = text; updateInput(field); } }"""
    )
    live.settle()
    assert len(live.drawn()) == 1


def test_a_picture_follows_lcms_own_controls(live):
    for run, (name, value) in enumerate((("steps", 2), ("cfg", 1.5), ("weight", 0.5)), start=2):
        set_number(live.page, name, value)
        live.wait_for_picture(run)
    live.page.locator("#script_txt2img_lcm_quality label", has_text="Preview").first.click()
    live.wait_for_picture(5)
    assert len(live.drawn()) == 4 and live.saved() == []
    assert "Steps: 1, Sampler: LCM" in infotext(live.page) and "LCM weight: 0.5" in infotext(live.page)
    call = live.webui.calls()[-1]
    assert call["timesteps"] == [999] and call["loras"] == [SD15]


def test_of_a_slider_that_is_dragged_the_last_value_is_drawn(live):
    """Where the pointer rests on the way, on a slow machine, there may be pictures, but not one for each value."""
    slider = live.page.locator("#script_txt2img_lcm_steps input[type=range]").first
    slider.hover()
    box = slider.bounding_box()
    height = box["y"] + box["height"] / 2
    live.page.mouse.move(box["x"] + 0.4 * box["width"], height)
    live.page.mouse.down()
    for part in range(20):
        live.page.mouse.move(box["x"] + (0.4 + 0.03 * part) * box["width"], height)
    live.page.mouse.move(box["x"] + box["width"] + 5, height)
    live.page.mouse.up()
    most = slider.get_attribute("max")
    assert live.page.locator("#script_txt2img_lcm_steps input[type=number]").first.input_value() == most
    live.wait_until(lambda: f"Steps: {most}," in infotext(live.page), "the last value's picture")
    live.settle()
    drawn, calls = live.drawn(), [call["timesteps"][0] for call in live.webui.calls()]
    last = len(calls) - 1 - calls[::-1].index(999)
    assert len(calls) - last == int(most) and len(drawn) <= 3


def test_without_its_settings_live_works_with_what_they_are_at_first(live):
    live.page.evaluate("() => { delete opts.lcm_live_debounce; delete opts.lcm_live_patience; }")
    live.note_pauses()
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    assert live.drawn() == [OTHER] and min(live.pauses) >= 1000 * DEBOUNCE


def test_nothing_is_drawn_again_while_nothing_changes(live):
    live.page.mouse.move(300, 300)
    live.page.mouse.click(640, 5)
    live.settle()
    assert live.drawn() == []


def test_a_random_seed_is_held_and_shown_and_given_back(live):
    held = live.seed
    assert int(held) >= 0 and f"seed {held}" in live.line.replace("\n", " ")
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    assert [event["seed"] for event in live.events("process")] == [int(held)]
    live.page.locator("#txt2img_random_seed").first.click()
    live.wait_for_picture(3)
    assert live.seed not in ("-1", held)
    live.tick.uncheck()
    live.page.wait_for_function("document.querySelector('#txt2img_seed :is(input, textarea)').value === '-1'")


def test_a_seed_of_the_users_own_is_used_and_stays(page, webui):
    live = LivePage(page, webui)
    live.set_number("seed", 77)
    live.tick.check()
    live.wait_for_picture(1)
    assert [event["seed"] for event in live.events("process")] == [77]
    live.tick.uncheck()
    live.settle()
    assert live.seed == "77"


def test_a_seed_that_is_typed_over_the_held_one_is_used_and_told(live):
    live.wait_for_line("seed")
    seed = live.page.locator("#txt2img_seed :is(input, textarea)").first
    seed.fill("-1")
    live.settle()
    assert live.drawn() == [], "a random picture was drawn while a seed was being typed"
    seed.fill("42")
    live.wait_for_picture(2)
    assert [event["seed"] for event in live.events("process")] == [42] and "seed" not in live.line


def test_generate_makes_the_same_picture_and_saves_it(live):
    live.page.click("#txt2img_generate")
    live.wait_until(lambda: live.saved() != [], "saving")
    live.settle()
    assert live.drawn() == [PROMPT] and [event["seed"] for event in live.events("process")] == [int(live.seed)]
    assert live.shown() == 0
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    assert len(live.saved()) == 1


def test_nothing_starts_while_an_input_method_is_composing(live):
    live.prompt.fill("")
    live.wait_for_picture(2)
    live.settle()
    live.forget()
    live.prompt.focus()
    keyboard = live.page.context.new_cdp_session(live.page)
    for text in ("h", "ho", "hos", "ほし"):
        keyboard.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})
        live.page.wait_for_timeout(1000 * DEBOUNCE + 300)
    assert live.prompt.input_value() == "ほし"  # it is in the field, and yet
    assert live.drawn() == []
    keyboard.send("Input.insertText", {"text": "星"})
    live.wait_until(lambda: live.drawn() == ["星"], "the picture")


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_live_waits_for_lcm(live):
    untick(live.page)
    live.wait_for_line("tick LCM")
    live.prompt.fill(OTHER)
    live.settle()
    assert live.drawn() == []


def test_a_drop_down_that_is_looked_into_draws_nothing(live):
    live.page.locator("#tab_txt2img #script_list input").first.click()
    live.page.locator("#tab_txt2img #script_list ul.options").first.wait_for()
    live.settle()
    live.page.keyboard.press("Escape")
    live.page.locator("#txt2img_prompt").click()
    live.settle()
    assert live.drawn() == []


def test_what_is_typed_into_a_drop_down_to_find_an_entry_draws_nothing(live):
    field = live.page.locator("#script_txt2img_lcm_lora input").first
    before = field.input_value()
    field.click()
    live.page.keyboard.press("ControlOrMeta+a")
    live.page.keyboard.type("lcm_lo")
    live.settle()
    assert live.drawn() == []
    field.fill(before)
    live.page.keyboard.press("Escape")
    live.page.locator("#txt2img_prompt").click()
    live.settle()
    assert live.drawn() == []


def test_live_waits_while_a_script_is_chosen(live):
    choose(live.page, "tab_txt2img #script_list", "X/Y/Z plot")
    live.wait_for_line("Live waits: a script is chosen.")
    live.prompt.fill(OTHER)
    live.settle()
    assert live.drawn() == []
    choose(live.page, "tab_txt2img #script_list", "None")
    live.wait_for_picture(2)
    assert live.drawn() == [OTHER]


def test_a_failing_run_is_told_and_not_repeated(live):
    live.webui.disturb_next(at_call=1, do="fail")
    live.prompt.fill(OTHER)
    live.wait_for_line("No picture came")
    live.settle()
    assert live.drawn() == [OTHER]
    live.prompt.fill(THIRD)
    live.wait_for_picture(3)


def test_a_run_that_gradio_refuses_is_told_and_the_next_one_comes(live):
    if live.webui.name == "forge":
        pytest.skip("its gradio lets runs wait without a word, so one that it has refused looks like one that waits")
    live.page.evaluate("() => { window.lcmTestSubmit = submit; window.submit = (...values) => lcmTestSubmit(...values).slice(0, 3); }")
    live.prompt.fill(OTHER)
    live.wait_for_line("No picture came")
    assert live.drawn() == []
    live.page.evaluate("() => { window.submit = lcmTestSubmit; }")
    live.prompt.fill(THIRD)
    live.wait_for_picture(3)
    assert live.drawn() == [THIRD]


def test_batches_and_grids_are_left_to_generate(live):
    live.set_number("batch_size", 3)
    live.wait_for_picture(2)
    assert [len(event["prompts"]) for event in live.events("process")] == [1]
    assert live.saved() == []


def test_only_a_few_files_stay_in_the_temporary_folder_and_one_when_live_is_off(live):
    for number in range(2, 7):
        live.prompt.fill(f"{PROMPT} {number}")
        live.wait_for_picture(number)
    assert live.pictures_there(range(1, 7)) == [4, 5, 6]
    live.tick.uncheck()
    live.wait_until(lambda: live.pictures_there(range(1, 7)) == [6], "the removal")  # the gallery shows it: it may be sent on
    live.tick.check()
    for number in (7, 8):
        live.prompt.fill(f"{PROMPT} {number}")
        live.wait_for_picture(number)
    assert live.pictures_there(range(1, 9)) == [6, 7, 8]


def test_a_page_that_goes_away_leaves_no_file(live):
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    shown = live.page.locator("#txt2img_gallery img[src*=lcm-live]").first.get_attribute("src")
    live.webui.disturb_next(at_call=1, do="hold")
    live.prompt.fill(THIRD)
    live.wait_until(lambda: live.events("held"), "the run")
    live.page.goto("about:blank")
    live.page.wait_for_timeout(500)
    live.webui.client.post("/lcm-test-probe/release")
    for _ in range(100):
        if live.events("postprocess"):
            break
        live.page.wait_for_timeout(100)
    live.page.wait_for_timeout(1000)
    assert [number for number in (1, 2, 3) if is_there(live.page, address_of(shown, number))] == []


def test_the_infotext_of_a_live_picture_draws_it_again(live):
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    info = live.page.locator("#html_info_txt2img").first
    info.filter(has_text=OTHER).wait_for()
    text = info.inner_text()
    assert f"Seed: {live.seed}" in text and "Sampler: LCM" in text and "LCM LoRA: lcm_lora_sd15" in text
