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
from lib_lcm.lora import catalog
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
    sha256 = (hashlib.sha256(CONTENT).hexdigest(),)
    loras = tuple(replace(lora, size=len(CONTENT), sha256=sha256) for lora in catalog.PUBLISHED)
    monkeypatch.setattr(catalog, "PUBLISHED", loras)
    hub = Hub(CONTENT)
    for name, value in hub.environment.items():
        monkeypatch.setenv(name, value)
    yield hub
    hub.stop()


LCM_LORAS = ["lcm_lora_sd15", "lcm_lora_sdxl", "lcm_lora_ssd1b", "lcm_lora_vega"]
LIGHTNING = ["sdxl_lightning_2step", "sdxl_lightning_4step", "sdxl_lightning_8step"]


def loras_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.iterdir())


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        (["sdxl"], ["lcm_lora_sdxl"]),
        (["vega", "sd15"], ["lcm_lora_sd15", "lcm_lora_vega"]),
        (["all"], LCM_LORAS),
        (["all", "sdxl"], LCM_LORAS),
        (["hyper_sdxl_unified"], ["hyper_sdxl_unified"]),
        (["Hyper-SDXL-unified", "lcm-lora-ssd1b"], ["hyper_sdxl_unified", "lcm_lora_ssd1b"]),
        (["hyper-sdxl", "tcd"], ["hyper_sdxl_unified", "tcd_sd15", "tcd_sdxl"]),
        (["lightning"], LIGHTNING),
    ],
    ids=" ".join,
)
def test_download_by_hand(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: list[str], got: list[str]
) -> None:
    assert install.main(["--download", *asked, "--lora-dir", str(tmp_path)]) == 0
    assert loras_in(tmp_path) == got and len(hub.requests) == len(got)
    output = capsys.readouterr().out
    for name in got:
        lora = catalog.named(name)
        assert lora is not None
        announced = output.index(f"{lora.megabytes} MB, licence {lora.licence}, from {lora.url}")
        assert announced < output.index(f"{tmp_path / name}.safetensors is complete")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("hyper-sdxl", ["hyper_sdxl_unified"]),
        ("hyper-sd15", ["hyper_sd15_unified"]),
        ("hyper-8-sdxl", ["hyper_sdxl_8steps"]),
        ("hyper-cfg-sd15", ["hyper_sd15_8steps_cfg", "hyper_sd15_12steps_cfg"]),
        ("lightning-4", ["sdxl_lightning_4step"]),
        ("lightning-sdxl", LIGHTNING),
        ("tcd-sdxl", ["tcd_sdxl"]),
        ("dmd2", ["dmd2_sdxl_4step"]),
        ("flash", ["flash_sdxl", "flash_sd15"]),
        ("flash-sdxl", ["flash_sdxl"]),
        ("lcm-vega", ["lcm_lora_vega"]),
    ],
)
def test_a_method_means_its_first_file_of_each_family(asked: str, meant: list[str]) -> None:
    assert [lora.name for lora in install.choices()[asked]] == meant


def test_every_name_means_its_own_file_and_everything_else_is_unknown() -> None:
    known = install.choices()
    for lora in catalog.PUBLISHED:
        assert known.get(lora.name.replace("_", "-")) == ([lora] if lora in catalog.offered() else None)


def test_offered_is_what_has_a_known_licence_a_file_and_a_sampling_we_know() -> None:
    names = [lora.name for lora in catalog.offered()]
    assert names[:4] == LCM_LORAS and len(names) == len(set(names))
    assert {"hyper_sd15_unified", "dmd2_sdxl_4step", "flash_sdxl", "tcd_sdxl"} < set(names)
    assert not {"pcm_sdxl_lcmlike", "tcd_sd21", "flux_turbo_alpha", "spo_sdxl"} & set(names)
    assert all(lora.megabytes and lora.filename for lora in catalog.offered())
    assert catalog.named("tcd_sd21") is None and catalog.named("no such") is None


def test_no_two_of_them_look_the_same_in_a_list() -> None:
    looks = [(lora.method, lora.megabytes, lora.licence) for lora in catalog.offered()]
    assert len(set(looks)) == len(looks)


def test_a_licence_against_commercial_use_has_to_be_accepted(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--download", "dmd2", "tcd-sd15", "--lora-dir", str(tmp_path)]
    assert install.main(asked) == 1
    refusal = capsys.readouterr().err
    assert "dmd2_sdxl_4step was left out, as its licence CC-BY-NC-4.0 does not allow" in refusal
    assert "--accept-licence" in refusal and loras_in(tmp_path) == ["tcd_sd15"]
    assert install.main([*asked, "--accept-licence"]) == 0
    assert loras_in(tmp_path) == ["dmd2_sdxl_4step", "tcd_sd15"]


def test_the_list_says_name_family_size_and_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert install.main(["--list"]) == 0
    head, *lines, _, groups = capsys.readouterr().out.splitlines()
    columns = [" ".join(line.split()) for line in lines]
    assert head.split() == ["SHORT", "NAME", "FAMILY", "SIZE", "LICENCE"]
    assert len(columns) == len(catalog.offered())
    assert columns[1] == "sdxl lcm_lora_sdxl SDXL 394 MB OpenRAIL++"
    assert "dmd2 dmd2_sdxl_4step SDXL 394 MB CC-BY-NC-4.0, not for commercial use" in columns
    assert "all, " in groups and " lightning, " in groups
    for line in columns:
        short, name, *_ = line.split()
        assert [lora.name for lora in install.choices()[short]] == [name]


def test_failure_is_one_sentence_and_the_others_are_still_fetched(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lcm_lora_sdxl.safetensors").write_bytes(b"mine")
    assert install.main(["--download", "all", "--lora-dir", str(tmp_path)]) == 1
    assert "lcm_lora_sdxl.safetensors is there already" in capsys.readouterr().err
    assert loras_in(tmp_path) == LCM_LORAS and len(hub.requests) == len(LCM_LORAS) - 1


def test_progress_without_tqdm_is_a_line_for_every_tenth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    show = install.terminal_progress("lcm_lora_sdxl")
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
    show = install.terminal_progress("lcm_lora_sdxl")
    show(300, 900)  # a download that goes on where an earlier one stopped; an estimate
    show(1000, 1000)
    assert "100%" in capsys.readouterr().err


def test_a_refusal_to_convert_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.safetensors")
    assert install.main(["--convert", missing, "--base", missing]) == 1
    [sentence] = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith(f"{missing} cannot be read")


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


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--download", "sd3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "'sd3' is none of sd15, sdxl, ssd1b, vega, all" in done.stderr
    assert "--list" in done.stderr and "Traceback" not in done.stderr


def test_offline_by_hand_says_so_and_ends_with_1(tmp_path: Path) -> None:
    variables = dict(os.environ, HF_HUB_OFFLINE="1")
    command = [sys.executable, str(SCRIPT), "--download", "sdxl", "--lora-dir", str(tmp_path)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "HF_HUB_OFFLINE is set, so lcm_lora_sdxl is not downloaded" in done.stderr
        and "Traceback" not in done.stderr
    )
