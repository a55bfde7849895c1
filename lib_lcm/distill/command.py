"""From a checkpoint to its own LCM-LoRA, without a data set."""

from __future__ import annotations

import shutil
from pathlib import Path

from lib_lcm.distill.cost import Say, settle
from lib_lcm.distill.latents import Progress, read_prompts
from lib_lcm.distill.model import CannotDistill, Loader
from lib_lcm.distill.report import write_preview, write_report
from lib_lcm.distill.run import DTYPES, Job, Run
from lib_lcm.distill.training import Distillation
from lib_lcm.lora.file import shown_name

PREVIEWS = 10


def distil(job: Job, load: Loader, say: Say = print, progress: Progress = lambda *_: None) -> Path:
    """Writes the LoRA and its report; returns the LoRA's path.

    Interrupted at any time, the same call goes on and ends with the very same weights. Raises CannotDistill
    before anything is trained, and never writes over a file that is there.
    """
    for path in (job.output, job.report):
        if path.exists():
            raise CannotDistill(f"{path} is there already: move it, or choose another name with --output.")
    prompts = read_prompts(job.prompts)
    say(f"Reading {shown_name(job.checkpoint)}.")
    model = load(job.checkpoint, job.device, DTYPES[job.precision])
    say("Encoding the prompts.")
    run = Run(job, model, prompts)
    settle(run, say)
    distillation = run.distillation(run.latents(progress))

    def on_step(_: Distillation) -> None:
        step, steps = distillation.step, run.config.steps
        if step * PREVIEWS // steps > (step - 1) * PREVIEWS // steps:
            with distillation.averaged():
                write_preview(run)
        progress("distilling", step, steps)

    distillation.run(state_path=job.folder / "state.pt", on_step=on_step, say=None)
    report = job.folder / job.report.name
    with distillation.averaged():
        write_report(run, report, say, progress)
        run.save(distillation.step)
    report.replace(job.report)  # not before: a report alone would keep the same call from going on
    shutil.rmtree(job.folder)
    return job.output
