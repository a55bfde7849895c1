"""Live on the img2img tab, where pictures and strokes count too, and on both tabs of one page."""

import pytest

from tests.browser import needs_chromium

pytestmark = needs_chromium

PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
GRADIOS = "#img2img_image .image-container"
FORGES = "#img2img_image"


@pytest.fixture
def img2img(page):
    """Live is ticked on the img2img tab, which has no picture yet."""
    page = page.open_tab("img2img")
    page.tick()
    page.pass_time(1000)
    return page


def put_picture(page, place=GRADIOS, address=PICTURE) -> None:
    """gradio shows a picture where one was dropped."""
    script = """(editor, address) => {
        editor.dispatchEvent(new Event("drop", { bubbles: true }));
        (editor.querySelector("img") || editor.appendChild(new Image())).src = address;
    }"""
    page.element(place, script, address)


def put_canvas(page, place: str) -> None:
    page.element(place, "editor => { editor.innerHTML = '<canvas width=200 height=100></canvas>'; }")


def stroke(page, canvas: str, end: str) -> None:
    page.page.mouse.move(*page.place(canvas))
    page.page.mouse.down()
    page.page.mouse.move(*page.place(end))
    page.page.mouse.up()


def test_a_picture_follows_the_picture_and_the_settings(img2img):
    assert img2img.drawn() == [] and img2img.line == "Live waits for a picture." and img2img.is_announced
    put_picture(img2img)
    img2img.draw()
    img2img.type("128", "width")
    img2img.draw()
    put_picture(img2img, address=PICTURE + "#another")
    img2img.draw()
    img2img.pass_time(2000)
    assert [job["tab"] for job in img2img.jobs()] == 3 * ["img2img"] and img2img.drawn() == 3 * ["a star"]


def test_a_file_that_is_picked_counts_when_its_picture_is_there(img2img):
    put_picture(img2img)
    img2img.draw()
    file = {"name": "start.png", "mimeType": "image/png", "buffer": b"no picture"}
    img2img.page.set_input_files("#img2img_image input[type=file]", file)
    img2img.pass_time(2000)
    assert img2img.drawn() == ["a star"]


def test_a_script_of_the_other_tab_is_not_waited_for(img2img):
    put_picture(img2img)
    img2img.change_by_itself("#tab_txt2img #script_list input", "X/Y/Z plot")
    img2img.draw()
    assert img2img.drawn() == ["a star"]
    img2img.change_by_itself("#tab_img2img #script_list input", "Loopback")
    img2img.pass_time(100)
    assert img2img.line == "Live waits: a script is chosen."


@pytest.mark.parametrize("address", [None, ""])
def test_a_picture_without_an_address_is_none(img2img, address):
    img2img.element(GRADIOS, "editor => { editor.append(new Image()); }")
    if address is not None:
        put_picture(img2img, address=address)
    img2img.pass_time(1000)
    assert img2img.line == "Live waits for a picture."


def test_a_canvas_of_gradios_is_a_picture(img2img):
    put_canvas(img2img, GRADIOS)
    img2img.press_elsewhere()
    img2img.pass_time(img2img.PAUSE)
    assert img2img.drawn() == ["a star"]


@pytest.mark.parametrize("gradio", [4])
def test_forges_editor_has_a_picture_when_it_shows_one(img2img):
    assert img2img.line == "Live waits for a picture."
    put_picture(img2img, FORGES)
    img2img.draw()
    assert img2img.drawn() == ["a star"]


def test_a_picture_follows_each_stroke(img2img):
    put_canvas(img2img, GRADIOS)
    img2img.press_elsewhere()
    img2img.draw()
    canvas = f"{GRADIOS} canvas"
    for number, end in enumerate((canvas, "#img2img_prompt", canvas), start=2):  # the second one ends outside
        stroke(img2img, canvas, end)
        img2img.draw()
        assert len(img2img.drawn()) == number
    img2img.click("#img2img_image button")  # undoes a stroke
    img2img.draw()
    assert len(img2img.drawn()) == 5
    img2img.js("document.dispatchEvent(new PointerEvent('pointerup'))")  # pressed beside the window
    img2img.press_elsewhere()
    img2img.pass_time(2000)
    assert len(img2img.drawn()) == 5


EDITORS = {
    "canvas": "<canvas width=200 height=100></canvas>",
    "gradio 3": "<div data-testid=image><button>Undo</button></div>",
    "gradio 4": "<div class=image-container><button>Undo</button></div>",
}


@pytest.mark.parametrize("editor", EDITORS.values(), ids=EDITORS)
def test_whatever_is_done_in_an_editor_counts(img2img, editor):
    place = "#img2img_img2img_tab"
    img2img.element(place, "(mode, html) => { mode.innerHTML = html; }", f"<img src='{PICTURE}'>{editor}")
    img2img.press_elsewhere()
    img2img.draw()
    img2img.click(f"{place} > :last-child")
    img2img.draw()
    assert len(img2img.drawn()) == 2


def test_a_stroke_that_has_not_ended_is_waited_for(img2img):
    put_canvas(img2img, GRADIOS)
    img2img.press_elsewhere()
    img2img.draw()
    img2img.page.mouse.move(*img2img.place(f"{GRADIOS} canvas"))
    img2img.page.mouse.down()
    img2img.pass_time(1000)
    assert len(img2img.drawn()) == 1
    img2img.page.mouse.up()
    img2img.draw()
    assert len(img2img.drawn()) == 2


@pytest.mark.parametrize("gradio", [4])
def test_a_stroke_in_forges_editor_counts_by_what_the_editor_writes(img2img):
    put_picture(img2img, FORGES)
    img2img.draw()
    stroke(img2img, f"{FORGES} canvas", f"{FORGES} canvas")
    img2img.pass_time(1000)
    assert len(img2img.drawn()) == 1
    img2img.change_by_itself(f"{FORGES} textarea", "data:image/png;base64,other")
    img2img.pass_time(100)
    img2img.draw()
    assert len(img2img.drawn()) == 2


def test_live_waits_while_the_batch_is_open(img2img):
    put_picture(img2img)
    img2img.draw()
    img2img.click("#mode_img2img > .tab-nav > :nth-child(3)")
    img2img.type("x")
    img2img.pass_time(1000)
    assert img2img.line == "Live waits: it does not draw batches." and img2img.is_announced
    # the tabs of the extra networks hide all modes
    img2img.element("#mode_img2img", "modes => { modes.parentElement.style.display = 'none'; }")
    img2img.pass_time(1000)
    assert img2img.line == "Live waits: it does not draw batches."
    img2img.element("#mode_img2img", "modes => { modes.parentElement.style.display = ''; }")
    assert img2img.drawn() == ["a star"]
    img2img.click("#mode_img2img > .tab-nav > :nth-child(1)")
    img2img.pass_time(img2img.PAUSE)
    assert img2img.drawn() == ["a star", "x"]


def test_the_picture_of_the_mode_that_is_open_counts(img2img):
    put_picture(img2img)
    img2img.draw()
    img2img.click("#mode_img2img > .tab-nav > :nth-child(2)")
    img2img.pass_time(1000)
    assert img2img.line == "Live waits for a picture."


def order(live) -> list[tuple[str, int]]:
    """The tabs and numbers of what the server was given, an ordinary picture's being 0."""
    return [(job["tab"], job["number"]) for job in live.jobs()]


def test_each_tab_draws_while_it_is_open_and_what_has_changed(live):
    other = live.open_tab("img2img")
    put_picture(other)
    other.tick()
    other.draw()
    live.change_by_itself("#txt2img_prompt textarea", "behind")
    other.press_elsewhere()
    other.pass_time(1000)
    assert order(live) == [("img2img", 1)]
    live.change_by_itself("#txt2img_prompt textarea", "a star")
    live.open_tab("txt2img")
    live.pass_time(1000)
    assert len(live.jobs()) == 1
    live.type("x")
    live.draw()
    assert order(live) == [("img2img", 1), ("txt2img", 2)]
    first, second = (job["task"].split("-")[2] for job in live.jobs())
    assert first != second, "the server would take them for runs of one tab"
    assert live.shown != other.shown


def test_a_press_on_one_tab_stays_live_while_the_other_tab_starts(live):
    live.delay_next_press(4000)
    live.type("x")
    live.pass_time(live.PAUSE)
    other = live.open_tab("img2img")
    put_picture(other)
    other.tick()
    other.draw()
    live.pass_time(4000)
    assert order(live) == [("img2img", 1), ("txt2img", 2)]


def test_generate_pressed_on_the_other_tab_is_an_ordinary_press(live):
    live.type("x")
    live.pass_time(live.PAUSE)
    live.open_tab("img2img").press_generate()
    live.pass_time(100)
    assert live.line.startswith("Live is drawing.")
    live.finish()
    live.finish()
    live.pass_time(2000)
    assert order(live) == [("txt2img", 2), ("img2img", 0)]
