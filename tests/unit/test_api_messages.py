import os
from pathlib import Path

import pytest

from lib_lcm.api.messages import (
    MAX_DEPTH,
    PlanQuestion,
    RequestError,
    plan_question,
    read_object,
    without_folders,
)
from lib_lcm.plan.request import PassRequest, Request

PAGE = [False, 1.0, 4, 1.0, "Auto", "Trailing"]


def question(body) -> PlanQuestion:
    return plan_question(body, lambda is_img2img: PAGE)


def test_defaults_are_those_of_the_webuis_api():
    assert question({}).args == PAGE and not question({}).is_img2img
    assert question({}).request == Request(PassRequest(50, side=512), 7.0)
    assert question({"init_images": ["x"]}).request.first == PassRequest(50, 0.75, 512)
    nothing = [
        "steps",
        "scheduler",
        "denoising_strength",
        "width",
        "hr_scale",
        "hr_resize_x",
        "styles",
        "override_settings",
    ]
    assert question(dict.fromkeys(nothing)) == question({})


def test_arguments_are_filled_up_from_the_page():
    assert question({"args": [True, 0.5]}).args == [True, 0.5, 4, 1.0, "Auto", "Trailing"]
    assert question({"alwayson_scripts": {"lcm": {"args": [True]}}}).args[0] is True
    assert question({"args": [1, 2, 3, 4, 5, 6, 7, 8]}).args == [1, 2, 3, 4, 5, 6, 7, 8]


def test_hires_belongs_to_txt2img():
    fields = {"enable_hr": True, "hr_second_pass_steps": 3, "denoising_strength": 0.4}
    assert (
        question(fields).request.hires == PassRequest(3, 0.4, 1024)
        and question(fields).request.first.strength == 1.0
    )
    assert question({**fields, "init_images": ["x"]}).request.hires is None


def test_the_longer_side_of_each_pass_is_read():
    fields = {"enable_hr": True, "width": 640, "height": 832}
    assert question(fields).request.first.side == 832
    assert question({**fields, "hr_scale": 1.5}).request.hires.side == 1248
    assert (
        question({**fields, "hr_scale": 1.5, "hr_resize_x": 1000, "hr_resize_y": 0}).request.hires.side
        == 1300
    )


def test_styles_and_the_checkpoint_are_read():
    asked = question(
        {
            "styles": ["ink", "night"],
            "override_settings": {"sd_model_checkpoint": "model.safetensors", "eta": 1},
        }
    )
    assert (asked.styles, asked.checkpoint) == (("ink", "night"), "model.safetensors")


@pytest.mark.parametrize(
    "body,named",
    [
        ({"styles": "ink"}, "'styles'"),
        ({"styles": ["ink", 3]}, "'styles'"),
        ({"styles": ["ink"] * 1000}, "'styles'"),
        ({"override_settings": ["sd_model_checkpoint"]}, "'override_settings'"),
        ({"override_settings": {"sd_model_checkpoint": 3}}, "'sd_model_checkpoint'"),
        ({"width": 0}, "'width'"),
        ({"height": 1e9}, "'height'"),
        ({"hr_scale": "2"}, "'hr_scale'"),
        ({"hr_resize_x": 1.5}, "'hr_resize_x'"),
        ({"image_cfg_scale": True, "init_images": ["x"]}, "'image_cfg_scale'"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_is_allowed(body, named):
    with pytest.raises(RequestError, match=named) as refused:
        question(body)
    assert refused.value.status == 422 and "must be" in refused.value.sentence


def test_an_infotext_is_not_passed_over_in_silence():
    with pytest.raises(RequestError, match="'infotext' is not read here: send the fields") as refused:
        question({"infotext": "a fox\nSteps: 4, LCM schedule: Trailing"})
    assert refused.value.status == 422


def test_depth_is_counted_not_tried():
    nested = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert list(read_object(f'{{"a": {nested}}}'.encode())) == ["a"]
    with pytest.raises(RequestError, match="too deeply"):
        read_object(f'{{"a": [{nested}]}}'.encode())


def test_no_folder_but_the_loras_own_name_is_left_in_an_answer(tmp_path):
    lora_dir = tmp_path / "models" / "Lora"
    lora_dir.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(lora_dir)
    content = {
        "a": [
            f"put it into {lora_dir} as x",
            f"{lora_dir / 'sub' / 'x.part'} is full",
            f"({tmp_path / 'cache'!s}/y)",
        ],
        "b": {"n": 1, "real": f"{lora_dir.resolve()}/z"},
    }
    assert without_folders(content, [link], [tmp_path]) == {
        "a": ["put it into link as x", "link/sub/x.part is full", "(.../cache/y)"],
        "b": {"n": 1, "real": "link/z"},
    }


@pytest.mark.parametrize(
    "text,shown",
    [
        ("lcm/sdxl/weights", "lcm/sdxl/weights"),
        ("put it into /sd/models", "put it into .../models"),
        ("'/sd' is full", "'...' is full"),
        ("file:///sd/models", "file://.../models"),
        ("It is in /sd.", "It is in ...."),
        ("/sdcard and /sd.old", "/sdcard and /sd.old"),
        ("style/sd", "style/sd"),
    ],
)
def test_a_short_folder_is_cut_out_of_paths_alone(text, shown):
    assert without_folders(text, [], [Path("/sd")]) == shown


def test_the_root_folder_is_not_cut_out_of_addresses():
    text = "https://huggingface.co/latent-consistency"
    assert without_folders(text, [Path(os.sep)], [Path(os.sep)]) == text
