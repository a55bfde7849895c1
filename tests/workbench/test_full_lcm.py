"""Full latent consistency models: converted, and drawn with in a WebUI."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from lib_lcm.checkpoints.convert import convert
from tests import prepared
from tests.full_lcm import build_full_lcm
from tests.prepared import Server
from workbench.client import ApiError
from workbench.server import ROOT
from workbench.small_models import build_model, save_checkpoint

FAMILIES = ("sd15", "sdxl", "ssd1b")


# --- against diffusers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    status, printed = prepared.run(
        "-m", "tests.workbench.full_lcm_in_the_host", str(tmp_path_factory.mktemp("data")), cwd=ROOT
    )
    assert status == 0, printed
    return json.loads(printed.splitlines()[-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_unet_answers_as_that_of_diffusers_with_the_guidance_scale(figures, family):
    assert max(figures[family]["unet"]) < 1e-5
    assert min(figures[family]["moved"]) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "start,timesteps", [("from noise", [999, 759, 499, 259]), ("at half strength", [499, 379, 259, 139])]
)
def test_pictures_are_sampled_as_by_the_scheduler_of_diffusers(figures, family, start, timesteps):
    # two prompts, one row each: nothing is computed of the negative prompt
    assert figures[family][start]["calls"] == [[timestep, 2] for timestep in timesteps]
    assert figures[family][start]["apart"] < 5e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_of_the_unet_is_changed_afterwards(figures, family):
    assert figures[family]["changed"] == []


# --- in a WebUI ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["a1111-1.6", "a1111-1.10", "forge"])
def client(request, tmp_path_factory):
    """A workbench with a full LCM of SD 1.5 and the checkpoint that it was made from, and no LoRA."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "Lora").mkdir()
    checkpoints = folder / "Stable-diffusion"
    save_checkpoint(build_model("sd15", seed=1), checkpoints / "base.safetensors", dtype=torch.float32)
    save_file(build_full_lcm("sd15").state_dict(), folder / "lcm.safetensors")
    convert(folder / "lcm.safetensors", checkpoints / "base.safetensors", checkpoints / "full.safetensors")
    arguments = [
        "--profile",
        request.param,
        "--ckpt-dir",
        str(checkpoints),
        "--lora-dir",
        str(folder / "Lora"),
    ]
    with Server([*arguments, "--data-dir", str(tmp_path_factory.mktemp("data"))]) as server:
        server.client.post("/sdapi/v1/options", {"sd_model_checkpoint": "full"})
        yield server.client


def draw(client, cfg=8, *, lcm=True, **payload):
    """A picture, and (timestep, rows) of the UNet's calls."""
    client.unet_calls()
    options = {"enabled": True, "steps": 4, "cfg": cfg} if lcm else None
    made = client.txt2img("a star", steps=4, cfg_scale=cfg, lcm=options, **payload)
    return made, [(call["timesteps"][0], call["rows"]) for call in client.unet_calls()]


def test_cfg_is_an_input_of_the_unet_and_no_lora_is_needed(client):
    (eight, calls), (four, _) = draw(client, 8), draw(client, 4)
    assert calls == [(999, 1), (759, 1), (499, 1), (259, 1)]
    assert eight.image.tobytes() != four.image.tobytes()
    for part in ("CFG scale: 8", "LCM LoRA: None", "LCM method: full-lcm", "Sampler: LCM"):
        assert part in eight.infotext


def test_a_negative_prompt_does_nothing(client):
    (without, _), (with_it, calls) = draw(client), draw(client, negative_prompt="blurry")
    assert without.image.tobytes() == with_it.image.tobytes() and {rows for _, rows in calls} == {1}


def test_with_lcm_off_the_checkpoint_draws_as_before(client):
    before, _ = draw(client, lcm=False)
    draw(client)
    after, calls = draw(client, lcm=False)
    assert before.image.tobytes() == after.image.tobytes() and {rows for _, rows in calls} == {2}


def test_the_hires_pass_has_the_guidance_too(client):
    hires = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5, "hr_upscaler": "Latent"}
    (eight, calls), (four, _) = draw(client, 8, **hires), draw(client, 4, **hires)
    assert calls[4:] == [(499, 1), (379, 1), (259, 1), (139, 1)]
    assert eight.image.tobytes() != four.image.tobytes()


def test_a_cfg_scale_that_it_was_not_made_for_is_refused(client):
    before, _ = draw(client)
    with pytest.raises(ApiError, match="'cfg' is 16; it must be a number from 1 to 15"):
        draw(client, 16)
    after, _ = draw(client)  # as if nothing had been asked
    assert before.image.tobytes() == after.image.tobytes()


def test_the_dry_run_says_what_cfg_does(client):
    question = {"prompt": "a star", "negative_prompt": "blurry", "cfg_scale": 8, "args": [{"enabled": True}]}
    draw(client)
    plan = client.post("/lcm/v1/plan", {**question, "steps": 4})
    assert (plan["method"], plan["lora"], plan["cfg"], plan["unet_rows"]) == ("full-lcm", None, 8, 4)
    assert any(message.startswith("The negative prompt does nothing") for message in plan["messages"])
    assert plan["status"] == (
        "SD 1.5 · no LoRA (Full LCM) · 4 steps: 999 759 499 259 · CFG 8: negative prompt ignored"
        " · 4 UNet rows"
    )
