"""The accordion's page as the tests of javascript/lcm.js use it."""

from __future__ import annotations


class AccordionPage:
    """The page; the test plays the server."""

    def __init__(self, page):
        self.page = page

    def run(self, script: str, arg=None):
        return self.page.evaluate(script, arg)

    def pass_time(self, milliseconds: int) -> None:
        self.page.clock.run_for(milliseconds)

    @property
    def is_settled(self) -> bool:
        return self.run("document.body.hasAttribute('data-lcm-settled')")

    def sent(self, tab: str | None = None) -> list[dict]:
        """What reached the server, in order; of one tab."""
        every = self.run("gradio.sent.map((asked, number) => ({ number, ...asked }))")
        return [asked for asked in every if tab in (None, asked["tab"])]

    def forget(self) -> None:
        self.run("gradio.sent.length = 0")

    def answer(self, tab: str = "txt2img", **answer) -> list:
        """Answers the last question of a tab. Returns what gradio gets for the slider."""
        number = self.sent(tab)[-1]["number"]
        return self.run("([number, answer]) => gradio.answer(number, answer)", [number, answer])

    def answer_all(self, **answer) -> None:
        """Answers both tabs until nothing is asked any more."""
        for tab in ("txt2img", "img2img"):
            asked = 0
            while len(self.sent(tab)) > asked:
                asked = len(self.sent(tab))
                self.answer(tab, **answer)
                self.pass_time(20)
        self.pass_time(200)
        self.forget()

    def changed(self, tab: str = "txt2img", is_typed: bool = False) -> None:
        """gradio reports that a control has changed."""
        self.run("([tab, isTyped]) => lcmPage.changed(tab, isTyped)", [tab, is_typed])
