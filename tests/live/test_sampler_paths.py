"""Every path of the WebUI that a sampler is called on, and what other people and extensions do to it
meanwhile.
"""

import numpy as np
import pytest
from PIL import Image, ImageChops

from tests.live.profiles import oldest_and_newest, one_profile
from tests.live.test_generation import ON, TRAILING_4, levels_apart, rows, same, timesteps
from tests.prompts import OTHER, PROMPT
from workbench.client import ApiError


def levels_apart_on_average(one, other) -> float:
    return float(np.abs(np.asarray(one.convert("RGB"), int) - np.asarray(other.convert("RGB"), int)).mean())


# --- prompts ------------------------------------------------------------------------------------------------


def test_prompt_editing_switches_at_the_same_step_as_for_other_samplers(webui):
    prompt = f"[{PROMPT}:{OTHER}:0.25]"
    webui.txt2img(f"{prompt} <lora:lcm_lora_sd15:1>", sampler_name="Euler", steps=4, cfg_scale=1)
    expected = [event["text"] for event in webui.events_of("cfg_denoiser")]
    assert expected[0] != expected[-1]
    edited, calls = webui.txt2img(prompt, lcm=ON)
    assert [event["text"] for event in webui.events_of("cfg_denoiser")] == expected
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1] * 4
    first, _ = webui.txt2img(PROMPT, lcm=ON)
    assert not same(edited.image, first.image)
    assert same(webui.txt2img(f"[{PROMPT}:{OTHER}:4]", lcm=ON)[0].image, first.image)


# --- img2img ------------------------------------------------------------------------------------------------


@oldest_and_newest
def test_inpainting_only_the_masked_area(webui):
    side = webui.side
    start = webui.txt2img(OTHER, lcm=ON)[0].image.convert("RGB").resize((2 * side, 2 * side))
    mask = Image.new("L", start.size, 0)
    mask.paste(255, (side // 2, side // 2, side, side))
    fields = {"mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": True, "inpaint_full_res_padding": 8}
    made, calls = webui.img2img(PROMPT, [start], mask=mask, lcm=ON, denoising_strength=0.5, **fields)
    assert timesteps(calls) == [499, 379, 259, 139] and rows(calls) == [1] * 4
    assert made.image.size == start.size
    if webui.name not in ("a1111-1.6", "a1111-1.7"):  # which write nothing of it
        assert "Inpaint area: Only masked" in made.infotext
    changed = np.array(ImageChops.difference(made.image.convert("RGB"), start).convert("L"))
    assert changed[side // 2 : side, side // 2 : side].max() > 10
    changed[side // 2 : side, side // 2 : side] = 0
    assert changed.max() <= 2


@one_profile
def test_soft_inpainting(webui):
    if "soft inpainting" not in webui.client.get("/sdapi/v1/scripts")["img2img"]:
        pytest.skip("this WebUI has no soft inpainting")
    side = webui.side
    start = webui.txt2img(OTHER, lcm=ON)[0].image.convert("RGB")
    mask = Image.new("L", (side, side), 0)
    mask.paste(255, (side // 2, 0, side, side))
    fields = {
        "mask": mask,
        "lcm": ON,
        "denoising_strength": 0.5,
        "mask_blur": 4,
        "inpainting_fill": 1,
        "inpaint_full_res": False,
    }
    hard, _ = webui.img2img(PROMPT, [start], **fields)
    soft, calls = webui.img2img(
        PROMPT, [start], **fields, alwayson_scripts={"Soft Inpainting": {"args": [True]}}
    )
    assert timesteps(calls) == [499, 379, 259, 139] and rows(calls) == [1] * 4
    assert "Soft inpainting enabled: True" in soft.infotext and not same(hard.image, soft.image)


@pytest.mark.profiles("a1111-1.8", "a1111-1.10", "forge")
@pytest.mark.parametrize("sampler", ["lcm", "tcd"])
def test_a_mask_that_another_extension_softens_is_blended_at_every_step(webui, sampler):
    if webui.name in ("a1111-1.6", "a1111-1.7"):
        pytest.skip("this WebUI lets no extension blend masks")
    side = webui.side
    start = webui.txt2img(OTHER, lcm=ON)[0].image.convert("RGB")
    mask = Image.new("L", (side, side), 0)
    mask.paste(255, (side // 2, 0, side, side))
    fields = {
        "mask": mask,
        "lcm": {**ON, "sampler": sampler},
        "denoising_strength": 0.5,
        "mask_blur": 0,
        "inpainting_fill": 1,
    }
    hard, _ = webui.img2img(PROMPT, [start], **fields, inpaint_full_res=False)
    webui.disturb_next(soft_mask=True)
    soft, calls = webui.img2img(PROMPT, [start], **fields, inpaint_full_res=False)
    levels = [event["sigma"][0] for event in webui.events_of("cfg_denoiser")]
    assert timesteps(calls) == [499, 379, 259, 139] and rows(calls) == [1] * 4
    assert [event["sigma"] for event in webui.events_of("mask_blend")] == [*levels, None]
    painted = (side // 2, 0, side, side)
    by_hard, by_soft = (
        levels_apart_on_average(made.image.crop(painted), start.crop(painted)) for made in (hard, soft)
    )
    assert not same(soft.image, hard.image)
    if webui.draws:  # what a random model makes of a latent that is half the original need not look like it
        assert 0 < by_soft < by_hard


# --- interrupt, skip, failure, preview ----------------------------------------------------------------------


@oldest_and_newest
@pytest.mark.parametrize("what", ["interrupt", "skip"])
def test_stopping_in_the_middle_gives_a_picture_and_leaves_the_next_one_alone(webui, what):
    before, _ = webui.txt2img(PROMPT, lcm=ON)
    webui.disturb_next(at_call=2, do=what)
    stopped, calls = webui.txt2img(PROMPT, lcm=ON)
    assert timesteps(calls) == TRAILING_4[:2] and not same(stopped.image, before.image)
    after, calls = webui.txt2img(PROMPT, lcm=ON)
    assert (
        timesteps(calls) == TRAILING_4
        and same(before.image, after.image)
        and before.infotext == after.infotext
    )


def test_skipping_one_batch_goes_on_with_the_next(webui):
    webui.disturb_next(at_call=2, do="skip")
    made, calls = webui.txt2img(PROMPT, lcm=ON, n_iter=2, seed=5)
    assert timesteps(calls) == TRAILING_4[:2] + TRAILING_4
    assert same(made.images[-1], webui.txt2img(PROMPT, lcm=ON, seed=6)[0].image)


def test_interrupting_the_hires_pass_leaves_the_next_picture_alone(webui):
    before, _ = webui.txt2img(PROMPT, lcm=ON, **webui.hires)
    webui.disturb_next(at_call=6, do="interrupt")
    stopped, calls = webui.txt2img(PROMPT, lcm=ON, **webui.hires)
    assert timesteps(calls) == [*TRAILING_4, 499, 379] and not same(stopped.image, before.image)
    after, _ = webui.txt2img(PROMPT, lcm=ON, **webui.hires)
    assert same(before.image, after.image)


@oldest_and_newest
@pytest.mark.parametrize("hires", [False, True])
def test_a_failure_while_sampling_leaves_nothing_behind(webui, hires):
    fields = webui.hires if hires else {}
    before, _ = webui.txt2img(PROMPT, lcm=ON, **fields)
    plain, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    by_hand, own_calls = webui.txt2img(PROMPT, steps=4, cfg_scale=1, sampler_name="LCM")
    webui.disturb_next(at_call=6 if hires else 2, do="fail")
    with pytest.raises(ApiError) as error:
        webui.txt2img(PROMPT, lcm=ON, **fields)
    assert error.value.status == 500
    again, calls = webui.txt2img(PROMPT, steps=4, cfg_scale=1, sampler_name="LCM")
    assert calls == own_calls and same(again.image, by_hand.image) and again.infotext == by_hand.infotext
    again, calls = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    assert sum(rows(calls)) == 8 and same(again.image, plain.image) and again.infotext == plain.infotext
    again, _ = webui.txt2img(PROMPT, lcm=ON, **fields)
    assert same(again.image, before.image) and again.infotext == before.infotext


def test_a_live_preview_changes_nothing(webui):
    before, _ = webui.txt2img(PROMPT, lcm=ON)
    # the old Forge shows no full ones: it would download a model
    kind = "Approx cheap" if webui.is_old_forge else "Full"
    with webui.settings(live_previews_enable=True, show_progress_type=kind, live_preview_content="Combined"):
        webui.disturb_next(at_call=3, do="preview")
        after, _ = webui.txt2img(PROMPT, lcm=ON)
    assert [event["made"] for event in webui.events_of("preview")] == [1]
    assert same(before.image, after.image)


# --- models -------------------------------------------------------------------------------------------------


@oldest_and_newest
def test_the_refiner_is_skipped_and_said_to_be(webui):
    without, _ = webui.txt2img(PROMPT, lcm=ON)
    made, calls = webui.txt2img(PROMPT, lcm=ON, refiner_checkpoint=webui.sdxl, refiner_switch_at=0.5)
    assert timesteps(calls) == TRAILING_4 and same(made.image, without.image)
    assert "Refiner" not in made.infotext and made.infotext == without.infotext
    assert f"The refiner {webui.sdxl} is skipped" in webui.comments


def test_a_checkpoint_given_with_the_request_decides_the_lora_of_that_request_only(webui):
    before, _ = webui.txt2img(PROMPT, lcm=ON)
    with webui.settings(sd_model_checkpoint=webui.sdxl):
        made, calls = webui.txt2img(PROMPT, lcm=ON, checkpoint=webui.sd15)  # SDXL is the selected one
        assert same(made.image, before.image) and {name for call in calls for name in call["loras"]} == {
            "lcm_lora_sd15"
        }
        override = {"sd_model_checkpoint": webui.sdxl}
        made, calls = webui.txt2img(PROMPT, lcm=ON, override_settings=override)
        assert {name for call in calls for name in call["loras"]} == {"lcm_lora_sdxl"}


# --- schedules and settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["Karras", "Simple", "SGM Uniform"])
def test_a_schedule_picked_by_hand_gives_the_noise_levels_of_the_hosts_own_sampler(webui, scheduler):
    webui.needs_schedules()
    webui.needs_grid()
    webui.txt2img(PROMPT, sampler_name="LCM", scheduler=scheduler, steps=4, cfg_scale=1)
    levels = [event["sigma"][0] for event in webui.events_of("cfg_denoiser")]
    made, calls = webui.txt2img(PROMPT, lcm=ON, scheduler=scheduler)
    assert [event["sigma"][0] for event in webui.events_of("cfg_denoiser")] == pytest.approx(levels, abs=2e-4)
    assert rows(calls) == [1] * 4
    assert f"Schedule type: {scheduler}" in made.infotext
    assert f'Schedule type "{scheduler}" was picked by hand and is respected' in webui.comments


def test_a_schedule_picked_by_hand_has_no_step_below_the_distillation_grid(webui):
    webui.needs_schedules()
    _, calls = webui.txt2img(PROMPT, lcm=ON, scheduler="Align Your Steps")
    assert len(calls) == 4 and timesteps(calls)[0] == 999 and timesteps(calls)[-1] == 19


def test_a_schedule_picked_by_hand_leaves_no_noise(webui):
    webui.needs_schedules()
    one_step = {"prompt": PROMPT, "lcm": {**ON, "steps": 1}}  # one call at the highest level, by either
    made, _ = webui.txt2img(**one_step, scheduler="KL Optimal")
    simple, _ = webui.txt2img(**one_step, scheduler="Simple")
    assert levels_apart(made.image, simple.image) <= 2


def test_the_schedule_automatic_is_the_same_beside_any_sampler(webui):
    """reForge makes "Normal" of it for many samplers of its own."""
    webui.needs_schedules()
    others = [
        sampler["name"]
        for sampler in webui.client.get("/sdapi/v1/samplers")
        if sampler["name"] in ("Euler CFG++", "DPM++ 2M", "DDIM")
    ]
    assert others
    for sampler in others:
        _made, calls = webui.txt2img(PROMPT, lcm=ON, sampler_name=sampler, scheduler="Automatic")
        assert [call["timesteps"][0] for call in calls] == [999, 759, 499, 259], sampler
        assert "picked by hand" not in webui.comments


@oldest_and_newest
def test_each_loop_of_a_script_has_the_steps_that_its_strength_leaves(webui):
    start = webui.txt2img(PROMPT, lcm=ON)[0].image
    loops = {"script_name": "lcm test loopback", "script_args": ["0.1, 0.6"]}
    _, calls = webui.img2img(PROMPT, [start], lcm={"enabled": True}, steps=20, cfg_scale=1, **loops)
    assert [call["timesteps"][0] for call in calls] == [
        99,
        79,
        59,
        39,
        19,
        599,
        539,
        459,
        379,
        299,
        239,
        159,
        79,
    ]


def test_a_schedule_picked_by_hand_holds_for_img2img_too(webui):
    webui.needs_schedules()
    webui.needs_grid()
    start = webui.txt2img(OTHER, lcm=ON)[0].image
    fields = {"scheduler": "Karras", "denoising_strength": 0.5}
    webui.img2img(PROMPT, [start], sampler_name="LCM", steps=4, cfg_scale=1, **fields)
    levels = [event["sigma"][0] for event in webui.events_of("cfg_denoiser")]
    webui.img2img(PROMPT, [start], lcm=ON, **fields)
    assert [event["sigma"][0] for event in webui.events_of("cfg_denoiser")] == pytest.approx(levels, abs=2e-4)


@oldest_and_newest
def test_noise_levels_set_by_another_extension_go_first(webui):
    levels = [14.6146, 4.2606, 0.7194]
    webui.disturb_next(sigmas=[*levels, 0.0])
    _made, calls = webui.txt2img(PROMPT, lcm={**ON, "steps": 3})
    assert [event["sigma"][0] for event in webui.events_of("cfg_denoiser")] == levels
    assert timesteps(calls) == [999, 759, 259] and rows(calls) == [1] * 3


@oldest_and_newest
@pytest.mark.parametrize("sampler", ["lcm", "tcd"])
def test_another_extension_gets_the_noise_levels_before_anything_is_sampled(webui, sampler):
    def levels(steps, generate, *args, **fields):
        """Those that the extension gets for a number of steps, and those of the picture."""
        webui.client.post("/lcm-test-neighbours/next", {"levels": steps})
        generate(PROMPT, *args, lcm={**ON, "sampler": sampler}, **fields)
        sampled = [event["sigma"][0] for event in webui.events_of("cfg_denoiser")]
        return webui.client.get("/lcm-test-neighbours/levels"), sampled

    asked, sampled = levels(4, webui.txt2img)
    assert len(sampled) == 4 and asked[:-1] == pytest.approx(sampled, abs=1e-4) and asked[-1] < 0.03
    start = webui.txt2img(OTHER, lcm=ON)[0].image
    asked, sampled = levels(8, webui.img2img, [start], denoising_strength=0.5)  # half of them lie above it
    assert len(sampled) == 4 and asked[4:-1] == pytest.approx(sampled, abs=1e-4)


@oldest_and_newest
@pytest.mark.parametrize(
    "name,value",
    [
        ("always_discard_next_to_last_sigma", True),
        ("use_old_karras_scheduler_sigmas", True),
        ("sigma_min", 0.1),
        ("sigma_max", 10.0),
        ("rho", 3.0),
        ("enable_quantization", True),
        ("eta_ancestral", 0.0),
        ("s_churn", 1.0),
        ("s_noise", 1.1),
        ("k_sched_type", "karras"),
    ],
)
def test_settings_for_other_samplers_change_nothing(webui, name, value):
    before, _ = webui.txt2img(PROMPT, lcm=ON)
    with webui.settings(**{name: value}):
        after, calls = webui.txt2img(PROMPT, lcm=ON)
    assert timesteps(calls) == TRAILING_4
    assert same(before.image, after.image) and before.infotext == after.infotext


@one_profile
@pytest.mark.parametrize(
    "name,value", [("use_downcasted_alpha_bar", True), ("sd_noise_schedule", "Zero Terminal SNR")]
)
def test_settings_that_change_the_models_noise_levels_keep_the_timesteps(webui, name, value):
    plain = {"sampler_name": "Euler", "steps": 1}
    without, _ = webui.txt2img(PROMPT, **plain)
    with webui.settings(**{name: value}):
        if same(webui.txt2img(PROMPT, **plain)[0].image, without.image):
            pytest.skip("the setting changes nothing in this WebUI")
        highest = webui.events_of("cfg_denoiser")[0]["sigma"][0]
        made, calls = webui.txt2img(PROMPT, lcm=ON)
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1] * 4
    assert webui.events_of("cfg_denoiser")[0]["sigma"][0] == pytest.approx(highest, rel=1e-4)
    assert not same(made.image, webui.txt2img(PROMPT, lcm=ON)[0].image)


@oldest_and_newest
def test_the_start_is_the_references_with_and_without_the_sgm_noise_multiplier(webui):
    without, _ = webui.txt2img(PROMPT, lcm=ON)
    with webui.settings(sgm_noise_multiplier=True):
        with_it, calls = webui.txt2img(PROMPT, lcm=ON)
    assert timesteps(calls) == TRAILING_4 and levels_apart(without.image, with_it.image) <= 1


def test_img2img_runs_all_steps_whatever_the_setting_for_it(webui):
    start = webui.txt2img(OTHER, lcm=ON)[0].image
    for fixed in (False, True):
        with webui.settings(img2img_fix_steps=fixed):
            _, calls = webui.img2img(PROMPT, [start], lcm=ON, denoising_strength=0.5)
        assert timesteps(calls) == [499, 379, 259, 139]


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_tiling(webui):
    plain = {"sampler_name": "Euler", "steps": 4}
    if same(webui.txt2img(PROMPT, **plain)[0].image, webui.txt2img(PROMPT, **plain, tiling=True)[0].image):
        pytest.skip("this WebUI does not tile, whatever the sampler")  # Forge: "under maintenance"
    before, _ = webui.txt2img(PROMPT, lcm=ON)
    tiled, calls = webui.txt2img(PROMPT, lcm=ON, tiling=True)
    assert timesteps(calls) == TRAILING_4 and not same(tiled.image, before.image)
    assert same(webui.txt2img(PROMPT, lcm=ON)[0].image, before.image)


# --- seeds --------------------------------------------------------------------------------------------------


@oldest_and_newest
def test_eta_noise_seed_delta_moves_all_noise_but_the_first_and_is_in_the_infotext(webui):
    plain = {steps: webui.txt2img(PROMPT, lcm={**ON, "steps": steps})[0] for steps in (1, 2)}
    with webui.settings(eta_noise_seed_delta=31337):
        moved = {steps: webui.txt2img(PROMPT, lcm={**ON, "steps": steps})[0] for steps in (1, 2)}
        batch, _ = webui.txt2img(PROMPT, lcm={**ON, "steps": 2}, batch_size=2, seed=0)
    assert same(plain[1].image, moved[1].image) and not same(plain[2].image, moved[2].image)
    assert levels_apart(batch.images[-1], moved[2].image) <= 1
    assert "ENSD: 31337" in moved[2].infotext and "ENSD" not in plain[2].infotext


def test_variation_seeds(webui):
    plain, _ = webui.txt2img(PROMPT, lcm=ON)
    varied, _ = webui.txt2img(PROMPT, lcm=ON, subseed=9, subseed_strength=0.3)
    assert "Variation seed: 9" in varied.infotext and not same(plain.image, varied.image)
    batch, _ = webui.txt2img(PROMPT, lcm=ON, subseed=8, subseed_strength=0.3, seed=0, batch_size=2)
    # with variation seeds the WebUI counts those up, not the seeds
    single, _ = webui.txt2img(PROMPT, lcm=ON, subseed=9, subseed_strength=0.3, seed=0)
    assert levels_apart(batch.images[-1], single.image) <= 1


# --- CFG 1 at half the work ---------------------------------------------------------------------------------


@oldest_and_newest
def test_other_extensions_see_the_shapes_they_expect(webui):
    _, calls = webui.txt2img(PROMPT, lcm=ON, negative_prompt="green", batch_size=2)
    assert rows(calls) == [2] * 4
    before, after = webui.events_of("cfg_denoiser"), webui.events_of("cfg_denoised")
    both = 2 if webui.leaves_out_uncond else 4
    assert [(event["x"], len(event["sigma"]), event["cond"]) for event in before] == [(both, both, 2)] * 4
    assert [event["uncond"] for event in before] == [webui.uncond_at_cfg_one(2)] * 4
    assert [event["x"] for event in after] == ([] if webui.leaves_out_uncond else [4] * 4)


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_an_image_editing_checkpoint_is_computed_in_full(webui):
    if webui.leaves_out_uncond:
        pytest.skip("this WebUI guides image editing by itself")
    start = webui.txt2img(OTHER, lcm=ON)[0].image.convert("RGB")
    fields = {"lcm": {**ON, "lora": "none"}, "denoising_strength": 1.0}
    webui.disturb_next(edit_model=True)
    made, calls = webui.img2img(PROMPT, [start], **fields, image_cfg_scale=1.5)
    # text and picture, picture alone, neither
    assert (
        timesteps(calls) == TRAILING_4 and rows(calls) == [3] * 4 and "Image CFG scale: 1.5" in made.infotext
    )
    webui.disturb_next(edit_model=True)
    made, calls = webui.img2img(PROMPT, [start], **fields, image_cfg_scale=1.0)  # guidance of the usual kind
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1] * 4
    _, calls = webui.img2img(PROMPT, [start], **fields)
    assert rows(calls) == [1] * 4


def test_the_hires_pass_is_shortened_too(webui):
    _, calls = webui.txt2img(PROMPT, lcm=ON, negative_prompt="green", **webui.hires)
    assert rows(calls) == [1] * 8
    before = webui.events_of("cfg_denoiser")
    assert [event["x"] for event in before] == [1 if webui.leaves_out_uncond else 2] * 8
    assert [event["uncond"] for event in before] == [webui.uncond_at_cfg_one(1)] * 8


@oldest_and_newest
@pytest.mark.parametrize("batch_size", [1, 2])
def test_halves_that_are_not_batched_cost_one_call_too(webui, batch_size):
    batched, _ = webui.txt2img(PROMPT, lcm=ON, batch_size=batch_size)
    with webui.settings(batch_cond_uncond=False):
        single, calls = webui.txt2img(PROMPT, lcm=ON, batch_size=batch_size)
    assert rows(calls) == [batch_size] * 4
    assert levels_apart(batched.images[-1], single.images[-1]) <= 1


def test_sdxl_conditioning_in_batches_of_long_and_short_prompts(webui):
    long = ", ".join([PROMPT] * 12)
    full, calls = webui.txt2img(
        long, negative_prompt="green", lcm={**ON, "cfg": 1.0002}, checkpoint=webui.sdxl, batch_size=2
    )
    assert sum(rows(calls)) == 16
    short, calls = webui.txt2img(long, negative_prompt="green", lcm=ON, checkpoint=webui.sdxl, batch_size=2)
    assert sum(rows(calls)) == 8
    assert levels_apart(full.images[-1], short.images[-1]) <= 1


@oldest_and_newest
def test_a_cfg_scale_that_counts_as_one_costs_no_more_than_one(webui):
    exact, _ = webui.txt2img(PROMPT, lcm=ON)
    nearly, calls = webui.txt2img(PROMPT, lcm={**ON, "cfg": 1.00005})
    assert rows(calls) == [1] * 4 and same(exact.image, nearly.image)
    assert exact.infotext == nearly.infotext


@oldest_and_newest
def test_negative_guidance_minimum_sigma_changes_nothing_at_cfg_one(webui):
    before, _ = webui.txt2img(PROMPT, lcm=ON)
    after, calls = webui.txt2img(PROMPT, lcm=ON, s_min_uncond=15)
    assert rows(calls) == [1] * 4 and levels_apart(before.image, after.image) <= 1


@pytest.mark.parametrize("batch_size", [1, 3])
def test_no_more_than_two_latents_beyond_the_hosts_own_sampler(webui, batch_size):
    alive = {}
    for name, fields in {
        "own": {"sampler_name": "LCM", "steps": 4, "cfg_scale": 1},
        "ours": {"lcm": ON},
    }.items():
        webui.disturb_next(count_latents=True)
        webui.txt2img(PROMPT, batch_size=batch_size, **fields)
        alive[name] = [event["alive"] for event in webui.events_of("latents")]
    assert len(alive["own"]) == len(alive["ours"]) >= 4
    assert max(alive["ours"]) <= max(alive["own"]) + 2 * batch_size


@one_profile
def test_weights_stored_in_eight_bits(webui):
    """A1111's setting "FP8 weight": layers are kept in float8 and computed in the usual precision."""
    if webui.is_of_forge:
        pytest.skip("the setting changes nothing in this WebUI")
    before, _ = webui.txt2img(PROMPT, lcm=ON)
    with webui.settings(fp8_storage="Enable"):
        made, calls = webui.txt2img(PROMPT, lcm=ON)
        assert (
            timesteps(calls) == TRAILING_4
            and rows(calls) == [1] * 4
            and [call["loras"] for call in calls] == [["lcm_lora_sd15"]] * 4
        )
        assert not same(made.image, before.image)  # eight bits are not sixteen
        _, calls = webui.txt2img(PROMPT, lcm={**ON, "cfg": 1.5})
        assert timesteps(calls) == TRAILING_4 and rows(calls) == [2] * 4
        plain, _ = webui.txt2img(PROMPT, steps=2, cfg_scale=3)
        assert same(webui.txt2img(PROMPT, lcm=ON)[0].image, made.image)
        assert same(webui.txt2img(PROMPT, steps=2, cfg_scale=3)[0].image, plain.image)
    # A1111 gives back only what it has rounded, until the file is read again
    webui.txt2img(PROMPT, webui.sdxl, steps=1, cfg_scale=1)
    assert same(webui.txt2img(PROMPT, lcm=ON)[0].image, before.image)
