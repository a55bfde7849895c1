"""Every decision about a generation, on real (sparse) LoRA files of the official layout."""

import json
from dataclasses import replace

import pytest

from lib_lcm.families import FLUX, SD2, SD3, SD15, SDXL, SDXL_REFINER, SSD1B, UNKNOWN, family_named
from lib_lcm.lora.file import DISTILLATION_METADATA
from lib_lcm.lora.library import LoraLibrary
from lib_lcm.lora.tags import find_tags
from lib_lcm.lora.use import lora_for, option_name, why_not_held, why_partly_held
from lib_lcm.methods import FULL_LCM, LCM
from lib_lcm.options import MIDDLE, LcmOptions, Limits, limits_of
from lib_lcm.plan.make import HostFacts, make_plan
from lib_lcm.plan.request import PassRequest, Request, hires_side, read_request
from lib_lcm.plan.status import as_dict, status_line
from tests.unit.lora_fixtures import kohya_lora, official_lora_tensors, targeted_layers, write_lora


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Lora")
    write_lora(folder / "lcm_lora_sd15.safetensors", official_lora_tensors("sd15"))
    write_lora(folder / "speed" / "pytorch_lora_weights.safetensors", official_lora_tensors("sdxl"))
    write_lora(folder / "Hyper-SD15-8steps.safetensors", official_lora_tensors("sd15"))
    write_lora(
        folder / "style.safetensors",
        kohya_lora(targeted_layers("sd15", ["to_q", "to_k", "to_v"]), 16),
        {"ss_network_dim": "16"},
    )
    return LoraLibrary([folder])


def plan_of(
    loras,
    options=LcmOptions(enabled=True, steps=4, cfg=1.0),
    family=SD15,
    limits=Limits(),
    host=None,
    **request,
):
    def texts(asked, prefix):
        names = {
            field: request.pop(prefix + field, None) for field in ("prompt", "negative_prompt", "checkpoint")
        }
        return asked and replace(asked, **{field: text for field, text in names.items() if text is not None})

    hires = texts(request.pop("hires", None), "hires_")
    first = texts(request.pop("first", PassRequest(20)), "")
    facts = HostFacts(
        family,
        loras,
        limits=lambda method: limits if method is LCM else limits_of(method),
        **(host or {}),
    )
    return make_plan(options, Request(first, request.pop("cfg", 7.0), hires, **request), facts)


@pytest.mark.parametrize(
    "steps,prompt,host,said",
    [
        (1, "a", {}, "CFG 1.5 in step 1: negative prompt used · 2 UNet rows"),
        (2, "a", {}, "CFG 1.5 in step 2: negative prompt used · 3 UNet rows"),
        (3, "a", {}, "CFG 2 in step 2: negative prompt used · 4 UNet rows"),
        (4, "a", {}, "CFG 2 in steps 2–3: negative prompt used · 6 UNet rows"),
        (6, "a", {}, "CFG 2 in steps 3–5: negative prompt used · 9 UNet rows"),
        (8, "a", {}, "CFG 2 in steps 4–6: negative prompt used · 11 UNet rows"),
        (4, "a AND b", {}, "CFG 2 in steps 2–3: negative prompt used · 12 UNet rows"),
        (
            4,
            "a AND b",
            {"leaves_out_uncond": True},
            "CFG 2 in steps 2–3: negative prompt used · 10 UNet rows",
        ),
    ],
)
def test_cfg_in_the_middle_steps_alone_costs_that_much_less(loras, steps, prompt, host, said):
    options = LcmOptions(True, steps=steps, cfg=2.0, guided_steps="middle")
    plan = plan_of(loras, options, prompt=prompt, negative_prompt="blurry", host=host)
    assert status_line(plan).endswith(said)
    assert [str(message) for message in plan.messages] == [
        f"CFG 2 → {cfg}: LCM works with 1 to 8 steps and a CFG scale of 1 to {cfg}."
        for cfg in ((1.5,) if steps < 3 else ())
    ]


def test_how_high_the_cfg_scale_of_middle_steps_may_be_goes_by_their_number(loras):
    def plan(given, steps, **fields):
        return plan_of(loras, LcmOptions(True, steps=steps, cfg=given, guided_steps="middle"), **fields)

    most = plan(2.5, 8)
    assert (most.cfg, most.problem, most.messages) == (2.5, None, ())
    assert plan(2.6, 8).problem == "LCM option 'cfg' is 2.6; it must be a number from 1 to 2.5."
    # right for more steps, so that it is no mistake
    assert (plan(2.5, 4).cfg, plan(2.5, 4).problem) == (2.0, None)
    assert plan(2.5, 4).messages == ("CFG 2.5 → 2: LCM works with 1 to 8 steps and a CFG scale of 1 to 2.",)
    assert plan(2.0, 4, hires=PassRequest(2, 0.5)).cfg == 1.5
    assert [plan(None, steps, cfg=7.0).cfg for steps in (1, 3, 5, 6)] == [1.5, 2.5, 2.0, 2.5]


def test_where_the_middle_steps_cannot_be_guided_alone_all_are(loras):
    options = LcmOptions(True, steps=4, cfg=2.0, guided_steps="middle", schedule="webui")
    plan = plan_of(loras, options, negative_prompt="blurry", host={"own_samplers": frozenset({"LCM"})})
    assert plan.first.guided.steps is None and plan.unet_rows == 8
    (message,) = plan.messages
    assert message.startswith("The WebUI's own sampler guides all steps")
    made_for_cfg = LcmOptions(True, steps=8, cfg=5.0, guided_steps="middle", method="hyper-cfg-8")
    assert plan_of(loras, made_for_cfg, negative_prompt="blurry").first.guided.steps is None
    at_one = LcmOptions(True, steps=4, cfg=1.0, guided_steps="middle")
    assert plan_of(loras, at_one, negative_prompt="blurry").first.guided.ignores_negative_prompt


def test_a_tag_that_means_no_file_is_told_once_and_a_usual_name_is_none_such(loras):
    tag = "<lora:Hyper-SD15-8steps-lora:1>"
    assert plan_of(loras, prompt=f"a star {tag} {tag} <lora:lcm:1>").messages[:1] == (
        "The LoRA Hyper-SD15-8steps-lora in the prompt is not in the LoRA folder: its tag does nothing.",
    )
    assert plan_of(loras, prompt="a star <lora:lcm_lora_sd15:1>").messages == ()


def test_a_method_picked_by_hand_is_known_as_that(loras):
    plan = plan_of(loras, LcmOptions(True, steps=4, cfg=1.0, method="dmd2"))
    assert as_dict(plan)["method_known_by"] == "as asked"
    assert as_dict(plan_of(loras))["method_known_by"] == "by its layers"


def test_one_tick_says_everything_in_one_line(loras):
    plan = plan_of(loras)
    assert status_line(plan) == "SD 1.5 · lcm_lora_sd15 · 4 steps: 999 759 499 259 · CFG 1 · 4 UNet rows"
    assert plan.first.guided.rows == (1,) * 4 and plan.messages == () and plan.problem is None
    json.dumps(as_dict(plan))


def test_each_family_gets_its_own_file_whatever_its_name(loras):
    assert plan_of(loras, family=SDXL).first.lora.file.path.name == "pytorch_lora_weights.safetensors"
    assert plan_of(loras, family=SD15).first.lora.file.path.name == "lcm_lora_sd15.safetensors"


def test_a_family_without_its_file_fails_with_a_sentence_that_says_what_to_do(loras):
    plan = plan_of(loras, family=SSD1B)
    assert plan.first.lora.file is None and "SSD-1B" in plan.problem and status_line(plan) == plan.problem


@pytest.mark.parametrize("family", [SD2, SD3, FLUX, SDXL_REFINER, UNKNOWN])
def test_a_family_without_lcm_lora_fails_unless_none_was_chosen(loras, family):
    assert '"None"' in plan_of(loras, family=family).problem
    chosen_none = plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=1.0, lora="none"), family=family)
    assert (
        chosen_none.problem is None
        and chosen_none.first.lora.file is None
        and "no LoRA" in status_line(chosen_none)
    )


def test_given_values_are_used_and_others_are_clamped_and_told(loras):
    assert plan_of(loras).first.steps == 4
    plan = plan_of(loras, LcmOptions(enabled=True))
    assert (plan.first.steps, plan.cfg) == (8, 2.0)
    assert plan.messages == (
        "Steps 20 → 8, CFG 7 → 2: LCM works with 1 to 8 steps and a CFG scale of 1 to 2.",
    )
    assert plan_of(loras, LcmOptions(enabled=True), first=PassRequest(3), cfg=1.5).messages == ()


def test_the_hires_pass_follows_the_same_rule(loras):
    plan = plan_of(loras, hires=PassRequest(20, 0.5))
    assert plan.hires.steps == 8 and "Hires steps 20 → 8" in plan.messages[0]
    assert plan_of(loras, hires=PassRequest(0, 0.5)).hires.timesteps == (499, 379, 259, 139)
    assert "hires 2 steps at strength 0.5: 499 259" in status_line(plan_of(loras, hires=PassRequest(2, 0.5)))


def test_a_strength_that_leaves_fewer_timesteps_than_steps_is_told(loras):
    plan = plan_of(loras, first=PassRequest(20, 0.05))
    assert plan.first.timesteps == (39, 19)
    assert plan.messages == (
        "Denoising strength 0.05 leaves only 2 of the schedule's timesteps: steps 4 → 2.",
    )


@pytest.mark.parametrize("strength", [-0.5, 1.5, float("nan")])
def test_a_strength_that_is_none_fails_with_a_sentence(loras, strength):
    assert f"{strength:g}" in plan_of(loras, first=PassRequest(20, strength)).problem


def test_a_negative_prompt_is_named_where_it_is_ignored(loras):
    assert "CFG 1: negative prompt ignored" in status_line(plan_of(loras, negative_prompt="blurry"))
    assert plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=1.5), negative_prompt="blurry").messages == ()
    nearly = plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=1.00005))
    assert nearly.first.guided.rows == (1,) * 4


LEAVES_OUT, EDITS = {"leaves_out_uncond": True}, {"is_image_editing": True}


@pytest.mark.parametrize(
    "prompt,cfg,host,image_cfg,said",
    [
        ("a AND b", 1.0, {}, None, "CFG 1: negative prompt used · 12 UNet rows"),
        ("a :0.5", 1.0, {}, None, "CFG 1: negative prompt used · 8 UNet rows"),
        # u + (a - u) / 2 + (b - u) / 2
        ("a :0.5 AND b:.5", 1.0, {}, None, "CFG 1: negative prompt ignored · 12 UNet rows"),
        ("a AND b", 1.5, {}, None, "CFG 1.5: negative prompt used · 12 UNet rows"),
        ("a AND b", 1.0, LEAVES_OUT, None, "CFG 1: negative prompt ignored · 8 UNet rows"),
        ("a :0.5", 1.0, LEAVES_OUT, None, "CFG 1: negative prompt ignored · 4 UNet rows"),
        ("a", 1.5, LEAVES_OUT, None, "CFG 1.5: negative prompt used · 8 UNet rows"),
        ("a", 1.0, EDITS, 1.5, "CFG 1: negative prompt used · 12 UNet rows"),
        ("a", 1.0, EDITS, 1.0, "CFG 1: negative prompt ignored · 4 UNet rows"),
        ("a", 1.0, EDITS, None, "CFG 1: negative prompt ignored · 4 UNet rows"),
        ("a", 1.0, {}, 1.5, "CFG 1: negative prompt ignored · 4 UNet rows"),
    ],
)
def test_whether_the_negative_prompt_counts_is_decided_as_the_guidance_decides_it(
    loras, prompt, cfg, host, image_cfg, said
):
    options = LcmOptions(enabled=True, steps=4, cfg=cfg)
    plan = plan_of(loras, options, host=host, prompt=prompt, negative_prompt="blurry", image_cfg=image_cfg)
    assert status_line(plan).endswith(said) and as_dict(plan)["status"] == status_line(plan)
    assert plan.first.guided.ignores_negative_prompt == ("ignored" in said)


def test_a_schedule_picked_by_hand_is_respected_and_named(loras):
    plan = plan_of(loras, scheduler="Karras")
    assert plan.host_scheduler == "Karras" and plan.first.timesteps == () and "Karras" in plan.messages[0]


def test_tcd_visits_the_timesteps_of_lcm_and_is_named_with_its_gamma(loras):
    plan = plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=1.0, sampler="tcd", gamma=0.5))
    assert (
        status_line(plan)
        == "SD 1.5 · lcm_lora_sd15 · TCD gamma 0.5 · 4 steps: 999 759 499 259 · CFG 1 · 4 UNet rows"
    )
    assert (
        (plan.sampler, plan.gamma) == ("TCD", 0.5)
        and as_dict(plan)["sampler"] == "TCD"
        and as_dict(plan)["gamma"] == 0.5
    )
    lcm = plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=1.0, gamma=0.5))
    assert (lcm.sampler, lcm.gamma) == ("LCM", None) and "TCD" not in status_line(lcm)


def test_tcd_is_handed_over_only_where_the_webui_has_one(loras):
    options = LcmOptions(enabled=True, steps=4, cfg=1.0, sampler="tcd", schedule="webui")
    request = Request(first=PassRequest(20), cfg=7.0)
    ours = make_plan(options, request, HostFacts(SD15, loras, frozenset({"LCM"})))
    assert (ours.schedule, ours.first.timesteps, ours.gamma) == ("trailing", (999, 759, 499, 259), 0.3)
    assert ours.messages == (
        'The WebUI has no sampler TCD of its own to hand over to: schedule "Trailing" is used.',
    )
    theirs = make_plan(options, request, HostFacts(SD15, loras, frozenset({"LCM", "TCD"})))
    assert (theirs.schedule, theirs.first.timesteps, theirs.gamma, theirs.messages) == ("webui", (), None, ())
    assert "TCD ·" in status_line(theirs)


@pytest.mark.parametrize(
    "options,request_fields,parts",
    [
        ({"steps": 1}, {}, ["1 step: 999", "CFG 1", "1 UNet row"]),
        ({}, {"negative_prompt": "blurry"}, ["CFG 1: negative prompt ignored", "4 UNet rows"]),
        ({"cfg": 1.5}, {"negative_prompt": "blurry"}, ["CFG 1.5: negative prompt used", "8 UNet rows"]),
        ({"cfg": 1.5}, {}, ["CFG 1.5", "8 UNet rows"]),
        ({}, {"first": PassRequest(20, 0.5)}, ["4 steps at strength 0.5: 499 379 259 139", "4 UNet rows"]),
        ({}, {"hires": PassRequest(2, 0.5)}, ["hires 2 steps at strength 0.5: 499 259", "6 UNet rows"]),
        ({"weight": 0.8}, {}, ["lcm_lora_sd15 at 0.8"]),
        ({"schedule": "webui"}, {}, ["4 steps: 999 679 339 19", "schedule WebUI", "4 UNet rows"]),
    ],
)
def test_the_status_line_says_what_will_happen(loras, options, request_fields, parts):
    plan = plan_of(
        loras, LcmOptions(**{"enabled": True, "steps": 4, "cfg": 1.0, **options}), **request_fields
    )
    said = status_line(plan).split(" · ")
    assert [part for part in parts if part not in said] == []


FORGE = {"own_samplers": frozenset({"LCM"}), "leaves_out_uncond": True, "is_on_grid": False}


@pytest.mark.parametrize(
    "host,end",
    [
        ({}, "4 steps: 999 679 339 19 · schedule WebUI · CFG 1 · 4 UNet rows"),  # A1111 1.6, 1.7
        (
            {"own_samplers": frozenset({"LCM"})},
            "4 steps: 999 679 339 19 · schedule WebUI · CFG 1 · 8 UNet rows",
        ),
        (FORGE, "4 steps: 999 672 346 19 · schedule WebUI · CFG 1 · 4 UNet rows"),
        (
            {**FORGE, "spans_all": True},
            "4 steps: 999 666 333 0 · schedule WebUI · CFG 1 · 4 UNet rows",
        ),  # Neo
    ],
)
def test_schedule_webui_is_told_as_the_webuis_own_sampler_does_it(loras, host, end):
    options = LcmOptions(enabled=True, steps=4, cfg=1.0, schedule="webui")
    assert status_line(plan_of(loras, options, host=host)).endswith(end)


@pytest.mark.parametrize(
    "fields", [{"scheduler": "Karras"}, {"first": PassRequest(20, 0.5)}, {"hires": PassRequest(0, 0.5)}]
)
def test_calls_that_the_host_decides_are_not_promised(loras, fields):
    plan = plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=1.0, schedule="webui"), **fields)
    assert plan.unet_rows is None and "UNet" not in status_line(plan)


@pytest.mark.parametrize(
    "side,steps,is_hinted",
    [(1024, 4, True), (1216, 5, True), (1024, 6, False), (1016, 4, False), (0, 4, False)],
)
def test_few_steps_of_a_large_sdxl_picture_are_hinted_at(tmp_path, side, steps, is_hinted):
    options = LcmOptions(enabled=True, steps=steps, cfg=1.0, lora="none", method="lcm")
    folder = LoraLibrary(tmp_path)
    sdxl, sd15 = (
        plan_of(folder, options, family, first=PassRequest(20, 1.0, side)) for family in (SDXL, SD15)
    )
    assert [f"SDXL at {side} pixels in {steps} steps" in hint for hint in sdxl.hints] == [True] * is_hinted
    assert sdxl.messages == () and sd15.hints == ()


def test_the_hires_pass_is_hinted_at_by_its_own_size_and_steps(tmp_path):
    options = LcmOptions(enabled=True, steps=8, cfg=1.0, lora="none", method="lcm")
    hires = PassRequest(3, 0.5, hires_side(768, 512, 1.5, 0, 0))
    plan = plan_of(LoraLibrary(tmp_path), options, SDXL, first=PassRequest(20, 1.0, 768), hires=hires)
    assert [("1152" in hint, "3 steps" in hint) for hint in plan.hints] == [(True, True)]


@pytest.mark.parametrize(
    "size,resize_x,resize_y,side",
    [
        ((768, 512), 0, 0, 1152),
        ((768, 512), 900, 1000, 1000),
        ((768, 512), 0, 800, 1200),  # the side that is left out is the longer one
        ((512, 768), 800, 0, 1200),
        ((768, 512), 1024, 0, 1024),
        ((768, 510), 0, 800, 1204),  # whole pixels, as the WebUI cuts them off
        ((510, 768), 800, 0, 1204),
        ((0, 0), 0, 900, 0),  # while a field of the page is empty
        ((0, 768), 800, 0, 0),
    ],
)
def test_the_hires_size_may_leave_a_side_out(size, resize_x, resize_y, side):
    assert hires_side(*size, 1.5, resize_x, resize_y) == side


def test_a_hires_prompt_of_its_own_is_looked_at_for_its_tag(loras):
    hires = {"hires": PassRequest(2, 0.5), "prompt": "a fox"}
    same = plan_of(loras, hires_prompt="an owl", **hires)
    assert (same.hires.lora.name, same.hires.lora.weight) == ("lcm_lora_sd15", 1.0)
    assert "hires 2 steps at strength 0.5: 499 259 · " in status_line(same)
    lighter = plan_of(loras, hires_prompt="an owl <lora:lcm_lora_sd15:0.6>", **hires)
    assert (lighter.first.lora.weight, lighter.hires.lora.weight, as_dict(lighter)["hires_weight"]) == (
        1.0,
        0.6,
        0.6,
    )
    assert "hires 2 steps at strength 0.5: 499 259 with lcm_lora_sd15 at 0.6 · " in status_line(lighter)
    without = plan_of(loras, hires_prompt="an owl <lora:Hyper-SD15-8steps:1>", **hires)
    assert without.first.lora.name == "lcm_lora_sd15" and "499 374 249 124 with Hyper" in status_line(without)
    assert (without.hires.method.name, without.hires.sampler) == ("hyper-8", "DDIM trailing")
    wrong = plan_of(loras, hires_prompt="an owl <lora:lcm_lora_sd15:heavy>", **hires)
    assert (
        "heavy" in wrong.problem
        and plan_of(loras, prompt="a fox", hires_prompt="an owl <lora:lcm_lora_sd15:heavy>").problem is None
    )


@pytest.mark.parametrize("tag", ["<lora:lcm_lora_sdxl:0.6>", "<lora:lcm_lora_sdxl:heavy>"])
def test_the_lora_of_a_hires_pass_on_another_checkpoint_is_left_to_that_pass(loras, tag):
    hires = {"hires": PassRequest(2, 0.5), "prompt": "a fox", "hires_prompt": f"an owl {tag}"}
    plan = plan_of(loras, hires_checkpoint="an SDXL one", **hires)
    assert (plan.problem, plan.messages, plan.hires.lora) == (None, (), None)
    assert "hires 2 steps at strength 0.5: 499 259" in status_line(plan).split(" · ")
    same = plan_of(loras, **hires)
    assert same.problem or same.hires.lora.weight == 0.6


def test_the_rows_of_the_hires_pass_are_those_of_its_own_prompt(loras):
    hires = {"hires": PassRequest(2, 0.5), "prompt": "a fox"}
    assert "6 UNet rows" in status_line(plan_of(loras, **hires)).split(" · ")
    plan = plan_of(loras, hires_prompt="a fox AND an owl", **hires)
    assert "10 UNet rows" in status_line(plan).split(" · ") and plan.unet_rows == 10
    at_two = plan_of(loras, LcmOptions(enabled=True, steps=4, cfg=2.0), hires_prompt="an owl", **hires)
    assert "12 UNet rows" in status_line(at_two).split(" · ")


def test_what_both_passes_are_told_is_told_once(loras):
    hires = {"hires": PassRequest(2, 0.5), "hires_prompt": "an owl <lora:lcm_lora_sdxl:1>"}
    messages = plan_of(loras, prompt="a fox <lora:lcm_lora_sdxl:1>", **hires).messages
    assert len([message for message in messages if "lcm_lora_sdxl" in message]) == 1


def test_a_negative_prompt_of_the_hires_pass_alone_is_told_of(loras):
    plan = plan_of(loras, hires=PassRequest(2, 0.5), hires_negative_prompt="blurry")
    assert not plan.first.guided.ignores_negative_prompt and plan.hires.guided.ignores_negative_prompt
    used = plan_of(
        loras, LcmOptions(enabled=True, cfg=1.5), hires=PassRequest(2, 0.5), hires_negative_prompt="blurry"
    )
    assert not used.hires.guided.ignores_negative_prompt
    inherited = plan_of(loras, hires=PassRequest(2, 0.5), negative_prompt="blurry")
    assert inherited.first.guided.ignores_negative_prompt and inherited.hires.guided.ignores_negative_prompt


def test_what_is_no_number_counts_as_not_given():
    nan, hires = float("nan"), {"enable_hr": True, "width": 64, "height": 64}
    asked = read_request({"cfg_scale": nan, "hr_scale": nan, "steps": "", **hires}, is_img2img=False)
    assert (asked.cfg, asked.first.steps, asked.hires.side) == (1.0, 1, 64)


@pytest.mark.parametrize("same", [None, "", "None", "Use same checkpoint"])
def test_the_same_checkpoint_is_none_of_its_own(same):
    values = {"enable_hr": True, "hr_checkpoint_name": same, "refiner_checkpoint": same}
    asked = read_request(values, is_img2img=False)
    assert asked.hires.checkpoint is None and asked.refiner is None


def test_the_refiner_is_skipped_with_a_message(loras):
    plan = plan_of(loras, refiner="sd_xl_refiner_1.0")
    assert plan.skips_refiner and "sd_xl_refiner_1.0" in plan.messages[0]


# --- the LoRA of one prompt ---------------------------------------------------------------------------------

ON = LcmOptions(enabled=True, weight=1.0)


def applied(prompt, loras, options=ON, family=SD15):
    """The LoRAs that are applied, the LCM-LoRA last, and the decision."""
    use = lora_for(prompt, options, family, loras)
    assert use.problem is None, use.problem
    others = [tag.text for tag in find_tags(prompt) if tag not in use.replaces]
    return others if use.file is None else [*others, f"{loras.name_of(use.file)} at {use.weight:g}"], use


def test_a_clean_prompt_gets_the_lora_of_its_family(loras):
    assert applied("a cat", loras)[0] == ["lcm_lora_sd15 at 1"]


@pytest.mark.parametrize(
    "start", ["<lora:lcm_lora_sd15", "<lora:LCM_LoRA_SD15", "<lyco:lcm_lora_sd15", "<lora:lcm-lora-sdv1-5"]
)
def test_a_typed_tag_under_any_of_its_names_sets_the_weight_once(loras, start):
    names, use = applied(f"a cat {start}:0.7>, sitting", loras)
    assert names == ["lcm_lora_sd15 at 0.7"] and use.messages == ()


def test_a_typed_name_works_though_the_file_has_another(loras):
    assert applied("a cat <lora:lcm_lora_sdxl:1>", loras, family=SDXL)[0] == ["pytorch_lora_weights at 1"]


def test_a_tag_of_the_wrong_family_is_replaced_at_its_weight_with_a_message(loras):
    names, use = applied("a cat <lora:lcm_lora_sdxl:0.8>", loras)
    assert names == ["lcm_lora_sd15 at 0.8"]
    assert use.messages == (
        (
            "lcm_lora_sdxl was made for SDXL and the checkpoint is SD 1.5: lcm_lora_sd15 is used"
            " instead, at the same weight."
        ),
    )


def test_a_tag_that_stands_twice_is_applied_once(loras):
    names, use = applied("<lora:lcm_lora_sd15:0.4> a cat <lora:lcm_lora_sd15:1>", loras)
    assert names == ["lcm_lora_sd15 at 1"] and "2 times" in use.messages[0]
    names, use = applied(
        "<lora:lcm_lora_sd15:0.4> a <lora:lcm_lora_sd15:1> cat <lora:lcm_lora_sd15:0.7>", loras
    )
    assert (
        names == ["lcm_lora_sd15 at 0.7"]
        and "3 times" in use.messages[0]
        and "last weight, 0.7" in use.messages[0]
    )


def test_other_loras_are_left_as_they_are(loras):
    assert applied("a cat <lora:style:0.8>", loras)[0] == ["<lora:style:0.8>", "lcm_lora_sd15 at 1"]


def test_a_typed_few_step_lora_of_another_method_takes_the_lcm_loras_place(loras):
    hyper = "<lora:Hyper-SD15-8steps:0.8>"
    names, use = applied(f"a cat {hyper} <lora:style:0.8>", loras)
    assert names == ["<lora:style:0.8>", "Hyper-SD15-8steps at 0.8"]
    assert (use.method.name, use.known_by, use.messages) == ("hyper-8", "name", ())
    assert applied(f"a cat {hyper}", loras, replace(ON, lora="lcm_lora_sd15"))[0] == [
        "Hyper-SD15-8steps at 0.8"
    ]
    # of another family it is of no use here
    names, use = applied(f"a cat {hyper}", loras, family=SDXL)
    assert names == ["pytorch_lora_weights at 0.8"] and "was made for SD 1.5" in use.messages[0]
    # of two, the last one's way of sampling counts, and the user is told
    names, use = applied(f"a cat {hyper} <lora:lcm_lora_sd15:0.5>", loras)
    assert names == [hyper, "lcm_lora_sd15 at 0.5"] and use.method is LCM
    assert "Hyper-SD15-8steps (Hyper-SD) was left beside lcm_lora_sd15 (LCM)" in use.messages[0]


def test_a_typed_lora_is_sampled_as_it_was_made_for(loras):
    plan = plan_of(loras, prompt="a fox <lora:Hyper-SD15-8steps:1>")
    assert (plan.method.name, plan.sampler, plan.first.steps, plan.gamma) == (
        "hyper-8",
        "DDIM trailing",
        8,
        None,
    )
    assert plan.first.timesteps == (999, 874, 749, 624, 499, 374, 249, 124)
    assert plan.messages == ("Steps 4 → 8: Hyper-SD works with 8 steps and a CFG scale of 1 to 2.",)
    assert status_line(plan).startswith(
        "SD 1.5 · Hyper-SD15-8steps (Hyper-SD, 8 steps, by its name) · DDIM trailing · 8 steps: 999 874"
    )
    assert as_dict(plan)["method_known_by"] == "by its name"


def test_the_method_and_the_sampler_can_be_picked_by_hand(loras):
    options = LcmOptions(enabled=True, steps=4, cfg=1.0, method="lightning-4")
    plan = plan_of(loras, options)
    assert (plan.method.name, plan.sampler) == ("lightning-4", "Euler trailing")
    assert plan.first.timesteps == (999, 749, 499, 249)
    tcd = plan_of(loras, replace(options, sampler="tcd"))
    assert (tcd.sampler, tcd.gamma, tcd.first.timesteps) == ("TCD", 0.3, (999, 749, 499, 249))


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"steps": 9}, "LCM option 'steps' is 9; it must be a whole number from 1 to 8."),
        ({"cfg": 2.5}, "LCM option 'cfg' is 2.5; it must be a number from 1 to 2."),
    ],
)
def test_an_option_outside_what_the_method_works_with_is_refused(loras, given, sentence):
    assert plan_of(loras, LcmOptions(enabled=True, **given)).problem == sentence


@pytest.mark.parametrize("typed", ["Hyper-SD15-8steps", "hyper-sd15-8STEPS", "Hyper-SD15-8steps.safetensors"])
def test_a_chosen_file_that_is_also_typed_is_applied_once_at_the_typed_weight(loras, typed):
    chosen = replace(ON, lora="Hyper-SD15-8steps", sampler="tcd")
    assert applied(f"a cat <lora:{typed}:0.7> <lora:style:0.8>", loras, chosen)[0] == [
        "<lora:style:0.8>",
        "Hyper-SD15-8steps at 0.7",
    ]
    assert applied("a cat", loras, chosen)[0] == ["Hyper-SD15-8steps at 1"]
    assert "not a number" in lora_for(f"a cat <lora:{typed}:x>", chosen, SD15, loras).problem


def test_with_none_typed_tags_are_left_alone(loras):
    use = lora_for("a cat <lora:lcm_lora_sd15:1>", LcmOptions(enabled=True, lora="none"), SD15, loras)
    assert use.file is None and use.problem is None


def test_a_chosen_file_must_exist_and_fit(loras):
    def problem(name, family=SD15):
        return lora_for("a cat", LcmOptions(enabled=True, lora=name), family, loras).problem

    assert "'missing'" in problem("missing")
    other = problem("pytorch_lora_weights")
    assert "'pytorch_lora_weights'" in other and "SDXL" in other and "SD 1.5" in other
    assert problem("lcm_lora_sd15") is None and problem("lcm_lora_sdxl", SDXL) is None


# --- remembered for the checkpoint --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_mine(tmp_path_factory):
    """A folder with the official SD 1.5 file's likeness, another LCM-LoRA "mine", and one for SDXL."""
    folder = tmp_path_factory.mktemp("Lora")
    write_lora(folder / "lcm_lora_sd15.safetensors", official_lora_tensors("sd15"))
    write_lora(folder / "mine.safetensors", official_lora_tensors("sd15", 8))
    write_lora(folder / "lcm_lora_sdxl.safetensors", official_lora_tensors("sdxl", 8))
    return LoraLibrary([folder])


def remembering(loras, remembered, prompt="a cat", family=SD15, **options):
    use = lora_for(prompt, replace(ON, **options), family, loras, remembered)
    assert use.problem is None
    return (None if use.file is None else use.file.name), use.weight, use.reason


def test_auto_means_what_is_remembered(with_mine):
    assert remembering(with_mine, None) == ("lcm_lora_sd15", 1.0, "layers")
    assert remembering(with_mine, "mine") == ("mine", 1.0, "remembered")
    assert remembering(with_mine, "none", weight=0.5) == (None, 0.5, "remembered")


def test_what_is_said_by_hand_goes_before_what_is_remembered(with_mine):
    assert remembering(with_mine, "mine", lora="lcm_lora_sd15") == ("lcm_lora_sd15", 1.0, "option")
    assert remembering(with_mine, "none", lora="mine") == ("mine", 1.0, "option")
    assert remembering(with_mine, "mine", lora="none") == (None, 1.0, "option")
    assert remembering(with_mine, "mine", "a cat <lora:lcm_lora_sd15:0.7>") == ("lcm_lora_sd15", 0.7, "tag")


def test_a_tag_that_is_replaced_is_replaced_by_what_is_remembered(with_mine):
    use = lora_for("a cat <lora:lcm_lora_sdxl:0.7>", ON, SD15, with_mine, "mine")
    assert (use.file.name, use.weight, use.reason) == (
        "mine",
        0.7,
        "remembered",
    ) and "mine is used instead" in use.messages[0]


@pytest.mark.parametrize(
    "gone, why", [("deleted", "'deleted' is not in the LoRA folder"), ("lcm_lora_sdxl", "is for SDXL")]
)
def test_what_is_remembered_and_cannot_be_used_is_named_and_auto_is_as_before(with_mine, gone, why):
    use = lora_for("a cat", ON, SD15, with_mine, gone)
    assert (use.file.name, use.reason) == ("lcm_lora_sd15", "layers")
    (message,) = use.messages
    assert (
        "remembered for this checkpoint cannot be used, so Auto took lcm_lora_sd15" in message
        and why in message
    )


def test_the_plan_says_what_is_remembered(with_mine):
    def plan(remembered):
        facts = HostFacts(SD15, with_mine, remembered_lora=remembered)
        return make_plan(LcmOptions(enabled=True, steps=4, cfg=1.0), Request(PassRequest(20), 7.0), facts)

    assert status_line(plan("mine")).startswith("SD 1.5 · mine (remembered for this checkpoint) · 4 steps")
    assert status_line(plan("none")).startswith("SD 1.5 · no LoRA (remembered for this checkpoint) · 4 steps")
    assert "remembered" not in status_line(plan(None)) and plan("mine").first.lora.reason == "remembered"
    assert "cannot be used" in plan("deleted").messages[0]


def test_a_checkpoint_of_a_family_without_an_official_file_can_have_one_remembered(tmp_path):
    write_lora(tmp_path / "lcm_for_sd2.safetensors", official_lora_tensors("sd2", 8))
    loras = LoraLibrary([tmp_path])
    assert remembering(loras, "lcm_for_sd2", family=SD2) == ("lcm_for_sd2", 1.0, "remembered")
    assert lora_for("a cat", ON, SD2, loras, "deleted").problem.startswith("There is no LCM-LoRA for SD 2.x")


# --- distilled from the checkpoint --------------------------------------------------------------------------

OF_MINE, OF_ANOTHER = "ab" * 32, "cd" * 32


@pytest.fixture(scope="module")
def with_own(tmp_path_factory):
    """The official SD 1.5 file's likeness, and two LoRAs that our distiller made of other checkpoints."""
    folder = tmp_path_factory.mktemp("Lora")
    write_lora(folder / "lcm_lora_sd15.safetensors", official_lora_tensors("sd15"))
    for name, sha256 in (("a_other", OF_ANOTHER), ("own", OF_MINE)):
        made = {
            DISTILLATION_METADATA: json.dumps({"base_model": f"base of {name}", "base_model_sha256": sha256})
        }
        write_lora(folder / f"{name}.safetensors", official_lora_tensors("sd15", 8), made)
    return LoraLibrary([folder])


def plan_for(loras, sha256, prompt="a cat", remembered=None, **options):
    facts = HostFacts(SD15, loras, remembered_lora=remembered, checkpoint_sha256=sha256)
    asked = Request(PassRequest(20, prompt=prompt), 7.0)
    return make_plan(LcmOptions(enabled=True, steps=4, cfg=1.0, **options), asked, facts)


def test_auto_takes_the_lora_that_was_distilled_from_the_very_checkpoint(with_own):
    use = plan_for(with_own, OF_MINE).first.lora
    assert (use.file.name, use.reason, use.messages) == ("own", "distilled", ())
    assert "own (distilled from this checkpoint)" in status_line(plan_for(with_own, OF_MINE))
    for unknown in ("ef" * 32, None):
        assert plan_for(with_own, unknown).first.lora.reason not in ("distilled", None)
    assert with_own.find("own").distilled_from == ("base of own", OF_MINE)
    assert with_own.find("lcm_lora_sd15").distilled_from is None


def test_what_was_asked_for_goes_before_the_checkpoint_s_own(with_own):
    def name(*args, **options):
        file = plan_for(with_own, OF_MINE, *args, **options).first.lora.file
        return None if file is None else file.name

    assert name("a cat <lora:a_other:1>") == "a_other"
    assert name(lora="lcm_lora_sd15") == "lcm_lora_sd15"
    assert name(remembered="a_other") == "a_other"
    assert name(remembered="none") is None


# --- special cases ------------------------------------------------------------------------------------------


def test_files_called_like_the_keywords_have_options_of_their_own(tmp_path):
    for rank, name in ((8, "none"), (16, "Auto"), (4, "plain")):
        write_lora(tmp_path / f"{name}.safetensors", official_lora_tensors("sd15", rank))
    loras = LoraLibrary([tmp_path])
    names = {option_name(file, loras): file for file in loras.scan()}
    assert set(names) == {"none.safetensors", "Auto.safetensors", "plain"}
    for name, file in names.items():
        assert lora_for("a cat", LcmOptions(enabled=True, lora=name), SD15, loras).file == file


@pytest.mark.parametrize("family, other", [("ssd1b", "sdxl"), ("sdxl", "ssd1b")])
def test_ssd1b_and_sdxl_never_get_each_others_lora(tmp_path, family, other):
    # whatever it is called
    write_lora(tmp_path / f"lcm_lora_{family}.safetensors", official_lora_tensors(other))
    loras = LoraLibrary([tmp_path])
    mine, theirs = family_named(family), family_named(other)
    assert lora_for("a cat", ON, mine, loras).problem.startswith(f"No LCM-LoRA for {mine.label}")
    for use in (
        lora_for("a cat", LcmOptions(enabled=True, lora=f"lcm_lora_{family}"), mine, loras),
        lora_for(f"a cat <lora:lcm_lora_{family}:1>", ON, mine, loras),
        lora_for("a cat", ON, mine, loras, f"lcm_lora_{family}"),
    ):
        assert use.file is None and use.problem
    assert lora_for("a cat", ON, theirs, loras).file.name == f"lcm_lora_{family}"


def test_a_tag_with_a_weight_that_is_no_number_fails_with_a_sentence(loras):
    assert "not a number" in lora_for("<lora:lcm_lora_sd15:abc>", ON, SD15, loras).problem


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for family in ("sd15", "sdxl"):
        write_lora(tmp_path / family / "pytorch_lora_weights.safetensors", official_lora_tensors(family))
    loras = LoraLibrary([tmp_path])
    plan = plan_of(loras, family=SDXL)
    assert (
        status_line(plan).startswith("SDXL · sdxl/pytorch_lora_weights · ")
        and as_dict(plan)["lora"] == "sdxl/pytorch_lora_weights"
    )
    assert loras.find(plan.first.lora.name) == plan.first.lora.file
    use = lora_for("a cat <lora:pytorch_lora_weights:0.5>", ON, SDXL, loras)
    assert "sdxl/pytorch_lora_weights is used instead" in use.messages[0] and use.weight == 0.5


@pytest.mark.parametrize(
    "matched, holds", [(278, True), (None, True), (251, True), (249, False), (161, False), (0, False)]
)
def test_a_lora_that_matches_few_layers_is_not_passed_off_as_lcm(loras, matched, holds):
    problem = why_not_held(loras.find("lcm_lora_sd15"), matched)
    assert (problem is None) == holds
    if not holds:
        assert f"{matched} of its 278 layers" in problem and "lcm_lora_sd15.safetensors" in problem


@pytest.mark.parametrize("failed, holds", [(0, True), (27, True), (28, False), (278, False)])
def test_a_lora_that_fails_in_many_layers_is_not_passed_off_as_lcm(loras, failed, holds):
    problem = why_partly_held(loras.find("lcm_lora_sd15"), failed)
    assert (problem is None) == holds
    if not holds:
        assert f"{failed} of its 278 layers" in problem and "lcm_lora_sd15.safetensors" in problem


def test_steps_of_the_hires_pass_that_are_changed_twice_are_told_once(loras):
    plan = plan_of(loras, LcmOptions(True, steps=4, cfg=1.0), hires=PassRequest(20, 0.1))
    told = [str(message) for message in plan.messages]
    assert plan.hires.steps == 5
    assert told == ["Denoising strength 0.1 leaves only 5 of the schedule's timesteps: hires steps 20 → 5."]


def test_finer_timesteps_are_for_few_steps_from_noise_with_an_lcm_lora(loras):
    def plan(steps, **fields):
        options = LcmOptions(True, steps=steps, cfg=1.0, schedule="finer", **fields.pop("options", {}))
        return plan_of(loras, options, **fields)

    assert [plan(steps).first.timesteps for steps in (2, 3, 4)] == [
        (999, 299),
        (999, 519, 139),
        (999, 652, 325, 59),
    ]
    assert plan(4).messages == () and "schedule Finer" in status_line(plan(4))
    hires = plan(4, hires=PassRequest(4, 0.5))
    assert hires.first.timesteps[-1] == 59 and hires.hires.timesteps == (499, 379, 259, 139)
    assert hires.messages == ()
    for other in (
        plan(8),
        plan(4, first=PassRequest(4, 0.5)),
        plan(4, options={"method": "lightning-4", "lora": "none"}),
    ):
        assert (
            other.first.timesteps
            == plan_of(
                loras,
                replace(other.options, schedule="trailing"),
                first=PassRequest(other.first.steps, other.first.strength),
            ).first.timesteps
        )
        assert other.messages[0].startswith('Schedule "Finer" is for 2 to 4 steps')


# --- a full LCM ---------------------------------------------------------------------------------------------

FULL = {"is_full_lcm": True}


def test_a_full_lcm_uses_no_lora_and_takes_cfg_from_1_to_15(loras):
    plan = plan_of(loras, LcmOptions(enabled=True), host=FULL, first=PassRequest(4), cfg=8.0)
    assert plan.problem is None and plan.method is FULL_LCM and plan.messages == ()
    assert (plan.first.lora.file, plan.cfg, plan.unet_rows) == (None, 8.0, 4)
    assert plan.first.timesteps == (999, 759, 499, 259)
    assert status_line(plan) == "SD 1.5 · no LoRA (Full LCM) · 4 steps: 999 759 499 259 · CFG 8 · 4 UNet rows"
    assert plan_of(loras, LcmOptions(enabled=True), host=FULL, cfg=20.0).cfg == 15.0
    refused = plan_of(loras, LcmOptions(enabled=True, cfg=15.5), host=FULL)
    assert refused.problem == "LCM option 'cfg' is 15.5; it must be a number from 1 to 15."


def test_a_full_lcm_is_drawn_without_any_lora_installed(tmp_path):
    plan = plan_of(LoraLibrary([tmp_path]), LcmOptions(enabled=True), family=SSD1B, host=FULL)
    assert plan.problem is None


def test_other_checkpoints_keep_their_range_of_cfg(loras):
    refused = plan_of(loras, LcmOptions(enabled=True, cfg=8.0))
    assert refused.problem == "LCM option 'cfg' is 8.0; it must be a number from 1 to 2."


@pytest.mark.parametrize("guided_steps", ["all", MIDDLE])
def test_a_negative_prompt_does_nothing_on_a_full_lcm_which_is_said(loras, guided_steps):
    options = LcmOptions(enabled=True, steps=4, cfg=8.0, guided_steps=guided_steps)
    plan = plan_of(loras, options, host=FULL, negative_prompt="blurry", hires=PassRequest(4, 0.5))
    assert plan.unet_rows == 8
    assert [message for message in plan.messages if "negative" in message] == [
        "The negative prompt does nothing on a full LCM, whose UNet takes the CFG scale as an input."
    ]
    assert "CFG 8: negative prompt ignored" in status_line(plan)


def test_a_lora_that_was_chosen_or_typed_on_a_full_lcm_is_told(loras):
    plan = plan_of(loras, LcmOptions(enabled=True, lora="lcm_lora_sd15"), host=FULL)
    assert plan.first.lora.file is None
    assert any("needs no LoRA for few steps: lcm_lora_sd15 is not used" in said for said in plan.messages)
    plan = plan_of(loras, LcmOptions(enabled=True), host=FULL, prompt="a <lora:Hyper-SD15-8steps:1>")
    assert plan.method is FULL_LCM
    assert any("which a full LCM works without" in said for said in plan.messages)


def test_the_webuis_own_sampler_is_not_handed_a_full_lcm(loras):
    options = LcmOptions(enabled=True, steps=4, schedule="webui")
    plan = plan_of(loras, options, host={**FULL, "own_samplers": frozenset({"LCM"})})
    assert plan.schedule == "trailing" and "cannot give a full LCM its CFG scale" in plan.messages[-1]


def test_a_method_picked_by_hand_counts_on_a_full_lcm_too(loras):
    plan = plan_of(loras, LcmOptions(enabled=True, method="tcd", steps=4, cfg=1.0), host=FULL)
    assert (plan.sampler, plan.cfg, plan.unet_rows) == ("TCD", 1.0, 4)


def test_none_on_an_ordinary_checkpoint_gets_a_hint(loras):
    none = LcmOptions(True, steps=4, cfg=1.0, lora="none")
    (hint,) = plan_of(loras, none).hints
    assert hint.startswith('Few-step LoRA "None" is for checkpoints that are made for few steps themselves')
    for other in (
        plan_of(loras, none, host={"checkpoint": "dreamshaper_lightning"}),
        plan_of(loras, replace(none, method="lightning-4")),
        plan_of(loras, none, prompt="a star <lora:lcm_lora_sd15:1>"),
        plan_of(loras, none, host={"is_full_lcm": True}),
        plan_of(loras, replace(none, lora="auto")),
    ):
        assert not any("is for checkpoints" in hint for hint in other.hints)
