"""The host's page in Chromium: generating, the ticked accordion, pasting, reloading."""

from __future__ import annotations

import pytest

from tests.browser import needs_chromium

ACCORDION = "#script_txt2img_recorder_enabled"
TICKED = f"document.querySelector('{ACCORDION}-checkbox input').checked"

pytestmark = needs_chromium


@pytest.fixture
def page(browser, host):
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 1400})
    errors, outside = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: (
            outside.append(request.url) if not request.url.startswith((host.url, "data:", "blob:")) else None
        ),
    )
    page.set_default_timeout(60_000)
    open_page(page, host)
    yield page
    page.close()
    assert (errors, outside) == ([], [])


def open_page(page, host):
    page.goto(host.url)
    page.wait_for_selector(f"{ACCORDION}-visible-checkbox")


def generate(page, steps: int) -> str:
    """Generate with that many steps; returns the infotext that the page shows."""
    page.fill("#txt2img_steps input[type=number]", str(steps))
    page.press("#txt2img_steps input[type=number]", "Tab")
    page.click("#txt2img_generate")
    page.wait_for_function(
        f"document.querySelector('#html_info_txt2img').innerText.includes('Steps: {steps},')"
    )
    return page.inner_text("#html_info_txt2img")


def test_the_accordions_box_is_an_argument_of_the_script(page, host):
    assert "Recorder number" not in generate(page, 1)
    page.click(f"{ACCORDION} .label-wrap")
    page.wait_for_function(TICKED)
    assert page.is_checked(f"{ACCORDION}-visible-checkbox")
    assert "Recorder number: 3" in generate(page, 2)
    assert (
        page.evaluate("getComputedStyle(document.querySelector('#txt2img_gallery img')).imageRendering")
        == "pixelated"
    )
    page.click(f"{ACCORDION}-visible-checkbox")
    page.wait_for_function(f"!{TICKED}")
    page.click("#txt2img_send_to_img2img")
    page.wait_for_selector("#img2img_image img", state="visible")


def test_pasting_an_infotext_fills_in_the_tab_and_the_scripts(page):
    infotext = (
        "a green square\nSteps: 7, Sampler: Euler a, Schedule type: Karras, CFG scale: 2.5, Seed: 77, Size:"
        " 128x64, Recorder number: 5"
    )
    page.fill("#txt2img_prompt textarea", infotext)
    page.click("#paste")
    page.wait_for_function(TICKED)
    values = {
        name: page.input_value(f"#txt2img_{name} input[type=number]")
        for name in ("steps", "cfg_scale", "seed", "width")
    }
    assert values == {"steps": "7", "cfg_scale": "2.5", "seed": "77", "width": "128"}
    assert page.input_value("#txt2img_prompt textarea") == "a green square"
    assert page.input_value("#txt2img_scheduler input") == "Karras"


def test_a_tooltip_is_shown(page, host):
    assert page.get_attribute("#paste", "title") == "Read generation parameters"
    assert "GradioUnusedKwargWarning" not in host.log


def test_reload_ui_loads_the_scripts_again(page, host):
    before = host.log.count("Startup time:")
    page.evaluate("switchToTab('Settings')")
    page.click("#settings_restart_gradio")
    page.wait_for_event("load")
    assert host.log.count("Startup time:") == before + 1
    page.wait_for_selector(f"{ACCORDION}-visible-checkbox")
    assert "Steps: 1" in generate(page, 1)
    assert host.get("/sdapi/v1/scripts")["txt2img"] == [
        "prompts from file or textbox",
        "x/y/z plot",
        "recorder",
    ]
