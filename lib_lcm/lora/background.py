"""Downloads in the background: each file at most once at a time, whoever asks for it, and how far it is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib_lcm.lora.catalog import PublishedLora
from lib_lcm.lora.download import DownloadError, Progress, download_lora
from lib_lcm.text import Text, sentence_of

IDLE, RUNNING, DONE, FAILED = "idle", "running", "done", "failed"
LOOK_EVERY = 0.1  # seconds between two looks of who follows a download


@dataclass(frozen=True)
class DownloadState:
    """How far one download is: `done` of `total` bytes; `problem` is one sentence where it failed.

    Of a file whose exact size only the server knows, `total` is an estimate until that has answered.
    """

    state: str
    done: int
    total: int
    problem: Text | None = None


class Downloads:
    """Starts downloads, one of each file at a time, and remembers how they went. All methods may be called
    from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[PublishedLora, DownloadState] = {}

    def state(self, lora: PublishedLora) -> DownloadState:
        """How far the download of `lora` is, or how the last one ended."""
        return self._states.get(lora, DownloadState(IDLE, 0, lora.expected_size))

    def start(self, lora: PublishedLora, lora_dir: Path, mirror: str = "") -> None:
        """Begins to download `lora` as `download_lora` does, unless that is under way; returns at once."""
        with self._lock:
            if self.state(lora).state == RUNNING:
                return
            self._states[lora] = DownloadState(RUNNING, 0, lora.expected_size)
        threading.Thread(
            target=self._run, args=(lora, lora_dir, mirror), name=f"download {lora.name}", daemon=True
        ).start()

    def follow(self, lora: PublishedLora, progress: Progress) -> None:
        """Calls `progress(done, total)` in bytes until the download of `lora` has ended. Raises DownloadError
        where it failed.
        """
        while (state := self.state(lora)).state == RUNNING:
            progress(state.done, state.total)
            time.sleep(LOOK_EVERY)
        if state.problem is not None:
            raise DownloadError(state.problem)
        progress(state.done, state.total)

    def _run(self, lora: PublishedLora, lora_dir: Path, mirror: str) -> None:
        try:
            download_lora(
                lora,
                lora_dir,
                mirror=mirror,
                progress=lambda done, total: self._update(lora, done=done, total=total),
            )
        except DownloadError as error:
            self._update(lora, state=FAILED, problem=sentence_of(error))
        except Exception as error:  # a thread has nobody to raise to, and "running" for ever would be a lie
            problem = Text(
                "The download of {lora} failed ({error}): try again.", lora=lora.name, error=repr(error)
            )
            self._update(lora, state=FAILED, problem=problem)
            raise
        else:
            self._update(lora, state=DONE)

    def _update(self, lora: PublishedLora, **changes: Any) -> None:
        self._states[lora] = replace(self._states[lora], **changes)


downloads = Downloads()
"""Those of this process: of page and API together."""
