"""Shapes of the API's requests and answers. The requests for generations follow the processing classes'
fields.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import BaseModel, Field, create_model

from modules.processing import StableDiffusionProcessingImg2Img, StableDiffusionProcessingTxt2Img

_COMMON = {
    "sampler_index": (str | None, "Euler"),
    "script_name": (str | None, None),
    "script_args": (list, []),
    "send_images": (bool, True),
    "save_images": (bool, False),
    "alwayson_scripts": (dict[str, Any], {}),
    "infotext": (str | None, None),
}
_IMG2IMG = {
    "init_images": (list | None, None),
    "mask": (str | None, None),
    "include_init_images": (bool, False),
    "denoising_strength": (float, 0.75),
}
_NOT_IN_REQUESTS = {
    "sd_model", "outpath_samples", "outpath_grids", "sampler_index", "overlay_images",
    "extra_generation_params", "prompt_for_display",
    "do_not_reload_embeddings", "seed_enable_extras", "ddim_discretize",
}  # fmt: skip


def _request_model(name, processing_class, extra):
    fields = {}
    for field in dataclasses.fields(processing_class):
        if not field.init or field.name in _NOT_IN_REQUESTS:
            continue
        default = field.default
        kind = type(default) if type(default) in (int, float, bool, str) else Any
        if kind is int and field.type == "float":
            kind = float
        fields[field.name] = (kind | None if kind is not Any else Any, default if kind is not Any else None)
    fields["seed_enable_extras"] = (bool, True)
    fields.update(_COMMON)
    fields.update(extra)
    return create_model(name, **fields)


StableDiffusionTxt2ImgProcessingAPI = _request_model(
    "StableDiffusionProcessingTxt2Img", StableDiffusionProcessingTxt2Img, {}
)
StableDiffusionImg2ImgProcessingAPI = _request_model(
    "StableDiffusionProcessingImg2Img", StableDiffusionProcessingImg2Img, _IMG2IMG
)


class GenerationResponse(BaseModel):
    images: list[str] | None = Field(default=None, title="Image", description="The images in base64")
    parameters: dict
    info: str


class PNGInfoRequest(BaseModel):
    image: str


class PNGInfoResponse(BaseModel):
    info: str
    items: dict
    parameters: dict


class ProgressResponse(BaseModel):
    progress: float
    eta_relative: float
    state: dict
    current_image: str | None = None
    textinfo: str | None = None
    current_task: str | None = None


class ScriptArg(BaseModel):
    label: str | None = None
    value: Any = None
    minimum: Any = None
    maximum: Any = None
    step: Any = None
    choices: list[str] | None = None


class ScriptInfo(BaseModel):
    name: str | None = None
    is_alwayson: bool | None = None
    is_img2img: bool | None = None
    args: list[ScriptArg]


class ScriptsList(BaseModel):
    txt2img: list
    img2img: list


def describe_arg(control) -> ScriptArg:
    """A gradio component as the API describes it."""
    choices = getattr(control, "choices", None)
    limits = {name: getattr(control, name, None) for name in ("value", "minimum", "maximum", "step")}
    names = (
        None
        if choices is None
        else [choice[0] if isinstance(choice, tuple) else choice for choice in choices]
    )
    return ScriptArg(label=getattr(control, "label", None) or "", choices=names, **limits)
