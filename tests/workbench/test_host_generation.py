"""What the host computes: UNet calls, noise, schedules, networks."""

from __future__ import annotations

import threading

import pytest
from PIL import Image, ImageChops

from tests.waiting import wait_for
from workbench.client import ApiError, encode_image

SIDE = 64


def same(first, second) -> bool:
    return first.tobytes() == second.tobytes()


def largest_difference(first, second) -> int:
    """In levels of 0 to 255."""
    return max(high for _, high in ImageChops.difference(first, second).getextrema())


def test_cfg_1_costs_two_rows_per_picture(host):
    host.txt2img(cfg_scale=1, batch_size=3)
    assert host.steps() == [(999.0, 6), (666.0, 6), (333.0, 6), (0.0, 6)]


def test_the_noise_levels_of_a_script_are_used(host):
    host.txt2img(recorder=[True, "sigmas"])
    timesteps = [timestep for timestep, _ in host.steps()]
    assert timesteps == pytest.approx([999, 759, 259], abs=0.1)


@pytest.mark.parametrize("sampler", ["Euler a", "LCM", "DPM++ SDE"])
def test_a_picture_is_the_same_in_whatever_batch_it_is_made(host, sampler):
    batch = host.txt2img(sampler_name=sampler, steps=3, seed=5, batch_size=2, n_iter=2).images
    assert not same(batch[0], batch[1])
    for index in (1, 2):
        single = host.txt2img(sampler_name=sampler, steps=3, seed=5 + index).image
        # products of another batch size round differently
        assert largest_difference(batch[index], single) <= 1


def test_variation_seed_and_noise_seed_delta_change_the_picture(host):
    plain = host.txt2img(sampler_name="Euler a").image
    varied = host.txt2img(sampler_name="Euler a", subseed=9, subseed_strength=0.3)
    assert "Variation seed: 9" in varied.infotext
    shifted = host.txt2img(sampler_name="Euler a", override_settings={"eta_noise_seed_delta": 31337})
    assert "ENSD: 31337" in shifted.infotext
    assert not same(plain, varied.image) and not same(plain, shifted.image)
    assert same(plain, host.txt2img(sampler_name="Euler a").image)


@pytest.mark.parametrize(
    ("scheduler", "timesteps"),
    [
        ("Automatic", [999, 679, 339, 19]),
        ("Simple", [999, 759, 499, 259]),
        ("Karras", [999, 759, 339, 19]),
        ("DDIM", [999, 759, 519, 279, 39]),
    ],
)
def test_the_hosts_own_lcm_visits_its_own_timesteps(host, scheduler, timesteps):
    made = host.txt2img(sampler_name="LCM", scheduler=scheduler, cfg_scale=1)
    assert [timestep for timestep, _ in host.steps()] == timesteps
    assert f"Schedule type: {scheduler}" in made.infotext


def test_prompts_with_and_and_long_prompts_take_the_rows_they_need(host):
    host.txt2img("a star AND a circle :0.5", steps=1)
    assert [rows for _, rows in host.steps()] == [3]
    host.txt2img("star " * 80, steps=1)  # two chunks against one: they cannot be joined
    assert [rows for _, rows in host.steps()] == [1, 1]


def test_prompt_editing_changes_the_picture_from_the_given_step_on(host):
    plain = host.txt2img("a star").image
    assert not same(
        plain, host.txt2img("a star[:, one huge green circle with two tiny yellow squares:0]").image
    )
    assert same(plain, host.txt2img("a star[:, one huge green circle with two tiny yellow squares:99]").image)


def test_sdxl_checkpoint_by_override_and_back(host):
    before = host.txt2img().image
    made = host.txt2img(override_settings={"sd_model_checkpoint": "random-sdxl"})
    assert "Model: random-sdxl" in made.infotext
    again = host.txt2img()
    assert "Model: random-sd15" in again.infotext
    assert same(before, again.image)


@pytest.fixture
def picture(host):
    made = host.txt2img(seed=3).image
    host.unet_calls()
    host.events()
    return made


def test_img2img_runs_the_share_of_steps_that_the_strength_leaves(host, picture):
    host.img2img([picture], denoising_strength=0.5, sampler_name="LCM")
    assert [timestep for timestep, _ in host.steps()] == [679, 339, 19]
    host.img2img([picture], denoising_strength=0.5, override_settings={"img2img_fix_steps": True})
    assert len(host.steps()) == 4
    assert host.img2img([picture], denoising_strength=0).image.size == (SIDE, SIDE)


@pytest.mark.parametrize("only_masked", [False, True])
def test_inpainting_leaves_the_rest_alone(host, picture, only_masked):
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (32, 32, 64, 64))
    made = host.img2img(
        [picture],
        mask=mask,
        mask_blur=0,
        inpainting_fill=1,
        inpaint_full_res=only_masked,
        denoising_strength=1.0,
    )
    corner = (0, 0, 32, 32)
    assert same(made.image.crop(corner), picture.crop(corner))
    assert not same(made.image.crop((32, 32, 64, 64)), picture.crop((32, 32, 64, 64)))
    assert "on_mask_blend final" in host.events()
    assert ("Inpaint area: Only masked" in made.infotext) == only_masked


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_hires_makes_a_larger_picture_in_a_second_pass(host, upscaler):
    made = host.txt2img(
        enable_hr=True, hr_scale=1.5, hr_upscaler=upscaler, hr_second_pass_steps=3, denoising_strength=0.6
    )
    assert made.image.size == (96, 96)
    assert len(host.steps()) == 4 + 3
    assert f"Hires steps: 3, Hires upscaler: {upscaler}" in made.infotext


def test_a_lora_changes_the_picture_and_leaves_no_trace(host):
    before = host.txt2img().image
    with_lora = host.txt2img("a big red cross on a blue mosaic<lora:style:0.8>")
    assert not same(before, with_lora.image)
    assert "Lora hashes: " in with_lora.infotext
    by_alias = host.txt2img("a big red cross on a blue mosaic<lora:style alias:0.8>")
    assert same(with_lora.image, by_alias.image)
    assert same(before, host.txt2img().image)


def test_a_missing_lora_is_told_and_the_others_are_kept(host):
    alone = host.txt2img("a star<lora:style:1>").image
    host.events()
    assert same(alone, host.txt2img("a star<lora:nowhere:1><lora:style:1>").image)
    assert "postprocess Lora not found: nowhere" in host.events()


@pytest.mark.parametrize("profile", ["a1111-1.10", "forge"])
@pytest.mark.parametrize("items", ["0,8", "x:te=1", "1:unet=1.1.", "1:lbw=a=b"])
def test_a_weight_that_cannot_be_read_leaves_the_picture_without_loras(start_host, profile, items):
    host = start_host(profile)
    plain = host.txt2img("a star").image
    assert not same(plain, host.txt2img("a star<lora:style:1>").image)
    host.events()
    made = host.txt2img(f"a star<lora:style:0.5><lora:other:{items}>")
    assert same(plain, made.image) and "Lora hashes" not in made.infotext
    assert "activating extra network lora with arguments" in host.log
    told = [event for event in host.events() if event.startswith(("after_extra_networks", "postprocess "))]
    assert told == ["after_extra_networks_activate style other"]


def test_the_same_lora_twice_counts_twice_at_the_last_weight(host):
    twice = host.txt2img("a star<lora:style:0.1><lora:style:0.5>").image
    assert largest_difference(twice, host.txt2img("a star<lora:style:1>").image) <= 2
    assert largest_difference(twice, host.txt2img("a star<lora:style:0.6>").image) > 10


def test_the_refiner_takes_over_in_the_middle_and_is_gone_afterwards(host):
    before = host.txt2img().image
    refined = host.txt2img(refiner_checkpoint="random-sdxl", refiner_switch_at=0.5)
    assert "Model: random-sd15" in refined.infotext and "Refiner: random-sdxl" in refined.infotext
    assert not same(before, refined.image)
    assert same(before, host.txt2img().image)


def test_interrupting_stops_sampling_and_leaves_the_next_picture_alone(host):
    before = host.txt2img().image
    host.unet_calls()
    result = []
    thread = threading.Thread(target=lambda: result.append(host.txt2img(steps=150)))
    thread.start()
    wait_for(lambda: host.get("/workbench/v1/unet-calls"))
    assert host.get("/sdapi/v1/progress")["state"]["sampling_steps"] == 150
    host.post("/sdapi/v1/interrupt")
    thread.join(60)
    assert result[0].image.size == (SIDE, SIDE)
    assert len(host.unet_calls()) < 150
    assert same(before, host.txt2img().image)


def test_infotexts_round_trip(host):
    made = host.txt2img(
        'a "star", (big:1.2)',
        negative_prompt="x: y",
        sampler_name="DPM++ 2M",
        cfg_scale=2.5,
        seed=77,
        recorder=[True, "", 8],
    )
    params = host.post("/sdapi/v1/png-info", {"image": encode_image_with_info(made.image)})["parameters"]
    expected = {
        "Prompt": 'a "star", (big:1.2)', "Negative prompt": "x: y", "Sampler": "DPM++ 2M",
        "Schedule type": "Karras", "CFG scale": "2.5",
        "Seed": "77", "Size-1": "64", "Size-2": "64", "Recorder number": "8",
    }  # fmt: skip
    assert {key: params.get(key) for key in expected} == expected
    host.events()
    again = host.post("/sdapi/v1/txt2img", {"infotext": made.infotext})
    assert "process 1 8" in host.events()
    assert again["images"][0] == host.post("/sdapi/v1/txt2img", {"infotext": made.infotext})["images"][0]


def encode_image_with_info(image) -> str:
    """As the API encodes pictures: with the infotext in the file."""
    import base64
    import io

    from PIL import PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", image.info["parameters"])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=chunks)
    return base64.b64encode(buffer.getvalue()).decode()


def test_images_that_are_none_are_refused(host):
    with pytest.raises(ApiError) as refused:
        host.post("/sdapi/v1/img2img", {"init_images": ["bm90IGFuIGltYWdl"]})
    assert refused.value.status == 500
    assert encode_image(Image.new("RGB", (1, 1)))
