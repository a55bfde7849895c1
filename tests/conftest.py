"""What all tests share: no test reaches the internet, and generated examples are the same on every run."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.browser import CHROMIUM, FLAGS

# Before huggingface_hub is imported anywhere. Tests that download do so from a server of their own.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("HF_TOKEN", None)

# No deadline: the time of one example says nothing on a busy machine.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("LCM for the WebUI")
    group.addoption("--webui-url", metavar="URL", help="run tests/live against the WebUI that listens here, not the workbench")
    hosts = "a1111-1.6 ... a1111-1.10, forge, reforge"
    group.addoption("--webui-name", metavar="NAME", default="a1111-1.10", help=f"what that WebUI is: {hosts}")


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium through Playwright; tests that use it are marked with `tests.browser.needs_chromium`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
