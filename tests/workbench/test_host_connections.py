"""How long the host's server keeps a connection on which nothing is asked.

Else gradio's queue now and then asks over a connection that is just being closed, and a click on the page
comes to nothing.
"""

from __future__ import annotations

import http.client
import time
from contextlib import closing

import httpx
import pytest

LONGEST_USE = httpx.Limits().keepalive_expiry
"""Seconds for which gradio's queue uses an idle connection again."""


def test_the_server_is_told_to_keep_an_idle_connection_for_longer_than_gradios_queue_uses_it(host):
    assert host.get("/recorder/v1/keep-alive") > LONGEST_USE


@pytest.mark.long
def test_the_server_keeps_an_idle_connection_for_longer_than_gradios_queue_uses_it(host):
    with closing(http.client.HTTPConnection(host.url.removeprefix("http://"))) as connection:
        for pause in (0, LONGEST_USE + 1):
            time.sleep(pause)
            # RemoteDisconnected, where the server has closed it
            connection.request("GET", "/workbench/v1/started")
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read()
