"""Run by the WebUI at every start-up, where it has nothing to do; by hand it fetches the official LCM-LoRAs.

    python install.py --download sdxl                       (or sd15, ssd1b, all; several are possible)
    python install.py --download all --lora-dir /data/loras

The extension needs nothing that a WebUI does not already have, so nothing is ever installed. By hand, use the
WebUI's own Python (venv/bin/python, venv\\Scripts\\python.exe): it has the packages that the download uses.
"""

import sys

if __name__ == "__main__" and len(sys.argv) == 1:
    sys.exit(0)  # the WebUI's call: before anything else is imported

import argparse
from collections.abc import Callable
from pathlib import Path

from lib_lcm.lora.background import downloads
from lib_lcm.lora.catalog import LICENCE, OFFICIAL_LORAS
from lib_lcm.lora.download import DownloadError

# not resolved: a linked extension belongs to the WebUI that links to it
EXTENSION = Path(__file__).absolute().parent


def webui_lora_dir(extension: Path) -> Path | None:
    """The LoRA folder of the WebUI that `extension` lies in (<webui>/extensions/<name>), or None where it
    lies in none.
    """
    models = extension.parent.parent / "models"
    return models / "Lora" if extension.parent.name == "extensions" and models.is_dir() else None


def terminal_progress(name: str, size: int) -> Callable[[int, int], None]:
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

    bar = tqdm(total=size, desc=name, unit="B", unit_scale=True)

    def update(done: int, total: int) -> None:
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return update


def main(arguments: list[str]) -> int:
    """Carries out the command line; returns 0 when every file asked for is in place, 1 otherwise."""
    choices = [*(lora.family.name for lora in OFFICIAL_LORAS), "all"]
    parser = argparse.ArgumentParser(
        description="Downloads the official LCM-LoRAs into the WebUI's LoRA folder."
    )
    parser.add_argument(
        "--download", nargs="+", choices=choices, required=True, metavar="FAMILY", help=", ".join(choices)
    )
    parser.add_argument(
        "--lora-dir", type=Path, help="where to put them; the WebUI's models/Lora unless given"
    )
    options = parser.parse_args(arguments)

    lora_dir = options.lora_dir or webui_lora_dir(EXTENSION)
    if lora_dir is None:
        print(
            f"{EXTENSION} is not in the extensions folder of a WebUI: name the LoRA folder with --lora-dir.",
            file=sys.stderr,
        )
        return 1
    wanted = [
        lora for lora in OFFICIAL_LORAS if lora.family.name in options.download or "all" in options.download
    ]
    failed = False
    for lora in wanted:
        print(
            f"{lora.name}: {lora.family.label}, {lora.size / 1e6:.0f} MB, licence {LICENCE}, from {lora.url}",
            flush=True,
        )
        try:
            downloads.start(lora, lora_dir)
            downloads.follow(lora, terminal_progress(lora.name, lora.size))
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
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)
