"""Seconds to recognise a folder of 2,000 LoRA files, for the first time in a process and again.

    python dev.py bench library_scan [--files N] [--all-different]

The files are as large as real ones and take no room on disks that know sparse files; each has the headers
that real trainers write, with 20 kB of training metadata of its own. As in real folders, many were trained
with the same settings (one of 108: family, layers, rank, type), so that their tables of tensors are alike;
with --all-different no two are. The disk is warm: the files were written just now. Processor time is given
beside the wall's, since only that says much where other programs run.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from benchmarks.clock import CPU, WALL, save
from lib_lcm.families import SDXL
from lib_lcm.lora import file as lora_files
from lib_lcm.lora import key_names as lora_names
from lib_lcm.lora.library import LoraLibrary
from tests.unit.lora_fixtures import (
    ATTENTION_TARGETS,
    STYLE_TARGETS,
    header_bytes,
    kohya_lora,
    official_lora_tensors,
    targeted_layers,
    write_header,
    write_lora,
)

FILES = 2000
FILES_PER_FOLDER = 50
OFFICIAL = ("sd15", "sdxl", "ssd1b")
TRAINING_METADATA = {"ss_tag_frequency": "x" * 20_000, "ss_output_name": "style-name"}
FIRST_LIMIT, LATER_LIMIT = 5.0, 0.2  # seconds


def write_folder(root: Path, count: int, all_different: bool) -> None:
    """`count` LoRAs: style LoRAs in sub-folders, and an LCM-LoRA of each family."""
    for family in OFFICIAL:
        write_lora(
            root / f"lcm_{family}_mine.safetensors", official_lora_tensors(family, rank=32), {"format": "pt"}
        )
    families, targets = ("sd15", "sdxl", "sd2"), (STYLE_TARGETS, ATTENTION_TARGETS)
    chosen_layers = [targeted_layers(family, names) for family, names in itertools.product(families, targets)]
    ranks = range(1, 129) if all_different else (4, 8, 16, 32, 64, 128)
    kinds = itertools.product(ranks, ("F16", "BF16", "F32"), range(len(chosen_layers)))
    header_of = cache(
        lambda rank, dtype, layers: header_bytes(
            kohya_lora(chosen_layers[layers], rank), TRAINING_METADATA, dtype
        )
    )
    for number, kind in enumerate(itertools.islice(itertools.cycle(kinds), count - len(OFFICIAL))):
        header, data_bytes = header_of(*kind)
        own = header.replace(b"style-name", b"style%05d" % number)
        write_header(
            root / f"folder {number // FILES_PER_FOLDER}" / f"style {number}.safetensors", own, data_bytes
        )


def seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock time, and this process's own processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python dev.py bench library_scan")
    parser.add_argument("--files", type=int, default=FILES, help="up to 2,300; the limits are for 2,000")
    parser.add_argument(
        "--all-different", action="store_true", help="no two files with the same table of tensors"
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), options.files, options.all_different)
        first, later, choosing = [], [], []
        for _ in range(options.rounds):
            lora_files._layers_by_digest.clear()  # what this process has learnt from the last round
            lora_names.split_key.cache_clear()
            library = LoraLibrary(folder)
            first.append(seconds(library.scan))
            later.append(seconds(library.scan))
            choosing.append(seconds(partial(library.choose, SDXL)))
            assert len(library.files) == options.files and library.choose(SDXL).file.name == "lcm_sdxl_mine"
    figures = {"files": options.files, "all_different": options.all_different}
    for name, times, limit in (
        ("first_scan", first, FIRST_LIMIT),
        ("later_scan", later, LATER_LIMIT),
        ("choose", choosing, LATER_LIMIT),
    ):
        wall, cpu = (statistics.median(values) for values in zip(*times, strict=True))
        figures[name] = {WALL: wall, CPU: cpu}
        print(
            f"{name:12} {wall:7.3f} s of {limit:g} s (processor: {cpu:.3f}"
            f" s){'' if wall <= limit else '   MISSED'}"
        )
    print(f"saved to {save('library_scan', figures)}")
