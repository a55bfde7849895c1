"""Downloads of official LCM-LoRAs in the background, one per family, and how far they are."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from lib_lcm.families import Family
from lib_lcm.lora.catalog import OfficialLora
from lib_lcm.lora.download import DownloadError, download_lora

IDLE, RUNNING, DONE, FAILED = "idle", "running", "done", "failed"


@dataclass(frozen=True)
class DownloadState:
    """How far one download is: `done` of `total` bytes; `problem` is one sentence where it failed."""

    state: str
    done: int
    total: int
    problem: str | None = None


class Downloads:
    """Starts downloads and remembers how they went. All methods may be called from any thread."""

    def __init__(self, download=download_lora):
        self._download = download
        self._lock = threading.Lock()
        self._states: dict[Family, DownloadState] = {}

    def state(self, lora: OfficialLora) -> DownloadState:
        with self._lock:
            return self._states.get(lora.family, DownloadState(IDLE, 0, lora.size))

    def start(self, lora: OfficialLora, lora_dir: Path, mirror: str = "") -> DownloadState:
        """Begins to get `lora` in a thread of its own, unless it is being got already; returns at once."""
        with self._lock:
            state = self._states.get(lora.family)
            if state is not None and state.state == RUNNING:
                return state
            state = self._states[lora.family] = DownloadState(RUNNING, 0, lora.size)
        threading.Thread(
            target=self._run, args=(lora, lora_dir, mirror), name=f"download {lora.name}", daemon=True
        ).start()
        return state

    def _run(self, lora: OfficialLora, lora_dir: Path, mirror: str) -> None:
        try:
            self._download(
                lora, lora_dir, mirror=mirror, progress=lambda done, total: self._update(lora, done=done)
            )
        except DownloadError as error:
            self._update(lora, state=FAILED, problem=str(error))
        except Exception as error:  # a thread has nobody to raise to, and "running" for ever would be a lie
            self._update(
                lora,
                state=FAILED,
                problem=f"The download of {lora.name} failed: {type(error).__name__}: {error}.",
            )
            raise
        else:
            self._update(lora, state=DONE, done=lora.size)

    def _update(self, lora: OfficialLora, **changes) -> None:
        with self._lock:
            self._states[lora.family] = replace(self._states[lora.family], **changes)
