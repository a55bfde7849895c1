"""What the routes under /lcm/v1 read and write: requests taken apart by hand, so that whatever is wrong with
one gets a sentence, and answers that name no folder of the machine.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lib_lcm.options import shown_value
from lib_lcm.plan.request import Request, read_request

MAX_DEPTH = 32
MAX_PROMPT = 20_000
"""Characters: a tag that no file has the name of makes the LoRA folder be looked at again, and a million of
them would take minutes.
"""

# Defaults of the WebUI's own API for fields that a request leaves out.
DEFAULT_STEPS = 50
DEFAULT_CFG = 7.0
DEFAULT_IMG2IMG_STRENGTH = 0.75
DEFAULT_SIDE = 512
DEFAULT_HIRES_SCALE = 2.0

MAX_STEPS = 10_000
MAX_CFG = 1_000.0
MAX_SIDE = 100_000
MAX_HIRES_SCALE = 100.0
MAX_STYLES = 100


class RequestError(Exception):
    """A request that cannot be answered: an HTTP status of 400 to 499 and one sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises RequestError 400 for what is not JSON, 422 for JSON that is not an
    object.
    """
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # not JSON, not text, or a whole number of thousands of digits
        raise RequestError(400, f"The request's body is not JSON: {_first_line(error)}.") from None
    if not isinstance(value, dict):
        raise RequestError(422, f"The request's body is {shown_value(value)}; it must be a JSON object.")
    _check_depth(value)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200].rstrip(".") if lines else type(error).__name__


def _too_deep() -> RequestError:
    return RequestError(422, f"The request's JSON is nested too deeply: at most {MAX_DEPTH} levels are read.")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
        ]
        level = [item for item in level if isinstance(item, (dict, list))]
        if not level:
            return
    raise _too_deep()


# --- POST /lcm/v1/plan --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlanQuestion:
    """What a dry run is asked about: the script's arguments, complete, and the fields of the request around
    them.

    `styles` are names of saved styles, which are not in the prompts yet; `checkpoint` is the one that
    `override_settings` ask for; `values["sampler_name"]` may name a schedule in its end.
    """

    args: list[Any]
    values: dict[str, Any]
    is_img2img: bool
    styles: tuple[str, ...] = ()
    checkpoint: str | None = None

    @property
    def request(self) -> Request:
        """The request as it stands, without its styles."""
        return read_request(self.values, is_img2img=self.is_img2img)


def plan_question(body: Mapping[str, Any], first_args: Callable[[bool], Sequence[Any]]) -> PlanQuestion:
    """Reads the body of a txt2img or img2img request; with "init_images" it is img2img. Fields that decide
    nothing are not looked at.

    The script's arguments stand where the WebUI has them, in `alwayson_scripts`, or for short in `args`.
    `first_args(is_img2img)` are what the WebUI fills up with where a request leaves some out. Raises
    RequestError 422.
    """
    if body.get("infotext"):
        raise RequestError(
            422,
            "'infotext' is not read here: send the fields that it stands for, prompt, steps and the others.",
        )
    is_img2img = body.get("init_images") is not None
    strength = DEFAULT_IMG2IMG_STRENGTH if is_img2img else None
    names = (
        "prompt",
        "negative_prompt",
        "hr_prompt",
        "hr_negative_prompt",
        "scheduler",
        "refiner_checkpoint",
    )
    values: dict[str, Any] = {name: _text(body, name) for name in (*names, "hr_checkpoint_name")}
    values |= {
        "sampler_name": _text(body, "sampler_name") or _text(body, "sampler_index"),
        "steps": _whole(body, "steps", DEFAULT_STEPS, 1, MAX_STEPS),
        "cfg_scale": _number(body, "cfg_scale", DEFAULT_CFG, -MAX_CFG, MAX_CFG),
        "image_cfg_scale": _number(body, "image_cfg_scale", None, -MAX_CFG, MAX_CFG) if is_img2img else None,
        "denoising_strength": _number(body, "denoising_strength", strength, 0.0, 1.0),
        "width": _whole(body, "width", DEFAULT_SIDE, 1, MAX_SIDE),
        "height": _whole(body, "height", DEFAULT_SIDE, 1, MAX_SIDE),
        "enable_hr": _boolean(body, "enable_hr"),
        "hr_second_pass_steps": _whole(body, "hr_second_pass_steps", 0, 0, MAX_STEPS),
        "hr_scale": _number(body, "hr_scale", DEFAULT_HIRES_SCALE, 0.0, MAX_HIRES_SCALE),
        "hr_resize_x": _whole(body, "hr_resize_x", 0, 0, MAX_SIDE),
        "hr_resize_y": _whole(body, "hr_resize_y", 0, 0, MAX_SIDE),
    }
    args = _script_args(body)
    args = [*args, *list(first_args(is_img2img))[len(args) :]]
    return PlanQuestion(args, values, is_img2img, _styles(body), _checkpoint(body))


def _styles(body: Mapping[str, Any]) -> tuple[str, ...]:
    styles = body.get("styles") or []
    if (
        not isinstance(styles, list)
        or len(styles) > MAX_STYLES
        or not all(isinstance(name, str) for name in styles)
    ):
        raise _wrong("styles", styles, f"a list of at most {MAX_STYLES} names of styles")
    return tuple(styles)


def _checkpoint(body: Mapping[str, Any]) -> str | None:
    settings = body.get("override_settings") or {}
    if not isinstance(settings, dict):
        raise _wrong("override_settings", settings, "an object with a key for each setting")
    return _text(settings, "sd_model_checkpoint")


def _script_args(body: Mapping[str, Any]) -> list[Any]:
    args, where = body.get("args"), "args"
    if args is None:
        scripts = body.get("alwayson_scripts") or {}
        if not isinstance(scripts, dict):
            raise _wrong("alwayson_scripts", scripts, "an object with a key for each script")
        script: Any = next((value for name, value in scripts.items() if name.lower() == "lcm"), {})
        if not isinstance(script, dict):
            raise _wrong("alwayson_scripts.LCM", script, 'an object with the key "args"')
        args, where = script.get("args", []), "alwayson_scripts.LCM.args"
    if not isinstance(args, list):
        raise _wrong(where, args, "a list: the options in order, or one object")
    return args


def _wrong(name: str, value: Any, wanted: str) -> RequestError:
    return RequestError(422, f"'{name}' is {shown_value(value)}; it must be {wanted}.")


def _number(body: Mapping[str, Any], name: str, default: Any, minimum: float, maximum: float) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not minimum <= value <= maximum:
        raise _wrong(name, value, f"a number from {minimum:g} to {maximum:g}")
    return float(value)


def _whole(body: Mapping[str, Any], name: str, default: int, minimum: int, maximum: int) -> int:
    value = _number(body, name, default, minimum, maximum)
    if value != int(value):
        raise _wrong(name, value, f"a whole number from {minimum} to {maximum}")
    return int(value)


def _boolean(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return bool(value)


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > MAX_PROMPT):
        raise _wrong(name, value, f"a text of at most {MAX_PROMPT} characters")
    return value


# --- answers ------------------------------------------------------------------------------------------------


def without_folders(content: Any, lora_dirs: Sequence[Path], others: Sequence[Path] = ()) -> Any:
    """`content` (plain JSON) with every path in its texts cut to what is inside the LoRA folder.

    "/home/me/webui/models/Lora/a.safetensors" becomes "Lora/a.safetensors"; of `others`, such as the home
    folder, the name goes too.
    """
    cuts = {form: folder.name for folder in lora_dirs for form in _forms(folder)}
    cuts |= {form: "..." for folder in others for form in _forms(folder) if form not in cuts}
    # the longest first: one may be the beginning of another
    ordered = [(_as_whole_path(form), cuts[form]) for form in sorted(cuts, key=len, reverse=True)]

    def cut(value: Any) -> Any:
        if isinstance(value, str):
            for path, name in ordered:
                value = path.sub(name.replace("\\", r"\\"), value)
            return value
        if isinstance(value, dict):
            return {key: cut(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [cut(item) for item in value]
        return value

    return cut(content)


def _as_whole_path(form: str) -> re.Pattern[str]:
    """Finds a folder where a path begins with it or is it: "/sd" in "/sd/models", "file:///sd/x" and "in
    /sd.", not in "lcm/sdxl".
    """
    return re.compile(r"(?<![\w.-])" + re.escape(form) + r"(?=[/\\]|\.?(?:[^\w.-]|$))")


def _forms(folder: Path) -> set[str]:
    """How a folder may be written: as given, absolute, without links; with Windows' backslashes doubled, as
    `repr` has them.
    """
    paths = {str(folder), os.path.abspath(folder), os.path.realpath(folder)}
    # never "/" or "C:\"
    paths = {path for path in paths if len(Path(path).parts) > 1 and os.path.isabs(path)}
    return (
        paths | {path.replace("\\", "\\\\") for path in paths} | {path.replace("\\", "/") for path in paths}
    )
