"""The WebUI as a program: its parts, settings, folders, log and API."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from modules import shared

_PARTS = {
    "modules.extra_networks": (),
    "modules.sd_samplers": ("all_samplers", "all_samplers_map", "set_samplers"),
    # before 1.6 the denoiser had another shape
    "modules.sd_samplers_kdiffusion": ("KDiffusionSampler", "CFGDenoiserKDiffusion"),
    "modules.sd_samplers_common": ("SamplerData",),
    "modules.ui_components": ("InputAccordion",),
    "modules.script_callbacks": (),
    "modules.scripts": ("Script", "AlwaysVisible"),
    "modules.progress": (),
}


def missing_parts() -> list[str]:
    """The parts of a WebUI that this extension cannot do without and that this one lacks; empty on every
    supported host.
    """
    missing = []
    for name, attributes in _PARTS.items():
        try:
            module = importlib.import_module(name)
        except ImportError:
            missing.append(name)
        else:
            missing += [f"{name}.{attribute}" for attribute in attributes if not hasattr(module, attribute)]
    return missing


def module_of_webui(name: str):
    """A module that not every WebUI has, or None."""
    try:
        return importlib.import_module(f"modules.{name}")
    except ImportError:
        return None


def version() -> str | None:
    """What this WebUI notes of itself in generation parameters ("Version: v1.6.0"), so that it knows its own;
    None where it cannot tell.
    """
    from modules import processing

    program_version = getattr(processing, "program_version", None)
    return None if program_version is None else program_version()


def has_api() -> bool:
    """Whether the WebUI was started with its API on."""
    return bool(getattr(shared.cmd_opts, "api", False) or getattr(shared.cmd_opts, "nowebui", False))


def api_passwords() -> list[str]:
    """The pairs "user:password" of which the API asks for one; empty where it asks for none."""
    return [pair for pair in (getattr(shared.cmd_opts, "api_auth", None) or "").split(",") if pair]


def data_folder() -> Path:
    """The folder of this WebUI's own files: config.json, ui-config.json, styles.csv."""
    from modules import paths_internal

    return Path(paths_internal.data_path)


def program_folder() -> Path:
    """The folder of this WebUI's program, which with --data-dir is not that of its own files."""
    from modules import paths_internal

    return Path(paths_internal.script_path)


def private_folders() -> list[Path]:
    """Folders whose place on this machine is nobody's business over the API."""
    from modules import paths_internal

    names = ("models_path", "data_path", "script_path")
    return [
        *(Path(getattr(paths_internal, name)) for name in names if hasattr(paths_internal, name)),
        Path(os.path.expanduser("~")),
    ]


def log(sentence: str) -> None:
    """Writes a sentence to the WebUI's log, which on Windows may not be able to hold an arrow or a file
    name's letters.
    """
    text = f"LCM: {sentence}"
    try:
        print(text)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode())


def add_setting(section: tuple[str, str], name: str, default, label: str, info: str, component) -> None:
    """Adds a setting to a section (id, title) of the Settings page. `component` is (class, arguments) of
    gradio.
    """
    option = shared.OptionInfo(default, label, *component)
    option.section = section
    shared.opts.add_option(name, option.info(info))


def add_heading(section: tuple[str, str], name: str, text: str) -> None:
    """Adds a line of text to a section of the Settings page, in bold."""
    option = shared.OptionHTML(f"<b>{text}</b>")
    option.section = section
    shared.opts.add_option(name, option)


def setting(name: str, default):
    """A setting's value; `default` where this WebUI does not have it (yet)."""
    return getattr(shared.opts, name, default)
