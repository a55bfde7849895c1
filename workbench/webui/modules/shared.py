"""What the whole WebUI shares: settings, command line, state, and the loaded model."""

from __future__ import annotations

import logging
import os
import sys
import types
from pathlib import Path

from modules import devices, options, shared_options, shared_state
from modules.options import OptionHTML, OptionInfo, options_section  # noqa: F401
from modules.paths_internal import (  # noqa: F401
    data_path,
    extensions_builtin_dir,
    extensions_dir,
    models_path,
    script_path,
)
from modules.shared_cmd_options import cmd_opts
from modules.styles import StyleDatabase
from workbench.webui import profiles

log = logging.getLogger("workbench")

device = devices.device
weight_load_location = "cpu"
parallel_processing_allowed = True
xformers_available = False
config_filename = cmd_opts.ui_settings_file
hf_endpoint = "https://huggingface.co"

options_templates = shared_options.options_templates
restricted_opts = shared_options.restricted_opts
opts = options.Options(options_templates, restricted_opts)
opts.load(config_filename)

state = shared_state.State()
prompt_styles = StyleDatabase()
demo = None
settings_components = {}
tab_names = []
hypernetworks = {}
loaded_hypernetworks = []
face_restorers = []


class TotalTQDM:
    """A progress bar over all jobs, which the workbench does not draw."""

    def update(self):
        """One more sampling step is done."""

    def updateTotal(self, new_total):
        """The number of sampling steps is known now."""

    def clear(self):
        """The job is over."""


total_tqdm = TotalTQDM()

latent_upscale_default_mode = "Latent"
latent_upscale_modes = {
    "Latent": {"mode": "bilinear", "antialias": False},
    "Latent (antialiased)": {"mode": "bilinear", "antialias": True},
    "Latent (bicubic)": {"mode": "bicubic", "antialias": False},
    "Latent (nearest)": {"mode": "nearest", "antialias": False},
    "Latent (nearest-exact)": {"mode": "nearest-exact", "antialias": False},
}
if not profiles.active.has_latent_upscalers:
    latent_upscale_default_mode = "None"
    latent_upscale_modes.clear()
sd_upscalers = [
    types.SimpleNamespace(name=name, data_path=None, scale=4, scaler=types.SimpleNamespace(model_name=None))
    for name in ("None", "Lanczos", "Nearest")
]


def walk_files(path, allowed_extensions=None):
    """All files below a folder, in order of their names; `allowed_extensions` such as [".safetensors"]."""
    if not os.path.isdir(path):
        return
    wanted = None if allowed_extensions is None else {extension.lower() for extension in allowed_extensions}
    # without the extension, so that "small-sd15" comes before "small-sd15-lit"
    for entry in sorted(Path(path).rglob("*"), key=lambda p: str(p.with_suffix("")).lower()):
        if entry.is_file() and (wanted is None or entry.suffix.lower() in wanted):
            yield str(entry)


def listfiles(dirname):
    return [
        str(entry)
        for entry in sorted(Path(dirname).iterdir())
        if entry.is_file() and not entry.name.startswith(".")
    ]


class _SharedModule(types.ModuleType):
    """Makes `shared.sd_model` load the model on access, and `shared.sd_model = x` replace it."""

    @property
    def sd_model(self):
        from modules import sd_models

        return sd_models.model_data.get_sd_model()

    @sd_model.setter
    def sd_model(self, value):
        from modules import sd_models

        sd_models.model_data.set_sd_model(value)


sys.modules[__name__].__class__ = _SharedModule
