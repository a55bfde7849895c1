"""The page's saved defaults (ui-config.json): what the user saved comes up again, and Settings -> LCM still
counts beside it.
"""

import json
import re

import pytest

from tests.browser import needs_chromium, open_accordion, open_page
from tests.live.page import (
    is_ticked,
    note_at,
    number,
    reload_ui,
    set_host_number,
    set_number,
    settle,
    status,
    untick,
    wait_for_preset,
)
from tests.prompts import PROMPT

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10", "a1111-1.7")]
STATUS_OF_SAVED = "lcm_lora_sd15 at 0.8 · 6 steps: 999 839 679 499 339 179 · CFG 2"


def load_model(webui) -> None:
    webui.txt2img(PROMPT, steps=1, cfg_scale=1)


def press(page, element_id: str) -> None:
    # it is on another tab; and a page that goes away at the click cannot answer
    page.evaluate("id => { setTimeout(() => document.getElementById(id).click(), 0); }", element_id)


def host_value(page, element_id: str) -> str:
    return page.locator(f"#{element_id} input[type=number]").first.input_value()


def page_of_saved(own, browser):
    """A fresh page after another one's values were saved as defaults: LCM on, with values of the user's, and
    33 of the WebUI's steps.
    """
    load_model(own)
    page = open_page(browser, own.client.url)
    settle(page)
    set_host_number(page, "txt2img_steps", 33)
    open_accordion(page)
    for name, value in (("steps", 6), ("weight", 0.8), ("cfg", 2)):
        set_number(page, name, value)
    settle(page)
    assert STATUS_OF_SAVED in status(page)
    press(page, "ui_defaults_apply")
    page.get_by_text(re.compile(r"Wrote \d+ changes")).first.wait_for(state="attached")
    reload_ui(page, own.server)
    load_model(own)

    return open_page(browser, own.client.url)


DO_NOT_SAVE_TICKS = ("a1111-1.6", "forge")


@pytest.fixture
def saves_ticks(own):
    if own.name in DO_NOT_SAVE_TICKS:
        pytest.skip("this WebUI does not save the tick of an accordion")


def test_saved_defaults_come_up_and_settings_count_beside_them(saves_ticks, own, browser):
    page = page_of_saved(own, browser)
    settle(page)
    assert is_ticked(page)
    assert [number(page, name).input_value() for name in ("steps", "weight", "cfg")] == ["6", "0.8", "2"]
    assert STATUS_OF_SAVED in status(page) and "LCM is off" not in status(page)
    assert "LCM: 6" in page.evaluate(
        "getComputedStyle(document.getElementById('txt2img_steps')).getPropertyValue('--lcm-value')"
    )
    assert note_at(page, "txt2img_steps") != "none"
    wait_for_preset(page, None)
    over_api = own.client.txt2img(PROMPT, steps=3, cfg_scale=3, width=own.side, height=own.side)
    assert "Steps: 3" in over_api.infotext and "LCM" not in over_api.infotext, (
        "a request that says nothing of LCM was made with it"
    )
    assert not is_ticked(page, "img2img")
    # its API takes the type of a control's value, which JSON makes of 2.0 a whole number, for that of all of
    # them
    if own.reads_infotexts:
        options = "LCM LoRA: lcm_lora_sd15, LCM weight: 0.75, LCM schedule: Trailing"
        again = (
            f"{PROMPT}\nSteps: 4, Sampler: LCM, CFG scale: 1.5, Seed: 7, Size: {own.side}x{own.side},"
            f" {options}"
        )
        (drawn,) = json.loads(own.txt2img_of_infotext(again)["info"])["infotexts"]
        assert "CFG scale: 1.5" in drawn and "LCM weight: 0.75" in drawn
    untick(page)
    settle(page)
    steps = "32" if own.name == "neo" else "33"  # its preset's, at each load of the page
    assert (
        note_at(page, "txt2img_steps") == "none"
        and host_value(page, "txt2img_steps") == steps
        and "LCM is off" in status(page)
    )

    changes = {"lcm_max_steps": 12, "lcm_max_cfg": 1.5, "lcm_weight_sd15": 0.9, "lcm_schedule": "WebUI"}
    own.client.post("/sdapi/v1/options", changes)
    reload_ui(page, own.server)
    load_model(own)
    page = open_page(browser, own.client.url)
    settle(page)
    assert (number(page, "steps").get_attribute("max"), number(page, "steps").input_value()) == ("12", "6")
    assert (number(page, "cfg").get_attribute("max"), number(page, "cfg").input_value()) == ("1.5", "1.5")
    assert number(page, "weight").input_value() == "0.8", "a saved value counts more than the setting"
    given = {"lcm": [True], "width": own.side, "height": own.side}  # the rest is filled up by the WebUI
    over_api = own.client.txt2img(PROMPT, **given).infotext
    plan = own.client.post("/lcm/v1/plan", {"prompt": PROMPT, "args": [True]})
    assert "LCM weight: 0.9, LCM schedule: WebUI" in over_api and (plan["weight"], plan["schedule"]) == (
        0.9,
        "webui",
    )
    assert (
        page.locator("#script_txt2img_lcm_schedule label:has(input:checked)").first.inner_text().strip()
        == "WebUI"
    )
    assert "6 steps: " in status(page)
    page.close()


@pytest.mark.profiles("forge")
def test_where_ticks_are_not_saved_the_sliders_are(own, browser):
    if own.name not in DO_NOT_SAVE_TICKS:
        pytest.skip("this WebUI saves the tick of an accordion, and there is a test for that")
    page = page_of_saved(own, browser)
    settle(page)
    assert not is_ticked(page) and note_at(page, "txt2img_steps") == "none"
    over_api = own.client.txt2img(PROMPT, steps=3, cfg_scale=3, width=own.side, height=own.side)
    assert "Steps: 3" in over_api.infotext and "LCM" not in over_api.infotext
    open_accordion(page)
    settle(page)
    assert status(page).startswith(f"SD 1.5 · {STATUS_OF_SAVED}")
    assert [number(page, name).input_value() for name in ("steps", "weight", "cfg")] == ["6", "0.8", "2"]
    wait_for_preset(page, None)
    untick(page)
    settle(page)
    assert note_at(page, "txt2img_steps") == "none" and host_value(page, "txt2img_steps") == "33"
    page.close()
