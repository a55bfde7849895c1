"""Samples by every recipe inside the host's modules and by the reference; prints how far they are apart as
JSON.

    python -m tests.workbench.recipes_in_the_host DATA_DIR

For each recipe, each number of steps of it and each of STRENGTHS (None: txt2img): the timesteps that the
model was told there and by the reference, and the greatest difference of the two last latents. Then the same
of the recipes for AnimateDiff with the linear betas that it gives the loaded model.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
import torch
from diffusers import LCMScheduler

from benchmarks.in_process import Workbench
from tests.unit.test_recipes import ANIMATED, BETAS, CASES, Network, reference_run, table_of

LATENT = (2, 4, 8, 8)
STRENGTHS = (None, 0.5)


class Noise:
    """`p.rng`: hands these out in order."""

    def __init__(self, noises):
        self.next = iter(noises).__next__


def main(data_dir: str) -> None:
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    bench = Workbench(Path(data_dir))
    figures = {"scaled_linear": figures_of(bench, CASES)}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(BETAS, "beta_schedule", "linear")
        monkeypatch.setattr(bench.model, "alphas_cumprod", LCMScheduler(**BETAS).alphas_cumprod)
        figures["linear"] = figures_of(bench, ANIMATED)
    print(json.dumps(figures))


@torch.no_grad()
def figures_of(bench, cases) -> list[dict]:
    return [
        {"method": method.name, "steps": steps, **compared(bench, method, steps, strength)}
        for method, steps in cases
        for strength in STRENGTHS
    ]


def compared(bench, method, steps: int, strength: float | None) -> dict:
    recipe = method.recipe
    generator = torch.Generator().manual_seed(3)
    latent, first, *noises = torch.randn(steps + 2, *LATENT, generator=generator)
    ours, theirs = Network(), Network()
    result = sample(bench.model, ours, method, steps, strength, latent, first, noises)
    if not ours.timesteps:
        return {
            "strength": strength,
            "told": [],
            "reference": [],
            "apart": (result - latent).abs().max().item(),
        }
    sigma = table_of(torch.float32)[ours.timesteps[0]]
    scale = (1 + sigma**2).sqrt()
    if strength is not None:  # `add_noise` of the references
        start = (latent + first * sigma) / scale
    else:  # noise * `init_noise_sigma`, as the variance-preserving sample that it is
        start = first * sigma / scale if recipe.sampler == "euler" else first
    with pytest.MonkeyPatch.context() as monkeypatch:
        expected = reference_run(
            recipe, steps, strength or 1.0, "epsilon", torch.float32, theirs, start, noises, monkeypatch
        )
    apart = (result - expected).abs().max().item()
    return {"strength": strength, "told": ours.timesteps, "reference": theirs.timesteps, "apart": apart}


def sample(model, network, method, steps: int, strength: float | None, latent, first, noises):
    """The last latent, as `processing` has it sampled: from `first` alone or, with a strength, from `latent`
    with that noise.
    """
    from lib_lcm.families import SD15
    from lib_lcm.options import LcmOptions
    from lib_lcm.plan.make import HostFacts, make_plan
    from lib_lcm.plan.request import PassRequest, Request
    from lib_lcm.webui import current
    from modules import processing, sd_samplers

    def unet(x, t, cond, *args, **kwargs):
        # at CFG 1 the conditional rows alone are computed, so one call is one step
        return network(x, t[0])

    picked = "auto" if method.is_of_checkpoint else method.name
    options = LcmOptions(True, steps=steps, lora="none", method=picked)
    asked = PassRequest(steps, 1.0 if strength is None else strength)
    host = HostFacts(SD15, None, is_full_lcm=method.is_of_checkpoint)
    plan = make_plan(options, Request(asked, method.recipe.cfg[2]), host)
    assert plan.problem is None and plan.method is method
    p = processing.StableDiffusionProcessingTxt2Img(sd_model=model, steps=steps, cfg_scale=1)
    p.fill_fields_from_opts()
    p.batch_size, p.prompts, p.negative_prompts = 2, ["a cat", "a red star"], ["", ""]
    p.denoising_strength = strength
    p.setup_conds()
    p.rng = Noise(noises)
    model.apply_model = unet
    current.begin(p, plan)
    try:
        sampler = sd_samplers.create_sampler(plan.sampler, model)
        conds = {"image_conditioning": torch.zeros(2, 5, 1, 1)}
        if strength is None:
            return sampler.sample(p, first, p.c, p.uc, **conds)
        return sampler.sample_img2img(p, latent, first, p.c, p.uc, **conds)
    finally:
        current.end(p)


if __name__ == "__main__":
    main(*sys.argv[1:])
