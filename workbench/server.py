"""A workbench in a process of its own: started on a free port, waited for, stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.client import Client

ROOT = Path(__file__).resolve().parent.parent
READY = "Startup time:"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """`python -m workbench` with the given arguments. Use as a context manager.

    `environment` are variables for it beside this process's own. `log` holds the lines that it has printed.
    Raises RuntimeError, with the end of the log, when it does not start.
    """

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        port: int | None = None,
        auth: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 180.0,
    ):
        self.port = free_port() if port is None else port
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = Client(self.url, auth=auth)
        self.log: list[str] = []
        command = [sys.executable, "-m", "workbench", "--port", str(self.port), *arguments]
        if auth:
            command += ["--api-auth", auth]
        own = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
        self._ready = threading.Event()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **own, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        threading.Thread(target=self._read, daemon=True).start()
        deadline = time.monotonic() + timeout
        while not self._ready.wait(0.1):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("The workbench did not start. Its log ends:\n" + "".join(self.log[-40:]))

    def _read(self) -> None:
        for line in self.process.stdout:
            self.log.append(line)
            if READY in line:
                self._ready.set()

    def stop(self) -> None:
        """Ends the process; it is gone when this returns."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception) -> None:
        self.stop()
