"""The PyPI client `webuiapi`, as README shows it."""

import pytest
import webuiapi

from tests.live.profiles import one_profile
from tests.prompts import PROMPT

ON = {"enabled": True, "steps": 4, "cfg": 1}
pytestmark = one_profile


@pytest.fixture
def api(webui):
    host, port = webui.client.url.removeprefix("http://").split(":")
    return webuiapi.WebUIApi(host=host, port=int(port))


def settings(webui) -> dict:
    return {
        "seed": 1,
        "width": webui.side,
        "height": webui.side,
        "override_settings": {"sd_model_checkpoint": webui.sd15},
    }


def test_txt2img_with_the_script(api, webui):
    webui.calls()
    made = api.txt2img(prompt=PROMPT, alwayson_scripts={"LCM": {"args": [ON]}}, **settings(webui))
    assert [call["timesteps"][0] for call in webui.calls()] == [999, 759, 499, 259]
    assert "Steps: 4, Sampler: LCM" in made.info["infotexts"][0]
    ours, _ = webui.txt2img(PROMPT, lcm=ON)
    assert made.image.convert("RGB").tobytes() == ours.image.convert("RGB").tobytes()


def test_img2img_with_the_script(api, webui):
    start, _ = webui.txt2img(PROMPT, lcm=ON)
    webui.calls()
    scripts = {"LCM": {"args": [ON]}}
    made = api.img2img(
        images=[start.image],
        prompt=PROMPT,
        denoising_strength=0.5,
        alwayson_scripts=scripts,
        **settings(webui),
    )
    assert [call["timesteps"][0] for call in webui.calls()] == [499, 379, 259, 139]
    assert made.image.size == (webui.side, webui.side)


def test_the_sampler_is_listed_and_can_be_used_by_name(api, webui):
    assert "LCM" in [sampler["name"] for sampler in api.get_samplers()]
    lora = "<lora:lcm_lora_sd15:1>"
    made = api.txt2img(prompt=f"{PROMPT} {lora}", sampler_name="LCM", steps=4, cfg_scale=1, **settings(webui))
    assert "Steps: 4, Sampler: LCM" in made.info["infotexts"][0]


def test_a_refusal_reaches_the_caller_as_a_sentence(api, webui):
    with pytest.raises(RuntimeError, match="is 99; it must be a whole number from 1 to 8"):
        api.txt2img(
            prompt=PROMPT, alwayson_scripts={"LCM": {"args": [{**ON, "steps": 99}]}}, **settings(webui)
        )


def test_script_info_names_the_script_on_both_tabs(api):
    scripts = api.get_scripts()
    assert "lcm" in scripts["txt2img"] and "lcm" in scripts["img2img"]
