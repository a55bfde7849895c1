"""Translations of the page: JSON files in `localizations` folders, with another wording for each English text."""

from __future__ import annotations

import json
import os

from modules import errors, scripts
from workbench.webui import profiles

localizations: dict = {}
"""Name -> its files in the order in which they are read; before A1111 1.7 only the last one's path."""


def list_localizations(dirname):
    """Look for the files anew; `dirname` is the WebUI's own folder, which the workbench's lists of scripts know by themselves."""
    localizations.clear()
    for file in scripts.list_scripts("localizations", ".json"):
        name = os.path.splitext(file.filename)[0]
        if profiles.active.merges_localizations:
            localizations.setdefault(name, []).append(file.path)
        else:
            localizations[name] = file.path


def localization_js(current_localization_name) -> str:
    """The script that tells the page its translations."""
    files = localizations.get(current_localization_name) or []
    translations: dict = {}
    for path in [files] if isinstance(files, str) else files:
        try:
            with open(path, encoding="utf8") as file:
                translations.update(json.load(file))
        except Exception:
            errors.report(f"Error loading localization from {path}", exc_info=True)
    return f"window.localization = {json.dumps(translations)}"
