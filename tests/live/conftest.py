"""One suite for any WebUI: the workbench in each of its profiles, or a real one.

    python dev.py test tests/live                                    the workbench
    python dev.py test tests/live --webui DIR                        an installed WebUI, started for it
    python dev.py test tests/live --webui-url http://127.0.0.1:7860  a running WebUI

A real WebUI needs an SD 1.5 and an SDXL checkpoint and the LCM-LoRAs of both; one of v-prediction, with
"vpred" in its name, is tested where there is one. A running one also needs, beside the extension,
tests/live/probe in its extensions folder, the LCM-LoRAs under the names lcm_lora_sd15 and lcm_lora_sdxl, the
command line flag --api, and as its selected checkpoint the SD 1.5 one that the tests will pick: the first
with "sd15" in its name, else the first.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections import OrderedDict
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.live.page import state_of
from tests.live.pages import Pages
from tests.live.panel import Panel
from tests.live.profiles import DEFAULT
from tests.live.webui import WebUI, connect
from tests.live.webui_install import EXTENSION, InstalledWebUI, InstallProblem, copy_lcm_loras
from tests.prepared import Server
from workbench.client import Client

MOST_RUNNING = 4
"""Workbenches at a time in each process of the tests, some 650 MB each where they are not forked."""
PROBE = Path(__file__).parent / "probe"
MODELS = Path(__file__).parents[2] / "workbench" / "models"
LONGEST_RELOAD = 120  # seconds


@pytest.fixture(scope="session")
def tell(request):
    """`tell(line)` prints a figure that a test has measured, whether it passes or not."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{line}")

    return tell


def pytest_generate_tests(metafunc):
    if "webui_name" in metafunc.fixturenames:
        real = metafunc.config.getoption("--webui-url") or metafunc.config.getoption("--webui")
        marker = metafunc.definition.get_closest_marker("profiles")
        profiles = marker.args if marker else DEFAULT
        if not profiles:
            profiles = [pytest.param("", marks=pytest.mark.skip(reason="for an installed WebUI alone"))]
        metafunc.parametrize("webui_name", [str(real)] if real else profiles, scope="module")


@pytest.fixture(scope="session")
def webuis(request, tmp_path_factory):
    """Profile, or address or folder of a real one -> `WebUI`, started when it is first wanted."""
    running: OrderedDict[str, tuple[WebUI, ExitStack]] = OrderedDict()

    def webui(name: str) -> WebUI:
        if name not in running:
            with ExitStack() as stack:
                made = _or_end_of_run(
                    partial(_started, request.config.getoption, name, tmp_path_factory, stack)
                )
                running[name] = made, stack.pop_all()
        running.move_to_end(name)
        while len(running) > MOST_RUNNING:
            running.popitem(last=False)[1][1].close()
        return running[name][0]

    yield webui
    for _, stack in running.values():
        stack.close()


def _started(option, name: str, tmp_path_factory, stack: ExitStack) -> WebUI:
    if option("--webui-url"):
        return connect(Client(option("--webui-url"), timeout=600), option("--webui-name"), 128)
    if option("--webui"):
        start = partial(_start_installed, option, tmp_path_factory)
        name, side = option("--webui-name"), 128
    else:
        start = partial(_start_workbench, name, tmp_path_factory)
        side = 64
    server = stack.enter_context(start())
    server.client.timeout = 600
    return connect(server.client, name, side, server=server, start=start)


@pytest.fixture(scope="module")
def webui(webui_name, webuis):
    return webuis(webui_name)


@pytest.fixture
def tiny_decoder(webui):
    """Gives the WebUI a tiny decoder of a family, for this test: `tiny_decoder("taesdxl")`, or a broken
    one.
    """
    route = "/lcm-test-probe/tiny-decoders"
    folder = Path(webui.client.get(route))
    written = []

    def write(name: str = "taesd", *, is_broken: bool = False) -> None:
        from workbench.tiny_decoder import build_tiny_decoder, save_tiny_decoder

        if webui.name in ("a1111-1.6", "a1111-1.7"):
            pytest.skip("this WebUI calls no script before it decodes")
        file = folder / f"{name}_decoder.pth"
        if file.exists() and file not in written:
            pytest.skip(f"{file} is the user's own")
        written.append(file)
        save_tiny_decoder(build_tiny_decoder(), file)
        if is_broken:
            file.write_bytes(file.read_bytes()[:1000])

    yield write
    for file in written:
        file.unlink(missing_ok=True)
    webui.client.request("DELETE", route)


def _start_workbench(profile: str, tmp_path_factory, auth: str | None = None) -> Server:
    data_dir = tmp_path_factory.mktemp("data")
    loras, checkpoints = data_dir / "Lora", data_dir / "Stable-diffusion"
    copy_lcm_loras(MODELS / "Lora", loras)
    shutil.copytree(MODELS / "Stable-diffusion", checkpoints)
    # torch and diffusers: 5 s that no other start of pytest needs
    from workbench.small_models import load_checkpoint, save_checkpoint

    model = load_checkpoint(checkpoints / "small-sd15.safetensors")
    # says of the same weights that they predict something else: what is drawn is noise, and exact
    model.prediction_type = "v_prediction"
    save_checkpoint(model, checkpoints / "small-vpred.safetensors")
    folders = ["--data-dir", str(data_dir), "--lora-dir", str(loras), "--ckpt-dir", str(checkpoints)]
    # the probe before ours, as in an installed WebUI, which takes them by name
    extensions = ["--no-lcm", "--extension", str(PROBE), "--extension", str(EXTENSION)]
    return Server(["--profile", profile, *folders, *extensions], auth=auth)


def _start_installed(option, tmp_path_factory, auth: str | None = None) -> InstalledWebUI:
    places = {"python": option("--webui-python"), "models": option("--webui-models")}
    arguments = shlex.split(option("--webui-args"))
    return InstalledWebUI(
        option("--webui"), tmp_path_factory.mktemp("webui"), arguments=arguments, auth=auth, **places
    )


def _or_end_of_run(start):
    """What `start()` gives; where it cannot, one message instead of one for each test."""
    try:
        return start()
    except (InstallProblem, RuntimeError, OSError) as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(autouse=True)
def webui_lives(request):
    """Where the test's WebUI is gone, its log is shown and the run ends: every later test could only say that
    it is not there.
    """
    yield
    webui = getattr(request.node, "funcargs", {}).get("webui")
    if webui is None or webui.server is None:
        return
    deadline = time.monotonic() + LONGEST_RELOAD
    while not webui.answers():
        if not webui.server.is_running:
            pytest.exit(
                f"{webui.server.name} has died. {webui.end_of_log()}",
                returncode=pytest.ExitCode.INTERNAL_ERROR,
            )
        if time.monotonic() > deadline:
            pytest.exit(
                f"{webui.server.name} answers no more. {webui.end_of_log()}",
                returncode=pytest.ExitCode.INTERNAL_ERROR,
            )
        time.sleep(1)


@pytest.fixture
def panel(webui):
    """txt2img's accordion, asked over HTTP, with the SD 1.5 checkpoint loaded."""
    return Panel(webui.loaded())


@pytest.fixture
def own(webui_name, request, tmp_path_factory):
    """A WebUI for one test alone."""
    if request.config.getoption("--webui-url"):
        pytest.skip("needs a WebUI that the tests start themselves: use --webui")
    with ExitStack() as stack:
        yield _or_end_of_run(partial(_started, request.config.getoption, webui_name, tmp_path_factory, stack))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test of the page says what was on it, and what it last said to its server."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and page is not None and not page.is_closed():
        report.sections.append(("The page", state_of(page)))
        page.close()  # the next test gets another one
    return report


@pytest.fixture(scope="module")
def pages(browser, webui):
    """The pages that the tests of one file share; see `tests.live.pages`."""
    pages = Pages(browser, webui)
    yield pages
    pages.close()


@pytest.fixture
def page(pages, webui):
    """The WebUI's page as it is when it is opened, with the SD 1.5 checkpoint loaded."""
    webui.loaded()
    with pages.fresh() as page:
        yield page
