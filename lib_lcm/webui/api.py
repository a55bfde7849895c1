"""The routes under /lcm/v1. The WebUI protects its own routes only, so the password of `--api-auth` is asked for here again."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from lib_lcm import __version__
from lib_lcm.api_messages import RequestError, plan_question, read_object, without_folders
from lib_lcm.catalog import LICENCE, OFFICIAL_LORAS, OfficialLora
from lib_lcm.downloads import Downloads
from lib_lcm.families import ModelFamily
from lib_lcm.lora_use import lcm_tags
from lib_lcm.options import AUTO, SCRIPT_TITLE, LcmOptions, OptionsError, options_from_args, shown_value
from lib_lcm.plan import SAMPLER_NAME, Plan, make_plan
from lib_lcm.schema import args_schema
from lib_lcm.webui import host, networks, settings
from lib_lcm.webui.generation import host_facts, is_switched_on_by

MAX_BODY = 1_000_000
DRAINED_BODY = 32_000_000
"""Bytes of a request that is too large which are read all the same: a client that is cut off while it sends does not see the answer."""
NO_MODEL = "No checkpoint is loaded yet: ask again when the WebUI has loaded one, or make a picture first."
REASONS = {
    "catalog": "it is a published LCM-LoRA, by its SHA-256",
    "header": "its layers are those of an LCM-LoRA for this family",
    "name": "it has the usual name and was made for this family",
    "tag": "the prompt names it",
    "option": "the option 'lora' names it",
}

downloads = Downloads()


def add_routes(demo, app: FastAPI) -> None:
    """Adds the routes to the WebUI's app; nothing where the WebUI was started without its API."""
    if not host.has_api():
        return
    app.add_api_route("/lcm/v1/status", _route(lambda body: status()), methods=["GET"])
    app.add_api_route("/lcm/v1/schema", _route(lambda body: schema()), methods=["GET"])
    app.add_api_route("/lcm/v1/plan", _route(plan, has_body=True), methods=["POST"], openapi_extra=_JSON_BODY)
    app.add_api_route("/lcm/v1/download", _route(lambda body: download_states()), methods=["GET"])
    app.add_api_route("/lcm/v1/download", _route(start_download, has_body=True), methods=["POST"], openapi_extra=_JSON_BODY)


_JSON_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


# --- what the routes answer ---------------------------------------------------------------------------------------------------


def status() -> dict[str, Any]:
    """What this WebUI has and what LCM would use for the loaded checkpoint."""
    model = host.loaded_model()
    family = None if model is None else host.model_family(model)
    choice = None if family is None else networks.library().choose(family)
    limits = settings.limits()
    return {
        "version": __version__,
        "sampler": {"name": SAMPLER_NAME, "webui_has_its_own": host_facts(family or ModelFamily.unknown).has_own_lcm},
        "checkpoint": None if model is None else host.checkpoint_name(model),
        "family": None if family is None else family.value,
        "lora": None if choice is None or choice.file is None else choice.file.path.stem,
        "lora_reason": None if choice is None or choice.reason is None else REASONS[choice.reason],
        "problem": NO_MODEL if choice is None else choice.problem,
        "limits": {"steps": [limits.min_steps, limits.max_steps], "cfg": [limits.min_cfg, limits.max_cfg]},
        "loras": _lcm_loras(),
    }


def schema() -> dict[str, Any]:
    """JSON schema of the script's arguments, with the limits of now."""
    return args_schema(settings.limits(), networks.lcm_lora_names())


def plan(body: dict[str, Any]) -> dict[str, Any]:
    """What a generation with this request would use, and why; nothing is made or loaded."""
    question = plan_question(body, lambda is_img2img: host.page_args(SCRIPT_TITLE, is_img2img))
    try:
        options = options_from_args(question.args, settings.limits())
    except OptionsError as error:
        raise RequestError(422, str(error)) from None
    if not options.enabled and is_switched_on_by(question.request.prompt):
        options = LcmOptions(enabled=True)
    if not options.enabled:
        return {"enabled": False, "status": "LCM is off: the WebUI makes this picture as it would without the extension."}
    model = host.loaded_model()
    if model is None:
        raise RequestError(409, NO_MODEL)
    made = make_plan(options, question.request, host_facts(host.model_family(model)), settings.limits())
    return {"enabled": True, "checkpoint": host.checkpoint_name(model), **made.as_dict(), "lora_reason": _reason(made, options, question)}


def _reason(made: Plan, options: LcmOptions, question) -> str | None:
    if made.lora is None or made.problem is not None:
        return None
    if any(item.file is not None and item.file.path == made.lora.path for item in lcm_tags(question.request.prompt, networks.library())):
        return REASONS["tag"]
    choice = networks.library().choose(made.family)
    if options.lora == AUTO or (choice.file is not None and choice.file.path == made.lora.path and choice.reason is not None):
        return REASONS[choice.reason]
    return REASONS["option"]


def download_states() -> dict[str, Any]:
    """The official LCM-LoRAs, what serves their families here, and how far downloads are."""
    return {"downloads": [_download_state(lora) for lora in OFFICIAL_LORAS], "licence": LICENCE}


def _download_state(lora: OfficialLora) -> dict[str, Any]:
    state = downloads.state(lora)
    file = networks.library().choose(lora.family).file
    return {
        "family": lora.family.value,
        "name": lora.name,
        "url": lora.url,
        "installed": None if file is None else file.path.stem,
        "state": state.state,
        "bytes_done": state.done,
        "bytes_total": state.total,
        "problem": state.problem,
    }


def start_download(body: dict[str, Any]) -> dict[str, Any]:
    """Begins to download the LCM-LoRA of {"family": ...}; asking again while it runs changes nothing."""
    unknown = [key for key in body if key != "family"]
    if unknown:
        raise RequestError(422, f"Key {shown_value(unknown[0])} is unknown; the only one is 'family'.")
    lora = next((lora for lora in OFFICIAL_LORAS if lora.family.value == body.get("family")), None)
    if lora is None:
        families = ", ".join(f'"{lora.family}"' for lora in OFFICIAL_LORAS)
        raise RequestError(422, f"'family' is {shown_value(body.get('family'))}; it must be one of {families}.")
    folders = host.lora_dirs()
    if not folders:
        raise RequestError(409, "This WebUI has no LoRA folder: create models/Lora, then try again.")
    downloads.start(lora, folders[0])
    return _download_state(lora)


def _lcm_loras() -> list[dict[str, Any]]:
    library = networks.library()
    return [{"name": library.name_of(file), "family": file.family.value} for file in library.scan() if library.is_lcm_lora(file)]


# --- HTTP -------------------------------------------------------------------------------------------------------------------


def _route(answer: Callable[[dict[str, Any] | None], dict[str, Any]], has_body: bool = False):
    """An endpoint: password, body, `answer(body)` in a thread (it may read files), JSON."""

    async def endpoint(request: Request):
        try:
            _check_password(request.headers.get("authorization"))
            body = read_object(await _body(request)) if has_body else None
            return _reply(await run_in_threadpool(answer, body))
        except RequestError as error:
            return _reply({"detail": error.sentence}, error.status)

    return endpoint


def _reply(content: dict[str, Any], status: int = 200) -> Response:
    headers = {"WWW-Authenticate": "Basic"} if status == 401 else None
    content = without_folders(content, host.lora_dirs(), host.private_folders())
    # a request's text may hold half a surrogate pair, which UTF-8 cannot write: "\\ud800" is JSON for it
    text = json.dumps(content, allow_nan=False, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(text, status, headers, "application/json")


def _check_password(header: str | None) -> None:
    """Raises RequestError 401 unless the Authorization header fits one of the pairs of --api-auth, or there are none."""
    pairs = host.api_passwords()
    if not pairs:
        return
    scheme, _, encoded = (header or "").partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        given = b""
    # every pair is compared, so that the time taken does not tell which user exists
    if not any([secrets.compare_digest(given, pair.encode()) for pair in pairs]):
        raise RequestError(401, "Incorrect username or password.")


async def _body(request: Request) -> bytes:
    # Only what a page of another site cannot send without being asked first (CORS).
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError(415, f"The request's Content-Type is {shown_value(kind)}; it must be application/json.")
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
        raise RequestError(413, f"The request's body is larger than {MAX_BODY:,} bytes; leave out what is not needed, such as images.")
    return bytes(body)
