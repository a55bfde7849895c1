"""Settings -> LCM: each one does what its sentence says, and a value that is nonsense, or none at all, counts
as the default.
"""

import pytest

from tests import prepared
from tests.browser import open_accordion, with_chromium
from tests.live.page import number, set_number, settle
from tests.live.profiles import one_profile
from tests.live.test_generation import fields
from tests.prompts import PROMPT
from tests.waiting import wait_for
from workbench.server import ROOT

ON = {"enabled": True, "steps": 4, "cfg": 1}
NONSENSE = ["abc", "", None, [], {}, True, -3, 1e9, float(2**70), "trailing "]
pytestmark = one_profile


def plan(webui, body=None) -> dict:
    return webui.loaded().post(
        "/lcm/v1/plan", {"args": [{"enabled": True}], "steps": 4, "cfg_scale": 1, **(body or {})}
    )


def weight_and_schedule(webui, lcm=None, checkpoint=None) -> tuple[str, str]:
    made, _ = webui.txt2img(PROMPT, checkpoint, lcm={**ON, **(lcm or {})})
    made_with = fields(made.infotext)
    return made_with["LCM weight"], made_with["LCM schedule"]


def test_weight_and_schedule_that_a_request_does_not_give_are_those_of_the_settings(webui):
    with webui.settings(lcm_weight_sd15=0.8, lcm_weight_sdxl=0.6, lcm_schedule="WebUI"):
        assert weight_and_schedule(webui) == ("0.8", "WebUI")
        assert weight_and_schedule(webui, {"weight": 0.9, "schedule": "trailing"}) == ("0.9", "Trailing")
        assert weight_and_schedule(webui, checkpoint=webui.sdxl) == ("0.6", "WebUI")
    assert weight_and_schedule(webui) == ("1", "Trailing")


def test_a_typed_weight_wins_over_the_setting(webui):
    with webui.settings(lcm_weight_sd15=0.8):
        made, _ = webui.txt2img(f"{PROMPT} <lora:lcm_lora_sd15:0.5>", lcm=ON)
    assert "LCM weight: 0.5" in made.infotext


def test_the_bounds_are_what_requests_are_clamped_to(webui):
    with webui.settings(lcm_max_steps=6, lcm_max_cfg=3.0):
        made = plan(webui, {"steps": 20, "cfg_scale": 7})
    assert (made["steps"], made["cfg"]) == (6, 3.0)


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_a_nonsense_value_counts_as_the_default(webui, value):
    names = [
        "lcm_max_steps",
        "lcm_max_cfg",
        "lcm_weight_sd15",
        "lcm_schedule",
        "lcm_typed_tag",
    ]
    before, _ = webui.txt2img(PROMPT, lcm=ON)
    with webui.settings(**dict.fromkeys(names, value)):
        assert webui.client.get("/lcm/v1/status")["limits"] == {"steps": [1, 8], "cfg": [1.0, 2.0]}
        after, _ = webui.txt2img(PROMPT, lcm=ON)
    assert (after.infotext, after.image.tobytes()) == (before.infotext, before.image.tobytes())


def test_a_mirror_that_is_no_address_is_refused_by_the_download(webui):
    def download() -> dict:
        return next(
            one for one in webui.client.get("/lcm/v1/download")["downloads"] if one["family"] == "ssd1b"
        )

    with webui.settings(lcm_download_mirror="not an address"):
        webui.client.post("/lcm/v1/download", {"family": "ssd1b"})
        wait_for(lambda: download()["state"] != "running")
    assert download()["state"] == "failed"
    assert "'not an address' in Settings → LCM" in download()["problem"]


READ_ALL = """
import sys, tempfile
from pathlib import Path
from benchmarks.in_process import import_host
with tempfile.TemporaryDirectory() as folder:
    import_host(Path(folder))
    sys.path.insert(0, {root!r})
    from lib_lcm.options import DEFAULT_LIMITS, FIRST
    from lib_lcm.webui import settings
    from modules import shared
    assert not any(name.startswith("lcm_") for name in shared.opts.data_labels)
    assert settings.limits() == DEFAULT_LIMITS
    assert settings.defaults(settings.families()[1]) == FIRST == settings.defaults(None)
    others = settings.typed_tag(), settings.trailing_by_hand(), settings.download_mirror()
    assert others == ("warn", False, "")
    settings.register()
    labels = shared.opts.data_labels
    options = {name: option for name, option in labels.items() if name.startswith("lcm_")}
    unexplained = [
        name
        for name, option in options.items()
        if not option.comment_after and not name.startswith("lcm_heading")
    ]
    assert len(options) >= 17 and unexplained == [], unexplained
"""


def test_reading_tolerates_that_the_settings_are_not_there():
    program = READ_ALL.replace("{root!r}", repr(str(ROOT)))
    status, printed = prepared.run("-c", program, cwd=ROOT)
    assert status == 0, printed


# --- on the page --------------------------------------------------------------------------------------------


@with_chromium
def test_the_sliders_follow_the_family_until_they_are_moved(page, webui):
    def values():
        return [number(page, name).input_value() for name in ("steps", "cfg", "weight")]

    with webui.settings(
        sd_model_checkpoint=webui.sd15, lcm_steps_sdxl=6, lcm_weight_sdxl=0.9, lcm_cfg_sdxl=1.5
    ):
        open_accordion(page)
        set_number(page, "cfg", 1.2)
        settle(page)
        assert values() == ["4", "1.2", "1"]
        for checkpoint, expected in ((webui.sdxl, ["6", "1.2", "0.9"]), (webui.sd15, ["4", "1.2", "1"])):
            webui.client.post("/sdapi/v1/options", {"sd_model_checkpoint": checkpoint})
            # Forge loads it only now
            webui.client.txt2img(PROMPT, steps=1, cfg_scale=1, width=webui.side, height=webui.side)
            page.locator("#script_txt2img_lcm_refresh").first.click()
            settle(page)
            assert values() == expected  # the CFG scale is the user's own
