"""LoRAs for few steps of every method, in the folder and in prompts: each is sampled by its own recipe."""

from __future__ import annotations

import pytest

from lib_lcm.methods import METHODS
from tests.live.profiles import oldest_and_newest
from tests.live.test_generation import ON, TRAILING_4, rows, timesteps
from tests.live.test_infotext import again, pixels
from tests.live.test_loras import files, loras
from tests.live.test_xyz_plot import plot
from tests.prompts import PROMPT

FOUR = [999, 749, 499, 249]
EIGHT = [999, 874, 749, 624, 499, 374, 249, 124]
AUTO = {"enabled": True, "steps": 4, "cfg": 1}
EXAMPLES = {  # name of a file: (method, sampler, timesteps, CFG scale)
    "Hyper-SD15-8steps-lora": ("hyper-8", "DDIM trailing", EIGHT, 1),
    "Hyper-SD15-1step-lora": ("hyper", "TCD", TRAILING_4, 1),
    "Hyper-SD15-8steps-CFG-lora": ("hyper-cfg-8", "DDIM trailing", EIGHT, 5),
    "lightning_4step_lora": ("lightning-4", "Euler trailing", FOUR, 1),
    "dmd2_4step": ("dmd2", "LCM", FOUR, 1),
    "pcm_sd15_smallcfg_2step_converted": ("pcm-small-2", "DDIM trailing", [999, 499], 1),
    "flash-sd": ("flash", "LCM", FOUR, 1),
    "slam_lora": ("slam", "LCM", FOUR, 1),
    "turbo_lora": ("turbo", "LCM", TRAILING_4, 1),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_lora_is_sampled_by_the_recipe_that_its_name_speaks_of(webui, name):
    method, sampler, visited, cfg = EXAMPLES[name]
    with files(webui, metadata=False, **{name: "lcm_lora_sd15"}):
        planned = webui.loaded().post("/lcm/v1/plan", {"prompt": PROMPT, "args": [{**AUTO, "lora": name}]})
        made, calls = webui.txt2img(PROMPT, lcm={**AUTO, "lora": name})
    assert (planned["method"], planned["method_known_by"]) == (method, "by its name")
    assert (planned["sampler"], planned["timesteps"], planned["cfg"]) == (sampler, visited, cfg)
    assert loras(calls) == [[name]] * len(visited) and timesteps(calls) == visited
    assert rows(calls) == [1 if cfg == 1 else 2] * len(visited)
    assert f"Steps: {len(visited)}, Sampler: {sampler}" in made.infotext
    assert f"LCM method: {method}" in made.infotext


@oldest_and_newest
@pytest.mark.parametrize("name", ["Hyper-SD15-1step-lora", "lightning_4step_lora"])
def test_a_picture_comes_back_from_its_infotext_where_the_file_has_another_name(webui, name):
    other = f"my {name}"
    with files(webui, metadata=False, **{name: "lcm_lora_sd15"}):
        made, _ = webui.txt2img(PROMPT, lcm={**AUTO, "lora": name})
    with files(webui, metadata=False, **{other: "lcm_lora_sd15"}):
        repeated, text = again(webui, made.infotext)
    assert repeated == pixels(made.image) and f"LCM LoRA: {other}" in text


@oldest_and_newest
def test_the_steps_of_a_file_count_and_the_other_file_of_its_kind_is_taken_for_others(webui):
    two, four = "lightning_2step", "lightning_4step"
    with files(webui, metadata=False, **{two: "lcm_lora_sd15", four: "lcm_lora_sd15"}):
        _, calls = webui.txt2img(PROMPT, lcm={**AUTO, "steps": 2, "lora": four})
        assert loras(calls) == [[two]] * 2 and timesteps(calls) == [999, 499]
        assert f"{four} is for 4 steps: {two} is used for 2." in webui.comments
        # a typed tag stays the file that it names
        _, calls = webui.txt2img(f"{PROMPT} <lora:{four}:1>", lcm={**AUTO, "steps": 2})
        assert loras(calls) == [[four]] * 4 and timesteps(calls) == FOUR
        assert "Steps 2 → 4: Lightning works with 4 steps" in webui.comments


@oldest_and_newest
def test_a_plot_over_loras_of_several_methods_draws_each_by_its_recipe(webui):
    eight = "Hyper-SD15-8steps-lora"
    with files(webui, metadata=False, **{eight: "lcm_lora_sd15"}):
        _, texts, calls = plot(webui, AUTO, ("[LCM] LoRA", f"lcm_lora_sd15, {eight}"))
    assert loras(calls) == [["lcm_lora_sd15"]] * 4 + [[eight]] * 8
    assert timesteps(calls) == [*TRAILING_4, *EIGHT]
    assert "Sampler: LCM" in texts[0] and "LCM method" not in texts[0]
    assert "Sampler: DDIM trailing" in texts[1] and "LCM method: hyper-8" in texts[1]


@oldest_and_newest
def test_the_best_that_is_installed_is_taken_where_that_is_asked_for(webui):
    with files(webui, metadata=False, **{"Hyper-SD15-1step-lora": "lcm_lora_sd15"}):
        _, calls = webui.txt2img(PROMPT, lcm={**AUTO, "lora": "best"})
        assert loras(calls) == [["Hyper-SD15-1step-lora"]] * 4
        _, calls = webui.txt2img(PROMPT, lcm=AUTO)
        assert loras(calls) == [["lcm_lora_sd15"]] * 4
        with webui.settings(lcm_auto="best installed"):
            _, calls = webui.txt2img(PROMPT, lcm=AUTO)
        assert loras(calls) == [["Hyper-SD15-1step-lora"]] * 4


@oldest_and_newest
def test_without_lora_a_method_can_be_picked_for_a_checkpoint_made_for_few_steps(webui):
    made, calls = webui.txt2img(PROMPT, lcm={**AUTO, "lora": "none", "method": "lightning-8"})
    assert timesteps(calls) == EIGHT and loras(calls) == [[]] * 8
    assert "LCM LoRA: None" in made.infotext and "LCM method: lightning-8" in made.infotext
    made, calls = webui.txt2img(PROMPT, lcm={**AUTO, "lora": "none", "method": "lightning-1"})
    assert timesteps(calls) == [999] and "Steps: 1, Sampler: Euler trailing" in made.infotext
    _, calls = webui.txt2img(PROMPT, lcm={**AUTO, "lora": "none", "method": "hyper-unet-1"})
    assert timesteps(calls) == [800]


@oldest_and_newest
@pytest.mark.parametrize("method", ["lightning-4", "hyper-8", "dmd2"])
def test_at_half_strength_half_of_the_timesteps_are_left(webui, method):
    start, _ = webui.txt2img(PROMPT, lcm=ON)
    _, calls = webui.img2img(
        PROMPT, [start.image], lcm={**AUTO, "lora": "none", "method": method}, denoising_strength=0.5
    )
    visited = EIGHT if method == "hyper-8" else FOUR
    assert timesteps(calls) == visited[len(visited) // 2 :]


def test_every_sampler_of_a_recipe_is_in_the_webuis_list(webui):
    listed = [sampler["name"] for sampler in webui.client.get("/sdapi/v1/samplers")]
    for name in ("LCM", "TCD", "Euler trailing", "DDIM trailing"):
        assert listed.count(name) == 1
    assert {method.recipe.sampler for method in METHODS if method.recipe} == {"lcm", "tcd", "euler", "ddim"}
