"""Who may use the routes under /lcm/v1, and a download through them, against a hub on this machine that does
not have the file.
"""

import base64
import json
import urllib.error
import urllib.request

import pytest

from tests import prepared
from tests.hub import Hub
from tests.prepared import Server
from tests.waiting import wait_for
from workbench.client import Client
from workbench.server import ROOT

PAIRS = "ada:first:secret,bob:zweites Geheimnis äöü"
ROUTES = [("GET", "status"), ("POST", "plan"), ("GET", "download"), ("POST", "download")]


@pytest.fixture(scope="module")
def hub():
    server = Hub()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("webui")
    (folder / "models" / "Lora").mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def server(hub, folder):
    """A workbench with passwords, an empty LoRA folder, and that hub."""
    arguments = ["--data-dir", str(folder / "data"), "--lora-dir", str(folder / "models" / "Lora")]
    with Server(arguments, auth=PAIRS, environment=hub.environment) as server:
        yield server


@pytest.fixture
def ada(server) -> Client:
    return Client(server.url, auth="ada:first:secret")


def answer(server, method: str, route: str, authorization: str | None):
    request = urllib.request.Request(
        f"{server.url}/lcm/v1/{route}", method=method, data=b"{}" if method == "POST" else None
    )
    request.add_header("Content-Type", "application/json")
    if authorization is not None:
        request.add_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read())


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic YQ",
        "Bearer ada:first:secret",
        basic("ada:wrong"),
        basic("ada:first"),
        basic("ada:"),
        basic(":"),
        basic("eve:first:secret"),
        basic(PAIRS),
        basic(""),
    ],
)
@pytest.mark.parametrize("method,route", ROUTES)
def test_every_route_asks_for_the_password(server, method, route, authorization):
    status, headers, body = answer(server, method, route, authorization)
    assert (
        status == 401
        and headers["WWW-Authenticate"] == "Basic"
        and body == {"detail": "Incorrect username or password."}
    )


@pytest.mark.parametrize("pair", PAIRS.split(","))
def test_each_pair_opens_the_routes(server, pair):
    for method, route in ROUTES:
        assert answer(server, method, route, basic(pair))[0] == (
            422 if (method, route) == ("POST", "download") else 200
        )


def test_the_password_is_asked_for_before_anything_is_looked_at(server):
    for method, route in (("POST", "plan"), ("POST", "status"), ("GET", "nowhere")):
        assert answer(server, method, route, basic("eve:x"))[0] == 401


def test_a_webui_without_a_loaded_checkpoint_says_so_and_loads_none(server, folder):
    arguments = ["--profile", "forge", "--data-dir", str(folder / "forge")]
    with Server(arguments) as fresh:
        status = fresh.client.get("/lcm/v1/status")
        assert (status["checkpoint"], status["family"], status["lora"]) == (None, None, None)
        assert "No checkpoint is loaded yet" in status["problem"]
        code, _, body = answer(fresh, "POST", "plan", None)
        assert code == 200 and body["enabled"] is False
        request = urllib.request.Request(
            f"{fresh.url}/lcm/v1/plan",
            data=b'{"args": [true]}',
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        assert (
            refused.value.code == 409
            and "No checkpoint is loaded yet" in json.loads(refused.value.read())["detail"]
        )
        assert fresh.client.get("/lcm/v1/status")["checkpoint"] is None


def test_a_failed_download_ends_in_one_sentence_that_names_no_folder(server, ada, hub, folder):
    started = ada.post("/lcm/v1/download", {"family": "sdxl"})
    assert (
        started["family"] == "sdxl"
        and started["installed"] is None
        and started["state"] in ("running", "failed")
    )
    wait_for(lambda: ada.get("/lcm/v1/download")["downloads"][1]["state"] != "running")
    state = ada.get("/lcm/v1/download")["downloads"][1]
    assert state["state"] == "failed"
    assert "HTTP 404" in state["problem"] and state["problem"].endswith(
        "save it as Lora/lcm_lora_sdxl.safetensors."
    )
    assert hub.requests[0][0].startswith("/latent-consistency/lcm-lora-sdxl/")
    # so that a checkpoint is loaded
    ada.post("/sdapi/v1/txt2img", {"prompt": "a star", "steps": 1, "width": 64, "height": 64})
    plan = ada.post("/lcm/v1/plan", {"args": [True]})
    assert (
        "put pytorch_lora_weights.safetensors" in plan["problem"]
        and "into Lora as lcm_lora_sd15" in plan["problem"]
    )
    for content in (state, plan, ada.get("/lcm/v1/status")):
        assert str(folder) not in json.dumps(content)


@pytest.mark.parametrize("api,routes", [(True, 5), (False, 0)])
def test_a_webui_started_without_its_api_gets_no_routes(api, routes):
    program = f"""
import sys
sys.path[:0] = [{str(ROOT / "workbench" / "webui")!r}, {str(ROOT)!r}]
from modules import shared
from fastapi import FastAPI
shared.cmd_opts.api = {api}
from lib_lcm.webui.api import routes as api
app = FastAPI()
api.add_routes(None, app)
print(sum(route.path.startswith("/lcm/v1") for route in app.routes))
"""
    assert prepared.run("-c", program) == (0, f"{routes}\n")
