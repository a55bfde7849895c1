"""The routes under /lcm/v1 are what the WebUI's own description of them says, whatever is sent: schemathesis
on /openapi.json.

LCM_FUZZ_REQUESTS=5000 sends about that many; by default it is a small number.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.live.profiles import one_profile

ROUTES = [("GET", "status"), ("POST", "plan"), ("GET", "download"), ("POST", "download")]
REQUESTS = int(os.environ.get("LCM_FUZZ_REQUESTS", "200"))
# of each way of generating; the others take no input
SHARES = {("POST", "plan"): 0.3, ("POST", "download"): 0.15}
TIMEOUT = 60
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

pytestmark = one_profile


@pytest.fixture(scope="module")
def described(webui):
    """The operations under /lcm/v1, by method and name. A download that is really asked for must not reach
    any hub.
    """
    spec = webui.client.get("/openapi.json")
    spec["paths"] = {path: item for path, item in spec["paths"].items() if path.startswith("/lcm/")}
    schema = schemathesis.openapi.from_dict(spec)
    schema.config.update(base_url=webui.client.url, request_timeout=TIMEOUT)
    webui.loaded()
    with webui.settings(lcm_download_mirror="no address, for the sake of the test"):
        yield {
            (item.method.upper(), item.path.rsplit("/", 1)[-1]): item
            for item in (found.ok() for found in schema.get_all_operations())
        }


def test_every_route_is_described(described):
    assert sorted(described) == sorted(ROUTES)
    for operation in described.values():
        assert operation.definition.raw["description"]


CASES = [
    (route, mode)
    for route in ROUTES
    for mode in GenerationMode
    if route in SHARES or mode is GenerationMode.POSITIVE
]


@pytest.mark.parametrize(
    "route,mode", CASES, ids=[f"{' '.join(route)} {mode.value}" for route, mode in CASES]
)
def test_answers_are_as_described(described, route, mode):
    operation = described[route]
    count = max(int(REQUESTS * SHARES.get(route, 0.01)), 1)
    statuses = set()

    @settings(max_examples=count, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        statuses.add(response.status_code)
        if response.status_code >= 400:
            assert response.json()["detail"].endswith("."), response.text

    send()
    if mode is GenerationMode.POSITIVE:
        assert 200 in statuses
