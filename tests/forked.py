"""What a process of `tests.prepared` does once it is forked. In a file of its own because the program
inherits whatever this imports.
"""

from __future__ import annotations

import atexit
import gc
import os
import runpy
import subprocess
import sys
import threading
from multiprocessing import parent_process, set_start_method
from multiprocessing.connection import Connection


def end_with_the_tests() -> None:
    """Tests that are killed leave nothing running."""
    parent_process().join()
    os._exit(1)


def run(arguments: list[str], folder: str, environment: dict[str, str], output: Connection) -> None:
    """As `python *arguments`, where those begin with -m or -c."""
    gc.freeze()  # so that collecting garbage does not copy what the processes share
    os.setsid()  # a Ctrl-C is for the tests, which then stop what they have started
    threading.Thread(target=end_with_the_tests, daemon=True).start()
    set_start_method(None, force=True)  # multiprocessing's default, which it has changed here
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    sys.stdout.reconfigure(write_through=True)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    kind, program, *rest = arguments
    # Asked of an ordinary process, as multiprocessing has put the tests' own here.
    path = subprocess.check_output(
        [sys.executable, "-c", "import sys; print(*sys.path[1:], sep='\\n')"], text=True
    )
    sys.path[:] = [folder if kind == "-m" else "", *path.splitlines()]
    sys.argv[:] = [kind, *rest]
    del sys.modules["tests"], sys.modules[__name__]  # as the tests find them, not the program
    try:
        if kind == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out
