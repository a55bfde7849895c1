"""Reload UI while others use the server: nobody can hold it up, and nobody meets a page that is half
built.
"""

from __future__ import annotations

import json
import threading

import pytest
from websockets.sync.client import connect

from workbench.client import ApiError


@pytest.fixture
def reload_ui(host):
    """Presses the button as the page does, and returns once the server is up again."""

    def press():
        before = host.server.starts
        with join_queue(host, events(host, "restart_reload")[0]) as socket:
            wait_for(socket, "send_data")
            socket.send(
                json.dumps(
                    {"fn_index": events(host, "restart_reload")[0], "data": [], "session_hash": "test"}
                )
            )
            host.server.wait_for_start(before + 1, timeout=120)
        assert host.server.starts == before + 1

    return press


def events(host, javascript: str | None) -> list[int]:
    """Numbers of the page's events that begin with this JavaScript."""
    return [
        number
        for number, event in enumerate(host.get("/config")["dependencies"])
        if event["js"] == javascript
    ]


def join_queue(host, number: int):
    socket = connect(host.url.replace("http", "ws") + "/queue/join")
    wait_for(socket, "send_hash")
    socket.send(json.dumps({"session_hash": "test", "fn_index": number}))
    return socket


def wait_for(socket, message: str) -> None:
    while json.loads(socket.recv(timeout=60))["msg"] != message:
        pass


def test_a_page_that_stopped_answering_does_not_hold_it_up(host, reload_ui):
    with join_queue(host, events(host, None)[0]) as silent:
        wait_for(silent, "send_data")
        reload_ui()
    assert host.txt2img(steps=1).image


def test_a_request_that_comes_too_early_waits_until_the_server_is_complete(host, reload_ui):
    answers, stop = set(), threading.Event()

    def ask():
        while not stop.is_set():
            try:
                host.get("/recorder/v1/events")  # a route that an extension adds at the very end
                answers.add(200)
            except ApiError as error:
                answers.add(error.status)
            except OSError:
                pass  # nobody listens for a moment

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    try:
        reload_ui()
    finally:
        stop.set()
        for thread in asking:
            thread.join()
    assert answers == {200}
