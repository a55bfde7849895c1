"""The page."""

from __future__ import annotations

import gradio as gr

from modules import (
    img2img,
    infotext_utils,
    script_callbacks,
    scripts,
    shared,
    txt2img,
    ui_loadsave,
    ui_settings,
)
from modules import ui_generation_tab as tab_parts
from modules.images import read_info_from_image
from modules.shared import cmd_opts, opts
from modules.ui_common import create_output_panel, create_toprow, plaintext_to_html
from workbench.webui import presets, profiles

DISCLAIMER = "LCM workbench: a small stand-in for the WebUI"
KNOWN = "The small models know four shapes in eight colours on a mosaic, and nothing else. Prompts to try:"
EXAMPLES = (
    "a big red cross on a blue mosaic",
    "a small yellow circle on a purple mosaic",
    "a green triangle above a white square on a black mosaic",
)


def _create_txt2img_tab():
    tab = "txt2img"
    runner = scripts.scripts_current = scripts.scripts_txt2img
    runner.initialize_scripts(is_img2img=False)
    table = tab_parts.FieldTable()
    with gr.Blocks(analytics_enabled=False) as interface:
        toprow = create_toprow(tab)
        table.add("prompt", toprow.prompt, "Prompt")
        table.add("negative_prompt", toprow.negative_prompt, "Negative prompt")
        table.add("styles", toprow.styles)
        gr.Examples([[example] for example in EXAMPLES], [toprow.prompt], label=KNOWN)
        with gr.Row():
            with gr.Column(variant="compact", elem_id=f"{tab}_settings"):
                runner.prepare_ui()
                tab_parts.sampler_row(tab, table)
                tab_parts.hires_accordion(tab, table)
                tab_parts.size_and_batch(tab, table)
                tab_parts.cfg_row(tab, table)
                tab_parts.seed_row(tab, table)
                override_settings = tab_parts.override_settings_dropdown(tab)
                script_inputs = tab_parts.script_container(tab, runner)
            panel = create_output_panel(tab)
        count = len(table.components)

        def generate(request, *args):
            return txt2img.txt2img(request, table.values(args[:count]), args[count], args[count + 1 :])

        tab_parts.connect_generate(
            tab, toprow, panel, generate, [*table.components.values(), override_settings, *script_inputs]
        )
        fields = [*table.paste_fields, *runner.infotext_fields]
        infotext_utils.add_paste_fields(tab, None, fields, override_settings)
        infotext_utils.register_paste_params_button(
            infotext_utils.ParamBinding(
                paste_button=toprow.paste, tabname=tab, source_text_component=toprow.prompt
            )
        )
    scripts.scripts_current = None
    return interface


def _inpaint_controls(tab, table):
    with gr.Group(elem_id="inpaint_controls"):
        blur = gr.Slider(
            label="Mask blur", minimum=0, maximum=64, step=1, value=2, elem_id=f"{tab}_mask_blur"
        )
        table.add("mask_blur", blur, "Mask blur")
        contents = ["fill", "original", "latent noise", "latent nothing"]
        fill = gr.Radio(
            label="Masked content",
            choices=contents,
            value="original",
            type="index",
            elem_id=f"{tab}_inpainting_fill",
        )
        table.add("inpainting_fill", fill)
        areas = ["Whole picture", "Only masked"]
        area = gr.Radio(
            label="Inpaint area",
            choices=areas,
            value=areas[0],
            type="index",
            elem_id=f"{tab}_inpaint_full_res",
        )
        table.add("inpaint_full_res", area)


def _batch_controls() -> list:
    """Folders, and what is taken from the pictures' own parameters."""
    return [
        gr.Textbox(label="Input directory", elem_id="img2img_batch_input_dir"),
        gr.Textbox(label="Output directory", elem_id="img2img_batch_output_dir"),
        gr.Checkbox(label="Append png info to prompts", elem_id="img2img_batch_use_png_info"),
        gr.CheckboxGroup(list(img2img.PNG_INFO), label="Parameters to take from png info"),
    ]


def _create_img2img_tab():
    tab = "img2img"
    runner = scripts.scripts_current = scripts.scripts_img2img
    runner.initialize_scripts(is_img2img=True)
    table = tab_parts.FieldTable()
    with gr.Blocks(analytics_enabled=False) as interface:
        toprow = create_toprow(tab)
        table.add("prompt", toprow.prompt, "Prompt")
        table.add("negative_prompt", toprow.negative_prompt, "Negative prompt")
        table.add("styles", toprow.styles)
        with gr.Row():
            with gr.Column(variant="compact", elem_id=f"{tab}_settings"):
                runner.prepare_ui()
                mode = gr.Number(value=0, visible=False, precision=0)
                with gr.Tabs(elem_id="mode_img2img"):
                    picture = {
                        "source": "upload",
                        "interactive": True,
                        "type": "pil",
                        "image_mode": "RGBA",
                        "height": 256,
                    }
                    with gr.TabItem("img2img", elem_id="img2img_img2img_tab") as plain_tab:
                        init_img = gr.Image(
                            label="Image for img2img", elem_id="img2img_image", show_label=False, **picture
                        )
                    with gr.TabItem("Inpaint", elem_id="img2img_inpaint_tab") as inpaint_tab:
                        init_mask = gr.Image(
                            label="Image for inpainting with mask", elem_id="img2maskimg", show_label=False,
                            tool="sketch",
                            **{**picture, "image_mode": "RGB"},
                        )  # fmt: skip
                        _inpaint_controls(tab, table)
                    with gr.TabItem("Batch", elem_id="img2img_batch_tab") as batch_tab:
                        batch_inputs = _batch_controls()
                for index, item in enumerate((plain_tab, inpaint_tab, batch_tab)):
                    item.select(fn=lambda index=index: index, inputs=[], outputs=[mode], show_progress=False)
                resize = gr.Radio(
                    label="Resize mode", elem_id="resize_mode", type="index", value="Just resize",
                    choices=["Just resize", "Crop and resize", "Resize and fill",
                    "Just resize (latent upscale)"],
                )  # fmt: skip
                table.add("resize_mode", resize)
                tab_parts.sampler_row(tab, table)
                resize_by = tab_parts.size_and_batch(tab, table)
                init_img.change(
                    fn=None,
                    _js="updateImg2imgResizeToTextAfterChangingImage",
                    inputs=[],
                    outputs=[],
                    show_progress=False,
                )
                tab_parts.cfg_row(tab, table)
                strength = gr.Slider(
                    minimum=0.0,
                    maximum=1.0,
                    step=0.01,
                    label="Denoising strength",
                    value=0.75,
                    elem_id=f"{tab}_denoising_strength",
                )
                table.add("denoising_strength", strength, "Denoising strength")
                tab_parts.seed_row(tab, table)
                override_settings = tab_parts.override_settings_dropdown(tab)
                script_inputs = tab_parts.script_container(tab, runner)
            panel = create_output_panel(tab)
        count = len(table.components)

        def generate(
            request,
            mode,
            image,
            image_with_mask,
            input_dir,
            output_dir,
            uses_png_info,
            png_info,
            is_scaled,
            scale,
            *args,
        ):
            batch = img2img.Batch(input_dir, output_dir, png_info if uses_png_info else None)
            values = table.values(args[:count])
            scale_by = scale if is_scaled else None
            return img2img.img2img(
                request,
                int(mode),
                image,
                image_with_mask,
                batch,
                scale_by,
                values,
                args[count],
                args[count + 1 :],
            )

        inputs = [
            mode,
            init_img,
            init_mask,
            *batch_inputs,
            *resize_by,
            *table.components.values(),
            override_settings,
            *script_inputs,
        ]
        tab_parts.connect_generate(tab, toprow, panel, generate, inputs)
        fields = [*table.paste_fields, *runner.infotext_fields]
        infotext_utils.add_paste_fields("img2img", init_img, fields, override_settings)
        infotext_utils.add_paste_fields("inpaint", init_mask, fields, override_settings)
        infotext_utils.register_paste_params_button(
            infotext_utils.ParamBinding(
                paste_button=toprow.paste, tabname=tab, source_text_component=toprow.prompt
            )
        )
    scripts.scripts_current = None
    return interface


def _create_pnginfo_tab():
    with gr.Blocks(analytics_enabled=False) as interface:
        with gr.Row():
            with gr.Column(variant="panel"):
                image = gr.Image(
                    elem_id="pnginfo_image",
                    label="Source",
                    source="upload",
                    interactive=True,
                    type="pil",
                    height=256,
                )
            with gr.Column(variant="panel"):
                shown = gr.HTML(elem_id="pnginfo_html_info")
                text = gr.Textbox(visible=False, elem_id="pnginfo_generation_info")
                with gr.Row():
                    buttons = infotext_utils.create_buttons(["txt2img", "img2img", "inpaint"])
        for name, button in buttons.items():
            infotext_utils.register_paste_params_button(
                infotext_utils.ParamBinding(
                    paste_button=button,
                    tabname=name,
                    source_text_component=text,
                    source_image_component=None if name == "txt2img" else image,
                )
            )

        def read(picture):
            infotext = "" if picture is None else read_info_from_image(picture)[0] or ""
            return plaintext_to_html(infotext), infotext

        image.change(fn=read, inputs=[image], outputs=[shown, text])
    return interface


def _create_settings_tab():
    with gr.Blocks(analytics_enabled=False) as interface:
        settings_json = ui_settings.create_settings_tab()
    return interface, settings_json


def create_ui():
    """The whole page with the tabs of extensions; returns the gradio Blocks."""
    infotext_utils.reset()
    opts.reorder()
    loadsave = ui_loadsave.UiLoadsave(cmd_opts.ui_config_file)
    tabs = [
        (_create_txt2img_tab(), "txt2img", "txt2img"),
        (_create_img2img_tab(), "img2img", "img2img"),
        (_create_pnginfo_tab(), "PNG Info", "pnginfo"),
        *script_callbacks.ui_tabs_callback(),
    ]
    settings_tab, settings_json = _create_settings_tab()
    tabs.append((settings_tab, "Settings", "settings"))
    # no fonts from the internet
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    with gr.Blocks(theme=theme, analytics_enabled=False, title="LCM workbench") as demo:
        gr.HTML(f"<p class='disclaimer'>{DISCLAIMER}</p>", elem_id="workbench_disclaimer")
        with gr.Row(elem_id="quicksettings"):
            checkpoint = tab_parts.checkpoint_dropdown()
            checkpoint.input(
                fn=ui_settings.change_checkpoint, inputs=[checkpoint], outputs=[checkpoint, settings_json]
            )
        infotext_utils.connect_paste_params_buttons()
        if profiles.active.has_presets:
            presets.connect(demo)
        with gr.Tabs(elem_id="tabs"):
            for interface, label, ident in tabs:
                with gr.TabItem(label, id=ident, elem_id=f"tab_{ident}"):
                    interface.render()
                if ident != "settings":
                    loadsave.add_block(interface, ident)
            with gr.TabItem("Defaults", id="defaults", elem_id="tab_defaults"):
                loadsave.create_ui()
        demo.load(
            fn=ui_settings.current_checkpoint,
            inputs=[],
            outputs=[checkpoint],
            show_progress=False,
            queue=False,
        )
    loadsave.save()
    shared.tab_names = [label for _, label, _ in tabs]
    return demo
