"""Whole pictures against the references: the same checkpoint, prompt and noise through diffusers'
LCMScheduler and TCDScheduler, without any WebUI.

The models have random weights, so every difference in timesteps, noise levels, scalings or start is seen.
"""

from __future__ import annotations

from functools import cache

import diffusers.schedulers.scheduling_lcm as scheduling_lcm
import diffusers.schedulers.scheduling_tcd as scheduling_tcd
import numpy as np
import pytest
import torch
from diffusers import LCMScheduler, TCDScheduler

from tests.prepared import Server
from tests.prompts import PROMPT
from workbench.small_models import build_model, load_checkpoint, save_checkpoint

SIDE = 64
SEED = 5
FAMILIES = {"epsilon": "sd15", "v_prediction": "sd15", "sdxl": "sdxl"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A folder with a random checkpoint of each name in FAMILIES."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, family in FAMILIES.items():
        model = build_model(family, seed=3)
        model.prediction_type = "v_prediction" if name == "v_prediction" else "epsilon"
        save_checkpoint(model, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module", params=["a1111-1.10", "a1111-1.6", "forge"])
def client(request, checkpoints, tmp_path_factory):
    arguments = [
        "--profile",
        request.param,
        "--data-dir",
        str(tmp_path_factory.mktemp("data")),
        "--ckpt-dir",
        str(checkpoints),
    ]
    with Server(arguments) as server:
        yield server.client


@pytest.fixture(scope="module")
def reference(checkpoints):
    """`reference(name, steps, gamma)`: the reference's picture, made once for all profiles."""
    with pytest.MonkeyPatch.context() as patch:

        @cache
        def made(name, steps, gamma=None):
            return reference_picture(checkpoints / f"{name}.safetensors", steps, patch, gamma)

        yield made


@torch.no_grad()
def reference_picture(path, steps: int, monkeypatch, gamma: float | None = None) -> np.ndarray:
    """[SIDE, SIDE, 3] in levels of 0 to 255, from the scheduler's own loop; noise as the WebUI draws it, from
    one generator.

    The scheduler is LCM's, or with a `gamma` TCD's.
    """
    model = load_checkpoint(path)
    generator = torch.Generator().manual_seed(SEED)
    for module in (scheduling_lcm, scheduling_tcd):
        monkeypatch.setattr(
            module, "randn_tensor", lambda shape, **kwargs: torch.randn(shape, generator=generator)
        )
    scheduler = (LCMScheduler if gamma is None else TCDScheduler)(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type=model.prediction_type
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    hidden, pooled = model.encode_texts(PROMPT)
    sample = torch.randn((1, 4, SIDE // 8, SIDE // 8), generator=generator)
    for timestep in scheduler.timesteps:
        output = model.unet(sample, timestep, hidden, added_cond_kwargs=model.added_conditions(pooled)).sample
        sample = scheduler.step(
            output, timestep, sample, return_dict=False, **({} if gamma is None else {"eta": gamma})
        )[0]
    picture = (model.decode_latents(sample)[0].permute(1, 2, 0) * 0.5 + 0.5).clamp(0, 1)
    return (picture * 255).numpy().astype(int)


@pytest.mark.parametrize(
    "steps,gamma", [(1, None), (2, None), (4, None), (8, None), (1, 0.3), (4, 0), (4, 0.3), (3, 1)]
)
@pytest.mark.parametrize("name", FAMILIES)
def test_pictures_equal_the_references(client, reference, name, steps, gamma):
    expected = reference(name, steps, gamma)
    sampler = {} if gamma is None else {"sampler": "tcd", "gamma": gamma}
    made = client.txt2img(
        PROMPT,
        lcm={"enabled": True, "steps": steps, "cfg": 1, "lora": "none", **sampler},
        seed=SEED,
        override_settings={"sd_model_checkpoint": name},
    )
    difference = np.abs(np.asarray(made.image.convert("RGB"), int) - expected)
    assert expected.std() > 5  # not one grey area, in which nothing could be seen
    assert difference.max() <= 1  # levels are cut off, not rounded: 1 apart is equal to within float32


def test_prediction_types_are_told_apart(reference):
    pictures = [reference(name, 4) for name in ("epsilon", "v_prediction")]
    assert np.abs(pictures[0] - pictures[1]).max() > 20
