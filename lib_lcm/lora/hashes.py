"""SHA-256 of files, each computed once, one after another, in the background."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path


class FileHashes:
    """Asks `sha256_of` (path -> hex digits or None) once for each version of a file, as size (bytes) and time
    of change tell them apart. All methods may be called from any thread.
    """

    def __init__(self, sha256_of: Callable[[Path], str | None] | None = None):
        self._sha256_of = sha256_of or sha256_of_file
        self._lock = threading.Lock()
        self._futures: dict[tuple[Path, int, int], Future[str | None]] = {}
        self._queue: deque[tuple[Path, Future[str | None]]] = deque()
        self._is_working = False

    def request(self, path: Path, size: int, mtime_ns: int) -> Future[str | None]:
        """The hash, at once or in a while. It is computed again where an earlier attempt failed."""
        with self._lock:
            future = self._futures.get((path, size, mtime_ns))
            if future is None or (future.done() and future.exception() is not None):
                future = self._futures[path, size, mtime_ns] = Future()
                self._queue.append((path, future))
                if not self._is_working:
                    self._is_working = True
                    # a daemon: nobody waits for a hash while the WebUI shuts down
                    threading.Thread(target=self._work, name="hashes of LCM-LoRAs", daemon=True).start()
            return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._is_working = False
                    return
                path, future = self._queue.popleft()
            try:
                future.set_result(self._sha256_of(path))
            except Exception as error:
                # vanished, unreadable just now, a host's cache that is locked: whoever asks again tries again
                future.set_exception(error)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's content, as hex digits. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
