"""The accordion in a real browser: Chromium, driven by Playwright, on the page of any WebUI."""

import pytest

from tests.browser import needs_chromium, open_accordion, open_page, wait_until
from tests.live.page import (
    generate,
    infotext,
    is_ticked,
    number,
    reload_ui,
    set_number,
    wait_for_status,
    wait_for_status_to_begin,
)
from tests.prompts import PROMPT

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10", "a1111-1.6")]


def test_the_accordion_starts_closed_and_off(page, webui):
    assert not is_ticked(page)
    assert not number(page, "steps").is_visible()


def test_one_tick_and_generate_make_a_picture_in_four_steps(page, webui):
    open_accordion(page)
    assert is_ticked(page)
    wait_for_status_to_begin(page, "SD 1.5 · lcm_lora_sd15 · 4 steps: 999 759 499 259 · CFG 1 · 4 UNet calls")
    webui.calls()
    generate(page, webui)
    shown = infotext(page)
    assert "Steps: 4, Sampler: LCM" in shown and "LCM LoRA: lcm_lora_sd15" in shown
    assert [call["timesteps"] for call in webui.calls()] == [[999], [759], [499], [259]]


def test_the_status_line_follows_the_controls(page, webui):
    open_accordion(page)
    set_number(page, "steps", 2)
    wait_for_status(page, "2 steps: 999 499")
    set_number(page, "cfg", 1.5)
    wait_for_status(page, "CFG 1.5")
    set_number(page, "weight", 0.8)
    wait_for_status(page, "lcm_lora_sd15 at 0.8")


def test_pasted_generation_parameters_restore_the_accordion(page, webui):
    made, _ = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 6, "cfg": 1.5, "weight": 0.75, "schedule": "webui"}, seed=77)
    page.fill("#txt2img_prompt textarea", made.infotext)
    page.click("#paste")
    wait_for_status(page, "6 steps")
    wait_for_status(page, "at 0.75")
    wait_for_status(page, "schedule WebUI")
    wait_for_status_to_begin(page, "SD 1.5")
    assert is_ticked(page)
    assert number(page, "cfg").input_value() == "1.5"
    made, _ = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 3, "cfg": 1, "sampler": "tcd", "gamma": 0.65}, seed=77)
    page.fill("#txt2img_prompt textarea", made.infotext)
    page.click("#paste")
    wait_for_status(page, "TCD gamma 0.65 · 3 steps")


def test_pasted_parameters_without_lcm_switch_it_off(page, webui):
    made, _ = webui.txt2img(PROMPT, steps=5, cfg_scale=3)
    open_accordion(page)
    page.fill("#txt2img_prompt textarea", made.infotext)
    page.click("#paste")
    wait_until(page, lambda: not is_ticked(page))


def test_an_error_while_sampling_is_shown_as_the_webuis_own_and_the_next_picture_is_right(page, webui):
    open_accordion(page)
    wait_for_status(page, "4 UNet calls")
    webui.calls()
    webui.disturb_next(at_call=2, do="out of memory")
    generate(page, webui)
    page.locator("#html_log_txt2img", has_text=webui.shown_error("OutOfMemoryError")).first.wait_for()
    webui.calls()
    page.click("#txt2img_generate")
    assert "Steps: 4, Sampler: LCM" in infotext(page)
    assert [call["timesteps"] for call in webui.calls()] == [[999], [759], [499], [259]]


def test_reload_ui_leaves_one_sampler_and_a_working_extension(browser, own):
    """On a WebUI of its own: on gradio 3, a page that was ever closed in the middle of a job can keep "Reload UI" waiting for ever."""
    before, _ = own.txt2img(PROMPT, lcm={"enabled": True, "steps": 2, "cfg": 1})
    reload_ui(open_page(browser, own.client.url), own.server)
    names = [sampler["name"] for sampler in own.client.get("/sdapi/v1/samplers")]
    assert names.count("LCM") == 1
    assert own.client.get("/lcm/v1/status")["lora"] == "lcm_lora_sd15"
    after, calls = own.txt2img(PROMPT, lcm={"enabled": True, "steps": 2, "cfg": 1})
    assert [call["timesteps"] for call in calls] == [[999], [499]]
    assert before.image.tobytes() == after.image.tobytes()
    for is_img2img in (False, True):
        assert own.script("x/y/z plot", is_img2img)["args"][0]["choices"].count("[LCM] Steps") == 1


def test_on_img2img_the_status_line_follows_the_denoising_strength(page, webui):
    page.locator("#tabs > .tab-nav button", has_text="img2img").first.click()
    page.locator("#script_img2img_lcm_enabled .label-wrap").first.click(position={"x": 200, "y": 8})
    line = page.locator("#script_img2img_lcm_status .lcm-status").first
    line.wait_for(state="visible")
    for strength, timesteps in (("0.5", "4 steps at strength 0.5: 499 379 259 139"), ("0.05", "2 steps at strength 0.05: 39 19")):
        field = page.locator("#img2img_denoising_strength input[type=number]").first
        field.fill(strength)
        field.press("Tab")
        line.filter(has_text=timesteps).wait_for()
