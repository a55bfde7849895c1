"""A WebUI in a process of its own, the workbench above all: started on a free port, waited for, stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from workbench.client import Client

ROOT = Path(__file__).resolve().parent.parent
READY = "Startup time:"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class HostProcess:
    """A WebUI in a process of its own on this machine, served on 127.0.0.1 at `port`. Use as a context
    manager.

    It counts as started once it has printed its line "Startup time:": a real WebUI does not survive requests
    that come earlier. `name` is what errors call it, `environment` are variables for it beside this process's
    own, `timeout` is in seconds. `log` holds the lines that it has printed. Raises RuntimeError, with the end
    of the log, when it does not start.
    """

    _popen = subprocess.Popen  # the tests have a quicker one

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        port: int,
        auth: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 180.0,
    ):
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.client = Client(self.url, auth=auth)
        self.log: list[str] = []
        own = {"PYTHONUNBUFFERED": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
        self._heard = threading.Condition()
        self.process = self._popen(
            list(command),
            cwd=folder,
            env={**os.environ, **own, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.wait_for_start(1, timeout)
        except BaseException:
            self.stop()
            raise

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._heard:
                self.log.append(line)
                self._heard.notify_all()

    def wait_for_start(self, number: int, timeout: float = 180.0) -> None:
        """Until it has said for the `number`th time that it is ready; RuntimeError where it never does."""
        deadline = time.monotonic() + timeout
        while not self._has_started(number, within=0.1):
            status = self.process.poll()
            if status is not None:
                raise RuntimeError(f"{self.name} did not start (exit status {status}). {self.end_of_log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start within {timeout:.0f} s. {self.end_of_log()}")

    def _has_started(self, number: int, within: float) -> bool:
        with self._heard:
            return self._heard.wait_for(lambda: self.starts >= number, within)

    @property
    def starts(self) -> int:
        """How often it has said that it is ready: once more after each "Reload UI"."""
        return sum(READY in line for line in self.log)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def end_of_log(self, lines: int = 40) -> str:
        """The last lines of its log, as a paragraph of an error message."""
        if not self.is_running:
            self._reader.join(5)  # what it printed last may still be in the pipe
        return "Its log ends:\n" + "".join(self.log[-lines:])

    def stop(self) -> None:
        """Ends the process and those that it started; they are gone when this returns."""
        try:
            started = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            started = []
        if self.is_running:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for child in started:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        for child in psutil.wait_procs(started, timeout=10)[1]:
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def __enter__(self) -> HostProcess:
        return self

    def __exit__(self, *exception) -> None:
        self.stop()


class Server(HostProcess):
    """`python -m workbench` with the given arguments, on a free port where none is given; see
    `HostProcess`.
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
        port = free_port() if port is None else port
        command = [sys.executable, "-m", "workbench", "--port", str(port), *arguments]
        if auth:
            command += ["--api-auth", auth]
        environment = {"OMP_NUM_THREADS": "1", **(environment or {})}
        super().__init__(
            "The workbench",
            command,
            folder=ROOT,
            port=port,
            auth=auth,
            environment=environment,
            timeout=timeout,
        )
