"""A picture again from nothing but its infotext, over the API's `infotext` field."""

import json

import pytest

from tests.live.profiles import newest_profiles
from tests.prompts import PROMPT
from workbench.client import decode_image


def pixels(image) -> bytes:
    return image.convert("RGB").tobytes()


def again(webui, text: str) -> tuple[bytes, str]:
    if not webui.reads_infotexts:
        pytest.skip("the API of this WebUI has no infotext field")
    answer = webui.txt2img_of_infotext(text, override_settings={"sd_model_checkpoint": webui.sd15})
    return pixels(decode_image(answer["images"][0])), json.loads(answer["info"])["infotexts"][0]


@pytest.mark.parametrize(
    "lcm,request_fields",
    [
        ({"steps": 4, "cfg": 1}, {}),
        ({"steps": 3, "cfg": 1.7, "weight": 0.123456789}, {"negative_prompt": "green, blue: x"}),
        ({"lora": "none"}, {"steps": 20, "cfg_scale": 7}),
        ({"schedule": "webui", "steps": 5}, {}),
        ({"sampler": "tcd", "gamma": 0.7, "steps": 3}, {}),
        ({"method": "lightning-4"}, {}),
        ({"method": "hyper-8", "sampler": "lcm"}, {}),
        ({"steps": 4, "cfg": 1}, {"prompt": f"{PROMPT} <lora:lcm_lora_sd15:0.5>"}),
    ],
)
def test_an_infotext_draws_the_same_picture_again(webui, lcm, request_fields):
    made, _ = webui.txt2img(**{"prompt": PROMPT, "seed": 77, **request_fields}, lcm={"enabled": True, **lcm})
    repeated, text = again(webui, made.infotext)
    assert repeated == pixels(made.image)
    assert text == made.infotext


@newest_profiles
def test_an_infotext_that_names_no_schedule_draws_the_same_picture_again(webui):
    """As those of A1111 1.6 to 1.8."""
    made, _ = webui.txt2img(PROMPT, seed=77, lcm={"enabled": True, "steps": 4, "cfg": 1})
    text = made.infotext.replace(", Schedule type: Automatic", "")
    assert "Schedule type" not in text
    repeated, _ = again(webui, text)
    assert repeated == pixels(made.image)


def test_an_infotext_made_without_lcm_leaves_it_off(webui):
    made, _ = webui.txt2img(PROMPT, steps=3, cfg_scale=3, seed=77)
    repeated, text = again(webui, made.infotext)
    assert repeated == pixels(made.image) and "LCM" not in text


def test_pictures_of_a_batch_carry_the_same_entries_each(webui):
    made, _ = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 2, "cfg": 1}, batch_size=2, n_iter=2)
    texts = made.infotexts[-4:]
    assert len(texts) == 4 and all(text.count("LCM LoRA: lcm_lora_sd15") == 1 for text in texts)


def test_a_picture_by_the_tiny_decoder_that_a_setting_asks_for_says_so(webui, tiny_decoder):
    full, _ = webui.txt2img(PROMPT)
    tiny_decoder()
    with webui.settings(sd_vae_decode_method="TAESD"):
        made, _ = webui.txt2img(PROMPT)
    assert "VAE Decoder: TAESD" in made.infotext and pixels(made.image) != pixels(full.image)
    assert webui.events_of("download") == []
