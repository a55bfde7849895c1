"""What a distillation takes: memory, disk and time, told before it starts, and how it is fitted in."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch

from lib_lcm.distill.algorithm import distillation_loss
from lib_lcm.distill.checkpointing import checkpoint_blocks
from lib_lcm.distill.latents import TEACHER_STEPS
from lib_lcm.distill.memory import autocast, estimate_memory
from lib_lcm.distill.model import CannotDistill
from lib_lcm.distill.run import Run
from lib_lcm.lora.file import shown_name

GIB = 2**30
ECONOMIES = ((1, False), (1, True), (3, True), (12, True))
"""From the fastest to the one that needs least memory: into how many parts a step's batch is divided, and
whether the UNet's blocks are computed again in the backward pass.
"""
SPARE_DISK = 2**28
LONG_CALL = 20.0
"""Seconds beyond which what a first call sets up does not matter."""

Say = Callable[[str], None]


def settle(run: Run, say: Say) -> None:
    """Decides how the run fits into memory, or goes on as an unfinished one was begun, and says what it
    takes. Raises CannotDistill for what cannot work.
    """
    folder = run.job.folder
    settings = folder / "settings.json"
    asked = _asked(run)
    begun = json.loads(settings.read_text(encoding="utf-8")) if settings.exists() else None
    if begun is not None and begun["asked"] != asked:
        changed = sorted(key for key in asked if begun["asked"].get(key) != asked[key])
        raise CannotDistill(
            f"{folder} is of an unfinished run with another {', '.join(changed)}: repeat that command, remove"
            " the folder, or choose another name with --output."
        )
    fitting = _fitting(run, say) if begun is None else begun["fitting"]
    run.config = replace(run.config, **fitting)
    needed, place = _disk(run), next(one for one in folder.absolute().parents if one.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise CannotDistill(
            f"{place} has {free / 1e9:.1f} GB left, and {needed / 1e9:.1f} GB are needed: make room, or"
            " choose another place with --output."
        )
    say(f"Disk: {needed / 1e9:.1f} GB needed until it is finished, {free / 1e9:.1f} GB free.")
    if begun is not None:
        say(f"Going on with the unfinished run in {folder}.")
        return
    say(f"Time: about {_rounded(_seconds(run))}, by one step of each kind made just now.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps({"asked": asked, "fitting": fitting}), encoding="utf-8")
    except OSError as error:
        raise CannotDistill(
            f"{folder} could not be written ({error.strerror or error}): choose another place with --output."
        ) from None


def _asked(run: Run) -> dict[str, Any]:
    """What decides the result, as JSON has it."""
    paths = run.prompts.pictures
    asked = {
        "checkpoint": run.sha256,
        "prompts": run.prompts.texts,
        "pictures": run.job.pictures if paths is None else [str(path) for path in paths],
        **asdict(run.config),
    }
    return json.loads(json.dumps(asked))  # type: ignore[no-any-return]


def _fitting(run: Run, say: Say) -> dict[str, Any]:
    """The fastest way of training that fits into the memory there is. Raises CannotDistill."""
    present, config = memory_present(run.job.device), run.config
    for parts, checkpointing in ECONOMIES:
        if parts > run.config.batch:
            break
        fitting: dict[str, Any] = {
            "batch": -(-run.config.batch // parts),
            "accumulation": parts,
            "gradient_checkpointing": checkpointing,
        }
        config = replace(run.config, **fitting)
        latents = torch.zeros(config.batch, *run.model.latent_shape, device=run.job.device)
        cond, _ = run.conds(torch.zeros(config.batch, dtype=torch.long))
        estimate = estimate_memory(run.model.unet, run.adapter, run.student, latents, cond, config)
        free = None if present is None else present + estimate.unet  # the UNet is there already
        if free is None or estimate.total <= free:
            say(
                f"Memory: {estimate.total / GIB:.1f} GiB needed,"
                f" {'unknown' if free is None else f'{free / GIB:.1f} GiB'} free ({config.precision},"
                f" {parts} x {config.batch} pictures a step"
                f"{', gradient checkpointing' if checkpointing else ''})."
            )
            return fitting
    raise CannotDistill(
        f"Distilling {shown_name(run.job.checkpoint)} needs {estimate.total / GIB:.1f} GiB of memory at the"
        f" least, and {(free or 0) / GIB:.1f} GiB are free: close what else uses it, such as a WebUI, or use"
        " another machine."
    )


def memory_present(device: torch.device) -> int | None:
    """Free bytes on the device, None where they cannot be known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def _disk(run: Run) -> int:
    """Bytes of latents, a training state (LoRA, average, Adam's moments) beside the last one, and LoRA."""
    latents = 2 * run.pictures * int(torch.tensor(run.model.latent_shape).prod())
    lora = sum(parameter.numel() for parameter in run.adapter.parameters())
    return latents + 2 * (3 + bool(run.config.ema_decay)) * 4 * lora + 2 * lora + SPARE_DISK


def _seconds(run: Run) -> float:
    """What drawing and training take."""
    config, device = run.config, run.job.device
    noise = torch.randn(config.batch, *run.model.latent_shape, device=device)
    rows = torch.zeros(config.batch, dtype=torch.long)

    def train() -> None:
        with autocast(config, device):
            loss = distillation_loss(
                run.student, run.teacher, noise, *run.conds(rows), run.model.alphas_cumprod, config
            )
        loss.backward()  # type: ignore[no-untyped-call]

    undo = checkpoint_blocks(run.model.unet) if config.gradient_checkpointing else lambda: None
    try:
        training = _timed(train, device) * config.accumulation * config.steps
    finally:
        undo()
        run.adapter.zero_grad(set_to_none=True)
    if run.prompts.pictures is not None:
        return training
    drawing = _timed(lambda: run.draw(noise, rows, steps=1), device) * TEACHER_STEPS
    return training + drawing * -(-run.pictures // config.batch)


def _timed(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a second call, or of the first where that took long."""
    for _ in range(2):
        started = time.monotonic()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.monotonic() - started
        if seconds > LONG_CALL:
            break
    return seconds


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return "a minute"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
