"""Programs in a Python that has imported the libraries already: five seconds less for each start.

`popen` and `run` take a command that begins with this Python, as `subprocess` does; `Server` is a workbench
started so. The process is forked from one that has imported torch, gradio and the like, but nothing of this
repository; see tests/template.py. Where that is not safe, which is anywhere but on Linux, and for environment
variables that Python reads while it starts, it is an ordinary process.
"""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import workbench.server

TEMPLATE = Path(__file__).with_name("template.py")
UNDERSTOOD = {"PYTHONPATH", "PYTHONUNBUFFERED"}
"""Of the variables that Python reads while it starts, those that mean the same to a forked one."""
_one_request_at_a_time = threading.Lock()


def popen(command: Sequence[str], *, env: Mapping[str, str] | None = None, text: bool = True, **options):
    """As `subprocess.Popen`, for text."""
    assert text
    python, *arguments = command
    assert python == sys.executable
    env = dict(os.environ if env is None else env)
    differing = {name for name, _ in env.items() ^ os.environ.items() if name.startswith("PYTHON")}
    if sys.platform == "linux" and differing <= UNDERSTOOD:
        return Program(arguments, env, **options)
    return subprocess.Popen(command, env=env, text=True, **options)


def run(command: Sequence[str], *, timeout: float | None = None, **options) -> subprocess.CompletedProcess:
    """As `subprocess.run`, for text, with its output captured."""
    file = functools.partial(tempfile.TemporaryFile, "w+", encoding="utf-8")
    with file() as output, file() as errors:
        process = popen(command, stdin=DEVNULL, stdout=output, stderr=errors, **options)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, output.read(), errors.read())


class Program:
    """A forked program. What it has of `subprocess.Popen` means the same."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        *,
        cwd=None,
        stdin=0,
        stdout=1,
        stderr=2,
        encoding: str = "utf-8",
        errors: str = "strict",
    ):
        self.returncode: int | None = None
        text = {"encoding": encoding, "errors": errors}
        self.stdin, their_stdin = _ends(stdin, "w", text)
        self.stdout, their_stdout = _ends(stdout, "r", text)
        if stderr == STDOUT:
            self.stderr, their_stderr = None, os.dup(their_stdout)
        else:
            self.stderr, their_stderr = _ends(stderr, "r", text)
        report, their_report = os.pipe()
        self._report = open(report, "rb", buffering=0)
        request = {"arguments": arguments, "folder": os.path.abspath(cwd or "."), "environment": environment}
        files = [their_stdin, their_stdout, their_stderr, their_report]
        with _one_request_at_a_time:
            socket.send_fds(_template(), [json.dumps(request).encode()], files)
        for file in files:
            os.close(file)
        self.pid = int(self._report.readline())

    def poll(self) -> int | None:
        has_ended = self.returncode is not None or select.select([self._report], [], [], 0)[0]
        return self.wait() if has_ended else None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked program", timeout)
            self.returncode = int(self._report.readline())
        return self.returncode

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exception) -> None:
        if self.stdin:
            self.stdin.close()
        self.wait()
        for file in filter(None, (self.stdout, self.stderr)):
            file.close()


def _ends(wanted, mode: str, text: dict[str, str]):
    """This process's end of a stream, as a text file or None, and the number of the program's end."""
    if wanted == PIPE:
        reading, writing = os.pipe()
        ours, theirs = (reading, writing) if mode == "r" else (writing, reading)
        return open(ours, mode, **text), theirs
    if wanted == DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    return None, os.dup(wanted if isinstance(wanted, int) else wanted.fileno())


@functools.cache
def _template() -> socket.socket:
    """The socket of this process's template, which ends when that is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-u", str(TEMPLATE), str(theirs.fileno())],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            pass_fds=[theirs.fileno()],
            stdin=DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the tests, which then stop what they have started
        )
    return ours


class Server(workbench.server.Server):
    """A workbench that starts in a second."""

    _popen = staticmethod(popen)
