"""What a generation was asked for, read in one way from the page, the API and the processing object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PROMPTS = (("prompt", "negative_prompt"), ("hr_prompt", "hr_negative_prompt"))
"""The prompts of the first and of the hires pass, by the WebUI's names."""


@dataclass(frozen=True)
class PassRequest:
    """What was asked of one sampling pass.

    `strength` is the denoising strength, 1 for a pass that starts from noise; `side` is the picture's longer
    side in pixels, 0 if unknown. The hires pass has the prompts, the sampler and the CFG scale of the first
    one where its own are empty, as in the WebUI, and the loaded checkpoint where `checkpoint` is empty.
    """

    steps: int
    strength: float = 1.0
    side: int = 0
    prompt: str = ""
    negative_prompt: str = ""
    sampler: str | None = None
    cfg: float | None = None
    checkpoint: str | None = None


@dataclass(frozen=True)
class Request:
    """The parts of a generation request that decide something.

    `scheduler` is a schedule picked by hand, None for the sampler's own. `refiner` is a checkpoint, None
    where there is none. `image_cfg` is the image CFG scale, which image-editing checkpoints have in img2img.
    """

    first: PassRequest
    cfg: float
    hires: PassRequest | None = None
    scheduler: str | None = None
    refiner: str | None = None
    image_cfg: float | None = None

    @property
    def prompt(self) -> str:
        """The prompt of the first pass."""
        return self.first.prompt


def read_request(values: Mapping[str, Any], *, is_img2img: bool) -> Request:
    """The request from plain values by the names that the WebUI's API and its processing object give them.

    What is missing, None or an empty field counts as what it does in the WebUI. `scheduler` and the prompts
    are taken as they are: schedules, styles and comments are the host's affair.
    """

    def number(name: str, default: float) -> float:
        value = values.get(name)
        given = math.nan if value is None or value == "" else float(value)
        return default if math.isnan(given) else given  # JSON of a client can hold NaN

    strength = min(number("denoising_strength", 1.0), 1.0)
    width, height = int(number("width", 0)), int(number("height", 0))
    first = PassRequest(
        steps=int(number("steps", 1)),
        strength=strength if is_img2img else 1.0,  # txt2img has one too, that of its hires pass
        side=max(width, height),
        prompt=values.get("prompt") or "",
        negative_prompt=values.get("negative_prompt") or "",
        sampler=values.get("sampler_name"),
    )
    hires = None
    if values.get("enable_hr") and not is_img2img:
        resized = int(number("hr_resize_x", 0)), int(number("hr_resize_y", 0))
        hires = PassRequest(
            steps=int(number("hr_second_pass_steps", 0)),
            strength=strength,
            side=hires_side(width, height, number("hr_scale", 1.0), *resized),
            prompt=values.get("hr_prompt") or "",
            negative_prompt=values.get("hr_negative_prompt") or "",
            sampler=unless_same(values.get("hr_sampler_name")),
            cfg=number("hr_cfg", 0.0) or None,  # of Forge and reForge alone
            checkpoint=unless_same(values.get("hr_checkpoint_name")),
        )
    image_cfg = values.get("image_cfg_scale")
    return Request(
        first,
        cfg=number("cfg_scale", 1.0),
        hires=hires,
        scheduler=values.get("scheduler"),
        refiner=unless_same(values.get("refiner_checkpoint")),
        image_cfg=None if image_cfg is None or image_cfg == "" else float(image_cfg),
    )


def unless_same(value: str | None) -> str | None:
    """A choice of the hires pass or the refiner; None where it stands for that of the first pass."""
    return None if value in (None, "", "None") or str(value).startswith("Use same ") else value


def hires_side(width: int, height: int, scale: float, resize_x: int, resize_y: int) -> int:
    """The longer side in pixels of what the hires pass draws, from the first pass's `width` and `height`.

    Resized to `resize_x` and `resize_y`, of which one may be 0 and then follows from the other, or by `scale`
    where both are 0.
    """
    if resize_x and resize_y:
        return max(resize_x, resize_y)
    if not (width and height):
        return 0
    if resize_x:
        return max(resize_x, resize_x * height // width)
    if resize_y:
        return max(resize_y, resize_y * width // height)
    return int(max(width, height) * scale)
