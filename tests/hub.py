"""A server on this machine that behaves as the Hugging Face Hub does, with one file or none, and with the
faults that a test asks for.
"""

from __future__ import annotations

import http.server
import json
import re
import threading

from workbench.small_models import LORAS


def small_lora(name: str) -> bytes | None:
    """What the tests' catalog (tests/workbench/small_catalog) says of a published LoRA: an LCM-LoRA of the
    workbench, or one of SD 1.5's in another file; None for those that no test downloads.
    """
    path = LORAS / f"{name}.safetensors"
    if path.exists():
        return path.read_bytes()
    if name not in ("tcd_sd15", "flash_sd15"):
        return None
    content = (LORAS / "lcm_lora_sd15.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length]) | {"__metadata__": {"title": name}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


class Hub(http.server.ThreadingHTTPServer):
    """Has `content` under every address, or nothing where it is None. `requests` are (address, headers), in
    lower case.

    To each request it does what the next of `script` says; after the script it just serves. Steps: "cut"
    (ends after 30% of the bytes that it announced), "stall" (sends 30% and then nothing until `may_go_on` is
    set), an int (that status), ("redirect", url), ("status", code, headers), "no range" (the whole file
    whatever was asked), "no length" (the end of the connection ends the file), "elsewhere" (another range).
    With `gate`, every answer waits until as many requests are there as it says.
    """

    def __init__(self, content: bytes | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.script: list = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.may_go_on = threading.Event()
        self.gate: threading.Barrier | None = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("range") for _, headers in self.requests]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make a WebUI take this for the Hub."""
        return {"HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}

    def handle_error(self, *_: object) -> None:
        """A client that has had enough goes away."""

    def stop(self) -> None:
        self.may_go_on.set()
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.requests.append(
            (self.path, {name.lower(): value for name, value in self.headers.items()})
        )
        step = self.server.script.pop(0) if self.server.script else None
        if self.server.gate is not None:
            self.server.gate.wait(60)
        if self.server.content is None and step is None:
            step = 404
        if isinstance(step, int):
            step = ("status", step, {})
        if isinstance(step, tuple) and step[0] == "redirect":
            step = ("status", 302, {"Location": step[1] + self.path})
        if isinstance(step, tuple):
            self.send_response(step[1])
            for name, value in {"Content-Length": "0", **step[2]}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        content, asked = self.server.content, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked.group(1)) if asked and step != "no range" else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            shown = start + 5 if step == "elsewhere" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        body = content[start:]
        if step != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) * 3 // 10] if step in ("cut", "stall") else body)
        if step == "stall":
            self.server.may_go_on.wait(60)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass
