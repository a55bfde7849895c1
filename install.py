"""Run by the WebUI at every start-up, where it has nothing to do; by hand it fetches few-step LoRAs:

    python install.py --download sdxl                       (or sd15, ssd1b, vega, all: their LCM-LoRAs)
    python install.py --download hyper-sdxl lightning       (whatever --list shows; several are possible)
    python install.py --download all --lora-dir /data/loras

or makes a checkpoint that WebUIs load of a full latent consistency model and the checkpoint it was made from:

    python install.py --convert LCM_Dreamshaper_v7_4k.safetensors --base dreamshaper_7.safetensors

The extension needs nothing that a WebUI does not already have, so nothing is ever installed. By hand, use the
WebUI's own Python (venv/bin/python, venv\\Scripts\\python.exe): it has the packages that the download uses.
"""

import sys

if __name__ == "__main__" and len(sys.argv) == 1:
    sys.exit(0)  # the WebUI's call: before anything else is imported

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from lib_lcm.checkpoints.convert import ConversionError, convert, published_file
from lib_lcm.lora.background import downloads
from lib_lcm.lora.catalog import PublishedLora, offered
from lib_lcm.lora.download import DownloadError

# not resolved: a linked extension belongs to the WebUI that links to it
EXTENSION = Path(__file__).absolute().parent


def webui_lora_dir(extension: Path) -> Path | None:
    """The LoRA folder of the WebUI that `extension` lies in (<webui>/extensions/<name>), or None where it
    lies in none.
    """
    models = extension.parent.parent / "models"
    return models / "Lora" if extension.parent.name == "extensions" and models.is_dir() else None


def choices() -> dict[str, list[PublishedLora]]:
    """What can be asked for, with hyphens for all underscores -> the files that it means.

    A file's name means that file, a family's the LCM-LoRA of the family, and "all" every LCM-LoRA. A method
    ("tcd", "dmd2", "lightning-4") means the first file of it in each family, its name without the number of
    steps all its variants, unless it is a method itself; with a family ("tcd-sdxl"), those of the family.
    """
    methods = {lora.method for lora in offered()}
    found: dict[str, dict[object, PublishedLora]] = {}
    for lora in offered():
        any_steps = re.sub(r"-\d+$", "", lora.method)
        words = [lora.method] if any_steps in methods else [lora.method, any_steps]
        names = [lora.name.replace("_", "-"), *words, *(f"{word}-{lora.family}" for word in words)]
        for name in (*names, lora.family.name, "all") if lora.method == "lcm" else names:
            found.setdefault(name, {}).setdefault((lora.method, lora.family), lora)
    return {name: list(loras.values()) for name, loras in found.items()}


def table(known: dict[str, list[PublishedLora]]) -> str:
    """What can be downloaded, a line for each file: a short name for it, its own, family, size, licence."""
    rows = [("SHORT", "NAME", "FAMILY", "SIZE", "LICENCE")]
    for lora in offered():
        short = min((name for name, loras in known.items() if loras == [lora]), key=len)
        licence = lora.licence if lora.is_open else f"{lora.licence}, not for commercial use"
        rows.append((short, lora.name, lora.family.label, f"{lora.megabytes} MB", licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    groups = sorted(name for name, loras in known.items() if len(loras) > 1)
    return "\n".join([*lines, "", f"Several at once: {', '.join(groups)}."])


def terminal_progress(name: str) -> Callable[[int, int], None]:
    """A callback for (done, total) bytes that draws a bar, or a line for every tenth where tqdm is
    missing.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        tenths = -1

        def show(done: int, total: int) -> None:
            nonlocal tenths
            if done * 10 // total != tenths:
                tenths = done * 10 // total
                print(f"{name}: {tenths * 10}% of {total / 1e6:.0f} MB", flush=True)

        return show

    bar = None

    def update(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:  # not before: a refusal is to stand alone
            bar = tqdm(desc=name, unit="B", unit_scale=True)
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return update


def converted(source: Path, base: Path, output: str | None) -> int:
    """Converts a full latent consistency model and says where the checkpoint is, or why there is none."""
    name = source.absolute().name if source.is_dir() else source.stem
    # beside the base, where the WebUI has its checkpoints; a path is taken as it is
    target = base.parent / f"{name}-webui" if output is None else base.parent / output
    if target.suffix != ".safetensors":
        target = target.with_name(target.name + ".safetensors")
    try:
        family = convert(published_file(source), base, target, terminal_progress(target.name))
    except ConversionError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    print(f"{target} is complete: {family.label}; choose it in the WebUI and tick LCM.", flush=True)
    return 0


def main(arguments: list[str]) -> int:
    """Carries out the command line; returns 0 when every file asked for is in place, 1 otherwise."""
    parser = argparse.ArgumentParser(
        description="Downloads few-step LoRAs into the WebUI's LoRA folder, verified; converts full LCMs.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--download",
        nargs="+",
        metavar="NAME",
        type=lambda name: name.lower().replace("_", "-"),
        help="sd15, sdxl, ssd1b, vega or all for the LCM-LoRAs; or any name of --list",
    )
    what.add_argument("--list", action="store_true", help="say what there is, and under which licences")
    what.add_argument(
        "--convert",
        type=Path,
        metavar="FILE",
        help="a full LCM as it is published: the UNet's safetensors file, or a diffusers folder with it",
    )
    parser.add_argument(
        "--base",
        type=Path,
        metavar="CHECKPOINT",
        help="for --convert: the checkpoint (safetensors) whose text encoder and VAE it gets",
    )
    parser.add_argument(
        "--output",
        metavar="NAME",
        help="for --convert: the new checkpoint's name, beside the base, or its path",
    )
    parser.add_argument(
        "--lora-dir", type=Path, help="where to put them; the WebUI's models/Lora unless given"
    )
    parser.add_argument(
        "--accept-licence",
        "--accept-license",
        action="store_true",
        help="for those whose licence does not allow commercial use",
    )
    options = parser.parse_args(arguments)
    if options.convert is not None:
        if options.base is None:
            parser.error("--convert needs --base: the checkpoint that the model was made from")
        return converted(options.convert, options.base, options.output)
    known = choices()
    if options.list:
        print(table(known))
        return 0
    for name in options.download:
        if name not in known:
            families = ", ".join(lora.family.name for lora in known["all"])
            parser.error(f"{name!r} is none of {families}, all, nor one of the names that --list shows")

    lora_dir = options.lora_dir or webui_lora_dir(EXTENSION)
    if lora_dir is None:
        print(
            f"{EXTENSION} is not in the extensions folder of a WebUI: name the LoRA folder with --lora-dir.",
            file=sys.stderr,
        )
        return 1
    failed = False
    wanted = [lora for name in options.download for lora in known[name]]
    for lora in dict.fromkeys(wanted):
        print(
            f"{lora.name}: {lora.family.label}, {lora.megabytes} MB, licence {lora.licence}, from {lora.url}",
            flush=True,
        )
        if not (lora.is_open or options.accept_licence):
            print(
                f"{lora.name} was left out, as its licence {lora.licence} does not allow commercial use: read"
                f" it at {lora.url}, then add --accept-licence.",
                file=sys.stderr,
                flush=True,
            )
            failed = True
            continue
        try:
            downloads.start(lora, lora_dir)
            downloads.follow(lora, terminal_progress(lora.name))
            print(f"{lora_dir / lora.name}.safetensors is complete and verified.", flush=True)
        except DownloadError as error:
            print(f"\n{error}", file=sys.stderr, flush=True)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        # on Windows it may not be able to hold the letters of a folder's name
        stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nStopped; the same command, given again, finishes it.", file=sys.stderr)
        sys.exit(130)
