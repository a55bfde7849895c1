"""Live mode in a real browser and WebUI, from the page to the picture.

More of what the page does is tested in tests/javascript, more of what the server does in test_live_server.py.
"""

import io
import re

import pytest

from tests.browser import needs_chromium, open_accordion, wait_until
from tests.live.page import editor, infotext, open_tab, set_host_number, settle
from tests.live.profiles import one_profile
from tests.live.test_generation import same
from tests.live.test_live_server import held
from tests.live.test_page_infotext import gallery_picture
from tests.prompts import OTHER, PROMPT, THIRD
from workbench.client import decode_image

pytestmark = [*needs_chromium, one_profile]

HOLD_NEXT_PRESS = """tab => {
    const { id } = gradio_config.components.find(({ props }) => props.elem_id === `${tab}_generate`);
    const hold = (event) => {
        const { target, detail } = event;
        if (detail.id !== id || detail.event !== "click") return;
        window.removeEventListener("gradio", hold, true);
        event.stopImmediatePropagation();
        const late = new CustomEvent("gradio", { bubbles: true, detail });
        window.lcmTestPress = () => target.dispatchEvent(late);
    };
    window.addEventListener("gradio", hold, true);
}"""


class Live:
    """Live on one tab of the page, LCM being ticked there, and what the WebUI did since `forget`."""

    def __init__(self, page, webui, tab="txt2img"):
        self.page, self.webui, self.tab = page, webui, tab
        for name in ("width", "height"):
            set_host_number(page, f"{tab}_{name}", webui.side)
        open_accordion(page, tab)
        self.prompt = page.locator(f"#{tab}_prompt textarea").first
        self.tick = page.locator(f"#script_{tab}_lcm_live input[type=checkbox]").first
        self.prompt.fill(PROMPT)
        settle(page)
        self.forget()

    def forget(self) -> None:
        self.webui.client.request("DELETE", "/lcm-test-probe/calls")

    def events(self, callback: str) -> list[dict]:
        events = self.webui.client.get("/lcm-test-probe/events")
        return [event for event in events if event["callback"] == callback]

    def drawn(self) -> list[str]:
        """The prompts of the generations that began."""
        return [event["prompts"][0] for event in self.events("process")]

    def saved(self) -> list[dict]:
        return self.events("image_saved")

    def calls(self) -> list[list[float]]:
        """The timesteps of the UNet's calls."""
        return [call["timesteps"] for call in self.webui.client.get("/lcm-test-probe/calls")]

    def address(self) -> str:
        """Of the live picture in the gallery."""
        return self.page.locator(f"#{self.tab}_gallery img[src*=lcm-live]").first.get_attribute("src")

    def shown(self) -> int:
        """The number of the run whose picture that is."""
        return int(re.search(r"-(\d+)\.png", self.address())[1])

    def addresses(self, numbers) -> list[str]:
        """Of the pictures of these runs, as long as they are there."""
        return [re.sub(r"-\d+\.png.*", f"-{number}.png", self.address()) for number in numbers]

    def wait_for_line(self, text: str) -> None:
        """Until the first part of Live's line is this."""
        script = "([selector, text]) => document.querySelector(selector)?.textContent === text"
        self.page.wait_for_function(script, arg=[f"#script_{self.tab}_lcm_live_status span", text])

    def wait_for(self, *prompts: str) -> None:
        """Until pictures of these prompts are drawn and Live is ready; fails where others were drawn."""
        wait_until(self.page, lambda: self.drawn()[: len(prompts)] == list(prompts))
        self.wait_for_line("Live: not saved; Generate keeps it")
        assert self.drawn() == list(prompts)

    def wait_for_first(self, has_mask: bool) -> None:
        """Until the first picture has come, or failed where nothing is masked yet, as on Forge Classic, whose
        default is to draw in the masked area only.
        """
        if has_mask and self.webui.name == "classic":
            self.wait_for_line("No picture came; see below the gallery.")
            assert self.drawn() == [PROMPT]
        else:
            self.wait_for(PROMPT)

    def switch_off(self) -> None:
        """Until the server knows of it."""
        with self.page.expect_response("**/internal/lcm/live-stop"):
            self.tick.uncheck()


@pytest.fixture
def page(page, webui):
    """Pictures are saved, so that one that is not is not for another reason.

    The test is over when gradio has filled in all that follows a picture: after that, the page can be reset.
    """
    talks = set()

    def note(talk) -> None:
        talks.add(talk)
        talk.on("close", lambda talk: talks.discard(talk))

    page.on("websocket", note)
    with webui.settings(samples_save=True):
        yield page
        webui.client.post("/lcm-test-probe/release")
    if page.is_closed():
        return
    settle(page)
    wait_until(page, lambda: not talks)
    settle(page)
    page.remove_listener("websocket", note)


@pytest.fixture
def live(page, webui) -> Live:
    """Live is ticked on txt2img and its first picture is there."""
    live = Live(page, webui)
    live.tick.check()
    live.wait_for(PROMPT)
    live.forget()
    return live


def hold_next(live: Live) -> None:
    live.webui.disturb_next(at_call=1, do="hold")


def release(live: Live) -> None:
    live.webui.client.post("/lcm-test-probe/release")


def picture_file(webui) -> dict:
    """A picture to be put into the page."""
    made, _ = webui.txt2img(PROMPT, steps=2, cfg_scale=1)
    data = io.BytesIO()
    made.image.save(data, "PNG")
    return {"name": "start.png", "mimeType": "image/png", "buffer": data.getvalue()}


def put_picture(page, mode: str, file: dict) -> None:
    editor(page, mode).locator("input[type=file]").first.set_input_files(file)


def test_ticking_live_draws_a_picture_without_saving_it_and_what_is_typed_follows(page, webui):
    live = Live(page, webui)
    live.tick.check()
    live.wait_for(PROMPT)
    first = live.shown()
    assert live.calls() == [[999], [759], [499], [259]]
    live.prompt.fill("")
    live.prompt.press_sequentially(OTHER, delay=20)
    wait_until(page, lambda: live.drawn()[-1] == OTHER)  # on a slow machine, the typing has pauses too
    live.wait_for_line("Live: not saved; Generate keeps it")
    assert live.shown() > first and live.saved() == []
    assert gallery_picture(page).info["parameters"].startswith(OTHER)


def test_generate_pressed_during_a_live_run_is_done_after_it_and_saved(live):
    hold_next(live)
    live.prompt.fill(OTHER)
    wait_until(live.page, lambda: live.events("held"))
    live.page.click("#txt2img_generate")
    release(live)
    live.wait_for(OTHER, OTHER)
    live.page.locator("#txt2img_gallery img:not([src*=lcm-live])").first.wait_for()
    assert len(live.saved()) == 1


def test_a_draft_is_called_one_until_generate_has_made_the_picture(live, tiny_decoder):
    line = live.page.locator("#script_txt2img_lcm_live_status").first
    assert "draft" not in line.text_content()
    tiny_decoder()
    live.prompt.fill(OTHER)
    live.wait_for(OTHER)
    assert line.text_content().endswith(" · draft")
    live.page.click("#txt2img_generate")
    live.page.locator("#txt2img_gallery img:not([src*=lcm-live])").first.wait_for()
    wait_until(live.page, lambda: "draft" not in line.text_content())
    assert len(live.saved()) == 1


def test_a_live_run_behind_another_job_is_taken_back_when_live_is_switched_off(live):
    first = live.shown()
    with held(live.webui, live.webui.client.txt2img, THIRD, steps=2, cfg_scale=1) as other:
        live.prompt.fill(OTHER)
        live.wait_for_line("Live is in the queue.")
        live.switch_off()
    assert len(other.result().images) == 1
    wait_until(live.page, lambda: len(live.events("postprocess")) == 2)
    assert len(live.calls()) == 2, "of the other job, to its end"
    assert live.saved() == []
    live.tick.check()
    live.wait_for(THIRD, OTHER, OTHER)
    assert live.shown() == first + 2


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_a_press_that_is_dealt_with_too_late_draws_and_saves_nothing(live):
    first = live.shown()
    live.page.evaluate(HOLD_NEXT_PRESS, "txt2img")
    live.prompt.fill(OTHER)
    live.page.wait_for_function("'lcmTestPress' in window")
    live.switch_off()
    live.page.evaluate("() => { lcmTestPress(); delete window.lcmTestPress; }")
    wait_until(live.page, lambda: live.events("postprocess"))
    settle(live.page)
    assert live.calls() == [] and live.saved() == [] and live.shown() == first
    live.tick.check()
    live.wait_for(OTHER, OTHER)
    assert live.shown() == first + 2 and len(live.calls()) == 4


def draw_stroke(page, canvas, height: float) -> None:
    """From left to right at this part of an editor's height."""
    size = canvas.bounding_box()
    # waits until it has stopped moving: the first picture lays the page out anew
    canvas.hover(position={"x": 0.4 * size["width"], "y": height * size["height"]})
    box = canvas.bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + height * box["height"], steps=5)
    page.mouse.up()


def test_on_img2img_a_picture_follows_the_picture_the_strength_and_a_stroke(page, webui):
    start = picture_file(webui)
    with webui.settings(save_init_img=True, return_mask=True):
        open_tab(page, "img2img")
        live = Live(page, webui, "img2img")
        live.tick.check()
        live.wait_for_line("Live waits for a picture.")
        put_picture(page, "img2img_image", start)
        live.wait_for(PROMPT)
        live.forget()
        set_host_number(page, "img2img_denoising_strength", 0.5)
        live.wait_for(PROMPT)
        assert live.calls() == [[499], [379], [259], [139]]
        page.locator("#mode_img2img > .tab-nav button", has_text=re.compile(r"^\s*Inpaint\s*$")).first.click()
        live.wait_for_line("Live waits for a picture.")
        live.forget()
        put_picture(page, "img2maskimg", start)
        canvas = editor(page, "img2maskimg").locator("canvas").first
        live.wait_for_first(has_mask=True)
        draw_stroke(page, canvas, 0.3)
        live.wait_for(PROMPT, PROMPT)
        assert webui.all_settings()["save_init_img"] is True
    assert live.saved() == []
    images = page.locator("#img2img_gallery img").evaluate_all("images => images.map(({ src }) => src)")
    assert len(set(images)) == 1, "the mask, which the setting adds, would get files that nobody removes"


@pytest.mark.parametrize("title", ["Sketch", "Inpaint sketch"])
def test_on_img2img_a_picture_follows_a_stroke_of_a_sketch(page, webui, title):
    open_tab(page, "img2img")
    button = page.locator("#mode_img2img > .tab-nav button", has_text=re.compile(rf"^\s*{title}\s*$"))
    if button.count() == 0:
        pytest.skip("this WebUI has no such mode")
    button.first.click()
    place = page.locator("#mode_img2img > .tabitem").locator("visible=true")
    place.locator("input[type=file]").first.set_input_files(picture_file(webui))
    canvas = place.locator("canvas").locator("visible=true").first
    canvas.wait_for(state="visible")
    live = Live(page, webui, "img2img")
    live.tick.check()
    live.wait_for_first(has_mask=title == "Inpaint sketch")
    draw_stroke(page, canvas, 0.3)
    live.wait_for(PROMPT, PROMPT)
    assert live.saved() == []


def test_both_tabs_of_a_page_draw_one_after_the_other(live):
    """Each while it is open, and nothing where nothing has changed since."""
    start = picture_file(live.webui)
    open_tab(live.page, "img2img")
    other = Live(live.page, live.webui, "img2img")
    put_picture(live.page, "img2img_image", start)
    other.tick.check()
    other.wait_for(PROMPT)
    open_tab(live.page, "txt2img")
    live.prompt.fill(OTHER)
    live.wait_for(PROMPT, OTHER)
    open_tab(live.page, "img2img")
    other.prompt.fill(THIRD)
    other.wait_for(PROMPT, OTHER, THIRD)
    assert live.saved() == [] and live.address() != other.address()


def test_the_infotext_of_a_live_picture_draws_it_again(live):
    """One picture, whatever the batch would have been."""
    set_host_number(live.page, "txt2img_batch_size", 3)
    set_host_number(live.page, "txt2img_batch_count", 2)
    live.prompt.fill(OTHER)
    wait_until(live.page, lambda: live.drawn()[-1:] == [OTHER])
    live.page.locator("#html_info_txt2img", has_text=OTHER).first.wait_for()
    live.wait_for_line("Live: not saved; Generate keeps it")
    assert {len(event["prompts"]) for event in live.events("process")} == {1} and live.saved() == []
    shown, text = gallery_picture(live.page), infotext(live.page)
    seed = live.page.locator("#txt2img_seed :is(input, textarea)").first.input_value()
    assert f"Seed: {seed}," in text and text.splitlines()[-1] in shown.info["parameters"]
    again = live.webui.txt2img_of_infotext(shown.info["parameters"])
    assert len(again["images"]) == 1 and same(decode_image(again["images"][0]), shown)


def there(page, addresses: list[str]) -> list[int]:
    """Which of these files the server has."""
    return [number for number, address in enumerate(addresses) if page.request.get(address).ok]


def is_idle(webui) -> bool:
    """Whether nothing is being drawn."""
    return webui.client.get("/sdapi/v1/progress?skip_current_image=true")["state"]["job_count"] == 0


def test_only_a_few_files_stay_one_when_live_is_off_and_none_when_the_page_goes_away(live):
    runs = range(live.shown(), live.shown() + 7)
    prompts = [f"{PROMPT} {number}" for number in range(4)]
    for count, prompt in enumerate(prompts, start=1):
        live.prompt.fill(prompt)
        live.wait_for(*prompts[:count])
    assert there(live.page, live.addresses(runs)) == [2, 3, 4]
    live.switch_off()
    assert there(live.page, live.addresses(runs)) == [4]  # it may be sent on
    live.tick.check()
    live.wait_for(*prompts, prompts[-1])
    hold_next(live)
    live.prompt.fill(OTHER)
    wait_until(live.page, lambda: live.events("held"))
    addresses = live.addresses(runs)
    assert there(live.page, addresses) == [4, 5]
    live.page.goto("about:blank")
    wait_until(live.page, lambda: there(live.page, addresses) == [])
    release(live)
    wait_until(live.page, lambda: is_idle(live.webui))
    assert live.drawn()[-1] == OTHER and there(live.page, addresses) == []
    live.page.close()  # the next test gets another one
