"""A running WebUI, seen from outside: its HTTP API, as checks and tests use it. The standard library is
enough.
"""

from __future__ import annotations

import base64
import io
import json
import urllib.error
import urllib.request
from dataclasses import dataclass

from PIL import Image


class ApiError(Exception):
    """An answer that is not 200: `status` and the decoded `body`."""

    def __init__(self, status: int, body):
        super().__init__(f"HTTP {status}: {body}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Generated:
    """What a generation over the API gave: the pictures, and the infotext of each."""

    images: list[Image.Image]
    infotexts: list[str]
    info: dict

    @property
    def image(self) -> Image.Image:
        return self.images[0]

    @property
    def infotext(self) -> str:
        return self.infotexts[0]


class Client:
    """The API of the WebUI at `url`. `auth` is "user:password" or None; `timeout` in seconds."""

    def __init__(self, url: str, auth: str | None = None, timeout: float = 300.0):
        self.url = url.rstrip("/")
        self.auth = auth
        self.timeout = timeout

    def request(self, method: str, path: str, payload=None):
        """The decoded JSON answer. Raises ApiError for any status but 200."""
        data = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if self.auth:
            request.add_header("Authorization", "Basic " + base64.b64encode(self.auth.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                body = response.read()
        except urllib.error.HTTPError as error:
            body = error.read()
            try:
                decoded = json.loads(body)
            except ValueError:
                decoded = body.decode(errors="replace")
            raise ApiError(error.code, decoded) from None
        return json.loads(body) if body else None

    def get(self, path: str):
        return self.request("GET", path)

    def post(self, path: str, payload=None):
        return self.request("POST", path, {} if payload is None else payload)

    def txt2img(self, prompt: str, *, lcm=None, **payload) -> Generated:
        """A picture from text. `lcm` is the LCM script's argument object or argument list, None to leave it
        out.
        """
        return self._generate("/sdapi/v1/txt2img", prompt, lcm, payload)

    def img2img(
        self, prompt: str, images: list[Image.Image], *, lcm=None, mask: Image.Image | None = None, **payload
    ) -> Generated:
        """A picture from pictures; see `txt2img`."""
        payload["init_images"] = [encode_image(image) for image in images]
        if mask is not None:
            payload["mask"] = encode_image(mask)
        return self._generate("/sdapi/v1/img2img", prompt, lcm, payload)

    def _generate(self, path: str, prompt: str, lcm, payload: dict) -> Generated:
        payload = {"prompt": prompt, "seed": 1, "width": 64, "height": 64, "sampler_name": "Euler", **payload}
        if lcm is not None:
            args = lcm if isinstance(lcm, list) else [lcm]
            payload["alwayson_scripts"] = {**payload.get("alwayson_scripts", {}), "LCM": {"args": args}}
        answer = self.post(path, payload)
        info = json.loads(answer["info"])
        return Generated([decode_image(image) for image in answer["images"]], info["infotexts"], info)

    def unet_calls(self) -> list[dict]:
        """The workbench's log of UNet forwards since the last call of this: `{"timesteps": [...], "rows": n}`
        each.
        """
        calls = self.get("/workbench/v1/unet-calls")
        self.request("DELETE", "/workbench/v1/unet-calls")
        return calls["calls"] if isinstance(calls, dict) else calls


def encode_image(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def decode_image(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text.split(",", 1)[-1])))
