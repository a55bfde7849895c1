"""dev.py with real virtual environments and a real pip; the packages are tiny wheels made here, so nothing is
downloaded.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import dev

REPOSITORY = Path(dev.__file__).parent
KEY_PACKAGES = {"pip": "pip", "torch": "torch", "wants_torch": "wants-torch", "alone": "alone"}
PYPROJECT = """
[dependency-groups]
torch = ["torch==2.13.0"]
dev = ["wants-torch==1.0"]
newest = ["pytest==1.0"]
dev-no-deps = ["alone==1.0"]

[tool.other]
"""
posix_signals = pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")


def write_wheel(
    folder: Path, name: str, version: str, files: dict[str, bytes], requires: tuple[str, ...] = ()
) -> None:
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {one}\n" for one in requires
    )
    files = files | {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)


def running_pip() -> tuple[str, dict[str, bytes]]:
    """The version and the files of the pip that runs these tests."""
    pip = importlib.metadata.distribution("pip")
    paths = [path for path in pip.files or () if path.parts[0] == "pip" and path.suffix != ".pyc"]
    return pip.version, {path.as_posix(): Path(path.locate()).read_bytes() for path in paths}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip installs from. Its newest torch must never be chosen, though two packages would like
    to have it.
    """
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("2.13.0", "2.5.0", "99.0"):
        write_wheel(folder, "torch", version, {"torch/__init__.py": b""})
    write_wheel(folder, "wants-torch", "1.0", {"wants_torch/__init__.py": b""}, ("torch",))
    write_wheel(folder, "alone", "1.0", {"alone/__init__.py": b""}, ("torch>=99",))
    main = b"import sys; print(sys.prefix, sys.argv[1:]); sys.exit(7)"
    write_wheel(folder, "pytest", "1.0", {"pytest/__init__.py": b"", "pytest/__main__.py": main})
    version, files = running_pip()
    write_wheel(folder, "pip", version, files)
    return folder


@pytest.fixture(scope="module")
def variables(index: Path) -> dict[str, str]:
    """The environment of a shell in which pip knows that folder and nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return kept | {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHONUNBUFFERED": "1",
    }


def command(root: Path, *arguments: str) -> list[str]:
    """The command line that runs dev.py's main for the project at `root`; to it, this Python is a newer
    one.
    """
    driver = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import dev; from pathlib import Path; "
        f"dev.PIP = 'pip=={importlib.metadata.version('pip')}'; "
        f"dev.NEWER_PYTHONS = ({tuple(sys.version_info[:2])},); "
        f"dev.newer_pythons = lambda: [[{sys.executable!r}]]; "
        f"sys.exit(dev.main(sys.argv[1:], dev.Environment(Path({str(root)!r}), {KEY_PACKAGES!r})))"
    )
    return [sys.executable, "-c", driver, *arguments]


def run_dev(root: Path, variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(root, *arguments),
        env=variables,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> tuple[Path, list[str]]:
    """A project whose .venv two dev.py made at the same time out of a ruin, and what they printed. Not to be
    changed: see `project`.
    """
    root = tmp_path_factory.mktemp("a project") / "root"
    root.mkdir()
    (root / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    ruin = dev.Environment(root)
    ruin.scripts.mkdir(parents=True)
    ruin.python.write_text("not a Python")
    assert ruin.problem() == "its Python does not run"
    both = [
        subprocess.Popen(
            command(root, "setup"), env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(outputs)
    return root, outputs


@pytest.fixture
def project(made: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of the project with its .venv, to be damaged."""
    root = tmp_path / "copy"
    shutil.copytree(made[0], root, symlinks=True)
    return root


@pytest.fixture
def environment(project: Path) -> dev.Environment:
    return dev.Environment(project, KEY_PACKAGES)


def site_packages(environment: dev.Environment) -> Path:
    return next(environment.path.rglob("site-packages"))


def test_newest_has_an_environment_of_its_own_which_is_kept(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    first, second = (run_dev(tmp_path, variables, "newest", "-x") for _ in range(2))
    assert first.returncode == second.returncode == 7, first.stdout
    for done in (first, second):
        assert f"{tmp_path / '.venv.newest'} ['-c', " in done.stdout and "'-x']" in done.stdout
        assert "'tests/unit', '--ignore=tests/unit/test_dev.py', " in done.stdout
    assert "Creating .venv.newest" in first.stdout and "Creating" not in second.stdout
    assert not (tmp_path / ".venv").exists()


def test_without_a_newer_python_newest_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "newer_pythons", lambda: [[str(tmp_path / "none")], [sys.executable]])
    monkeypatch.setattr(dev, "NEWER_PYTHONS", ((3, 99),))
    assert dev.main(["newest"], dev.Environment(tmp_path)) == 0
    assert "NOT RUN on a newer Python: no 3.99 is on the PATH or in pyenv." in capsys.readouterr().out


def test_newer_pythons_are_looked_for_in_pyenv_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "versions" / "3.13.7" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.touch()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    commands = list(dev.newer_pythons())
    assert commands.index(["python3.13"]) < commands.index([str(program)]) < commands.index(["python3.12"])


def test_what_newest_leaves_out_is_there() -> None:
    assert all((REPOSITORY / "tests" / "unit" / f"{name}.py").is_file() for name in dev.NOT_ON_THE_NEWEST)


# -- making it


def test_two_at_once_make_one_environment(made: tuple[Path, list[str]]) -> None:
    root, outputs = made
    assert sum("Creating .venv" in output for output in outputs) == 1, "both of them made it"
    assert dev.Environment(root, KEY_PACKAGES).problem() is None
    assert not list(root.rglob("old-*")), "the ruin is still there"


def test_packages_are_the_pinned_ones_and_torch_is_not_the_newest(made: tuple[Path, list[str]]) -> None:
    found = dev.Environment(made[0], KEY_PACKAGES).inspect()
    assert found is not None
    packages = {name: version for name, version in found["packages"].items() if name != "setuptools"}
    assert packages == {
        "torch": "2.13.0",
        "wants-torch": "1.0",
        "alone": "1.0",
        "pip": importlib.metadata.version("pip"),
    }


def test_next_start_installs_nothing_and_is_quick(
    made: tuple[Path, list[str]], variables: dict[str, str]
) -> None:
    began = time.monotonic()
    done = run_dev(made[0], variables, "setup")
    assert (done.returncode, done.stdout) == (0, ".venv is ready.\n")
    assert time.monotonic() - began < 15


def test_torch_of_ones_own_stays(
    project: Path, environment: dev.Environment, variables: dict[str, str]
) -> None:
    pip = [str(environment.python), "-m", "pip", "install", "-q", "torch==2.5.0"]
    subprocess.run(pip, env=variables, check=True)
    assert environment.problem() == "torch changed or went missing"
    done = run_dev(project, variables, "setup")
    assert done.returncode == 0 and "torch 2.5.0 is there and stays" in done.stdout, done.stdout
    found = environment.inspect()
    assert found is not None and found["packages"]["torch"] == "2.5.0"
    assert environment.problem() is None


# -- what is wrong with it


def test_problem_is_named(environment: dev.Environment) -> None:
    assert environment.problem() is None
    (site_packages(environment) / "alone" / "__init__.py").unlink()
    assert environment.problem() == "alone changed or went missing"
    shutil.rmtree(site_packages(environment) / "wants_torch-1.0.dist-info")
    assert environment.problem() == "wants-torch, alone changed or went missing"
    pins = environment.root / "pyproject.toml"
    pins.write_text(PYPROJECT.replace('"wants-torch==1.0"', '"wants-torch==1.1"'), encoding="utf-8")
    assert environment.problem() == "the pinned versions have changed"
    environment.stamp.write_text("{", encoding="utf-8")
    assert environment.problem() == "an installation did not finish"
    environment.python.unlink()
    assert environment.problem() == "its Python does not run"
    shutil.rmtree(environment.path)
    assert environment.problem() == "there is none yet"
    environment.path.write_text("a file")
    assert environment.problem() == "it is not a folder"


def test_other_python_version_is_a_problem(
    environment: dev.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "PYTHONS", ((2, 7),))
    assert environment.problem() == f"it has Python {sys.version_info[0]}.{sys.version_info[1]}, not 2.7"


def test_only_the_pins_decide_what_is_wanted(
    environment: dev.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins, before = environment.root / "pyproject.toml", environment.wanted()
    pins.write_text(
        PYPROJECT.replace("[tool.other]", "[tool.else]").replace("dev = ", "# why\ndev = "), encoding="utf-8"
    )
    assert environment.wanted() == before
    pins.write_text(PYPROJECT.replace("alone==1.0", "alone==1.1"), encoding="utf-8")
    assert environment.wanted() != before
    pins.write_text(PYPROJECT, encoding="utf-8")
    monkeypatch.setattr(dev, "SCHEME", dev.SCHEME + 1)
    assert environment.wanted() != before


def test_checkout_without_pins_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["setup"], dev.Environment(tmp_path)) == 1
    assert "dev.py: " in capsys.readouterr().err


# -- repairing it


def test_package_without_its_files_comes_back_in_place(
    project: Path, environment: dev.Environment, variables: dict[str, str]
) -> None:
    shutil.rmtree(site_packages(environment) / "alone")  # pip still believes that it is there
    (site_packages(environment) / "mine.py").write_text("")
    done = run_dev(project, variables, "setup")
    assert done.returncode == 0 and "Preparing .venv: alone changed or went missing." in done.stdout, (
        done.stdout
    )
    assert environment.problem() is None
    assert (site_packages(environment) / "mine.py").exists(), ".venv was built anew without need"


def test_broken_environment_is_removed_whatever_it_is(environment: dev.Environment, tmp_path: Path) -> None:
    environment.remove()
    assert not environment.path.exists() and not list(environment.state.glob("old-*"))
    environment.path.write_text("a file")
    environment.remove()
    assert not environment.path.exists()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("")
    with contextlib.suppress(OSError):  # Windows asks for a privilege
        environment.path.symlink_to(elsewhere, target_is_directory=True)
        environment.remove()
        assert not environment.path.is_symlink() and (elsewhere / "kept").exists()
    environment.remove()  # nothing there: nothing to do


def test_index_out_of_reach_leaves_the_environment_for_later(
    project: Path, environment: dev.Environment, variables: dict[str, str]
) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT.replace("alone==1.0", "alone==1.1"), encoding="utf-8")
    offline = {
        name: value for name, value in variables.items() if name not in ("PIP_NO_INDEX", "PIP_FIND_LINKS")
    }
    offline |= {
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_RETRIES": "0",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    done = run_dev(project, offline, "setup")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(
        "dev.py: The package index cannot be reached: check the network"
    )
    assert environment.inspect() is not None and environment.problem() == "an installation did not finish"


def test_too_small_a_disk_is_noticed_before_anything_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    monkeypatch.setattr(dev, "DISK_NEEDED", 1 << 60)
    with pytest.raises(dev.SetupError, match="free some space"):
        dev.Environment(tmp_path, KEY_PACKAGES).ensure()
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("log", "kind", "says"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            dev.SetupError,
            "disk is full",
        ),
        (
            "NewConnectionError('...')\nERROR: No matching distribution found for torch==2.13.0",
            dev.SetupError,
            "cannot be reached",
        ),
        (
            "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...'))",
            dev.SetupError,
            "certificate",
        ),
        (
            "ERROR: No matching distribution found for torch==2.13.0",
            dev.SetupError,
            "No matching distribution found for torch==2.13.0.",
        ),
        ("ERROR: Cannot uninstall x, RECORD file not found.", dev.PipFailed, "RECORD file not found."),
        ("", dev.PipFailed, "ended with 2."),
    ],
)
def test_failure_of_pip_is_put_in_one_sentence(log: str, kind: type, says: str) -> None:
    error = dev.pip_error(log, 2)
    assert type(error) is kind and says in str(error) and "\n" not in str(error)


# -- the Python that it is made with


def fake_python(folder: Path, answer: str, status: int = 0) -> list[str]:
    script = folder / f"python-{answer.replace(' ', '-')}-{status}.py"
    script.write_text(f"import sys; print({answer!r}); sys.exit({status})", encoding="utf-8")
    return [sys.executable, str(script)]


def test_first_fitting_python_is_taken(tmp_path: Path) -> None:
    missing, shim = [str(tmp_path / "none")], fake_python(tmp_path, "pyenv: command not found", 127)
    unfit = [fake_python(tmp_path, answer) for answer in ("3 12 1", "3 9 1", "3 11 0")]
    right = fake_python(tmp_path, "3 10 1")
    found = dev.find_python(
        tmp_path / ".venv", [missing, shim, *unfit, right, fake_python(tmp_path, "3 11 1")]
    )
    assert found.command == right and found.version == (3, 10)


def test_no_fitting_python_says_which_is_needed(tmp_path: Path) -> None:
    with pytest.raises(dev.SetupError, match=r"A 64-bit Python 3\.10 or 3\.11 is needed"):
        dev.find_python(tmp_path / ".venv", [fake_python(tmp_path, "3 12 1")])


def test_python_without_venv_module_says_so(tmp_path: Path) -> None:
    with pytest.raises(dev.SetupError, match=r"python3\.11-venv"):
        dev.find_python(tmp_path / ".venv", [fake_python(tmp_path, "3 11 1", 1)])


def test_python_of_the_environment_to_be_replaced_does_not_count(environment: dev.Environment) -> None:
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import dev; from pathlib import Path; "
    code += f"print(*dev.find_python(Path({str(environment.path)!r})).command)"
    done = subprocess.run(
        [str(environment.python), "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.strip() and not dev.is_inside(done.stdout.strip(), environment.path)


# -- running things in it


def workbench(root: Path, code: str) -> None:
    (root / "workbench").mkdir()
    (root / "workbench" / "__main__.py").write_text(code, encoding="utf-8")


def test_demo_runs_inside_and_passes_arguments_and_status_on(
    project: Path, environment: dev.Environment, variables: dict[str, str]
) -> None:
    workbench(
        project,
        "import os, shutil, sys; print(sys.prefix, os.getcwd(), sys.argv[1:], shutil.which('python'));"
        " sys.exit(7)",
    )
    done = run_dev(project, variables, "demo", "--port", "7999")
    assert done.returncode == 7
    assert done.stdout.strip() == f"{environment.path} {project} ['--port', '7999'] {environment.python}"


def test_commands_start_what_they_promise(tmp_path: Path) -> None:
    assert dev.module_command("test", ["-k", "x"], tmp_path) == [
        "-m",
        "pytest",
        "-c",
        str(tmp_path / "pyproject.toml"),
        "-k",
        "x",
    ]
    two_processes = ["-n", "2", "--dist", "loadfile"]
    assert dev.module_command("test", [], tmp_path)[4:] == two_processes
    assert dev.module_command("test", ["--all"], tmp_path)[4:] == [*two_processes, "--all"]
    workbench(tmp_path, "")
    (tmp_path / "workbench" / "check.py").write_text("")
    assert dev.module_command("demo", ["--check", "--profile", "p"], tmp_path) == [
        "-m",
        "workbench.check",
        "--profile",
        "p",
    ]
    with pytest.raises(dev.SetupError, match=r"no benchmarks/__main__\.py"):
        dev.module_command("bench", [], tmp_path)
    with pytest.raises(dev.SetupError, match=r"no benchmarks/gpu/__main__\.py"):
        dev.module_command("gpu", [], tmp_path)
    assert dev.module_command("gpu", ["--small"], REPOSITORY) == ["-m", "benchmarks.gpu", "--small"]


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["setup", "--now"]])
def test_wrong_usage_ends_with_2_and_the_usage(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dev.main(arguments, dev.Environment(tmp_path)) == 2
    assert "python dev.py demo" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@posix_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_lets_the_program_end_in_its_own_way(
    project: Path, variables: dict[str, str], number: int
) -> None:
    workbench(
        project,
        "import os, signal, sys\n"
        "def end(number, frame):\n"
        "    print('closing', number, flush=True)\n"
        "    os.read(0, 1)\n"
        "    print('closed', flush=True)\n"
        "    sys.exit(5)\n"
        "signal.signal(signal.SIGINT, end)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('up', flush=True)\n"
        "os.read(0, 1)\n",
    )
    process = subprocess.Popen(
        command(project, "demo"),
        env=variables,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    process.send_signal(number)
    assert process.stdout.readline() == f"closing {int(number)}\n"
    assert process.poll() is None, "dev.py did not wait"
    output, _ = process.communicate("\n", timeout=30)
    assert output == "closed\n" and process.returncode == 5


@posix_signals
def test_program_ended_by_a_signal_gives_the_shells_status(tmp_path: Path) -> None:
    code, _ = dev.call([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
    assert code == 128 + signal.SIGKILL


@posix_signals
def test_installation_that_is_stopped_is_not_taken_for_a_failure(tmp_path: Path) -> None:
    late = tmp_path / "it was not stopped"
    code = "import os, signal, sys, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(30)"
    with pytest.raises(KeyboardInterrupt):
        dev.install_call([sys.executable, "-c", f"{code}; open(sys.argv[1], 'w')", str(late)])
    assert not late.exists()


def test_lock_is_held_by_one_and_freed_when_that_one_is_killed(tmp_path: Path) -> None:
    holder = "import sys; sys.path.insert(0, sys.argv[1]); import dev\n"
    holder += "with dev.locked(sys.argv[2]): print('held', flush=True); sys.stdin.read()"
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(REPOSITORY), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with open(path, "r+b") as other:
        assert not dev.try_lock(other.fileno())
        process.kill()
        process.wait()
        assert dev.try_lock(other.fileno())


# -- this checkout's own pins


def test_every_pin_of_the_checkout_is_exact() -> None:
    table = (
        (REPOSITORY / "pyproject.toml")
        .read_text(encoding="utf-8")
        .partition("[dependency-groups]\n")[2]
        .partition("\n[")[0]
    )
    pins = [line.strip().split("#")[0] for line in table.splitlines() if line.startswith('    "')]
    assert len(pins) > 50
    assert [pin for pin in pins if "==" not in pin.split(";")[0]] == []
