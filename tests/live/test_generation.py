"""Generations with LCM over the API, on any WebUI."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageChops

from tests.live.profiles import every_profile, newest_profiles
from tests.prompts import OTHER, PROMPT
from workbench.client import ApiError

ON = {"enabled": True, "steps": 4, "cfg": 1}
TRAILING_4 = [999, 759, 499, 259]


def timesteps(calls):
    return [call["timesteps"][0] for call in calls]


def rows(calls):
    return [call["rows"] for call in calls]


def rows_by_step(calls):
    """The rows at each timestep, which a host may compute in two calls."""
    counted = Counter()
    for call in calls:
        counted[call["timesteps"][0]] += call["rows"]
    return list(counted.values())


def fields(infotext: str) -> dict[str, str]:
    """The generation parameters in the last line of an infotext."""
    return dict(part.split(": ", 1) for part in infotext.splitlines()[-1].split(", ") if ": " in part)


def same(one, other) -> bool:
    return ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox() is None


def levels_apart(one, other) -> int:
    return int(np.abs(np.asarray(one.convert("RGB"), int) - np.asarray(other.convert("RGB"), int)).max())


# --- one tick -----------------------------------------------------------------------------------------------


def test_one_tick_makes_a_picture_in_four_calls_of_the_conditional_half(webui):
    made, calls = webui.txt2img(PROMPT, lcm=ON, steps=20, cfg_scale=7)
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1, 1, 1, 1]
    assert made.infotext.startswith(f"{PROMPT}\nSteps: 4, Sampler: LCM")
    for part in (
        "CFG scale: 1,",
        "LCM LoRA: lcm_lora_sd15",
        "LCM weight: 1",
        "LCM schedule: Trailing",
        "Lora hashes:",
    ):
        assert part in made.infotext


def test_each_family_gets_its_own_lora(webui):
    made, calls = webui.txt2img(PROMPT, lcm=ON, checkpoint=webui.sdxl)
    assert "LCM LoRA: lcm_lora_sdxl" in made.infotext
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1, 1, 1, 1]
    made, _ = webui.txt2img(PROMPT, lcm=ON)
    assert "LCM LoRA: lcm_lora_sd15" in made.infotext


def test_the_lora_is_really_applied_at_its_weight(webui):
    pictures = [webui.txt2img(PROMPT, lcm={**ON, "weight": weight})[0].image for weight in (0.0, 0.5, 1.0)]
    none = webui.txt2img(PROMPT, lcm={**ON, "lora": "none"})[0].image
    assert same(pictures[0], none)
    assert not same(pictures[1], none) and not same(pictures[1], pictures[2])


def test_with_lcm_off_pictures_are_as_without_the_extension(webui):
    plain = {"steps": 6, "cfg_scale": 3}
    before, _ = webui.txt2img(PROMPT, **plain)
    webui.txt2img(PROMPT, lcm=ON)
    webui.txt2img(PROMPT, lcm=ON, checkpoint=webui.sdxl)
    after, calls = webui.txt2img(PROMPT, **plain)
    assert same(before.image, after.image)
    counted = rows_by_step(calls)
    assert counted[1:] == [2] * 5 and counted[0] == (1 if webui.skips_first_guidance else 2)
    assert "LCM" not in after.infotext and before.infotext == after.infotext


@pytest.mark.parametrize("cfg,halves", [(1, 1), (1.5, 2)])
@pytest.mark.parametrize(
    "steps,expected",
    [(1, [999]), (2, [999, 499]), (4, TRAILING_4), (8, [999, 879, 759, 639, 499, 379, 259, 139])],
)
def test_in_each_number_of_steps_the_timesteps_are_the_references_and_above_cfg_one_both_halves_are_computed(
    webui, steps, expected, cfg, halves
):
    _, calls = webui.txt2img(PROMPT, lcm={**ON, "steps": steps, "cfg": cfg}, negative_prompt="green")
    assert list(dict.fromkeys(timesteps(calls))) == expected  # a host may compute the halves in two calls
    assert sum(rows(calls)) == halves * steps


def test_the_shortened_step_differs_from_the_full_one_by_rounding_only(webui):
    short = webui.txt2img(PROMPT, lcm=ON, negative_prompt="green circle")[0].image
    full, calls = webui.txt2img(PROMPT, lcm={**ON, "cfg": 1.0002}, negative_prompt="green circle")
    assert sum(rows(calls)) == 8
    assert levels_apart(short, full.image) <= 1


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "vpred"])
def test_a_single_step_without_the_lora_is_a_single_step_of_euler(webui, kind):
    """Both are what the UNet makes of pure noise, whatever it was trained to predict.

    LCM begins with the reference's noise of variance 1, Euler with what the noise schedule says, 0.2 % less:
    a few levels at most.
    """
    checkpoint = getattr(webui, kind)
    if checkpoint is None:
        pytest.skip('this WebUI has no checkpoint of v-prediction with "vpred" in its name')
    ours, calls = webui.txt2img(PROMPT, checkpoint=checkpoint, lcm={**ON, "steps": 1, "lora": "none"})
    assert timesteps(calls) == [999] and rows(calls) == [1]
    euler, calls = webui.txt2img(PROMPT, checkpoint=checkpoint, steps=1, cfg_scale=1, sampler_name="Euler")
    assert round(timesteps(calls)[0]) == 999
    assert levels_apart(ours.image, euler.image) <= 10
    if webui.draws:  # then the picture of another sampler, or of another prediction type, is far away
        two_steps, _ = webui.txt2img(
            PROMPT, checkpoint=checkpoint, steps=2, cfg_scale=1, sampler_name="Euler"
        )
        assert levels_apart(ours.image, two_steps.image) > 20


def test_of_v_prediction_the_lora_is_applied_once_and_half_a_step_differs_by_rounding_only(webui):
    if webui.vpred is None:
        pytest.skip('this WebUI has no checkpoint of v-prediction with "vpred" in its name')
    short, calls = webui.txt2img(PROMPT, checkpoint=webui.vpred, lcm=ON, negative_prompt="green circle")
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1] * 4
    assert [call["loras"] for call in calls] == [["lcm_lora_sd15"]] * 4
    full, _ = webui.txt2img(
        PROMPT, checkpoint=webui.vpred, lcm={**ON, "cfg": 1.0002}, negative_prompt="green circle"
    )
    assert levels_apart(short.image, full.image) <= 1


def test_batch_of_three_equals_three_single_pictures(webui):
    batch, calls = webui.txt2img(PROMPT, lcm=ON, batch_size=3, seed=5)
    assert rows(calls) == [3] * 4
    for offset, image in enumerate(batch.images[-3:]):
        single, _ = webui.txt2img(PROMPT, lcm=ON, seed=5 + offset)
        assert levels_apart(image, single.image) <= 1  # another batch size rounds differently in the UNet


def test_each_batch_of_a_batch_count_has_the_lora(webui):
    made, calls = webui.txt2img(PROMPT, lcm=ON, n_iter=2, seed=5)
    assert timesteps(calls) == TRAILING_4 * 2
    single, _ = webui.txt2img(PROMPT, lcm=ON, seed=6)
    assert same(made.images[-1], single.image)


# --- prompts ------------------------------------------------------------------------------------------------


def test_prompts_beyond_one_chunk_stay_at_the_conditional_half(webui):
    _, calls = webui.txt2img(", ".join([PROMPT] * 12), negative_prompt="green", lcm=ON)
    assert rows(calls) == [1] * 4


@pytest.mark.parametrize(
    "prompt", [f"{PROMPT} AND {OTHER}", f"{PROMPT} :0.5 AND {OTHER} :0.5", f"{PROMPT} :0.8", f"{PROMPT} :1"]
)
def test_the_plan_tells_what_a_composable_prompt_computes_and_whether_the_negative_prompt_counts(
    webui, prompt
):
    made, calls = webui.txt2img(prompt, lcm=ON, negative_prompt="green")
    without, _ = webui.txt2img(prompt, lcm=ON)
    status = webui.loaded().post(
        "/lcm/v1/plan", {"prompt": prompt, "negative_prompt": "green", "args": [ON]}
    )["status"]
    assert status.endswith(f" · {sum(rows(calls))} UNet rows")
    # where weights add up to 1 the negative prompt is computed and cancels out, but for rounding
    assert ("negative prompt ignored" in status) == (levels_apart(made.image, without.image) <= 1)


def test_a_typed_tag_sets_the_weight_and_is_not_applied_twice(webui):
    typed, _ = webui.txt2img(f"{PROMPT} <lora:lcm_lora_sd15:0.5>", lcm=ON)
    ticked, _ = webui.txt2img(PROMPT, lcm={**ON, "weight": 0.5})
    assert same(typed.image, ticked.image)
    assert "LCM weight: 0.5" in typed.infotext
    assert typed.infotext.startswith(f"{PROMPT} <lora:lcm_lora_sd15:0.5>\n")


def test_a_typed_tag_of_another_family_is_replaced_at_the_same_weight(webui):
    typed, _ = webui.txt2img(f"{PROMPT} <lora:lcm_lora_sdxl:0.5>", lcm=ON)
    ticked, _ = webui.txt2img(PROMPT, lcm={**ON, "weight": 0.5})
    assert same(typed.image, ticked.image)
    assert "LCM LoRA: lcm_lora_sd15" in typed.infotext


# --- the request's own values -------------------------------------------------------------------------------


def test_values_that_the_options_leave_open_are_clamped(webui):
    made, calls = webui.txt2img(PROMPT, lcm={"enabled": True}, steps=20, cfg_scale=7)
    assert "Steps: 8" in made.infotext and "CFG scale: 2" in made.infotext
    assert sum(rows(calls)) == 16


def test_positional_arguments_in_the_order_of_the_page(webui):
    made, calls = webui.txt2img(PROMPT, lcm=[True, 0.9, 2, 1.0, "Auto", "Trailing"])
    assert timesteps(calls) == [999, 499]
    assert "LCM weight: 0.9" in made.infotext


def test_missing_trailing_arguments_keep_the_defaults_of_the_page(webui):
    _made, calls = webui.txt2img(PROMPT, lcm=[True], steps=20, cfg_scale=7)
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1] * 4


@pytest.mark.parametrize(
    "args,parts",
    [
        ([{"enabled": True, "cfg": 5}], ["'cfg'", "5", "1 to 2"]),
        ([{"enabled": True, "stpes": 4}], ["'stpes'", "steps"]),
        ([{"enabled": True, "steps": "4"}], ["'steps'", "'4'"]),
        ([True, float("nan")], ["'weight'", "nan"]),
        ([{"enabled": True, "lora": "no_such_lora"}], ["no_such_lora"]),
        ([{"enabled": True, "lora": "lcm_lora_sdxl"}], ["lcm_lora_sdxl", "SDXL", "SD 1.5"]),
    ],
)
def test_what_cannot_work_is_refused_with_one_sentence_and_changes_nothing(webui, args, parts):
    before, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    webui.calls()
    with pytest.raises(ApiError) as error:
        webui.txt2img(PROMPT, lcm=args)
    assert error.value.status == 422
    for part in parts:
        assert part in error.value.body["detail"]
    assert webui.calls() == []
    after, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    assert same(before.image, after.image) and before.infotext == after.infotext


# --- img2img and hires --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strength,expected",
    [
        (1.0, TRAILING_4),
        (0.75, [739, 559, 379, 199]),
        (0.3, [299, 239, 159, 79]),
        (0.05, [39, 19]),
        (0.0, []),
    ],
)
def test_img2img_runs_all_steps_inside_what_the_strength_leaves(webui, strength, expected):
    start = webui.txt2img(OTHER, lcm=ON)[0].image
    made, calls = webui.img2img(PROMPT, [start], lcm=ON, denoising_strength=strength)
    assert timesteps(calls) == expected
    assert f"Steps: {max(len(expected), 1)}," in made.infotext


def test_a_strength_that_is_none_is_refused(webui):
    start = webui.txt2img(OTHER, lcm=ON)[0].image
    with pytest.raises(ApiError) as error:
        webui.img2img(PROMPT, [start], lcm=ON, denoising_strength=-0.5)
    assert error.value.status == 422 and "-0.5" in error.value.body["detail"]


def test_inpainting_changes_the_mask_only(webui):
    side = webui.side
    start = webui.txt2img(OTHER, lcm=ON)[0].image.convert("RGB")
    mask = Image.new("L", (side, side), 0)
    mask.paste(255, (side // 2, 0, side, side))
    made, calls = webui.img2img(
        PROMPT, [start], mask=mask, lcm=ON, denoising_strength=1.0, mask_blur=0, inpainting_fill=1
    )
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1] * 4
    difference = np.abs(np.asarray(made.image.convert("RGB"), int) - np.asarray(start, int)).max(axis=2)
    assert difference[:, side // 2 :].max() > 30 and difference[:, : side // 2].max() <= 2


def test_the_hires_pass_has_its_own_steps_and_the_same_lora(webui):
    made, calls = webui.txt2img(PROMPT, lcm=ON, hr_second_pass_steps=2, **webui.hires)
    assert timesteps(calls) == [*TRAILING_4, 499, 259]
    assert rows(calls) == [1] * 6 and made.image.size == (2 * webui.side, 2 * webui.side)
    without = webui.txt2img(PROMPT, lcm={**ON, "lora": "none"}, hr_second_pass_steps=2, **webui.hires)[0]
    assert not same(made.image, without.image)
    made, calls = webui.txt2img(PROMPT, lcm=ON, **webui.hires)
    assert timesteps(calls) == [*TRAILING_4, 499, 379, 259, 139]


def test_hires_prompts_stay_as_typed(webui):
    made, _ = webui.txt2img(PROMPT, lcm=ON, hr_prompt=OTHER, **webui.hires)
    assert f"Hires prompt: {OTHER}" in made.infotext.replace('"', "") and "<lora" not in made.infotext


# --- schedules ----------------------------------------------------------------------------------------------


@every_profile
def test_schedule_webui_visits_the_timesteps_of_the_webuis_own_sampler(webui):
    made, calls = webui.txt2img(PROMPT, lcm={**ON, "schedule": "webui"})
    assert timesteps(calls) == webui.own_lcm_timesteps
    assert "LCM schedule: WebUI" in made.infotext


@newest_profiles
@pytest.mark.parametrize(
    "schedule,steps,cfg",
    [
        ("trailing", 3, 1.5),
        *(("finer", steps, 1) for steps in (2, 3, 4)),
        ("webui", 3, 1),
        ("webui", 8, 1),
        ("webui", 4, 1.5),
    ],
)
def test_the_plan_tells_the_timesteps_and_the_rows_that_the_unet_is_given(webui, schedule, steps, cfg):
    if webui.skips_first_guidance and schedule == "webui" and cfg > 1:
        pytest.skip("the plan counts the first step of this WebUI's own sampler as guided")
    lcm = {"enabled": True, "steps": steps, "cfg": cfg, "schedule": schedule}
    plan = webui.loaded().post("/lcm/v1/plan", {"prompt": PROMPT, "args": [lcm]})
    _, calls = webui.txt2img(PROMPT, lcm=lcm)
    assert list(dict.fromkeys(timesteps(calls))) == plan["timesteps"]
    assert plan["unet_rows"] == sum(rows(calls))
    assert plan["status"].endswith(f" · {sum(rows(calls))} UNet rows")


@pytest.mark.profiles("a1111-1.10", "a1111-1.8", "forge", "neo")
@pytest.mark.parametrize(
    "kind", ["txt2img", "both halves", "batch", "hires", "SDXL", "img2img", "inpainting"]
)
def test_schedule_webui_is_bit_identical_to_the_hosts_own_sampler(webui, kind):
    if not webui.has_own_lcm:
        pytest.skip("this WebUI has no LCM sampler of its own")
    lora, cfg, generate, fields = "lcm_lora_sd15", 1, webui.txt2img, {}
    if kind == "both halves":
        cfg, fields = 1.5, {"negative_prompt": "green"}
    elif kind == "batch":
        fields = {"batch_size": 2}
    elif kind == "hires":
        fields = webui.hires
    elif kind == "SDXL":
        lora, fields = "lcm_lora_sdxl", {"checkpoint": webui.sdxl}
    elif kind in ("img2img", "inpainting"):
        start, _ = webui.txt2img(OTHER, steps=2)
        generate, fields = webui.img2img, {"images": [start.image], "denoising_strength": 0.5}
        if kind == "inpainting":
            fields["mask"] = Image.new("L", start.image.size, 0)
            fields["mask"].paste(255, (webui.side // 2, 0, webui.side, webui.side))
    # Forge takes the noise of what is not masked from a generator that a new prompt moves on: its first
    # picture is another one, whatever the sampler.
    for _ in range(2 if kind == "inpainting" else 1):
        ours, our_calls = generate(PROMPT, lcm={**ON, "cfg": cfg, "schedule": "webui"}, **fields)
    for _ in range(2 if kind == "inpainting" else 1):
        by_hand, its_calls = generate(
            f"{PROMPT} <lora:{lora}:1>", steps=4, cfg_scale=cfg, sampler_name="LCM", **fields
        )
    assert our_calls == its_calls and len(ours.images) == len(by_hand.images)
    assert all(same(*pair) for pair in zip(ours.images, by_hand.images, strict=True))


@every_profile
def test_the_sampler_picked_by_hand_is_the_hosts_own_where_it_has_one(webui):
    _, calls = webui.txt2img(PROMPT, steps=4, cfg_scale=1, sampler_name="LCM")
    assert timesteps(calls) == (webui.own_lcm_timesteps if webui.has_own_lcm else TRAILING_4)


@every_profile
def test_picked_by_hand_it_can_be_made_to_use_the_trailing_schedule(webui):
    with webui.settings(lcm_trailing_by_hand=True):
        _, calls = webui.txt2img(PROMPT, steps=4, cfg_scale=1, sampler_name="LCM")
    assert timesteps(calls) == TRAILING_4


@every_profile
def test_there_is_one_sampler_of_the_name(webui):
    assert [sampler["name"] for sampler in webui.client.get("/sdapi/v1/samplers")].count("LCM") == 1
