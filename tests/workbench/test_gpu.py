"""`python dev.py gpu` with tiny models on the CPU, and that its checks see what they are for."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from functools import partial

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import compiled, distillation, models, pictures, record, samplers
from benchmarks.gpu.checks import Job, Outcome
from benchmarks.gpu.device import GIB, Device, NotHere
from lib_lcm.methods import METHODS
from lib_lcm.sampling.samplers import sample_lcm
from workbench.server import ROOT

CPU = Device("cpu")
SMALL = Job(CPU, small=True)
LCM = ("lcm", "grid", None)
TINY = ["--device", "cpu", "--small"]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """All sections in a process of their own: the folder, and what was printed."""
    folder = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, "-m", "benchmarks.gpu", *TINY, "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    return folder, done.stdout.splitlines()


def test_every_section_passes_and_says_a_line_for_each_check(whole_run):
    folder, lines = whole_run
    (run,) = record.read(folder)
    assert list(run["sections"]) == list(gpu.SECTIONS) and run["small"]
    assert all(section["complete"] for section in run["sections"].values())
    entries = [entry for section in run["sections"].values() for entry in section["checks"]]
    assert len(lines) == len(entries) + 2  # the device, and where it is written
    for line, entry in zip(lines[1:], entries, strict=False):
        assert line.startswith(entry["result"]) and entry["check"] in line
    assert {entry["result"] for entry in entries} == {gpu.OK, gpu.MEASURED, record.NOT_HERE}


def test_what_a_device_cannot_do_is_told(whole_run):
    folder, _ = whole_run
    sections = record.read(folder)[0]["sections"]
    default, reduced = sections["compiled"]["checks"]
    has_compiler = any(map(shutil.which, ("g++", "clang++")))
    assert default["result"] == (gpu.OK if has_compiler else record.NOT_HERE) or os.name == "nt"
    assert reduced == {**reduced, "result": record.NOT_HERE, "note": "it records CUDA graphs"}
    assert sections["distillation"]["checks"][0]["figures"]["GiB"] is None
    page = (folder / record.PAGE).read_text(encoding="utf-8")
    assert page == record.page(record.read(folder))
    assert "GiB: not on this device" in page and "| it records CUDA graphs |" in page


def lcm_that(change):
    """`sample_lcm` with something done to what the model answers in each step."""

    def sample(model, x, sigmas, **given):
        return sample_lcm(lambda x, sigma: change(model(x, sigma), sigma), x, sigmas, **given)

    return sample


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda denoised, sigma: denoised * (sigma[0].item() > 0), "8 numbers read in 8 steps"),
        (lambda denoised, sigma: denoised.double().to(denoised.dtype), "float64 from aten::_to_copy"),
        (lambda denoised, sigma: denoised / torch.zeros_like(denoised), "a value that is too large or none"),
        (lambda denoised, sigma: denoised + 1e-5 * 2 ** float(denoised.dtype.itemsize == 2), None),
    ],
    ids=["reads", "doubles", "infinity", "rounding"],
)
def test_a_sampler_that_waits_widens_or_overflows_fails(change, problem, monkeypatch):
    monkeypatch.setattr(samplers, "sample_lcm", lcm_that(change))
    outcome = samplers.check(CPU, LCM, [8], torch.float16)
    assert outcome.passed is (problem is None)
    assert outcome.note.startswith(problem or "")


def test_a_sampler_that_is_off_in_half_precision_fails(monkeypatch):
    def rounds(denoised, sigma):
        return denoised if denoised.dtype is torch.float64 else (denoised * 16).round() / 16

    monkeypatch.setattr(samplers, "sample_lcm", lcm_that(rounds))
    outcome = samplers.check(CPU, LCM, [4], torch.float16)
    assert outcome.passed is False and outcome.note == "an error above 0.008"


def test_every_recipe_is_sampled_in_its_own_number_of_steps():
    ways = samplers.ways()
    for method in METHODS:
        if method.recipe is not None:
            steps, groups = ways[method.recipe.sampler, method.recipe.timesteps, method.recipe.gamma]
            assert method.group in groups and (method.needs_steps or method.recipe.steps[2]) in steps
    assert samplers.sampling(LCM, 4)[0][-1] == 0 and len(samplers.sampling(LCM, 4)[0]) == 5


@pytest.mark.parametrize(
    "kind, config, parameters",
    [
        (UNet2DConditionModel, models.REAL[0].unet, 859_520_964),
        (UNet2DConditionModel, models.REAL[1].unet, 2_567_463_684),
        (AutoencoderKL, models.KL, 83_653_863),
        (AutoencoderTiny, {}, 2_445_063),
    ],
    ids=["SD 1.5", "SDXL", "VAE", "TAESD"],
)
def test_the_networks_are_of_the_published_sizes(kind, config, parameters):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in kind(**config).parameters()) == parameters


def test_networks_are_made_in_half_precision_and_leave_the_default_alone():
    unet = models.unet_of(models.ONE_BLOCK, CPU)
    assert {parameter.dtype for parameter in unet.parameters()} == {CPU.half}
    assert torch.get_default_dtype() is torch.float32


def test_some_steps_are_guided_with_two_rows():
    painter = models.Painter(models.SMALL[0], CPU)
    rows = []
    painter.unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    painter.paint(4, (1, 2))
    assert rows == [1, 2, 2, 1]


@pytest.mark.parametrize("is_followed", [True, False])
def test_a_compiled_unet_that_keeps_the_old_weights_fails(is_followed, monkeypatch):
    def compile_(unet, mode):
        return unet if is_followed else copy.deepcopy(unet)

    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr(compiled, "need_compiler", lambda *_: None)
    painter = models.Painter(models.SMALL[0], CPU, 1)
    before = copy.deepcopy(painter.unet.state_dict())
    outcome = compiled.check(SMALL, lambda: painter, "default")
    assert outcome.passed is is_followed and ("the switch is not seen" in outcome.note) is not is_followed
    assert all(torch.equal(tensor, before[name]) for name, tensor in painter.unet.state_dict().items())


def test_without_a_compiler_there_is_nothing_to_measure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(NotHere, match=r"no C\+\+ compiler \(g\+\+, clang\+\+, cl\)"):
        compiled.need_compiler(CPU, "default")


@pytest.mark.parametrize("times, passed", [(0.92, True), (1.08, True), (1.12, False), (0.88, False)])
def test_memory_a_tenth_off_the_estimate_fails(times, passed, monkeypatch):
    class Told:
        total = GIB

    monkeypatch.setattr(distillation, "estimate_memory", lambda *_: Told)
    monkeypatch.setattr(CPU, "peak", lambda action, base=0: times, raising=False)
    outcome = distillation.check(SMALL, models.ONE_BLOCK, 1, False)
    assert outcome.passed is passed and outcome.note == f"{times - 1:+.0%} of the estimate"


@pytest.mark.parametrize("wrong, passed", [(1, True), (40, False)])
def test_pictures_worse_than_on_the_cpu_fail(wrong, passed, monkeypatch):
    def drawn(family, kind, prompts, half):
        return torch.zeros(1).numpy(), [
            index >= (wrong if kind == "elsewhere" else 0) for index in range(256)
        ]

    monkeypatch.setattr(pictures, "drawn", drawn)
    outcome = pictures.check("sd15", "elsewhere", 256, None, partial(drawn, "sd15", "cpu", 256, None))
    assert outcome.passed is passed
    assert outcome.figures["% equal verdicts"] == 100 * (256 - wrong) / 256


def raising(error):
    def action():
        raise error

    return action


def entries_of(*actions, limit=60.0):
    kept = []
    gpu.carry_out(((f"check {i}", action) for i, action in enumerate(actions)), limit, CPU, kept.append)
    return [(entry["result"], entry["note"]) for entry in kept]


def test_a_check_that_breaks_does_not_stop_the_others():
    memory = RuntimeError("MPS backend out of memory")
    assert entries_of(
        raising(ValueError("no\nmore")), raising(memory), raising(NotHere("why")), lambda: Outcome()
    ) == [
        (gpu.ERROR, "ValueError: no"),
        (record.NOT_HERE, "it needs more memory than there is"),
        (record.NOT_HERE, "why"),
        (gpu.MEASURED, ""),
    ]


def test_what_a_section_had_no_time_for_is_told():
    assert entries_of(raising(ValueError), limit=-1.0) == [(gpu.NOT_RUN, "the section's -1 s were over")]


def test_an_interrupted_run_keeps_what_it_has_and_what_was_there_before(tmp_path, monkeypatch, capsys):
    def run(*actions):
        checks = [(f"check {i}", action) for i, action in enumerate(actions)]
        monkeypatch.setattr(samplers, "checks", lambda job: iter(checks))
        return gpu.main([*TINY, "--only", "samplers", "--out", str(tmp_path)])

    def section():
        (one,) = json.loads((tmp_path / record.JSON).read_text(encoding="utf-8"))
        found = one["sections"]["samplers"]
        return found["complete"], [entry["figures"] for entry in found["checks"]]

    first, second = (partial(Outcome, {"ms": value}) for value in (1.25, 2.5))
    stop = raising(KeyboardInterrupt())
    assert run(first, second) == 0 and section() == (True, [{"ms": 1.25}, {"ms": 2.5}])
    assert run(stop) == 130 and section() == (True, [{"ms": 1.25}, {"ms": 2.5}])
    assert run(second, stop, first) == 130 and section() == (False, [{"ms": 2.5}])
    assert "; interrupted." in (tmp_path / record.PAGE).read_text(encoding="utf-8")
    assert run(partial(Outcome, passed=False)) == 1
    assert "1 checks, 1 wrong" in capsys.readouterr().out


def test_runs_on_other_devices_and_of_other_sections_stay():
    about = {"device": "a card", "torch": "2.11", "small": False, "python": "3.11"}
    made = {"commit": "1234567", "date": "2026-11-28"}
    runs = []
    for device, name in (("a card", "speed"), ("another", "speed"), ("a card", "samplers")):
        record.section_of(runs, {**about, "device": device}, name, made)
    assert [(run["device"], list(run["sections"])) for run in runs] == [
        ("a card", ["speed", "samplers"]),
        ("another", ["speed"]),
    ]
    assert "## a card, torch 2.11" in record.page(runs)


def test_figures_are_read_as_a_sentence():
    figures = {"ms at 1 row": 12.345, "numbers read": 0, "calls": 12345.6, "GiB": None}
    assert record.figures_text(figures) == (
        "12.3 ms at 1 row, 0 numbers read, 12,346 calls, GiB: not on this device"
    )


def test_a_device_that_is_not_there_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(Device, "is_there", staticmethod(lambda kind: kind == "cpu"))
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cuda"])
    assert "PyTorch finds no cuda here" in capsys.readouterr().err
