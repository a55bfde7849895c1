"""scripts/lcm.py in a WebUI that lacks what LCM needs: one sentence in its log, no script, no error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import prepared

ROOT = Path(__file__).resolve().parents[2]
LOAD = """
import runpy
loaded = runpy.run_path("scripts/lcm.py")
assert not any(isinstance(thing, type) for thing in loaded.values()), "a script class is there"
"""
NOTICE = (
    "LCM: this WebUI lacks {}, so LCM is not available; use A1111 1.6 or later, Forge, Forge Neo, Forge"
    " Classic or reForge.\n"
)
OLDER_THAN_1_6 = {  # what 1.5 has of the parts that are looked for
    "shared": "",
    "extra_networks": "activate = None",
    "sd_samplers": "all_samplers = []\nall_samplers_map = {}\ndef set_samplers(): pass",
    "sd_samplers_kdiffusion": "class KDiffusionSampler: pass",
    "sd_samplers_common": "SamplerData = None",
    "ui_components": "",
    "script_callbacks": "",
    "scripts": "class Script: pass\nAlwaysVisible = object()",
    "progress": "",
}
ALL_THAT_IS_LOOKED_FOR = {
    **OLDER_THAN_1_6,
    "sd_samplers_kdiffusion": "class KDiffusionSampler: pass\nclass CFGDenoiserKDiffusion: pass",
    "ui_components": "class InputAccordion: pass",
}


def load_in(folder, modules):
    """scripts/lcm.py, loaded where the WebUI's `modules` package holds these files and no others."""
    for name, code in {"__init__": "", **modules}.items():
        if code is not None:
            path = folder / "modules" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(code, encoding="utf-8")
    variables = dict(os.environ, PYTHONPATH=os.pathsep.join([str(folder), str(ROOT)]))
    return prepared.run("-c", LOAD, cwd=ROOT, env=variables)


@pytest.mark.parametrize(
    "modules,lacks",
    [
        (
            OLDER_THAN_1_6,
            "modules.sd_samplers_kdiffusion.CFGDenoiserKDiffusion, modules.ui_components.InputAccordion",
        ),
        (
            {**OLDER_THAN_1_6, "ui_components": None},
            "modules.sd_samplers_kdiffusion.CFGDenoiserKDiffusion, modules.ui_components",
        ),
        ({**ALL_THAT_IS_LOOKED_FOR, "extra_networks": None}, "modules.extra_networks"),
        ({**ALL_THAT_IS_LOOKED_FOR, "progress": None}, "modules.progress"),
        ({**ALL_THAT_IS_LOOKED_FOR, "scripts": "from modules import something_new"}, "modules.scripts"),
        ({**ALL_THAT_IS_LOOKED_FOR, "ui_components": "import gradio_of_tomorrow"}, "modules.ui_components"),
    ],
    ids=[
        "1.5",
        "without ui_components",
        "without extra networks",
        "without progress",
        "a part fails",
        "a part's package is missing",
    ],
)
def test_it_says_what_is_missing_and_does_nothing(tmp_path, modules, lacks):
    assert load_in(tmp_path, modules) == (0, NOTICE.format(lacks))


def test_a_webui_that_has_all_parts_and_is_another_one_all_the_same(tmp_path):
    modules = {
        **ALL_THAT_IS_LOOKED_FOR,
        "sd_samplers_kdiffusion": "class KDiffusionSampler: pass\nclass CFGDenoiserKDiffusion: pass",
        "sd_samplers_common": "class SamplerData:\n    pass",
    }
    status, printed = load_in(tmp_path, modules)
    assert status == 0 and printed.count("\n") == 1
    assert printed.startswith("LCM: this WebUI lacks something that LCM builds on (TypeError: ")


def test_what_only_shows_when_our_code_is_imported_is_said_too(tmp_path):
    """All that is looked for is there, but gradio, which our page is made of, is not."""
    modules = {**ALL_THAT_IS_LOOKED_FOR, "shared": "import sys; sys.modules['gradio'] = None"}
    assert load_in(tmp_path, modules) == (0, NOTICE.format("gradio"))
