"""The workbench inside this process, without a server: what is measured is the WebUI's own path, not HTTP."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "workbench" / "models"


def import_host(data_dir: Path) -> None:
    """Imports the workbench's `modules`, with this repository as its extension, but loads no extension
    yet.
    """
    from workbench.__main__ import WEBUI
    from workbench.webui import profiles

    profiles.select(profiles.A1111_1_10.name)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    here = {"", str(ROOT), os.getcwd()}  # extensions are imported the WebUI's way, see workbench.__main__
    sys.path[:] = [str(WEBUI), *(entry for entry in sys.path if entry not in here)]
    from modules import shared_cmd_options

    shared_cmd_options.configure(
        port=0,
        api_auth=None,
        data_dir=str(data_dir),
        ckpt_dir=str(MODELS / "Stable-diffusion"),
        lora_dir=str(MODELS / "Lora"),
        extensions=[str(ROOT)],
    )
    import modules.initialize
    import modules.ui  # with it all that a WebUI has imported before it loads extensions
    from modules import extensions

    modules.initialize.once()
    extensions.list_extensions()


class Workbench:
    """The workbench as A1111 1.10. `script` is the extension's Script object for txt2img, `model` the loaded
    checkpoint.
    """

    def __init__(self, data_dir: Path):
        import_host(data_dir)
        from fastapi import FastAPI

        import modules.initialize
        from modules import scripts, shared, ui
        from modules.api.api import Api

        modules.initialize.load_extensions()
        shared.demo = ui.create_ui()
        self._api = Api(FastAPI(), threading.Lock())
        self.model = shared.sd_model
        self.script = next(script for script in scripts.scripts_txt2img.scripts if script.title() == "LCM")

    def txt2img(self, prompt: str, *, lcm: dict | None = None, **fields) -> dict:
        """One picture, made and thrown away; returns the answer's `info`, a JSON text."""
        from modules.api import models

        scripts = {} if lcm is None else {"alwayson_scripts": {"LCM": {"args": [lcm]}}}
        request = models.StableDiffusionTxt2ImgProcessingAPI(
            prompt=prompt, seed=1, send_images=False, **scripts, **fields
        )
        with contextlib.redirect_stderr(io.StringIO()):  # the progress bar
            return self._api.text2imgapi(request).info
