"""The routes under /lcm/v1. The WebUI protects its own routes only, so the password of `--api-auth` is asked
for here again.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from lib_lcm import __version__
from lib_lcm.api import openapi
from lib_lcm.api.messages import RequestError, plan_question, read_object
from lib_lcm.lora.background import downloads
from lib_lcm.lora.catalog import PublishedLora, named, offered
from lib_lcm.lora.file import LoraFile
from lib_lcm.lora.use import option_name
from lib_lcm.methods import LCM
from lib_lcm.options import SAMPLER_LABELS, SCRIPT_TITLE, OptionsError, shown_value
from lib_lcm.plan.make import make_plan
from lib_lcm.plan.status import HOW_KNOWN, as_dict
from lib_lcm.webui import facts, loras, settings
from lib_lcm.webui.api.http import read_body, reply
from lib_lcm.webui.host import models, networks, prompts, samplers, scripts, server

NO_MODEL = "No checkpoint is loaded yet: ask again when the WebUI has loaded one, or make a picture first."
OTHER_MODEL = (
    "This request is for the checkpoint {wanted}, and {loaded} is loaded: make a picture with it first, then"
    " ask again."
)
REASONS = {
    "hash": "it is a published LoRA for this family, by its hash",
    "you": "it was made for this family, and you said by which method",
    "metadata": "it was made for this family, and its metadata names the method",
    "layers": "its layers are those of an LCM-LoRA for this family",
    "name": "it was made for this family, and its name speaks of the method",
    "tag": "the prompt names it",
    "option": "the option 'lora' names it",
    "distilled": "it was distilled from this checkpoint",
    "remembered": "it is remembered for this checkpoint",
}

ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def add_routes(demo, app: FastAPI) -> None:
    """Adds the routes to the WebUI's app; nothing where the WebUI was started without its API."""
    if not server.has_api():
        return
    methods: dict[str, list[str]] = {}
    for path, method, answer, body in (
        ("/lcm/v1/status", "GET", status, None),
        ("/lcm/v1/plan", "POST", plan, openapi.PLAN),
        ("/lcm/v1/download", "GET", download_states, None),
        ("/lcm/v1/download", "POST", start_download, openapi.DOWNLOAD),
    ):
        endpoint = _route(answer, has_body=body is not None)
        name = f"lcm {path.rsplit('/', 1)[-1]}"
        app.add_api_route(path, endpoint, methods=[method], name=name, **openapi.documentation(answer, body))
        methods.setdefault(path, []).append(method)
    # the last one: it is asked only for what none of the others takes
    app.add_api_route("/lcm/v1/{rest:path}", _nowhere(methods), methods=ANY_METHOD, include_in_schema=False)


# --- what the routes answer ---------------------------------------------------------------------------------


def status() -> dict[str, Any]:
    """What this WebUI has and what LCM would use for the loaded checkpoint."""
    model = models.loaded()
    use = None if model is None else facts.lora_of(model)
    limits, name = settings.limits(), SAMPLER_LABELS["lcm"]
    return {
        "version": __version__,
        "sampler": {"name": name, "webui_has_its_own": name in samplers.own_samplers()},
        "checkpoint": None if model is None else models.checkpoint_name(model),
        "family": None if model is None else models.family_of(model).name,
        "lora": None if use is None else use.name,
        "lora_reason": None if use is None or use.reason is None else REASONS[use.reason],
        "method": None if use is None or use.method is None else use.method.name,
        "method_known_by": None if use is None or use.known_by is None else HOW_KNOWN[use.known_by],
        "problem": NO_MODEL if use is None else use.problem,
        "limits": {"steps": [limits.min_steps, limits.max_steps], "cfg": [limits.min_cfg, limits.max_cfg]},
        "loras": _few_step_loras(),
    }


def plan(body: dict[str, Any]) -> dict[str, Any]:
    """What a generation with this request would use, and why; nothing is made or loaded."""
    question = plan_question(body, _first_args)
    values = question.values
    values |= prompts.styled(values, list(question.styles))
    values["scheduler"] = samplers.requested_schedule(values["sampler_name"], values["scheduler"])
    try:
        options = facts.asked_options(question.args, values["prompt"])
    except OptionsError as error:
        raise RequestError(422, str(error)) from None
    if not options.enabled:
        return {
            "enabled": False,
            "status": "LCM is off: the WebUI makes this picture as it would without the extension.",
        }
    model = models.loaded()
    if model is None:
        raise RequestError(409, NO_MODEL)
    if not models.is_selected(model, question.checkpoint):
        wanted, loaded = models.selected_name(question.checkpoint), models.checkpoint_name(model)
        raise RequestError(409, OTHER_MODEL.format(wanted=wanted, loaded=loaded))
    made = make_plan(options, question.request, facts.host_facts(model))
    reason = None if made.first.lora is None else made.first.lora.reason
    return {
        "enabled": True,
        "checkpoint": models.checkpoint_name(model),
        **as_dict(made),
        "lora_reason": None if reason is None else REASONS[reason],
    }


def _first_args(is_img2img: bool) -> list[Any]:
    script = scripts.script_of(SCRIPT_TITLE, is_img2img)
    return [] if script is None else script.first_args()


def download_states() -> dict[str, Any]:
    """The published LoRAs for few steps, the LCM-LoRAs first, which of them are here, and how far downloads
    are.
    """
    with loras.library().seen_once():
        there, rows = loras.downloaded(), offered()
        return {"downloads": [_download_state(lora, there) for lora in rows], "licence": rows[0].licence}


def _download_state(lora: PublishedLora, there: Mapping[PublishedLora, LoraFile]) -> dict[str, Any]:
    state = downloads.state(lora)
    is_lcm = lora.method == LCM.name
    file = loras.library().choose(lora.family).file if is_lcm else there.get(lora)
    return {
        "family": lora.family.name,
        "method": lora.method,
        "name": lora.name,
        "url": lora.url,
        "licence": lora.licence,
        "open": lora.is_open,
        "megabytes": lora.megabytes,
        "sha256": list(lora.sha256),
        "installed": None if file is None else file.path.stem,
        "state": state.state,
        "bytes_done": state.done,
        "bytes_total": state.total,
        "problem": state.problem,
    }


def start_download(body: dict[str, Any]) -> dict[str, Any]:
    """Begins to download the LCM-LoRA of {"family": ...} or the LoRA {"name": ...}; asking again while it
    runs changes nothing.
    """
    lora = _wanted(body)
    folders = networks.lora_dirs()
    if not folders:
        raise RequestError(409, "This WebUI has no LoRA folder: create models/Lora, then try again.")
    downloads.start(lora, folders[0], settings.download_mirror())
    return _download_state(lora, loras.downloaded())


def _wanted(body: dict[str, Any]) -> PublishedLora:
    """What a request for a download is for. Raises RequestError 422."""
    unknown = [key for key in body if key not in ("family", "name", "accept_licence")]
    if unknown:
        raise RequestError(
            422,
            f"Key {shown_value(unknown[0])} is unknown; there are 'family', 'name' and 'accept_licence'.",
        )
    if "name" in body:
        if "family" in body:
            raise RequestError(422, "Both 'family' and 'name' are given: leave one of them out.")
        lora = named(body["name"])
        if lora is None:
            value = shown_value(body["name"])
            raise RequestError(
                422, f"'name' is {value}; GET /lcm/v1/download lists the names that there are."
            )
    else:
        of_lcm = {lora.family.name: lora for lora in offered() if lora.method == LCM.name}
        family = body.get("family")
        lora = of_lcm.get(family) if isinstance(family, str) else None
        if lora is None:
            families = ", ".join(f'"{name}"' for name in of_lcm)
            raise RequestError(
                422, f"'family' is {shown_value(family)}; it must be one of {families}, or give 'name'."
            )
    accepts = body.get("accept_licence", False)
    if not isinstance(accepts, bool):
        raise RequestError(422, f"'accept_licence' is {shown_value(accepts)}; it must be true or false.")
    if not (lora.is_open or accepts):
        raise RequestError(
            422,
            f"{lora.name} has the licence {lora.licence}, which does not allow commercial use: read it at"
            f' {lora.url}, then send "accept_licence": true.',
        )
    return lora


def _few_step_loras() -> list[dict[str, Any]]:
    library = loras.library()
    return [
        {
            "name": option_name(file, library),
            "family": file.family.name,
            "method": method.name,
            "method_known_by": HOW_KNOWN[known_by],
        }
        for file, method, known_by in library.few_step_loras()
    ]


# --- HTTP ---------------------------------------------------------------------------------------------------


def _route(answer: Callable[..., dict[str, Any]], has_body: bool):
    """An endpoint: password, body, `answer(body)` or `answer()` in a thread (it may read files), JSON."""

    async def endpoint(request: Request):
        try:
            _check_password(request.headers.get("authorization"))
            args = [read_object(await read_body(request))] if has_body else []
            return reply(await run_in_threadpool(answer, *args))
        except RequestError as error:
            return reply({"detail": error.sentence}, error.status)

    return endpoint


def _nowhere(methods: dict[str, list[str]]):
    """An endpoint for what is no route, or not with this method; `methods` are those of the routes, by
    path.
    """

    async def endpoint(request: Request):
        path = f"/lcm/v1/{request.path_params['rest']}"
        allowed = methods.get(path)
        try:
            _check_password(request.headers.get("authorization"))
        except RequestError as error:
            return reply({"detail": error.sentence}, error.status)
        if allowed is not None:
            sentence = f"{path} does not take {request.method}: use {' or '.join(allowed)}."
            return reply({"detail": sentence}, 405, {"Allow": ", ".join(allowed)})
        if path.rstrip("/") in methods:  # as FastAPI does for what nothing takes
            return RedirectResponse(request.url.replace(path=request.url.path.rstrip("/")))
        there = ", ".join(f"{' and '.join(allowed)} {path}" for path, allowed in methods.items())
        return reply({"detail": f"There is no {shown_value(path)}; there are {there}."}, 404)

    return endpoint


def _check_password(header: str | None) -> None:
    """Raises RequestError 401 unless the Authorization header fits one of the pairs of --api-auth, or there
    are none.
    """
    pairs = server.api_passwords()
    if not pairs:
        return
    scheme, _, encoded = (header or "").partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        given = b""
    # every pair is compared, so that the time taken does not tell which user exists
    if not any(secrets.compare_digest(given, pair.encode()) for pair in pairs):
        raise RequestError(401, "Incorrect username or password.")
