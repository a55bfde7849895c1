"""The accordion by keyboard and for screen readers: a name and a tooltip on every control, and each within reach."""

import pytest

from tests.browser import needs_chromium, open_accordion

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10", "a1111-1.6")]

CONTROLS = ("quality", "steps", "cfg", "weight", "lora", "refresh", "schedule", "sampler", "gamma", "live")
ACCORDION = "#script_txt2img_lcm_enabled"


def test_every_control_has_an_element_id_and_a_tooltip(page):
    assert page.locator(ACCORDION).first.get_attribute("title")
    missing = [name for name in CONTROLS if not page.evaluate("id => document.getElementById(id)?.title", f"script_txt2img_lcm_{name}")]
    assert missing == []


def test_every_field_has_a_name_for_screen_readers(page):
    open_accordion(page)
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("Accessibility.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    found = session.send("DOM.querySelectorAll", {"nodeId": root, "selector": f"{ACCORDION} :is(input, button, textarea, [tabindex])"})
    nameless, names = [], []
    for node in found["nodeIds"]:
        described = session.send("Accessibility.getPartialAXTree", {"nodeId": node, "fetchRelatives": False})["nodes"][0]
        if described["ignored"]:  # hidden
            continue
        name = described.get("name", {}).get("value", "").strip()
        names.append(name)
        if not any(char.isalnum() for char in name):
            nameless.append((described["role"]["value"], session.send("DOM.getOuterHTML", {"nodeId": node})["outerHTML"][:200]))
    assert nameless == [] and len(names) > 12


def test_lcm_can_be_ticked_opened_and_set_by_keyboard(page):
    tick = page.locator(f"{ACCORDION} .label-wrap input[type=checkbox]").first
    tick.focus()
    page.keyboard.press("Space")
    assert tick.is_checked()
    steps = page.locator("#script_txt2img_lcm_steps input[type=number]").first
    if not steps.is_visible():
        page.locator(f"{ACCORDION} :is(button.label-wrap, .label-wrap [role=button])").first.focus()
        page.keyboard.press("Enter")
        steps.wait_for(state="visible")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        place = page.evaluate("() => document.activeElement.closest('[id^=script_txt2img_lcm_]')?.id")
        reached.add((place or "").removeprefix("script_txt2img_lcm_"))
    assert [name for name in CONTROLS if name != "gamma" and name not in reached] == []  # gamma is there with TCD only
