"""Section `speed`: UNet calls, whole pictures, what guidance costs and the samplers' own work, with networks
of real size and random weights.

A picture is made from noise to decoded pixels on the device; the text encoder, a few ms a prompt, is left
out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch

from benchmarks.gpu.checks import Checks, Job, Outcome
from benchmarks.gpu.models import REAL, SMALL, Painter, decoder_of
from benchmarks.gpu.samplers import prepared, ways
from lib_lcm.sampling.guidance import middle_steps

PICTURES = (1, 4)
STEPS = (1, 2, 4, 8)
GUIDED_STEPS = (4, 8)
DECODERS = {"full VAE": False, "decoder of TAESD's size": True}


def calls(job: Job, painter: Painter, pictures: int) -> Outcome:
    """A UNet call of so many rows and of twice as many, as CFG wants them."""
    rows = (pictures, 2 * pictures)
    taken = job.device.medians({str(count): partial(painter.call, count) for count in rows}, job.seconds)
    one, two = taken.values()
    figures: dict[str, float | None] = {
        f"ms at {_rows(rows[0])}": 1000 * one,
        f"ms at {_rows(rows[1])}": 1000 * two,
        "times as long": two / one,
    }
    for count in rows:
        figures[f"GiB at {_rows(count)}"] = job.device.peak(partial(painter.call, count))
    return Outcome(figures)


def _rows(count: int) -> str:
    return f"{count} row{'s' if count > 1 else ''}"


def pictures(job: Job, painter: Painter, decode: Callable[..., Any]) -> Outcome:
    """A whole picture at CFG 1 in each number of steps."""

    def picture(steps: int) -> None:
        decode(painter.paint(steps))

    taken = job.device.medians({str(steps): partial(picture, steps) for steps in STEPS}, job.seconds)
    latent = painter.paint(1)
    figures: dict[str, float | None] = {
        f"ms in {steps} step{'s' if steps > 1 else ''}": 1000 * taken[str(steps)] for steps in STEPS
    }
    decoding = job.device.medians({"decode": lambda: decode(latent)}, job.seconds / 4)["decode"]
    figures["ms of it to decode"] = 1000 * decoding
    figures["GiB"] = job.device.peak(partial(picture, 4))
    return Outcome(figures)


def guidance(job: Job, painter: Painter, steps: int) -> Outcome:
    """A latent at CFG 1, with some steps guided, and with all."""
    some = middle_steps(steps)
    ways = {"CFG 1": (), "some": some, "full": range(steps)}
    taken = job.device.medians(
        {name: partial(painter.paint, steps, guided) for name, guided in ways.items()}, job.seconds
    )
    return Outcome(
        {
            "ms at CFG 1": 1000 * taken["CFG 1"],
            f"ms with {len(some)} steps guided": 1000 * taken["some"],
            "ms with all guided": 1000 * taken["full"],
            "times as long with some": taken["some"] / taken["CFG 1"],
            "times as long with all": taken["full"] / taken["CFG 1"],
        }
    )


def overhead(job: Job, painter: Painter) -> Outcome:
    """A step of LCM and of TCD around a model that answers at once, noise included, against a UNet call."""
    steps, device = 8, job.device
    names = {way[0]: way for way in ways() if way[1] == "grid"}  # of TCD's, one stands for both
    runs: dict[str, Callable[[], object]] = {"unet": painter.call}
    for name, way in names.items():
        noises = [torch.randn(1, *painter.size.latent) for _ in range(steps + 1)]
        answer = noises[0].to(device.kind, device.half)
        run = prepared(way, steps, noises, device.half, device.kind)
        runs[name] = partial(run, lambda *_, answer=answer: answer)
    taken = device.medians(runs, job.seconds)
    figures: dict[str, float | None] = {}
    for name in names:
        figures[f"us a step of {name.upper()}"] = 1e6 * taken[name] / steps
        figures[f"% of a UNet call, {name.upper()}"] = 100 * taken[name] / steps / taken["unet"]
    return Outcome(figures)


def checks(job: Job) -> Checks:
    """Everything for SD 1.5, then for SDXL."""
    for size in SMALL if job.small else REAL:
        painter = cache(partial(Painter, size, job.device, 2 * max(PICTURES)))

        def on(measure: Callable[..., Outcome], *args: Any, painter: Any = painter) -> Callable[[], Outcome]:
            return lambda: measure(job, painter(), *args)

        for count in PICTURES:
            yield f"{size.label}, UNet, {count} and {_rows(2 * count)}", on(calls, count)
        yield f"{size.label}, the samplers' own work", on(overhead)
        for steps in GUIDED_STEPS[:1] if job.small else GUIDED_STEPS:
            yield f"{size.label}, guidance in {steps} steps", on(guidance, steps)
        for name, is_tiny in DECODERS.items():
            yield (
                f"{size.label}, picture, {name}",
                lambda size=size, is_tiny=is_tiny, on=on: on(
                    pictures, decoder_of(size, job.device, is_tiny)
                )(),
            )
        painter.cache_clear()
