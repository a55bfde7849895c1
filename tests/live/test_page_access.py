"""The accordion by keyboard and for screen readers: a name and a tooltip on every control, and each within
reach.
"""

import pytest

from tests.browser import needs_chromium, open_accordion
from tests.live.page import accordion, is_ticked, open_tab
from tests.live.profiles import one_profile

pytestmark = [*needs_chromium, one_profile, pytest.mark.parametrize("tab", ["txt2img", "img2img"])]

CONTROLS = (
    "quality", "steps", "cfg", "negative", "weight", "lora", "refresh", "remember", "download", "schedule",
    "sampler", "gamma", "method", "guided_steps", "live", "more_lora", "more_accept", "more_download",
)  # fmt: skip
AT_TIMES = ("remember", "download", "more_accept")
"""Those that are there only where there is something to remember, to download, or a licence to accept."""
FOLDED = ("more", "advanced")
"""Parts of the accordion that are folded up."""


def test_every_control_has_an_element_id_and_a_tooltip(page, tab):
    assert accordion(page, tab).get_attribute("title")
    missing = [
        name
        for name in CONTROLS
        if not page.evaluate("id => document.getElementById(id)?.title", f"script_{tab}_lcm_{name}")
    ]
    assert missing == []


def test_every_field_has_a_name_for_screen_readers(page, tab):
    open_tab(page, tab)
    open_accordion(page, tab)
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("Accessibility.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    selector = f"#script_{tab}_lcm_enabled :is(input, button, textarea, [tabindex])"
    found = session.send("DOM.querySelectorAll", {"nodeId": root, "selector": selector})
    nameless, names = [], []
    for node in found["nodeIds"]:
        described = session.send("Accessibility.getPartialAXTree", {"nodeId": node, "fetchRelatives": False})[
            "nodes"
        ][0]
        if described["ignored"]:  # hidden
            continue
        name = described.get("name", {}).get("value", "").strip()
        names.append(name)
        if not any(char.isalnum() for char in name):
            nameless.append(
                (
                    described["role"]["value"],
                    session.send("DOM.getOuterHTML", {"nodeId": node})["outerHTML"][:200],
                )
            )
    assert nameless == [] and len(names) > 12


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_lcm_can_be_ticked_opened_and_set_by_keyboard(page, tab):
    open_tab(page, tab)
    shown = accordion(page, tab).locator(".label-wrap input[type=checkbox]")
    if shown.count():  # else opening it, as below, is ticking it
        shown.first.focus()
        page.keyboard.press("Space")
    steps = page.locator(f"#script_{tab}_lcm_steps input[type=number]").first
    if not steps.is_visible():
        accordion(page, tab).locator(":is(button.label-wrap, .label-wrap [role=button])").first.focus()
        page.keyboard.press("Enter")
        steps.wait_for(state="visible")
    assert is_ticked(page, tab)
    for part in FOLDED:
        header = page.locator(f"#script_{tab}_lcm_{part}").first
        header.locator(":is(button.label-wrap, .label-wrap [role=button])").first.focus()
        page.keyboard.press("Enter")
        header.locator(".label-wrap.open").first.wait_for()
    accordion(page, tab).locator(":is(button.label-wrap, .label-wrap [role=button])").first.focus()
    reached = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        place = page.evaluate("tab => document.activeElement.closest(`[id^=script_${tab}_lcm_]`)?.id", tab)
        reached.add((place or "").removeprefix(f"script_{tab}_lcm_"))
    assert [name for name in CONTROLS if name not in AT_TIMES and name not in reached] == []
