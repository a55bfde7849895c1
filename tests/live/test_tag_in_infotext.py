"""The setting that writes the LCM-LoRA's tag into the prompt of generation parameters, for people without
this extension.
"""

import json

import pytest

from tests.live.test_generation import ON, same
from tests.live.test_loras import SD15, SDXL, disturbed, files, loras
from tests.prompts import OTHER, PROMPT
from workbench.client import decode_image

TAG = f"<lora:{SD15}:1>"


@pytest.fixture(autouse=True)
def setting_on(webui):
    with webui.settings(lcm_tag_in_infotext=True):
        yield


def prompt_of(infotext: str) -> str:
    return infotext.split("\n")[0]


def drawn_again(webui, infotext: str):
    """The picture of an infotext and the UNet's calls for it."""
    webui.calls()
    answer = webui.txt2img_of_infotext(infotext, width=webui.side, height=webui.side)
    return decode_image(answer["images"][0]), json.loads(answer["info"])["infotexts"][0], webui.calls()


def test_the_prompt_ends_in_the_tag_and_draws_the_same_picture_again(webui):
    with webui.settings(lcm_tag_in_infotext=False):
        plain, _ = webui.txt2img(PROMPT, lcm=ON)
    made, calls = webui.txt2img(PROMPT, lcm=ON)
    assert prompt_of(plain.infotext) == PROMPT and prompt_of(made.infotext) == f"{PROMPT} {TAG}"
    assert same(made.image, plain.image) and loras(calls) == [[SD15]] * 4
    assert made.infotext.split("\n")[1:] == plain.infotext.split("\n")[1:]
    if not webui.reads_infotexts:
        return
    image, infotext, calls = drawn_again(webui, made.infotext)
    assert same(image, made.image) and loras(calls) == [[SD15]] * 4 and infotext == made.infotext


@pytest.mark.parametrize(
    "typed, written",
    [
        (f"{PROMPT} <lora:{SD15}:0.5>", f"{PROMPT} <lora:{SD15}:0.5>"),
        (f"<lora:{SD15}:0.5> {PROMPT}", f"<lora:{SD15}:0.5> {PROMPT}"),
        (f"{PROMPT} <lora:{SDXL}:0.5>", f"{PROMPT} <lora:{SD15}:0.5>"),
        (f"<lora:{SD15}:1>{PROMPT}<lora:lcm-lora-sdv1-5:0.5>", f"{PROMPT} <lora:{SD15}:0.5>"),
        (PROMPT, f"{PROMPT} <lora:{SD15}:0.5>"),
    ],
)
def test_it_stands_there_once_at_the_weight_that_was_used(webui, typed, written):
    ticked, _ = webui.txt2img(PROMPT, lcm={**ON, "weight": 0.5})
    made, calls = webui.txt2img(typed, lcm={**ON, "weight": 0.5})
    assert same(made.image, ticked.image) and loras(calls) == [[SD15]] * 4
    assert prompt_of(made.infotext) == written


def test_each_batch_and_the_hires_pass_are_drawn_as_without_it(webui):
    tagged = f"{OTHER} <lora:{SD15}:0.5>"
    fields = {
        "lcm": ON,
        "n_iter": 2,
        "batch_size": 2,
        **webui.hires,
        **disturbed([PROMPT, PROMPT, tagged, tagged]),
    }
    with webui.settings(lcm_tag_in_infotext=False):
        plain, _ = webui.txt2img(PROMPT, **fields)
    made, calls = webui.txt2img(PROMPT, **fields)
    assert (
        all(same(one, other) for one, other in zip(made.images, plain.images, strict=True))
        and loras(calls) == [[SD15]] * 16
    )
    assert [prompt_of(text) for text in made.infotexts[-4:]] == [f"{PROMPT} {TAG}"] * 2 + [tagged] * 2
    assert ["Hires prompt" in text for text in made.infotexts] == [
        "Hires prompt" in text for text in plain.infotexts
    ]


def test_a_hires_pass_on_another_checkpoint_gets_no_message_about_it(webui):
    fields = {"lcm": ON, "n_iter": 2, "hr_checkpoint_name": webui.sdxl, **webui.hires}
    _, calls = webui.txt2img(PROMPT, **fields)
    assert loras(calls) == ([[SD15]] * 4 + [[SDXL]] * 4) * 2
    assert "was used instead" not in webui.comments


def test_without_a_lora_there_is_no_tag(webui):
    assert prompt_of(webui.txt2img(PROMPT, lcm={**ON, "lora": "none"})[0].infotext) == PROMPT
    assert prompt_of(webui.txt2img(PROMPT, steps=2)[0].infotext) == PROMPT


def test_a_name_that_no_tag_can_hold_is_told(webui):
    with files(webui, **{"lcm=sd15: the >one<": SD15}):
        made, calls = webui.txt2img(PROMPT, lcm={**ON, "lora": "lcm=sd15: the >one<"})
        assert len(calls) == 4 and prompt_of(made.infotext) == PROMPT
        assert "No tag can hold the name" in webui.comments
