"""A CFG scale, and with it the negative prompt, in the middle steps alone."""

from collections import Counter

import pytest

from tests.browser import needs_chromium, open_accordion
from tests.live.page import generate, infotext, number, set_number, settle, status, wait_for_status
from tests.live.profiles import every_profile, one_profile
from tests.live.test_generation import TRAILING_4, fields, levels_apart, same
from tests.live.test_xyz_plot import plot
from tests.prompts import OTHER, PROMPT
from workbench.client import decode_image

LIGHT = {"enabled": True, "steps": 4, "cfg": 2, "guided_steps": "middle"}
FULL, OFF = {**LIGHT, "guided_steps": "all"}, {**LIGHT, "cfg": 1}
NEGATIVE = {"negative_prompt": "green circle"}


def rows_at(calls) -> dict[int, int]:
    """The UNet's rows at each timestep, whether a host computes the halves in one call or two."""
    counted: Counter[int] = Counter()
    for call in calls:
        counted[call["timesteps"][0]] += call["rows"]
    return dict(counted)


@every_profile
def test_the_middle_steps_alone_compute_both_halves(webui):
    light, calls = webui.txt2img(PROMPT, lcm=LIGHT, **NEGATIVE)
    assert rows_at(calls) == dict(zip(TRAILING_4, (1, 2, 2, 1), strict=True))
    assert fields(light.infotext)["LCM guided steps"] == "Middle"
    full, off = (webui.txt2img(PROMPT, lcm=lcm, **NEGATIVE)[0] for lcm in (FULL, OFF))
    without, _ = webui.txt2img(PROMPT, lcm=LIGHT)
    for other in (full, off, without):
        assert not same(light.image, other.image)
    assert "guided" not in full.infotext and "guided" not in off.infotext
    plan = webui.loaded().post("/lcm/v1/plan", {"prompt": PROMPT, "args": [LIGHT], **NEGATIVE})
    assert (plan["guided_steps"], plan["unet_rows"]) == ([2, 3], 6)
    assert "CFG 2 in steps 2–3: negative prompt used · 6 UNet rows" in plan["status"]


def test_at_cfg_one_nothing_is_guided_and_the_picture_is_the_same(webui):
    off, calls = webui.txt2img(PROMPT, lcm=OFF, **NEGATIVE)
    plain, _ = webui.txt2img(PROMPT, lcm={**OFF, "guided_steps": "all"}, **NEGATIVE)
    assert rows_at(calls) == dict.fromkeys(TRAILING_4, 1) and same(off.image, plain.image)


@pytest.mark.parametrize("method", ["tcd", "lightning-4", "dmd2"])
def test_other_methods_are_guided_in_middle_steps_too(webui, method):
    _, calls = webui.txt2img(PROMPT, lcm={**LIGHT, "lora": "none", "method": method}, **NEGATIVE)
    assert list(rows_at(calls).values()) == [1, 2, 2, 1]


def test_each_pass_has_its_own_middle_steps(webui):
    _, calls = webui.txt2img(PROMPT, lcm=LIGHT, hr_second_pass_steps=2, **NEGATIVE, **webui.hires)
    expected = Counter(dict(zip(TRAILING_4, (1, 2, 2, 1), strict=True)))
    assert rows_at(calls) == expected + Counter({499: 1, 259: 2})
    start = webui.txt2img(OTHER, lcm=OFF)[0].image
    _, calls = webui.img2img(PROMPT, [start], lcm={**LIGHT, "steps": 3}, denoising_strength=0.5, **NEGATIVE)
    assert list(rows_at(calls).values()) == [1, 2, 1]


def test_every_picture_of_a_batch_is_guided(webui):
    batch, calls = webui.txt2img(PROMPT, lcm=LIGHT, batch_size=2, n_iter=2, seed=5, **NEGATIVE)
    assert list(rows_at(calls).values()) == [4, 8, 8, 4]
    for offset, image in enumerate(batch.images[-4:]):
        single, _ = webui.txt2img(PROMPT, lcm=LIGHT, seed=5 + offset, **NEGATIVE)
        assert levels_apart(image, single.image) <= 2  # another batch size rounds differently


@pytest.mark.parametrize(
    "prompt", [f"{PROMPT} AND {OTHER}", f"[{PROMPT}:{OTHER}:0.5]", ", ".join([PROMPT] * 12)]
)
def test_the_plan_tells_what_prompts_of_several_parts_compute(webui, prompt):
    _, calls = webui.txt2img(prompt, lcm=LIGHT, **NEGATIVE)
    plan = webui.loaded().post("/lcm/v1/plan", {"prompt": prompt, "args": [LIGHT], **NEGATIVE})
    assert plan["unet_rows"] == sum(rows_at(calls).values())


def test_a_picture_comes_back_from_its_infotext(webui):
    if not webui.reads_infotexts:
        pytest.skip("this WebUI's API reads no infotexts")
    made, _ = webui.txt2img(PROMPT, lcm=LIGHT, **NEGATIVE)
    answer = webui.txt2img_of_infotext(made.infotext)
    assert same(decode_image(answer["images"][0]), made.image)


def test_the_axis_of_the_plot(webui):
    images, _, calls = plot(webui, LIGHT, ("[LCM] Guided steps", "All, Middle"), **NEGATIVE)
    assert sum(rows_at(calls).values()) == 8 + 6
    assert same(images[0], webui.txt2img(PROMPT, lcm=FULL, **NEGATIVE)[0].image)


class TestOnThePage:
    pytestmark = [*needs_chromium, one_profile]

    def test_one_press_at_the_negative_prompt_makes_it_count(self, page, webui):
        open_accordion(page)
        offer = page.locator("#txt2img_neg_prompt .lcm-offer")
        settle(page)
        assert offer.count() == 0
        page.fill("#txt2img_neg_prompt textarea", "green circle")
        offer.click()
        wait_for_status(page, "CFG 2 in steps 2–3: negative prompt used · 6 UNet rows")
        settle(page)
        assert offer.count() == 0 and number(page, "cfg").input_value() == "2"
        assert checked(page) == "Light"
        generate(page, webui)
        assert "LCM guided steps: Middle" in infotext(page)

    def test_one_control_sets_what_the_negative_prompt_does(self, page):
        open_accordion(page)
        settle(page)
        assert checked(page) == "Off"
        for label, line in (
            ("Full", "CFG 1.5 · 8 UNet rows"),
            ("Light", "CFG 2 in steps 2–3 · 6 UNet rows"),
        ):
            page.locator("#script_txt2img_lcm_negative label", has_text=label).first.click()
            wait_for_status(page, line)
            settle(page)
            assert checked(page) == label
        set_number(page, "steps", 8)
        page.locator("#script_txt2img_lcm_negative label", has_text="Full").first.click()
        wait_for_status(page, "CFG 1.5 · 16 UNet rows")
        settle(page)
        page.locator("#script_txt2img_lcm_negative label", has_text="Light").first.click()
        wait_for_status(page, "CFG 2.5 in steps 4–6 · 11 UNet rows")
        settle(page)
        slider = page.locator("#script_txt2img_lcm_cfg input[type=range]").first
        assert (slider.get_attribute("max"), slider.input_value()) == ("2.5", "2.5")
        set_number(page, "steps", 4)
        wait_for_status(page, "CFG 2 in steps 2–3 · 6 UNet rows")
        settle(page)
        assert number(page, "cfg").input_value() == "2"
        number(page, "cfg").fill("1")
        number(page, "cfg").press("Tab")
        wait_for_status(page, "CFG 1 · 4 UNet rows")
        settle(page)
        assert checked(page) == "Off" and "negative" not in status(page)


def checked(page) -> str:
    return page.locator("#script_txt2img_lcm_negative label:has(input:checked)").first.inner_text()
