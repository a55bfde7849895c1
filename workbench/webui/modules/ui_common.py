"""Parts that both generation tabs have: the row with the prompt, and the output panel."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules import infotext_utils, scripts, shared
from modules.ui_components import FormRow, ToolButton

DEFAULT_PROMPT = "a red triangle left of a yellow circle on a blue mosaic"


def plaintext_to_html(text, classname=None):
    lines = "<br>\n".join(html.escape(line) for line in (text or "").split("\n"))
    return f"<p class='{classname}'>{lines}</p>" if classname else f"<p>{lines}</p>"


@dataclass
class Toprow:
    prompt: Any
    negative_prompt: Any
    styles: Any
    submit: Any
    paste: Any


@dataclass
class OutputPanel:
    gallery: Any
    generation_info: Any
    infotext: Any
    html_log: Any


def create_toprow(tab: str) -> Toprow:
    """Prompt, negative prompt and the buttons beside them."""
    with gr.Row(elem_id=f"{tab}_toprow"):
        with gr.Column(elem_id=f"{tab}_prompt_container", scale=6):
            with gr.Row(elem_id=f"{tab}_prompt_row"):
                prompt = gr.Textbox(
                    label="Prompt", elem_id=f"{tab}_prompt", show_label=False, lines=3, value=DEFAULT_PROMPT,
                    elem_classes=["prompt"],
                    placeholder="Prompt (a coloured circle, square, triangle or cross, "
                    "or two side by side, on a coloured mosaic)",
                )  # fmt: skip
            with gr.Row(elem_id=f"{tab}_neg_prompt_row"):
                negative_prompt = gr.Textbox(
                    label="Negative prompt", elem_id=f"{tab}_neg_prompt", show_label=False, lines=2,
                    placeholder="Negative prompt",
                    elem_classes=["prompt"],
                )  # fmt: skip
        with gr.Column(elem_id=f"{tab}_actions_column", scale=1):
            with gr.Row(elem_id=f"{tab}_generate_box", elem_classes="generate-box"):
                submit = gr.Button("Generate", elem_id=f"{tab}_generate", variant="primary")
            with gr.Row(elem_id=f"{tab}_tools"):
                interrupt = gr.Button("Interrupt", elem_id=f"{tab}_interrupt", min_width=0)
                skip = gr.Button("Skip", elem_id=f"{tab}_skip", min_width=0)
                interrupt.click(fn=shared.state.interrupt, inputs=[], outputs=[], queue=False)
                skip.click(fn=shared.state.skip, inputs=[], outputs=[], queue=False)
                paste = ToolButton("↙️", elem_id="paste", tooltip="Read generation parameters")
            with gr.Row(elem_id=f"{tab}_styles_row"):
                styles = gr.Dropdown(
                    label="Styles", show_label=False, elem_id=f"{tab}_styles",
                    choices=list(shared.prompt_styles.styles), value=[],
                    multiselect=True,
                )  # fmt: skip
    return Toprow(prompt, negative_prompt, styles, submit, paste)


def _infotext_of_selected(generation_info: str, index: int) -> str:
    try:
        infotexts = json.loads(generation_info)["infotexts"]
    except (TypeError, ValueError, KeyError):
        return ""
    return infotexts[index] if 0 <= index < len(infotexts) else ""


def create_output_panel(tab: str) -> OutputPanel:
    """Gallery, infotext and the buttons that send a picture on."""
    with gr.Column(elem_id=f"{tab}_results"):
        with gr.Group(elem_id=f"{tab}_gallery_container"):
            gallery = gr.Gallery(
                label="Output",
                show_label=False,
                elem_id=f"{tab}_gallery",
                columns=4,
                preview=True,
                height=420,
                object_fit="contain",
            )
        with FormRow(elem_id=f"image_buttons_{tab}"):
            buttons = {
                name: gr.Button(label, elem_id=f"{tab}_send_to_{name}")
                for name, label in (("img2img", "Send to img2img"), ("inpaint", "Send to inpaint"))
            }
        infotext = gr.HTML(elem_id=f"html_info_{tab}", elem_classes="infotext")
        html_log = gr.HTML(elem_id=f"html_log_{tab}", elem_classes="html-log")
        generation_info = gr.Textbox(visible=False, elem_id=f"generation_info_{tab}")

        def show_selected(info, event: gr.SelectData):
            return plaintext_to_html(_infotext_of_selected(info, event.index))

        gallery.select(show_selected, inputs=[generation_info], outputs=[infotext], show_progress=False)
        runner = scripts.scripts_txt2img if tab == "txt2img" else scripts.scripts_img2img
        for name, button in buttons.items():
            infotext_utils.register_paste_params_button(
                infotext_utils.ParamBinding(
                    paste_button=button,
                    tabname=name,
                    source_tabname="txt2img" if tab == "txt2img" else None,
                    source_image_component=gallery,
                    paste_field_names=runner.paste_field_names,
                )
            )
    return OutputPanel(gallery, generation_info, infotext, html_log)
