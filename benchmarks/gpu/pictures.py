"""Section `pictures`: the small models of the workbench draw on the device what they draw on the CPU, by the
judge's verdicts.

Beside what the other sections need, transformers (the text encoder) and scipy (the judge).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

import torch

from benchmarks.gpu.checks import Checks, Job, Outcome
from benchmarks.gpu.device import NotHere
from benchmarks.statistics import paired_difference

PROMPTS = 256
SEED = 2718
"""Of prompts and noise that nothing was trained or tuned on."""
FAMILIES = ("sd15", "sdxl", "ssd1b")


def drawn(family: str, kind: str, prompts: int, half: torch.dtype | None) -> tuple[Any, list[bool]]:
    """Pictures, uint8 [N, 64, 64, 3], with the LCM-LoRA in 4 steps by the extension's own sampler, and which
    of them are as their prompts say. `half`: UNet and decoder in this precision, as a host has them.
    """
    try:
        from benchmarks import recipes
        from workbench.scenes.judge import agreement
        from workbench.small_models import CHECKPOINTS, LORAS
        from workbench.train.evaluate import load_with_loras
    except ImportError as error:
        raise NotHere(f"{error.name} is not installed") from error

    checkpoint = CHECKPOINTS / f"small-{family}.safetensors"
    model, loras = load_with_loras(checkpoint, kind, lcm=LORAS / f"lcm_lora_{family}.safetensors")
    loras.apply(lcm=1.0)
    wanted = recipes.prompts_of(prompts, SEED)
    precision: AbstractContextManager[Any] = torch.autocast(kind, half) if half else nullcontext()
    with precision:
        pictures = recipes.draw(model, "LCM", [scene.caption for scene in wanted], SEED)
    return pictures, [row["all"] for row in agreement(pictures, wanted)]


def check(family: str, kind: str, prompts: int, half: torch.dtype | None, on_cpu: Any) -> Outcome:
    """The device's pictures beside the CPU's, in float32."""
    expected, right_there = on_cpu()
    pictures, right_here = drawn(family, kind, prompts, half)
    mean, interval = paired_difference(right_here, right_there)
    figures = {
        "% right on the CPU": 100 * sum(right_there) / prompts,
        "% right here": 100 * sum(right_here) / prompts,
        "% equal verdicts": 100 * sum(map(bool.__eq__, right_here, right_there)) / prompts,
        "levels of 255 apart on average": float(abs(pictures.astype(float) - expected).mean()),
    }
    return Outcome(figures, abs(mean) <= interval, f"{100 * mean:+.1f} ± {100 * interval:.1f} points")


def checks(job: Job) -> Checks:
    """Each family in float32 and in the device's half precision."""
    prompts = 16 if job.small else PROMPTS
    for family in FAMILIES[:1] if job.small else FAMILIES:
        on_cpu = cache(partial(drawn, family, "cpu", prompts, None))
        for half in (None, job.device.half):
            precision = str(half or torch.float32).removeprefix("torch.")
            yield (
                f"small-{family}, {prompts} pictures, {precision}",
                partial(check, family, job.device.kind, prompts, half, on_cpu),
            )
