"""Small named caches that live as long as the process."""

from __future__ import annotations

import os

_caches: dict[str, dict] = {}


def cache(subsection: str) -> dict:
    """The cache of that name; change it in place."""
    return _caches.setdefault(subsection, {})


def cached_data_for_file(subsection, title, filename, func):
    """`func()`, or what it returned last time if the file has not changed since."""
    stamp = os.path.getmtime(filename)
    entry = cache(subsection).get(title)
    if entry is None or entry["mtime"] != stamp:
        value = func()
        if value is None:
            return None
        entry = cache(subsection)[title] = {"mtime": stamp, "value": value}
    return entry["value"]


def dump_cache():
    """The caches are not written to disk."""
