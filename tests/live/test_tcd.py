"""The sampler TCD on the paths of the WebUI; its arithmetic is compared with the reference in
tests/unit/test_tcd.py.
"""

import itertools

from PIL import Image

from tests.live.profiles import oldest_and_newest
from tests.live.test_generation import TRAILING_4, levels_apart, rows, same, timesteps
from tests.live.test_loras import files, loras
from tests.prompts import OTHER, PROMPT

TCD = {"enabled": True, "steps": 4, "cfg": 1, "sampler": "tcd"}


def test_it_visits_the_timesteps_of_lcm_at_the_cost_of_lcm(webui):
    made, calls = webui.txt2img(PROMPT, lcm=TCD, steps=20, cfg_scale=7)
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1] * 4
    for part in (
        "Steps: 4, Sampler: TCD,",
        "CFG scale: 1,",
        "LCM LoRA: lcm_lora_sd15",
        "LCM schedule: Trailing",
        "LCM gamma: 0.3",
    ):
        assert part in made.infotext
    lcm, _ = webui.txt2img(PROMPT, lcm={**TCD, "sampler": "lcm"})
    assert not same(made.image, lcm.image) and "gamma" not in lcm.infotext


@oldest_and_newest
def test_gamma_decides_how_random_it_is(webui):
    pictures = [webui.txt2img(PROMPT, lcm={**TCD, "gamma": gamma})[0] for gamma in (0, 0.3, 1)]
    assert not any(same(one.image, other.image) for one, other in itertools.pairwise(pictures))
    assert "LCM gamma: 0," in pictures[0].infotext + ","
    # noise of the steps starts from other generators: without any, nothing changes
    with webui.settings(eta_noise_seed_delta=31337):
        moved = [webui.txt2img(PROMPT, lcm={**TCD, "gamma": gamma})[0] for gamma in (0, 0.3)]
    assert same(moved[0].image, pictures[0].image) and not same(moved[1].image, pictures[1].image)


@oldest_and_newest
def test_img2img_hires_pass_and_inpainting_run_all_steps(webui):
    start = webui.txt2img(OTHER, lcm=TCD)[0].image.convert("RGB")
    made, calls = webui.img2img(PROMPT, [start], lcm=TCD, denoising_strength=0.5)
    assert timesteps(calls) == [499, 379, 259, 139] and rows(calls) == [1] * 4 and not same(made.image, start)
    assert "Sampler: TCD" in made.infotext
    mask = Image.new("L", start.size, 0)
    mask.paste(255, (webui.side // 2, 0, webui.side, webui.side))
    fields = {"mask": mask, "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": False}
    painted, calls = webui.img2img(PROMPT, [start], lcm=TCD, denoising_strength=0.5, **fields)
    assert timesteps(calls) == [499, 379, 259, 139] and not same(painted.image, start)
    left = (0, 0, webui.side // 2 - 8, webui.side)
    assert levels_apart(painted.image.crop(left), start.crop(left)) <= 2
    made, calls = webui.txt2img(PROMPT, lcm=TCD, **webui.hires)
    assert timesteps(calls) == [*TRAILING_4, 499, 379, 259, 139] and rows(calls) == [1] * 8


def test_pictures_of_a_batch_are_those_made_alone(webui):
    batch, calls = webui.txt2img(PROMPT, lcm=TCD, batch_size=2, seed=5)
    assert rows(calls) == [2] * 4
    single, _ = webui.txt2img(PROMPT, lcm=TCD, seed=6)
    assert levels_apart(batch.images[-1], single.image) <= 1


def test_cfg_above_one_computes_both_halves(webui):
    _, calls = webui.txt2img(PROMPT, lcm={**TCD, "cfg": 1.5})
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [2] * 4


def test_schedule_webui_is_said_not_to_exist(webui):
    ours, _ = webui.txt2img(PROMPT, lcm=TCD)
    made, _calls = webui.txt2img(PROMPT, lcm={**TCD, "schedule": "webui"})
    assert same(made.image, ours.image) and "LCM schedule: Trailing" in made.infotext
    assert "The WebUI has no sampler TCD of its own" in webui.comments


def test_a_schedule_picked_by_hand_is_that_of_lcm(webui):
    webui.needs_schedules()
    webui.txt2img(PROMPT, lcm={**TCD, "sampler": "lcm"}, scheduler="Karras")
    levels = [event["sigma"][0] for event in webui.events_of("cfg_denoiser")]
    made, calls = webui.txt2img(PROMPT, lcm=TCD, scheduler="Karras")
    assert [event["sigma"][0] for event in webui.events_of("cfg_denoiser")] == levels and rows(calls) == [
        1
    ] * 4
    assert "Schedule type: Karras" in made.infotext


@oldest_and_newest
def test_noise_levels_set_by_another_extension_go_first(webui):
    levels = [14.6146, 4.2606, 0.7194]
    webui.disturb_next(sigmas=[*levels, 0.0])
    _, calls = webui.txt2img(PROMPT, lcm={**TCD, "steps": 3})
    assert [event["sigma"][0] for event in webui.events_of("cfg_denoiser")] == levels and timesteps(
        calls
    ) == [999, 759, 259]


@oldest_and_newest
def test_picked_by_hand_it_is_the_same_sampler(webui):
    ours, _ = webui.txt2img(PROMPT, lcm=TCD)
    by_hand, calls = webui.txt2img(
        f"{PROMPT} <lora:lcm_lora_sd15:1>", sampler_name="TCD", steps=4, cfg_scale=1
    )
    assert timesteps(calls) == TRAILING_4 and levels_apart(by_hand.image, ours.image) <= 1
    assert [sampler["name"] for sampler in webui.client.get("/sdapi/v1/samplers")].count("TCD") == 1


def test_picked_by_hand_it_has_the_schedule_that_is_picked_by_hand(webui):
    webui.needs_schedules()
    webui.txt2img(PROMPT, lcm=TCD, scheduler="Karras")
    levels = [event["sigma"][0] for event in webui.events_of("cfg_denoiser")]
    webui.txt2img(PROMPT, sampler_name="TCD", scheduler="Karras", steps=4, cfg_scale=1)
    assert [event["sigma"][0] for event in webui.events_of("cfg_denoiser")] == levels


# --- LoRAs of its own ---------------------------------------------------------------------------------------

OWN = "TCD-SD15-LoRA"


def test_a_typed_lora_of_another_method_is_sampled_by_its_recipe(webui):
    with files(webui, metadata=False, **{OWN: "lcm_lora_sd15"}):
        made, calls = webui.txt2img(f"{PROMPT} <lora:{OWN}:0.8>", lcm={**TCD, "sampler": "auto"})
        assert loras(calls) == [[OWN]] * 4 and rows(calls) == [1] * 4 and timesteps(calls) == TRAILING_4
        assert "Sampler: TCD" in made.infotext and "LCM gamma: 0.3, LCM method: tcd" in made.infotext
        assert f"LCM LoRA: {OWN}, LCM weight: 0.8" in made.infotext
        without, _ = webui.txt2img(f"{PROMPT} <lora:{OWN}:0.8>", lcm={**TCD, "lora": "none"})
        assert same(made.image, without.image)


def test_a_few_step_lora_that_is_chosen_and_typed_is_applied_once_at_the_typed_weight(webui):
    with files(webui, metadata=False, **{OWN: "lcm_lora_sd15"}):
        made, calls = webui.txt2img(f"{PROMPT} <lora:{OWN}:0.5>", lcm={**TCD, "lora": OWN})
        assert loras(calls) == [[OWN]] * 4
        assert f"LCM LoRA: {OWN}" in made.infotext and "LCM weight: 0.5" in made.infotext
    halved, _ = webui.txt2img(PROMPT, lcm={**TCD, "weight": 0.5})
    assert same(made.image, halved.image)
