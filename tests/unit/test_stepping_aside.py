"""scripts/lcm.py in a WebUI that lacks what LCM needs: one sentence in its log, no script, no error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOAD = """
import runpy
loaded = runpy.run_path("scripts/lcm.py")
assert not any(isinstance(thing, type) for thing in loaded.values()), "a script class is there"
"""
OLDER_THAN_1_6 = {  # what 1.5 has of the parts that are looked for
    "shared": "",
    "extra_networks": "activate = None",
    "sd_samplers": "all_samplers = []\ndef set_samplers(): pass",
    "sd_samplers_kdiffusion": "class KDiffusionSampler: pass",
    "ui_components": "",
}


@pytest.mark.parametrize(
    "modules,lacks",
    [
        (OLDER_THAN_1_6, "modules.sd_samplers_kdiffusion.CFGDenoiserKDiffusion, modules.ui_components.InputAccordion"),
        ({**OLDER_THAN_1_6, "ui_components": None}, "modules.sd_samplers_kdiffusion.CFGDenoiserKDiffusion, modules.ui_components"),
        ({"shared": ""}, "modules.extra_networks"),
    ],
    ids=["1.5", "without ui_components", "without extra networks"],
)
def test_it_says_what_is_missing_and_does_nothing(tmp_path, modules, lacks):
    for name, code in {"__init__": "", **modules}.items():
        if code is not None:
            path = tmp_path / "modules" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(code, encoding="utf-8")
    variables = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    done = subprocess.run([sys.executable, "-c", LOAD], cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"LCM: this WebUI lacks {lacks}, so LCM is not available; use A1111 1.6 or later, Forge or reForge.\n"
