"""What a picture costs: `python -m benchmarks.sampler_cost [--quick]`.

Seconds per picture of (a) this extension at CFG 1, (b) the host's own LCM sampler at CFG 1 with the same
LoRA, and (c) the floor: steps x one UNet call + one decode. All of them in one process, by turns; medians.
Further: the sampler's own arithmetic against one UNet call of SD 1.5's size, what the extension costs a
generation with LCM off, and its import beyond torch, gradio and the host.

Against the host's own sampler there are two limits. (n u + d) / (2 n u + d) takes the host's calls of two
rows for twice as dear as ours of one. A UNet as small as the workbench's spends a quarter of a call on what
does not depend on rows (its 709 modules, in Python), so a call of two rows costs less than that, and (n u +
d) / (n u2 + d) is what can be reached. The larger the pictures, the closer the two.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import clock
from benchmarks.clock import CPU, WALL
from benchmarks.in_process import ROOT, Workbench

PROMPT = "a big red cross on a blue mosaic"
LCM_LORA = "<lora:lcm_lora_sd15:1>"
STEPS = 4
SIDE = 256
LATENT = (1, 4, SIDE // 8, SIDE // 8)
SD15_LATENT = (1, 4, 64, 64)
# what differs from diffusers' defaults
SD15_UNET = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}
HOOKS = ("process", "before_process_batch", "process_batch", "postprocess")


@torch.no_grad()
def picture_cost(bench: Workbench, rounds: int) -> dict:
    """(a), (b), (c) and the limit that (a)/(b) can reach, in wall-clock and processor time."""
    model = bench.model
    fields = {"steps": STEPS, "cfg_scale": 1, "width": SIDE, "height": SIDE, "sampler_name": "LCM"}
    x, text = torch.randn(LATENT), model.get_learned_conditioning([PROMPT])

    def unet(rows: int):
        cond = {"c_crossattn": [text.repeat(rows, 1, 1)]}
        latent, timestep = x.repeat(rows, 1, 1, 1), torch.full((rows,), 499)
        return lambda: model.apply_model(latent, timestep, cond)

    measured = clock.alternate(
        {
            "ours": lambda: bench.txt2img(PROMPT, lcm={"enabled": True, "steps": STEPS, "cfg": 1}, **fields),
            "own": lambda: bench.txt2img(f"{PROMPT} {LCM_LORA}", **fields),
            "unet": unet(1),
            "unet_of_two_rows": unet(2),
            "decode": lambda: model.decode_first_stage(x),
        },
        rounds,
    )
    figures = {}
    for kind in (WALL, CPU):
        ours, own, u, u2, d = (
            measured[name][kind] for name in ("ours", "own", "unet", "unet_of_two_rows", "decode")
        )
        floor = STEPS * u + d
        figures[kind] = {
            "ours": ours,
            "own": own,
            "floor": floor,
            "unet": u,
            "unet_of_two_rows": u2,
            "decode": d,
            "ours_over_floor": ours / floor,
            "own_over_its_floor": own / (STEPS * u2 + d),
            "ours_over_own": ours / own,
            "limit": floor / (2 * STEPS * u + d),
            "limit_of_measured_calls": floor / (STEPS * u2 + d),
        }
    return figures


def arithmetic_cost(rounds: int) -> float:
    """Processor seconds of one step of `sample_lcm` on SD 1.5's latents, beside the model's and the
    noise's.
    """
    from lib_lcm.sampling.samplers import sample_lcm
    from lib_lcm.sampling.schedules import lcm_timesteps

    steps = 8
    x, denoised, noise = (torch.randn(SD15_LATENT) for _ in range(3))
    sigmas, timesteps = torch.linspace(14.6, 0.0, steps + 1), lcm_timesteps(steps)

    def run():
        sample_lcm(
            lambda x, sigma: denoised,
            x,
            sigmas,
            disable=True,
            noise_sampler=lambda *_: noise,
            timesteps=timesteps,
        )

    return clock.alternate({"run": run}, 20 * rounds)["run"][CPU] / steps


@torch.no_grad()
def sd15_unet_calls() -> dict[str, float]:
    """Processor seconds of a UNet call of SD 1.5's size at 512x512 with one row and with two, the better of
    two. Needs 5 GB of memory.
    """
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(**SD15_UNET).eval()
    x, text = torch.randn(SD15_LATENT), torch.randn(1, 77, 768)
    taken: dict[str, list[float]] = {"one_row": [], "two_rows": []}
    for _ in range(2):
        for rows, seconds in enumerate(taken.values(), start=1):
            start = time.process_time()
            unet(x.repeat(rows, 1, 1, 1), 499, text.repeat(rows, 1, 1))
            seconds.append(time.process_time() - start)
    return {name: min(seconds) for name, seconds in taken.items()}


def cost_when_off(bench: Workbench, rounds: int) -> dict:
    """Seconds that the extension's callbacks take in one generation with LCM off: median, for a plain prompt
    and one with a LoRA.
    """
    taken: list[dict[str, float]] = []

    def timed(call):
        def measure(*args, **kwargs):
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                taken[-1][WALL] += time.perf_counter() - wall
                taken[-1][CPU] += time.thread_time() - cpu

        return measure

    for hook in HOOKS:
        setattr(bench.script, hook, timed(getattr(bench.script, hook)))
    try:
        figures = {}
        for name, prompt in (("plain_prompt", PROMPT), ("prompt_with_a_lora", f"{PROMPT} {LCM_LORA}")):
            taken.clear()
            for _ in range(rounds + 2):
                taken.append({WALL: 0.0, CPU: 0.0})
                # no warning to print
                bench.txt2img(prompt, steps=1, cfg_scale=1, width=64, height=64, sampler_name="LCM")
            figures[name] = {kind: statistics.median(one[kind] for one in taken[2:]) for kind in (WALL, CPU)}
        return figures
    finally:
        for hook in HOOKS:
            delattr(bench.script, hook)


IMPORT = """
import gc, json, sys, tempfile, time
from pathlib import Path
from benchmarks.in_process import import_host
with tempfile.TemporaryDirectory() as folder:
    import_host(Path(folder))
    sys.path.insert(0, {root!r})
    # of torch's and gradio's many objects, which takes 0.2 s and would fall into any line after them
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    import lib_lcm.webui.script
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""


def import_cost(rounds: int) -> dict:
    """Seconds to import the whole extension in a fresh process that has imported the host, torch and gradio;
    medians.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken = []
    for _ in range(rounds + 1):  # the first one compiles
        command = [sys.executable, "-W", "ignore", "-c", IMPORT.format(root=str(ROOT))]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        taken.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        WALL: statistics.median(wall for wall, _ in taken[1:]),
        CPU: statistics.median(cpu for _, cpu in taken[1:]),
    }


def table(figures: dict) -> str:
    """The figures as text."""
    lines = [
        f"{STEPS} steps, {SIDE}x{SIDE}, CFG 1, medians of {figures['rounds']}",
        f"{'':34}{'wall':>10}{'CPU':>10}",
    ]
    picture = figures["picture"]
    for name, label in (
        ("ours", "ours, ms"), ("own", "the host's own LCM, ms"), ("floor", "floor, ms"),
        ("unet", "one UNet call, ms"), ("unet_of_two_rows", "one UNet call of two rows, ms"),
        ("decode", "decode, ms"),
    ):  # fmt: skip
        lines.append(f"{label:34}" + "".join(f"{1000 * picture[kind][name]:10.1f}" for kind in (WALL, CPU)))
    for name, label in (
        ("ours_over_floor", "ours / floor"), ("own_over_its_floor", "own / its floor (two rows)"),
        ("ours_over_own", "ours / own"), ("limit", "limit (n u + d) / (2 n u + d)"),
        ("limit_of_measured_calls", "limit (n u + d) / (n u2 + d)"),
    ):  # fmt: skip
        lines.append(f"{label:34}" + "".join(f"{picture[kind][name]:10.3f}" for kind in (WALL, CPU)))
    lines.append(
        f"sampler's arithmetic: {1e6 * figures['arithmetic_per_step']:.0f} us of CPU per step at 64x64"
        " latents"
    )
    if "sd15_unet_call" in figures:
        one, two = figures["sd15_unet_call"]["one_row"], figures["sd15_unet_call"]["two_rows"]
        lines.append(
            f"  against one SD 1.5 UNet call: {one:.2f} s of CPU,"
            f" {100 * figures['arithmetic_per_step'] / one:.4f} %"
        )
        lines.append(f"SD 1.5's size: a call of two rows costs {two / one:.3f} of one row's")
    off = figures["callbacks_with_lcm_off"]
    for name, label in (("plain_prompt", "LCM off"), ("prompt_with_a_lora", "LCM off, a LoRA in the prompt")):
        lines.append(
            f"{label + ', ms per generation':34}"
            + "".join(f"{1000 * off[name][kind]:10.3f}" for kind in (WALL, CPU))
        )
    lines.append(
        f"{'import, ms':34}" + "".join(f"{1000 * figures['import'][kind]:10.1f}" for kind in (WALL, CPU))
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sampler_cost", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="a look: fewer rounds, no UNet of SD 1.5's size")
    parser.add_argument("--rounds", type=int, help="how often each thing is measured (15, or 3 with --quick)")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of torch (1: comparable and least disturbed)"
    )
    args = parser.parse_args(arguments)
    rounds = args.rounds or (3 if args.quick else 15)
    torch.set_num_threads(args.threads)
    figures: dict = {"rounds": rounds, "steps": STEPS, "side": SIDE}
    figures["import"] = import_cost(rounds)
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(Path(folder))
        figures["picture"] = picture_cost(bench, rounds)
        figures["callbacks_with_lcm_off"] = cost_when_off(bench, rounds)
    figures["arithmetic_per_step"] = arithmetic_cost(rounds)
    if not args.quick:
        figures["sd15_unet_call"] = sd15_unet_calls()
    print(table(figures))
    print(f"Written to {clock.save('sampler_cost', figures).relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
