"""What all tests share: no test reaches the internet, and generated examples are the same on every run."""

from __future__ import annotations

import os
import time
from pathlib import Path

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
    group.addoption("--all", action="store_true", help="run the long tests too")
    group.addoption(
        "--webui-url",
        metavar="URL",
        help="run tests/live against the WebUI that listens here, not the workbench",
    )
    group.addoption(
        "--webui",
        metavar="DIR",
        type=Path,
        help="run tests/live against the WebUI installed here, started for it",
    )
    group.addoption(
        "--webui-python",
        metavar="FILE",
        type=Path,
        help="the Python that runs --webui; default: its own venv's",
    )
    group.addoption(
        "--webui-models",
        metavar="DIR",
        type=Path,
        help="holds Stable-diffusion and Lora for --webui; default: its own models",
    )
    group.addoption(
        "--webui-args",
        metavar="ARGS",
        default="",
        help='more arguments for --webui, such as "--use-cpu all --no-half"',
    )
    group.addoption("--worker-url", metavar="URL", help="a second WebUI, to which that one distributes work")
    hosts = "a1111-1.6 ... a1111-1.10, forge, reforge"
    group.addoption(
        "--webui-name", metavar="NAME", help=f"what that WebUI is ({hosts}), where it is not to be found out"
    )
    group.addoption(
        "--record",
        metavar="NAME[@COMMIT]",
        help="add this run, of whole files of tests/live on the real WebUI NAME, to docs/hosts.json",
    )
    group.addoption("--minutes", type=float, help="stop before the next test when so many are over")


STARTED = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STARTED] = time.monotonic()
    if not config.getoption("--webui"):  # an installed WebUI would get the variable too
        # Before torch is imported. With all cores busy, threads that wait for each other cost more than they
        # save.
        os.environ["OMP_NUM_THREADS"] = "1"
    if config.getoption("--webui") and config.getoption("--webui-url"):
        raise pytest.UsageError(
            "--webui starts a WebUI and --webui-url takes a running one: give one of the two."
        )
    if config.getoption("--record"):
        if not (config.getoption("--webui") or config.getoption("--webui-url")):
            raise pytest.UsageError("--record is for a real WebUI: give --webui or --webui-url too.")
        if config.getoption("keyword") or any("::" in argument for argument in config.args):
            raise pytest.UsageError("--record is for whole files: leave out -k and the names of tests.")
        if not hasattr(config, "workerinput"):  # with -n, the first process hears of all tests
            from tests.live.record import Record

            record = Record(config.getoption("--record"), config.getoption("--webui"))
            config.pluginmanager.register(record)
    if config.getoption("--all"):
        os.environ.setdefault("LCM_FUZZ_REQUESTS", "5000")  # before the tests that read it are imported


def pytest_report_header(config: pytest.Config) -> str | None:
    return (
        None
        if config.getoption("--all")
        else "without the tests marked long; `python dev.py test --all` runs them too"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the long tests, save where they are asked for: by `--all`, or by their whole node id."""
    if config.getoption("--all"):
        return
    long = {
        item
        for item in items
        if item.get_closest_marker("long") and not any(arg.endswith(item.nodeid) for arg in config.args)
    }
    items[:] = [item for item in items if item not in long]
    config.hook.pytest_deselected(items=list(long))


def pytest_runtest_teardown(item: pytest.Item) -> None:
    minutes = item.config.getoption("--minutes")
    if minutes is not None and time.monotonic() - item.config.stash[STARTED] > 60 * minutes:
        item.session.shouldstop = f"{minutes:g} minutes are over"


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium through Playwright; tests that use it are marked with `tests.browser.needs_chromium`.

    With a profile on disk, so that it keeps the fifty scripts of gradio's page, which each file opens anew,
    fetched and compiled.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"), executable_path=CHROMIUM, args=FLAGS
        )
        yield context
        context.close()
