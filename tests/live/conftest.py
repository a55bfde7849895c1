"""One suite for any WebUI: the workbench in each of its profiles, or a real one.

    python dev.py test tests/live                                     the workbench
    python dev.py test tests/live --webui DIR                         an installed WebUI, started for it; see webui_install.py
    python dev.py test tests/live --webui-url http://127.0.0.1:7860   a running WebUI

A real WebUI needs an SD 1.5 and an SDXL checkpoint and the LCM-LoRAs of both; one of v-prediction, with "vpred" in its name, is tested
where there is one. A running one also needs, beside the extension, tests/live/probe in its extensions folder, the LCM-LoRAs under the names
lcm_lora_sd15 and lcm_lora_sdxl, the command line flag --api, and as its selected checkpoint the SD 1.5 one that the tests will pick: the
first with "sd15" in its name, else the first.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.live.page import state_of
from tests.live.pages import Pages
from tests.live.profiles import DEFAULT
from tests.live.webui_install import InstalledWebUI, InstallProblem, copy_lcm_loras, pick_checkpoints
from tests.prepared import Server
from workbench.client import ApiError, Client, Generated
from workbench.server import HostProcess

MOST_RUNNING = 4
"""Workbenches at a time in each process of the tests, some 650 MB each."""
PROBE = Path(__file__).parent / "probe"
MODELS = Path(__file__).parents[2] / "workbench" / "models"
LONGEST_RELOAD = 120  # seconds


@dataclass
class WebUI:
    """The WebUI under test. `side` is the width and height of test pictures, `sd15`, `sdxl` and `vpred` are checkpoint names.

    `server` is its process where the tests have started it; `start` then starts another one like it, `start(auth="user:password")`.
    """

    client: Client
    name: str
    side: int
    sd15: str
    sdxl: str
    vpred: str | None = None
    server: HostProcess | None = None
    start: Callable[..., HostProcess] | None = None
    events: list[dict] = field(default_factory=list)

    @property
    def draws(self) -> bool:
        """Whether its models are known to be trained, so that a picture shows what was asked for."""
        return isinstance(self.server, Server)

    def txt2img(self, prompt: str, checkpoint: str | None = None, **payload) -> tuple[Generated, list[dict]]:
        """A picture from text and the UNet's calls for it."""
        return self._run(self.client.txt2img, (prompt,), checkpoint, payload)

    def img2img(self, prompt: str, images, checkpoint: str | None = None, **payload) -> tuple[Generated, list[dict]]:
        """A picture from pictures and the UNet's calls for it."""
        return self._run(self.client.img2img, (prompt, images), checkpoint, payload)

    def _run(self, generate, args, checkpoint, payload):
        payload = {"width": self.side, "height": self.side, **payload}
        payload["override_settings"] = {"sd_model_checkpoint": checkpoint or self.sd15, **payload.get("override_settings", {})}
        self.calls()
        made = generate(*args, **payload)
        self.events = self.client.get("/lcm-test-probe/events")
        return made, self.calls()

    def loaded(self) -> Client:
        """Its client, with the SD 1.5 checkpoint loaded: /lcm/v1/status and /lcm/v1/plan speak of the one that is."""
        if self.client.get("/lcm/v1/status")["checkpoint"] != self.sd15:
            self.txt2img("a star", steps=1, cfg_scale=1)
        return self.client

    def disturb_next(self, **behaviour) -> None:
        """What happens to the next generation; see tests/live/probe."""
        self.client.post("/lcm-test-probe/behaviour", behaviour)

    def events_of(self, callback: str) -> list[dict]:
        """What callbacks of this name saw in the last generation that ended."""
        return [event for event in self.events if event["callback"] == callback]

    @property
    def comments(self) -> str:
        """What the last generation told its user."""
        return "".join(event["comments"] for event in self.events_of("postprocess"))

    def all_settings(self) -> dict:
        """The value of every setting. Forge's own route leaves out those of extensions."""
        return self.client.get("/lcm-test-probe/settings")

    @contextmanager
    def settings(self, **changes):
        """Settings changed for a while; skips the test where this WebUI lacks one of them.

        Not `override_settings` of a request: those of a setting that is not in config.json yet are never restored.
        """
        before = self.all_settings()
        missing = sorted(changes.keys() - before.keys())
        if missing:
            pytest.skip(f"this WebUI has no setting {', '.join(missing)}")
        self.client.post("/sdapi/v1/options", changes)
        try:
            yield
        finally:
            self.client.post("/sdapi/v1/options", {name: before[name] for name in changes})

    def script_info(self) -> list[dict]:
        """The scripts and their arguments as the API describes them; skips the test where this WebUI fails at that."""
        try:
            return self.client.get("/sdapi/v1/script-info")
        except ApiError as error:
            if error.status == 500 and self.name == "a1111-1.6":  # its model of an answer does not allow for its own drop-downs
                pytest.skip("A1111 1.6 cannot describe its scripts over the API, with or without extensions")
            raise

    def script(self, name: str, is_img2img: bool = False) -> dict:
        """A script and its arguments, told by the probe: {"args": [{"label", "value", "choices"}, ...]}."""
        scripts = self.client.get("/lcm-test-probe/scripts")
        return next(script for script in scripts if script["name"] == name and script["is_img2img"] == is_img2img)

    def answers(self) -> bool:
        """Whether somebody listens and answers there."""
        try:
            self.client.get("/sdapi/v1/samplers")
        except OSError:
            return False
        return True

    def end_of_log(self) -> str:
        """The last lines of its log, empty where it was not started here."""
        return "" if self.server is None else self.server.end_of_log()

    def calls(self) -> list[dict]:
        """The UNet's calls since this was last asked."""
        calls = self.client.get("/lcm-test-probe/calls")
        self.client.request("DELETE", "/lcm-test-probe/calls")
        return calls

    @property
    def has_own_lcm(self) -> bool:
        """Whether this WebUI has an LCM sampler of its own."""
        return self.name not in ("a1111-1.7", "a1111-1.6")

    def needs_schedules(self) -> None:
        """Skips the test where one cannot pick a schedule: that came with A1111 1.9."""
        if self.name in ("a1111-1.6", "a1111-1.7", "a1111-1.8"):
            pytest.skip("this WebUI has no drop-down for the schedule")

    def needs_comments(self) -> None:
        """Skips the test where a "#" in a prompt is no comment: those came with A1111 1.8."""
        if self.name in ("a1111-1.6", "a1111-1.7"):
            pytest.skip("this WebUI has no comments in prompts")

    @property
    def reads_infotexts(self) -> bool:
        """Whether its API draws a picture from an infotext."""
        return self.name not in ("a1111-1.7", "a1111-1.6")

    def txt2img_of_infotext(self, infotext: str, **fields) -> dict:
        """The API's answer to a request with the field `infotext`, for WebUIs that have it."""
        if self.name == "forge":  # it answers 500 where it has to read the styles out of an infotext, with or without extensions
            fields["styles"] = []
        return self.client.post("/sdapi/v1/txt2img", {"infotext": infotext, **fields})

    @property
    def leaves_out_uncond(self) -> bool:
        """Whether this WebUI itself computes nothing of the negative prompt at CFG 1."""
        return self.name in ("forge", "reforge")

    @property
    def survives_early_stop(self) -> bool:
        """Whether a generation that is stopped before its first picture ends without an error."""
        return self.name != "a1111-1.6"

    def uncond_at_cfg_one(self, rows: int) -> int | None:
        """Of `rows` unconditional rows, how many it shows other extensions before the UNet at CFG 1; Forge shows them no tensor at all."""
        return None if self.name == "forge" else rows

    def shown_error(self, text: str) -> str:
        """What its page shows of an error with this text: reForge's main thread prints the error and gives the page nothing."""
        return "TypeError: 'NoneType' object is not iterable" if self.name == "reforge" else text

    @property
    def hires(self) -> dict:
        """A request's fields for a hires pass in latent space to twice the size, at strength 0.5."""
        fields = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.5}
        # Forge's API fails without it, with or without extensions
        return {**fields, "hr_additional_modules": ["Use same choices"]} if self.name == "forge" else fields

    @property
    def own_lcm_timesteps(self) -> list[int]:
        """What that sampler tells the UNet in 4 steps; A1111 rounds to the distillation grid, the others do not."""
        return [999, 672, 346, 19] if self.name in ("forge", "reforge") else [999, 679, 339, 19]


def _connect(client: Client, name: str | None, side: int, **started) -> WebUI:
    """`name` is what the WebUI is, None to ask the probe in it; `started` are `server` and `start` where the tests have started it."""
    try:
        models = client.get("/sdapi/v1/sd-models")
        name = name or client.get("/lcm-test-probe/host")["name"]
    except ApiError as error:
        where = f"{client.url} has no --api, or tests/live/probe is not in its extensions folder" if error.status == 404 else client.url
        raise InstallProblem(f"{where}: {error}") from None
    picked = pick_checkpoints((model["model_name"], Path(model["filename"])) for model in models)
    vpred = next((model["model_name"] for model in models if "vpred" in model["model_name"]), None)
    return WebUI(client, name, side, *picked.values(), vpred, **started)


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
        metafunc.parametrize("webui_name", [str(real)] if real else profiles, scope="module")


@pytest.fixture(scope="session")
def webuis(request, tmp_path_factory):
    """Profile, or address or folder of a real one -> `WebUI`, started when it is first wanted."""
    running: OrderedDict[str, tuple[WebUI, ExitStack]] = OrderedDict()

    def webui(name: str) -> WebUI:
        if name not in running:
            with ExitStack() as stack:
                made = _or_end_of_run(partial(_started, request.config.getoption, name, tmp_path_factory, stack))
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
        return _connect(Client(option("--webui-url"), timeout=600), option("--webui-name"), 128)
    if option("--webui"):
        start = partial(_start_installed, option, tmp_path_factory)
        name, side = option("--webui-name"), 128
    else:
        start = partial(_start_workbench, name, tmp_path_factory)
        side = 64
    server = stack.enter_context(start())
    server.client.timeout = 600
    return _connect(server.client, name, side, server=server, start=start)


@pytest.fixture(scope="module")
def webui(webui_name, webuis):
    return webuis(webui_name)


def _start_workbench(profile: str, tmp_path_factory, auth: str | None = None) -> Server:
    data_dir = tmp_path_factory.mktemp("data")
    loras, checkpoints = data_dir / "Lora", data_dir / "Stable-diffusion"
    copy_lcm_loras(MODELS / "Lora", loras)
    shutil.copytree(MODELS / "Stable-diffusion", checkpoints)
    from workbench.small_models import load_checkpoint, save_checkpoint  # torch and diffusers: 5 s that no other start of pytest needs

    model = load_checkpoint(checkpoints / "small-sd15.safetensors")
    model.prediction_type = "v_prediction"  # says of the same weights that they predict something else: what is drawn is noise, and exact
    save_checkpoint(model, checkpoints / "small-vpred.safetensors")
    folders = ["--data-dir", str(data_dir), "--lora-dir", str(loras), "--ckpt-dir", str(checkpoints)]
    return Server(["--profile", profile, *folders, "--extension", str(PROBE)], auth=auth)


def _start_installed(option, tmp_path_factory, auth: str | None = None) -> InstalledWebUI:
    places = {"python": option("--webui-python"), "models": option("--webui-models")}
    arguments = shlex.split(option("--webui-args"))
    return InstalledWebUI(option("--webui"), tmp_path_factory.mktemp("webui"), arguments=arguments, auth=auth, **places)


def _or_end_of_run(start):
    """What `start()` gives; where it cannot, one message instead of one for each test."""
    try:
        return start()
    except (InstallProblem, RuntimeError, OSError) as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(autouse=True)
def webui_lives(request):
    """Where the test's WebUI is gone, its log is shown and the run ends: every later test could only say that it is not there."""
    yield
    webui = getattr(request.node, "funcargs", {}).get("webui")
    if webui is None or webui.server is None:
        return
    deadline = time.monotonic() + LONGEST_RELOAD
    while not webui.answers():
        if not webui.server.is_running:
            pytest.exit(f"{webui.server.name} has died. {webui.end_of_log()}", returncode=pytest.ExitCode.INTERNAL_ERROR)
        if time.monotonic() > deadline:
            pytest.exit(f"{webui.server.name} answers no more. {webui.end_of_log()}", returncode=pytest.ExitCode.INTERNAL_ERROR)
        time.sleep(1)


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
