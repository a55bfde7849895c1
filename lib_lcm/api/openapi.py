"""What the WebUI's /docs and /openapi.json say about the routes under /lcm/v1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lib_lcm.api.messages import MAX_CFG, MAX_HIRES_SCALE, MAX_PROMPT, MAX_SIDE, MAX_STEPS, MAX_STYLES
from lib_lcm.lora.catalog import offered
from lib_lcm.options import OPTIONS

_TEXT = {"type": "string", "maxLength": MAX_PROMPT}
_ARGS = {
    "type": "array",
    "items": {},
    "description": (
        "The arguments of the script: one object with these keys, or the values in this order, where trailing"
        " ones that are left out have the values of the page.\n"
        + "\n".join(f"- `{option.name}`: {option.help}" for option in OPTIONS)
    ),
}

PLAN: dict[str, Any] = {
    "type": "object",
    "description": (
        "A request of /sdapi/v1/txt2img or, with init_images, img2img; fields that decide nothing are not"
        " looked at."
    ),
    "properties": {
        "args": _ARGS,
        "alwayson_scripts": {
            "type": "object",
            "properties": {"LCM": {"type": "object", "properties": {"args": _ARGS}}},
        },
        "prompt": _TEXT,
        "negative_prompt": _TEXT,
        "styles": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_STYLES},
        "width": {"type": "integer", "minimum": 1, "maximum": MAX_SIDE},
        "height": {"type": "integer", "minimum": 1, "maximum": MAX_SIDE},
        "steps": {"type": "integer", "minimum": 1, "maximum": MAX_STEPS},
        "cfg_scale": {"type": "number", "minimum": -MAX_CFG, "maximum": MAX_CFG},
        "image_cfg_scale": {"type": "number", "minimum": -MAX_CFG, "maximum": MAX_CFG},
        "scheduler": _TEXT,
        "denoising_strength": {"type": "number", "minimum": 0, "maximum": 1},
        "enable_hr": {"type": "boolean"},
        "hr_second_pass_steps": {"type": "integer", "minimum": 0, "maximum": MAX_STEPS},
        "hr_scale": {"type": "number", "minimum": 0, "maximum": MAX_HIRES_SCALE},
        "hr_resize_x": {"type": "integer", "minimum": 0, "maximum": MAX_SIDE},
        "hr_resize_y": {"type": "integer", "minimum": 0, "maximum": MAX_SIDE},
        "refiner_checkpoint": _TEXT,
        "override_settings": {"type": "object", "properties": {"sd_model_checkpoint": _TEXT}},
        "init_images": {"type": "array", "items": {}},
    },
    "example": {"prompt": "a fox in the snow", "steps": 20, "args": [{"enabled": True}]},
}
DOWNLOAD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "family": {
            "type": "string",
            "enum": [lora.family.name for lora in offered() if lora.method == "lcm"],
            "description": "A family of checkpoints, for its LCM-LoRA.",
        },
        "name": {
            "type": "string",
            "enum": [lora.name for lora in offered()],
            "description": "Any of the LoRAs that GET lists.",
        },
        "accept_licence": {
            "type": "boolean",
            "description": "Needed for those that are not `open`: no commercial use.",
        },
    },
    "oneOf": [{"required": ["family"]}, {"required": ["name"]}],
    "additionalProperties": False,
    "example": {"name": "hyper_sdxl_unified"},
}

_SENTENCE = {
    "application/json": {
        "schema": {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    }
}
_ANY_METHOD = {401: "The password of --api-auth is missing or wrong."}
_WITH_BODY = {
    400: "The body is not JSON.",
    409: (
        "Not now: no checkpoint is loaded, or not the one that the request is for, or there is no LoRA"
        " folder."
    ),
    413: "The body is too large.",
    415: "The body's Content-Type is not application/json.",
    422: "A value cannot be used; the sentence names it.",
}


def documentation(answer: Callable[..., Any], body: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments for `add_api_route`. `body` is the JSON schema of the request's body, None where there is
    none.
    """
    failures = _ANY_METHOD if body is None else {**_ANY_METHOD, **_WITH_BODY}
    extra = (
        None
        if body is None
        else {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}
    )
    return {
        "responses": {
            status: {"description": text, "content": _SENTENCE} for status, text in failures.items()
        },
        "description": (answer.__doc__ or "").strip(),
        "tags": ["LCM"],
        "openapi_extra": extra,
    }
