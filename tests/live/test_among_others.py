"""Among other extensions: real ones where this WebUI has them, and stand-ins (tests/live/probe) for kinds of
them.
"""

import time

import pytest
import torch

from tests.live.profiles import oldest_and_newest, one_profile
from tests.live.test_generation import ON, TRAILING_4, levels_apart, rows, same, timesteps
from tests.live.test_loras import SD15, disturbed, loras
from tests.prompts import OTHER, PROMPT
from workbench.client import Client, encode_image

newest = one_profile  # the workbench has none of the real extensions: one profile says so


@pytest.fixture(autouse=True)
def shared_out_by_nobody(request):
    """Where there is Distributed, it would share out every batch of two or more; it does in its own test
    only.
    """
    if "webui" not in request.fixturenames:
        yield
        return
    client = request.getfixturevalue("webui").client
    before = client.post("/lcm-test-neighbours/distributed", {"txt2img": False, "img2img": False})
    yield
    if before:
        client.post("/lcm-test-neighbours/distributed", before)


def script(webui, title: str, *args) -> dict:
    """A request's field for the always-on script whose title begins like this. Skips the test where the WebUI
    has no such extension.
    """
    titles = webui.client.get("/sdapi/v1/scripts")["txt2img"]
    found = next((name for name in titles if name.startswith(title)), None)
    if found is None:
        pytest.skip(f"the extension {title!r} is not in this WebUI")
    return {"alwayson_scripts": {found: {"args": list(args)}}}


# --- ControlNet (models: tests/live/tiny_neighbours.py) -----------------------------------------------------


def control(webui, picture, **unit) -> dict:
    """A request's field for one unit of ControlNet."""
    unit = {"enabled": True, "module": "none", "model": "None", "image": encode_image(picture), **unit}
    field = script(webui, "controlnet", unit)
    if unit["model"] == "None":
        return field
    models = webui.client.get("/controlnet/model_list")["model_list"]
    found = next((name for name in models if name.startswith(unit["model"])), None)
    if found is None:
        pytest.skip(f"ControlNet has no model {unit['model']} here: run tests/live/tiny_neighbours.py")
    unit["model"] = found
    return field


@newest
@pytest.mark.parametrize(
    "unit,levels",
    [
        ({"model": "tiny-controlnet"}, 2),
        ({"model": "tiny-controlnet", "control_mode": "ControlNet is more important"}, 2),
        ({"model": "tiny-t2i-adapter"}, 2),
        # it adds noise to its reference that depends on the number of rows
        ({"module": "reference_only"}, 8),
    ],
)
def test_controlnet_steers_an_lcm_picture_at_half_the_work(webui, unit, levels):
    if unit.get("module") == "reference_only" and webui.is_of_forge:
        pytest.skip("the ControlNet of Forge and reForge calls the UNet for its reference too")
    field = control(webui, webui.txt2img(OTHER, lcm=ON)[0].image, **unit)
    without, _ = webui.txt2img(PROMPT, lcm=ON, batch_size=2)
    made, calls = webui.txt2img(PROMPT, lcm=ON, batch_size=2, **field)
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [2] * 4 and loras(calls) == [[SD15]] * 4
    assert levels_apart(made.image, without.image) > 10 and made.infotext.count("ControlNet 0") == 1
    # a CFG scale that is not quite 1: both halves are computed
    full, calls = webui.txt2img(PROMPT, lcm={**ON, "cfg": 1.0002}, batch_size=2, **field)
    assert rows(calls) == [4] * 4
    assert max(levels_apart(*pair) for pair in zip(made.images[:2], full.images[:2], strict=True)) <= levels
    again, _ = webui.txt2img(PROMPT, lcm=ON, batch_size=2)
    assert same(again.image, without.image)


@newest
def test_controlnet_in_the_hires_pass_and_in_img2img(webui):
    start = webui.txt2img(OTHER, lcm=ON)[0].image
    field = control(webui, start, model="tiny-controlnet")
    _, calls = webui.txt2img(PROMPT, lcm=ON, **webui.hires, **field)
    assert (
        timesteps(calls) == [*TRAILING_4, 499, 379, 259, 139]
        and rows(calls) == [1] * 8
        and loras(calls) == [[SD15]] * 8
    )
    made, calls = webui.img2img(PROMPT, [start], lcm=ON, denoising_strength=0.5, **field)
    assert timesteps(calls) == [499, 379, 259, 139] and rows(calls) == [1] * 4
    assert not same(made.image, webui.img2img(PROMPT, [start], lcm=ON, denoising_strength=0.5)[0].image)


@newest
def test_controlnet_acts_where_a_refiner_was_asked_for_too(webui):
    field = control(webui, webui.txt2img(OTHER, lcm=ON)[0].image, model="tiny-controlnet")
    made, _ = webui.txt2img(PROMPT, lcm=ON, **field)
    skipped, calls = webui.txt2img(
        PROMPT, lcm=ON, refiner_checkpoint=webui.sdxl, refiner_switch_at=0.5, **field
    )
    assert timesteps(calls) == TRAILING_4 and same(made.image, skipped.image)


# --- AnimateDiff (motion modules: tests/live/tiny_neighbours.py) --------------------------------------------

FRAMES = 8
ANIMATEDIFF_LIGHTNING = {
    "lightning-1": [999],
    "lightning-2": [999, 499],
    "lightning-4": [999, 749, 499, 249],
    "lightning-8": [999, 874, 749, 624, 499, 374, 249, 124],
}
"""Method -> timesteps that its motion module was distilled on."""


def animated(webui, model: str, lcm=ON, length=FRAMES, prompt=PROMPT, **request):
    """The GIF of an AnimateDiff request, its frames as computed, and the UNet's calls."""
    video = {
        "enable": True,
        "model": model,
        "video_length": length,
        "batch_size": FRAMES,
        "format": ["GIF", "Frame"],
        "closed_loop": "N",
    }
    field = script(webui, "animatediff", video)
    made, calls = webui.txt2img(prompt, lcm=lcm, width=64, height=64, **request, **field)
    assert made.image.format == "GIF", (
        f"AnimateDiff made no GIF (does it have {model}? see tests/live/tiny_neighbours.py)"
    )
    return made.image, made.images[1:], calls, made


@newest
@pytest.mark.parametrize("model", ["tiny-motion-v3.safetensors", "tiny-motion-v2.safetensors"])
def test_animatediff_computes_one_half(webui, model):
    gif, frames, calls, made = animated(webui, model)
    assert gif.n_frames == len(frames) == FRAMES
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [FRAMES] * 4 and loras(calls) == [[SD15]] * 4
    assert "AnimateDiff" in made.infotext and "LCM LoRA: lcm_lora_sd15" in made.infotext
    _, full, calls, _ = animated(webui, model, lcm={**ON, "cfg": 1.0002})
    assert rows(calls) == [2 * FRAMES] * 4
    assert max(levels_apart(*pair) for pair in zip(frames, full, strict=True)) <= 2


@newest
def test_animatediffs_first_motion_modules_count_on_both_halves(webui):
    _, frames, calls, _ = animated(webui, "tiny-motion-v1.ckpt")
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [2 * FRAMES] * 4 and len(frames) == FRAMES


@newest
def test_a_long_video_is_computed_in_windows_of_frames(webui):
    still, _ = webui.txt2img(PROMPT, lcm=ON)
    gif, frames, calls, _ = animated(webui, "tiny-motion-v3.safetensors", length=12)
    assert (
        gif.n_frames == 12
        and set(rows(calls)) == {FRAMES}
        and list(dict.fromkeys(timesteps(calls))) == TRAILING_4
    )
    _, full, _, _ = animated(webui, "tiny-motion-v3.safetensors", lcm={**ON, "cfg": 1.0002}, length=12)
    assert max(levels_apart(*pair) for pair in zip(frames, full, strict=True)) <= 2
    assert same(webui.txt2img(PROMPT, lcm=ON)[0].image, still.image)


def prompt_travel(prompt: str, first: str, later: str) -> str:
    """A prompt of AnimateDiff's that becomes another one from frame to frame, up to the fifth."""
    return f"{prompt}\n0: {first}\n4: {later}\nsharp"


@newest
def test_animatediffs_prompt_travel_is_as_without_lcm_at_half_the_work(webui):
    model, head = "tiny-motion-v3.safetensors", f"{PROMPT} <lora:{SD15}:0.5>"
    travel = prompt_travel(head, "on a red background", "on a blue background")
    _, frames, calls, made = animated(webui, model, prompt=travel)
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [FRAMES] * 4 and loras(calls) == [[SD15]] * 4
    assert made.infotext.startswith(f"{travel}\nSteps: 4, Sampler: LCM")
    assert f"LCM LoRA: {SD15}, LCM weight: 0.5" in made.infotext
    _, full, calls, _ = animated(webui, model, prompt=travel, lcm={**ON, "cfg": 1.0002})
    assert rows(calls) == [2 * FRAMES] * 4
    assert max(levels_apart(*pair) for pair in zip(frames, full, strict=True)) <= 2
    # from a prompt to the same one, it is a video of the prompt that head, line and tail make
    there = "on a red background"
    _, at_rest, _, _ = animated(webui, model, prompt=prompt_travel(head, there, there))
    _, one_prompt, _, _ = animated(webui, model, prompt=f"{head}, {there}, sharp")
    assert max(levels_apart(*pair) for pair in zip(at_rest, one_prompt, strict=True)) <= 1
    assert min(levels_apart(*pair) for pair in zip(frames[4:], at_rest[4:], strict=True)) > 2


@newest
def test_animatediffs_prompt_travel_with_the_webuis_schedule_is_the_one_by_hand(webui):
    model = "tiny-motion-v3.safetensors"
    travel = prompt_travel(f"{PROMPT} <lora:{SD15}:1>", "on a red background", "on a blue background")
    by_hand = {"lcm": None, "steps": 4, "cfg_scale": 1, "sampler_name": "LCM"}
    _, expected, calls, _ = animated(webui, model, prompt=travel, **by_hand)
    _, frames, webui_calls, _ = animated(webui, model, prompt=travel, lcm={**ON, "schedule": "webui"})
    assert calls == webui_calls
    assert all(same(*pair) for pair in zip(frames, expected, strict=True))


@newest
@pytest.mark.parametrize("passes", ["hires", "two batches"])
def test_animatediffs_prompt_travel_in_every_pass_and_batch(webui, passes):
    more = webui.hires if passes == "hires" else {"n_iter": 2}
    visited = [499, 379, 259, 139] if passes == "hires" else TRAILING_4
    travel = prompt_travel(f"{PROMPT} <lora:{SD15}:0.5>", "on a red background", "on a blue background")
    _, _, calls, made = animated(webui, "tiny-motion-v3.safetensors", prompt=travel, **more)
    assert timesteps(calls) == [*TRAILING_4, *visited] and rows(calls) == [FRAMES] * 8
    assert loras(calls) == [[SD15]] * 8
    assert all(text.startswith(f"{travel}\n") and "LCM weight: 0.5" in text for text in made.infotexts)


@newest
@pytest.mark.parametrize("method,visited", [("lcm", TRAILING_4), *ANIMATEDIFF_LIGHTNING.items()])
def test_animatediffs_noise_levels_are_sampled_at(webui, method, visited):
    """It gives the loaded model linear betas, as AnimateLCM and AnimateDiff-Lightning were distilled on."""
    script(webui, "animatediff")
    lora = "auto" if method == "lcm" else "none"
    webui.client.post("/lcm-test-neighbours/next", {"levels": len(visited)})
    model, options = "tiny-motion-v2.safetensors", {**ON, "method": method, "lora": lora}
    _, frames, calls, made = animated(webui, model, lcm=options)
    assert timesteps(calls) == visited and rows(calls) == [FRAMES] * len(visited) and len(frames) == FRAMES
    assert loras(calls) == [[SD15] if method == "lcm" else []] * len(visited)
    assert (
        f"Steps: {len(visited)}, Sampler: {'LCM' if method == 'lcm' else 'Euler trailing'}" in made.infotext
    )
    alphas_cumprod = torch.cumprod(1 - torch.linspace(0.00085, 0.012, 1000, dtype=torch.float64), 0)
    levels = [*((1 - alphas_cumprod) / alphas_cumprod).sqrt()[visited].tolist(), 0.0]
    assert webui.client.get("/lcm-test-neighbours/levels") == pytest.approx(levels, rel=1e-4)


# --- ADetailer (detector: tests/live/tiny_neighbours.py) ----------------------------------------------------


def detailer(webui, **settings) -> dict:
    """A request's field for ADetailer's pass over the one largest thing that it finds."""
    settings = {"ad_model": "tiny-detector.pt", "ad_mask_k": 1, "ad_denoising_strength": 0.5, **settings}
    return script(webui, "adetailer", True, False, settings)


@newest
def test_adetailers_inner_pass_is_lcms_too(webui):
    plain, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    for prompt in (PROMPT, f"{PROMPT} <lora:lcm_lora_sd15:1>"):
        made, calls = webui.txt2img(prompt, lcm=ON, n_iter=2, **detailer(webui))
        assert timesteps(calls) == [*TRAILING_4, 499, 379, 259, 139] * 2
        assert rows(calls) == [1] * 16 and loras(calls) == [[SD15]] * 16
        assert (
            made.infotext.startswith(f"{prompt}\n") and "ADetailer model: tiny-detector.pt" in made.infotext
        )
    assert same(webui.txt2img(PROMPT, steps=4, cfg_scale=3)[0].image, plain.image)


@newest
def test_settings_of_adetailers_own(webui):
    own = {"ad_use_steps": True, "ad_steps": 28, "ad_use_cfg_scale": True, "ad_cfg_scale": 7.0}
    _, calls = webui.txt2img(PROMPT, lcm=ON, **detailer(webui, **own))
    assert len(calls) == 4 + 8 and rows(calls)[4:] == [2] * 8 and loras(calls) == [[SD15]] * 12
    _, calls = webui.txt2img(
        PROMPT, lcm=ON, **detailer(webui, **own, ad_use_sampler=True, ad_sampler="Euler")
    )
    assert len(calls) > 4 and loras(calls) == [[SD15]] * 4 + [[]] * (len(calls) - 4)


@newest
def test_adetailer_with_all_scripts_in_its_inner_pass(webui):
    field = detailer(webui)
    # extensions' settings cannot be asked for
    webui.client.post("/sdapi/v1/options", {"ad_only_selected_scripts": False})
    try:
        _, calls = webui.txt2img(PROMPT, lcm=ON, **field)
    finally:
        webui.client.post("/sdapi/v1/options", {"ad_only_selected_scripts": True})
    assert timesteps(calls) == [*TRAILING_4, 499, 379, 259, 139] and loras(calls) == [[SD15]] * 8


# --- Dynamic Prompts ----------------------------------------------------------------------------------------


@newest
def test_dynamic_prompts_gives_each_picture_its_own_prompt_and_lora_tag(webui):
    template = (
        "a {big|small} {red|blue|green|yellow} {star|circle}"
        " {<lora:lcm_lora_sd15:0.5>|<lora:lcm_lora_sd15:0.8>}"
    )
    made, calls = webui.txt2img(template, lcm=ON, n_iter=4, **script(webui, "dynamic prompts", True))
    assert timesteps(calls) == TRAILING_4 * 4 and rows(calls) == [1] * 16 and loras(calls) == [[SD15]] * 16
    prompts, texts, images = made.info["all_prompts"], made.infotexts[-4:], made.images[-4:]
    assert len(set(prompts)) > 1 and "{" not in "".join(prompts)
    for i, (prompt, text, image) in enumerate(zip(prompts, texts, images, strict=True)):
        weight = prompt.partition("sd15:")[2].rstrip(">")
        assert text.startswith(f"{prompt}\n") and f"LCM weight: {weight}," in text
        alone, _ = webui.txt2img(prompt, lcm=ON, seed=1 + i, **script(webui, "dynamic prompts", False))
        assert same(alone.image, image)


# --- stable-diffusion-webui-distributed ---------------------------------------------------------------------


@newest
def test_a_batch_is_distributed_over_two_webuis_with_lcm_in_both(webui, request):
    """The second WebUI's LCM-LoRA should have another name and folder there; its address is in the
    extension's configuration.
    """
    script(webui, "distribute")
    url = request.config.getoption("--worker-url")
    if not url:
        pytest.skip("no --worker-url is given")
    webui.client.post("/lcm-test-neighbours/distributed", {"txt2img": True, "img2img": True})
    worker = Client(url)
    worker.request("DELETE", "/lcm-test-probe/calls")
    with webui.settings(return_grid=False):  # the extension counts a grid in, which the API does not make
        made, calls = webui.txt2img(PROMPT, lcm=ON, batch_size=4, negative_prompt="dark")
    theirs = worker.get("/lcm-test-probe/calls")
    assert timesteps(calls) == timesteps(theirs) == TRAILING_4 and rows(calls) == rows(theirs) == [2] * 4
    assert loras(calls) == [[SD15]] * 4
    [(other_name,)] = {tuple(call["loras"]) for call in theirs}
    listed = next(lora for lora in worker.get("/sdapi/v1/loras") if lora["name"] == other_name)
    assert listed["path"] != next(
        lora["path"] for lora in webui.client.get("/sdapi/v1/loras") if lora["name"] == SD15
    )
    texts, images = made.infotexts[-4:], made.images[-4:]
    for i, (text, image) in enumerate(zip(texts, images, strict=True)):
        assert f"Seed: {1 + i}," in text and "Steps: 4, Sampler: LCM," in text and "CFG scale: 1," in text
        assert f"LCM LoRA: {SD15 if i < 2 else other_name}," in text
        alone, _ = webui.txt2img(PROMPT, lcm=ON, seed=1 + i, negative_prompt="dark")
        assert levels_apart(alone.image, image) <= 1


# --- a detailer with settings of its own --------------------------------------------------------------------


def detailed(webui, **own_settings):
    """The UNet's calls of the inner generation."""
    _, calls = webui.txt2img(PROMPT, lcm=ON, **disturbed(own_settings))
    assert timesteps(calls[:4]) == TRAILING_4
    return calls[4:]


def test_a_detailers_own_steps_and_cfg_are_kept_where_lcm_works(webui):
    calls = detailed(webui, steps=28, cfg_scale=7)
    assert rows(calls) == [2] * 8 and loras(calls) == [[SD15]] * 8
    assert "steps 28 → 8, CFG scale 7 → 2" in webui.comments


def test_a_detailer_told_to_use_another_sampler_and_cfg_gets_no_lora(webui):
    calls = detailed(webui, sampler_name="Euler", steps=6, cfg_scale=7)
    assert calls and not any(loras(calls)) and "without LCM" in webui.comments
    again = detailed(webui, sampler_name="Euler", steps=6)
    assert loras(again) == [[SD15]] * len(again)


# --- an extension that acts where a refiner is asked for, and elsewhere where not ---------------------------


def test_the_request_for_a_refiner_looks_the_same_in_all_callbacks(webui):
    webui.txt2img(PROMPT, lcm=ON, refiner_checkpoint=webui.sdxl, refiner_switch_at=0.5)
    seen = webui.client.get("/lcm-test-neighbours/refiners")
    assert seen["process"] == seen["before_process_batch"] == webui.sdxl


# --- an extension with a sampler "LCM" of its own -----------------------------------------------------------


def reload_ui(webui, marker, **how) -> None:
    """Does what "Reload UI" does; see tests/live/probe."""
    marker.unlink(missing_ok=True)
    webui.client.post("/lcm-test-neighbours/reload", {"marker": str(marker), **how})
    deadline = time.monotonic() + 300
    while not marker.exists():
        assert time.monotonic() < deadline, f"the WebUI did not come back. {webui.end_of_log()}"
        time.sleep(0.2)
    while not webui.answers():  # the routes are there; the last of its work may not be done
        assert time.monotonic() < deadline, f"the WebUI does not answer. {webui.end_of_log()}"
        time.sleep(0.2)


def aliases_of_lcm(webui) -> list[list[str]]:
    """The aliases of each sampler "LCM" that the WebUI lists."""
    return [
        sampler["aliases"] for sampler in webui.client.get("/sdapi/v1/samplers") if sampler["name"] == "LCM"
    ]


@oldest_and_newest
@pytest.mark.parametrize("stage", ["now", "load", "before_ui", "app_started"])
def test_one_sampler_of_the_name_remains_and_another_extensions_comes_back(webui, stage, tmp_path):
    def by_hand():
        return webui.txt2img(PROMPT, steps=4, cfg_scale=1, sampler_name="LCM")

    before = webui.client.get("/sdapi/v1/samplers")
    ticked, calls = webui.txt2img(PROMPT, lcm=ON)
    euler, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=1)
    try:
        reload_ui(webui, tmp_path / "with", rival=stage)
        # the page is built by then; that latecomer goes when the next picture is made
        if stage != "app_started":
            assert len(aliases_of_lcm(webui)) == 1
        made, calls_beside = webui.txt2img(PROMPT, lcm=ON)
        assert calls_beside == calls and same(made.image, ticked.image)
        assert len(aliases_of_lcm(webui)) == 1
        assert same(by_hand()[0].image, euler.image), (
            "the sampler picked by hand is not the other extension's"
        )
        reload_ui(webui, tmp_path / "without", lcm=False)
        left = aliases_of_lcm(webui)
        assert left.count(["k_rival"]) == 1 and len(left) == 1 + webui.has_own_lcm
        assert same(by_hand()[0].image, euler.image)
    finally:
        webui.client.request("DELETE", "/lcm-test-neighbours/rival")
        reload_ui(webui, tmp_path / "as before")
    assert webui.client.get("/sdapi/v1/samplers") == before
    made, calls_after = webui.txt2img(PROMPT, lcm=ON)
    assert calls_after == calls and same(made.image, ticked.image)


def test_without_lcm_pictures_are_those_of_a_webui_that_has_no_lcm(webui, tmp_path):
    start, _ = webui.txt2img(PROMPT, steps=2)
    tagged = f"{PROMPT} <lora:{SD15}:0.5>"

    def plain_pictures():
        made = [
            webui.txt2img(PROMPT, negative_prompt="green", steps=4, cfg_scale=3, **webui.hires),
            webui.txt2img(PROMPT, webui.sdxl, steps=3, cfg_scale=1),
            webui.txt2img(tagged, steps=4, cfg_scale=1),
            webui.img2img(tagged, [start.image], steps=6, denoising_strength=0.6),
        ]
        if webui.has_own_lcm:
            made.append(webui.txt2img(tagged, steps=4, cfg_scale=1, sampler_name="LCM"))
        return [(picture.image.convert("RGB").tobytes(), picture.infotext, calls) for picture, calls in made]

    def has_lcm():
        return any(script["name"] == "lcm" for script in webui.client.get("/lcm-test-probe/scripts"))

    with_it = plain_pictures()
    assert has_lcm()
    try:
        reload_ui(webui, tmp_path / "without", lcm=False)
        assert not has_lcm()
        without = plain_pictures()
    finally:
        reload_ui(webui, tmp_path / "as before")
    assert with_it == without


# --- an extension that computes a batch in windows ----------------------------------------------------------


def in_windows(webui, **request):
    """The images of one request, computed at once and in overlapping windows of two, and the UNet's calls for
    the latter.
    """
    at_once, _ = webui.txt2img(PROMPT, lcm=ON, batch_size=5, **request)
    webui.client.post("/lcm-test-neighbours/next", {"windows": 2})
    windowed, calls = webui.txt2img(PROMPT, lcm=ON, batch_size=5, **request)
    return at_once.images, windowed.images, calls


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_images_computed_in_overlapping_windows_are_the_same(webui):
    if webui.leaves_out_uncond:
        pytest.skip("this WebUI does not call the k-diffusion denoiser")
    at_once, windowed, calls = in_windows(webui)
    assert rows(calls) == [2] * 5 * 4 and timesteps(calls)[::5] == TRAILING_4
    assert max(levels_apart(*pair) for pair in zip(at_once, windowed, strict=True)) <= 1


@one_profile
def test_windows_with_halves_that_are_not_batched(webui):
    if webui.leaves_out_uncond:
        pytest.skip("this WebUI does not call the k-diffusion denoiser")
    with webui.settings(batch_cond_uncond=False):
        at_once, windowed, calls = in_windows(webui)
    assert rows(calls) == [2] * 5 * 4
    assert max(levels_apart(*pair) for pair in zip(at_once, windowed, strict=True)) <= 1


@one_profile
def test_nothing_is_left_out_where_other_extensions_changed_the_unet_too(webui):
    if webui.leaves_out_uncond:
        pytest.skip("this WebUI does not call the k-diffusion denoiser")
    at_once, _ = webui.txt2img(PROMPT, lcm=ON, batch_size=3)
    webui.client.post("/lcm-test-neighbours/next", {"windows": 2, "unet": True})
    windowed, calls = webui.txt2img(PROMPT, lcm=ON, batch_size=3)
    assert rows(calls) == [4] * 3 * 4
    assert max(levels_apart(*pair) for pair in zip(at_once.images, windowed.images, strict=True)) <= 1
    again, calls = webui.txt2img(PROMPT, lcm=ON, batch_size=3)
    assert rows(calls) == [3] * 4 and all(
        same(*pair) for pair in zip(at_once.images, again.images, strict=True)
    )


@newest
@pytest.mark.parametrize("method,share", [("MultiDiffusion", 1), ("Mixture of Diffusers", 0.5)])
def test_tiled_diffusion_draws_each_tile_with_lcm(webui, method, share):
    """MultiDiffusion multiplies the rows where nothing tells the conditional ones apart, so both halves are
    computed.
    """
    size = {"width": 2 * webui.side, "height": 2 * webui.side}
    tile = webui.side // 8  # of the latent
    field = script(
        webui, "tiled diffusion", True, method, False, True, *size.values(), tile, tile, tile // 2, 4
    )
    without, _ = webui.txt2img(PROMPT, lcm=ON, **size)
    tiled, calls = webui.txt2img(PROMPT, lcm=ON, **size, **field)
    assert list(dict.fromkeys(timesteps(calls))) == TRAILING_4 and loras(calls) == [[SD15]] * len(calls)
    assert len(calls) > 4 and "Tiled Diffusion" in tiled.infotext and tiled.image.size == without.image.size
    assert not same(tiled.image, without.image)
    full, full_calls = webui.txt2img(PROMPT, lcm={**ON, "cfg": 1.0002}, **size, **field)
    assert levels_apart(tiled.image, full.image) <= 2 and sum(rows(calls)) == share * sum(rows(full_calls))
    again, _ = webui.txt2img(PROMPT, lcm=ON, **size)
    assert same(again.image, without.image)


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_rows_that_an_extension_multiplies_for_its_tiles_are_all_computed(webui):
    if webui.leaves_out_uncond:
        pytest.skip("this WebUI does not call the k-diffusion denoiser")
    plain, _ = webui.txt2img(PROMPT, lcm=ON)
    webui.client.post("/lcm-test-neighbours/next", {"tiles": 3})
    tiled, calls = webui.txt2img(PROMPT, lcm=ON)
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [6] * 4
    assert levels_apart(plain.image, tiled.image) <= 1
