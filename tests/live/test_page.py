"""The accordion in a real browser: Chromium, driven by Playwright, on the page of any WebUI."""

import re

import pytest

from tests.browser import needs_chromium, open_accordion, open_page

PROMPT = "a big red star on a blue background"
KNOWN_PAGE_ERRORS = ("reading 'props'",)
"""Errors of A1111's own page, there without any extension."""

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10", "a1111-1.6")]


@pytest.fixture
def page(browser, webui):
    webui.txt2img(PROMPT, steps=1, cfg_scale=1)  # so that a checkpoint is loaded
    errors = []
    page = open_page(browser, webui.client.url, errors)
    accordion(page).locator(".label-wrap").first.wait_for()
    page.wait_for_function("document.querySelector('.lcm-status') && document.querySelector('.lcm-status').innerText.includes('steps')")
    yield page
    page.close()
    assert [error for error in errors if not any(known in error for known in KNOWN_PAGE_ERRORS)] == []


def accordion(page, tab="txt2img"):
    return page.locator(f"#script_{tab}_lcm_enabled").first


def is_ticked(page) -> bool:
    return accordion(page).locator("input[type=checkbox]").first.is_checked()


def number(page, name: str):
    return page.locator(f"#script_txt2img_lcm_{name} input[type=number]").first


def set_number(page, name: str, value) -> None:
    number(page, name).fill(str(value))
    number(page, name).press("Tab")


def status(page) -> str:
    return page.locator("#script_txt2img_lcm_status .lcm-status").first.inner_text()


def wait_for_status(page, text: str) -> None:
    page.wait_for_function("text => document.querySelector('.lcm-status').innerText.includes(text)", arg=text)


def infotext(page) -> str:
    info = page.locator("#html_info_txt2img").first
    info.filter(has_text="Steps:").wait_for()
    return info.inner_text()


def generate(page, webui) -> None:
    page.fill("#txt2img_prompt textarea", PROMPT)
    for name in ("width", "height"):
        field = page.locator(f"#txt2img_{name} input[type=number]").first
        field.fill(str(webui.side))
        field.press("Tab")
    page.click("#txt2img_generate")


def test_the_accordion_starts_closed_and_off(page, webui):
    assert not is_ticked(page)
    assert not number(page, "steps").is_visible()


def test_one_tick_and_generate_make_a_picture_in_four_steps(page, webui):
    open_accordion(page)
    assert is_ticked(page)
    assert status(page) == "SD 1.5 · lcm_lora_sd15 · 4 steps: 999 759 499 259 · CFG 1: negative prompt ignored"
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
    assert is_ticked(page)
    assert number(page, "cfg").input_value() == "1.5"
    assert re.search(r"schedule WebUI", status(page))


def test_pasted_parameters_without_lcm_switch_it_off(page, webui):
    made, _ = webui.txt2img(PROMPT, steps=5, cfg_scale=3)
    open_accordion(page)
    page.fill("#txt2img_prompt textarea", made.infotext)
    page.click("#paste")
    page.wait_for_function("!document.querySelector('#script_txt2img_lcm_enabled input[type=checkbox]').checked")


def test_reload_ui_leaves_one_sampler_and_a_working_extension(browser, webui):
    before, _ = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 2, "cfg": 1})
    page = open_page(browser, webui.client.url)
    page.locator("#settings_restart_gradio").first.evaluate("button => button.click()")
    page.wait_for_timeout(3_000)  # the server goes down at once and comes back on the same port
    for _ in range(60):
        try:
            names = [sampler["name"] for sampler in webui.client.get("/sdapi/v1/samplers")]
            break
        except OSError:
            page.wait_for_timeout(1_000)
    page.close()
    assert names.count("LCM") == 1
    plots = [info for info in webui.client.get("/sdapi/v1/script-info") if info["name"] == "x/y/z plot"]
    assert [info["args"][0]["choices"].count("[LCM] Steps") for info in plots] == [1, 1]
    assert webui.client.get("/lcm/v1/status")["lora"] == "lcm_lora_sd15"
    after, calls = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 2, "cfg": 1})
    assert [call["timesteps"] for call in calls] == [[999], [499]]
    assert before.image.tobytes() == after.image.tobytes()


def test_on_img2img_the_status_line_follows_the_denoising_strength(page, webui):
    page.locator("#tabs > .tab-nav button", has_text="img2img").first.click()
    page.locator("#script_img2img_lcm_enabled .label-wrap").first.click(position={"x": 200, "y": 8})
    line = page.locator("#script_img2img_lcm_status .lcm-status").first
    line.wait_for(state="visible")
    for strength, timesteps in (("0.5", "4 steps: 499 379 259 139"), ("0.05", "2 steps: 39 19")):
        field = page.locator("#img2img_denoising_strength input[type=number]").first
        field.fill(strength)
        field.press("Tab")
        line.filter(has_text=timesteps).wait_for()
