"""From a checkpoint to its own LCM-LoRA in one command, on a small one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from lib_lcm.distill import command, cost, training
from lib_lcm.distill.__main__ import main
from lib_lcm.families import SD15
from lib_lcm.lora.file import DISTILLATION_METADATA, inspect_lora
from lib_lcm.lora.hashes import sha256_of_file
from lib_lcm.lora.library import LoraLibrary
from workbench.distil import SmallCheckpoint
from workbench.small_models import CHECKPOINTS, LORAS

LIT = CHECKPOINTS / "small-sd15-lit.safetensors"
TEXTS = (
    "a big red triangle on a blue mosaic",
    "a red circle left of a yellow cross on a green mosaic",
    "a small white square on a black mosaic",
)
FEW = ("--steps", "3", "--pictures", "30")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join([*TEXTS, "", "  <lora:style:0.8>  "]), encoding="utf-8")
    return path


def distil(checkpoint: Path, output: Path, *more: str | Path) -> int:
    arguments = [checkpoint, "--output", output, "--device", "cpu", *FEW, *more]
    return main([str(argument) for argument in arguments], load=SmallCheckpoint)


def made_by(path: Path) -> dict[str, object]:
    with safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()[DISTILLATION_METADATA])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA made by the command in a process of its own, as a user does it, from a folder of a WebUI."""
    models = tmp_path_factory.mktemp("models")
    for name in ("Stable-diffusion", "Lora"):
        (models / name).mkdir()
    checkpoint = models / "Stable-diffusion" / LIT.name
    checkpoint.write_bytes(LIT.read_bytes())
    (models / "Lora" / "lcm_lora_sd15.safetensors").write_bytes(
        (LORAS / "lcm_lora_sd15.safetensors").read_bytes()
    )
    prompts = models / "prompts.txt"
    prompts.write_text("\n".join(TEXTS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "workbench.distil", checkpoint, "--prompts", prompts, "--device", "cpu", *FEW],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
        check=True,
    )
    (models / "said.txt").write_text(done.stdout, encoding="utf-8")
    return models


def test_the_lora_is_in_the_webui_s_folder_and_known_there(finished: Path) -> None:
    path = finished / "Lora" / "lcm_lora_small-sd15-lit.safetensors"
    lora = inspect_lora(path)
    assert (lora.is_lcm, lora.family, lora.problem, lora.rank) == (True, SD15, None, 8)
    base = sha256_of_file(LIT)
    assert lora.distilled_from == ("small-sd15-lit", base)
    assert LoraLibrary(finished / "Lora").distilled_from(base, SD15) == lora
    assert made_by(path)["steps"] == 3
    assert not list((finished / "Lora").glob("*.unfinished"))


def test_it_says_first_what_it_takes_and_at_the_end_what_came_out(finished: Path) -> None:
    said = (finished / "said.txt").read_text(encoding="utf-8")
    for what in (
        r"Memory: \d+\.\d GiB needed, (unknown|\d+\.\d GiB) free \(fp32, 1 x 24 pictures a step\)\.",
        r"Disk: \d+\.\d GB needed until it is finished, \d+\.\d GB free\.",
        r"Time: about (a minute|\d+ minutes),",
        r"4 steps with it: \d+\.\d % away from 25 steps, detail \d+% of its",
        r"4 steps with lcm_lora_sd15: ",
        r"lcm_lora_small-sd15-lit\.safetensors is complete",
    ):
        assert re.search(what, said), what


def test_a_program_reads_how_far_it_is(
    prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.png"
    monkeypatch.setattr(command.shutil, "rmtree", lambda folder: (folder / "preview.png").rename(kept))
    assert distil(LIT, tmp_path / "mine", "--prompts", prompts, "--lines") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    whats = list(dict.fromkeys(line["progress"][0] for line in lines if "progress" in line))
    assert whats == ["drawing pictures to learn from", "distilling", "drawing the report"]
    assert [line["progress"][1:] for line in lines if line.get("progress", [""])[0] == "distilling"] == [
        [1, 3],
        [2, 3],
        [3, 3],
    ]
    assert Image.open(kept).size == (256, 256)
    assert distil(LIT, tmp_path / "mine", "--prompts", prompts, "--lines") == 1
    assert "is there already" in json.loads(capsys.readouterr().out.splitlines()[-1])["problem"]


def test_the_report_has_a_picture_of_each_way_for_each_prompt(finished: Path) -> None:
    page = np.asarray(Image.open(finished / "Lora" / "lcm_lora_small-sd15-lit.png").convert("RGB"))
    # teacher, three numbers of steps, none, and the other LoRA
    assert page.shape[1] == 8 + 6 * (256 + 8)
    assert page.shape[0] == 8 + 16 * 7 + 3 * (256 + 16 + 8)
    blue = page[8 + 16 * 7 + 20 : 8 + 16 * 7 + 200, 16:200].reshape(-1, 3).mean(0)
    assert blue[2] > blue[0] and blue[2] > blue[1]  # the first is drawn on blue


def test_an_interrupted_run_goes_on_to_the_very_same_file(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert distil(LIT, tmp_path / "whole", "--prompts", prompts) == 0

    real = training.Distillation.train_step

    def interrupted(run: training.Distillation) -> float:
        if run.step == 2:
            raise KeyboardInterrupt
        return real(run)

    with monkeypatch.context() as patched:
        patched.setattr(training.Distillation, "train_step", interrupted)
        assert distil(LIT, tmp_path / "parts", "--prompts", prompts) == 130
    assert not (tmp_path / "parts.safetensors").exists()
    said = f"lies in {tmp_path / 'parts.unfinished'}, and the same command goes on from there"
    assert said in capsys.readouterr().err
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts.unfinished").glob("latents-*")}
    assert len(kept) == 2

    def draws(*_: object) -> None:
        raise AssertionError("what was drawn before is drawn again")

    with monkeypatch.context() as patched:
        patched.setattr("lib_lcm.distill.cost._seconds", draws)
        assert distil(LIT, tmp_path / "parts", "--prompts", prompts) == 0
    whole, parts = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[key], parts[key]) for key in whole)
    assert (tmp_path / "whole.png").read_bytes() != b"" and not (tmp_path / "parts.unfinished").exists()


def test_interrupted_before_anything_is_kept_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def interrupted(*_: object) -> SmallCheckpoint:
        raise KeyboardInterrupt

    assert main([str(LIT), "--output", str(tmp_path / "mine")], load=interrupted) == 130
    assert "before anything was kept" in capsys.readouterr().err


def test_what_ends_it_at_the_last_moment_keeps_nothing_from_going_on(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command.Run, "save", interrupted)
        assert distil(LIT, tmp_path / "mine", "--prompts", prompts) == 130
    assert distil(LIT, tmp_path / "mine", "--prompts", prompts) == 0
    assert (tmp_path / "mine.png").is_file() and not (tmp_path / "mine.unfinished").exists()


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("out of memory"), OSError("disk full")])
def test_what_runs_out_on_the_way_is_said_in_a_sentence(
    error: Exception,
    prompts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def broken_off(run: training.Distillation) -> float:
        raise error

    monkeypatch.setattr(training.Distillation, "train_step", broken_off)
    assert distil(LIT, tmp_path / "mine", "--prompts", prompts) == 1
    assert f"Broken off ({error}): make room, then repeat the same command" in capsys.readouterr().err


def test_an_unfinished_run_is_not_mixed_with_another(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def interrupt(run: training.Distillation) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Distillation, "train_step", interrupt)
    assert distil(LIT, tmp_path / "mine", "--prompts", prompts) == 130
    assert distil(LIT, tmp_path / "mine", "--prompts", prompts, "--seed", "7") == 1
    assert "unfinished run with another seed: repeat that command" in capsys.readouterr().err


def test_pictures_with_captions_are_learned_from_instead(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        Image.new("RGB", (100 + number, 80), (40 * number, 90, 200)).save(folder / f"{number}.png")
        if number:
            (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    assert distil(LIT, tmp_path / "of_pictures", "--prompts", folder) == 0
    assert inspect_lora(tmp_path / "of_pictures.safetensors").is_lcm


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.png"])
def test_nothing_is_written_over(
    name: str, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / name).write_text("precious")
    assert distil(LIT, tmp_path / "mine", "--prompts", prompts) == 1
    assert "is there already: move it" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, prompts.name])


def test_little_memory_is_made_do_with(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SmallCheckpoint(LIT, torch.device("cpu"), torch.float32)
    job = command.Job(LIT, tmp_path / "mine.safetensors", torch.device("cpu"), prompts)
    run = command.Run(job, model, command.read_prompts(prompts))
    real, totals = cost.estimate_memory, {}

    def estimate(*arguments):
        config = arguments[-1]
        way = config.accumulation, config.gradient_checkpointing
        totals[way] = totals.get(way) or real(*arguments)
        return totals[way]

    def fitted(free: int) -> dict[str, object]:
        monkeypatch.setattr(cost, "memory_present", lambda _: free)
        return cost._fitting(run, lambda text: None)

    monkeypatch.setattr(cost, "estimate_memory", estimate)
    with pytest.raises(command.CannotDistill, match=r"needs \d+\.\d GiB of memory at the least"):
        fitted(0)
    assert list(totals) == list(cost.ECONOMIES)
    needed = [one.total - one.unet for one in totals.values()]
    assert needed == sorted(needed, reverse=True)
    for way, free in zip(cost.ECONOMIES, needed, strict=True):
        one = fitted(free)
        assert (one["accumulation"], one["gradient_checkpointing"]) == way
        assert one["batch"] * one["accumulation"] == 24


def test_a_disk_that_is_too_full_is_refused(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda _: usage)
    assert distil(LIT, tmp_path / "mine", "--prompts", prompts) == 1
    assert "make room, or choose another place" in capsys.readouterr().err
    assert not (tmp_path / "mine.unfinished").exists()
