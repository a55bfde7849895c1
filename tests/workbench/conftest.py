"""Workbenches to test against: started when a test first wants one, each in its own folder, stopped at the
end.

`start_host(profile, ...)` gives the same one to every test that asks for the same arguments; `host` is the
usual one. Their models have random weights: what the host does is tested here, not how its pictures look.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.prepared import Server
from tests.prompts import PROMPT
from workbench.client import Client, Generated
from workbench.small_models import build_model, save_checkpoint

RECORDER = Path(__file__).parent / "recorder"
LORA_LAYERS = (
    "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
    "mid_block_resnets_0_conv1",
    "up_blocks_1_attentions_0_transformer_blocks_0_ff_net_2",
)


class Host:
    """A running workbench. `url` is its address, `client` its API."""

    def __init__(self, server: Server):
        self.server = server
        self.url = server.url
        self.client: Client = server.client

    @property
    def log(self) -> str:
        return "".join(self.server.log)

    def get(self, path: str):
        return self.client.get(path)

    def post(self, path: str, payload=None):
        return self.client.post(path, payload)

    def unet_calls(self) -> list[dict]:
        """The UNet's forwards since this was last asked: `{"timesteps": [one per row], "rows": n}` each."""
        return self.client.unet_calls()

    def steps(self) -> list[tuple[float, int]]:
        """The same as (timestep, rows)."""
        return [(call["timesteps"][0], call["rows"]) for call in self.unet_calls()]

    def events(self) -> list[str]:
        """What the recorder extension has noted since this was last asked."""
        events = self.get("/recorder/v1/events")
        self.client.request("DELETE", "/recorder/v1/events")
        return events

    def txt2img(self, prompt: str = PROMPT, *, recorder: list | None = None, **payload) -> Generated:
        """A picture in 4 steps; `recorder` are arguments of the recorder extension."""
        return self.client.txt2img(prompt, **_with_recorder({"steps": 4, **payload}, recorder))

    def img2img(self, images, prompt: str = PROMPT, *, recorder: list | None = None, **payload) -> Generated:
        """A picture from pictures; see txt2img."""
        return self.client.img2img(prompt, images, **_with_recorder({"steps": 4, **payload}, recorder))


def _with_recorder(payload: dict, args: list | None) -> dict:
    return payload if args is None else {**payload, "alwayson_scripts": {"Recorder": {"args": args}}}


def random_lora(family: str, seed: int) -> dict[str, torch.Tensor]:
    """A LoRA of rank 2 in kohya's format on three layers of the UNet, strong enough to be seen."""
    unet = build_model(family).unet
    layers = {name.replace(".", "_"): module for name, module in unet.named_modules()}
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in LORA_LAYERS:
        out_size, in_size, *kernel = layers[layer].weight.shape
        name = f"lora_unet_{layer}"
        tensors[f"{name}.lora_down.weight"] = torch.randn(2, in_size, *kernel, generator=generator)
        tensors[f"{name}.lora_up.weight"] = torch.randn(
            out_size, 2, *[1 for _ in kernel], generator=generator
        )
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    return tensors


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory) -> list[str]:
    """Arguments for a workbench: folders with a checkpoint of each family and two LoRAs, all random."""
    checkpoints, loras = tmp_path_factory.mktemp("checkpoints"), tmp_path_factory.mktemp("loras")
    for seed, family in enumerate(("sd15", "sdxl")):
        save_checkpoint(build_model(family, seed), checkpoints / f"random-{family}.safetensors")
    for seed, name in enumerate(("style", "other")):
        save_file(
            random_lora("sd15", seed),
            loras / f"{name}.safetensors",
            metadata={"ss_output_name": f"{name} alias"},
        )
    return ["--ckpt-dir", str(checkpoints), "--lora-dir", str(loras)]


@pytest.fixture(scope="session")
def start_host(model_folders, tmp_path_factory):
    """`start_host(profile, *, extensions=(recorder,), lcm=False, auth=None, more=()) -> Host`; `more` are
    other arguments of the command line.
    """
    running: dict[tuple, Host] = {}

    def start(
        profile: str = "a1111-1.10",
        *,
        extensions=(RECORDER,),
        lcm: bool = False,
        auth: str | None = None,
        more=(),
    ) -> Host:
        key = (profile, tuple(extensions), lcm, auth, tuple(more))
        if key not in running:
            arguments = [
                "--profile",
                profile,
                "--data-dir",
                str(tmp_path_factory.mktemp("data")),
                *model_folders,
                *more,
            ]
            arguments += [] if lcm else ["--no-lcm"]
            for extension in extensions:
                arguments += ["--extension", str(extension)]
            running[key] = Host(Server(arguments, auth=auth))
        host = running[key]
        host.unet_calls()
        if RECORDER in extensions:
            host.events()
        return host

    yield start
    for host in running.values():
        host.server.stop()


@pytest.fixture
def host(start_host) -> Host:
    """The workbench as A1111 1.10, with the recorder extension and without LCM."""
    return start_host()
