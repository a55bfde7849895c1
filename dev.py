#!/usr/bin/env python3
"""Development entry point: keeps `.venv` as pyproject.toml wants it, and runs the project's commands inside
it.

    python dev.py demo [--port 7861] [...]  start the workbench, a page with everything the extension does
    python dev.py demo --check [...]        start it, make pictures, say what came out, end
    python dev.py test [pytest arguments]   run the tests; with --all the long ones too
    python dev.py bench [NAME] [...]        run a benchmark, `quality` without a name; `bench list` names them
    python dev.py gpu [--only NAME ...]     what a GPU makes of it all, see benchmarks/gpu
    python dev.py newest [...]              run the tests that need no WebUI on the newest Python found
    python dev.py hosts [NAME ...] [...]    run the live tests on installed WebUIs, see tests/live/hosts.py
    python dev.py setup                     prepare .venv, nothing else

The first call creates `.venv` beside this file (Python 3.10 or 3.11) and installs the pinned packages; later
calls start at once. A `.venv` that is damaged, half made or out of date is repaired. pip's own configuration
(index, proxy, cache) applies. A torch that is already in `.venv` stays, so a build for one's own GPU can be
put there first.

Standard library only. The file has to parse on every Python since 3.7, to be able to say that another one is
needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).absolute().parent

PYTHONS = ((3, 11), (3, 10))  # preferred first; torchvision's and Pillow's pins have no wheels for later ones
NEWER_PYTHONS = ((3, 13), (3, 12))  # newest first; those for which the group `newest` has wheels
PIP = "pip==26.0"  # 25.1 is the first that reads dependency groups
OLDEST_TORCH = (2, 1)  # what the pinned transformers accepts
SCHEME = 1  # to be raised when packages are installed in another way, so that existing environments follow
# in two processes; each starts WebUIs of its own, 6.5 GB in all
WHOLE_SUITE = ("-n", "2", "--dist", "loadfile")
# need what .venv alone has: dev.py's own tests, import-linter, gradio
NOT_ON_THE_NEWEST = ("test_dev", "test_layers", "test_prepared", "test_stepping_aside")
DISK_NEEDED = 3 * 2**30  # bytes; a CPU installation, measured: 2 GB, plus room to unpack

# Packages whose loss is noticed at the next start: import name -> distribution.
KEY_PACKAGES = {
    "diffusers": "diffusers",
    "fastapi": "fastapi",
    "gradio": "gradio",
    "hypothesis": "hypothesis",
    "k_diffusion": "k-diffusion",
    "numpy": "numpy",
    "peft": "peft",
    "PIL": "pillow",
    "pip": "pip",
    "playwright": "playwright",
    "pytest": "pytest",
    "requests": "requests",
    "ruff": "ruff",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "torch": "torch",
    "torchvision": "torchvision",
    "transformers": "transformers",
}

# Runs in the environment: which distributions are whole, and which of the given import names cannot be found.
# Imports none of them.
INSPECT = """
import importlib.util, json, os, sys, sysconfig
packages = {}
for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
    for entry in os.listdir(folder):
        stem, ending = os.path.splitext(entry)
        if ending == ".dist-info" and os.path.isfile(os.path.join(folder, entry, "RECORD")):
            name, _, version = stem.partition("-")
            packages[name.lower().replace("_", "-").replace(".", "-")] = version
specs = {name: importlib.util.find_spec(name) for name in sys.argv[1:]}
missing = [name for name, spec in specs.items() if spec is None or spec.origin is None]
print(json.dumps({"python": sys.version_info[:2], "packages": packages, "missing": missing}))
"""


class SetupError(Exception):
    """Something stands in the way; the message is one sentence for the person at the terminal."""


class PipFailed(SetupError):
    """pip ended with an error that may be the environment's own fault, so that building it anew is worth a
    try.
    """


class Environment:
    """The virtual environment of one checkout.

    `root` is the folder of pyproject.toml, `key_packages` maps import names to the distributions that they
    come from.
    """

    def __init__(self, root, key_packages=None):
        self.root = root
        self.path = root / ".venv"
        self.stamp = self.path / "dev-stamp.json"
        # outside .venv, so that both outlive its replacement: the lock and pip's log
        self.state = root / ".venv.state"
        self.key_packages = KEY_PACKAGES if key_packages is None else key_packages

    @property
    def scripts(self):
        """The folder of the environment's programs."""
        return self.path / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self):
        """The environment's interpreter."""
        return self.scripts / ("python.exe" if os.name == "nt" else "python")

    def variables(self):
        """Environment variables for a process that works inside the environment."""
        variables = dict(os.environ, VIRTUAL_ENV=str(self.path))
        variables["PATH"] = os.pathsep.join([str(self.scripts), os.environ.get("PATH", os.defpath)])
        variables.pop("PYTHONHOME", None)
        return variables

    def wanted(self):
        """A hash of everything that decides what is installed: the pins, pip, and how dev.py goes about
        it.
        """
        try:
            text = (self.root / "pyproject.toml").read_text(encoding="utf-8")
        except OSError as error:
            raise SetupError(
                f"{self.root / 'pyproject.toml'} cannot be read ({error.strerror}): is this a whole checkout?"
            ) from error
        table = re.search(r"^\[dependency-groups\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
        if table is None:
            raise SetupError(
                f"{self.root / 'pyproject.toml'} has no [dependency-groups]: is this a whole checkout?"
            )
        pins = [line.split("#")[0].strip() for line in table.group(1).splitlines()]
        return hashlib.sha256(repr((SCHEME, PIP, [pin for pin in pins if pin])).encode()).hexdigest()

    def inspect(self):
        """What INSPECT says about the environment, or None where its interpreter does not run."""
        if not self.path.is_dir():
            return None
        command = [str(self.python), "-I", "-c", INSPECT, *self.key_packages]
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120, check=True
            )
            return json.loads(done.stdout.decode())
        except (OSError, ValueError, subprocess.SubprocessError):
            return None

    def problem(self):
        """Why the environment cannot be used as it is, or None when it can."""
        if not os.path.lexists(str(self.path)):
            return "there is none yet"
        if not self.path.is_dir():
            return "it is not a folder"
        found = self.inspect()
        if found is None:
            return "its Python does not run"
        if tuple(found["python"]) not in PYTHONS:
            return f"it has Python {dotted(found['python'])}, not {spoken_versions()}"
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
            wanted, python, packages = stamp["wanted"], stamp["python"], stamp["packages"]
        except (OSError, ValueError, KeyError, TypeError):
            return "an installation did not finish"
        if wanted != self.wanted():
            return "the pinned versions have changed"
        if python != found["python"]:
            return "it was made with another Python"
        changed = sorted(name for name, version in packages.items() if found["packages"].get(name) != version)
        changed += [self.key_packages[name] for name in found["missing"]]
        return f"{', '.join(dict.fromkeys(changed))} changed or went missing" if changed else None

    def ensure(self):
        """Makes the environment ready to use, at once when it already is.

        Raises SetupError when that cannot be done.
        """
        self.wanted()  # an incomplete checkout is told so before anything is made
        if self.problem() is None:
            return
        try:
            self.state.mkdir(exist_ok=True)
            with locked(self.state / "lock"):
                problem = self.problem()  # another dev.py may have been at work meanwhile
                if problem is not None:
                    say(f"Preparing .venv: {problem}.")
                    self._prepare()
        except PermissionError as error:
            hint = "close the programs that run from .venv, or change the folder's permissions, and try again"
            raise SetupError(
                f"{error.filename or self.path} cannot be written ({error.strerror}): {hint}."
            ) from error
        except OSError as error:
            raise SetupError(f"{error.filename or self.path} cannot be written: {error.strerror}.") from error

    def _prepare(self):
        found = self.inspect()
        usable = found is not None and tuple(found["python"]) in PYTHONS and "pip" not in found["missing"]
        if usable:
            with contextlib.suppress(FileNotFoundError):
                self.stamp.unlink()  # until everything is in place again
            try:
                self._install()
                return
            except PipFailed as error:
                say(f"{error} Building .venv anew.")
        self._create()
        self._install()

    def _create(self):
        python = find_python(self.path)
        self.remove()
        self._check_disk()
        say(f"Creating .venv with Python {dotted(python.version)}.")
        if install_call([*python.command, "-m", "venv", str(self.path)]) != 0:
            self.remove()
            raise SetupError(
                f"Python {dotted(python.version)} ({python.command[0]}) could not create .venv: see its"
                " message above."
            )

    def remove(self):
        """Deletes the environment, whatever is at its path."""
        if self.path.is_symlink() or self.path.is_file():
            self.path.unlink()
        elif self.path.is_dir():
            # A folder renamed first is gone at once, also when deleting is interrupted or, on Windows, a file
            # in it is in use.
            self.state.mkdir(exist_ok=True)
            old = self.state / f"old-{os.getpid()}-{time.time_ns()}"
            self.path.rename(old)
        for old in self.state.glob("old-*"):
            shutil.rmtree(str(old), ignore_errors=True)

    def _check_disk(self):
        free = shutil.disk_usage(str(self.root)).free
        if free < DISK_NEEDED:
            raise SetupError(
                f".venv needs about {DISK_NEEDED / 2**30:.0f} GB (9 GB where pip picks torch's CUDA build),"
                f" and {self.root} has {free / 2**30:.1f} GB left: free some space and run dev.py again."
            )

    def _install(self):
        packages = self._packages()
        if packages.get("pip") != PIP.split("==")[1]:
            self._pip("pip", PIP)
        torch = packages.get("torch", "")
        keep_torch = version_numbers(torch) >= OLDEST_TORCH
        # pip would otherwise be free to replace a torch that it finds, for the sake of a package that asks
        # for one.
        constraint = self.state / "torch-constraint.txt"
        constraint.write_text(f"torch=={torch}\n" if keep_torch else "", encoding="utf-8")
        if keep_torch:
            say(f"torch {torch} is there and stays.")
            self._pip("packages", "--group", "dev", "--constraint", str(constraint))
        else:
            self._pip("packages, torch among them, which takes a while", "--group", "dev", "--group", "torch")
        self._pip("packages that would ask for another torch", "--no-deps", "--group", "dev-no-deps")

        found = self._inspect_or_fail()
        if found["missing"]:
            # Their files are gone but pip's record says that they are there, so pip has left them alone.
            names = sorted({self.key_packages[name] for name in found["missing"]})
            pins = [f"{name}=={found['packages'][name]}" for name in names if name in found["packages"]]
            self._pip(", ".join(names) + " once more", "--no-deps", "--force-reinstall", *(pins or names))
            found = self._inspect_or_fail()
        if found["missing"]:
            raise PipFailed(f"{', '.join(found['missing'])} cannot be imported after the installation.")

        stamp = {"wanted": self.wanted(), "python": found["python"], "packages": found["packages"]}
        unfinished = self.stamp.with_suffix(".tmp")
        unfinished.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
        os.replace(str(unfinished), str(self.stamp))
        torch = found["packages"].get("torch")
        say(
            f"Installed in .venv: Python {dotted(found['python'])}, torch {torch}, {len(found['packages'])}"
            " packages in all."
        )

    def _packages(self):
        return self._inspect_or_fail()["packages"]

    def _inspect_or_fail(self):
        found = self.inspect()
        if found is None:
            raise PipFailed("The Python in .venv does not run.")
        return found

    def _pip(self, what, *arguments):
        """Runs `pip install` with its progress on the terminal; raises SetupError or PipFailed with what went
        wrong.
        """
        say(f"Installing {what}.")
        log = self.state / "pip.log"
        with contextlib.suppress(FileNotFoundError):
            log.unlink()
        variables = self.variables()
        for name in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"):  # would install somewhere else
            variables.pop(name, None)
        variables["PIP_USER"] = "0"  # the same in pip's configuration file
        # -I: a PYTHONPATH must not make pip believe that a package is installed.
        command = [
            str(self.python),
            "-I",
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--log",
            str(log),
            *arguments,
        ]
        code = install_call(command, cwd=str(self.root), env=variables)
        if code != 0:
            text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
            raise pip_error(text, code)


def pip_error(log, code):
    """The error that says in one sentence why pip ended with `code`, from the text of its log."""

    def mentions(*phrases):
        return any(phrase.lower() in log.lower() for phrase in phrases)

    if mentions("No space left on device", "[Errno 28]", "WinError 112", "not enough space on the disk"):
        return SetupError(
            "The disk is full: free some space (in the temporary folder and pip's cache too) and run dev.py"
            " again."
        )
    if mentions("CERTIFICATE_VERIFY_FAILED"):
        return SetupError(
            "The package index's certificate is not trusted here, as happens behind company proxies: give pip"
            " yours (PIP_CERT) and run dev.py again."
        )
    if mentions(
        "Failed to establish a new connection",
        "NewConnectionError",
        "NameResolutionError",
        "getaddrinfo failed",
        "Name or service not known",
        "Temporary failure in name resolution",
        "Network is unreachable",
        "ProxyError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "Read timed out",
        "Connection aborted",
        "Connection broken",
        "Connection refused",
    ):
        return SetupError(
            "The package index cannot be reached: check the network, or point pip at a mirror or a folder"
            " (PIP_INDEX_URL, PIP_FIND_LINKS), and run dev.py again; it goes on from what pip has cached."
        )
    errors = [line.partition("ERROR: ")[2] for line in log.splitlines() if "ERROR: " in line]
    sentence = (
        "pip could not install the packages:"
        f" {errors[-1].rstrip('.') if errors else f'it ended with {code}'}."
    )
    # What the index does not have will not be there for a new environment either.
    return (SetupError if mentions("No matching distribution", "ResolutionImpossible") else PipFailed)(
        sentence
    )


class Python:
    """An interpreter that can create the environment: the command that starts it, and its version (two
    numbers).
    """

    def __init__(self, command, version):
        self.command = command
        self.version = version


def find_python(venv, candidates=None, versions=PYTHONS):
    """A 64-bit Python of one of `versions` with the venv module, this one by preference; raises SetupError
    where there is none.

    `venv` is about to be replaced, so an interpreter inside it does not count.
    """
    probe = (
        "import sys; print(sys.version_info[0], sys.version_info[1], int(sys.maxsize > 2**32)); import"
        " ensurepip, venv"
    )
    without_venv = None
    for command in python_candidates(venv) if candidates is None else candidates:
        try:
            done = subprocess.run(
                [*command, "-c", probe],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=60,
                check=False,
            )
            major, minor, is_64_bit = (int(word) for word in done.stdout.split())
        except (OSError, ValueError, subprocess.SubprocessError):
            continue  # not there, or a shim for one that is not installed
        if (major, minor) not in versions or not is_64_bit:
            continue
        if done.returncode == 0:
            return Python(command, (major, minor))
        without_venv = without_venv or (major, minor)
    if without_venv:
        version = dotted(without_venv)
        raise SetupError(
            f"Python {version} comes without its venv module here: install it (Debian, Ubuntu:"
            f" python{version}-venv)."
        )
    raise SetupError(
        f"A 64-bit Python {spoken_versions()} is needed; this is {dotted(sys.version_info[:2])}, and neither"
        " is on the PATH: install one of them and run dev.py again."
    )


def newer_pythons():
    """Commands that may start one of NEWER_PYTHONS, newest first: of the PATH and of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for version in NEWER_PYTHONS:
        if os.name == "nt":
            yield ["py", f"-{dotted(version)}"]
        yield [f"python{dotted(version)}"]
        for path in sorted(pyenv.glob(f"versions/{dotted(version)}.*/bin/python")):
            yield [str(path)]


def newest(environment, arguments):
    """Runs the tests of the modules that know no WebUI on the newest Python that is found, in an environment
    of its own; the exit status, 0 where there is no newer Python.
    """
    started = time.monotonic()
    try:
        python = find_python(environment.path, newer_pythons(), NEWER_PYTHONS)
    except SetupError:
        wanted = " or ".join(dotted(version) for version in NEWER_PYTHONS)
        say(f"NOT RUN on a newer Python: no {wanted} is on the PATH or in pyenv.")
        return 0
    newer = Environment(environment.root)
    newer.path = newer.root / ".venv.newest"
    newer.state.mkdir(exist_ok=True)
    stamp, wanted = newer.path / "dev-stamp.txt", f"{dotted(python.version)} {newer.wanted()}"
    with locked(newer.state / "newest-lock"):
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
            newer.remove()
            newer._check_disk()
            say(f"Creating {newer.path.name} with Python {dotted(python.version)}.")
            if install_call([*python.command, "-m", "venv", str(newer.path)]) != 0:
                raise SetupError(f"{python.command[0]} could not create {newer.path.name}: see above.")
            newer._pip("pip", PIP)
            newer._pip("packages, torch among them, which takes a while", "--group", "newest")
            stamp.write_text(wanted, encoding="utf-8")
    say(f"Tests on Python {dotted(python.version)}, ready after {time.monotonic() - started:.0f} s.")
    left_out = [f"--ignore=tests/unit/{name}.py" for name in NOT_ON_THE_NEWEST]
    settings = str(newer.root / "pyproject.toml")
    command = [str(newer.python), "-m", "pytest", "-c", settings, "-n", "2", "--dist", "loadfile"]
    command += ["tests/unit", *left_out, *arguments]
    code, _ = call(command, cwd=str(newer.root), env=newer.variables())
    say(f"Python {dotted(python.version)}: {time.monotonic() - started:.0f} s in all.")
    return code


def python_candidates(venv):
    """Commands that may start a fitting Python, best first."""
    if not is_inside(sys.executable, venv):
        yield [sys.executable]
    else:
        with contextlib.suppress(OSError):  # the Python that this environment was made from
            home = re.search(
                r"^home\s*=\s*(.+?)\s*$", (venv / "pyvenv.cfg").read_text(encoding="utf-8"), re.MULTILINE
            )
            for version in PYTHONS:
                if home:
                    yield [
                        os.path.join(
                            home.group(1), "python.exe" if os.name == "nt" else f"python{dotted(version)}"
                        )
                    ]
    if os.name == "nt":
        for version in PYTHONS:
            yield ["py", f"-{dotted(version)}"]
    for name in [f"python{dotted(version)}" for version in PYTHONS] + ["python3", "python"]:
        path = shutil.which(name)
        if path and not is_inside(path, venv):
            yield [path]


def is_inside(path, folder):
    """Whether `path`, not following a link at its end, lies in `folder`."""
    return os.path.normcase(os.path.abspath(str(path))).startswith(
        os.path.normcase(os.path.abspath(str(folder))) + os.sep
    )


def dotted(version):
    """(3, 11) -> "3.11"."""
    return ".".join(str(number) for number in version)


def spoken_versions():
    """The fitting versions of Python, as words."""
    return " or ".join(dotted(version) for version in sorted(PYTHONS))


def version_numbers(version):
    """ "2.13.0+cpu" -> (2, 13); () where there is no version."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


@contextlib.contextmanager
def locked(path):
    """Holds the file at `path` locked, waiting while another process does. The system gives the lock back
    however that one ends.
    """
    descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        waiting = False
        while not try_lock(descriptor):
            if not waiting:
                say("Another dev.py is preparing .venv: waiting for it.")
                waiting = True
            time.sleep(0.5)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor):
    """Whether the lock on an open file could be taken; True on a file system that knows no locks."""
    if os.name == "nt":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def call(command, **options):
    """Runs a command to its end and returns its exit status, 128 + n where signal n ended it, and the signals
    that came meanwhile.

    Ctrl-C and SIGTERM are left to the command: it ends in its own way, then this returns.
    """
    received = []
    child = subprocess.Popen(command, **options)

    def forward(number, _frame):
        received.append(number)
        # From a terminal, Ctrl-C reaches the child by itself; twice would cut its own shutdown short.
        from_terminal = any(stream and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
        if number == signal.SIGTERM or not from_terminal:
            with contextlib.suppress(OSError):
                if os.name == "nt":
                    child.terminate()
                else:
                    child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return (code if code >= 0 else 128 - code), received


def install_call(command, **options):
    """The exit status of a step of the installation; raises KeyboardInterrupt when it was stopped by a
    signal.
    """
    code, received = call(command, **options)
    if received:
        raise KeyboardInterrupt
    return code


def say(text):
    """Prints progress so that it is in order with what the started programs print."""
    print(text, flush=True)


def module_command(command, arguments, root):
    """The arguments for Python that carry out `command`; raises SetupError where this checkout lacks the
    part.
    """
    if command == "test":
        whole = WHOLE_SUITE if arguments in ([], ["--all"]) else ()
        # told which settings are its own: with `--webui DIR` it would look for them in that folder
        return ["-m", "pytest", "-c", str(root / "pyproject.toml"), *whole, *arguments]
    module = {
        "demo": "workbench",
        "bench": "benchmarks",
        "gpu": "benchmarks.gpu",
        "hosts": "tests.live.hosts",
    }[command]
    file = root.joinpath(*module.split("."), "__main__.py")
    if command == "hosts":
        file = root / "tests" / "live" / "hosts.py"
    if command == "demo" and "--check" in arguments:
        arguments = [argument for argument in arguments if argument != "--check"]
        module, file = "workbench.check", root / "workbench" / "check.py"
    if not file.is_file():
        raise SetupError(
            f"This checkout has no {file.relative_to(root).as_posix()}, which `dev.py {command}` starts."
        )
    return ["-m", module, *arguments]


def main(arguments, environment=None):
    """Carries out the command line and returns the exit status: that of the started program, 1 for a problem,
    2 for wrong usage.
    """
    environment = environment or Environment(ROOT)
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command in ("-h", "--help"):
        print(__doc__)
        return 0
    if command not in ("demo", "test", "bench", "gpu", "newest", "hosts", "setup") or (
        command == "setup" and rest
    ):
        problem = f"there is no command `{' '.join(arguments)}`" if arguments else "a command is needed"
        print(f"dev.py: {problem}.\n\n{__doc__}", file=sys.stderr)
        return 2
    try:
        if command == "newest":
            return newest(environment, rest)
        todo = None if command == "setup" else module_command(command, rest, environment.root)
        environment.ensure()
        if todo is None:
            say(".venv is ready.")
            return 0
        command = [str(environment.python), *todo]
        code, _ = call(command, cwd=str(environment.root), env=environment.variables())
        return code
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dev.py: stopped; the next call goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
