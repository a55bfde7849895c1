"""`python -m workbench`: run the embedded WebUI with the extension of this repository."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

from workbench.webui import profiles

ROOT = Path(__file__).resolve().parent.parent
WEBUI = Path(__file__).resolve().parent / "webui"


def parse_arguments(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m workbench", description="LCM workbench: a small stand-in for the WebUI."
    )
    models = Path(__file__).resolve().parent / "models"
    parser.add_argument("--port", type=int, default=7861)
    parser.add_argument(
        "--profile",
        choices=sorted(profiles.PROFILES),
        default=profiles.A1111_1_10.name,
        help="which WebUI to play",
    )
    parser.add_argument(
        "--api-auth", metavar="USER:PASSWORD", help="password of the API; several are separated by commas"
    )
    parser.add_argument("--data-dir", default=str(ROOT / "workbench-data"), help="settings and pictures")
    parser.add_argument("--ckpt-dir", default=str(models / "Stable-diffusion"))
    parser.add_argument("--lora-dir", default=str(models / "Lora"))
    parser.add_argument(
        "--lora-dirs", action="append", default=[], metavar="DIR", help="look here too, where the WebUI can"
    )
    parser.add_argument(
        "--extension", action="append", default=[], metavar="DIR", help="load this extension too"
    )
    parser.add_argument(
        "--no-gradio-queue", action="store_true", help="the page's events go past gradio's queue"
    )
    parser.add_argument("--no-lcm", action="store_true", help="leave out the extension of this repository")
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_arguments(argv)
    profiles.select(args.profile)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # about image codecs and an unfinished part
    warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")

    # Extensions are imported the WebUI's way, by `sys.path` while they are loaded; the repository's root must
    # not help them.
    here = {"", str(ROOT), os.getcwd()}
    sys.path[:] = [str(WEBUI), *(entry for entry in sys.path if entry not in here)]

    from modules import shared_cmd_options, timer

    more_loras = [str(Path(folder).resolve()) for folder in args.lora_dirs]
    shared_cmd_options.configure(
        port=args.port,
        no_gradio_queue=args.no_gradio_queue,
        api_auth=args.api_auth,
        data_dir=str(Path(args.data_dir).resolve()),
        ckpt_dir=str(Path(args.ckpt_dir).resolve()),
        lora_dir=str(Path(args.lora_dir).resolve()),
        **({"lora_dirs": more_loras} if profiles.active.has_more_lora_dirs else {}),
        extensions=[*([] if args.no_lcm else [str(ROOT)]), *args.extension],
    )
    from workbench.webui import server

    timer.startup_timer.record("import the libraries")
    server.run()


if __name__ == "__main__":
    main()
