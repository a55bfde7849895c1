"""A page with javascript/lcm_live.js on it.

The WebUI's own functions are those of the workbench; gradio and the server are webui.js beside this file.
"""

from pathlib import Path

import pytest

from tests.javascript.conftest import page_of
from tests.javascript.live.live_page import LivePage

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
WORKBENCH = ROOT / "workbench" / "webui" / "javascript"
SCRIPTS = (
    WORKBENCH / "host.js",
    WORKBENCH / "submit.js",
    HERE / "page.js",
    HERE / "webui.js",
    ROOT / "javascript" / "lcm_live.js",
)


@pytest.fixture(scope="session")
def document() -> str:
    return page_of(*SCRIPTS)


@pytest.fixture
def gradio() -> int:
    """The version of gradio that the page is built with; a test can be parametrized with another one."""
    return 3


@pytest.fixture
def open_page(visit, document, gradio):
    return lambda query="": LivePage(visit(document, f"gradio={gradio}&{query}"))


@pytest.fixture
def page(open_page) -> LivePage:
    """The page as it is when it is opened, with LCM ticked."""
    return open_page()


@pytest.fixture
def live(page) -> LivePage:
    """Live is ticked on txt2img and its first picture is there."""
    page.tick()
    page.draw()
    page.forget()
    return page
