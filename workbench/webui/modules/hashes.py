"""SHA-256 of files, cached by modification time."""

from __future__ import annotations

import hashlib
import os

from modules.cache import cache
from modules.shared_cmd_options import cmd_opts

BLOCK = 1 << 20


def _digest(file) -> str:
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(BLOCK), b""):
        digest.update(block)
    return digest.hexdigest()


def calculate_sha256(filename) -> str:
    with open(filename, "rb") as file:
        return _digest(file)


def addnet_hash_safetensors(file) -> str:
    """SHA-256 of a safetensors file's tensors alone, without the header, so that it survives a change of
    metadata.
    """
    file.seek(0)
    header_size = int.from_bytes(file.read(8), "little")
    file.seek(8 + header_size)
    return _digest(file)


def _section(use_addnet_hash: bool) -> dict:
    return cache("hashes-addnet" if use_addnet_hash else "hashes")


def sha256_from_cache(filename, title, use_addnet_hash=False):
    """The hash if it is known and the file has not changed since, else None."""
    entry = _section(use_addnet_hash).get(title)
    try:
        stamp = os.path.getmtime(filename)
    except FileNotFoundError:
        return None
    return entry["sha256"] if entry is not None and entry["mtime"] >= stamp else None


def sha256(filename, title, use_addnet_hash=False):
    """The hash, computed if need be; None with `--no-hashing`."""
    known = sha256_from_cache(filename, title, use_addnet_hash)
    if known is not None:
        return known
    if cmd_opts.no_hashing:
        return None
    if use_addnet_hash:
        with open(filename, "rb") as file:
            value = addnet_hash_safetensors(file)
    else:
        value = calculate_sha256(filename)
    _section(use_addnet_hash)[title] = {"mtime": os.path.getmtime(filename), "sha256": value}
    return value
