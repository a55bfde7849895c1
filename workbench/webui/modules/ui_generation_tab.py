"""The controls that txt2img and img2img share, and the order of arguments that the Generate button sends."""

from __future__ import annotations

import gradio as gr

from modules import sd_models, sd_samplers, shared
from modules.call_queue import wrap_gradio_gpu_call
from modules.infotext_utils import PasteField
from modules.ui_components import FormGroup, FormRow, InputAccordion, ToolButton
from workbench.webui import profiles

SIZE = {"minimum": 64, "maximum": 2048, "step": 8, "value": 64}
"""The small models were trained on pictures of 64 x 64."""


class FieldTable:
    """Components by the name of the processing field that they set, and what an infotext calls them."""

    def __init__(self):
        self.components: dict[str, gr.components.Component] = {}
        self.paste_fields: list[PasteField] = []

    def add(self, name, component, infotext=None):
        """Note a component; `infotext` is a key or a function of all parameters. Returns the component."""
        self.components[name] = component
        if infotext is not None:
            self.paste_fields.append(PasteField(component, infotext, api=name))
        return component

    def values(self, args) -> dict:
        return dict(zip(self.components, args, strict=True))


def sampler_row(tab: str, table: FieldTable) -> None:
    names = sd_samplers.visible_sampler_names()
    with FormRow(elem_id=f"sampler_selection_{tab}"):
        sampler = gr.Dropdown(
            label="Sampling method", elem_id=f"{tab}_sampling", choices=names, value=names[0]
        )
        if profiles.active.schedulers:
            from modules import sd_schedulers

            table.add("sampler_name", sampler, sd_samplers.get_sampler_from_infotext)
            labels = [scheduler.label for scheduler in sd_schedulers.schedulers]
            scheduler = gr.Dropdown(
                label="Schedule type", elem_id=f"{tab}_scheduler", choices=labels, value=labels[0]
            )
            table.add("scheduler", scheduler, sd_samplers.get_scheduler_from_infotext)
        else:
            table.add("sampler_name", sampler, "Sampler")
        steps = gr.Slider(
            minimum=1, maximum=150, step=1, elem_id=f"{tab}_steps", label="Sampling steps", value=20
        )
        table.add("steps", steps, "Steps")


def size_and_batch(tab: str, table: FieldTable) -> list:
    """Returns the controls of img2img's "Resize by": whether that is open (0 or 1), and by how much."""
    resize_by = []
    with FormRow():
        with gr.Column(elem_id=f"{tab}_column_size", scale=4):
            if tab == "img2img":
                with gr.Tabs(elem_id="img2img_tabs_resize"):
                    with gr.Tab("Resize to", elem_id="img2img_tab_resize_to") as resize_to_tab:
                        _size_sliders(tab, table)
                    with gr.Tab("Resize by", elem_id="img2img_tab_resize_by") as resize_by_tab:
                        resize_by = _scale_slider()
                for selected, item in enumerate((resize_to_tab, resize_by_tab)):
                    item.select(
                        fn=lambda selected=selected: selected,
                        inputs=[],
                        outputs=resize_by[:1],
                        show_progress=False,
                    )
            else:
                _size_sliders(tab, table)
        with gr.Column(elem_id=f"{tab}_column_batch"):
            batch = {"minimum": 1, "maximum": 8, "step": 1, "value": 1}
            table.add("n_iter", gr.Slider(label="Batch count", elem_id=f"{tab}_batch_count", **batch))
            table.add("batch_size", gr.Slider(label="Batch size", elem_id=f"{tab}_batch_size", **batch))
    return resize_by


def _size_sliders(tab: str, table: FieldTable) -> None:
    table.add("width", gr.Slider(label="Width", elem_id=f"{tab}_width", **SIZE), "Size-1")
    table.add("height", gr.Slider(label="Height", elem_id=f"{tab}_height", **SIZE), "Size-2")


def _scale_slider() -> list:
    is_open = gr.Number(value=0, visible=False, precision=0)
    scale = gr.Slider(minimum=0.05, maximum=4.0, step=0.05, label="Scale", value=1.0, elem_id="img2img_scale")
    preview = gr.HTML(scaled_size(0, 0, 1.0), elem_id="img2img_scale_resolution_preview")
    update = gr.Button(visible=False, elem_id="img2img_update_resize_to")  # clicked by javascript/host.js
    size = [gr.Number(0, visible=False), gr.Number(0, visible=False)]
    for event in (scale.release, update.click):
        event(
            fn=scaled_size,
            _js="currentImg2imgSourceResolution",
            inputs=[*size, scale],
            outputs=[preview],
            show_progress=False,
        )
    return [is_open, scale]


def scaled_size(width: float, height: float, scale: float) -> str:
    """What the page says of "Resize by"."""
    sizes = [(int(width), int(height)), (int(width * scale), int(height * scale))]
    if 0 in sizes[1]:
        return "no image selected"
    return "resize: from {} to {}".format(*(f"<span class='resolution'>{x}x{y}</span>" for x, y in sizes))


def cfg_row(tab: str, table: FieldTable) -> None:
    cfg = gr.Slider(
        minimum=1.0, maximum=30.0, step=0.5, label="CFG Scale", value=7.0, elem_id=f"{tab}_cfg_scale"
    )
    table.add("cfg_scale", cfg, "CFG scale")


def seed_row(tab: str, table: FieldTable) -> None:
    with FormRow(elem_id=f"{tab}_seed_row"):
        seed = table.add(
            "seed", gr.Number(label="Seed", value=-1, elem_id=f"{tab}_seed", precision=0), "Seed"
        )
        random_seed = ToolButton("🎲️", elem_id=f"{tab}_random_seed", tooltip="Set seed to -1")
        random_seed.click(fn=lambda: -1, inputs=[], outputs=[seed], show_progress=False)


def hires_accordion(tab: str, table: FieldTable) -> None:
    with InputAccordion(False, label="Hires. fix", elem_id=f"{tab}_hr") as enable_hr:
        table.add(
            "enable_hr",
            enable_hr,
            lambda d: "Denoising strength" in d and ("Hires upscale" in d or "Hires upscaler" in d),
        )
        modes = [*shared.latent_upscale_modes, *(upscaler.name for upscaler in shared.sd_upscalers)]
        with FormRow(elem_id=f"{tab}_hires_fix_row1"):
            upscaler = gr.Dropdown(
                label="Upscaler",
                elem_id=f"{tab}_hr_upscaler",
                choices=modes,
                value=shared.latent_upscale_default_mode,
            )
            table.add("hr_upscaler", upscaler, "Hires upscaler")
            steps = gr.Slider(
                minimum=0, maximum=150, step=1, label="Hires steps", value=0, elem_id=f"{tab}_hires_steps"
            )
            table.add("hr_second_pass_steps", steps, "Hires steps")
            strength = gr.Slider(
                minimum=0.0,
                maximum=1.0,
                step=0.01,
                label="Denoising strength",
                value=0.7,
                elem_id=f"{tab}_denoising_strength",
            )
            table.add("denoising_strength", strength, "Denoising strength")
        with FormRow(elem_id=f"{tab}_hires_fix_row2"):
            scale = gr.Slider(
                minimum=1.0, maximum=4.0, step=0.05, label="Upscale by", value=2.0, elem_id=f"{tab}_hr_scale"
            )
            table.add("hr_scale", scale, "Hires upscale")
            resize = {"minimum": 0, "maximum": 2048, "step": 8, "value": 0}
            table.add(
                "hr_resize_x",
                gr.Slider(label="Resize width to", elem_id=f"{tab}_hr_resize_x", **resize),
                "Hires resize-1",
            )
            table.add(
                "hr_resize_y",
                gr.Slider(label="Resize height to", elem_id=f"{tab}_hr_resize_y", **resize),
                "Hires resize-2",
            )
        with FormRow(elem_id=f"{tab}_hires_fix_row3"):
            names = ["Use same sampler", *sd_samplers.visible_sampler_names()]
            sampler = gr.Dropdown(
                label="Hires sampling method", elem_id="hr_sampler", choices=names, value=names[0]
            )
            has_schedulers = profiles.active.schedulers
            table.add(
                "hr_sampler_name",
                sampler,
                sd_samplers.get_hr_sampler_from_infotext if has_schedulers else "Hires sampler",
            )
            if has_schedulers:
                from modules import sd_schedulers

                labels = ["Use same scheduler", *(scheduler.label for scheduler in sd_schedulers.schedulers)]
                scheduler = gr.Dropdown(
                    label="Hires schedule type", elem_id="hr_scheduler", choices=labels, value=labels[0]
                )
                table.add("hr_scheduler", scheduler, sd_samplers.get_hr_scheduler_from_infotext)
            if profiles.active.has_hr_cfg:
                cfg = gr.Slider(
                    minimum=1.0,
                    maximum=30.0,
                    step=0.5,
                    label="Hires CFG Scale",
                    value=7.0,
                    elem_id=f"{tab}_hr_cfg",
                )
                table.add("hr_cfg", cfg, "Hires CFG Scale")
        with FormRow(elem_id=f"{tab}_hires_fix_row4"):
            prompt = gr.Textbox(
                label="Hires prompt",
                elem_id="hires_prompt",
                show_label=False,
                lines=2,
                placeholder="Prompt for hires fix pass.",
            )
            table.add("hr_prompt", prompt, "Hires prompt")
            negative = gr.Textbox(
                label="Hires negative prompt", elem_id="hires_neg_prompt", show_label=False, lines=2,
                placeholder="Negative prompt for hires fix pass.",
            )  # fmt: skip
            table.add("hr_negative_prompt", negative, "Hires negative prompt")


def script_container(tab: str, runner) -> list:
    """All scripts' interfaces; returns their inputs."""
    with FormGroup(elem_id=f"{tab}_script_container"):
        return runner.setup_ui()


def override_settings_dropdown(tab: str):
    return gr.Dropdown(
        [],
        value=None,
        label="Override settings",
        visible=False,
        elem_id=f"{tab}_override_settings",
        multiselect=True,
    )


def connect_generate(tab: str, toprow, panel, function, inputs) -> None:
    """`function(request, *values of inputs)` runs on Generate and on Enter in the prompt;
    javascript/submit.js names the task.
    """

    def run(id_task: str, request: gr.Request, *args):
        return function(request, *args)

    # gradio passes the request by its annotation, which the wrapper keeps
    wrapped = wrap_gradio_gpu_call(run, extra_outputs=[None, "", ""])
    call = {
        "fn": wrapped,
        "_js": "submit" if tab == "txt2img" else "submit_img2img",
        "inputs": [gr.Textbox(visible=False), *inputs],
        "outputs": [panel.gallery, panel.generation_info, panel.infotext, panel.html_log],
        "show_progress": False,
    }
    toprow.submit.click(**call)
    toprow.prompt.submit(**call)
    toprow.negative_prompt.submit(**call)


def checkpoint_dropdown():
    """The checkpoint chosen in the settings, at the top of the page, which fills it in when it is opened."""
    titles = sd_models.checkpoint_tiles()
    return gr.Dropdown(
        label="Stable Diffusion checkpoint",
        elem_id="setting_sd_model_checkpoint",
        choices=titles,
        interactive=True,
    )
