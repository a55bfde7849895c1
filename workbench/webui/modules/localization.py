"""Translations of the page: JSON files in `localizations` folders, with another wording for each English
text.
"""

from __future__ import annotations

import json
from pathlib import Path

from modules import errors, scripts
from workbench.webui import profiles

localizations: dict = {}
"""Name -> its files in the order in which they are read; before A1111 1.7 only the last one's path."""


def list_localizations(dirname):
    """Look for the files anew: those of the WebUI's own folder `dirname`, then those of extensions."""
    localizations.clear()
    own = sorted(Path(dirname).glob("*.json"))
    for path in [*map(str, own), *(file.path for file in scripts.list_scripts("localizations", ".json"))]:
        name = Path(path).stem
        if profiles.active.merges_localizations:
            localizations.setdefault(name, []).append(path)
        else:
            localizations[name] = path


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
