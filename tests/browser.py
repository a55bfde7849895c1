"""Chromium for the tests that look at the page."""

import shutil
import time
from collections import deque

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Without these, Chromium as root does not start, and looks for hosts outside the machine.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

VIEWPORT = {"width": 1280, "height": 1400}

needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


def with_chromium(test):
    """`needs_chromium` for one test, or a class of them."""
    for mark in needs_chromium:
        test = mark(test)
    return test


def open_page(browser, url: str, errors: list[str] | None = None, blocked: str | None = None):
    """The WebUI's page at `url`, loaded as far as its Generate button; errors of its scripts go into
    `errors`.

    Files whose address matches the pattern `blocked` do not arrive. `page.said` holds the last that page and
    server said to each other.
    """
    page = browser.new_page()
    page.said = _overhear(page)
    page.set_viewport_size(VIEWPORT)
    page.on("pageerror", lambda error: None if errors is None else errors.append(str(error)))
    page.set_default_timeout(60_000)
    if blocked is not None:
        page.route(blocked, lambda route: route.abort())
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector("#txt2img_generate")
    return page


def _overhear(page) -> deque[str]:
    """From now on, the last of what the page and gradio say to each other: seconds, and the beginning of each
    message.
    """
    said, begun = deque(maxlen=40), time.monotonic()

    def note(kind: str, text) -> None:
        said.append(f"{time.monotonic() - begun:6.2f} s {kind} {text[:200]}")

    def listen(socket) -> None:
        socket.on("framesent", lambda text: note("sends", text))
        socket.on("framereceived", lambda text: note("hears", text))
        socket.on("close", lambda _: note("closed", socket.url))

    page.on("websocket", listen)
    for event in ("request", "requestfinished", "requestfailed"):
        page.on(
            event,
            lambda request, event=event: (
                note(event, request.post_data or request.url) if "/run/" in request.url else None
            ),
        )
    return said


def wait_until(page, holds) -> None:
    """Asserts that `holds()` becomes true within 30 seconds: a page settles one control after the other."""
    for _ in range(300):
        if holds():
            return
        page.wait_for_timeout(100)
    assert holds()


def open_accordion(page, tab: str = "txt2img") -> None:
    """Opens LCM's accordion by its header, and ticks LCM where that click has not."""
    accordion = page.locator(f"#script_{tab}_lcm_enabled").first
    accordion.locator(".label-wrap").first.click(position={"x": 200, "y": 8})
    page.wait_for_selector(f"#script_{tab}_lcm_steps input[type=number]", state="visible")
    if not page.locator(f"#script_{tab}_lcm_enabled-checkbox input").first.is_checked():
        accordion.locator(".label-wrap input[type=checkbox]").first.check()
