"""Command line of the distillation: `python -m lib_lcm.distill CHECKPOINT`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from lib_lcm.distill import networks
from lib_lcm.distill.checkpoint import Checkpoint
from lib_lcm.distill.command import distil
from lib_lcm.distill.latents import Progress
from lib_lcm.distill.model import CannotDistill, Loader
from lib_lcm.distill.run import Job
from lib_lcm.lora.names import own_name


def parse(arguments: Sequence[str] | None, prog: str) -> tuple[Job, argparse.Namespace]:
    """What is asked, and all options."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Distil a checkpoint's own LCM-LoRA from what it draws itself; no data set is needed.",
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="a .safetensors file, as the WebUI has it"
    )
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE",
        help="what it draws to learn from, one prompt a line, or a folder of pictures with a .txt beside"
        " each; default: a built-in list",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="NAME",
        help="name or path of the LoRA, or a folder for it; default: lcm_lora_CHECKPOINT in the folder Lora"
        " beside the checkpoint's Stable-diffusion",
    )  # fmt: skip
    parser.add_argument(
        "--pictures", type=int, default=640, metavar="N", help="how many it draws; default: 640"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="of training; default: 1000")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="another LCM-LoRA, for the report")
    parser.add_argument(
        "--device", metavar="NAME", help="cuda, mps or cpu; default: the first of them there is"
    )
    parser.add_argument(
        "--webui", type=Path, metavar="DIR",
        help="the folder with the WebUI's launch.py, for CLIP's tokenizer, where this extension lies"
        " elsewhere",
    )  # fmt: skip
    parser.add_argument("--lines", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for name in ("pictures", "steps"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if options.webui is not None and not options.webui.is_dir():
        parser.error(f"--webui {options.webui} is no folder: name that of the WebUI's launch.py")
    try:
        device = torch.device(options.device or best_device())
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):  # the latter of a build without CUDA
        parser.error(f"--device {options.device}: this torch ({torch.__version__}) cannot use it")
    changes = {"seed": options.seed} | ({} if options.steps is None else {"steps": options.steps})
    job = Job(
        options.checkpoint,
        output_path(options.checkpoint, options.output),
        device,
        options.prompts,
        options.pictures,
        options.compare,
        changes,
    )
    return job, options


def output_path(checkpoint: Path, named: Path | None) -> Path:
    """Where the LoRA goes: a bare name into the LoRA folder of the checkpoint's WebUI, or beside the
    checkpoint where it lies in none; a folder that is there gets it under its default name.
    """
    default = Path(f"{own_name(checkpoint)}.safetensors")
    if named is not None and named.is_dir():
        return named / default
    named = default if named is None else named
    if named.suffix != ".safetensors":
        named = named.with_name(named.name + ".safetensors")
    if len(named.parts) > 1:
        return named
    models = next(
        (folder.parent for folder in checkpoint.absolute().parents if folder.name == "Stable-diffusion"), None
    )
    folder = checkpoint.parent if models is None else models / "Lora"
    return folder / named


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def bars() -> Progress:
    """A progress bar for each thing that goes on, and few lines where it goes into a file."""
    shown: dict[str, Any] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in shown:
            shown[what] = tqdm(desc=what, total=total, mininterval=0.5 if sys.stderr.isatty() else 20)
        shown[what].update(done - shown[what].n)
        if done == total:
            shown[what].close()

    return show


class Terminal:
    """What a person reads."""

    def __init__(self) -> None:
        self.progress = bars()

    def say(self, text: str) -> None:
        print(text, flush=True)

    def problem(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Lines:
    """What the page reads: one JSON object a line, {"say": text}, {"progress": [what, done, total]} or
    {"problem": text}.
    """

    def say(self, text: str) -> None:
        print(json.dumps({"say": text}), flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        print(json.dumps({"progress": [what, done, total]}), flush=True)

    def problem(self, text: str) -> None:
        print(json.dumps({"problem": text}), flush=True)


def main(
    arguments: Sequence[str] | None = None,
    load: Loader = Checkpoint,
    prog: str = "python -m lib_lcm.distill",
) -> int:
    job, options = parse(arguments, prog)
    if options.webui is not None:
        networks.WEBUI = options.webui
    tell: Terminal | Lines = Lines() if options.lines else Terminal()
    try:
        made = distil(job, load, tell.say, tell.progress)
    except CannotDistill as problem:
        tell.problem(str(problem))
        return 1
    except (torch.cuda.OutOfMemoryError, OSError) as error:  # memory or disk, taken by another program
        tell.problem(
            f"Broken off ({error}): make room, then repeat the same command, which goes on where it was."
        )
        return 1
    except KeyboardInterrupt:
        tell.problem(
            f"Interrupted: what is done, but for up to a minute, lies in {job.folder}, and the same command"
            " goes on from there."
            if job.folder.is_dir()
            else "Interrupted before anything was kept: the same command begins again."
        )
        return 130
    tell.say(
        f"{made} is complete, and {job.report.name} beside it shows what it draws: choose it in the WebUI,"
        " or Auto with this checkpoint."
    )
    return 0


if __name__ == "__main__":
    # of the whole process, so not in main(): numbers below 1e-38 take a CPU twice as long
    torch.set_flush_denormal(True)
    raise SystemExit(main())
