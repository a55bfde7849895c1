"""Reading infotexts, and putting what they say into the page.

Before A1111 1.8 this module was called `generation_parameters_copypaste`; that name goes on working.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path

import gradio as gr
from PIL import Image

from modules import errors, images, script_callbacks, shared
from modules.paths import data_path
from workbench.webui import profiles

sys.modules["modules.generation_parameters_copypaste"] = sys.modules[__name__]

re_param = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
re_imagesize = re.compile(r"^(\d+)x(\d+)$")
type_of_gr_update = type(gr.update())
PARAMETERS_BEFORE_IT_IS_ONE = 3
"""A last line with fewer parameters than this belongs to the prompt."""

DEFAULTS_WHEN_MISSING = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": profiles.active.schedule_of_infotexts,
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "Refiner switch by sampling steps": False,
}
"""What an infotext means by not mentioning it."""


class ParamBinding:
    """A button that fills in a tab, from a text, an image or another tab."""

    def __init__(
        self, paste_button, tabname, source_text_component=None, source_image_component=None,
        source_tabname=None,
        override_settings_component=None, paste_field_names=None,
    ):  # fmt: skip
        self.paste_button = paste_button
        self.tabname = tabname
        self.source_text_component = source_text_component
        self.source_image_component = source_image_component
        self.source_tabname = source_tabname
        self.override_settings_component = override_settings_component
        self.paste_field_names = paste_field_names or []


class PasteField(tuple):
    """(component, infotext key or function of all parameters); `api` is the name of the API's field."""

    def __new__(cls, component, target, *, api=None):
        return super().__new__(cls, (component, target))

    def __init__(self, component, target, *, api=None):
        self.api = api
        self.component = component
        self.label = target if isinstance(target, str) else None
        self.function = target if callable(target) else None


paste_fields: dict[str, dict] = {}
registered_param_bindings: list[ParamBinding] = []
infotext_to_setting_name_mapping: list[tuple[str, str]] = []


def reset():
    paste_fields.clear()
    registered_param_bindings.clear()


def quote(text):
    """The text in JSON quotes if it holds a character that ends a parameter."""
    return json.dumps(text, ensure_ascii=False) if any(char in str(text) for char in ",\n:") else text


def unquote(text):
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_generation_parameters(x: str, skip_fields: list[str] | None = None) -> dict:
    """An infotext as a dictionary: "Prompt", "Negative prompt", and every parameter of its last line.

    "Size: 64x32" becomes "Size-1" and "Size-2". Keys of DEFAULTS_WHEN_MISSING are always there.
    """
    *lines, last = x.strip().split("\n")
    if len(re_param.findall(last)) < PARAMETERS_BEFORE_IT_IS_ONE:
        lines, last = [*lines, last], ""
    texts = {"Prompt": [], "Negative prompt": []}
    current = "Prompt"
    for line in lines:
        line = line.strip()
        if line.startswith("Negative prompt:"):
            current = "Negative prompt"
            line = line.removeprefix("Negative prompt:").strip()
        texts[current].append(line)
    params: dict = {}
    for key, value in re_param.findall(last):
        value = unquote(value)
        size = re_imagesize.match(value) if isinstance(value, str) else None
        if size:
            params[f"{key}-1"], params[f"{key}-2"] = size.groups()
        else:
            params[key] = value
    params.update({key: "\n".join(lines).strip("\n") for key, lines in texts.items()})
    for key, value in DEFAULTS_WHEN_MISSING.items():
        params.setdefault(key, value)
    for key in shared.opts.infotext_skip_pasting if skip_fields is None else skip_fields:
        params.pop(key, None)
    if profiles.active.checkpoint_in_infotexts == "Model" and params.get("Model", "") in (
        shared.opts.sd_model_checkpoint or ""
    ):
        params.pop("Model", None)
    return params


def _settings_in_infotexts():
    return [
        (option.infotext, key) for key, option in shared.opts.data_labels.items() if option.infotext
    ] + infotext_to_setting_name_mapping


def create_override_settings_dict(text_pairs):
    """{"CLIP_stop_at_last_layers": 2} for ["Clip skip: 2"]."""
    values = {key: value.strip() for key, _, value in (pair.partition(":") for pair in text_pairs)}
    return {
        setting: shared.opts.cast_value(setting, values[key])
        for key, setting in _settings_in_infotexts()
        if key in values
    }


def get_override_settings(params, *, skip_fields=None):
    """[(infotext key, setting, value)] for every setting that an infotext mentions and that is different
    now.
    """
    found = []
    for key, setting in _settings_in_infotexts():
        if key in (skip_fields or {}) or params.get(key) is None:
            continue
        if setting == "sd_model_checkpoint" and shared.opts.disable_weights_auto_swap:
            continue
        value = shared.opts.cast_value(setting, params[key])
        if value != getattr(shared.opts, setting, None):
            found.append((key, setting, value))
    return found


def image_from_url_text(filedata):
    """The image that gradio means: a gallery item, a file name or a data URL."""
    if isinstance(filedata, list):
        filedata = filedata[0] if filedata else None
    if filedata is None or isinstance(filedata, Image.Image):
        return filedata
    if isinstance(filedata, dict):
        return images.read(filedata["name"].rsplit("?", 1)[0])
    return images.read(io.BytesIO(base64.b64decode(filedata.partition("base64,")[2] or filedata)))


def add_paste_fields(tabname, init_img, fields, override_settings_component=None):
    """Say which components of a tab an infotext fills in: pairs (component, key or function), or
    PasteField.
    """
    for i, entry in enumerate(fields or []):
        if not isinstance(entry, PasteField):
            fields[i] = PasteField(*entry)
    paste_fields[tabname] = {
        "init_img": init_img,
        "fields": fields,
        "override_settings_component": override_settings_component,
    }


def create_buttons(tabs_list):
    return {tab: gr.Button(f"Send to {tab}", elem_id=f"{tab}_tab") for tab in tabs_list}


def bind_buttons(buttons, send_image, send_generate_info):
    for tabname, button in buttons.items():
        is_component = isinstance(send_generate_info, gr.components.Component)
        register_paste_params_button(
            ParamBinding(
                paste_button=button,
                tabname=tabname,
                source_text_component=send_generate_info if is_component else None,
                source_tabname=None if is_component else send_generate_info,
                source_image_component=send_image,
            )
        )


def register_paste_params_button(binding: ParamBinding):
    registered_param_bindings.append(binding)


def connect_paste_params_buttons():
    """Once all tabs exist: make the registered buttons work."""
    for binding in registered_param_bindings:
        tab = paste_fields[binding.tabname]
        fields = tab["fields"]
        if binding.source_image_component is not None and tab["init_img"] is not None:
            is_gallery = isinstance(binding.source_image_component, gr.Gallery)
            binding.paste_button.click(
                fn=image_from_url_text if is_gallery else lambda image: image,
                _js="extract_image_from_gallery" if is_gallery else None,
                inputs=[binding.source_image_component],
                outputs=[tab["init_img"]],
                show_progress=False,
            )
        if binding.source_text_component is not None and fields is not None:
            override = binding.override_settings_component or tab["override_settings_component"]
            connect_paste(
                binding.paste_button, fields, binding.source_text_component, override, binding.tabname
            )
        if binding.source_tabname is not None and fields is not None:
            names = {"Prompt", "Negative prompt", "Steps", *binding.paste_field_names}
            if shared.opts.send_seed:
                names.add("Seed")
            source_fields = {
                name: field for field, name in paste_fields[binding.source_tabname]["fields"] if name in names
            }
            target_fields = {name: field for field, name in fields if name in source_fields}
            binding.paste_button.click(
                fn=lambda *values: values if len(values) > 1 else values[0],
                inputs=[source_fields[name] for name in target_fields],
                outputs=list(target_fields.values()),
                show_progress=False,
            )
        binding.paste_button.click(
            fn=None, _js=f"switch_to_{binding.tabname}", inputs=None, outputs=None, show_progress=False
        )


def _update_for(component, target, params):
    """The gradio update of one component for an infotext."""
    value = target(params) if callable(target) else params.get(target)
    if value is None:
        return gr.update()
    if isinstance(value, type_of_gr_update):
        return value
    kind = type(component.value)
    if kind is bool and value == "False":
        return gr.update(value=False)
    return gr.update(value=float(value) if kind is int else kind(value))


def connect_paste(button, paste_fields, input_comp, override_settings_component, tabname):
    """Make a button fill in components from the infotext in `input_comp`; the last generation's if that is
    empty.
    """

    def paste(text):
        if not text:
            last = Path(data_path) / "params.txt"
            text = last.read_text(encoding="utf-8") if last.exists() else ""
        params = parse_generation_parameters(text)
        script_callbacks.infotext_pasted_callback(text, params)
        updates = []
        for component, target in fields:
            try:
                updates.append(_update_for(component, target, params))
            except Exception:
                errors.report(f"Error pasting {target}", exc_info=True)
                updates.append(gr.update())
        return updates

    fields = list(paste_fields)
    if override_settings_component is not None:
        handled = {target for _, target in paste_fields}

        def override_settings(params):
            pairs = [
                f"{key}: {value}" for key, _, value in get_override_settings(params, skip_fields=handled)
            ]
            return gr.Dropdown.update(value=pairs, choices=pairs, visible=bool(pairs))

        fields.append((override_settings_component, override_settings))
    button.click(
        fn=paste, inputs=[input_comp], outputs=[component for component, _ in fields], show_progress=False
    )
