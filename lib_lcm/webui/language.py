"""The language that the WebUI's page is shown in."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from lib_lcm.text import Translations, is_same_language
from lib_lcm.webui.host import languages, server

_of_page: str | None = None
"""The localisation that the page was made in; another one that is set counts after "Reload UI"."""

OWN_DIR = Path(__file__).parents[2] / "localizations"


def translations() -> Translations:
    """English text -> text in the page's language; empty where the page is in English.

    Ours first, under the language of any pack ("zh_CN", "zh-Hans (Stable)"), then what the pack says itself.
    """
    name = server.setting("localization", "None") if _of_page is None else _of_page
    if name in (None, "", "None"):
        return {}
    found: dict[str, str] = {}
    for path in [*_own_files(name), *languages.files(name)]:
        found.update(_read(path, _changed_at(path)))
    return found


def _own_files(name: str) -> list[Path]:
    """Our file for the language of a localisation."""
    return sorted(path for path in OWN_DIR.glob("*.json") if is_same_language(path.stem, name))


def begin_page() -> None:
    """A page is about to be made, in the language that is set now."""
    global _of_page
    _of_page = server.setting("localization", "None")
    _lend_to_packs()


def _lend_to_packs() -> None:
    """Gives our texts to the language packs of others, whose names are their own ("zh-Hans (Stable)"): the
    page reads files by name.

    A pack's own words go before ours, which have some in common with the WebUI's ("Steps").
    """
    for name in languages.names():
        for path in _own_files(name):
            languages.lend(name, path)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


@lru_cache(maxsize=32)
def _read(path: Path, changed_at: float) -> Translations:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the WebUI itself reports a file that it cannot read
        return {}
    return (
        {key: value for key, value in content.items() if isinstance(value, str)}
        if isinstance(content, dict)
        else {}
    )
