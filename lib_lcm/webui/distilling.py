"""The making of a checkpoint's own LCM-LoRA: the command `python -m lib_lcm.distill` in a process of its own,
one at a time in the whole WebUI, which draws nothing meanwhile.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from lib_lcm.text import Text
from lib_lcm.webui.host import generations, models, server

EXTENSION = Path(__file__).absolute().parents[2]
WAITING, RUNNING, DONE, STOPPED, FAILED = "waiting", "running", "done", "stopped", "failed"
LAST_LINES = 5
"""Of what a command printed that ended without a sentence."""


class Run:
    """One making of a LoRA. `said` are the command's sentences, `progress` what it does, how much of that is
    done and how much there is, `problem` why it failed.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.state = WAITING
        self.said: list[str] = []
        self.progress: tuple[str, int, int] | None = None
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._printed: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def is_over(self) -> bool:
        return self.state in (DONE, STOPPED, FAILED)

    @property
    def picture(self) -> Path:
        """Where what the LoRA draws is to be seen, as soon as it draws something."""
        if self.state == DONE:
            return self.output.with_suffix(".png")
        return self.output.with_suffix(".unfinished") / "preview.png"

    def stop(self) -> None:
        """Ends it, or keeps it from beginning."""
        with self._lock:
            if not self.is_over:
                self.state = STOPPED
                if self._process is not None:
                    self._process.terminate()

    def make(self, checkpoint: Path, prompts: str, options: Sequence[str]) -> None:
        """Runs the command in the WebUI's queue, with its models off the device; returns when it is over."""
        try:
            with generations.queue(), tempfile.TemporaryDirectory() as folder:
                if self.is_over:
                    return
                arguments = [str(checkpoint), "--output", str(self.output), *options, "--lines"]
                arguments += ["--webui", str(server.program_folder())]
                if prompts.strip():
                    file = Path(folder) / "prompts.txt"
                    file.write_text(prompts, encoding="utf-8")
                    arguments += ["--prompts", str(file)]
                with models.off_device() as device:
                    self._follow([sys.executable, "-m", models.distiller(), *arguments, "--device", device])
        except Exception as error:  # a thread has nobody to raise to
            self.problem = Text("The distillation failed ({error}): try again.", error=repr(error))
            self.state = FAILED
            raise

    def _follow(self, command: Sequence[str]) -> None:
        with self._lock:
            if self.is_over:
                return
            # what it prints ends it, too, when this process is gone and nobody reads it any more
            self._process = subprocess.Popen(
                command, cwd=EXTENSION, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
            )  # fmt: skip
            self.state = RUNNING
        with self._process as process:
            for line in process.stdout:
                self._hear(line)
        with self._lock:
            if process.returncode == 0:
                self.state = DONE
            elif self.state != STOPPED:
                self.problem = self.problem or Text(
                    "The distillation ended with exit status {status} and without a sentence; its last lines:"
                    " {lines}",
                    status=process.returncode,
                    lines=" / ".join(self._printed) or "-",
                )
                self.state = FAILED

    def _hear(self, line: str) -> None:
        """A line of `lib_lcm.distill.__main__.Lines`, or anything else that a library prints."""
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            if line.strip():
                self._printed.append(line.strip())
        elif "say" in told:
            self.said.append(told["say"])
        elif "progress" in told:
            self.progress = tuple(told["progress"])
        else:
            self.problem = told.get("problem")


class Runs:
    """`last` is the run that goes on, or the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.last: Run | None = None

    @property
    def current(self) -> Run | None:
        """The run that goes on."""
        return None if self.last is None or self.last.is_over else self.last

    def start(self, checkpoint: Path, output: Path, prompts: str, options: Sequence[str]) -> None:
        """Begins to make the LoRA `output`, unless one is being made; returns at once. `prompts` are one a
        line, none for the built-in list; `options` are more arguments of the command.
        """
        with self._lock:
            if self.current is not None:
                return
            self.last = Run(output)
            threading.Thread(
                target=self.last.make, args=(checkpoint, prompts, options), name=f"make {output.stem}",
                daemon=True
            ).start()  # fmt: skip

    def stop(self) -> None:
        """Ends the run that goes on."""
        if self.last is not None:
            self.last.stop()


runs = Runs()
"""Those of this process: of all its pages."""
atexit.register(runs.stop)
