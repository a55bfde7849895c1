"""Every decision about a generation, on real (sparse) LoRA files of the official layout."""

import json

import pytest

from lib_lcm.families import ModelFamily
from lib_lcm.library import LoraLibrary
from lib_lcm.lora_use import other_tags, resolve_lora, why_not_held
from lib_lcm.options import LcmOptions, Limits
from lib_lcm.plan import HostFacts, PassRequest, Request, make_plan
from lib_lcm.prompt_tags import find_tags
from tests.unit.lora_fixtures import kohya_lora, official_lora_tensors, targeted_layers, write_lora

SD15, SDXL, SSD1B = ModelFamily.sd15, ModelFamily.sdxl, ModelFamily.ssd1b


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Lora")
    write_lora(folder / "lcm_lora_sd15.safetensors", official_lora_tensors("sd15"))
    write_lora(folder / "speed" / "pytorch_lora_weights.safetensors", official_lora_tensors("sdxl"))
    write_lora(folder / "Hyper-SD15-8steps.safetensors", official_lora_tensors("sd15"))
    write_lora(folder / "style.safetensors", kohya_lora(targeted_layers("sd15", ["to_q", "to_k", "to_v"]), 16), {"ss_network_dim": "16"})
    return LoraLibrary([folder])


def plan_of(loras, options=LcmOptions(enabled=True, steps=4, cfg=1.0), family=SD15, limits=Limits(), **request):
    first = request.pop("first", PassRequest(20))
    return make_plan(options, Request(first=first, cfg=request.pop("cfg", 7.0), **request), HostFacts(family, loras), limits)


def test_one_tick_says_everything_in_one_line(loras):
    plan = plan_of(loras)
    assert plan.status_line() == "SD 1.5 · lcm_lora_sd15 · 4 steps: 999 759 499 259 · CFG 1: negative prompt ignored"
    assert plan.cond_only and plan.messages == () and plan.problem is None
    json.dumps(plan.as_dict())


def test_each_family_gets_its_own_file_whatever_its_name(loras):
    assert plan_of(loras, family=SDXL).lora.path.name == "pytorch_lora_weights.safetensors"
    assert plan_of(loras, family=SD15).lora.path.name == "lcm_lora_sd15.safetensors"


def test_a_family_without_its_file_fails_with_a_sentence_that_says_what_to_do(loras):
    plan = plan_of(loras, family=SSD1B)
    assert plan.lora is None and "SSD-1B" in plan.problem and plan.status_line() == plan.problem


@pytest.mark.parametrize("family", [ModelFamily.sd2, ModelFamily.sd3, ModelFamily.flux, ModelFamily.sdxl_refiner, ModelFamily.unknown])
def test_a_family_without_lcm_lora_fails_unless_none_was_chosen(loras, family):
    assert '"None"' in plan_of(loras, family=family).problem
    chosen_none = plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=1.0, lora="none"), family=family)
    assert chosen_none.problem is None and chosen_none.lora is None and "no LoRA" in chosen_none.status_line()


def test_given_values_are_used_and_others_are_clamped_and_told(loras):
    assert plan_of(loras).first.steps == 4
    plan = plan_of(loras, LcmOptions(enabled=True))
    assert (plan.first.steps, plan.cfg) == (8, 2.0)
    assert plan.messages == ("CFG 7 → 2, Steps 20 → 8: LCM works with 1 to 8 steps and a CFG scale of 1 to 2.",)
    assert plan_of(loras, LcmOptions(enabled=True), first=PassRequest(3), cfg=1.5).messages == ()


def test_the_hires_pass_follows_the_same_rule(loras):
    plan = plan_of(loras, hires=PassRequest(20, 0.5))
    assert plan.hires.steps == 8 and "Hires steps 20 → 8" in plan.messages[0]
    assert plan_of(loras, hires=PassRequest(0, 0.5)).hires.timesteps == (499, 379, 259, 139)
    assert "hires 2 steps: 499 259" in plan_of(loras, hires=PassRequest(2, 0.5)).status_line()


def test_a_strength_that_leaves_fewer_timesteps_than_steps_is_told(loras):
    plan = plan_of(loras, first=PassRequest(20, 0.05))
    assert plan.first.timesteps == (39, 19)
    assert plan.messages == ("Denoising strength 0.05 leaves only 2 of the schedule's timesteps: steps 4 → 2.",)


@pytest.mark.parametrize("strength", [-0.5, 1.5, float("nan")])
def test_a_strength_that_is_none_fails_with_a_sentence(loras, strength):
    assert f"{strength:g}" in plan_of(loras, first=PassRequest(20, strength)).problem


def test_a_negative_prompt_is_named_where_it_is_ignored(loras):
    assert "negative prompt is ignored" in plan_of(loras, negative_prompt="blurry").messages[0]
    assert plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=1.5), negative_prompt="blurry").messages == ()
    nearly = plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=1.00005))
    assert nearly.cond_only


def test_a_schedule_picked_by_hand_is_respected_and_named(loras):
    plan = plan_of(loras, scheduler="Karras")
    assert plan.host_scheduler == "Karras" and plan.first.timesteps == () and "Karras" in plan.messages[0]
    assert plan_of(loras, scheduler="Automatic").host_scheduler is None


def test_the_refiner_is_skipped_with_a_message(loras):
    plan = plan_of(loras, refiner="sd_xl_refiner_1.0")
    assert plan.skips_refiner and "sd_xl_refiner_1.0" in plan.messages[0]


# --- the LoRA of one prompt ---------------------------------------------------------------------------------------------

ON = LcmOptions(enabled=True)


def applied(prompt, loras, options=ON, family=SD15):
    """The LoRAs that are applied, the LCM-LoRA last, and the decision."""
    use = resolve_lora(prompt, options, family, loras)
    assert use.problem is None, use.problem
    others = [tag.text for tag in other_tags(find_tags(prompt), loras)]
    return others if use.file is None else [*others, f"{loras.name_of(use.file)} at {use.weight:g}"], use


def test_a_clean_prompt_gets_the_lora_of_its_family(loras):
    assert applied("a cat", loras)[0] == ["lcm_lora_sd15 at 1"]


@pytest.mark.parametrize("start", ["<lora:lcm_lora_sd15", "<lora:LCM_LoRA_SD15", "<lyco:lcm_lora_sd15", "<lora:lcm-lora-sdv1-5"])
def test_a_typed_tag_under_any_of_its_names_sets_the_weight_once(loras, start):
    names, use = applied(f"a cat {start}:0.7>, sitting", loras)
    assert names == ["lcm_lora_sd15 at 0.7"] and use.messages == ()


def test_a_typed_name_works_though_the_file_has_another(loras):
    assert applied("a cat <lora:lcm_lora_sdxl:1>", loras, family=SDXL)[0] == ["pytorch_lora_weights at 1"]


def test_a_tag_of_the_wrong_family_is_replaced_at_its_weight_with_a_message(loras):
    names, use = applied("a cat <lora:lcm_lora_sdxl:0.8>", loras)
    assert names == ["lcm_lora_sd15 at 0.8"]
    assert use.messages == (
        "lcm_lora_sdxl is an LCM-LoRA for SDXL and the checkpoint is SD 1.5: lcm_lora_sd15 was used instead, at the same weight.",
    )


def test_a_tag_that_stands_twice_is_applied_once(loras):
    names, use = applied("<lora:lcm_lora_sd15:0.4> a cat <lora:lcm_lora_sd15:1>", loras)
    assert names == ["lcm_lora_sd15 at 1"] and "2 times" in use.messages[0]


@pytest.mark.parametrize("name", ["style", "Hyper-SD15-8steps"])
def test_other_loras_are_left_as_they_are(loras, name):
    assert applied(f"a cat <lora:{name}:0.8>", loras)[0] == [f"<lora:{name}:0.8>", "lcm_lora_sd15 at 1"]


def test_with_none_typed_tags_are_left_alone(loras):
    use = resolve_lora("a cat <lora:lcm_lora_sd15:1>", LcmOptions(enabled=True, lora="none"), SD15, loras)
    assert use.file is None and use.problem is None


def test_a_chosen_file_must_exist_and_fit(loras):
    def problem(name, family=SD15):
        return resolve_lora("a cat", LcmOptions(enabled=True, lora=name), family, loras).problem

    assert "'missing'" in problem("missing")
    assert "SDXL" in problem("pytorch_lora_weights") and "SD 1.5" in problem("pytorch_lora_weights")
    assert problem("lcm_lora_sd15") is None and problem("lcm_lora_sdxl", SDXL) is None


def test_a_tag_with_a_weight_that_is_no_number_fails_with_a_sentence(loras):
    assert "not a number" in resolve_lora("<lora:lcm_lora_sd15:abc>", ON, SD15, loras).problem


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for family in ("sd15", "sdxl"):
        write_lora(tmp_path / family / "pytorch_lora_weights.safetensors", official_lora_tensors(family))
    loras = LoraLibrary([tmp_path])
    plan = plan_of(loras, family=SDXL)
    assert plan.status_line().startswith("SDXL · sdxl/pytorch_lora_weights · ") and plan.as_dict()["lora"] == "sdxl/pytorch_lora_weights"
    assert loras.find(plan.lora_name) == plan.lora
    use = resolve_lora("a cat <lora:pytorch_lora_weights:0.5>", ON, SDXL, loras)
    assert "sdxl/pytorch_lora_weights was used instead" in use.messages[0] and use.weight == 0.5


@pytest.mark.parametrize("matched, holds", [(278, True), (None, True), (251, True), (249, False), (161, False), (0, False)])
def test_a_lora_that_matches_few_layers_is_not_passed_off_as_lcm(loras, matched, holds):
    problem = why_not_held(loras.find("lcm_lora_sd15"), matched)
    assert (problem is None) == holds
    if not holds:
        assert f"{matched} of its 278 layers" in problem and "lcm_lora_sd15.safetensors" in problem
