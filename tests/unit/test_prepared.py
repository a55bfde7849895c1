"""A program starts and ends in a prepared Python as in any other; see tests/prepared.py."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import prepared

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there it is an ordinary process")

SAY_ALL = """
import atexit, multiprocessing, os, signal, sys
print(__name__, sys.argv, sys.path, os.getcwd(), sorted(os.environ), os.environ["WORD"], sys.stdin.read())
print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), multiprocessing.get_start_method())
atexit.register(print, "at the end")
"""


@pytest.mark.parametrize(
    "ending,status",
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('a reason')", 1),
        ("assert not 'all is well'", 1),
        ("sys.stdout.flush(); os.kill(os.getpid(), signal.SIGTERM)", -15),
    ],
)
@pytest.mark.parametrize("kind", ["-c", "-m"])
def test_a_program_finds_the_same_and_ends_in_the_same_way(tmp_path, kind, ending, status):
    code = SAY_ALL + ending
    (tmp_path / "program.py").write_text(code, encoding="utf-8")
    arguments = [kind, {"-c": code, "-m": "program"}[kind], "an argument"]
    where = {"cwd": tmp_path, "env": {**os.environ, "WORD": "\u00e4", "PYTHONPATH": str(tmp_path / "more")}}
    ordinary = subprocess.run(
        [sys.executable, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, **where
    )
    ended, printed = prepared.run(*arguments, **where)
    assert ended == ordinary.returncode == status
    assert printed.startswith(ordinary.stdout)
    assert printed.splitlines()[-1] == (ordinary.stdout + ordinary.stderr).splitlines()[-1]


def test_libraries_were_imported_beforehand_and_nothing_of_this_repository():
    _, printed = prepared.run("-c", "import sys; print(*sys.modules)")
    packages = {name.partition(".")[0] for name in printed.split()}
    assert {name.partition(".")[0] for name in prepared.LIBRARIES} <= packages
    assert packages.isdisjoint({"lib_lcm", "workbench", "tests", "benchmarks", "modules", "networks"})
