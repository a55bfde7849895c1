"""The accordion in a real browser: Chromium, driven by Playwright, on the page of any WebUI."""

from tests.browser import needs_chromium, open_accordion, open_page
from tests.live.page import (
    generate,
    infotext,
    is_ticked,
    number,
    open_tab,
    reload_ui,
    set_host_number,
    settle,
    status,
    wait_for_status,
    wait_for_status_to_begin,
)
from tests.live.profiles import one_profile
from tests.prompts import PROMPT

pytestmark = [*needs_chromium, one_profile]


def test_the_accordion_starts_closed_and_off(page):
    assert not is_ticked(page)
    assert not number(page, "steps").is_visible()
    assert status(page).startswith("LCM is off. With it: SD 1.5 · lcm_lora_sd15 · 4 steps")


def test_pasted_generation_parameters_restore_the_accordion(page, webui):
    for options, line in (
        ({"steps": 6, "cfg": 1.5, "weight": 0.75, "schedule": "webui"}, "lcm_lora_sd15 at 0.75 · 6 steps: "),
        ({"steps": 3, "cfg": 1, "sampler": "tcd", "gamma": 0.65}, "lcm_lora_sd15 · TCD gamma 0.65 · 3 steps"),
    ):
        made, _ = webui.txt2img(PROMPT, lcm={"enabled": True, **options}, seed=77)
        page.fill("#txt2img_prompt textarea", made.infotext)
        page.click("#paste")
        wait_for_status(page, line)
        settle(page)
        assert is_ticked(page) and number(page, "cfg").input_value() == f"{options['cfg']:g}"
        assert ("schedule WebUI" in status(page)) == (options.get("schedule") == "webui")


def test_pasted_parameters_without_lcm_switch_it_off(page, webui):
    made, _ = webui.txt2img(PROMPT, steps=5, cfg_scale=3)
    open_accordion(page)
    settle(page)
    assert is_ticked(page) and not status(page).startswith("LCM is off")
    page.fill("#txt2img_prompt textarea", made.infotext)
    page.click("#paste")
    wait_for_status_to_begin(page, "LCM is off")
    settle(page)
    assert not is_ticked(page)


def test_an_error_while_sampling_is_shown_as_the_webuis_own_and_the_next_picture_is_right(page, webui):
    open_accordion(page)
    webui.disturb_next(at_call=2, do="out of memory")
    generate(page, webui)
    page.locator("#html_log_txt2img", has_text=webui.shown_error("OutOfMemoryError")).first.wait_for()
    webui.calls()
    page.click("#txt2img_generate")
    assert "Steps: 4, Sampler: LCM" in infotext(page)
    assert [call["timesteps"] for call in webui.calls()] == [[999], [759], [499], [259]]


def test_on_img2img_the_status_line_is_that_of_the_tab(page):
    open_tab(page, "img2img")
    open_accordion(page, "img2img")
    set_host_number(page, "img2img_denoising_strength", 0.5)
    settle(page)
    assert "4 steps at strength 0.5: 499 379 259 139" in status(page, "img2img")


def test_reload_ui_leaves_one_sampler_and_a_working_extension(browser, own):
    """On a WebUI of its own: on gradio 3, a page that was ever closed in the middle of a job can keep "Reload
    UI" waiting for ever.
    """
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
