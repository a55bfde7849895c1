"""Nothing of a generation with LCM is left for the next one, however it ended."""

import random

import pytest

from tests.live.test_generation import ON, same
from tests.live.test_loras import disturbed
from tests.prompts import OTHER, PROMPT
from workbench.client import ApiError

TAGGED = f"{PROMPT} <lora:lcm_lora_sd15:0.5>"
BAD_TAG = f"{PROMPT} <lora:lcm_lora_sd15:much>"
TWO_STEPS = {**ON, "steps": 2}


def kinds(webui) -> dict:
    """Name -> (the request, the HTTP status it ends with)."""
    start = webui.txt2img(OTHER, steps=2)[0].image
    return {
        "off": (lambda: webui.txt2img(OTHER, steps=2, cfg_scale=5), 200),
        "on": (lambda: webui.txt2img(OTHER, lcm=TWO_STEPS), 200),
        "on, another weight and both halves": (
            lambda: webui.txt2img(OTHER, lcm={**TWO_STEPS, "weight": 0.3, "cfg": 1.7}),
            200,
        ),
        "on SDXL": (lambda: webui.txt2img(OTHER, checkpoint=webui.sdxl, lcm=TWO_STEPS), 200),
        "typed": (lambda: webui.txt2img(TAGGED, lcm=TWO_STEPS), 200),
        "typed, off": (lambda: webui.txt2img(TAGGED, steps=2), 200),
        "the WebUI's schedule": (lambda: webui.txt2img(PROMPT, lcm={**TWO_STEPS, "schedule": "webui"}), 200),
        "img2img": (lambda: webui.img2img(PROMPT, [start], lcm=TWO_STEPS, denoising_strength=0.6), 200),
        "hires on another checkpoint": (
            lambda: webui.txt2img(PROMPT, lcm=TWO_STEPS, hr_checkpoint_name=webui.sdxl, **webui.hires),
            200,
        ),
        "detailed": (lambda: webui.txt2img(TAGGED, lcm=TWO_STEPS, **disturbed("detail")), 200),
        "detailed with LCM off": (
            lambda: webui.txt2img(PROMPT, lcm=TWO_STEPS, n_iter=2, **disturbed("detail off")),
            200,
        ),
        "interrupted": (lambda: webui.txt2img(PROMPT, lcm=ON, **disturbed("interrupt")), 200),
        "refused": (lambda: webui.txt2img(PROMPT, lcm={**ON, "cfg": 5}), 422),
        "refused in the second batch": (
            lambda: webui.txt2img(PROMPT, lcm=TWO_STEPS, n_iter=2, **disturbed([PROMPT, BAD_TAG])),
            422,
        ),
        "another script fails": (lambda: webui.txt2img(PROMPT, lcm=TWO_STEPS, **disturbed("fail")), 500),
    }


@pytest.mark.parametrize("most,plain_again_after", [(15, 3), pytest.param(150, 10, marks=pytest.mark.long)])
def test_after_generations_of_all_kinds_pictures_without_lcm_are_bit_identical(
    webui, most, plain_again_after
):
    def state():
        samplers = webui.client.get("/sdapi/v1/samplers")
        listed = sorted(lora["path"] for lora in webui.client.get("/sdapi/v1/loras"))
        return webui.all_settings(), samplers, listed

    plain, plain_calls = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    before = state()
    every = kinds(webui)
    rng = random.Random(1)
    names = [name for _ in range(most // len(every)) for name in rng.sample(list(every), len(every))]
    assert len(names) == most
    for number, name in enumerate(names, start=1):
        request, expected = every[name]
        try:
            _, calls = request()
            assert name != "interrupted" or len(calls) < 4
            status = 200
        except ApiError as error:
            status = error.status
        assert status == expected, f"generation {number} ({name}) ended with {status}"
        if number % plain_again_after == 0:
            again, calls = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
            assert same(again.image, plain.image) and calls == plain_calls, (
                f"after generation {number} ({name})"
            )
            assert again.infotext == plain.infotext
    for now, then in zip(state(), before, strict=True):
        assert now == then
