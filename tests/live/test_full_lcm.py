"""A full latent consistency model, converted from the WebUI's own checkpoint, drawn with."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib_lcm.checkpoints.convert import UNET_PREFIXES, convert
from tests.live.panel import Panel
from tests.live.profiles import oldest_and_newest
from tests.live.test_generation import TRAILING_4, rows, same, timesteps
from tests.live.test_loras import files
from tests.live.test_xyz_plot import plot
from tests.prompts import OTHER, PROMPT
from workbench.client import ApiError

pytestmark = oldest_and_newest

FULL = {"enabled": True, "steps": 4, "cfg": 8}


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def names(request, webui):
    """The names of a checkpoint of the WebUI's, and of a full LCM with the same weights and a projection."""
    # a name of its own: a WebUI that has a model of this name in memory does not read the file again
    name = f"full-lcm-of-the-tests-{request.param}"
    model = getattr(webui, request.param)
    listed = webui.client.get("/sdapi/v1/sd-models")
    path = Path(next(one["filename"] for one in listed if one["model_name"] == model))
    tensors = load_file(path)
    prefix = next(one for one in UNET_PREFIXES if any(key.startswith(one) for key in tensors))
    layer = "time_embed.0" if prefix == UNET_PREFIXES[0] else "time_embedding.linear_1"
    first = tensors[f"{prefix}{layer}.weight"]
    projection = torch.randn(first.shape[1], 256, generator=torch.Generator().manual_seed(1)) * 0.1
    tensors[f"{prefix}{layer.split('.')[0]}.cond_proj.weight"] = projection.to(first.dtype)
    source, new = path.with_name(f"{name}.source"), path.with_name(f"{name}.safetensors")
    made = [source, new, new.with_suffix(".yaml")]
    try:
        save_file(tensors, source)
        del tensors
        convert(source, path, new)
        if path.with_suffix(".yaml").is_file():  # A1111's configuration of a checkpoint of unusual size
            shutil.copy(path.with_suffix(".yaml"), new.with_suffix(".yaml"))
        webui.client.post("/sdapi/v1/refresh-checkpoints")
        yield model, name
    finally:
        webui.txt2img(PROMPT, model, steps=1)
        for file in made:
            file.unlink(missing_ok=True)
        webui.client.post("/sdapi/v1/refresh-checkpoints")


def test_the_cfg_scale_guides_at_one_row_a_step_and_no_lora_is_used(webui, names):
    eight, calls = webui.txt2img(PROMPT, names[1], lcm=FULL, negative_prompt="blurry")
    assert timesteps(calls) == TRAILING_4 and rows(calls) == [1] * 4
    assert [call["loras"] for call in calls] == [[]] * 4
    assert "The negative prompt does nothing" in webui.comments
    for part in ("CFG scale: 8", "LCM LoRA: None", "LCM method: full-lcm", "Sampler: LCM"):
        assert part in eight.infotext
    assert same(webui.txt2img(PROMPT, names[1], lcm=FULL)[0].image, eight.image)
    assert not same(webui.txt2img(PROMPT, names[1], lcm={**FULL, "cfg": 3})[0].image, eight.image)


def test_with_lcm_off_it_draws_as_the_checkpoint_with_its_weights(webui, names):
    plain = {"steps": 3, "cfg_scale": 3}
    expected, _ = webui.txt2img(PROMPT, names[0], **plain)
    webui.txt2img(PROMPT, names[1], lcm=FULL)
    assert same(webui.txt2img(PROMPT, names[1], **plain)[0].image, expected.image)


def test_img2img_and_the_hires_pass_are_guided_too(webui, names):
    start = webui.txt2img(OTHER, names[1], lcm=FULL)[0].image
    for draw in (
        lambda cfg: webui.img2img(
            PROMPT, [start], names[1], lcm={**FULL, "cfg": cfg}, denoising_strength=0.5
        ),
        lambda cfg: webui.txt2img(PROMPT, names[1], lcm={**FULL, "cfg": cfg}, **webui.hires),
    ):
        draw(8)  # img2img draws from the global random state in the VAE
        (eight, calls), (four, _) = draw(8), draw(4)
        assert timesteps(calls)[-4:] == [499, 379, 259, 139] and set(rows(calls)) == {1}
        assert not same(eight.image, four.image)


def is_guided(webui, name, prompt=PROMPT) -> bool:
    """Whether the CFG scale moves the picture, at one row a step."""
    (eight, calls), (three, _) = (webui.txt2img(prompt, name, lcm={**FULL, "cfg": cfg}) for cfg in (8, 3))
    return rows(calls) == [1] * 4 and not same(eight.image, three.image)


def test_it_is_guided_beside_another_lora(webui, names):
    plain, _ = webui.txt2img(PROMPT, names[1], lcm=FULL)
    with files(webui, metadata=False, style=f"lcm_lora_{'sdxl' if webui.sdxl == names[0] else 'sd15'}"):
        styled = f"{PROMPT} <lora:style:0.3>"
        assert is_guided(webui, names[1], styled)
        made, calls = webui.txt2img(styled, names[1], lcm=FULL)
        assert [call["loras"] for call in calls] == [["style"]] * 4 and not same(made.image, plain.image)
    assert same(webui.txt2img(PROMPT, names[1], lcm=FULL)[0].image, plain.image)


def test_it_is_guided_with_weights_stored_in_eight_bits(webui, names):
    if webui.is_of_forge:
        pytest.skip("the setting changes nothing in this WebUI")
    plain, _ = webui.txt2img(PROMPT, names[1], lcm=FULL)
    with webui.settings(fp8_storage="Enable"):
        try:
            webui.txt2img(PROMPT, names[0], steps=1)
        except ApiError as error:
            pytest.skip(f"with LCM off this WebUI cannot draw in eight bits either ({error})")
        assert is_guided(webui, names[1])
        assert not same(webui.txt2img(PROMPT, names[1], lcm=FULL)[0].image, plain.image)
    webui.txt2img(PROMPT, names[0], steps=1)  # A1111 gives back only what it has rounded, until then
    assert same(webui.txt2img(PROMPT, names[1], lcm=FULL)[0].image, plain.image)


@pytest.mark.parametrize("how", ["interrupt", "fail"])
def test_nothing_is_left_behind_by_a_generation_that_breaks_off(webui, names, how):
    plain = {"steps": 3, "cfg_scale": 3}
    before, expected = (
        webui.txt2img(PROMPT, names[1], lcm=FULL)[0],
        webui.txt2img(PROMPT, names[1], **plain)[0],
    )
    webui.disturb_next(at_call=2, do=how)
    with nullcontext() if how == "interrupt" else pytest.raises(ApiError):
        webui.txt2img(PROMPT, names[1], lcm=FULL)
    assert same(webui.txt2img(PROMPT, names[1], **plain)[0].image, expected.image)
    assert same(webui.txt2img(PROMPT, names[1], lcm=FULL)[0].image, before.image)


def test_a_plot_over_the_cfg_scale_draws_each_with_its_own_guidance(webui, names):
    pictures, texts, calls = plot(webui, FULL, ("[LCM] CFG scale", "3, 8"), checkpoint=names[1])
    assert timesteps(calls) == TRAILING_4 * 2 and set(rows(calls)) == {1}
    assert ["CFG scale: 3," in texts[0], "CFG scale: 8," in texts[1]] == [True, True]
    assert not same(pictures[0], pictures[1])


def test_the_accordion_takes_the_range_and_the_default_of_a_full_lcm(webui, names):
    with webui.settings(sd_model_checkpoint=names[1]):
        webui.txt2img(PROMPT, names[1], lcm=FULL)
        panel = Panel(webui.client)
        answer = panel.ask(enabled=True, steps=4, cfg=1, host={"txt2img_neg_prompt": "blurry"})
        assert answer.moved == {"cfg": 8} and answer.ranges["cfg"] == (1, 15)
        assert "no LoRA (Full LCM)" in answer.line and "CFG 8: negative prompt ignored" in answer.line
        assert any("The negative prompt does nothing" in warning for warning in answer.warnings)
        assert answer.noted["txt2img_neg_prompt"] == "LCM: ignored"
        assert (answer.negative, answer.download) == (None, None)
        # what is set by hand from now on stays
        assert panel.ask(enabled=True, steps=4, cfg=1.5).moved == {}
