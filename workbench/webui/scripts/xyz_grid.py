"""The script "X/Y/Z plot": one picture for each combination of values. Extensions append to
`axis_options`.
"""

import csv
import re
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from io import StringIO
from typing import Any

import gradio as gr

from modules import images, processing, scripts, sd_models, sd_samplers, shared
from workbench.webui import profiles

RANGE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*-\s*(-?\d+(?:\.\d+)?)\s*(?:\(\s*\+?(-?\d+(?:\.\d+)?)\s*\))?\s*")
"""`1-5` or `1-5 (+2)`"""


def format_value_add_label(p, opt, x):
    return f"{opt.label}: {round(x, 8) if isinstance(x, float) else x}"


def format_value(p, opt, x):
    return round(x, 8) if isinstance(x, float) else x


def format_nothing(p, opt, x):
    return ""


def do_nothing(p, x, xs):
    """The axis changes nothing."""


def apply_field(field):
    def apply(p, x, xs):
        setattr(p, field, x)

    return apply


def apply_override(field, boolean: bool = False):
    def apply(p, x, xs):
        p.override_settings[field] = x.lower() == "true" if boolean else x

    return apply


def apply_prompt(p, x, xs):
    """Replace the first value of the axis, wherever it stands in the prompts, by this one."""
    if xs[0] not in p.prompt and xs[0] not in p.negative_prompt:
        raise RuntimeError(f"Prompt S/R did not find {xs[0]} in prompt or negative prompt.")
    p.prompt = p.prompt.replace(xs[0], x)
    p.negative_prompt = p.negative_prompt.replace(xs[0], x)


def confirm_samplers(p, xs):
    for x in xs:
        if x.lower() not in sd_samplers.samplers_map:
            raise RuntimeError(f"Unknown sampler: {x}")


def confirm_checkpoints(p, xs):
    for x in xs:
        if sd_models.get_closet_checkpoint_match(x) is None:
            raise RuntimeError(f"Unknown checkpoint: {x}")


def apply_checkpoint(p, x, xs):
    p.override_settings["sd_model_checkpoint"] = sd_models.get_closet_checkpoint_match(x).name


@dataclass
class AxisOption:
    """A thing to vary: `apply(p, value, all values)` puts a value of that type into effect."""

    label: str
    type: Callable
    apply: Callable
    format_value: Callable = format_value_add_label
    confirm: Callable | None = None
    cost: float = 0.0
    choices: Callable | None = None
    prepare: Callable | None = None


class AxisOptionImg2Img(AxisOption):
    is_img2img = True


class AxisOptionTxt2Img(AxisOption):
    is_img2img = False


def _sampler_names():
    return sd_samplers.visible_sampler_names()


axis_options: list[AxisOption] = [
    AxisOption("Nothing", str, do_nothing, format_value=format_nothing),
    AxisOption("Seed", int, apply_field("seed")),
    AxisOption("Var. seed", int, apply_field("subseed")),
    AxisOption("Var. strength", float, apply_field("subseed_strength")),
    AxisOption("Steps", int, apply_field("steps")),
    AxisOptionTxt2Img("Hires steps", int, apply_field("hr_second_pass_steps")),
    AxisOption("CFG Scale", float, apply_field("cfg_scale")),
    AxisOption("Prompt S/R", str, apply_prompt, format_value=format_value),
    AxisOption("Sampler", str, apply_field("sampler_name"), format_value=format_value,
    confirm=confirm_samplers, choices=_sampler_names),
    AxisOption(
        "Checkpoint name", str, apply_checkpoint, format_value=format_value, confirm=confirm_checkpoints,
        cost=1.0,
        choices=sd_models.checkpoint_tiles,
    ),
    AxisOption("Denoising", float, apply_field("denoising_strength")),
]  # fmt: skip
if profiles.active.schedulers:
    from modules import sd_schedulers

    axis_options.append(
        AxisOption(
            "Schedule type",
            str,
            apply_field("scheduler"),
            choices=lambda: [scheduler.label for scheduler in sd_schedulers.schedulers],
        )
    )


def _numbers(text: str, kind) -> list:
    """A value, or the values of a range."""
    found = RANGE.fullmatch(text) if kind in (int, float) else None
    if found is None:
        return [kind(text)]
    start, end, step = (kind(float(value or 1)) for value in found.groups())
    values = []
    while (start <= end) if step > 0 else (start >= end):
        values.append(start)
        start += step
    return values


def axis_values(option: AxisOption, text: str, chosen: list | None) -> list:
    """The values that a user has typed or chosen for an axis."""
    if option.label == "Nothing":
        return [0]
    if option.choices is not None and chosen:
        texts = chosen
    else:
        texts = [
            value.strip() for row in csv.reader(StringIO(text or ""), skipinitialspace=True) for value in row
        ]
    return [value for item in texts for value in _numbers(item, option.type)]


class Script(scripts.Script):
    def title(self):
        return "X/Y/Z plot"

    def ui(self, is_img2img):
        self.current_axis_options = [
            option for option in axis_options if getattr(option, "is_img2img", is_img2img) == is_img2img
        ]
        labels = [option.label for option in self.current_axis_options]
        components = []
        for axis, first in (("x", "Seed"), ("y", "Nothing"), ("z", "Nothing")):
            with gr.Row():
                name = axis.upper()
                components += [
                    gr.Dropdown(
                        label=f"{name} type",
                        choices=labels,
                        value=first,
                        type="index",
                        elem_id=self.elem_id(f"{axis}_type"),
                    ),
                    gr.Textbox(label=f"{name} values", lines=1, elem_id=self.elem_id(f"{axis}_values")),
                    gr.Dropdown(label=f"{name} values", visible=False, multiselect=True, choices=[]),
                ]
        boxes = (
            ("Draw legend", True), ("Include Sub Images", False), ("Include Sub Grids", False),
            ("Keep -1 for seeds", False),
            ("Vary seeds for X", False), ("Vary seeds for Y", False), ("Vary seeds for Z", False),
        )  # fmt: skip
        with gr.Row():
            components += [gr.Checkbox(label=label, value=value) for label, value in boxes]
            components.append(gr.Slider(label="Grid margins (px)", minimum=0, maximum=500, value=0, step=2))
            components.append(gr.Checkbox(label="Use text inputs instead of dropdowns", value=False))
        return components

    def run(self, p, *args: Any):
        """args: type, values and chosen values of each axis, then the boxes of `ui`."""
        options = [self.current_axis_options[args[i] or 0] for i in (0, 3, 6)]
        all_values = [
            axis_values(option, args[3 * i + 1], args[3 * i + 2]) for i, option in enumerate(options)
        ]
        include_lone_images, no_fixed_seeds = args[10], args[12]
        if not no_fixed_seeds:
            processing.fix_seed(p)
        for option, values in zip(options, all_values, strict=True):
            if option.confirm is not None:
                option.confirm(p, values)

        cells, result = [], None
        xs, ys, zs = all_values
        for combination in ((x, y, z) for z in zs for y in ys for x in xs):
            if shared.state.interrupted:
                break
            # shallow, as in the WebUI: cells share override_settings and extra_generation_params
            cell = copy(p)
            cell.do_not_save_grid = True
            for option, value, values in zip(options, combination, all_values, strict=True):
                option.apply(cell, value, values)
            processed = processing.process_images(cell)
            result = result or processed
            cells.append(
                (
                    processed.images[0],
                    processed.infotexts[0],
                    [o.format_value(p, o, v) for o, v in zip(options, combination, strict=True)],
                )
            )
        if not cells:
            return processing.Processed(p, [])
        grid = images.image_grid([image for image, _, _ in cells], rows=len(ys) * len(zs))
        lone = cells if include_lone_images else []
        result.images = [grid, *(image for image, _, _ in lone)]
        result.infotexts = [cells[0][1], *(text for _, text, _ in lone)]
        result.info = result.infotexts[0]
        result.index_of_first_image = 1
        legend = "; ".join(", ".join(str(label) for label in labels if label) for _, _, labels in cells)
        result.comments += f"X/Y/Z plot: {legend}\n"
        return result
