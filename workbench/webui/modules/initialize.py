"""What happens before the page is built."""

from __future__ import annotations

import sys
from pathlib import Path

import networks

import modules
from modules import (
    extra_networks,
    gradio_extensons,
    infotext_utils,
    localization,
    script_callbacks,
    scripts,
    sd_models,
    shared,
    ui_tempdir,
)
from workbench.webui import profiles


def once() -> None:
    """Once per process: the checkpoints, a config file with every setting if there is none, and gradio's
    hooks.
    """
    Path(shared.data_path).mkdir(parents=True, exist_ok=True)
    sd_models.list_models()
    if not Path(shared.config_filename).exists():
        shared.opts.save(shared.config_filename)
    gradio_extensons.install()
    ui_tempdir.install_ui_tempdir_override()
    _hide_modules_of_later_versions()


def _hide_modules_of_later_versions() -> None:
    """Make modules that the profile's WebUI does not have fail to import; the host itself keeps what it has
    imported.
    """
    profile = profiles.active
    modules.generation_parameters_copypaste = infotext_utils
    present = {
        "infotext_utils": profile.infotext_utils,
        "sd_schedulers": profile.schedulers,
        "sd_samplers_lcm": profile.native_lcm and not profile.own_lcm_spans_all,
    }
    for name, is_there in present.items():
        if not is_there:
            sys.modules[f"modules.{name}"] = None
            if hasattr(modules, name):
                delattr(modules, name)


def load_extensions() -> None:
    """Load all scripts, again on "Reload UI"."""
    extra_networks.initialize()
    localization.list_localizations(shared.cmd_opts.localizations_dir)
    scripts.load_scripts()
    networks.register()
    script_callbacks.ui_settings_callback()
