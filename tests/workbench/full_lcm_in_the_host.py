"""Converted full LCMs of each layout inside the host's modules and in diffusers; prints how far they are
apart as JSON.

    python -m tests.workbench.full_lcm_in_the_host DATA_DIR

For each family: the greatest difference of the UNet's answers at each of CFGS ("unet"), how far the guidance
scale moves them ("moved"), and the greatest difference of the last latents of 4 steps at CFG, from noise and
from a latent at half strength, with the timesteps and rows of the UNet's calls.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from safetensors.torch import save_file

from benchmarks.in_process import Workbench
from lib_lcm.checkpoints.convert import convert
from tests.full_lcm import build_full_lcm
from tests.unit.test_recipes import reference_run, table_of
from workbench.small_models import build_model, save_checkpoint

FAMILIES = ("sd15", "sdxl", "ssd1b")
CFGS = (1.0, 4.5, 8.0, 14.7)
CFG = 7.3
STEPS = 4
LATENT = (2, 4, 8, 8)


class Noise:
    """`p.rng`: hands these out in order."""

    def __init__(self, noises):
        self.next = iter(noises).__next__


class Reference:
    """diffusers' UNet with `timestep_cond`, as its LatentConsistencyModelPipeline gives it; its text is what
    the host has made of the prompt.
    """

    def __init__(self, unet, cfg: float, cond):
        w = torch.tensor(cfg - 1).repeat(LATENT[0])
        self.embedding = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, w, 256)
        self.unet, self.text, self.added = unet, cond, None
        if isinstance(cond, dict):
            self.text, vector = cond["crossattn"], cond["vector"]
            self.added = {"text_embeds": vector[:, :-6], "time_ids": vector[:, -6:]}

    def __call__(self, sample, timestep):
        return self.unet(
            sample, timestep, self.text, timestep_cond=self.embedding, added_cond_kwargs=self.added
        ).sample


def main(data_dir: str) -> None:
    folder = Path(data_dir)
    Workbench(folder)
    figures = {}
    with torch.no_grad():
        for family in FAMILIES:
            unet = build_full_lcm(family)
            model = loaded(family, unet, folder)
            figures[family] = compared(model, unet)
            expected = unet.state_dict()
            figures[family]["changed"] = [
                key
                for key, tensor in model.model.diffusion_model.state_dict().items()
                if not torch.equal(tensor, expected[key])
            ]
    print(json.dumps(figures))


def loaded(family: str, unet, folder: Path):
    """The host's model of the checkpoint that is converted from `unet`."""
    from modules import sd_models

    base, source, new = (folder / f"{family}-{name}.safetensors" for name in ("base", "lcm", "full"))
    save_checkpoint(build_model(family, seed=1), base, dtype=torch.float32)
    save_file(unet.state_dict(), source)
    convert(source, base, new)
    return sd_models.reload_model_weights(info=sd_models.CheckpointInfo(new))


def compared(model, unet) -> dict:
    from lib_lcm.checkpoints.guidance_input import guidance_offset
    from lib_lcm.webui.host import models

    generator = torch.Generator().manual_seed(3)
    latent, first, *noises = torch.randn(STEPS + 2, *LATENT, generator=generator)
    cond = model.get_learned_conditioning(["a cat", "a red star"])
    texts = (cond["crossattn"], cond["vector"]) if isinstance(cond, dict) else (cond,)
    told = torch.tensor([999, 259])
    figures: dict = {"unet": [], "moved": []}
    without = model.run_unet(latent, told, *texts)
    for cfg in CFGS:
        with models.adding_to_timestep(model, guidance_offset(models.guidance_projection(model), cfg)):
            answer = model.run_unet(latent, told, *texts)
        figures["unet"].append(apart(answer, Reference(unet, cfg, cond)(latent, told)))
        figures["moved"].append(apart(answer, without))
    sigma = table_of(torch.float32)[499]
    halfway = (latent + first * sigma) / (1 + sigma**2).sqrt()
    for name, strength, start in (("from noise", None, first), ("at half strength", 0.5, halfway)):
        result, plan, calls = sample(model, CFG, strength, latent, first, noises)
        with pytest.MonkeyPatch.context() as monkeypatch:
            expected = reference_run(
                plan.method.recipe, STEPS, strength or 1.0, "epsilon", torch.float32,
                Reference(unet, CFG, cond), start, noises, monkeypatch,
            )  # fmt: skip
        figures[name] = {"apart": apart(result, expected), "calls": calls}
    return figures


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one - other).abs().max().item()


def sample(model, cfg: float, strength: float | None, latent, first, noises):
    """The last latent, as `processing` has it sampled, the plan, and (timestep, rows) of the UNet's calls."""
    from lib_lcm.options import LcmOptions
    from lib_lcm.plan.make import make_plan
    from lib_lcm.plan.request import PassRequest, Request
    from lib_lcm.webui import current, facts
    from modules import processing, sd_samplers

    options = LcmOptions(True, steps=STEPS, cfg=cfg)
    asked = PassRequest(STEPS, 1.0 if strength is None else strength)
    plan = make_plan(options, Request(asked, 7.0), facts.host_facts(model))
    assert plan.problem is None
    calls = []

    def apply_model(x, t, cond, *args, **kwargs):
        calls.append([int(t[0]), len(x)])
        return type(model).apply_model(model, x, t, cond)

    p = processing.StableDiffusionProcessingTxt2Img(sd_model=model, steps=STEPS, cfg_scale=cfg)
    p.fill_fields_from_opts()
    p.batch_size, p.prompts, p.negative_prompts = 2, ["a cat", "a red star"], ["a dog", ""]
    p.denoising_strength = strength
    p.setup_conds()
    p.rng = Noise(noises)
    model.apply_model = apply_model
    current.begin(p, plan)
    try:
        sampler = sd_samplers.create_sampler(plan.sampler, model)
        conds = {"image_conditioning": torch.zeros(2, 5, 1, 1)}
        if strength is None:
            result = sampler.sample(p, first, p.c, p.uc, **conds)
        else:
            result = sampler.sample_img2img(p, latent, first, p.c, p.uc, **conds)
    finally:
        current.end(p)
        del model.apply_model
    return result, plan, calls


if __name__ == "__main__":
    main(*sys.argv[1:])
