"""Live on the img2img tab: a new picture follows the picture, the strength and each stroke; and both tabs of one page."""

import re

import pytest

from tests.browser import needs_chromium
from tests.live.live_mode.live_page import open_img2img, picture_file
from tests.live.page import editor
from tests.prompts import OTHER, PROMPT, THIRD

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10")]


def test_on_img2img_a_picture_follows_the_picture_and_the_strength(page, webui):
    start = picture_file(webui)
    live = open_img2img(page, webui)
    live.tick.check()
    live.wait_for_line("waits for a picture")
    live.settle()
    assert live.drawn() == []
    with webui.settings(save_init_img=True):
        editor(page, "img2img_image").locator("input[type=file]").first.set_input_files(start)
        live.wait_for_picture(1)
        live.set_number("denoising_strength", 0.5)
        live.wait_for_picture(2)
        live.settle()
        assert webui.all_settings()["save_init_img"] is True
    assert live.saved() == []
    assert [call["timesteps"] for call in webui.calls()][-4:] == [[499], [379], [259], [139]]


def open_mode(page, title: str) -> None:
    """Opens one of img2img's modes; skips the test where this WebUI has none of that name."""
    mode = page.locator("#mode_img2img > .tab-nav button", has_text=re.compile(rf"^\s*{title}\s*$"))
    if not mode.count():
        pytest.skip(f"this WebUI has no mode {title}")
    mode.first.click()


def draw_stroke(page, canvas, height: float, ends_within: bool = True) -> None:
    """Draws from left to right at this part of an editor's height, to an end within the editor or outside of it."""
    size = canvas.bounding_box()
    # waits until it is in view, no longer moves and is what the mouse would hit: the first picture lays the page out anew
    canvas.hover(position={"x": 0.4 * size["width"], "y": height * size["height"]})
    box = canvas.bounding_box()
    end = box if ends_within else page.locator("#img2img_results").bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + height * box["height"])
    page.mouse.move(end["x"] + 0.6 * end["width"], end["y"] + height * end["height"], steps=5)
    page.mouse.up()


@pytest.mark.parametrize("title,element_id", [("Sketch", "img2img_sketch"), ("Inpaint sketch", "inpaint_sketch")])
def test_on_img2img_a_picture_follows_each_stroke_of_a_sketch(page, webui, title, element_id):
    start = picture_file(webui)
    live = open_img2img(page, webui)
    open_mode(page, title)
    place = page.locator(f"#img2img_{element_id}_tab").first
    place.locator("input[type=file]").first.set_input_files(start)
    canvas = place.locator("canvas").locator("visible=true").first
    canvas.wait_for(state="visible")
    live.tick.check()
    live.wait_for_picture(1)
    draw_stroke(page, canvas, 0.3)
    live.wait_for_picture(2)
    draw_stroke(page, canvas, 0.6)
    live.wait_for_picture(3)
    live.settle()
    assert len(live.drawn()) == 3 and live.saved() == []


@pytest.fixture
def mask_in_gallery(webui):
    with webui.settings(return_mask=True):
        yield


@pytest.mark.usefixtures("mask_in_gallery")
def test_on_img2img_a_picture_follows_each_stroke(page, webui):
    start = picture_file(webui)
    live = open_img2img(page, webui)
    open_mode(page, "Inpaint")
    editor(page, "img2maskimg").locator("input[type=file]").first.set_input_files(start)
    canvas = editor(page, "img2maskimg").locator("canvas").first
    canvas.wait_for(state="visible")
    live.tick.check()
    if webui.inpaints_without_mask:
        live.wait_for_picture(1)
    else:
        live.wait_for_line("No picture came")
    strokes = [(2, 0.3, True), (3, 0.6, True), (4, 0.8, False)]  # the last one ends outside the editor
    if page.locator(".forge-container").count():  # Forge's own takes no notice of such a stroke
        strokes.pop()
    for number, height, is_within in strokes:
        draw_stroke(page, canvas, height, is_within)
        live.wait_for_picture(number)
    live.settle()
    assert len(live.drawn()) == webui.inpaints_without_mask + len(strokes) and live.saved() == []
    shown = "new Set(Array.from(document.querySelectorAll('#img2img_gallery img'), (img) => img.src)).size"
    assert page.evaluate(shown) == 1, "the mask, which the setting adds, would get files that nobody removes"


def test_on_img2img_live_waits_while_its_batch_is_open(page, webui):
    start = picture_file(webui)
    live = open_img2img(page, webui)
    editor(page, "img2img_image").locator("input[type=file]").first.set_input_files(start)
    live.tick.check()
    live.wait_for_picture(1)
    open_mode(page, "Batch")
    live.wait_for_line("Live waits: it does not draw batches.")
    live.prompt.fill(OTHER)
    live.settle()
    # the tabs of the extra networks hide all modes
    page.evaluate("document.getElementById('mode_img2img').parentElement.style.display = 'none'")
    live.prompt.fill(THIRD)
    live.settle()
    assert live.line == "Live waits: it does not draw batches."
    page.evaluate("document.getElementById('mode_img2img').parentElement.style.display = ''")
    live.prompt.fill(OTHER)
    assert live.drawn() == [PROMPT]
    open_mode(page, "img2img")
    live.wait_until(lambda: live.shown() > 1, "the picture")
    assert live.drawn() == [PROMPT, OTHER]


@pytest.fixture
def both(live, webui):
    """Live is ticked on both tabs of the page, img2img's is open, and each has its first picture."""
    start = picture_file(webui)
    other = open_img2img(live.page, webui)
    editor(live.page, "img2img_image").locator("input[type=file]").first.set_input_files(start)
    other.tick.check()
    other.wait_until(lambda: other.shown(), "the first picture")
    live.forget()
    return live, other


def test_both_tabs_of_a_page_draw_one_after_the_other(both):
    """Each draws while it is open, and nothing where nothing has changed since."""
    live, other = both
    live.open_tab()
    live.settle()
    assert live.drawn() == []
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    other.open_tab()
    other.prompt.fill(THIRD)
    other.wait_for_picture(2)
    other.settle()
    assert live.drawn() == [OTHER, THIRD] and live.saved() == []
    assert live.shown() == other.shown() == 2


def test_a_press_on_one_tab_stays_live_while_the_other_tab_starts(both):
    live, other = both
    live.open_tab()
    live.delay_next_press(4000)
    live.prompt.fill(OTHER)
    live.wait_for_line("drawing")
    other.open_tab()
    other.prompt.fill(THIRD)
    live.wait_until(lambda: len(live.events("postprocess")) == 2, "both pictures")
    live.settle()
    assert sorted(live.drawn()) == sorted([OTHER, THIRD]) and live.saved() == []
    assert live.shown() == other.shown() == 2
