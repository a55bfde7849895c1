"""How long the host's server keeps a connection on which nothing is asked."""

from __future__ import annotations

import http.client
import time
from contextlib import closing

import httpx


def test_the_server_keeps_an_idle_connection_for_longer_than_gradios_queue_uses_it(host):
    """Else the queue now and then asks over a connection that is just being closed, and a click on the page comes to nothing."""
    longest_use = httpx.Limits().keepalive_expiry
    with closing(http.client.HTTPConnection(host.url.removeprefix("http://"))) as connection:
        for pause in (0, longest_use + 1):
            time.sleep(pause)
            connection.request("GET", "/workbench/v1/started")  # RemoteDisconnected, where the server has closed it
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read()
