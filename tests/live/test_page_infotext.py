"""From a picture to the page and back to the same picture: PNG Info and "Send to"."""

import io
import re

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.browser import needs_chromium, open_accordion, wait_until
from tests.live.page import (
    MESSAGES,
    generate,
    infotext,
    is_ticked,
    send_to_img2img,
    set_host_number,
    set_number,
    settle,
    wait_for_status,
)
from tests.live.profiles import one_profile
from tests.live.test_generation import same
from tests.live.test_loras import SD15, files
from tests.prompts import PROMPT

pytestmark = [*needs_chromium, one_profile]


def gallery_picture(page, tab="txt2img") -> Image.Image:
    """The picture that a tab's gallery shows."""
    address = page.locator(f"#{tab}_gallery img").first.evaluate("img => img.src")
    return Image.open(io.BytesIO(page.request.get(address).body()))


@pytest.mark.parametrize(
    "lcm,fields",
    [
        ({"steps": 3, "cfg": 1.5, "weight": 0.85}, {"negative_prompt": "green, blue: x"}),
        ({"steps": 2, "cfg": 1}, {"prompt": f"{PROMPT} <lora:lcm_lora_sd15:0.5>"}),
    ],
)
def test_a_picture_dropped_on_png_info_is_drawn_again(page, webui, tmp_path, lcm, fields):
    made, _ = webui.txt2img(**{"prompt": PROMPT, "seed": 77, **fields}, lcm={"enabled": True, **lcm})
    # A1111 1.6 and 1.7 note a strength that decides nothing where a picture is asked for over the API, and on
    # the page take it for a hires pass's; a picture made on the page has none
    parameters = re.sub(r"Denoising strength: [\d.]+, ", "", made.infotext)
    texts = PngInfo()
    texts.add_text("parameters", parameters)
    made.image.save(tmp_path / "lcm.png", pnginfo=texts)
    page.locator("#tabs > .tab-nav button", has_text="PNG Info").first.click()
    page.locator("#pnginfo_image input[type=file]").first.set_input_files(tmp_path / "lcm.png")
    weight = re.search(r"LCM weight: [\d.]+", parameters)[0]
    page.locator("#tab_pnginfo", has_text=re.compile(rf"{re.escape(weight)}\b")).first.wait_for()
    page.locator("#tab_pnginfo #txt2img_tab").first.click()
    wait_for_status(page, f"{lcm['steps']} steps")
    page.wait_for_function(
        "text => document.querySelector('#txt2img_prompt textarea').value === text",
        arg=fields.get("prompt", PROMPT),
    )
    assert is_ticked(page)
    page.click("#txt2img_generate")
    shown = infotext(page)
    assert parameters.splitlines()[-1] in shown
    assert gallery_picture(page).convert("RGB").tobytes() == made.image.convert("RGB").tobytes()


@pytest.mark.parametrize("name", ["the same under another name", 'my "fast", one: x'])
def test_a_picture_is_drawn_again_where_the_lora_has_another_name(page, webui, name):
    with files(webui, **{name: SD15}):
        made, _ = webui.txt2img(
            PROMPT, seed=77, lcm={"enabled": True, "steps": 2, "weight": 0.85, "lora": name}
        )
    page.fill("#txt2img_prompt textarea", re.sub(r"Denoising strength: [\d.]+, ", "", made.infotext))
    page.click("#paste")
    wait_for_status(page, f"{SD15} at 0.85 · 2 steps")
    page.wait_for_function("document.querySelector('#txt2img_seed :is(input, textarea)').value === '77'")
    assert is_ticked(page)
    page.click("#txt2img_generate")
    assert f"LCM LoRA: {SD15}, LCM weight: 0.85" in infotext(page)
    assert same(gallery_picture(page), made.image)


def test_a_picture_that_is_sent_to_img2img_is_drawn_on_with_the_same_lcm(page, webui):
    lcm = {"enabled": True, "steps": 3, "cfg": 1.5, "weight": 0.85}
    open_accordion(page)
    for name, value in (("steps", 3), ("cfg", 1.5), ("weight", 0.85)):
        set_number(page, name, value)
    set_host_number(page, "txt2img_seed", 77)
    generate(page, webui)
    infotext(page)
    start = gallery_picture(page)
    send_to_img2img(page)
    page.wait_for_function("document.querySelector('#img2img_seed :is(input, textarea)').value === '77'")
    wait_until(page, lambda: is_ticked(page, "img2img"))
    page.locator("#img2img_image img, #img2img_img2img_tab .forge-container img").first.wait_for(
        state="attached"
    )
    set_host_number(page, "img2img_denoising_strength", 0.6)
    page.click("#img2img_generate")
    page.locator("#html_info_img2img", has_text="LCM weight: 0.85").first.wait_for()
    expected, _ = webui.img2img(PROMPT, [start], lcm=lcm, denoising_strength=0.6, seed=77)
    assert same(gallery_picture(page, "img2img"), expected.image)


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_a_picture_of_another_webuis_own_sampler_and_a_tag_is_drawn_at_its_timesteps(page, webui):
    """Where this WebUI has an LCM sampler of its own, by that, with LCM off; else by LCM with the schedule
    "WebUI".
    """
    size = f"{webui.side}x{webui.side}"
    made_elsewhere = (
        f"{PROMPT} <lora:lcm_lora_sd15:0.7>\nSteps: 4, Sampler: LCM, Schedule type: Automatic, CFG scale: 1,"
        f" Seed: 77, Size: {size}, Version: v1.99.0"
    )
    page.fill("#txt2img_prompt textarea", made_elsewhere)
    page.click("#paste")
    page.wait_for_function("document.querySelector('#txt2img_seed input').value === '77'")
    wait_for_status(page, "lcm_lora_sd15 at 0.7 · 4 steps")
    assert is_ticked(page) is not webui.has_own_lcm
    webui.calls()
    page.click("#txt2img_generate")
    infotext(page)
    calls = webui.calls()
    assert [call["timesteps"][0] for call in calls] == webui.own_lcm_timesteps


@pytest.mark.profiles("a1111-1.10")
def test_the_schedule_of_a_picture_of_the_webuis_own_lcm_goes_with_the_next_paste(page):
    chosen = page.locator("#script_txt2img_lcm_schedule label:has(input:checked)").first

    def paste(sampler: str, seed: int) -> str:
        made = f"{PROMPT}\nSteps: 4, Sampler: {sampler}, CFG scale: 1, Seed: {seed}, Size: 64x64"
        page.fill("#txt2img_prompt textarea", made)
        page.click("#paste")
        page.wait_for_function(f"document.querySelector('#txt2img_seed input').value === '{seed}'")
        settle(page)
        return chosen.text_content().strip()

    note = page.locator(f"{MESSAGES} li", has_text="of the WebUI's own LCM")
    settle(page)
    assert paste("LCM", 77) == "WebUI"
    note.wait_for(state="attached")  # gradio may report a pasted value later than it shows it
    assert paste("LCM", 78) == "WebUI" and paste("Euler", 79) == "Trailing"
    note.wait_for(state="detached")
