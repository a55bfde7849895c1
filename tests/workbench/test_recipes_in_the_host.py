"""Every recipe through the host's own path, from the noise that the WebUI draws to the last latent, against
the reference's; see recipes_in_the_host.py.

Here, not in the unit tests, it shows from what a sampler starts: noise of variance 1 + sigma^2 or, as Euler
does, noise * sigma.
"""

from __future__ import annotations

import json

import pytest

from tests import prepared
from tests.unit.test_recipes import ANIMATED, CASES
from workbench.server import ROOT

TOLERANCE = 5e-5  # latents of unit size in float32, both sides with a table of their own; 1.9e-5 was measured


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    status, printed = prepared.run(
        "-m", "tests.workbench.recipes_in_the_host", str(tmp_path_factory.mktemp("data")), cwd=ROOT
    )
    assert status == 0, printed
    return json.loads(printed.splitlines()[-1])


@pytest.mark.parametrize("strength", [None, 0.5])
@pytest.mark.parametrize("sampler", ["lcm", "tcd", "euler", "ddim"])
def test_latents_and_timesteps_are_the_references(figures, sampler, strength):
    cases = [(method, steps) for method, steps in CASES if method.recipe.sampler == sampler]
    assert_are_the_references(figures["scaled_linear"], cases, strength)


@pytest.mark.parametrize("strength", [None, 0.5])
def test_so_are_they_with_the_linear_betas_of_animatediff(figures, strength):
    assert_are_the_references(figures["linear"], ANIMATED, strength)


def assert_are_the_references(figures, cases, strength):
    names = {method.name for method, _ in cases}
    found = [one for one in figures if one["method"] in names and one["strength"] == strength]
    assert len(found) == len(cases)
    assert [one for one in found if one["told"] != one["reference"]] == []
    assert [one for one in found if one["apart"] > TOLERANCE] == []
