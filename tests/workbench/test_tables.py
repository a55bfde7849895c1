"""A row more in one of the tables is found everywhere where it belongs, without another line of code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prepared import Server
from tests.unit.lora_fixtures import official_lora_tensors, write_lora
from workbench.client import ApiError

ROOT = Path(__file__).resolve().parents[2]
MORE_ROWS = Path(__file__).parent / "more_rows"
ON = {"enabled": True, "steps": 2, "cfg": 1}


@pytest.fixture(scope="module")
def webui(tmp_path_factory):
    folder = tmp_path_factory.mktemp("webui")
    loras = folder / "Lora"
    write_lora(loras / "lcm_lora_sd15.safetensors", official_lora_tensors("sd15"))
    write_lora(loras / "a_glow_of_my_own.safetensors", official_lora_tensors("sd15"))
    # the family's own width in the place of SD 1.5's
    of_spark = {
        name: [640 if side == 768 else side for side in shape]
        for name, shape in official_lora_tensors("sd15").items()
    }
    write_lora(loras / "of_spark.safetensors", of_spark)
    arguments = ["--no-lcm", "--extension", str(MORE_ROWS), "--extension", str(ROOT)]
    with Server([*arguments, "--data-dir", str(folder / "data"), "--lora-dir", str(loras)]) as server:
        server.client.post("/sdapi/v1/txt2img", {"prompt": "a star", "steps": 1, "width": 64, "height": 64})
        yield server


def props(webui, element_id: str) -> dict:
    config = webui.client.get("/config")
    return next(one["props"] for one in config["components"] if one["props"].get("elem_id") == element_id)


def choices(webui, option: str) -> list[str]:
    offered = props(webui, f"script_txt2img_lcm_{option}")["choices"]
    return [(one if isinstance(one, str) else one[-1]).replace("\u00a0", " ") for one in offered]


def plan(webui, **options) -> dict:
    return webui.client.post(
        "/lcm/v1/plan", {"prompt": "a star", "steps": 20, "args": [{"enabled": True, **options}]}
    )


# --- an option ----------------------------------------------------------------------------------------------


def test_an_option_has_its_control_with_range_default_and_tooltip(webui):
    slider, radio = (props(webui, f"script_txt2img_lcm_{name}") for name in ("sparkle", "mood"))
    assert (slider["label"], slider["minimum"], slider["maximum"], slider["value"]) == (
        "Sparkle",
        0.0,
        2.0,
        0.5,
    )
    assert slider["webui_tooltip"] == "How much it sparkles." and radio["value"] == "Calm"
    assert [choice[-1] for choice in radio["choices"]] == ["Calm", "Wild"]


def test_an_option_is_read_and_refused_by_the_api_and_described_there(webui):
    assert plan(webui, sparkle=2)["enabled"]
    with pytest.raises(ApiError) as error:
        plan(webui, sparkle=3)
    assert error.value.body["detail"] == "LCM option 'sparkle' is 3; it must be a number from 0 to 2."
    described = str(webui.client.get("/openapi.json")["paths"]["/lcm/v1/plan"])
    assert "How much it sparkles." in described


def test_an_option_is_an_axis_of_the_plot(webui):
    info = next(one for one in webui.client.get("/sdapi/v1/script-info") if one["name"] == "x/y/z plot")
    assert {"[LCM] Sparkle", "[LCM] Mood"} <= set(info["args"][0]["choices"])


def test_an_option_has_a_setting_for_each_family_and_starts_with_it(webui):
    settings = webui.client.get("/sdapi/v1/options")
    assert settings["lcm_sparkle_sd15"] == settings["lcm_sparkle_spark"] == 0.5
    webui.client.post("/sdapi/v1/options", {"lcm_sparkle_sd15": 1.5})
    try:
        made = webui.client.txt2img("a star", lcm={**ON, "lora": "none"}, width=64, height=64)
        assert "LCM sparkle: 1.5" in made.infotext
    finally:
        webui.client.post("/sdapi/v1/options", {"lcm_sparkle_sd15": 0.5})


def test_an_option_goes_into_the_infotext_and_comes_back_from_it(webui):
    asked = {**ON, "lora": "none", "sparkle": 2, "mood": "Wild"}
    made = webui.client.txt2img("a star", lcm=asked, width=64, height=64)
    assert "LCM sparkle: 2, LCM mood: Wild" in made.infotext
    answer = webui.client.post("/sdapi/v1/txt2img", {"infotext": made.infotext, "width": 64, "height": 64})
    assert "LCM sparkle: 2, LCM mood: Wild" in answer["info"]


# --- a method -----------------------------------------------------------------------------------------------


def test_a_method_has_its_own_range_and_sampler(webui):
    made = plan(webui, method="glow")
    assert (made["method"], made["sampler"], made["steps"], made["cfg"]) == ("glow", "TCD", 3, 1.0)
    assert "Glow works with 2 to 3 steps" in made["messages"][0]
    assert "a whole number from 2 to 3" in plan(webui, method="glow", steps=9)["problem"]
    assert (plan(webui)["method"], plan(webui, steps=8)["steps"]) == ("lcm", 8)


def test_a_method_can_be_picked_on_the_page_and_comes_back_from_the_infotext(webui):
    assert "Glow" in choices(webui, "method")
    made = webui.client.txt2img("a star", lcm={**ON, "lora": "none", "method": "glow"}, width=64, height=64)
    assert "LCM gamma: 0.3, LCM method: glow" in made.infotext
    answer = webui.client.post("/sdapi/v1/txt2img", {"infotext": made.infotext, "width": 64, "height": 64})
    assert "LCM method: glow" in answer["info"]


def test_a_methods_loras_are_known_by_its_name(webui):
    known = {one["name"]: one["method"] for one in webui.client.get("/lcm/v1/status")["loras"]}
    assert (known["a_glow_of_my_own"], known["lcm_lora_sd15"]) == ("glow", "lcm")
    typed = webui.client.post("/lcm/v1/plan", {"prompt": "a star <lora:a_glow_of_my_own:1>", "args": [ON]})
    assert (typed["lora"], typed["method"]) == ("a_glow_of_my_own", "glow")
    assert "a_glow_of_my_own · Glow, SD 1.5" in choices(webui, "lora")


# --- a family -----------------------------------------------------------------------------------------------


def test_a_familys_loras_are_recognised_and_named_with_it(webui):
    loras = webui.client.get("/lcm/v1/status")["loras"]
    assert ("of_spark", "spark") in [(one["name"], one["family"]) for one in loras]
    assert "of_spark · Spark" in choices(webui, "lora")
    assert "is for Spark and the checkpoint is SD 1.5" in plan(webui, lora="of_spark")["problem"]


def test_a_familys_usual_name_means_its_lora(webui):
    typed = webui.client.post("/lcm/v1/plan", {"prompt": "a star <lora:lcm-spark:0.7>", "args": [ON]})
    assert "lcm-spark was made for Spark" in typed["messages"][0] and typed["weight"] == 0.7


def test_a_family_with_a_published_lora_has_settings_and_a_download(webui):
    settings = webui.client.get("/sdapi/v1/options")
    assert settings["lcm_steps_spark"] == 3 and settings["lcm_steps_sd15"] == 4
    downloads = webui.client.get("/lcm/v1/download")["downloads"]
    assert ("spark", "lcm_lora_spark", "of_spark") in [
        (one["family"], one["name"], one["installed"]) for one in downloads
    ]
