"""One page for many tests: opened once, and put back between them as it was when it was fresh."""

from __future__ import annotations

from contextlib import contextmanager

from tests.browser import VIEWPORT, open_page
from tests.live.page import settle, unknown_errors

MOST_ROUNDS = 10

# What a reset must bring back: fields, opened accordions, the tabs in front, and what the WebUI says below
# its galleries.
STATE = """() => {
    const id = (element) => element.closest("[id]")?.id;
    const within = (selector) =>
        [...document.querySelectorAll(`:is(#tab_txt2img, #tab_img2img) ${selector}`)];
    // ours, and the quick settings, which lie within the tabs in reForge and which other tests change
    const isBookkeeping = (field) => /_lcm_(exchange|done|pasted)$|^setting_/.test(id(field));
    const isTicked = (field) => ["checkbox", "radio"].includes(field.type);
    const value = (field) => isTicked(field) ? `${field.value} ${field.checked}` : field.value;
    const fields = within("textarea, input:not([type=file])")
        .filter((field) => !isBookkeeping(field))
        .map((field) => `${id(field)} ${field.type}: ${value(field)}`);
    const said = within("[id^=html_], [id$=_lcm_status], [id$=_lcm_messages], .lcm-live-status")
        .map((part) => `${part.id}: ${part.textContent}`);
    return {
        fields, said,
        accordions: within(".label-wrap.open").map(id),
        pictures: within("img[src], canvas").map(id),
        tabs: [...document.querySelectorAll(".tab-nav button.selected")].map((tab) => tab.textContent.trim()),
        settings: typeof opts === "object" ? JSON.stringify(opts) : "",
    };
}"""

RESET = """(first) => {
    document.activeElement?.blur();
    for (const tab of ["txt2img", "img2img"]) document.querySelector(`#lcm_test_probe_reset_${tab}`).click();
    Object.assign(opts, JSON.parse(first.settings));
    const front = new Set(first.tabs);
    for (const nav of document.querySelectorAll(".tab-nav")) {
        const wanted = [...nav.querySelectorAll("button")].find((tab) => front.has(tab.textContent.trim()));
        if (wanted && !wanted.classList.contains("selected")) wanted.click();
    }
    window.scrollTo(0, 0);
}"""

FOLD = """(first) => {
    for (const header of document.querySelectorAll(":is(#tab_txt2img, #tab_img2img) .label-wrap")) {
        const wasOpen = first.accordions.includes(header.closest("[id]")?.id);
        if (header.classList.contains("open") !== wasOpen) header.click();
    }
}"""


class Pages:
    """The open pages of one WebUI, by the query of their address."""

    def __init__(self, browser, webui):
        self._browser = browser
        self._webui = webui
        self._open: dict[str, tuple] = {}

    @contextmanager
    def fresh(self, query: str = ""):
        """A page as it is when it is opened, for one test. It fails where a script of the page did."""
        if query in self._open:
            page, errors, first = self._open[query]
            reset(page, first)
        else:
            errors = []
            page = open_page(self._browser, self._webui.client.url + query, errors)
            # the last that a page gets while it opens
            page.wait_for_function("typeof opts === 'object' && Object.keys(opts).length > 0")
            settle(page)
            first = page.evaluate(STATE)
            page.evaluate(RESET, first)  # the first time, the probe takes note of what is there
            settle(page)
        self._open.pop(query, None)
        try:
            yield page
        except BaseException:
            page.close()
            raise
        found = unknown_errors(errors)
        errors.clear()
        if page.is_closed() or found:
            page.close()
            assert found == []
        else:
            self._open[query] = page, errors, first

    def close(self) -> None:
        for page, *_ in self._open.values():
            page.close()


def reset(page, first: dict) -> None:
    """Puts the page back as it was first. Fails where something is left.

    More than once where need be: what the WebUI itself was still asking for, such as the text of a picture,
    can come after it.
    """
    page.unroute_all()
    page.set_viewport_size(VIEWPORT)
    is_first = f"(first) => JSON.stringify(({STATE})()) === JSON.stringify(first)"
    for _ in range(MOST_ROUNDS):
        page.evaluate(RESET, first)
        settle(page)
        page.evaluate(FOLD, first)
        settle(page)
        if page.evaluate(is_first, first):
            return
    now = page.evaluate(STATE)
    left = {name: _differences(now[name], first[name]) for name in first if now[name] != first[name]}
    raise AssertionError(f"The last test left on its page: {left}")


def _differences(now, first) -> list:
    if isinstance(now, str):
        return ["settings"]
    return [
        *(f"+ {part}" for part in now if part not in first),
        *(f"- {part}" for part in first if part not in now),
    ]
