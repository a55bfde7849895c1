"""Pages of the scripts in javascript/ with a fake WebUI around them, on which time stands still until a test
lets it pass.
"""

from pathlib import Path

import pytest

from tests.browser import VIEWPORT

ADDRESS = "http://webui.test/"
AN_HOUR = 3_600_000


def page_of(*scripts: Path) -> str:
    """A document of these scripts alone, which build the rest."""
    elements = (f"<script>{file.read_text('utf-8')}\n//# sourceURL={file.name}</script>" for file in scripts)
    return '<!doctype html><meta charset="utf-8"><body>' + "\n".join(elements)


@pytest.fixture(scope="session")
def tab(browser):
    """A tab of the browser in a context of its own, since that has one clock."""
    context = browser.browser.new_context(viewport=VIEWPORT)
    tab = context.new_page()
    tab.clock.install(time=0)
    tab.clock.pause_at(AN_HOUR)
    yield tab
    context.close()


@pytest.fixture
def visit(tab):
    """`visit(document, query)` opens a page; the test fails where a script of it did."""
    errors = []

    def note(error) -> None:
        errors.append(str(error))

    def visit(document: str, query: str = ""):
        tab.unroute_all()
        tab.route(f"{ADDRESS}**", lambda route: route.fulfill(body=document, content_type="text/html"))
        tab.goto(f"{ADDRESS}?{query}")
        return tab

    tab.on("pageerror", note)
    yield visit
    tab.remove_listener("pageerror", note)
    assert errors == []
