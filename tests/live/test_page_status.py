"""The status line on the page: it follows what is changed there, as often as needed and no oftener, and gets
in nobody's way.
"""

import io
import re
import time
from itertools import accumulate

import pytest
from PIL import Image

from tests.browser import needs_chromium, open_accordion
from tests.live.page import (
    STATUS,
    accordion,
    choose,
    editor,
    number,
    open_tab,
    questions,
    set_number,
    settle,
    slowed_down,
    status,
    wait_for_preset,
    wait_for_status,
)
from tests.live.profiles import both_profiles, one_profile
from tests.prompts import OTHER, PROMPT

POLLS = (0.5, 1.5, 4, 8, 16, 32)
"""Seconds between questions while no checkpoint is loaded: javascript/lcm.js."""

pytestmark = [*needs_chromium, one_profile]


def test_it_follows_the_controls_of_both(page):
    open_accordion(page)
    set_number(page, "steps", 2)
    wait_for_status(page, "2 steps: 999 499")
    set_number(page, "cfg", 1.5)
    wait_for_status(page, "CFG 1.5")
    page.fill("#txt2img_prompt textarea", f"{PROMPT} <lora:lcm_lora_sd15:0.6>")
    wait_for_status(page, "lcm_lora_sd15 at 0.6")
    page.fill("#txt2img_prompt textarea", PROMPT)
    settle(page)
    assert status(page).startswith("SD 1.5 · lcm_lora_sd15 · 2 steps: 999 499 · CFG 1.5")


def test_presets_set_the_steps_alone_and_those_of_none_show_none(page):
    open_accordion(page)
    wait_for_preset(page, "Standard 4")
    set_number(page, "cfg", 1.5)
    for label, steps in (("Preview 1", "1"), ("Final 8", "8"), ("Draft 2", "2")):
        page.locator("#script_txt2img_lcm_quality label", has_text=label).first.click()
        wait_for_status(page, f"{steps} step")
        assert number(page, "steps").input_value() == steps and number(page, "cfg").input_value() == "1.5"
    set_number(page, "steps", 5)
    wait_for_preset(page, None)
    set_number(page, "steps", 4)
    wait_for_preset(page, "Standard 4")


@pytest.mark.parametrize("latency", [0, 400])
def test_of_many_quick_changes_the_last_one_is_shown(page, latency):
    open_accordion(page)
    with slowed_down(page, latency):
        for value in [1, 2, 3, 4, 5, 6, 7, 8, 3]:
            number(page, "steps").fill(str(value))
        settle(page)
    assert "3 steps: 999 679 339" in status(page)
    assert number(page, "steps").input_value() == "3"
    wait_for_preset(page, None)


def test_it_neither_fades_nor_moves_what_is_below_while_it_is_asked_for(page):
    """Else whoever clicks there just then misses, and a line that follows each key flickers."""
    open_accordion(page)
    settle(page)
    with slowed_down(page, 1_000):
        page.evaluate(
            """status => {
            const seen = window.seenOfStatus = new Set(), block = document.querySelector(status);
            const look = () => {
                const asked = block.querySelector(".pending");
                const height = Math.round(block.getBoundingClientRect().height);
                seen.add(`${height} px, opacity ${asked ? getComputedStyle(asked).opacity : "at rest"}`);
                requestAnimationFrame(look);
            };
            look(); }""",
            STATUS,
        )
        height = round(page.locator(STATUS).first.bounding_box()["height"])
        set_number(page, "steps", 3)
        wait_for_status(page, "3 steps")
        settle(page)
    seen = set(page.evaluate("[...window.seenOfStatus]"))
    assert seen - {f"{height} px, opacity at rest"} == {f"{height} px, opacity 1"}


def test_a_change_costs_one_question_and_nothing_of_it_is_in_the_webuis_queue(page):
    """A job of a page that goes away would stay in gradio 3's queue, and "Reload UI" would wait for it."""
    jobs = []
    page.on("websocket", lambda socket: jobs.append(socket.url))
    page.on("request", lambda request: jobs.append(request.url) if "/queue/" in request.url else None)
    asked = questions(page)
    open_accordion(page)
    settle(page)
    set_number(page, "steps", 3)
    settle(page)
    page.locator("#script_txt2img_lcm_refresh").first.click()
    settle(page)
    assert jobs == [] and len(asked) == 3


def test_both_tabs_are_answered_where_both_change_at_once(page):
    page.evaluate("""() => { for (const tab of ['txt2img', 'img2img']) {
            const field = document.querySelector(`#script_${tab}_lcm_steps input[type=number]`);
            field.value = 3;
            updateInput(field);
        } }""")
    settle(page)
    for tab in ("txt2img", "img2img"):
        assert "3 steps" in status(page, tab)


def test_of_a_picture_that_is_resized_by_a_factor_the_size_that_comes_of_it_counts(page, webui):
    data = io.BytesIO()
    Image.new("RGB", (512, 384), "white").save(data, "PNG")
    hint = page.locator(
        "#script_img2img_lcm_messages .lcm-warnings li", has_text="SDXL at 1024 pixels in 4 steps"
    )
    with webui.settings(sd_model_checkpoint=webui.sdxl):
        webui.txt2img(PROMPT, webui.sdxl, steps=1)  # so that it is loaded, on Forge too
        open_tab(page, "img2img")
        open_accordion(page, "img2img")
        editor(page, "img2img_image").locator("input[type=file]").first.set_input_files(
            {"name": "wide.png", "mimeType": "image/png", "buffer": data.getvalue()}
        )
        resize = page.locator("#img2img_column_size .tab-nav button")
        resize.filter(has_text="Resize by").click()
        scale = page.locator("#img2img_scale input[type=range]")
        # Forge rounds to what a latent can have, Neo to 64
        sizes = {"1.9": re.compile("972x729|968x728|960x704"), "2": "1024x768"}
        for value, size in sizes.items():
            scale.fill(value)
            scale.dispatch_event("pointerup")  # the slider is let go
            page.locator("#img2img_scale_resolution_preview", has_text=size).first.wait_for()
        hint.wait_for()
        resize.filter(has_text="Resize to").click()
        hint.wait_for(state="detached")
        resize.filter(has_text="Resize by").click()
        page.fill("#img2img_prompt textarea", OTHER)
        hint.wait_for()
        resize.filter(has_text="Resize to").click()
        settle(page)
        assert hint.count() == 0
    webui.loaded()


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_it_follows_the_checkpoint_and_a_change_costs_few_questions_and_looks_at_the_lora_folder(page, webui):
    if webui.is_new_forge:
        pytest.skip("this WebUI loads a checkpoint with the first picture")
    before = webui.all_settings()["sd_model_checkpoint"]
    open_accordion(page)
    settle(page)
    try:
        for title, family in ((webui.sdxl, "SDXL · lcm_lora_sdxl"), (webui.sd15, "SD 1.5 · lcm_lora_sd15")):
            asked, looks = questions(page), webui.client.get("/lcm-test-probe/looks")
            began = time.monotonic()
            choose(page, "setting_sd_model_checkpoint", title, is_beginning=True)
            wait_for_status(page, family)
            settle(page)
            # while a slow machine loads it, both tabs ask now and then
            polls = 2 * sum(at < time.monotonic() - began for at in accumulate(POLLS))
            assert len(asked) <= 8 + polls
            assert webui.client.get("/lcm-test-probe/looks") - looks <= 8 + polls
        assert webui.client.get("/sdapi/v1/options")["sd_model_checkpoint"].startswith(webui.sd15)
    finally:
        webui.client.post("/sdapi/v1/options", {"sd_model_checkpoint": before})
        webui.loaded()


@both_profiles
def test_a_pasted_picture_is_spoken_of_with_the_checkpoint_that_its_settings_override(page, webui):
    made, _ = webui.txt2img(PROMPT, webui.sdxl, steps=1, cfg_scale=1)
    webui.loaded()
    with webui.settings(disable_weights_auto_swap=False, sd_model_checkpoint=webui.sd15):
        page.fill("#txt2img_prompt textarea", made.infotext)
        page.click("#paste")
        page.wait_for_function(
            "text => document.querySelector('#txt2img_prompt textarea').value === text", arg=PROMPT
        )
        open_accordion(page)
        wait_for_status(page, "The checkpoint is not loaded yet")
        page.click("#txt2img_generate")
        wait_for_status(page, "SDXL · lcm_lora_sdxl")
        page.locator("#html_info_txt2img", has_text="Steps:").first.wait_for()
        settle(page)
        page.locator(
            "#txt2img_override_settings .token-remove, #txt2img_override_settings .remove-all"
        ).first.click()
        wait_for_status(page, "The checkpoint is not loaded yet")
    webui.loaded()


def test_nothing_moves_while_sliders_are_dragged(page):
    open_accordion(page)
    page.fill("#txt2img_neg_prompt textarea", "blurry")
    settle(page)
    assert page.locator("#txt2img_neg_prompt .lcm-offer").is_visible()
    script = "element => element.getBoundingClientRect().top + scrollY"

    def height() -> float:
        return accordion(page).locator("[id$=_lcm_cfg]").first.evaluate(script)

    before = height()
    for name, values in (("cfg", (1.5, 2, 1)), ("steps", (5, 6, 1))):
        for value in values:
            set_number(page, name, value)
            settle(page)
            assert page.locator("#txt2img_neg_prompt .lcm-offer").count() == (name == "steps" or value == 1)
            assert height() == before
