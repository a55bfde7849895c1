"""`python dev.py gpu`: what few-step sampling, and all that is around it, does and costs on a GPU.

    python dev.py gpu                        all sections, at most 8 minutes on a current card
    python dev.py gpu --only samplers speed  some of them
    python dev.py gpu --device cpu --small   tiny models on the CPU, to try the script itself

Prints a line for each check and writes docs/gpu.json and docs/gpu.md (with --small: benchmarks/results) after
each, so that nothing is lost when it is stopped. Ends with 1 where a check failed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks import clock
from benchmarks.gpu import record
from benchmarks.gpu.checks import Checks, Job, Outcome
from benchmarks.gpu.device import KINDS, Device, NotHere

SECTIONS = {"samplers": 45, "speed": 120, "distillation": 90, "pictures": 75, "compiled": 150}
"""Seconds after which a section begins no further check; 8 minutes together."""
OK, FAILED, MEASURED, ERROR, NOT_RUN = "ok", "FAILED", "measured", "ERROR", "not run"


def result_of(action: Callable[[], Outcome]) -> tuple[str, Outcome]:
    """Carries out one check; what it raises is its result."""
    try:
        outcome = action()
    except NotHere as error:
        return record.NOT_HERE, Outcome(note=str(error))
    except Exception as error:
        # not every backend has a class of its own for it
        if "out of memory" in str(error).lower():
            return record.NOT_HERE, Outcome(note="it needs more memory than there is")
        first = (str(error).strip().splitlines() or [""])[0]
        return ERROR, Outcome(note=f"{type(error).__name__}: {first}")
    return {True: OK, False: FAILED, None: MEASURED}[outcome.passed], outcome


def carry_out(checks: Checks, limit: float, device: Device, keep: Callable[[dict[str, Any]], None]) -> None:
    """Carries out checks one after the other, handing each one's entry to `keep`, until `limit` seconds are
    over; those that are left are told to be.
    """
    started = time.monotonic()
    for name, action in checks:
        device.free()
        begun = time.monotonic()
        if begun - started > limit:
            result, outcome = NOT_RUN, Outcome(note=f"the section's {limit:g} s were over")
        else:
            result, outcome = result_of(action)
        figures = {key: _rounded(value) for key, value in outcome.figures.items()}
        seconds = round(time.monotonic() - begun, 1)
        keep({"check": name, "result": result, "figures": figures, "note": outcome.note, "seconds": seconds})
    device.free()


def _rounded(value: float | int | None) -> float | int | None:
    """Four digits are more than anything here is sure of."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python dev.py gpu",
        description=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="NAME",
                        help=f"sections: {', '.join(SECTIONS)}")  # fmt: skip
    parser.add_argument("--device", choices=KINDS, default=Device.best(), help="default: what is there")
    parser.add_argument("--small", action="store_true", help="tiny models, few rounds")
    parser.add_argument("--limit", type=float, help="seconds for each section, in place of its own limit")
    parser.add_argument("--out", type=Path, help="folder for gpu.json and gpu.md")
    options = parser.parse_args(arguments)
    if options.device is None:
        parser.error("PyTorch finds no GPU here; `--device cpu --small` tries the script itself")
    if not Device.is_there(options.device):
        parser.error(f"PyTorch finds no {options.device} here")
    if options.small:
        torch.set_num_threads(1)  # networks this small only wait for each other's threads
    folder = options.out or (clock.RESULTS if options.small else record.DOCS)
    device = Device(options.device)
    job = Job(device, options.small)
    about = {"device": device.label, **device.about, "small": options.small}
    made = {"commit": record.commit(), "date": date.today().isoformat()}
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)

    runs, results = record.read(folder), []
    try:
        for name in options.only:
            limit = SECTIONS[name] if options.limit is None else options.limit
            section: dict[str, Any] = {}

            def keep(entry: dict[str, Any], name: str = name, section: dict[str, Any] = section) -> None:
                if not section:  # an older one stays until there is something newer
                    section["new"] = record.section_of(runs, about, name, made)
                section["new"]["checks"].append(entry)
                results.append(entry["result"])
                record.write(runs, folder)
                told = [record.figures_text(entry["figures"]), entry["note"], f"{entry['seconds']} s"]
                line = f"{entry['result']:10} {name}: {entry['check']}: {'; '.join(filter(None, told))}"
                print(line, flush=True)

            carry_out(importlib.import_module(f"benchmarks.gpu.{name}").checks(job), limit, device, keep)
            section["new"]["complete"] = True
            record.write(runs, folder)
    except KeyboardInterrupt:
        print(f"Stopped; what there is lies in {folder}.", file=sys.stderr)
        return 130
    wrong = sum(result in (FAILED, ERROR) for result in results)
    print(f"{len(results)} checks, {wrong} wrong; written to {folder}: {record.JSON}, {record.PAGE}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
