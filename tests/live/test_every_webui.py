"""The main ways to a picture, on every profile of the workbench."""

import pytest

from tests.browser import open_accordion, with_chromium
from tests.live.page import generate, infotext, is_ticked, settle, status, untick
from tests.live.profiles import every_profile
from tests.live.test_generation import ON, TRAILING_4, rows, same, timesteps
from tests.prompts import OTHER, PROMPT
from workbench.client import ApiError

pytestmark = every_profile


def test_lcm_on_and_off_in_turn(webui):
    plain = {"steps": 3, "cfg_scale": 3}
    before, before_calls = webui.txt2img(PROMPT, **plain)
    for checkpoint, lora in ((webui.sd15, "lcm_lora_sd15"), (webui.sdxl, "lcm_lora_sdxl")):
        made, calls = webui.txt2img(PROMPT, checkpoint, lcm=ON, steps=20, cfg_scale=7)
        assert (
            timesteps(calls) == TRAILING_4
            and rows(calls) == [1] * 4
            and [call["loras"] for call in calls] == [[lora]] * 4
        )
        assert (
            "Steps: 4, Sampler: LCM" in made.infotext
            and f"LCM LoRA: {lora}" in made.infotext
            and "CFG scale: 1," in made.infotext
        )
    _, calls = webui.txt2img(PROMPT, lcm={**ON, "cfg": 1.5}, negative_prompt="green")
    assert sum(rows(calls)) == 8
    after, after_calls = webui.txt2img(PROMPT, **plain)
    assert same(before.image, after.image) and before_calls == after_calls and "LCM" not in after.infotext


def test_a_tag_in_the_prompt_sets_the_weight_and_is_not_applied_twice(webui):
    typed, calls = webui.txt2img(f"{PROMPT} <lora:lcm_lora_sd15:0.5>", lcm=ON)
    ticked, _ = webui.txt2img(PROMPT, lcm={**ON, "weight": 0.5})
    assert same(typed.image, ticked.image) and calls[0]["loras"] == ["lcm_lora_sd15"]


def test_img2img_and_the_hires_pass_run_all_their_steps(webui):
    start = webui.txt2img(OTHER, lcm=ON)[0].image
    _, calls = webui.img2img(PROMPT, [start], lcm=ON, denoising_strength=0.5)
    assert timesteps(calls) == [499, 379, 259, 139] and rows(calls) == [1] * 4
    _, calls = webui.txt2img(PROMPT, lcm=ON, hr_second_pass_steps=2, **webui.hires)
    assert timesteps(calls) == [*TRAILING_4, 499, 259] and rows(calls) == [1] * 6


def test_what_cannot_be_used_is_refused_and_the_plan_says_so_before(webui):
    body = {"args": [{**ON, "lora": "lcm_lora_sdxl"}], "prompt": PROMPT}
    plan = webui.loaded().post("/lcm/v1/plan", body)
    with pytest.raises(ApiError) as refused:
        webui.txt2img(PROMPT, lcm=body["args"][0])
    assert refused.value.status == 422 and plan["problem"] == refused.value.body["detail"] != ""
    assert plan["family"] == "sd15" and webui.calls() == []


@with_chromium
def test_on_the_page_a_tick_makes_pictures_with_lcm_and_none_makes_the_webuis_own(page, webui):
    open_accordion(page)
    settle(page)
    assert is_ticked(page)
    assert status(page) == "SD 1.5 · lcm_lora_sd15 · 4 steps: 999 759 499 259 · CFG 1 · 4 UNet rows"
    webui.calls()
    generate(page, webui)
    assert "Steps: 4, Sampler: LCM" in infotext(page) and "LCM LoRA: lcm_lora_sd15" in infotext(page)
    assert timesteps(webui.calls()) == TRAILING_4
    untick(page)
    settle(page)
    page.click("#txt2img_generate")
    page.locator("#html_info_txt2img").filter(has_not_text="LCM").filter(has_text="Steps:").first.wait_for()
    assert all(call["loras"] == [] for call in webui.calls())
