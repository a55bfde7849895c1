"""Whatever is sent to the routes and to the script's arguments: an answer that is not a server error, and no
harm to the next request.

LCM_FUZZ_REQUESTS=5000 sends that many; by default it is a small number.
"""

import http.client
import json
import os
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib_lcm.lora.catalog import named
from lib_lcm.options import OPTIONS
from tests.live.profiles import one_profile
from tests.prompts import PROMPT
from workbench.client import encode_image

ROUTES = ["/lcm/v1/status", "/lcm/v1/plan", "/lcm/v1/download"]
REQUESTS = int(os.environ.get("LCM_FUZZ_REQUESTS", "200"))
TIMEOUT = 60
"""Seconds after which an answer counts as missing."""

pytestmark = [one_profile, pytest.mark.filterwarnings("ignore:Generating overly large repr")]


def share(part: float):
    return settings(max_examples=max(int(REQUESTS * part), 1), suppress_health_check=list(HealthCheck))


ODD_TEXTS = [
    "",
    " ",
    "auto",
    "none",
    "lcm_lora_sd15",
    "lcm_lora_sdxl",
    "../../etc/passwd",
    "C:\\Windows",
    "\0",
    "\ud800",
    "a\nb",
    "x" * 5000,
    "<lora:lcm_lora_sd15:1>",
    "<lora:lcm_lora_sdxl:0.5>",
    "<lora:lcm_lora_sd15:nan>",
    "<lora:lcm_lora_sd15:1e999>",
    "<lora::><lora:a:b:c=d>" * 20,
    "(" * 500,
    "%s%n{0}",
]
TEXTS = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=30))
NUMBERS = st.one_of(
    st.integers(-2, 12),
    st.integers(),
    st.just(10**40),
    st.floats(-1, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.just(-0.0),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
NAMES = [option.name for option in OPTIONS]
OPTION_OBJECTS = st.one_of(
    st.dictionaries(st.sampled_from([*NAMES, "Enabled", ""]), JSON, max_size=7),
    st.fixed_dictionaries(
        {"enabled": st.just(True)},
        optional={
            "weight": st.one_of(st.floats(0, 1.5), SCALARS),
            "steps": st.one_of(st.integers(1, 3), SCALARS),
            "cfg": st.one_of(st.floats(1, 2), SCALARS),
            "lora": TEXTS,
            "schedule": st.one_of(st.sampled_from(["trailing", "finer", "webui"]), SCALARS),
            "sampler": st.one_of(st.sampled_from(["lcm", "tcd"]), SCALARS),
            "gamma": st.one_of(st.floats(0, 1), SCALARS),
        },
    ),
)
ARGS = st.one_of(
    st.lists(JSON, max_size=10),
    st.tuples(OPTION_OBJECTS, JSON).map(list),
    st.lists(OPTION_OBJECTS, max_size=1),
)
REQUEST_FIELDS = [
    "prompt", "negative_prompt", "steps", "cfg_scale", "scheduler", "denoising_strength", "enable_hr",
    "hr_second_pass_steps",
    "refiner_checkpoint", "init_images", "alwayson_scripts", "args", "other", "styles", "width", "height",
    "hr_scale", "hr_resize_x",
    "hr_resize_y", "image_cfg_scale", "override_settings",
]  # fmt: skip
PLAUSIBLE = st.fixed_dictionaries(
    {"args": ARGS},
    optional={
        "prompt": TEXTS,
        "negative_prompt": TEXTS,
        "steps": NUMBERS,
        "cfg_scale": NUMBERS,
        "denoising_strength": st.floats(0, 1),
        "enable_hr": st.booleans(),
        "hr_second_pass_steps": st.integers(0, 9),
        "scheduler": TEXTS,
        "refiner_checkpoint": TEXTS,
        "init_images": st.lists(TEXTS, max_size=1),
        "styles": st.lists(TEXTS, max_size=3),
        "width": NUMBERS,
        "hr_scale": NUMBERS,
        "hr_resize_x": NUMBERS,
        "override_settings": st.dictionaries(
            st.sampled_from(["sd_model_checkpoint", "eta"]), st.one_of(TEXTS, JSON)
        ),
    },
)
PLANS = st.one_of(PLAUSIBLE, st.dictionaries(st.sampled_from(REQUEST_FIELDS), JSON, max_size=6), JSON)


def may_start_a_download(body) -> bool:
    if not isinstance(body, dict):
        return False
    name = body.get("name")
    is_open = isinstance(name, str) and (lora := named(name)) is not None and lora.is_open
    return is_open or body.get("family") in ("sd15", "sdxl", "ssd1b", "vega")


# never a request that would really start a download
DOWNLOADS = st.one_of(
    JSON.filter(lambda body: not may_start_a_download(body)),
    st.fixed_dictionaries({"family": st.sampled_from(["sd15", "sd2", "SDXL", "unknown"]), "other": JSON}),
    st.fixed_dictionaries(
        {"name": st.one_of(st.sampled_from(["dmd2_sdxl_4step", "tcd_sd21", ""]), JSON)},
        optional={"accept_licence": st.just(False), "family": JSON},
    ).filter(lambda body: not may_start_a_download(body)),
)


def is_partial(request) -> bool:
    """Whether some of this file's tests are not in the run."""
    there = {item.function.__name__ for item in request.session.items if item.module is request.module}
    return there != {name for name in vars(request.module) if name.startswith("test_")}


@pytest.fixture(scope="module")
def folders(webui) -> list[str]:
    """The folders of the LoRAs and of the WebUI's models, as an answer would hold them: none of them ever
    does.
    """
    lora = Path(webui.client.get("/sdapi/v1/loras")[0]["path"]).parent
    assert lora.is_absolute()
    return [json.dumps(str(folder))[1:-1] for folder in (lora, lora.parent)]


@pytest.fixture(scope="module")
def send(request, webui, folders, tell):
    """`send(method, path, body, headers) -> (status, text)`; no answer within TIMEOUT raises."""
    address = webui.client.url.removeprefix("http://")
    statuses, slowest = Counter(), 0.0

    def ask(method: str, path: str, body: bytes | None, headers) -> tuple[int, str]:
        with closing(http.client.HTTPConnection(address, timeout=TIMEOUT)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        assert not any(folder in text for folder in folders), text
        return response.status, text

    def send(method: str, path: str, body: bytes | None = None, headers=None) -> tuple[int, str]:
        nonlocal slowest
        begun = time.monotonic()
        answer = ask(method, path, body, headers)
        statuses[answer[0]] += 1
        slowest = max(slowest, time.monotonic() - begun)
        return answer

    yield send
    # each test's share and the odd one that hypothesis leaves out; a fraction of it would mean that the
    # requests did not get there
    assert statuses.total() >= 0.8 * REQUESTS or request.session.testsfailed or is_partial(request)
    summary = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
    tell(f"fuzz: {statuses.total():,} requests: {summary}; the slowest took {slowest:.1f} s")


@pytest.fixture(scope="module", autouse=True)
def usual_picture(webui):
    """Whatever the tests of this file send, the next ordinary requests give their usual pictures."""

    def pictures():
        plain, _ = webui.txt2img(PROMPT, steps=3, cfg_scale=3)
        lcm, calls = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 2, "cfg": 1})
        return plain.image.tobytes(), plain.infotext, lcm.image.tobytes(), lcm.infotext, calls

    before = pictures()
    yield
    assert pictures() == before


def check(status: int, text: str) -> None:
    assert 200 <= status < 500, text
    content = json.loads(text)
    assert isinstance(content, dict)
    if status >= 400:
        assert content["detail"].endswith("."), content


@share(0.35)
@given(body=PLANS)
def test_plans(send, body):
    check(*send("POST", "/lcm/v1/plan", json.dumps(body).encode()))


@share(0.1)
@given(body=DOWNLOADS)
def test_downloads(send, body):
    status, text = send("POST", "/lcm/v1/download", json.dumps(body).encode())
    check(status, text)
    assert status == 422


@share(0.2)
@given(
    route=st.sampled_from(["/lcm/v1/plan", "/lcm/v1/download"]),
    body=st.one_of(
        st.binary(max_size=200),
        st.tuples(
            PLANS.map(lambda body: json.dumps(body).encode()), st.integers(0, 80), st.binary(max_size=3)
        ).map(lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + 1 :]),
        st.integers(1, 2000).map(lambda depth: b'{"args":' + b"[" * depth + b"]" * depth + b"}"),
    ),
    kind=st.sampled_from(
        ["application/json", "application/json; charset=latin-1", "text/plain", "", "multipart/form-data"]
    ),
)
def test_bodies_that_are_hardly_json(send, route, body, kind):
    try:
        if may_start_a_download(json.loads(body)):
            return
    except (ValueError, RecursionError):
        pass
    check(*send("POST", route, body, {"Content-Type": kind}))


@share(0.1)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    route=st.sampled_from(ROUTES),
    query=st.sampled_from(["", "?", "?a=b", "?family=sd15", "?%00=%ff", "/", "/../status"]),
    authorization=st.one_of(
        st.none(), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
    ),
)
def test_methods_queries_and_headers(send, method, route, query, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    status, text = send(method, route + query, b"" if method == "POST" else None, headers)
    assert 200 <= status < 500, text


def can_be_echoed(value) -> bool:
    """Whether the WebUI can write `value` into its own answer: no half surrogate pairs, no whole numbers
    beyond 64 bits.
    """
    if isinstance(value, dict):
        return all(can_be_echoed(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return all(can_be_echoed(item) for item in value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return not isinstance(value, str) or not any("\ud800" <= char <= "\udfff" for char in value)


@pytest.fixture(scope="module")
def start(webui) -> str:
    """A picture for img2img."""
    return encode_image(webui.txt2img(PROMPT, steps=1, cfg_scale=1)[0].image)


@share(0.25)
@given(args=ARGS.filter(can_be_echoed), tab=st.sampled_from(["txt2img", "img2img"]))
def test_script_arguments(send, webui, start, args, tab):
    request = {
        "prompt": PROMPT, "seed": 1, "steps": 1, "cfg_scale": 1, "width": webui.side, "height": webui.side,
        "override_settings": {"sd_model_checkpoint": webui.sd15}, "alwayson_scripts": {"LCM": {"args": args}},
    }  # fmt: skip
    if tab == "img2img":
        request["init_images"] = [start]
    status, text = send("POST", f"/sdapi/v1/{tab}", json.dumps(request).encode())
    assert status in (200, 422), text
    if status == 422:
        assert json.loads(text)["detail"].endswith("."), text
