"""Programs in a Python that has imported the libraries already: five seconds less for each start.

`run` and `Server` fork them from multiprocessing's fork server, which has imported torch, gradio and the
like, but nothing of this repository; see tests/forked.py. Forking is safe on Linux alone: elsewhere they are
ordinary processes.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from subprocess import DEVNULL, PIPE, STDOUT

import workbench.server
from tests import forked

LIBRARIES = ["gradio", "diffusers.models.unets.unet_2d_condition", "torchsde", "torchdiffeq"]
"""With what they import in turn, nearly all that takes a workbench its time."""


def context():
    """multiprocessing's, for processes that need these libraries."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(LIBRARIES)
    return forking


class Program:
    """A forked program without input, its output and errors in one stream. It has the part of
    `subprocess.Popen` that is needed here.

    Variables that Python reads when it starts have no effect, except PYTHONPATH.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd=None,
        env=None,
        encoding: str,
        errors: str,
        stdin,
        stdout,
        stderr,
        text=True,
    ):
        assert text and (stdin, stdout, stderr) == (DEVNULL, PIPE, STDOUT)
        ours, theirs = context().Pipe(duplex=False)
        arguments = (
            list(command[1:]),
            str(cwd or os.getcwd()),
            dict(os.environ if env is None else env),
            theirs,
        )
        self._process = context().Process(target=forked.run, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self.stdout = open(os.dup(ours.fileno()), encoding=encoding, errors=errors)
        self.pid, self.terminate, self.kill = self._process.pid, self._process.terminate, self._process.kill

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("a forked program", timeout)
        return self.poll()


popen = Program if sys.platform == "linux" else subprocess.Popen


def run(*arguments: str, cwd=None, env=None) -> tuple[int, str]:
    """`python *arguments`, which begin with -m or -c: its exit status and all that it has printed."""
    text = {"encoding": "utf-8", "errors": "replace"}
    process = popen(
        [sys.executable, *arguments], cwd=cwd, env=env, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, **text
    )
    with process.stdout:
        printed = process.stdout.read()
    return process.wait(), printed


class Server(workbench.server.Server):
    """A workbench that starts in a second."""

    _popen = staticmethod(popen)
