"""A prepared Python runs a program as any other does; see tests/prepared.py."""

from __future__ import annotations

import os
import subprocess
import sys
from subprocess import DEVNULL, PIPE

import pytest

from tests import prepared

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is an ordinary process")
SAY_ALL = """
import os, sys
print(__name__, sys.argv, sys.path[:2], os.getcwd(), os.environ['WORD'], sys.stdin.read())
"""


@pytest.mark.parametrize(
    "kind,ending,status",
    [
        ("-c", "", 0),
        ("-m", "", 0),
        ("a file", "", 0),
        ("-c", "sys.exit(3)", 3),
        ("-m", "assert not 'all is well'", 1),
        ("-c", "import atexit; atexit.register(print, 'at the end')", 0),
        ("-c", "sys.stdout.flush(); os.kill(os.getpid(), 9)", -9),
    ],
)
def test_a_program_finds_the_same_and_ends_in_the_same_way(tmp_path, kind, ending, status):
    code = SAY_ALL + ending
    (tmp_path / "program.py").write_text(code, encoding="utf-8")
    program = {"-c": ["-c", code], "-m": ["-m", "program"], "a file": [str(tmp_path / "program.py")]}[kind]
    command = [sys.executable, *program, "an argument"]
    where = {"cwd": tmp_path, "env": {**os.environ, "WORD": "\u00e4", "PYTHONPATH": str(tmp_path / "more")}}
    forked = prepared.run(command, **where)
    ordinary = subprocess.run(command, stdin=DEVNULL, capture_output=True, text=True, **where)
    assert (forked.returncode, forked.stdout) == (ordinary.returncode, ordinary.stdout)
    assert forked.returncode == status
    assert forked.stderr.splitlines()[-1:] == ordinary.stderr.splitlines()[-1:]


def test_nothing_of_this_repository_was_imported_beforehand():
    modules = prepared.run([sys.executable, "-c", "import sys; print(*sys.modules)"]).stdout.split()
    packages = {name.partition(".")[0] for name in modules}
    assert {"torch", "gradio"} <= packages
    assert packages & {"lib_lcm", "workbench", "tests", "benchmarks", "modules", "networks"} == set()


def test_its_streams_can_be_used_while_it_runs_and_it_can_be_ended():
    code = "import sys\nfor line in sys.stdin: print(line.upper(), end='')"
    with prepared.popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE) as process:
        process.stdin.write("one\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ONE\n" and process.poll() is None
    assert process.returncode == process.poll() == 0
    waiting = prepared.popen([sys.executable, "-c", "input()"], stdin=PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.01)
    waiting.terminate()
    assert waiting.wait() == -15


def test_a_variable_that_python_reads_as_it_starts_is_heeded():
    told = {**os.environ, "PYTHONIOENCODING": "ascii:replace"}
    assert prepared.run([sys.executable, "-c", "print('\u00e4')"], env=told).stdout == "?\n"
