"""The accordion says what will happen, whatever on the page is changed, and warns where the eye is."""

import io
import re

import pytest
from PIL import Image

from tests.browser import needs_chromium, open_accordion
from tests.live.page import (
    STATUS,
    choose,
    editor,
    infotext,
    note_at,
    number,
    open_tab,
    questions,
    set_host_number,
    set_number,
    slow_down,
    status,
    wait_for_preset,
    wait_for_status,
    warnings,
)
from tests.prompts import OTHER, PROMPT

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10")]


def test_presets_set_the_sliders_and_moving_one_makes_them_custom(page, webui):
    open_accordion(page)
    wait_for_preset(page, "Standard 4")
    set_number(page, "cfg", 1.5)
    wait_for_preset(page, "Custom")
    for label, steps in (("Preview 1", "1"), ("Final 8", "8"), ("Draft 2", "2")):
        page.locator("#script_txt2img_lcm_quality label", has_text=label).first.click()
        wait_for_status(page, f"{steps} step")
        assert number(page, "steps").input_value() == steps and number(page, "cfg").input_value() == "1"
    set_number(page, "steps", 5)
    wait_for_preset(page, "Custom")
    set_number(page, "steps", 4)
    wait_for_preset(page, "Standard 4")


@pytest.mark.parametrize("latency", [0, 400])
def test_of_many_quick_changes_the_last_one_is_shown(page, webui, latency):
    open_accordion(page)
    slow_down(page, latency)
    for value in [1, 2, 3, 4, 5, 6, 7, 8] * 3:
        number(page, "steps").fill(str(value))
    number(page, "steps").fill("3")
    wait_for_status(page, "3 steps: 999 679 339")
    page.wait_for_timeout(1_000 + 5 * latency)
    wait_for_status(page, "3 steps: 999 679 339")
    assert number(page, "steps").input_value() == "3"
    wait_for_preset(page, "Custom")


def test_the_line_neither_fades_nor_moves_what_is_below_while_it_is_asked_for(page, webui):
    """Else whoever clicks there just then misses, and a line that follows each key flickers."""
    open_accordion(page)
    wait_for_status(page, "4 steps")
    page.wait_for_timeout(1_000)
    slow_down(page, 1_000)
    page.evaluate(
        """status => { const seen = window.seenOfStatus = new Set(), block = document.querySelector(status);
        const look = () => {
            const asked = block.querySelector(".pending"), height = Math.round(block.getBoundingClientRect().height);
            seen.add(`${height} px, opacity ${asked ? getComputedStyle(asked).opacity : "at rest"}`);
            requestAnimationFrame(look);
        };
        look(); }""",
        STATUS,
    )
    height = round(page.locator(STATUS).first.bounding_box()["height"])
    set_number(page, "steps", 3)
    wait_for_status(page, "3 steps")
    page.wait_for_timeout(500)
    seen = set(page.evaluate("[...window.seenOfStatus]"))
    assert seen - {f"{height} px, opacity at rest"} == {f"{height} px, opacity 1"}


def test_the_page_asks_nothing_while_nothing_changes(page, webui):
    open_accordion(page)
    slow_down(page, 400)
    for value in (1, 2, 8, 5):  # the server's answer to one comes when others have been asked
        set_number(page, "steps", value)
        page.wait_for_timeout(200)
    wait_for_status(page, "5 steps")
    for _ in range(6):  # on a busy machine the last answers take their time
        asked = questions(page)
        page.wait_for_timeout(5_000)
        if not asked:
            break
    assert asked == []


def test_what_the_page_asks_by_itself_is_not_in_the_webuis_queue(page, webui):
    """A job of a page that goes away would stay in gradio 3's, and "Reload UI" would wait for it."""
    page.wait_for_timeout(3_000)  # it has asked by itself for the last time
    jobs = []
    page.on("websocket", lambda socket: jobs.append(socket.url))
    page.on("request", lambda request: jobs.append(request.url) if "/queue/" in request.url else None)
    asked = questions(page)
    open_accordion(page)
    set_number(page, "steps", 3)
    page.locator("#script_txt2img_lcm_refresh").first.click()
    wait_for_status(page, "3 steps: 999 679 339")
    page.wait_for_timeout(2_000)
    assert jobs == [] and len(asked) >= 3


def test_both_tabs_are_answered_where_both_change_at_once(page, webui):
    page.evaluate(
        """() => { for (const tab of ['txt2img', 'img2img']) {
            const field = document.querySelector(`#script_${tab}_lcm_steps input[type=number]`);
            field.value = 3;
            updateInput(field);
        } }"""
    )
    for tab in ("txt2img", "img2img"):
        said = f"document.querySelector('#script_{tab}_lcm_status .lcm-status').textContent.includes('3 steps')"
        page.wait_for_function(said)


def test_the_negative_prompt_is_called_ignored_only_where_there_is_one(page, webui):
    open_accordion(page)
    wait_for_status(page, "CFG 1 · ")
    assert note_at(page, "txt2img_neg_prompt") == "none" and warnings(page) == []
    page.fill("#txt2img_neg_prompt textarea", "blurry")
    wait_for_status(page, "CFG 1: negative prompt ignored")
    assert "ignored at CFG 1" in note_at(page, "txt2img_neg_prompt")
    assert any("negative prompt is ignored" in warning for warning in warnings(page))
    set_number(page, "cfg", 1.5)
    wait_for_status(page, "CFG 1.5: negative prompt used · 2 × 4 UNet calls")
    assert note_at(page, "txt2img_neg_prompt") == "none" and warnings(page) == []


def test_the_hires_pass_is_told_with_its_own_steps_and_timesteps(page, webui):
    open_accordion(page)
    page.locator("#txt2img_hr .label-wrap").first.click(position={"x": 200, "y": 8})
    wait_for_status(page, "hires 4 steps at strength 0.7: 699 539 359 179")
    assert "LCM: 4" in note_at(page, "txt2img_hires_steps")
    set_host_number(page, "txt2img_hires_steps", 2)
    wait_for_status(page, "hires 2 steps at strength 0.7: 699 359 · ")
    assert note_at(page, "txt2img_hires_steps") == "none"
    set_host_number(page, "txt2img_denoising_strength", 0.5)
    wait_for_status(page, "hires 2 steps at strength 0.5: 499 259")
    set_host_number(page, "txt2img_hires_steps", 30)
    wait_for_status(page, "hires 8 steps at strength 0.5")
    assert "LCM: 8" in note_at(page, "txt2img_hires_steps")


def type_hidden(page, element_id: str, text: str) -> None:
    """Types into a field that the WebUI shows only where a setting of its own says so; skips the test where it is not on the page."""
    field = page.locator(f"#{element_id} textarea")
    if field.count() == 0:
        pytest.skip(f"this WebUI's page has no #{element_id} as long as it does not show it")
    field.evaluate("(field, text) => { field.value = text; updateInput(field); }", text)


def test_hires_prompts_of_their_own_are_taken_into_account(page, webui):
    open_accordion(page)
    page.locator("#txt2img_hr .label-wrap").first.click(position={"x": 200, "y": 8})
    wait_for_status(page, "hires 4 steps")
    type_hidden(page, "hires_prompt", f"{PROMPT} <lora:lcm_lora_sd15:0.6>")
    wait_for_status(page, "with lcm_lora_sd15 at 0.6")
    assert status(page).startswith("SD 1.5 · lcm_lora_sd15 · 4 steps")
    type_hidden(page, "hires_neg_prompt", "blurry")
    page.wait_for_function("getComputedStyle(document.getElementById('hires_neg_prompt'), '::after').content.includes('ignored')")
    assert note_at(page, "txt2img_neg_prompt") == "none" and any("negative prompt is ignored" in warning for warning in warnings(page))
    type_hidden(page, "hires_prompt", f"{PROMPT} <lora:lcm_lora_sd15:heavy>")
    wait_for_status(page, "heavy")


def test_a_schedule_picked_in_the_webuis_own_list_is_told(page, webui):
    webui.needs_schedules()
    open_accordion(page)
    choose(page, "txt2img_scheduler", "Karras")
    wait_for_status(page, "4 steps · schedule Karras")
    assert any('"Karras" was picked by hand' in warning for warning in warnings(page))
    choose(page, "txt2img_scheduler", "Automatic")
    wait_for_status(page, "4 steps: 999 759 499 259")


def test_a_tag_in_the_prompt_is_taken_into_account(page, webui):
    open_accordion(page)
    page.fill("#txt2img_prompt textarea", f"{PROMPT} <lora:lcm_lora_sd15:0.6>")
    wait_for_status(page, "lcm_lora_sd15 at 0.6")
    page.fill("#txt2img_prompt textarea", PROMPT)
    page.wait_for_function("() => !document.querySelector('.lcm-status').textContent.includes('at 0.6')")


def test_the_styles_are_taken_into_account(page, webui):
    open_accordion(page)
    choose(page, "txt2img_styles", "LCM test probe")
    wait_for_status(page, "lcm_lora_sd15 at 0.35")
    wait_for_status(page, "negative prompt ignored")
    page.locator("#txt2img_styles .token-remove").first.click()
    page.wait_for_function("() => !document.querySelector('.lcm-status').textContent.includes('at 0.35')")


def test_an_lcm_lora_in_the_prompt_with_lcm_off_is_warned_of_at_the_prompt(page, webui):
    page.fill("#txt2img_prompt textarea", f"{PROMPT} <lora:lcm_lora_sd15:1>")
    page.wait_for_function("getComputedStyle(document.getElementById('txt2img_prompt'), '::after').content.includes('lcm_lora_sd15')")
    assert "tick LCM" in note_at(page, "txt2img_prompt")
    open_accordion(page)
    page.wait_for_function("getComputedStyle(document.getElementById('txt2img_prompt'), '::after').content === 'none'")


def test_an_lcm_lora_in_a_hires_prompt_with_lcm_off_is_warned_of_there(page, webui):
    page.locator("#txt2img_hr .label-wrap").first.click(position={"x": 200, "y": 8})
    type_hidden(page, "hires_prompt", f"{PROMPT} <lora:lcm_lora_sd15:1>")
    page.wait_for_function("getComputedStyle(document.getElementById('hires_prompt'), '::after').content.includes('lcm_lora_sd15')")
    assert "hires pass" in note_at(page, "hires_prompt") and note_at(page, "txt2img_prompt") == "none"
    open_accordion(page)
    page.wait_for_function("getComputedStyle(document.getElementById('hires_prompt'), '::after').content === 'none'")


def test_a_tag_that_switches_lcm_on_is_told_with_what_will_be_used(page, webui):
    set_host_number(page, "txt2img_steps", 27)
    set_host_number(page, "txt2img_cfg_scale", 5.5)
    with webui.settings(lcm_typed_tag="switch LCM on"):
        page.fill("#txt2img_prompt textarea", f"{PROMPT} <lora:lcm_lora_sd15:0.7>")
        wait_for_status(page, "lcm_lora_sd15 at 0.7 · 8 steps")
        assert any("switches LCM on" in warning for warning in warnings(page))
        assert (note_at(page, "txt2img_steps"), note_at(page, "txt2img_cfg_scale")) == ('"LCM: 8"', '"LCM: 2"')
        assert note_at(page, "txt2img_sampling") == '"LCM"'
        page.fill("#txt2img_prompt textarea", PROMPT)
        page.wait_for_function("getComputedStyle(document.getElementById('txt2img_steps'), '::after').content === 'none'")


def test_large_sdxl_pictures_in_few_steps_are_warned_of(page, webui):
    field = page.locator("#txt2img_width input[type=number]").first
    if field.get_attribute("max") is not None and int(field.get_attribute("max")) < 1024:
        pytest.skip("this page's pictures are smaller")
    with webui.settings(sd_model_checkpoint=webui.sdxl):
        webui.txt2img(PROMPT, webui.sdxl, steps=1)  # so that it is loaded, on Forge too
        open_accordion(page)
        set_host_number(page, "txt2img_width", 1024)
        wait_for_status(page, "SDXL · ")
        page.locator(f"{STATUS} .lcm-warnings li", has_text="raise steps to 6–8").first.wait_for()
        set_number(page, "steps", 6)
        page.wait_for_function("() => !document.querySelector('.lcm-warnings')")


def test_of_a_picture_that_is_resized_by_a_factor_the_size_that_comes_of_it_counts(page, webui):
    data = io.BytesIO()
    Image.new("RGB", (512, 384), "white").save(data, "PNG")
    hint = page.locator("#script_img2img_lcm_status .lcm-warnings li", has_text="SDXL at 1024 pixels in 4 steps")
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
        sizes = {"1.9": re.compile("972x729|968x728"), "2": "1024x768"}  # Forge rounds to what a latent can have
        for value, size in sizes.items():
            scale.fill(value)
            scale.dispatch_event("pointerup")  # the slider is let go
            page.locator("#img2img_scale_resolution_preview", has_text=size).first.wait_for()
        hint.wait_for()
        for question in (PROMPT, OTHER):  # however short it was open, and the line asked for meanwhile
            resize.filter(has_text="Resize to").click()
            hint.wait_for(state="detached")
            page.wait_for_timeout(3_000)  # until the page has asked all that it asks by itself
            resize.filter(has_text="Resize by").click()
            page.fill("#img2img_prompt textarea", question)
            hint.wait_for()
        resize.filter(has_text="Resize to").click()
        hint.wait_for(state="detached")


def test_the_line_follows_the_checkpoint(page, webui):
    open_accordion(page)
    wait_for_status(page, "SD 1.5 · lcm_lora_sd15")
    for title, family in ((webui.sdxl, "SDXL · lcm_lora_sdxl"), (webui.sd15, "SD 1.5 · lcm_lora_sd15")):
        if page.locator("#setting_sd_model_checkpoint input").count() == 0:
            pytest.skip("this WebUI's list of checkpoints is elsewhere")
        choose(page, "setting_sd_model_checkpoint", title, is_beginning=True)
        wait_for_status(page, family)
    assert webui.client.get("/sdapi/v1/options")["sd_model_checkpoint"].startswith(webui.sd15)


@pytest.mark.profiles("a1111-1.10", "forge")
def test_a_pasted_picture_is_spoken_of_with_the_checkpoint_that_its_settings_override(page, webui):
    made, _ = webui.txt2img(PROMPT, webui.sdxl, steps=1, cfg_scale=1)
    webui.loaded()
    with webui.settings(disable_weights_auto_swap=False, sd_model_checkpoint=webui.sd15):
        page.fill("#txt2img_prompt textarea", made.infotext)
        page.click("#paste")
        page.wait_for_function("text => document.querySelector('#txt2img_prompt textarea').value === text", arg=PROMPT)
        open_accordion(page)
        wait_for_status(page, "The checkpoint is not loaded yet")
        number(page, "steps").fill("")  # what the plan is made from cannot be read, nor is it asked for
        page.wait_for_timeout(1_000)
        wait_for_status(page, "The checkpoint is not loaded yet")
        set_number(page, "steps", 4)
        page.click("#txt2img_generate")
        wait_for_status(page, "SDXL · lcm_lora_sdxl")
        page.locator("#txt2img_override_settings .token-remove, #txt2img_override_settings .remove-all").first.click()
        wait_for_status(page, "The checkpoint is not loaded yet")


def test_a_page_that_is_looked_at_again_has_heard_of_what_was_changed_elsewhere(page, webui):
    open_accordion(page)
    wait_for_status(page, "SD 1.5 · lcm_lora_sd15")
    page.wait_for_timeout(3_000)  # it has asked by itself for the last time
    with webui.settings(sd_model_checkpoint=webui.sdxl):
        webui.txt2img(PROMPT, webui.sdxl, steps=1)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        wait_for_status(page, "SDXL · lcm_lora_sdxl")


def test_the_line_follows_the_settings(page, webui):
    open_accordion(page)
    set_number(page, "steps", 8)
    wait_for_status(page, "8 steps")
    with webui.settings(lcm_max_steps=6):
        page.evaluate("opts.lcm_max_steps = 6")  # as "Apply settings" does in the page
        wait_for_status(page, "'steps' is 8; it must be a whole number from 1 to 6")
        # The page may have asked for another reason: it looks at the settings once a second, and takes what it has seen twice.
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 2500))")
    page.evaluate("opts.lcm_max_steps = 8")
    wait_for_status(page, "8 steps")


def test_screen_readers_are_told_of_what_is_new_alone(page, webui):
    heard = "document.querySelector('#script_txt2img_lcm_enabled .lcm-announced').textContent"
    for name in ("width", "height"):
        set_host_number(page, f"txt2img_{name}", webui.side)
    open_accordion(page)
    page.fill("#txt2img_neg_prompt textarea", "blurry")
    page.wait_for_function(f"{heard}.includes('4 steps: 999 759 499 259') && {heard}.includes('The negative prompt is ignored')")
    page.evaluate("""window.lcmTestHeard = 0; new MutationObserver(() => { window.lcmTestHeard += 1; }).observe(
        document.querySelector('#script_txt2img_lcm_enabled .lcm-announced'), { childList: true, characterData: true, subtree: true })""")
    page.click("#txt2img_generate")
    infotext(page)
    page.wait_for_timeout(2500)
    assert page.evaluate("window.lcmTestHeard") == 0
    set_number(page, "steps", 2)
    page.wait_for_function(f"window.lcmTestHeard === 1 && {heard}.includes('2 steps: 999 499')")


def test_an_lcm_lora_beside_settings_that_suit_it_is_not_warned_of(page, webui):
    set_host_number(page, "txt2img_steps", 4)
    set_host_number(page, "txt2img_cfg_scale", 1)
    choose(page, "txt2img_sampling", "LCM")
    page.fill("#txt2img_prompt textarea", f"{PROMPT} <lora:lcm_lora_sd15:0.7>")
    page.wait_for_function("document.querySelector('.lcm-status').textContent.includes('lcm_lora_sd15 at 0.7')")
    assert note_at(page, "txt2img_prompt") == "none"
