"""`<lora:...>` tags are read and taken out as the WebUI reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lcm.families import family_named
from lib_lcm.lora.names import conventional_family
from lib_lcm.lora.tags import find_tags


def test_tags_are_found_in_order_with_their_place_and_text():
    prompt = "a cat <lora:style:0.8>, <hypernet:x:1> (red:1.2) <lyco:lcm_lora_sdxl:1> <LORA:no:1> <lora:>"
    tags = find_tags(prompt)
    assert [(tag.kind, tag.name, tag.weight) for tag in tags] == [
        ("lora", "style", 0.8),
        ("lyco", "lcm_lora_sdxl", 1.0),
    ]
    assert all(prompt[tag.start : tag.end] == tag.text for tag in tags)


@pytest.mark.parametrize(
    "items, weight",
    [
        ("x", 1.0),
        ("x:0.5", 0.5),
        ("x:0.5:0.7", 0.7),  # the text encoder's comes first, the UNet's second
        ("x:0.5:0.7:8", 0.7),
        ("x:te=0.3", 0.3),  # the UNet's follows the text encoder's
        ("x:0.5:te=0.3", 0.3),
        ("x:0.5:0.6:te=0.3", 0.6),
        ("x:unet=0.2", 0.2),
        ("x:0.5:0.7:unet=0.2:dyn=8", 0.2),
        ("x: 1e-1 ", 0.1),
        ("x:-1", -1.0),
        ("x:0", 0.0),
    ],
)
def test_the_weight_is_the_one_the_webui_gives_the_unet(items, weight):
    (tag,) = find_tags(f"<lora:{items}>")
    assert (tag.name, tag.weight, tag.problem) == ("x", weight, None)


@pytest.mark.parametrize(
    "items",
    ["x:heavy", "x:", "x:1:b", "x:1:1:many", "x:te=a", "x:unet=", "x:dyn=1.5", "x:nan", "x:inf", "x:1e999"],
)
def test_a_weight_that_is_no_number_is_a_problem_and_no_exception(items):
    (tag,) = find_tags(f"<lora:{items}>")
    assert tag.weight == 1.0
    assert f"<lora:{items}>" in tag.problem and "write it as <lora:x:1>" in tag.problem


def test_a_tag_without_a_name_is_a_problem():
    (tag,) = find_tags("<lora:te=1>")
    assert tag.name == "" and "names no LoRA" in tag.problem


@given(st.text(alphabet=st.sampled_from("<>:=lorayc 1.\né")))
def test_what_is_found_is_what_the_webui_takes_out(prompt):
    tags = find_tags(prompt)
    assert [tag.text for tag in tags] == re.findall(r"<(?:lora|lyco):[^>]+>", prompt)
    assert all(prompt[tag.start : tag.end] == tag.text for tag in tags)


@pytest.mark.parametrize(
    "name, family",
    [
        ("lcm_lora_sdxl", "sdxl"),
        ("lcm-lora-sdxl", "sdxl"),
        ("lcm-lora-sdv1-5", "sd15"),
        ("lcm_lora_sd15", "sd15"),
        ("sdxl_lcm_lora", "sdxl"),
        ("LCM_sdxl", "sdxl"),
        ("LCM_15", "sd15"),
        ("LCM-LoRA SD 1.5", "sd15"),
        ("LCM_LoRA_Weights_SD15", "sd15"),
        ("lcmlora_sd15", "sd15"),
        ("LCMXL", "sdxl"),
        ("lcm/SDXL/pytorch_lora_weights", "sdxl"),
        ("lcm\\SD1.5\\pytorch_lora_weights.safetensors", "sd15"),
        ("lcm-lora-ssd-1b/pytorch_lora_weights.safetensors", "ssd1b"),
        ("lcm-lora-ssd-1b", "ssd1b"),
        ("lcm_lora_ssd1b", "ssd1b"),
        ("lcm_lora_sdxl (1)", "sdxl"),
        ("speed/lcm_lora_sd15.safetesnors", "sd15"),
    ],
)
def test_names_that_people_give_the_published_files(name, family):
    assert conventional_family(name) is family_named(family)
    assert conventional_family(name.upper()) is family_named(family)


@pytest.mark.parametrize(
    "name",
    [
        "calcmania_sdxl",
        "lcm_comic_sdxl",
        "lcm/comic_sdxl",
        "lcm/anime/sdxl",
        "lcm_sd15_sdxl",
        "lcm_lora_sd2",
        "lcm_lora_sdxl_é",
        "lcm",
        "lcm_lora",
        "sdxl",
        "pytorch_lora_weights",
        "sdxl/pytorch_lora_weights",
        "",
        "/",
        "..",
    ],
)
def test_other_names_promise_nothing(name):
    assert conventional_family(name) is None
