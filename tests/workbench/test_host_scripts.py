"""Scripts: when their callbacks run, with which arguments, and what an exception does."""

from __future__ import annotations

import pytest

from workbench.client import ApiError

FINISHING = [
    "post_sample",
    "postprocess_batch [1, 3, 64, 64]",
    "postprocess_batch_list",
    "postprocess_image",
    "postprocess_maskoverlay",
    "postprocess_image_after_composite",
    "postprocess",
]
ONE_STEP = ["cfg_denoiser [2, 4, 8, 8]", "cfg_denoised [2, 4, 8, 8]", "cfg_after_cfg [1, 4, 8, 8]"]


def test_callbacks_run_in_the_webuis_order(host):
    host.txt2img("a star<lora:style:0.5>", steps=1, override_settings={"CLIP_stop_at_last_layers": 2})
    assert host.events() == [
        "setup",
        "before_process 1",
        "process 2 3",
        "before_process_batch a star<lora:style:0.5>",
        "after_extra_networks_activate style",
        "process_batch a star",
        "process_before_every_sampling",
        *ONE_STEP,
        *FINISHING,
    ]


def test_hires_activates_its_own_networks_before_its_pass(host):
    host.txt2img("a<lora:style:1>", hr_prompt="b<lora:other:1>", steps=1, enable_hr=True, hr_scale=1)
    events = host.events()
    assert events[events.index("process_batch a") : events.index("post_sample")] == [
        "process_batch a",
        "process_before_every_sampling",
        *ONE_STEP,
        "after_extra_networks_activate other",
        "before_hr",
        "process_before_every_sampling",
        *ONE_STEP,
    ]


def test_override_settings_are_taken_back(host):
    before = host.get("/sdapi/v1/options")
    host.txt2img(steps=1, override_settings={"CLIP_stop_at_last_layers": 5, "recorder_extra": 1})
    assert host.get("/sdapi/v1/options") == before


def test_missing_trailing_arguments_keep_the_pages_defaults(host):
    host.txt2img(steps=1, recorder=[True])
    assert "process 1 3" in host.events()
    host.txt2img(steps=1, recorder=[True, "", 6])
    assert "process 1 6" in host.events()


def test_script_info_describes_the_arguments(host):
    info = next(
        info
        for info in host.get("/sdapi/v1/script-info")
        if info["name"] == "recorder" and not info["is_img2img"]
    )
    assert info["is_alwayson"]
    assert [(arg["label"], arg["value"]) for arg in info["args"]] == [
        ("Recorder", False),
        ("Mode", ""),
        ("Number", 3),
    ]
    assert host.get("/sdapi/v1/scripts")["img2img"] == [
        "prompts from file or textbox",
        "x/y/z plot",
        "recorder",
    ]


@pytest.mark.parametrize("script", ["No such script", "X/Y/Z plot"])
def test_a_script_that_is_not_always_on_cannot_be_given_arguments(host, script):
    with pytest.raises(ApiError) as refused:
        host.post("/sdapi/v1/txt2img", {"prompt": "a", "alwayson_scripts": {script: {"args": []}}})
    assert refused.value.status == 422


def test_an_exception_in_a_callback_is_reported_and_swallowed(host):
    assert host.txt2img(steps=1, recorder=[True, "fail"]).image.size == (64, 64)
    assert "swallowed by the host" in host.log


def test_an_exception_that_no_callback_raises_stops_the_generation_with_its_status(host):
    with pytest.raises(ApiError) as refused:
        host.txt2img(steps=1, recorder=[True, "refuse"])
    assert (refused.value.status, refused.value.body["detail"]) == (418, "the recorder refuses")
    host.unet_calls()
    assert host.get("/sdapi/v1/progress")["state"]["job_count"] == 0


def test_any_other_exception_is_a_json_answer_with_status_500(host):
    with pytest.raises(ApiError) as failed:
        host.txt2img(override_settings={"no_such_setting": 1})
    assert (failed.value.status, failed.value.body["error"]) == (500, "KeyError")


def test_an_xyz_plot_varies_a_field(host):
    rest = ["", "", 0, "", "", True, True, False, False, False, False, False, 0, False]
    made = host.txt2img(script_name="X/Y/Z plot", script_args=[4, "1-3 (+2)", [], 0, *rest])
    assert [
        len(made.images),
        made.infotexts[1].split("Steps: ")[1][0],
        made.infotexts[2].split("Steps: ")[1][0],
    ] == [3, "1", "3"]


@pytest.mark.parametrize(
    ("profile", "position", "first"),
    [
        ("a1111-1.10", ["end"], "a star a sun"),
        ("a1111-1.6", [], "a sun"),
        ("forge", ["start"], "a sun a star"),
    ],
)
def test_prompts_from_a_file_are_drawn_line_by_line_with_their_options(start_host, profile, position, first):
    host = start_host(profile)
    lines = '--prompt "a sun" --steps 2 --sampler_name euler --cfg_scale 3\n\n--steps\n'
    args = [False, True, *position, lines, *([False] if profile == "forge" else [])]
    made = host.txt2img("a star", script_name="Prompts from file or textbox", script_args=args)
    sun, other = made.infotexts
    assert sun.startswith(f"{first}\nSteps: 2, Sampler: Euler,") and "CFG scale: 3" in sun
    assert "--steps" in other.partition("\nSteps: 4, ")[0] and "Error parsing line --steps" in host.log
