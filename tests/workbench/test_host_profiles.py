"""What sets the profiles apart, as an extension sees it; and the password."""

from __future__ import annotations

import pytest
from safetensors.torch import save_file

from tests.live.test_generation import levels_apart
from tests.workbench.conftest import random_lora
from workbench.client import ApiError, Client

AUTH = "user:secret"


@pytest.fixture
def forge(start_host):
    return start_host("forge")


@pytest.fixture(scope="module")
def more_loras(tmp_path_factory):
    """A second folder of LoRAs, with another copy of the first folder's "style"."""
    folder = tmp_path_factory.mktemp("more loras")
    save_file(random_lora("sd15", 0), folder / "theirs.safetensors")
    return folder


@pytest.fixture
def neo(start_host, more_loras):
    return start_host("neo", more=("--lora-dirs", str(more_loras)))


@pytest.fixture
def oldest(start_host):
    return start_host("a1111-1.6", auth=AUTH)


def test_the_default_profile(host):
    host.txt2img(steps=1)
    facts = host.get("/recorder/v1/facts")
    assert facts == {
        "model_at_start": "HostModel",
        "model": ["is_sd1", "is_sd2", "is_sdxl", "is_ssd", "is_sd3", "alphas_cumprod"],
        "modules": [
            "infotext_utils",
            "generation_parameters_copypaste",
            "sd_schedulers",
            "sd_samplers_lcm",
        ],
        "accordion_is_class": True,
        "same_k_diffusion": True,
        "extra": 7,
    }


def test_forge_has_other_objects_and_its_own_k_diffusion(forge):
    forge.txt2img(steps=1)
    facts = forge.get("/recorder/v1/facts")
    assert facts["model_at_start"] == "FakeInitialModel"
    assert facts["model"] == ["is_sd1", "is_sd2", "is_sdxl", "is_sd3", "forge_objects"]
    assert not facts["accordion_is_class"] and not facts["same_k_diffusion"]


def test_forge_leaves_the_uncond_out_at_cfg_1(forge):
    forge.txt2img(cfg_scale=1, batch_size=2, steps=1)
    assert forge.steps() == [(999.0, 2)]
    assert [event.split()[0] for event in forge.events() if event.startswith("cfg_")] == [
        "cfg_denoiser",
        "cfg_after_cfg",
    ]
    forge.txt2img(cfg_scale=3, batch_size=2, steps=1)
    assert forge.steps() == [(999.0, 4)]


def test_forge_runs_hires_at_its_own_cfg_and_activates_networks_four_times(forge):
    forge.txt2img(cfg_scale=3, steps=1, enable_hr=True, hr_scale=1, denoising_strength=0.9)
    assert [rows for _, rows in forge.steps()] == [2, 1]
    assert len([event for event in forge.events() if event.startswith("after_extra_networks_activate")]) == 4


def test_forge_drops_all_loras_when_one_is_missing(forge):
    plain = forge.txt2img("a star").image
    assert forge.txt2img("a star<lora:style:1>").image.tobytes() != plain.tobytes()
    assert forge.txt2img("a star<lora:nowhere:1><lora:style:1>").image.tobytes() == plain.tobytes()


def test_forge_uses_the_last_weight_of_a_repeated_lora(forge):
    twice = forge.txt2img("a star<lora:style:0.1><lora:style:1>").image
    assert twice.tobytes() == forge.txt2img("a star<lora:style:1>").image.tobytes()


def test_neos_own_lcm_is_an_ordinary_sampler(neo):
    neo.txt2img(sampler_name="LCM", cfg_scale=1)
    assert [round(timestep) for timestep, _ in neo.steps()] == [999, 666, 333, 0]
    facts = neo.get("/recorder/v1/facts")
    assert facts["model"] == ["is_sd1", "is_sd2", "is_sdxl", "forge_objects"]
    assert facts["modules"] == ["infotext_utils", "generation_parameters_copypaste", "sd_schedulers"]


def test_neo_stretches_pictures_alone(neo):
    assert neo.get("/sdapi/v1/latent-upscale-modes") == []
    neo.txt2img(enable_hr=True, hr_scale=2, hr_upscaler="None", denoising_strength=0.5)
    assert len(neo.steps()) == 4 + 4


def test_neo_applies_each_lora_of_all_its_folders_as_often_as_it_is_named(neo):
    styled, plain = (neo.txt2img(prompt).image for prompt in ("a star<lora:style:1>", "a star"))
    assert styled.tobytes() != plain.tobytes()
    for same in ("<lora:theirs:1>", "<lora:nowhere:1><lora:style:1>", "<lora:style:0.5><lora:style:0.5>"):
        assert levels_apart(neo.txt2img(f"a star{same}").image, styled) <= 1


def test_neo_reads_a_lora_again_when_others_were_wanted_between(neo, more_loras):
    prompt = "a star<lora:theirs:0.7>"
    file, before = more_loras / "theirs.safetensors", neo.txt2img(prompt).image
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    try:
        assert neo.txt2img(prompt).image.tobytes() == before.tobytes()
        neo.txt2img("a star")
        assert neo.txt2img(prompt).image.tobytes() != before.tobytes()
    finally:
        file.write_bytes(whole)


def test_the_oldest_webui_lacks_what_came_later(oldest):
    facts = oldest.get("/recorder/v1/facts")
    assert facts["model"] == ["is_sd1", "is_sd2", "is_sdxl", "alphas_cumprod"]
    assert facts["modules"] == ["generation_parameters_copypaste"]
    oldest.txt2img(steps=1)
    assert not {"process_before_every_sampling", "post_sample"} & set(oldest.events())


def test_the_oldest_webui_has_no_lcm_and_no_schedules(oldest):
    names = [sampler["name"] for sampler in oldest.get("/sdapi/v1/samplers")]
    assert "DPM++ 2M Karras" in names and "LCM" not in names
    for path, payload in (
        ("txt2img", {"sampler_name": "LCM"}),
        ("img2img", {"init_images": [], "sampler_name": "LCM"}),
    ):
        with pytest.raises(ApiError) as refused:
            oldest.post(f"/sdapi/v1/{path}", payload)
        assert (refused.value.status, refused.value.body["detail"]) == (404, "Sampler not found")
    made = oldest.txt2img(sampler_name="DPM++ 2M Karras")
    assert "Schedule type" not in made.infotext
    assert [round(timestep) for timestep, _ in oldest.steps()] == [999, 687, 146, 0]


def test_an_unknown_sampler_becomes_the_first_one_where_names_are_looked_up_loosely(host):
    assert "Sampler: DPM++ 2M," in host.txt2img(sampler_name="no such sampler", steps=1).infotext


def test_the_api_asks_for_the_password(oldest):
    for auth in (None, "user:wrong", "nobody:secret"):
        with pytest.raises(ApiError) as refused:
            Client(oldest.url, auth=auth).get("/sdapi/v1/samplers")
        assert refused.value.status == 401
    assert Client(oldest.url, auth=AUTH).get("/sdapi/v1/sd-models")


def test_the_page_says_that_it_is_a_stand_in_and_loads_the_scripts(host):
    import urllib.request

    with urllib.request.urlopen(host.url) as answer:
        page = answer.read().decode()
    assert "LCM workbench: a small stand-in for the WebUI" in page
    assert "/page/js/0/host.js" in page
