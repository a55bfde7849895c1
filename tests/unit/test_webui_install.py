"""An installed WebUI as the live suite starts it; launch.py is a stand-in here that says what it was
given.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest

from lib_lcm.families import SD2, SD15, SDXL
from tests.live import webui_install
from tests.live.webui_install import (
    InstalledWebUI,
    InstallProblem,
    checkpoint_family,
    copy_lcm_loras,
    find_python,
    pick_checkpoints,
    prepare_data_dir,
)
from tests.unit.lora_fixtures import kohya_lora, official_lora_tensors, targeted_layers, write_lora

LAUNCH = """
import json, os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
print(json.dumps({"arguments": sys.argv[1:], "child": child.pid, "folder": os.getcwd()}))
print("Startup time: 1.0s (import torch: 1.0s).")
time.sleep(3600)
"""
DYING = """
import sys
print("RuntimeError: no torch here")
sys.exit(3)
"""
NETWORK = "model.diffusion_model."


def write_checkpoint(
    path: Path, width: int, channels: int = 4, middle_attention: bool = True, extra: tuple[str, ...] = ()
) -> Path:
    """A checkpoint's header, as far as it tells the family."""
    tensors = {
        f"{NETWORK}input_blocks.0.0.weight": (320, channels, 3, 3),
        f"{NETWORK}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, width),
        **dict.fromkeys(extra, (1,)),
    }
    if middle_attention:
        tensors[f"{NETWORK}middle_block.1.proj_in.weight"] = (1280, 1280)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_lora(path, tensors)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of models that the tests can run with, its checkpoints and LoRAs named as people name
    theirs.
    """
    root = tmp_path / "models"
    write_checkpoint(root / "Stable-diffusion" / "photo" / "realistic.safetensors", 768)
    write_checkpoint(root / "Stable-diffusion" / "big.safetensors", 2048)
    (root / "Lora" / "lcm").mkdir(parents=True)
    write_lora(root / "Lora" / "lcm" / "a.safetensors", official_lora_tensors("sd15", rank=1))
    write_lora(root / "Lora" / "lcm" / "b.safetensors", official_lora_tensors("sdxl", rank=1))
    style = {name: shape for name, shape in targeted_layers("sd15").items() if "attn" in name}
    write_lora(root / "Lora" / "style.safetensors", kohya_lora(style, 8))
    return root


@pytest.fixture
def install(tmp_path: Path) -> Path:
    folder = tmp_path / "webui"
    folder.mkdir()
    (folder / "launch.py").write_text(LAUNCH, encoding="utf-8")
    return folder


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    "place",
    [
        "webui/venv/bin/python",
        "webui/venv/Scripts/python.exe",
        "webui/.venv/bin/python",
        "system/python/python.exe",
    ],
)
def test_the_installations_own_python_is_found(install, place):
    python = touched(install.parent / place)
    assert find_python(install) == python


def test_a_python_that_is_named_comes_first(install, tmp_path):
    touched(install / "venv" / "bin" / "python")
    assert find_python(install, Path(sys.executable)) == Path(sys.executable)
    with pytest.raises(InstallProblem, match="nowhere is not there: --webui-python"):
        find_python(install, tmp_path / "nowhere")


def test_an_installation_without_a_python_is_told_so(install):
    with pytest.raises(InstallProblem, match="no Python of its own.*--webui-python"):
        find_python(install)


def test_a_checkpoints_family_is_read_from_its_header(tmp_path):
    for family, width in ((SD15, 768), (SD2, 1024), (SDXL, 2048)):
        assert checkpoint_family(write_checkpoint(tmp_path / f"{family}.safetensors", width)) is family
    others = {
        "inpainting": write_checkpoint(tmp_path / "inpainting.safetensors", 768, channels=9),
        "ssd1b": write_checkpoint(tmp_path / "ssd1b.safetensors", 2048, middle_attention=False),
        "v-prediction": write_checkpoint(tmp_path / "v.safetensors", 2048, extra=("v_pred",)),
        "a lora": write_lora(tmp_path / "lora.safetensors", official_lora_tensors("sd15")),
        "not there": tmp_path / "gone.safetensors",
    }
    assert {name: checkpoint_family(path) for name, path in others.items()} == dict.fromkeys(others)


def test_checkpoints_are_picked_by_name_first_then_by_header(tmp_path):
    sd15, sdxl = (
        write_checkpoint(tmp_path / "1.safetensors", 768),
        write_checkpoint(tmp_path / "2.safetensors", 2048),
    )
    assert pick_checkpoints([("b", sdxl), ("a", sd15)]) == {SD15: "a", SDXL: "b"}
    gone = tmp_path / "on another machine"
    picked = pick_checkpoints(
        [("a", sd15), ("b", sdxl), ("my-sdxl", gone), ("tiny-sd15-b", gone), ("tiny-sd15", gone)]
    )
    assert picked == {SD15: "tiny-sd15", SDXL: "my-sdxl"}
    with pytest.raises(InstallProblem, match="no SDXL checkpoint"):
        pick_checkpoints([("a", sd15)])


def test_lcm_loras_are_copied_under_the_names_of_the_tests(models, tmp_path):
    copy_lcm_loras(models / "Lora", tmp_path / "copies")
    copies = {path.name: path.stat().st_size for path in (tmp_path / "copies").iterdir()}
    originals = {
        "lcm_lora_sd15.safetensors": models / "Lora/lcm/a.safetensors",
        "lcm_lora_sdxl.safetensors": models / "Lora/lcm/b.safetensors",
    }
    assert copies == {name: path.stat().st_size for name, path in originals.items()}


def test_a_missing_lcm_lora_is_told_with_the_way_to_get_it(models, tmp_path):
    (models / "Lora/lcm/b.safetensors").unlink()
    with pytest.raises(InstallProblem, match="no LCM-LoRA for SDXL.*install.py --download sdxl"):
        copy_lcm_loras(models / "Lora", tmp_path / "copies")


def test_it_runs_with_a_data_folder_of_its_own_and_ends_with_its_children(install, models, tmp_path):
    data = tmp_path / "data"
    with InstalledWebUI(
        install, data, python=Path(sys.executable), models=models, arguments=["--use-cpu", "all"]
    ) as webui:
        said = json.loads(webui.log[0])
        assert psutil.pid_exists(said["child"]) and webui.is_running and webui.starts == 1
    assert not psutil.pid_exists(said["child"]) and not webui.is_running

    assert Path(said["folder"]) == install
    arguments = said["arguments"]
    assert arguments[-2:] == ["--use-cpu", "all"]
    assert {"--api", "--skip-prepare-environment", "--no-download-sd-model"} <= set(arguments)
    given = {
        name: arguments[arguments.index(name) + 1]
        for name in ("--port", "--data-dir", "--ckpt-dir", "--ckpt", "--lora-dir")
    }
    checkpoints = models / "Stable-diffusion"
    assert given == {
        "--port": str(webui.port),
        "--data-dir": str(data),
        "--ckpt-dir": str(checkpoints),
        "--ckpt": str(checkpoints / "photo/realistic.safetensors"),
        "--lora-dir": str(data / "models" / "Lora"),
    }
    assert (
        json.loads((data / "config.json").read_text(encoding="utf-8"))["sd_model_checkpoint"]
        == "photo/realistic.safetensors"
    )
    assert sorted(path.name for path in (data / "extensions").iterdir()) == ["lcm-test-probe", "sd-webui-lcm"]
    assert (data / "extensions/sd-webui-lcm/scripts/lcm.py").samefile(
        webui_install.EXTENSION / "scripts/lcm.py"
    )
    assert (data / "extensions/lcm-test-probe/scripts/lcm_test_probe.py").is_file()


def test_it_starts_with_the_checkpoint_that_the_tests_will_pick(models, tmp_path):
    for name in ("tiny-sd15", "tiny-sd15-b"):  # whose order changes with the ending
        write_checkpoint(models / "Stable-diffusion" / f"{name}.safetensors", 768)
    prepare_data_dir(tmp_path / "data", models)
    assert (
        json.loads((tmp_path / "data/config.json").read_text(encoding="utf-8"))["sd_model_checkpoint"]
        == "tiny-sd15.safetensors"
    )


def test_models_are_the_installations_own_by_default(install, models, tmp_path):
    models.rename(install / "models")
    with InstalledWebUI(install, tmp_path / "data", python=Path(sys.executable)) as webui:
        arguments = json.loads(webui.log[0])["arguments"]
    assert arguments[arguments.index("--ckpt-dir") + 1] == str(install / "models" / "Stable-diffusion")


def test_a_webui_that_dies_says_why(install, models, tmp_path):
    (install / "launch.py").write_text(DYING, encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"webui did not start \(exit status 3\)") as error:
        InstalledWebUI(install, tmp_path / "data", python=Path(sys.executable), models=models)
    assert "no torch here" in str(error.value)


def test_a_folder_that_holds_no_webui_is_told_so(models, tmp_path):
    with pytest.raises(InstallProblem, match="is not a WebUI: --webui names the folder that holds launch.py"):
        InstalledWebUI(tmp_path, tmp_path / "data", python=Path(sys.executable), models=models)
