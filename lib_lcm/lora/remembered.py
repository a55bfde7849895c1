"""What a user wants remembered: the LCM-LoRA for a checkpoint, and the method of a LoRA that was taken for
another's. Small JSON files that several WebUIs may share, read again when they change, and changed by one at
a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout  # torch and huggingface_hub need it, so every WebUI has it

from lib_lcm.methods import Method, method_named
from lib_lcm.text import Text

LOCK_TIMEOUT = 5  # seconds; another WebUI holds the lock for a few milliseconds
REPLACE_ATTEMPTS = 10
REPLACE_WAIT = 0.05  # seconds; on Windows a file cannot be replaced while a virus scanner reads it


class NotRemembered(Exception):
    """The file could not be written; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class _Contents:
    entries: dict[str, dict[str, Any]]
    error: Exception | None = None  # why the file cannot be read


class _Remembered:
    """What `path` says. Its folder must exist, the file need not. All methods may be called from any thread.

    Files are known by their SHA-256 (hex, any case), so that renaming or moving one changes nothing. An entry
    has its value under the key `value`, and what people who read the file may want to know.
    """

    value = ""

    def __init__(self, path: Path):
        self.path = Path(path)
        self._lock = threading.Lock()
        self._state: tuple[int, int] | None = None
        self._contents = _Contents({})

    @property
    def problem(self) -> str | None:
        """One sentence where the file is there and cannot be used; then nothing counts as remembered."""
        with self._lock:
            error = self._read().error
        if error is None:
            return None
        reason = type(error).__name__
        return f"{self.path} cannot be read ({reason}), so nothing in it is remembered: fix it or delete it."

    def value_of(self, sha256: str | None) -> str | None:
        """What is remembered for a file, or None; None too for a file whose hash is not known."""
        entry = None if sha256 is None else self._entries().get(sha256.lower())
        return None if entry is None else str(entry[self.value])

    def is_empty(self) -> bool:
        """Whether nothing is remembered for any file."""
        return not self._entries()

    def forget(self, sha256: str) -> None:
        """Nothing is remembered for this file any more. Raises NotRemembered."""
        self._change(sha256, None)

    def _entries(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            return self._read().entries

    def _change(self, sha256: str, entry: dict[str, Any] | None) -> None:
        with _locked(self.path), self._lock:
            self._state = None  # a change within the clock's precision leaves no trace in size and time
            contents = self._read()
            entries = {key: value for key, value in contents.entries.items() if key != sha256.lower()}
            if entry is not None:
                entries[sha256.lower()] = entry
            try:
                if isinstance(contents.error, OSError):  # what it says is not known, so it is not replaced
                    raise contents.error
                if contents.error is not None:  # kept for whoever wants to fix it by hand
                    _replace(self.path, self.path.with_name(self.path.name + ".broken"))
                _write(self.path, json.dumps(entries, indent=4) + "\n")
            except OSError as error:
                raise NotRemembered(
                    Text(
                        "{path} cannot be written ({reason}): allow that, then try again.",
                        path=self.path,
                        reason=str(error.strerror or error),
                    )
                ) from error
            self._state = None

    def _read(self) -> _Contents:
        try:
            status = os.stat(self.path)
        except OSError:
            self._state, self._contents = None, _Contents({})
            return self._contents
        state = (status.st_size, status.st_mtime_ns)
        if state != self._state:
            self._contents = _parse(self.path, self.value)
            self._state = None if isinstance(self._contents.error, OSError) else state
        return self._contents


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """While inside, no other thread or process changes `path`. Raises NotRemembered."""
    lock = Path(f"{path}.lock")
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(FileLock(str(lock)).acquire(LOCK_TIMEOUT))
        except Timeout as error:
            raise NotRemembered(
                Text(
                    "{lock} could not be locked within {seconds} seconds, so nothing was changed: end the"
                    " WebUI that holds it, or allow it to be written, then try again.",
                    lock=lock,
                    seconds=LOCK_TIMEOUT,
                )
            ) from error
        except (OSError, NotImplementedError):
            pass  # this disk has no locks, or is write-protected, which the write will say
        yield


class RememberedLoras(_Remembered):
    """What Auto means for checkpoints: the name of a LoRA, or "none", as the option `lora` has it."""

    value = "lora"

    def get(self, checkpoint: str | None) -> str | None:
        """The option remembered for the checkpoint of this SHA-256, or None."""
        return self.value_of(checkpoint)

    def remember(self, checkpoint: str, lora: str, *, name: str = "") -> None:
        """From now on `lora` is what `get` returns for this checkpoint. Raises NotRemembered."""
        self._change(checkpoint, {"lora": lora, "checkpoint": name})


class RememberedMethods(_Remembered):
    """The methods of LoRA files that were taken for another's."""

    value = "method"

    def get(self, sha256: str) -> Method | None:
        """The method that was remembered for the file of this SHA-256, or None."""
        return method_named(self.value_of(sha256))

    def sizes(self) -> set[int]:
        """The sizes in bytes of the files of which something is remembered: no other needs its hash."""
        return {entry["size"] for entry in self._entries().values() if isinstance(entry.get("size"), int)}

    def remember(self, sha256: str, method: Method, *, size: int, name: str) -> None:
        """From now on the file of this SHA-256 and size (bytes) counts as one of `method`. Raises
        NotRemembered.
        """
        self._change(sha256, {"method": method.name, "file": name, "size": size})


def _parse(path: Path, value: str) -> _Contents:
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors put a mark in front
        if not isinstance(entries, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        return _Contents({}, error)
    whole = {
        key.lower(): entry
        for key, entry in entries.items()
        if isinstance(entry, dict) and _is_name(entry.get(value))
    }
    return _Contents(whole)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _write(path: Path, text: str) -> None:
    """Writes beside `path` and renames: nobody sees half a file, and a power cut leaves the old one or the
    new one.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(new, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _replace(new, path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    for attempt in range(REPLACE_ATTEMPTS):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if attempt == REPLACE_ATTEMPTS - 1:
                raise
            time.sleep(REPLACE_WAIT)
