"""The extensions that are loaded: those of the command line, and folders in `<data-dir>/extensions`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from modules import shared
from modules.paths_internal import extensions_dir

extensions: list[Extension] = []


class ScriptFile(NamedTuple):
    basedir: str
    filename: str
    path: str


class Extension:
    """A folder with `scripts/`, perhaps `javascript/`, `style.css` and `install.py`."""

    is_builtin = False
    remote = branch = commit_hash = commit_date = version = None

    def __init__(self, path: Path):
        self.path = str(path)
        self.name = self.canonical_name = path.name.lower()
        self.enabled = path.name not in shared.opts.disabled_extensions

    def list_files(self, subdir: str, extension: str) -> list[ScriptFile]:
        """Files of a suffix in one of its folders, by name."""
        folder = Path(self.path) / subdir
        found = sorted(folder.glob(f"*{extension}")) if folder.is_dir() else []
        return [ScriptFile(self.path, file.name, str(file)) for file in found]


def list_extensions() -> None:
    """Look for extensions again."""
    folders = [Path(folder).resolve() for folder in shared.cmd_opts.extensions]
    if Path(extensions_dir).is_dir():
        folders += sorted(folder for folder in Path(extensions_dir).iterdir() if folder.is_dir())
    extensions[:] = [Extension(folder) for folder in folders]


def active() -> list[Extension]:
    return [extension for extension in extensions if extension.enabled]


def find_extension(filename) -> Extension | None:
    """The extension that a file belongs to, or None."""
    path = Path(filename).resolve()
    return next((extension for extension in extensions if path.is_relative_to(extension.path)), None)
