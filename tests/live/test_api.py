"""The routes under /lcm/v1, and the script's arguments as clients send them."""

import json
import socket
import urllib.request
from pathlib import Path

import pytest

from lib_lcm.options import OPTIONS
from tests.prompts import PROMPT
from workbench.client import ApiError, decode_image

ON = {"enabled": True, "steps": 4, "cfg": 1}


def refusal(webui, path: str, payload) -> tuple[int, str]:
    with pytest.raises(ApiError) as refused:
        webui.client.post(path, payload)
    return refused.value.status, refused.value.body["detail"]


def post_raw(webui, path: str, body: bytes, content_type: str = "application/json") -> tuple[int, dict]:
    request = urllib.request.Request(
        webui.client.url + path, data=body, method="POST", headers={"Content-Type": content_type}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


# --- status -------------------------------------------------------------------------------------------------


def test_status_says_what_lcm_would_use(webui):
    status = webui.loaded().get("/lcm/v1/status")
    assert status["checkpoint"] in webui.sd15 and status["family"] == "sd15"
    assert status["lora"] == "lcm_lora_sd15" and status["problem"] is None and status["lora_reason"]
    assert ("lcm_lora_sdxl", "sdxl", "lcm") in [
        (lora["name"], lora["family"], lora["method"]) for lora in status["loras"]
    ]
    assert status["sampler"] == {"name": "LCM", "webui_has_its_own": webui.has_own_lcm}
    assert status["limits"] == {"steps": [1, 8], "cfg": [1.0, 2.0]}


# --- plan ---------------------------------------------------------------------------------------------------


def test_the_plan_is_what_the_generation_does(webui):
    request = {"prompt": PROMPT, "negative_prompt": "green", "steps": 20, "cfg_scale": 7}
    plan = webui.loaded().post("/lcm/v1/plan", {**request, "args": [{"enabled": True}]})
    assert plan["enabled"] and plan["problem"] is None
    assert plan["messages"][0].startswith("Steps 20 → 8, CFG 7 → 2: ")
    made, calls = webui.txt2img(lcm={"enabled": True}, **request)
    assert list(dict.fromkeys(call["timesteps"][0] for call in calls)) == plan["timesteps"]
    assert f"Steps: {plan['steps']}, Sampler: {plan['sampler']}" in made.infotext
    assert f"LCM LoRA: {plan['lora']}" in made.infotext and f"CFG scale: {plan['cfg']:g}," in made.infotext


def test_the_plan_reads_the_very_request_of_txt2img_and_fills_up_arguments_like_the_page(webui):
    client = webui.loaded()
    plan = client.post(
        "/lcm/v1/plan", {"prompt": PROMPT, "steps": 20, "alwayson_scripts": {"LCM": {"args": [True]}}}
    )
    assert (plan["steps"], plan["cfg"], plan["timesteps"]) == (4, 1, [999, 759, 499, 259])
    plan = client.post("/lcm/v1/plan", {"args": [ON], "init_images": ["x"], "denoising_strength": 0.5})
    assert plan["timesteps"] == [499, 379, 259, 139]
    plan = client.post(
        "/lcm/v1/plan",
        {"args": [ON], "enable_hr": True, "hr_second_pass_steps": 2, "denoising_strength": 0.5},
    )
    assert plan["hires_timesteps"] == [499, 259]


def test_the_plan_knows_the_styles_of_the_request(webui):
    request = {"prompt": PROMPT, "styles": ["LCM test probe", "no such style"], "args": [ON]}
    plan = webui.loaded().post("/lcm/v1/plan", request)
    assert (
        plan["weight"] == 0.35
        and "lcm_lora_sd15 at 0.35" in plan["status"]
        and "negative prompt ignored" in plan["status"]
    )
    made, _ = webui.txt2img(PROMPT, lcm=ON, styles=request["styles"])
    assert "LCM weight: 0.35" in made.infotext and "Negative prompt: smudged" in made.infotext


def test_the_plan_and_the_generation_leave_comments_out(webui):
    webui.needs_comments()
    request = {"prompt": f"{PROMPT} # <lora:lcm_lora_sd15:0.3>", "negative_prompt": "# green", "args": [ON]}
    plan = webui.loaded().post("/lcm/v1/plan", request)
    assert plan["weight"] == 1 and plan["messages"] == []
    made, calls = webui.txt2img(request["prompt"], lcm=ON, negative_prompt=request["negative_prompt"])
    assert "LCM weight: 1," in made.infotext and webui.comments == "" and len(calls) == 4


@pytest.mark.parametrize("named", ["automatic", "Automatic", "karras", "Karras"])
def test_a_schedule_may_have_its_internal_name(webui, named):
    webui.needs_schedules()
    plan = webui.loaded().post("/lcm/v1/plan", {"prompt": PROMPT, "scheduler": named, "args": [ON]})
    made, calls = webui.txt2img(PROMPT, lcm=ON, scheduler=named)
    if named.lower() == "automatic":
        assert plan["timesteps"] == [call["timesteps"][0] for call in calls] == [999, 759, 499, 259]
        assert plan["schedule"] == "trailing" and webui.comments == ""
    else:
        assert plan["schedule"] == "Karras" and "Schedule type: Karras" in made.infotext


def test_a_checkpoint_that_is_not_loaded_is_not_planned_for(webui):
    def asked_with(**settings):
        return {"args": [ON], "width": 1024, "height": 768, "override_settings": settings}

    client = webui.loaded()
    info = next(model for model in client.get("/sdapi/v1/sd-models") if model["model_name"] == webui.sdxl)
    for name in (info["title"], info["model_name"], Path(info["filename"]).name):
        status, sentence = refusal(webui, "/lcm/v1/plan", asked_with(sd_model_checkpoint=name))
        assert status == 409 and webui.sdxl in sentence and webui.sd15 in sentence and sentence.endswith(".")
    for settings in (
        {"sd_model_checkpoint": webui.sd15},
        {"sd_model_checkpoint": "no such checkpoint"},
        {"eta_noise_seed_delta": 1},
    ):
        plan = client.post("/lcm/v1/plan", asked_with(**settings))
        assert plan["family"] == "sd15" and plan["hints"] == []
    # until the first page is opened, nothing is selected on Forge
    with webui.settings(sd_model_checkpoint=webui.sd15):
        webui.txt2img(PROMPT, webui.sdxl, steps=1)
        plan = client.post("/lcm/v1/plan", asked_with(sd_model_checkpoint=webui.sdxl))
        assert plan["family"] == "sdxl" and plan["hints"] == [
            "SDXL at 1024 pixels in 4 steps: raise steps to 6–8 if you see a grid."
        ]
        # the next plain request would load the selected one again
        status, sentence = refusal(webui, "/lcm/v1/plan", {"args": [ON]})
        assert status == 409 and webui.sd15 in sentence


def test_the_plan_says_why_a_lora_was_chosen(webui):
    client = webui.loaded()
    auto = client.post("/lcm/v1/plan", {"args": [ON]})
    typed = client.post("/lcm/v1/plan", {"args": [ON], "prompt": "a <lora:lcm_lora_sd15:0.5>"})
    assert (auto["lora"], typed["lora"], typed["weight"]) == ("lcm_lora_sd15", "lcm_lora_sd15", 0.5)
    assert typed["lora_reason"] == "the prompt names it" != auto["lora_reason"]
    missing = client.post("/lcm/v1/plan", {"args": [{**ON, "lora": "nowhere"}]})
    assert "'nowhere' is not in the LoRA folder" in missing["problem"] and missing["lora_reason"] is None


@pytest.mark.parametrize(
    "body", [{}, {"args": []}, {"args": [False]}, {"alwayson_scripts": {"Other": {"args": [True]}}}]
)
def test_without_arguments_the_plan_says_off(webui, body):
    plan = webui.client.post("/lcm/v1/plan", body)
    assert plan["enabled"] is False and "LCM is off" in plan["status"]


@pytest.mark.parametrize(
    "body,parts",
    [
        ({"args": [{"enabled": True, "steps": 99}]}, ["'steps'", "99", "1 to 8"]),
        ({"args": [{"enabled": True, "wieght": 1}]}, ["'wieght'", "enabled, weight"]),
        ({"args": True}, ["'args'", "True", "list"]),
        ({"alwayson_scripts": []}, None),
        ({"alwayson_scripts": {"LCM": [1]}}, ["alwayson_scripts.LCM", "object"]),
        ({"steps": "8"}, ["'steps'", "'8'"]),
        ({"steps": 1.5}, ["'steps'", "whole number"]),
        ({"steps": 10**400}, ["'steps'"]),
        ({"cfg_scale": [7]}, ["'cfg_scale'", "[7]"]),
        ({"prompt": "x" * 30_000}, ["'prompt'", "20000"]),
        ({"enable_hr": 1}, ["'enable_hr'", "true or false"]),
    ],
)
def test_a_field_that_cannot_be_used_is_named(webui, body, parts):
    if parts is None:  # an empty list is as good as nothing
        assert webui.client.post("/lcm/v1/plan", body)["enabled"] is False
        return
    status, sentence = refusal(webui, "/lcm/v1/plan", body)
    assert status == 422
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize(
    "body,expected",
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe\xfa", 400),
        (b'{"cfg_scale": NaN}', 400),
        (b'{"cfg_scale": Infinity}', 400),
        (b'{"cfg_scale": 1e999}', 422),
        (b'{"steps": 1' + b"0" * 5000 + b"}", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'{"args": ' + b"[" * 60 + b"]" * 60 + b"}", 422),
        (b'{"args": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 422),
        (b'{"args": [{"enabled": true, "lora": "\\ud800"}]}', 200),
        (b" " * 1_000_001, 413),
        (b" " * 3_000_000, 413),
    ],
)
def test_a_malformed_body_gets_a_status_of_its_own_and_a_sentence(webui, body, expected):
    webui.loaded()
    status, answer = post_raw(webui, "/lcm/v1/plan", body)
    assert status == expected, answer
    assert (answer["problem"] if expected == 200 else answer["detail"]).endswith(".")


def test_half_a_surrogate_pair_comes_back_as_it_was_sent(webui):
    webui.loaded()
    body = b'{"args": [{"enabled": true, "lora": "\\ud800\\u00e4"}], "prompt": "<lora:\\ud800:1>"}'
    status, answer = post_raw(webui, "/lcm/v1/plan", body)
    # as ASCII, since what a failed test has to say must be printable
    assert status == 200 and r"\ud800\xe4" in ascii(answer["problem"])


def test_only_json_is_read(webui):
    status, answer = post_raw(webui, "/lcm/v1/download", b'{"family": "sd15"}', "text/plain")
    assert status == 415 and "application/json" in answer["detail"]


@pytest.mark.parametrize(
    "method,path,status,parts",
    [
        ("POST", "status", 405, ["/lcm/v1/status", "POST", "use GET."]),
        ("PUT", "download", 405, ["/lcm/v1/download", "PUT", "use GET or POST."]),
        ("GET", "nowhere", 404, ["'/lcm/v1/nowhere'", "POST /lcm/v1/plan", "GET and POST /lcm/v1/download."]),
        ("DELETE", "plan/it", 404, ["'/lcm/v1/plan/it'"]),
        ("GET", "", 404, ["'/lcm/v1/'"]),
    ],
)
def test_what_is_no_route_gets_a_sentence_that_says_what_there_is(webui, method, path, status, parts):
    with pytest.raises(ApiError) as refused:
        webui.client.request(method, f"/lcm/v1/{path}")
    assert (
        refused.value.status == status
        and [part for part in parts if part not in refused.value.body["detail"]] == []
    )


def test_a_slash_too_many_is_forgiven(webui):
    assert webui.client.get("/lcm/v1/status/") == webui.client.get("/lcm/v1/status")
    assert "/lcm/v1/{rest}" not in webui.client.get("/openapi.json")["paths"]


# --- download -----------------------------------------------------------------------------------------------


def test_the_downloads_are_listed(webui):
    states = {entry["name"]: entry for entry in webui.client.get("/lcm/v1/download")["downloads"]}
    assert list(states)[:4] == ["lcm_lora_sd15", "lcm_lora_sdxl", "lcm_lora_ssd1b", "lcm_lora_vega"]
    lcm, dmd2 = states["lcm_lora_sd15"], states["dmd2_sdxl_4step"]
    assert (lcm["family"], lcm["method"], lcm["open"]) == ("sd15", "lcm", True)
    assert lcm["installed"] == "lcm_lora_sd15" and lcm["bytes_total"] == 134_621_556
    assert (dmd2["family"], dmd2["method"], dmd2["open"]) == ("sdxl", "dmd2", False)
    assert dmd2["installed"] is None and (dmd2["licence"], dmd2["megabytes"]) == ("CC-BY-NC-4.0", 394)
    assert [len(digest) for digest in dmd2["sha256"]] == [64, 64]


@pytest.mark.parametrize(
    "body", [{}, {"family": "sd2"}, {"family": ["sd15"]}, {"family": "sd15", "to": "/tmp"}]
)
def test_only_known_families_can_be_downloaded(webui, body):
    status, sentence = refusal(webui, "/lcm/v1/download", body)
    assert status == 422 and "'family'" in sentence


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "no_such_lora"}, ["'name' is 'no_such_lora'", "GET /lcm/v1/download"]),
        ({"name": "pcm_sdxl_lcmlike"}, ["'name' is 'pcm_sdxl_lcmlike'"]),
        ({"name": ["tcd_sd15"]}, ["'name'"]),
        ({"name": "tcd_sd15", "family": "sd15"}, ["'family'", "'name'"]),
        ({"name": "dmd2_sdxl_4step"}, ["dmd2_sdxl_4step", "CC-BY-NC-4.0", '"accept_licence": true']),
        ({"name": "dmd2_sdxl_4step", "accept_licence": False}, ["CC-BY-NC-4.0"]),
        ({"name": "dmd2_sdxl_4step", "accept_licence": "yes"}, ["'accept_licence' is 'yes'"]),
        ({"family": "sd15", "accept_licence": 1}, ["'accept_licence' is 1"]),
    ],
    ids=str,
)
def test_a_download_that_cannot_be_started_is_told_why(webui, body, words):
    status, sentence = refusal(webui, "/lcm/v1/download", body)
    assert status == 422 and [word for word in words if word not in sentence] == []


# --- the script's arguments ---------------------------------------------------------------------------------


def test_script_info_describes_the_arguments_in_their_order(webui):
    infos = [info for info in webui.script_info() if info["name"] == "lcm"]
    assert [info["is_img2img"] for info in infos] == [False, True]
    for info in infos:
        assert info["is_alwayson"]
        assert [arg["label"] for arg in info["args"]] == [option.label for option in OPTIONS]
        own = ["As the LoRA wants"] * 3
        assert [arg["value"] for arg in info["args"]] == [
            False, 1.0, 4, 1.0, "Auto", "Trailing", *own, "All",
        ]  # fmt: skip
        _, weight, steps, cfg, _, schedule, sampler, gamma, method, _ = info["args"]
        sliders = [(arg["minimum"], arg["maximum"]) for arg in (weight, steps, cfg)]
        assert sliders == [(0.0, 1.5), (1, 8), (1.0, 2.0)]
        assert schedule["choices"] == ["Trailing", "Finer", "WebUI"] and gamma["choices"][1:3] == ["0", "0.1"]
        assert sampler["choices"] == [own[0], "LCM", "TCD", "Euler trailing", "DDIM trailing"]
        assert method["choices"][:3] == [own[0], "LCM", "TCD"]


def test_empty_arguments_mean_off(webui):
    plain, calls = webui.txt2img(PROMPT, steps=5, cfg_scale=3)
    off, off_calls = webui.txt2img(PROMPT, lcm=[], steps=5, cfg_scale=3)
    assert (off.infotext, off_calls) == (
        plain.infotext,
        calls,
    ) and off.image.tobytes() == plain.image.tobytes()


def test_the_request_of_the_client_webuiapi(webui):
    """All fields that its `txt2img(prompt=..., alwayson_scripts=...)` sends, with its defaults."""
    side = webui.side
    payload = {
        "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0,
        "hr_resize_x": 0, "hr_resize_y": 0,
        "denoising_strength": 0.7, "firstphase_width": 0, "firstphase_height": 0, "prompt": PROMPT,
        "styles": [], "seed": 1,
        "subseed": -1, "subseed_strength": 0.0, "seed_resize_from_h": 0, "seed_resize_from_w": 0,
        "batch_size": 1, "n_iter": 1,
        "steps": 20, "cfg_scale": 7.0, "width": side, "height": side, "restore_faces": False, "tiling": False,
        "do_not_save_samples": False, "do_not_save_grid": False, "negative_prompt": "", "eta": 1.0,
        "s_churn": 0, "s_tmax": 0,
        "s_tmin": 0, "s_noise": 1, "override_settings": {"sd_model_checkpoint": webui.sd15},
        "override_settings_restore_afterwards": True,
        "sampler_name": "Euler a", "sampler_index": "Euler a", "script_name": None, "script_args": [],
        "send_images": True,
        "save_images": False, "alwayson_scripts": {"LCM": {"args": [ON]}},
    }  # fmt: skip
    webui.calls()
    answer = webui.client.post("/sdapi/v1/txt2img", payload)
    assert [call["timesteps"][0] for call in webui.calls()] == [999, 759, 499, 259]
    ours, _ = webui.txt2img(PROMPT, lcm=ON)
    assert decode_image(answer["images"][0]).convert("RGB").tobytes() == ours.image.convert("RGB").tobytes()
    assert "LCM" in [sampler["name"] for sampler in webui.client.get("/sdapi/v1/samplers")]


# --- a body that never comes --------------------------------------------------------------------------------


def test_a_client_that_breaks_off_leaves_the_webui_working(webui):
    host, port = webui.client.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /lcm/v1/plan HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length:"
            b" 1000\r\n\r\n{"
        )
    assert webui.client.post("/lcm/v1/plan", {})["enabled"] is False
