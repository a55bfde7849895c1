"""Samples on the simulated device and on the CPU, inside the host's modules; prints what it took as JSON.

    python -m tests.workbench.sampling_on_a_device DATA_DIR

For each case of CASES: copies from and to the device, numbers that were waited for, and whether the results
are equal.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from benchmarks.in_process import Workbench
from tests.simulated_device import SimulatedDevice

LATENT = (2, 4, 8, 8)
CASES = [(sampler, steps, cfg) for sampler in ("own", "lcm", "tcd") for steps in (2, 6) for cfg in (1, 1.5)]
"""Samplers are ours but "own", the host's own LCM."""


class Noise:
    """`p.rng` with the same noise on every device."""

    def __init__(self, device):
        self.device = device
        self.generator = torch.Generator().manual_seed(5)

    def next(self):
        return torch.randn(LATENT, generator=self.generator).to(self.device)


def moved(value, device):
    """A conditioning as the host builds it, with its tensors on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, (list, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        made = {key: moved(item, device) for key, item in items}
        return made if isinstance(value, dict) else list(made.values())
    if hasattr(value, "_fields"):  # a named tuple
        return type(value)(*(moved(item, device) for item in value))
    if hasattr(value, "__dict__"):
        copy = value.__class__.__new__(value.__class__)
        copy.__dict__.update({name: moved(item, device) for name, item in vars(value).items()})
        return copy
    return value


def network(x, t, cond, *args, **kwargs):
    """In place of the UNet: needs its inputs on one device."""
    return (
        torch.tanh(0.7 * x)
        + t.view(-1, 1, 1, 1) * 1e-4
        + cond["c_crossattn"][0].mean(dim=(1, 2)).view(-1, 1, 1, 1)
    )


def main(data_dir: str) -> None:
    bench = Workbench(Path(data_dir))
    bench.model.apply_model = network
    alphas_cumprod = bench.model.alphas_cumprod
    simulated = SimulatedDevice()
    figures = []
    with torch.no_grad():
        for case in CASES:
            bench.model.alphas_cumprod = alphas_cumprod
            expected = sample(bench.model, *case, "cpu", simulated)
            with simulated:
                bench.model.alphas_cumprod = alphas_cumprod.to(simulated.name)
                result = sample(bench.model, *case, simulated.name, simulated)
                taken = {
                    "copies": simulated.copies,
                    "reads": simulated.reads,
                    "equal": torch.equal(result.cpu(), expected),
                }
            figures.append({"sampler": case[0], "steps": case[1], "cfg": case[2], **taken})
    print(json.dumps(figures))


def sample(model, sampler_name: str, steps: int, cfg: float, device, simulated):
    """Two latents of the first pass of txt2img, as `processing` samples them."""
    from lib_lcm.families import SD15
    from lib_lcm.options import SAMPLER_LABELS, LcmOptions
    from lib_lcm.plan.make import HostFacts, make_plan
    from lib_lcm.plan.request import PassRequest, Request
    from lib_lcm.webui import current
    from modules import processing, sd_samplers

    p = processing.StableDiffusionProcessingTxt2Img(sd_model=model, steps=steps, cfg_scale=cfg)
    p.fill_fields_from_opts()
    p.batch_size, p.prompts, p.negative_prompts = 2, ["a cat", "a red star"], ["blue", "blue"]
    p.setup_conds()
    p.rng = Noise(device)
    if sampler_name != "own":
        options = LcmOptions(True, steps=steps, cfg=cfg, lora="none", sampler=sampler_name)
        plan = make_plan(options, Request(PassRequest(steps), cfg), HostFacts(SD15, None))
        current.begin(p, plan)
    try:
        sampler = sd_samplers.create_sampler(SAMPLER_LABELS.get(sampler_name, "LCM"), model)
        inputs = p.rng.next(), moved(p.c, device), moved(p.uc, device)
        image_conditioning = torch.zeros(2, 5, 1, 1).to(device)
        simulated.copies = simulated.reads = 0
        return sampler.sample(p, *inputs, image_conditioning=image_conditioning)
    finally:
        current.end(p)


if __name__ == "__main__":
    main(*sys.argv[1:])
