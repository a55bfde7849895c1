"""The samplers on a device other than the CPU, through the host's own denoiser; see tests/simulated_device.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests import prepared

PROGRAM = Path(__file__).with_name("sampling_on_a_device.py")


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """{(sampler, steps, cfg): copies, reads, equal}; a tensor on the wrong device, or a double on the device, ends the program."""
    ran = prepared.run([sys.executable, str(PROGRAM), str(tmp_path_factory.mktemp("data"))], timeout=600)
    assert ran.returncode == 0, ran.stderr
    return {(case["sampler"], case["steps"], case["cfg"]): case for case in json.loads(ran.stdout.splitlines()[-1])}


@pytest.mark.parametrize("cfg", [1, 1.5])
@pytest.mark.parametrize("sampler", ["lcm", "tcd"])
def test_latents_are_those_of_the_cpu_and_nothing_more_is_moved_in_a_step_than_by_the_hosts_own(figures, sampler, cfg):
    ours, own = ([figures[name, steps, cfg] for steps in (2, 6)] for name in (sampler, "own"))
    assert all(case["equal"] for case in [*ours, *own])
    assert own[1]["copies"] > own[0]["copies"]  # the noise is drawn on the CPU
    assert ours[1]["copies"] - ours[0]["copies"] <= own[1]["copies"] - own[0]["copies"]
    assert ours[1]["copies"] <= own[1]["copies"] + 1  # the model's noise levels, fetched once
    assert ours[1]["reads"] == ours[0]["reads"] <= own[0]["reads"]  # no step waits for a number
