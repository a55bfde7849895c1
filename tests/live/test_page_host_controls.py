"""While LCM is on, the WebUI's own controls show what will be used; when it is off, they are exactly as the
user left them.
"""

import pytest

from tests.browser import needs_chromium, open_accordion, open_page, wait_until
from tests.live.page import (
    accordion,
    choose,
    generate,
    infotext,
    is_ticked,
    open_tab,
    send_to_img2img,
    set_host_number,
    set_number,
    settle,
    unknown_errors,
    untick,
    wait_for_status,
)
from tests.live.profiles import one_profile
from tests.prompts import PROMPT

pytestmark = [*needs_chromium, one_profile]

STEPS, CFG, SAMPLER = "txt2img_steps", "txt2img_cfg_scale", "txt2img_sampling"
OF_HIRES_PASS = ("hr_sampler", "hr_scheduler", "txt2img_hr_cfg")
MINE = {"steps": "27", "cfg": "5.5", "sampler": "Euler"}


def shown(page, element_id: str) -> str | None:
    """What covers one of the WebUI's controls, None where nothing does."""
    return page.evaluate(
        """id => {
            const control = document.getElementById(id);
            const content = getComputedStyle(control, '::after').content;
            const inputs = [...control.querySelectorAll('input')].filter(input =>
            getComputedStyle(input).visibility === 'visible');
            return inputs.length ? null : content.replaceAll('"', '');
        }""",
        element_id,
    )


def wait_until_shown(page, element_id: str, text: str) -> None:
    page.wait_for_function(
        "([id, text]) => getComputedStyle(document.getElementById(id), '::after').content.includes(text)",
        arg=[element_id, text],
    )


def host_values(page, tab="txt2img") -> dict[str, str]:
    """What the WebUI's controls hold, covered or not."""
    return {
        "steps": page.locator(f"#{tab}_steps input[type=number]").first.input_value(),
        "cfg": page.locator(f"#{tab}_cfg_scale input[type=number]").first.input_value(),
        "sampler": page.locator(f"#{tab}_sampling input").first.input_value(),
    }


def set_mine(page, tab="txt2img") -> None:
    set_host_number(page, f"{tab}_steps", MINE["steps"])
    set_host_number(page, f"{tab}_cfg_scale", MINE["cfg"])
    choose(page, f"{tab}_sampling", MINE["sampler"])
    wait_for_values(page, MINE, tab)


def wait_for_values(page, values: dict[str, str], tab="txt2img") -> None:
    wait_until(page, lambda: host_values(page, tab) == values)


def switch_off(page, tab="txt2img") -> None:
    untick(page, tab)
    page.wait_for_function(
        "id => getComputedStyle(document.getElementById(id), '::after').content === 'none'",
        arg=f"{tab}_steps",
    )


def test_the_controls_show_what_lcm_uses_and_get_their_own_back(page, webui):
    set_mine(page)
    open_accordion(page)
    wait_until_shown(page, STEPS, "LCM: 4")
    assert (shown(page, CFG), shown(page, SAMPLER)) == ("LCM: 1", "LCM")
    set_number(page, "steps", 2)
    wait_until_shown(page, STEPS, "LCM: 2")
    generate(page, webui)
    assert "Steps: 2, Sampler: LCM" in infotext(page) and "CFG scale: 1" in infotext(page)
    switch_off(page)
    assert (shown(page, STEPS), shown(page, CFG), shown(page, SAMPLER)) == (None, None, None)
    assert host_values(page) == MINE


def test_they_stay_covered_and_kept_while_the_checkpoint_is_switched(page, webui):
    if webui.is_new_forge:
        pytest.skip("this WebUI loads a checkpoint with the first picture")
    set_mine(page)
    open_accordion(page)
    for title, family in ((webui.sdxl, "SDXL · "), (webui.sd15, "SD 1.5 · ")):
        choose(page, "setting_sd_model_checkpoint", title, is_beginning=True)
        wait_for_status(page, family)
        wait_until_shown(page, STEPS, "LCM: 4")
        assert (shown(page, CFG), shown(page, SAMPLER)) == ("LCM: 1", "LCM")
    switch_off(page)
    assert host_values(page) == MINE


def test_covered_controls_are_out_of_reach_of_the_keyboard(page, webui):
    open_accordion(page)
    wait_until_shown(page, STEPS, "LCM: 4")
    for element_id in (STEPS, CFG, SAMPLER):
        focused = page.evaluate(
            """id => [...document.querySelectorAll(`#${id} input`)]
                .filter(input => { input.focus(); return document.activeElement === input; }).length""",
            element_id,
        )
        assert focused == 0


@pytest.mark.profiles("a1111-1.10", "a1111-1.6", "forge", "neo")
def test_the_hires_pass_has_what_lcm_decides_covered_and_its_steps_not(page, webui):
    page.locator("#txt2img_hr .label-wrap").first.click(position={"x": 200, "y": 8})
    there = [element_id for element_id in OF_HIRES_PASS if page.locator(f"#{element_id} input").count()]
    assert "hr_sampler" in there  # later hosts have the other two
    if page.locator("#hr_sampler").first.is_visible():  # A1111 shows it where a setting says so
        choose(page, "hr_sampler", "Euler")
    before = [page.locator(f"#{element_id} input").first.input_value() for element_id in there]
    open_accordion(page)
    wait_for_status(page, "hires 4 steps")
    wait_until_shown(page, "hr_sampler", "LCM")
    values = {"hr_sampler": "LCM", "hr_scheduler": "LCM", "txt2img_hr_cfg": "LCM: 1"}
    assert {element_id: shown(page, element_id) for element_id in there} == {
        element_id: values[element_id] for element_id in there
    }
    assert shown(page, "txt2img_hires_steps") is None
    switch_off(page)
    assert [shown(page, element_id) for element_id in there] == [None] * len(there)
    assert [page.locator(f"#{element_id} input").first.input_value() for element_id in there] == before


def test_on_img2img_the_controls_show_what_lcm_uses_and_get_their_own_back(page, webui):
    made, _ = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 6, "cfg": 1.5}, seed=77)
    controls = ("img2img_steps", "img2img_cfg_scale", "img2img_sampling")
    open_tab(page, "img2img")
    set_mine(page, "img2img")
    open_accordion(page, "img2img")
    wait_until_shown(page, "img2img_steps", "LCM: 4")
    assert [shown(page, element_id) for element_id in controls] == ["LCM: 4", "LCM: 1", "LCM"]
    page.fill("#img2img_prompt textarea", made.infotext)
    page.click("#tab_img2img #paste")
    wait_until_shown(page, "img2img_steps", "LCM: 6")
    wait_for_values(page, MINE, "img2img")
    assert shown(page, "img2img_cfg_scale") == "LCM: 1.5" and not is_ticked(page)
    switch_off(page, "img2img")
    assert [shown(page, element_id) for element_id in controls] == [None] * 3
    assert host_values(page, "img2img") == MINE


@pytest.mark.parametrize("is_on_before", [False, True])
def test_pasting_a_picture_of_lcm_keeps_what_the_user_had(page, webui, is_on_before):
    made, _ = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 6, "cfg": 1.5}, seed=77)
    set_mine(page)
    if is_on_before:
        open_accordion(page)
    page.fill("#txt2img_prompt textarea", made.infotext)
    page.click("#paste")
    wait_for_status(page, "6 steps")
    wait_until_shown(page, STEPS, "LCM: 6")
    assert is_ticked(page) and shown(page, CFG) == "LCM: 1.5"
    wait_for_values(page, MINE)
    switch_off(page)
    assert host_values(page) == MINE


def test_pasting_a_picture_of_lcm_on_a_fresh_page_keeps_its_defaults(page, webui):
    made, _ = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 6, "cfg": 1.5}, seed=77)
    defaults = host_values(page)
    page.fill("#txt2img_prompt textarea", made.infotext)
    page.click("#paste")
    wait_until_shown(page, STEPS, "LCM: 6")
    wait_for_values(page, defaults)
    switch_off(page)
    assert host_values(page) == defaults


def test_pasting_a_picture_without_lcm_sets_the_controls_and_uncovers_them(page, webui):
    made, _ = webui.txt2img(PROMPT, steps=5, cfg_scale=3, sampler_name="Euler")
    open_accordion(page)
    wait_until_shown(page, STEPS, "LCM: 4")
    page.fill("#txt2img_prompt textarea", made.infotext)
    page.click("#paste")
    wait_for_values(page, {"steps": "5", "cfg": "3", "sampler": "Euler"})
    page.wait_for_function(
        "id => getComputedStyle(document.getElementById(id), '::after').content === 'none'", arg=STEPS
    )
    made_again, _ = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 2, "cfg": 1})
    page.fill("#txt2img_prompt textarea", made_again.infotext)
    page.click("#paste")  # what was pasted last is now what the user had
    wait_until_shown(page, STEPS, "LCM: 2")
    wait_for_values(page, {"steps": "5", "cfg": "3", "sampler": "Euler"})
    switch_off(page)
    assert host_values(page) == {"steps": "5", "cfg": "3", "sampler": "Euler"}


def test_send_to_img2img_takes_lcm_along_and_keeps_that_tabs_own(page, webui):
    own = host_values(page, "img2img")
    set_mine(page)
    open_accordion(page)
    set_number(page, "steps", 2)
    generate(page, webui)
    infotext(page)
    send_to_img2img(page)
    wait_until_shown(page, "img2img_steps", "LCM: 2")
    settle(page)
    assert is_ticked(page, "img2img")
    # the WebUI itself sends what the first tab's steps are and, where a setting says so, its CFG scale
    sent = ("steps", "cfg") if webui.all_settings().get("send_cfg") else ("steps",)
    wait_for_values(page, {**own, **{name: MINE[name] for name in sent}}, "img2img")
    wait_for_values(page, MINE)


def test_a_reload_brings_the_users_defaults(page, webui):
    defaults = host_values(page)
    open_accordion(page)
    wait_until_shown(page, STEPS, "LCM: 4")
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("#txt2img_generate")
    accordion(page).locator(".label-wrap").first.wait_for()
    wait_for_values(page, defaults)
    wait_until(page, lambda: not is_ticked(page) and shown(page, STEPS) is None)


def test_without_our_javascript_pictures_are_made_with_lcm_all_the_same(browser, webui):
    webui.loaded()
    errors = []
    page = open_page(browser, webui.client.url, errors, blocked="**/lcm*.js*")
    assert page.locator("head script[src*='/lcm']").count() >= 1  # so the pattern is right
    set_mine(page)
    open_accordion(page)
    set_number(page, "steps", 2)
    generate(page, webui)
    assert "Steps: 2, Sampler: LCM" in infotext(page)
    untick(page)
    assert host_values(page) == MINE
    page.close()
    assert unknown_errors(errors) == []
