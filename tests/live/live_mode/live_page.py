"""A page with Live on it, as its tests use it."""

import io
import re

from tests.live.page import open_tab
from tests.prompts import PROMPT

DEBOUNCE = 0.3


class LivePage:
    """The page with LCM ticked on one tab, pictures of the test's size in it, and what the WebUI did since."""

    def __init__(self, page, webui, tab="txt2img"):
        self.page = page
        self.webui = webui
        self.tab = tab
        self.set_number("width", webui.side)
        self.set_number("height", webui.side)
        header = page.locator(f"#script_{tab}_lcm_enabled .label-wrap").first
        header.click(position={"x": 200, "y": 8})
        page.locator(f"#script_{tab}_lcm_live").wait_for(state="visible")
        # the status line grows when LCM is on, and moves the tick of Live below it away from a click
        page.wait_for_function("id => !document.querySelector(id).innerText.includes('LCM is off')", arg=f"#script_{tab}_lcm_status")
        self.forget()

    def set_number(self, name, value):
        field = self.page.locator(f"#{self.tab}_{name} input[type=number]").first
        field.fill(str(value))
        field.press("Tab")

    @property
    def tick(self):
        return self.page.locator(f"#script_{self.tab}_lcm_live input[type=checkbox]").first

    @property
    def prompt(self):
        return self.page.locator(f"#{self.tab}_prompt textarea").first

    @property
    def line(self) -> str:
        return self.page.locator(f"#script_{self.tab}_lcm_live_status .lcm-live-status").first.inner_text()

    @property
    def seed(self) -> str:
        return self.page.locator(f"#{self.tab}_seed :is(input, textarea)").first.input_value()

    def wait_for_line(self, text):
        selector = f"#script_{self.tab}_lcm_live_status .lcm-live-status"
        self.page.wait_for_function("([s, t]) => document.querySelector(s).innerText.includes(t)", arg=[selector, text])

    def forget(self):
        self.webui.client.request("DELETE", "/lcm-test-probe/calls")

    def events(self, callback) -> list[dict]:
        return [event for event in self.webui.client.get("/lcm-test-probe/events") if event["callback"] == callback]

    def drawn(self) -> list[str]:
        """The first prompts of the generations that began since `forget`."""
        return [event["prompts"][0] for event in self.events("process")]

    def saved(self) -> list[str]:
        return [event["filename"] for event in self.events("image_saved")]

    def shown(self) -> int:
        """The number of the live run whose picture is in the gallery, 0 for none."""
        sources = self.page.evaluate(f"[...document.querySelectorAll('#{self.tab}_gallery img')].map(image => image.src)")
        numbers = [int(found[1]) for source in sources if (found := re.search(r"lcm-live-\w+-(\d+)\.png", source))]
        return max(numbers, default=0)

    def wait_for_picture(self, number):
        """Until the picture of that live run is in the gallery, and the run over."""
        pattern = f"lcm-live-\\w+-{number}\\.png"
        script = """([tab, pattern]) => [...document.querySelectorAll(`#${tab}_gallery img`)].some(
            image => image.complete && new RegExp(pattern).test(image.src))"""
        self.wait_until(lambda: self.page.evaluate(script, [self.tab, pattern]), f"picture {number}")

    def wait_until(self, condition, what):
        for _ in range(600):
            if condition():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{what} did not come; shown: {self.shown()}, drawn: {self.drawn()}, line: {self.line!r}")

    def open_tab(self):
        open_tab(self.page, self.tab)

    def note_pauses(self):
        """From now on, `pauses` has the milliseconds from the last input in the prompt to each press of Generate."""
        script = """tab => { let typed = -Infinity; window.lcmTestPauses = [];
            document.querySelector(`#${tab}_prompt textarea`).addEventListener('input', () => { typed = performance.now(); }, true);
            document.querySelector(`#${tab}_generate`).addEventListener(
                'click', () => window.lcmTestPauses.push(performance.now() - typed), true); }"""
        self.page.evaluate(script, self.tab)

    @property
    def pauses(self) -> list[float]:
        return self.page.evaluate("window.lcmTestPauses")

    def delay_next_press(self, milliseconds):
        """gradio deals with the next press of Generate only then; None: never."""
        script = """([tab, wait]) => {
            const { id } = window.gradio_config.components.find(component => component.props.elem_id === `${tab}_generate`);
            const delay = event => {
                if (event.detail.id !== id || event.detail.event !== 'click') return;
                window.removeEventListener('gradio', delay, true);
                event.stopImmediatePropagation();
                if (wait === null) return;
                const { target, detail } = event;
                setTimeout(() => target.dispatchEvent(new CustomEvent('gradio', { bubbles: true, detail })), wait);
            };
            window.addEventListener('gradio', delay, true); }"""
        self.page.evaluate(script, [self.tab, milliseconds])

    def pictures_there(self, numbers) -> list[int]:
        """Of the live runs of these numbers, those whose picture can still be had from the server."""
        sources = self.page.evaluate(f"[...document.querySelectorAll('#{self.tab}_gallery img')].map(image => image.src)")
        address = next(source for source in sources if "lcm-live" in source)
        return [number for number in numbers if is_there(self.page, address_of(address, number))]

    def settle(self):
        """Long enough for a run that should not come to come."""
        self.page.wait_for_timeout(1000 * (DEBOUNCE + 1.5))


def address_of(address: str, number: int) -> str:
    """The address of another live run's picture."""
    return re.sub(r"-\d+\.png.*", f"-{number}.png", address)


def is_there(page, address: str) -> bool:
    return page.request.get(address).ok


def open_img2img(page, webui, seed=5) -> LivePage:
    """The img2img tab with a prompt and a seed, and no picture yet."""
    open_tab(page, "img2img")
    live = LivePage(page, webui, "img2img")
    live.prompt.fill(PROMPT)
    live.set_number("seed", seed)
    return live


def picture_file(webui) -> dict:
    """A picture to be put into the page."""
    made, _ = webui.txt2img(PROMPT, steps=2, cfg_scale=1)
    data = io.BytesIO()
    made.image.save(data, "PNG")
    return {"name": "start.png", "mimeType": "image/png", "buffer": data.getvalue()}
