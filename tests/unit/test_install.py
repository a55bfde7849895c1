"""install.py: as the WebUI runs it at every start-up, and by hand."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import install
from lib_lcm.lora.catalog import LICENCE, OFFICIAL_LORAS
from tests.hub import Hub

SCRIPT = Path(install.__file__)


def test_start_up_call_is_quick_and_silent(tmp_path: Path) -> None:
    # Run with no packages at all (-S) and from elsewhere: whatever the WebUI's Python lacks, its start-up
    # goes on.
    variables = dict(os.environ, PYTHONPATH=str(tmp_path))
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-S", str(SCRIPT)], cwd=tmp_path, env=variables, capture_output=True, check=False
        )
        times.append(time.perf_counter() - began)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    bare = time.perf_counter()
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    bare = time.perf_counter() - bare
    assert min(times) < bare + 0.3
    assert not list(tmp_path.iterdir())


def test_start_up_call_loads_no_module_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT)], capture_output=True, text=True, check=True
    )
    assert "lib_lcm" not in done.stderr and "argparse" not in done.stderr and "import time" in done.stderr


CONTENT = b"a LoRA"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, and a catalog of what it has."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    loras = tuple(replace(lora, size=len(CONTENT), sha256=sha256) for lora in OFFICIAL_LORAS)
    monkeypatch.setattr(install, "OFFICIAL_LORAS", loras)
    hub = Hub(CONTENT)
    for name, value in hub.environment.items():
        monkeypatch.setenv(name, value)
    yield hub
    hub.stop()


def families_in(folder: Path) -> list[str]:
    return [lora.family.name for lora in OFFICIAL_LORAS if (folder / f"{lora.name}.safetensors").exists()]


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (["sdxl"], ["sdxl"]),
        (["ssd1b", "sd15"], ["sd15", "ssd1b"]),
        (["all"], ["sd15", "sdxl", "ssd1b"]),
        (["all", "sdxl"], ["sd15", "sdxl", "ssd1b"]),
    ],
)
def test_download_by_hand(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: list[str], got: list[str]
) -> None:
    assert install.main(["--download", *asked, "--lora-dir", str(tmp_path)]) == 0
    assert families_in(tmp_path) == got and len(hub.requests) == len(got)
    output = capsys.readouterr().out
    for lora in install.OFFICIAL_LORAS:
        if lora.family.name in got:
            announced = output.index(f"{lora.size / 1e6:.0f} MB, licence {LICENCE}, from {lora.url}")
            assert announced < output.index(f"{tmp_path / lora.name}.safetensors is complete")


def test_failure_is_one_sentence_and_the_others_are_still_fetched(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lcm_lora_sdxl.safetensors").write_bytes(b"mine")
    assert install.main(["--download", "all", "--lora-dir", str(tmp_path)]) == 1
    assert "lcm_lora_sdxl.safetensors is there already" in capsys.readouterr().err
    assert families_in(tmp_path) == ["sd15", "sdxl", "ssd1b"] and len(hub.requests) == 2


def test_progress_without_tqdm_is_a_line_for_every_tenth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    show = install.terminal_progress("lcm_lora_sdxl", 1000)
    for done in range(0, 1001, 5):
        show(done, 1000)
    lines = capsys.readouterr().out.splitlines()
    assert (
        len(lines) == 11
        and lines[0].startswith("lcm_lora_sdxl: 0%")
        and lines[-1].startswith("lcm_lora_sdxl: 100%")
    )


def test_progress_with_tqdm_reaches_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    show = install.terminal_progress("lcm_lora_sdxl", 1000)
    show(300, 1000)  # a download that goes on where an earlier one stopped
    show(1000, 1000)
    assert "100%" in capsys.readouterr().err


def test_lora_folder_of_the_webui_around_the_extension(tmp_path: Path) -> None:
    extension = tmp_path / "extensions" / "sd-webui-lcm"
    extension.mkdir(parents=True)
    assert install.webui_lora_dir(extension) is None, "no models folder, so this is no WebUI"
    (tmp_path / "models").mkdir()
    assert install.webui_lora_dir(extension) == tmp_path / "models" / "Lora"
    assert install.webui_lora_dir(tmp_path / "projects" / "sd-webui-lcm") is None


def test_outside_a_webui_the_folder_has_to_be_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "EXTENSION", tmp_path)
    assert install.main(["--download", "sdxl"]) == 1
    assert "--lora-dir" in capsys.readouterr().err and not hub.requests


def test_unknown_family_names_the_known_ones(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--download", "sd3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "sdxl" in done.stderr


def test_offline_by_hand_says_so_and_ends_with_1(tmp_path: Path) -> None:
    variables = dict(os.environ, HF_HUB_OFFLINE="1")
    command = [sys.executable, str(SCRIPT), "--download", "sdxl", "--lora-dir", str(tmp_path)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "HF_HUB_OFFLINE is set, so lcm_lora_sdxl is not downloaded" in done.stderr
        and "Traceback" not in done.stderr
    )
