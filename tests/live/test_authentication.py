"""The password of --api-auth guards this extension's routes as it does the WebUI's own; on a second WebUI,
started for it.
"""

import pytest

from tests.prompts import PROMPT
from workbench.client import ApiError, Client

PAIRS = "ada:secret,bob:other"
ROUTES = [
    ("GET", "/sdapi/v1/options", None),  # the WebUI's own, for comparison
    ("GET", "/lcm/v1/status", None),
    ("POST", "/lcm/v1/plan", {"args": [{"enabled": True}]}),
    ("GET", "/lcm/v1/download", None),
    ("POST", "/lcm/v1/download", {"family": "no such family"}),
]


@pytest.fixture(scope="module")
def guarded(webui):
    if webui.start is None:
        pytest.skip("it needs a WebUI with --api-auth: use --webui, which starts one")
    with webui.start(auth=PAIRS) as server:
        yield server


def status(client: Client, method: str, path: str, payload) -> int:
    try:
        client.request(method, path, payload)
        return 200
    except ApiError as error:
        return error.status


@pytest.mark.parametrize("method,path,payload", ROUTES)
def test_a_route_asks_for_the_password(guarded, method, path, payload):
    answers = {
        auth: status(Client(guarded.url, auth), method, path, payload)
        for auth in (None, "ada:other", "ada:", "eve:secret")
    }
    assert answers == dict.fromkeys(answers, 401)
    # what it then answers depends on the route, and on whether the WebUI has loaded a model yet
    for auth in PAIRS.split(","):
        assert status(Client(guarded.url, auth), method, path, payload) in (200, 409, 422)


def test_pictures_are_made_with_the_password(guarded, webui):
    client = Client(guarded.url, "bob:other", timeout=600)
    request = {
        "width": webui.side,
        "height": webui.side,
        "override_settings": {"sd_model_checkpoint": webui.sd15},
    }
    made = client.txt2img(PROMPT, lcm={"enabled": True, "steps": 2, "cfg": 1}, **request)
    assert "LCM LoRA: lcm_lora_sd15" in made.infotext
    with pytest.raises(ApiError) as error:
        Client(guarded.url).txt2img(PROMPT, lcm={"enabled": True})
    assert error.value.status == 401
