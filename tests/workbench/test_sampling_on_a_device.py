"""The samplers on a device other than the CPU, through the host's own denoiser; see
tests/simulated_device.py.
"""

from __future__ import annotations

import json

import pytest

from tests import prepared
from workbench.server import ROOT


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """{(sampler, steps, cfg): copies, reads, equal}; a tensor on the wrong device, or a double on the device,
    ends the program.
    """
    status, printed = prepared.run(
        "-m", "tests.workbench.sampling_on_a_device", str(tmp_path_factory.mktemp("data")), cwd=ROOT
    )
    assert status == 0, printed
    return {
        (case["sampler"], case["steps"], case["cfg"]): case for case in json.loads(printed.splitlines()[-1])
    }


@pytest.mark.parametrize("cfg", [1, 1.5])
@pytest.mark.parametrize("sampler", ["lcm", "tcd"])
def test_latents_are_those_of_the_cpu_and_nothing_more_is_moved_in_a_step_than_by_the_hosts_own(
    figures, sampler, cfg
):
    ours, own = ([figures[name, steps, cfg] for steps in (2, 6)] for name in (sampler, "own"))
    assert all(case["equal"] for case in [*ours, *own])
    assert own[1]["copies"] > own[0]["copies"]  # the noise is drawn on the CPU
    assert ours[1]["copies"] - ours[0]["copies"] <= own[1]["copies"] - own[0]["copies"]
    assert ours[1]["copies"] <= own[1]["copies"] + 1  # the model's noise levels, fetched once
    assert ours[1]["reads"] == ours[0]["reads"] <= own[0]["reads"]  # no step waits for a number
