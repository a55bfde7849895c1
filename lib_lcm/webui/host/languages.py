"""The WebUI's localisations."""

from __future__ import annotations

import os
from pathlib import Path

from lib_lcm.webui.host import server
from modules import shared


def files(name: str) -> list[Path]:
    """The files of a localisation, in the order in which the WebUI reads them."""
    files = _localizations().get(name, [])
    one_or_more = [files] if isinstance(files, str) else files  # one for each name [a1111-1.6]
    return [Path(file) for file in one_or_more]


def names() -> list[str]:
    """The localisations that this WebUI has."""
    return list(_localizations())


def lend(name: str, file: Path) -> None:
    """Gives the page the texts of a file too where it is in the localisation of that name, whose other texts
    go before them.

    To be called before the page is built.
    """
    files = _localizations().get(name)
    if isinstance(files, list):
        files[:] = [str(file), *(other for other in files if not _is_same_file(other, file))]
    elif isinstance(files, str) and _is_same_file(files, file):
        # one file for each name, the last that is found: ours where nobody else has one [a1111-1.6]
        others = [other for other in _localizations_of_name(name) if not _is_same_file(other, file)]
        if others:
            _localizations()[name] = others[-1]


def _localizations_of_name(name: str) -> list[str]:
    """All files of a localisation in the order in which the WebUI finds them."""
    from modules import scripts

    in_own_folder = Path(shared.cmd_opts.localizations_dir) / f"{name}.json"
    of_extensions = [
        file.path
        for file in scripts.list_scripts("localizations", ".json")
        if Path(file.filename).stem == name
    ]
    return [*([str(in_own_folder)] if in_own_folder.is_file() else []), *of_extensions]


def _is_same_file(one, other) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _localizations() -> dict[str, list[str] | str]:
    return getattr(server.module_of_webui("localization"), "localizations", {})
