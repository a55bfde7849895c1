"""The live suite on several installed WebUIs, one after the other, each run recorded in docs/hosts.json.

    python dev.py hosts [NAME ...] [--list FILE] [--minutes N] [--files FILE ...]

FILE (hosts.json beside this repository's folder) says where they are: {"A1111 1.10.1": {"folder": DIR,
"commit": "82a973c0", "python": FILE, "models": DIR, "args": "--use-cpu all", "name": "a1111-1.10"}, ...}.
Only "folder" is needed; the others are the options of the tests of that name.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT.parent / "hosts.json"
KEYS = ("folder", "commit", "python", "models", "args", "name")


class ListProblem(Exception):
    """The list of WebUIs cannot be used as it is; the message is one sentence that says what to do."""


def read(file: Path) -> dict[str, dict[str, str]]:
    """The WebUIs by name. Raises ListProblem."""
    try:
        hosts = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ListProblem(
            f"{file} cannot be read ({error.strerror}): --list names the file that says where WebUIs are."
        ) from error
    except ValueError as error:
        raise ListProblem(f"{file} is no JSON ({error}): correct it.") from error
    if not isinstance(hosts, dict) or not all(isinstance(host, dict) for host in hosts.values()):
        raise ListProblem(f'{file} has to hold {{"A1111 1.10.1": {{"folder": ...}}, ...}}: correct it.')
    for name, host in hosts.items():
        unknown = [key for key in host if key not in KEYS]
        if "folder" not in host or unknown:
            raise ListProblem(
                f'{name} in {file} has {", ".join(unknown) or "no folder"}: "folder" is needed, and'
                f" {', '.join(KEYS[1:])} can be there."
            )
    return hosts


def arguments_of(
    name: str, host: Mapping[str, str], files: Sequence[str], minutes: float | None
) -> list[str]:
    """What pytest is given for one WebUI."""
    commit = f"@{host['commit']}" if "commit" in host else ""
    options = {"webui": host["folder"], "record": name + commit}
    options |= {f"webui-{key}": host[key] for key in ("python", "models", "args", "name") if key in host}
    if minutes is not None:
        options["minutes"] = f"{minutes:g}"
    return [*files, *(f"--{option}={value}" for option, value in options.items())]


def main(arguments: list[str] | None = None) -> int:
    """Runs them; the exit status is that of the worst run."""
    parser = argparse.ArgumentParser(prog="python dev.py hosts", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the list; default: all")
    parser.add_argument("--list", type=Path, default=LIST, help=f"default: {LIST.name} beside this folder")
    parser.add_argument(
        "--minutes", type=float, help="for each WebUI; a run that takes longer is not recorded"
    )
    parser.add_argument("--files", nargs="+", default=["tests/live"], help="default: all of tests/live")
    options = parser.parse_args(arguments)
    try:
        hosts = read(options.list)
    except ListProblem as problem:
        parser.error(str(problem))
    unknown = [name for name in options.names if name not in hosts]
    if unknown:
        parser.error(f"{options.list} has no {', '.join(unknown)}, but {', '.join(hosts)}.")
    worst = 0
    for name in options.names or hosts:
        print(f"== {name}", flush=True)
        given = arguments_of(name, hosts[name], options.files, options.minutes)
        command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), *given]
        worst = max(worst, subprocess.run(command, cwd=ROOT, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
