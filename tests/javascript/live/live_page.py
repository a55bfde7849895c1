"""What tests do on the page with lcm_live.js on it, and what they read from it."""

from __future__ import annotations


class LivePage:
    """The page, and what its server was given since `forget`. `tab` is the one that a test types into.

    Elements are looked up by scripts of our own: Playwright's locators take 40 ms on each new page.
    """

    PAUSE = 320
    """ms after a change until its run has begun: the debounce, and a frame, in which gradio 4 presses."""

    def __init__(self, page, tab: str = "txt2img"):
        self.page = page
        self.tab = tab
        self._forgotten = 0

    def open_tab(self, tab: str) -> LivePage:
        """Brings that tab to the front, and returns the page for it."""
        self.click(f"#tabs > .tab-nav > :nth-child({1 if tab == 'txt2img' else 2})")
        other = LivePage(self.page, tab)
        other.forget()
        return other

    def js(self, script: str, argument=None):
        return self.page.evaluate(script, argument)

    def element(self, selector: str, function: str, argument=None):
        """What a JavaScript function of an element, and of the argument, returns."""
        script = f"([selector, argument]) => ({function})(document.querySelector(selector), argument)"
        return self.page.evaluate(script, [selector, argument])

    def pass_time(self, milliseconds: int) -> None:
        self.page.clock.run_for(milliseconds)

    def set_options(self, **options) -> None:
        """Settings of the WebUI; None: it has no such setting."""
        self.js("some => { for (const name in some) opts[name] = some[name] ?? undefined; }", options)

    # What a user does

    def focus(self, selector: str) -> None:
        """Puts the cursor there, with all text selected."""
        self.element(selector, "field => { field.focus(); field.select(); }")

    def type(self, text: str, field: str = "prompt") -> None:
        """Replaces what is in a field of the tab."""
        self.type_into(f"#{self.tab}_{field} :is(textarea, input)", text)

    def type_into(self, selector: str, text: str) -> None:
        self.focus(selector)
        if text:
            self.page.keyboard.insert_text(text)
        else:
            self.page.keyboard.press("Delete")

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of an element, for the mouse."""
        script = """element => {
            element.scrollIntoView({ block: "nearest" });
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }"""
        return tuple(self.element(selector, script))

    def click(self, selector: str) -> None:
        self.page.mouse.click(*self.place(selector))

    def press_elsewhere(self) -> None:
        """A click on something that decides nothing."""
        self.click("#elsewhere")

    def press_generate(self) -> None:
        self.click(f"#{self.tab}_generate")

    def tick(self) -> None:
        """Switches Live on, or off again."""
        self.click(f"#script_{self.tab}_lcm_live input")

    def choose(self, selector: str, entry: str) -> None:
        """Picks an entry of a drop-down, which closes."""
        self.click(selector)
        self.change_by_itself(selector, entry)
        self.element(selector, "field => field.dispatchEvent(new Event('change', { bubbles: true }))")
        self.element(selector, "field => field.blur()")

    def draw(self) -> None:
        """Lets the run begin that a change calls for, and come to its end."""
        self.pass_time(self.PAUSE)
        self.finish()

    # What gradio and the server do

    def change_by_itself(self, selector: str, value: str) -> None:
        """The WebUI changes a field, of which no event says anything."""
        self.element(selector, "(field, value) => { field.value = value; }", value)

    def delay_next_press(self, milliseconds: int | None) -> None:
        """gradio deals with the next press of Generate only then; 0: right after the click; None: never."""
        self.js("delay => { webui.gradio.delay = delay; }", milliseconds)

    def gradio_refuses(self, refuses: bool) -> None:
        self.js("refuses => { webui.gradio.refuses = refuses; }", refuses)

    def server(self, **state) -> None:
        """From now on the server isDown, isBroken, isBusy (another page's job), answersAfter so many ms or
        drafts.
        """
        self.js("state => { Object.assign(webui.server, state); webui.server.goOn(); }", state)

    def finish(self) -> None:
        """The run that is being drawn is over, and its picture has arrived."""
        self.js("webui.server.end()")

    def fail(self) -> None:
        """The run that is being drawn is over, and has made no picture."""
        self.js("webui.server.end(null)")

    def lose_runs(self) -> None:
        """The server knows nothing of any run any more, as after a restart."""
        self.js("() => { webui.server.jobs.length = 0; webui.gradio.pending.clear(); }")

    # What is to be seen

    @property
    def _line(self) -> str:
        return f"#script_{self.tab}_lcm_live_status .lcm-live-status"

    @property
    def line(self) -> str:
        return self.element(self._line, "line => line.textContent")

    @property
    def is_announced(self) -> bool:
        """Whether screen readers read the line out."""
        return self.element(self._line, "line => line.ariaLive") == "polite"

    def value(self, selector: str) -> str:
        return self.element(selector, "field => field.value")

    @property
    def seed(self) -> str:
        return self.value(f"#{self.tab}_seed input")

    @property
    def shown(self) -> list[str]:
        """The names of the files that the gallery shows."""
        script = "({ children }) => [...children].map(({ src }) => src)"
        addresses = self.element(f"#{self.tab}_gallery", script)
        return [address.split("/")[-1] for address in addresses]

    def jobs(self) -> list[dict]:
        """What the server has been given, in this order."""
        return self.js("from => webui.server.jobs.slice(from)", self._forgotten)

    def drawn(self) -> list[str]:
        """The prompts of the live pictures that the server began to draw."""
        return [job["prompt"] for job in self.jobs() if job["number"] and job.get("isDrawn")]

    def saved(self) -> list[str]:
        """The prompts of the pictures that are none of Live's."""
        return [job["prompt"] for job in self.jobs() if not job["number"]]

    def stops(self) -> list[tuple[int, bool, int | None]]:
        """What was to be stopped: the run's number, whether also when running, and how many files to keep."""
        stops = self.js("webui.server.stops")
        return [(stop["number"], stop["alsoRunning"], stop.get("kept")) for stop in stops]

    def forget(self) -> None:
        self._forgotten = self.js("() => { webui.server.stops = []; return webui.server.jobs.length; }")
