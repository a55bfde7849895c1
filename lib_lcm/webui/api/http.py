"""Reading a request's body and writing an answer, the same for all routes."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from lib_lcm.api.messages import RequestError, without_folders
from lib_lcm.options import shown_value
from lib_lcm.webui.host import networks, server

MAX_BODY = 1_000_000
DRAINED_BODY = 32_000_000
"""Bytes of a request that is too large which are read all the same: a client that is cut off while it sends
does not see the answer.
"""


def reply(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`content` as JSON, without the names of this machine's folders."""
    if status == 401:
        headers = {"WWW-Authenticate": "Basic"}
    content = without_folders(content, networks.lora_dirs(), server.private_folders())
    # a request's text may hold half a surrogate pair, which UTF-8 cannot write: "\\ud800" is JSON for it
    text = json.dumps(content, allow_nan=False, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(text, status, headers, "application/json")


async def read_body(request: Request) -> bytes:
    """The body of a request that says it is JSON. Raises RequestError 415, 413, or 400 where the connection
    broke.
    """
    # Only what a page of another site cannot send without being asked first (CORS).
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError(
            415, f"The request's Content-Type is {shown_value(kind)}; it must be application/json."
        )
    body, size = bytearray(), 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= MAX_BODY:
                body += chunk
            elif size > DRAINED_BODY:
                break
    except ClientDisconnect:
        raise RequestError(400, "The connection broke before the request was complete.") from None
    if size > MAX_BODY:
        raise RequestError(
            413,
            f"The request's body is larger than {MAX_BODY:,} bytes; leave out what is not needed, such as"
            " images.",
        )
    return bytes(body)
