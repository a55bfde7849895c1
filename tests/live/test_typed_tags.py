"""An LCM-LoRA in the prompt while LCM is off: the setting "warn", "switch LCM on" or "nothing"."""

import pytest

from tests.live.profiles import both_profiles, one_profile
from tests.live.test_generation import same
from tests.prompts import PROMPT

TAGGED = f"{PROMPT} <lora:lcm_lora_sd15:1>"
pytestmark = one_profile


@pytest.fixture
def typed_tag(webui):
    """`typed_tag(choice)` sets the setting; afterwards it is as before."""
    before = webui.all_settings()["lcm_typed_tag"]
    yield lambda choice: webui.client.post("/sdapi/v1/options", {"lcm_typed_tag": choice})
    webui.client.post("/sdapi/v1/options", {"lcm_typed_tag": before})


def warnings(webui) -> list[str]:
    if webui.server is None:
        pytest.skip("the log of a WebUI that was not started here cannot be read")
    return [line for line in webui.server.log if line.startswith("LCM: The prompt holds")]


def test_it_warns_and_changes_nothing(webui, typed_tag):
    typed_tag("nothing")
    quiet, quiet_calls = webui.txt2img(TAGGED, steps=10, cfg_scale=7)
    already = len(warnings(webui))
    typed_tag("warn")
    warned, calls = webui.txt2img(TAGGED, steps=10, cfg_scale=7)
    new = warnings(webui)[already:]
    assert len(new) == 1
    for part in ("lcm_lora_sd15", "sampler Euler", "10 steps", "CFG scale 7", "tick LCM"):
        assert part in new[0]
    assert calls == quiet_calls and warned.infotext == quiet.infotext
    assert same(warned.image, quiet.image)


def test_settings_that_suit_lcm_get_no_warning(webui, typed_tag):
    typed_tag("warn")
    already = len(warnings(webui))
    webui.txt2img(TAGGED, steps=4, cfg_scale=1, sampler_name="LCM")
    webui.txt2img(PROMPT, steps=10, cfg_scale=7)
    assert warnings(webui)[already:] == []


def test_a_hires_prompt_is_warned_of_by_the_settings_of_its_own_pass(webui, typed_tag):
    hires = {**webui.hires, "hr_prompt": TAGGED, "hr_second_pass_steps": 9}
    plain = {"steps": 3, "cfg_scale": 1, "sampler_name": "Euler"}
    if webui.server is None:
        pytest.skip("the log of a WebUI that was not started here cannot be read")
    warning = (
        "LCM: The prompt of the hires pass holds the LCM LoRA lcm_lora_sd15, which does not work with that"
        " pass's sampler Euler, 9 steps: tick LCM, or give that pass the sampler LCM with 1 to 8 steps and"
        " CFG 2 at most."
    )
    suited = {"hr_sampler_name": "LCM", "hr_second_pass_steps": 2}
    for choice, fields, expected in (
        ("warn", {}, [warning]),
        ("switch LCM on", {}, [warning]),
        ("warn", suited, []),
        ("nothing", {}, []),
    ):
        typed_tag(choice)
        already = len(webui.server.log)
        made, _ = webui.txt2img(PROMPT, **{**plain, **hires, **fields})
        assert [
            line.strip() for line in webui.server.log[already:] if line.startswith("LCM: The prompt")
        ] == expected
        assert "LCM LoRA" not in made.infotext
    typed_tag("warn")
    already = len(webui.server.log)
    # then it has the steps of the first pass
    webui.txt2img(PROMPT, **{**plain, **hires, "hr_second_pass_steps": None, "steps": 9})
    assert [
        line.strip() for line in webui.server.log[already:] if line.startswith(("LCM:", "*** Error"))
    ] == [warning]


@both_profiles
def test_a_tag_in_a_comment_is_none(webui, typed_tag):
    webui.needs_comments()
    _plain, calls = webui.txt2img(PROMPT, steps=3, cfg_scale=7)
    already = len(warnings(webui))
    for choice in ("warn", "switch LCM on"):
        typed_tag(choice)
        commented, commented_calls = webui.txt2img(
            f"{PROMPT}\n# <lora:lcm_lora_sd15:1>", steps=3, cfg_scale=7
        )
        assert "LCM LoRA" not in commented.infotext and len(commented_calls) == len(calls)
    assert warnings(webui)[already:] == []


def test_it_can_switch_lcm_on(webui, typed_tag):
    typed_tag("switch LCM on")
    made, calls = webui.txt2img(TAGGED, steps=4, cfg_scale=1)
    assert [call["timesteps"] for call in calls] == [[999], [759], [499], [259]]
    assert "Sampler: LCM" in made.infotext and "LCM LoRA: lcm_lora_sd15" in made.infotext
    assert made.infotext.startswith(TAGGED + "\n")
