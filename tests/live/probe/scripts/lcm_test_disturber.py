"""A WebUI extension for tests: does in the midst of a generation what other extensions and users do.

Its one argument, over the API: "detail" makes a generation of its own inside the outer one, as detailers do:
prompt, seed, steps, CFG scale and sampler copied, and no always-on script run in it; {"steps": 28, ...} gives
that one settings of its own; "detail off" runs LCM's in it, switched off; "fail" raises where the WebUI does
not swallow it, "interrupt" interrupts in the midst of sampling; a list of prompts replaces those of the
batches; "delete 1 PATH" deletes a file before the batch of that number, counted from 0, is begun; "inside
CALLBACK" makes two pictures in that callback that nobody sees, and LCM's script runs in their generation,
switched off; "detail as ADetailer" does so for each picture, and calls all scripts for a copy of the outer
generation, as if it ended before and began again after it. There is a saved prompt style STYLE with an
LCM-LoRA in it, at a weight that no other test has: WebUIs take the text of a saved style out of pasted
prompts.
"""

import copy
import os

import gradio as gr

from modules import processing, script_callbacks, scripts, shared, styles

INTERRUPT = {"after": None}
STYLE, STYLE_PROMPT = "LCM test style", "{prompt} <lora:lcm_lora_sd15:0.55>"


class DisturberScript(scripts.Script):
    def title(self):
        return "LCM test disturber"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Textbox(visible=False)]  # without a component the API passes no argument

    def before_process(self, p, mode=None, *args):
        fields = {"name": STYLE, "prompt": STYLE_PROMPT, "negative_prompt": "", "path": None}
        # 1.6 has no path
        known = {name: value for name, value in fields.items() if name in styles.PromptStyle._fields}
        shared.prompt_styles.styles[STYLE] = styles.PromptStyle(**known)
        if mode == "inside before_process":
            generate_inside(p)

    def before_process_batch(self, p, mode=None, *args, batch_number=0, **kwargs):
        if isinstance(mode, str) and mode.startswith("delete "):
            _, number, path = mode.split(" ", 2)
            if batch_number == int(number):
                os.remove(path)

    def process(self, p, mode=None, *args):
        INTERRUPT["after"] = 1 if mode == "interrupt" else None
        if isinstance(mode, list):
            p.all_prompts = list(mode)

    def process_batch(self, p, mode=None, *args, **kwargs):
        if mode == "fail":
            p.setup_conds = fail

    def postprocess_image(self, p, pp, mode=None, *args):
        if mode in ("detail", "detail off") or isinstance(mode, dict):
            pp.image = detail(
                p, pp.image, ["LCM"] if mode == "detail off" else [], mode if isinstance(mode, dict) else {}
            )
        if mode == "inside postprocess_image":
            generate_inside(p)
        elif mode == "detail as ADetailer":
            p.scripts.postprocess(copy.copy(p), processing.Processed(p, [], p.seed, ""))
            generate_inside(p)
            outer = copy.copy(p)
            p.scripts.before_process(outer)
            p.scripts.process(outer)

    def postprocess(self, p, processed, mode=None, *args):
        if mode == "inside postprocess":
            generate_inside(p)


def fail():
    raise RuntimeError("the test disturber fails")


def detail(p, image, titles, own_settings):
    index = p.iteration * p.batch_size + p.batch_index
    inner = processing.StableDiffusionProcessingImg2Img(
        init_images=[image],
        outpath_samples=p.outpath_samples,
        outpath_grids=p.outpath_grids,
        prompt=p.all_prompts[index],
        negative_prompt=p.all_negative_prompts[index],
        seed=p.all_seeds[index],
        **{"sampler_name": p.sampler_name, "steps": p.steps, "cfg_scale": p.cfg_scale, **own_settings},
        width=p.width,
        height=p.height,
        denoising_strength=0.5,
        do_not_save_samples=True,
        do_not_save_grid=True,
    )
    return drawn(inner, p, titles)[0]


def generate_inside(p):
    inner = processing.StableDiffusionProcessingTxt2Img(
        prompt="a huge yellow circle on a green background",
        outpath_samples=p.outpath_samples,
        outpath_grids=p.outpath_grids,
        sampler_name="Euler",
        steps=1,
        n_iter=2,
        width=p.width,
        height=p.height,
    )
    drawn(inner, p, ["LCM"])


def drawn(inner, p, titles):
    """The pictures of a generation inside that of `p`, in which the scripts of these titles run."""
    inner.scripts = copy.copy(p.scripts)
    inner.scripts.alwayson_scripts = [
        script for script in p.scripts.alwayson_scripts if script.title() in titles
    ]
    inner.script_args = [False] * len(p.script_args)
    try:
        return processing.process_images(inner).images
    finally:
        inner.close()


def on_denoiser(params):
    if INTERRUPT["after"] is not None and params.sampling_step >= INTERRUPT["after"]:
        INTERRUPT["after"] = None
        shared.state.interrupt()


script_callbacks.on_cfg_denoiser(on_denoiser)
