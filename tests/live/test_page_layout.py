"""The accordion in both themes, on a wide page and on a phone: nothing is cut off, and what it says can be read."""

import pytest

from tests.browser import needs_chromium, open_accordion
from tests.live.page import STATUS, accordion, choose_lora, settled_page, status, wait_for_status, warnings
from tests.live.test_loras import SDXL

pytestmark = [
    *needs_chromium,
    pytest.mark.profiles("a1111-1.10"),
    pytest.mark.parametrize("theme", ["light", "dark"]),
    pytest.mark.parametrize("width", [1280, 400]),
]

LEAST_CONTRAST = 4.5
"""Of text against its background: WCAG 2.1, level AA."""

OVERFLOWING = """accordion => {
    const edge = accordion.getBoundingClientRect().right + 1;
    const seen = [accordion, ...accordion.querySelectorAll('*')].filter(element => element.checkVisibility({ visibilityProperty: true }));
    const rows = seen.filter(element => element === accordion || element.matches('div.row, div.form, .lcm-status, .lcm-warnings'));
    const wide = rows.filter(element => element.scrollWidth > element.clientWidth);
    const outside = seen.filter(element => element.getBoundingClientRect().right > edge);
    return { rows: rows.length, overflowing: [...wide, ...outside].map(element => element.outerHTML.slice(0, 150)) };
}"""

CONTRAST = """element => {
    const channels = colour => { // of computed colours: rgb(r, g, b), rgba(r, g, b, a)
        const [red, green, blue, alpha = 1] = colour.match(/[0-9.]+/g).map(Number);
        return { rgb: [red, green, blue], alpha };
    };
    const over = (front, back) => front.rgb.map((channel, index) => front.alpha * channel + (1 - front.alpha) * back[index]);
    const layers = [];
    for (let node = element; node; node = node.parentElement) layers.push(channels(getComputedStyle(node).backgroundColor));
    const background = layers.reduceRight((back, front) => over(front, back), [255, 255, 255]);
    const luminance = rgb => {
        const linear = rgb.map(value => value / 255).map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const both = [luminance(over(channels(getComputedStyle(element).color), background)), luminance(background)].sort((a, b) => b - a);
    return (both[0] + 0.05) / (both[1] + 0.05);
}"""


@pytest.fixture
def page(browser, webui, theme, width):
    with settled_page(browser, webui, f"/?__theme={theme}") as page:
        assert page.evaluate("document.querySelector('.dark') !== null") == (theme == "dark")
        page.set_viewport_size({"width": width, "height": 1400})
        open_accordion(page)
        page.fill("#txt2img_neg_prompt textarea", "blurry")
        wait_for_status(page, "negative prompt ignored")
        yield page


def shown(page) -> list:
    """The status line, the warnings, and the presets."""
    presets = page.locator("#script_txt2img_lcm_quality label:has(input)").all()
    assert warnings(page) != [] and len(presets) >= 4
    return [page.locator(f"{STATUS} .lcm-status").first, *page.locator(f"{STATUS} .lcm-warnings li").all(), *presets]


def test_nothing_of_the_accordion_overflows(page, width):
    found = accordion(page).evaluate(OVERFLOWING)
    assert found["overflowing"] == [] and found["rows"] > 5
    for element in shown(page):
        box = element.bounding_box()
        assert element.is_visible() and box["width"] > 20 and box["height"] > 10
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1


def test_what_it_says_stands_out_from_its_background(page):
    assert [element.inner_text() for element in shown(page) if element.evaluate(CONTRAST) < LEAST_CONTRAST] == []
    choose_lora(page, SDXL)
    wait_for_status(page, "is for SDXL")
    refusal = page.locator(f"{STATUS} .lcm-status.lcm-refusal").first
    assert refusal.evaluate(CONTRAST) >= LEAST_CONTRAST, status(page)
