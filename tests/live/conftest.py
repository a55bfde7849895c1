"""One suite for any WebUI: the workbench in each of its profiles, or a real one.

    python dev.py test tests/live                                     the workbench
    python dev.py test tests/live --webui-url http://127.0.0.1:7860   a running WebUI

A real WebUI needs, beside the extension, tests/live/probe in its extensions folder, a checkpoint of each family whose name
contains "sd15" or "sdxl", the LCM-LoRAs of both, and the command line flag --api. Its first SD 1.5 checkpoint must be the selected one.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from workbench.client import Client, Generated
from workbench.server import Server

PROFILES = ("a1111-1.10", "a1111-1.8", "a1111-1.7", "a1111-1.6", "forge")
PROBE = Path(__file__).parent / "probe"
MODELS = Path(__file__).parents[2] / "workbench" / "models"


@dataclass
class WebUI:
    """The WebUI under test. `side` is the width and height of test pictures, `sd15` and `sdxl` are checkpoint names."""

    client: Client
    name: str
    side: int
    sd15: str
    sdxl: str
    server: Server | None = None
    events: list[dict] = field(default_factory=list)

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

    @contextmanager
    def settings(self, **changes):
        """Settings changed for a while; skips the test where this WebUI lacks one of them.

        Not `override_settings` of a request: those of a setting that is not in config.json yet are never restored.
        """
        before = self.client.get("/sdapi/v1/options")
        missing = sorted(changes.keys() - before.keys())
        if missing:
            pytest.skip(f"this WebUI has no setting {', '.join(missing)}")
        self.client.post("/sdapi/v1/options", changes)
        try:
            yield
        finally:
            self.client.post("/sdapi/v1/options", {name: before[name] for name in changes})

    def calls(self) -> list[dict]:
        """The UNet's calls since this was last asked."""
        calls = self.client.get("/lcm-test-probe/calls")
        self.client.request("DELETE", "/lcm-test-probe/calls")
        return calls

    @property
    def has_own_lcm(self) -> bool:
        """Whether this WebUI has an LCM sampler of its own."""
        return self.name not in ("a1111-1.7", "a1111-1.6")

    @property
    def leaves_out_uncond(self) -> bool:
        """Whether this WebUI itself computes nothing of the negative prompt at CFG 1."""
        return self.name in ("forge", "reforge")

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


def _connect(client: Client, name: str, side: int, server: Server | None = None) -> WebUI:
    names = [model["model_name"] for model in client.get("/sdapi/v1/sd-models")]
    sd15, sdxl = (next(model for model in sorted(names) if family in model) for family in ("sd15", "sdxl"))
    return WebUI(client, name, side, sd15, sdxl, server)


def pytest_generate_tests(metafunc):
    if "webui" in metafunc.fixturenames:
        url = metafunc.config.getoption("--webui-url")
        marker = metafunc.definition.get_closest_marker("profiles")
        profiles = marker.args if marker else PROFILES
        metafunc.parametrize("webui", [url] if url else profiles, indirect=True, scope="session")


@pytest.fixture(scope="session")
def webui(request, tmp_path_factory):
    if request.param.startswith("http"):
        name = request.config.getoption("--webui-name")
        yield _connect(Client(request.param, timeout=600), name, 128)
        return
    data_dir = tmp_path_factory.mktemp("data")
    loras = shutil.copytree(MODELS / "Lora", data_dir / "Lora")  # tests add LoRAs and take them away
    with Server(
        ["--profile", request.param, "--data-dir", str(data_dir), "--lora-dir", str(loras), "--extension", str(PROBE)]
    ) as server:
        yield _connect(server.client, request.param, 64, server)
