"""The WebUI under test, as the tests ask it and what they know of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.live.webui_install import InstallProblem, pick_checkpoints
from workbench.client import ApiError, Client, Generated
from workbench.server import HostProcess, Server


@dataclass
class WebUI:
    """The WebUI under test. `side` is the width and height of test pictures, `sd15`, `sdxl` and `vpred` are
    checkpoint names.

    `server` is its process where the tests have started it; `start` then starts another one like it,
    `start(auth="user:password")`.
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

    def img2img(
        self, prompt: str, images, checkpoint: str | None = None, **payload
    ) -> tuple[Generated, list[dict]]:
        """A picture from pictures and the UNet's calls for it."""
        return self._run(self.client.img2img, (prompt, images), checkpoint, payload)

    def _run(self, generate, args, checkpoint, payload):
        payload = {"width": self.side, "height": self.side, **payload}
        payload["override_settings"] = {
            "sd_model_checkpoint": checkpoint or self.sd15,
            **payload.get("override_settings", {}),
        }
        self.calls()
        made = generate(*args, **payload)
        self.events = self.client.get("/lcm-test-probe/events")
        return made, self.calls()

    def loaded(self) -> Client:
        """Its client, with the SD 1.5 checkpoint loaded: /lcm/v1/status and /lcm/v1/plan speak of the one
        that is.
        """
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

        Not `override_settings` of a request: those of a setting that is not in config.json yet are never
        restored.
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
        """The scripts and their arguments as the API describes them; skips the test where this WebUI fails at
        that.
        """
        try:
            return self.client.get("/sdapi/v1/script-info")
        except ApiError as error:
            # its model of an answer does not allow for its own drop-downs
            if error.status == 500 and self.name == "a1111-1.6":
                pytest.skip("A1111 1.6 cannot describe its scripts over the API, with or without extensions")
            raise

    def script(self, name: str, is_img2img: bool = False) -> dict:
        """A script and its arguments, told by the probe: {"args": [{"label", "value", "choices"}, ...]}."""
        scripts = self.client.get("/lcm-test-probe/scripts")
        return next(
            script for script in scripts if script["name"] == name and script["is_img2img"] == is_img2img
        )

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
        if self.name in ("a1111-1.6", "a1111-1.7", "a1111-1.8", "classic"):
            pytest.skip("this WebUI has no drop-down for the schedule")

    def needs_grid(self) -> None:
        """Skips the test where the WebUI's own LCM, and so each schedule with it, goes down to t = 0."""
        if self.name == "neo":
            pytest.skip("this WebUI's own LCM leaves the distillation grid")

    def needs_comments(self) -> None:
        """Skips the test where a "#" in a prompt is no comment: those came with A1111 1.8."""
        if self.name in ("a1111-1.6", "a1111-1.7"):
            pytest.skip("this WebUI has no comments in prompts")

    def needs_task_names(self) -> None:
        """Skips the test where a request cannot name its task (`force_task_id`): that came with A1111 1.8."""
        if self.name in ("a1111-1.6", "a1111-1.7"):
            pytest.skip("this WebUI's API gives its tasks no names")

    @property
    def reads_infotexts(self) -> bool:
        """Whether its API draws a picture from an infotext."""
        return self.name not in ("a1111-1.7", "a1111-1.6")

    def txt2img_of_infotext(self, infotext: str, **fields) -> dict:
        """The API's answer to a request with the field `infotext`, for WebUIs that have it."""
        # it answers 500 where it has to read the styles out of an infotext, with or without extensions
        if self.is_new_forge:
            fields["styles"] = []
        return self.client.post("/sdapi/v1/txt2img", {"infotext": infotext, **fields})

    @property
    def is_of_forge(self) -> bool:
        """Whether it is Forge or one of those that grew from it."""
        return self.name in ("forge", "reforge", "classic", "neo")

    @property
    def is_old_forge(self) -> bool:
        """Whether it is one of those that grew from Forge as it was before it was rewritten."""
        return self.name in ("reforge", "classic")

    @property
    def is_new_forge(self) -> bool:
        """Whether it is Forge as it was rewritten, with gradio 4, or Forge Neo."""
        return self.name in ("forge", "neo")

    @property
    def skips_first_guidance(self) -> bool:
        """Whether the WebUI's own samplers never guide their first step."""
        return self.name == "classic"

    @property
    def leaves_out_uncond(self) -> bool:
        """Whether this WebUI itself computes nothing of the negative prompt at CFG 1."""
        return self.is_of_forge

    @property
    def survives_early_stop(self) -> bool:
        """Whether a generation that is stopped before its first picture ends without an error."""
        return self.name != "a1111-1.6"

    def uncond_at_cfg_one(self, rows: int) -> int | None:
        """Of `rows` unconditional rows, how many it shows other extensions before the UNet at CFG 1; Forge
        shows them no tensor at all.
        """
        return None if self.is_new_forge else rows

    def shown_error(self, text: str) -> str:
        """What its page shows of an error with this text: the main thread of the old Forge prints the error
        and gives the page nothing, Neo's has a word of its own for want of memory.
        """
        if self.name == "neo" and text == "OutOfMemoryError":
            return "OOM"
        return "TypeError: 'NoneType' object is not iterable" if self.is_old_forge else text

    @property
    def hires(self) -> dict:
        """A request's fields for a hires pass in latent space to twice the size, at strength 0.5."""
        upscaler = "None" if self.name == "neo" else "Latent"  # it has none in latent space
        fields = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": upscaler, "denoising_strength": 0.5}
        # the API fails without it, with or without extensions
        return {**fields, "hr_additional_modules": ["Use same choices"]} if self.is_new_forge else fields

    @property
    def own_lcm_timesteps(self) -> list[int]:
        """What that sampler tells the UNet in 4 steps; A1111 rounds to the distillation grid, the others do
        not.
        """
        if self.name == "neo":
            return [999, 666, 333, 0]
        return [999, 672, 346, 19] if self.is_of_forge else [999, 679, 339, 19]


def connect(client: Client, name: str | None, side: int, **started) -> WebUI:
    """`name` is what the WebUI is, None to ask the probe in it; `started` are `server` and `start` where the
    tests have started it.
    """
    try:
        models = client.get("/sdapi/v1/sd-models")
        name = name or client.get("/lcm-test-probe/host")["name"]
    except ApiError as error:
        where = (
            f"{client.url} has no --api, or tests/live/probe is not in its extensions folder"
            if error.status == 404
            else client.url
        )
        raise InstallProblem(f"{where}: {error}") from None
    picked = pick_checkpoints((model["model_name"], Path(model["filename"])) for model in models)
    vpred = next((model["model_name"] for model in models if "vpred" in model["model_name"]), None)
    return WebUI(client, name, side, *picked.values(), vpred, **started)
