"""The LCM accordion on the txt2img and img2img tabs."""

from __future__ import annotations

import html

import gradio as gr

from lib_lcm.catalog import LICENCE, OfficialLora, official_lora
from lib_lcm.download import DownloadError, download_lora
from lib_lcm.infotext import AUTO_LABEL
from lib_lcm.options import MAX_WEIGHT, MIN_WEIGHT, OPTIONS, SCHEDULE_LABELS, TRAILING, OptionsError, options_from_args
from lib_lcm.plan import PassRequest, Request, make_plan
from lib_lcm.webui import host, infotext, networks, settings
from lib_lcm.webui.generation import host_facts
from modules import ui_components

DEFAULT_STEPS = 4
DEFAULT_CFG = 1.0
REFRESH_SYMBOL = "\U0001f504"
REFRESH_HELP = "Look for LoRA files again, and ask anew what a generation will do."
TEXT = {option.name: option for option in OPTIONS}


class RestoredField(str):
    """The name of a control in the WebUI's paste fields, and what reads it from pasted generation parameters.

    A string, so that "Send to img2img" finds the control of the same name on the other tab; callable, so that pasting asks `read`.
    """

    def __new__(cls, name: str, read):
        field = super().__new__(cls, name)
        field.read = read
        return field

    def __call__(self, pasted):
        return self.read(pasted)  # None leaves the control as it is, on the page and over the API


class Accordion:
    """The controls of one tab, in the order of OPTIONS."""

    def __init__(self, elem_id, strength: gr.components.Component | None):
        """`elem_id` makes an element id from a short name; `strength` is the tab's denoising strength, None on txt2img."""
        limits = settings.limits()
        with ui_components.InputAccordion(False, label=TEXT["enabled"].label, elem_id=elem_id("enabled")) as enabled:
            status = gr.HTML(status_html(1.0, DEFAULT_STEPS, DEFAULT_CFG, AUTO_LABEL, TRAILING), elem_id=elem_id("status"))
            with ui_components.FormRow():
                first, last = limits.min_steps, limits.max_steps
                steps = gr.Slider(
                    first, last, _within(DEFAULT_STEPS, first, last), step=1, label=TEXT["steps"].label, elem_id=elem_id("steps")
                )
                low, high = limits.min_cfg, limits.max_cfg
                cfg = gr.Slider(low, high, _within(DEFAULT_CFG, low, high), step=0.1, label=TEXT["cfg"].label, elem_id=elem_id("cfg"))
            with ui_components.FormRow():
                weight = gr.Slider(MIN_WEIGHT, MAX_WEIGHT, 1.0, step=0.05, label=TEXT["weight"].label, elem_id=elem_id("weight"))
                lora = gr.Dropdown(
                    networks.lora_choices(),
                    value=AUTO_LABEL,
                    allow_custom_value=True,
                    label=TEXT["lora"].label,
                    elem_id=elem_id("lora"),
                )
                refresh = ui_components.ToolButton(value=REFRESH_SYMBOL, elem_id=elem_id("refresh"))
            download = gr.Button(visible=False, elem_id=elem_id("download"))
            schedule = gr.Radio(
                list(SCHEDULE_LABELS.values()),
                value=SCHEDULE_LABELS[TRAILING],
                label=TEXT["schedule"].label,
                elem_id=elem_id("schedule"),
            )
        host.set_tooltip(refresh, REFRESH_HELP)
        self.controls = [enabled, weight, steps, cfg, lora, schedule]
        for control, option in zip(self.controls, OPTIONS, strict=True):
            host.set_tooltip(control, option.help)
        fields = [RestoredField(f"LCM {option.name}", infotext.RESTORE[option.name]) for option in OPTIONS]
        self.infotext_fields = list(zip(self.controls, fields, strict=True))
        self.paste_field_names = [str(field) for field in fields]

        inputs = [weight, steps, cfg, lora, schedule] if strength is None else [weight, steps, cfg, lora, schedule, strength]
        for control in inputs:
            control.change(shown, inputs=inputs, outputs=[status, download], show_progress=False)
        refresh.click(refreshed, inputs=inputs, outputs=[status, download, lora], show_progress=False)
        download.click(downloaded, inputs=inputs, outputs=[status, download, lora])


def shown(*values):
    """What depends on the settings: the status line and the download button."""
    return gr.update(value=status_html(*values)), _download_button()


def refreshed(*values):
    """The same, and the LoRA drop-down's choices."""
    return *shown(*values), gr.update(choices=networks.lora_choices())


def downloaded(*values, progress=gr.Progress()):  # noqa: B008 (gradio recognises the default)
    """Gets the official LCM-LoRA that the loaded checkpoint lacks; a failure is told in the status line."""
    lora = missing_lora()
    if lora is None:
        return refreshed(*values)
    try:
        download_lora(lora, host.lora_dirs()[0], progress=lambda done, total: progress(done / total, desc=f"Downloading {lora.name}"))
    except DownloadError as error:
        return _status_line(str(error)), _download_button(), gr.update()
    return refreshed(*values)


def missing_lora() -> OfficialLora | None:
    """The official LCM-LoRA for the loaded checkpoint's family where the LoRA folder has none that serves it."""
    model = host.loaded_model()
    lora = None if model is None else official_lora(host.model_family(model))
    return lora if lora is not None and networks.library().choose(lora.family).file is None and host.lora_dirs() else None


def _download_button():
    lora = missing_lora()
    if lora is None:
        return gr.update(visible=False)
    return gr.update(visible=True, value=f"Download {lora.name} ({lora.size / 1e6:.0f} MB, licence {LICENCE})")


def status_html(weight, steps, cfg, lora, schedule, strength: float = 1.0) -> str:
    """The status line: what a generation with these settings will do. `strength` is the denoising strength, on img2img."""
    model = host.loaded_model()
    if model is None:
        # javascript/lcm.js asks again while it sees this attribute
        return _status_line("No checkpoint is loaded yet; the LCM-LoRA is chosen when the generation starts.", " data-lcm-pending")
    try:
        limits = settings.limits()
        options = options_from_args([True, weight, steps, cfg, lora, schedule], limits)
    except OptionsError as error:
        return _status_line(str(error))
    request = Request(PassRequest(options.steps, float(strength)), cfg=options.cfg)
    return _status_line(make_plan(options, request, host_facts(host.model_family(model)), limits).status_line())


def _status_line(text: str, attributes: str = "") -> str:
    return f'<div class="lcm-status" role="status"{attributes}>{html.escape(text)}</div>'


def _within(value, minimum, maximum):
    return min(max(value, minimum), maximum)
