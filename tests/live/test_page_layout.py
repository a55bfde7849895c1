"""The accordion in both themes, on a wide page and on a phone: nothing is cut off, and what it says can be
read.
"""

import shutil

import pytest

from tests.browser import needs_chromium, open_accordion
from tests.live.page import MESSAGES, STATUS, accordion, choose, choose_lora, settle, status, untick, warnings
from tests.live.profiles import one_profile
from tests.live.test_loras import SD15, SDXL, files, folder

pytestmark = [*needs_chromium, one_profile]
on_a_wide_page_and_on_a_phone = pytest.mark.parametrize("width,theme", [(1280, "light"), (400, "dark")])
in_both_themes = pytest.mark.parametrize("width,theme", [(1280, "light"), (1280, "dark")])

LEAST_CONTRAST = 4.5
"""Of text against its background: WCAG 2.1, level AA."""

OVERFLOWING = """accordion => {
    const edge = accordion.getBoundingClientRect().right + 1;
    const seen = [accordion, ...accordion.querySelectorAll('*')]
        .filter(element => element.checkVisibility({ visibilityProperty: true }))
        .filter(element => !element.closest('.lcm-status:not(.lcm-refusal)')); // cut off, with a tooltip
    const isRow = 'div.row, div.form, .lcm-status, .lcm-warnings';
    const rows = seen.filter(element => element === accordion || element.matches(isRow));
    const wide = rows.filter(element => element.scrollWidth > element.clientWidth);
    const outside = seen.filter(element => element.getBoundingClientRect().right > edge);
    const overflowing = [...wide, ...outside].map(element => element.outerHTML.slice(0, 150));
    return { rows: rows.length, overflowing };
}"""

CONTRAST = """element => {
    const channels = colour => { // of computed colours: rgb(r, g, b), rgba(r, g, b, a)
        const [red, green, blue, alpha = 1] = colour.match(/[0-9.]+/g).map(Number);
        return { rgb: [red, green, blue], alpha };
    };
    const over = (front, back) =>
        front.rgb.map((channel, index) => front.alpha * channel + (1 - front.alpha) * back[index]);
    const layers = [];
    for (let node = element; node; node = node.parentElement) {
        layers.push(channels(getComputedStyle(node).backgroundColor));
    }
    const background = layers.reduceRight((back, front) => over(front, back), [255, 255, 255]);
    const luminance = rgb => {
        const linear = rgb.map(value => value / 255)
            .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const text = over(channels(getComputedStyle(element).color), background);
    const both = [luminance(text), luminance(background)].sort((a, b) => b - a);
    return (both[0] + 0.05) / (both[1] + 0.05);
}"""


@pytest.fixture
def page(pages, webui, theme, width):
    webui.loaded()
    with pages.fresh(f"/?__theme={theme}") as page:
        assert page.evaluate("document.querySelector('.dark') !== null") == (theme == "dark")
        page.set_viewport_size({"width": width, "height": 1400})
        open_accordion(page)
        page.fill("#txt2img_prompt textarea", "a star <lora:Hyper-SD15-8steps-lora:1>")  # of no file
        settle(page)
        assert "4 steps" in status(page)
        yield page


def shown(page) -> list:
    """The status line, the warnings, and the presets."""
    presets = page.locator("#script_txt2img_lcm_quality label:has(input)").all()
    assert warnings(page) != [] and len(presets) >= 4
    return [
        page.locator(f"{STATUS} .lcm-status").first,
        *page.locator(f"{MESSAGES} li").all(),
        *presets,
    ]


def look(page, width, elements) -> None:
    """Nothing of the accordion overflows, and the elements are there to be seen."""
    found = accordion(page).evaluate(OVERFLOWING)
    assert found["overflowing"] == [] and found["rows"] >= 4
    for element in elements:
        box = element.bounding_box()
        assert element.is_visible() and box["width"] > 20 and box["height"] > 10
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1


@on_a_wide_page_and_on_a_phone
def test_nothing_of_the_accordion_overflows(page, width):
    look(page, width, shown(page))


@on_a_wide_page_and_on_a_phone
def test_nothing_of_the_folded_parts_overflows(page, width):
    def part(name):
        return page.locator(f"#script_txt2img_lcm_{name}").first

    for name in ("more", "advanced"):
        part(name).locator(".label-wrap").first.click()
    part("more_lora").locator("input").click()
    part("more_lora").locator("li", has_text="Flash Diffusion").click()
    part("more_accept").wait_for(state="visible")
    part("more_lora").locator("ul.options").wait_for(state="detached")  # it fades
    settle(page)
    look(page, width, [part(f"more_{name}") for name in ("lora", "accept", "download")])
    look(page, width, [part(name) for name in ("schedule", "sampler", "gamma", "method")])


@on_a_wide_page_and_on_a_phone
def test_nothing_overflows_where_a_choice_brings_more_of_it(page, webui, width, tmp_path):
    def part(name):
        return page.locator(f"#script_txt2img_lcm_{name}").first

    with files(webui, a_file_of_my_own_with_a_long_name_for_portraits_in_the_rain=SD15):
        part("refresh").click()
        choose_lora(page, "a_file_of_my_own")
        part("remember").wait_for(state="visible")
        assert "a_file_of_my_own" in part("remember").inner_text()
        look(page, width, [part("remember")])
        choose_lora(page, "Auto")

    official = folder(webui) / f"{SD15}.safetensors"
    shutil.move(official, tmp_path)
    try:
        webui.client.post("/sdapi/v1/refresh-loras")
        part("refresh").click()
        part("download").wait_for(state="visible")
        look(page, width, [part("download"), page.locator(f"{STATUS} .lcm-refusal").first])
    finally:
        shutil.move(tmp_path / official.name, official)
        webui.client.post("/sdapi/v1/refresh-loras")
    part("refresh").click()
    part("download").wait_for(state="hidden")

    # so that Live has something to say, and draws nothing
    choose(page, "tab_txt2img #script_list", "X/Y/Z plot")
    part("live").locator("input").check()
    line = part("live_status").locator(".lcm-live-status")
    page.wait_for_function("document.querySelector('.lcm-live-status').innerText.includes('Live waits')")
    look(page, width, [line])
    part("live").locator("input").uncheck()

    untick(page)
    settle(page)
    assert "LCM is off" in status(page)
    look(page, width, [page.locator(f"{STATUS} .lcm-status").first])


@in_both_themes
def test_what_it_says_stands_out_from_its_background(page):
    assert [
        element.inner_text() for element in shown(page) if element.evaluate(CONTRAST) < LEAST_CONTRAST
    ] == []
    choose_lora(page, SDXL)
    settle(page)
    assert "is for SDXL" in status(page)
    refusal = page.locator(f"{STATUS} .lcm-status.lcm-refusal").first
    assert refusal.evaluate(CONTRAST) >= LEAST_CONTRAST, status(page)
