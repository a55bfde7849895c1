"""A WebUI extension for tests of the host: writes down which callbacks ran, and misbehaves on request.

GET /recorder/v1/events gives the names of the callbacks since the last DELETE, GET /recorder/v1/facts what
can be seen of the host, GET /recorder/v1/keep-alive for how many seconds its server keeps an idle connection.
"""

import importlib

import gradio as gr
import torch
from fastapi import HTTPException

from modules import script_callbacks, scripts, shared
from modules.ui_components import InputAccordion

EVENTS = []
SIGMAS = [14.61465, 4.26056, 0.71938, 0.0]  # of the timesteps 999, 759 and 259


def refuse(*args):
    raise HTTPException(status_code=418, detail="the recorder refuses")


class Recorder(scripts.Script):
    def title(self):
        return "Recorder"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with InputAccordion(False, label="Recorder", elem_id=self.elem_id("enabled")) as enabled:
            mode = gr.Textbox(label="Mode", value="", elem_id=self.elem_id("mode"))
            number = gr.Slider(
                label="Number", minimum=0, maximum=9, value=3, step=1, elem_id=self.elem_id("number")
            )
        self.infotext_fields = [(number, "Recorder number"), (enabled, lambda d: "Recorder number" in d)]
        return [enabled, mode, number]

    def setup(self, p, *args):
        EVENTS.append("setup")

    def before_process(self, p, *args):
        EVENTS.append(f"before_process {shared.opts.CLIP_stop_at_last_layers}")

    def process(self, p, enabled, mode, number):
        EVENTS.append(f"process {shared.opts.CLIP_stop_at_last_layers} {number}")
        if enabled:
            p.extra_generation_params["Recorder number"] = number
        if mode == "sigmas":
            p.sampler_noise_scheduler_override = lambda steps: torch.tensor(SIGMAS)
        elif mode == "refuse":
            p.init = refuse
        elif mode == "fail":
            raise ValueError("swallowed by the host")

    def before_process_batch(self, p, *args, **kwargs):
        EVENTS.append(f"before_process_batch {kwargs['prompts'][0]}")

    def after_extra_networks_activate(self, p, *args, **kwargs):
        names = [params.items[0] for params in kwargs["extra_network_data"].get("lora", [])]
        EVENTS.append(" ".join(["after_extra_networks_activate", *names]))

    def process_batch(self, p, *args, **kwargs):
        EVENTS.append(f"process_batch {kwargs['prompts'][0]}")

    def process_before_every_sampling(self, p, *args, **kwargs):
        EVENTS.append("process_before_every_sampling")

    def before_hr(self, p, *args):
        EVENTS.append("before_hr")

    def on_mask_blend(self, p, mba, *args):
        EVENTS.append("on_mask_blend final" if mba.is_final_blend else "on_mask_blend")

    def post_sample(self, p, ps, *args):
        EVENTS.append("post_sample")

    def postprocess_batch(self, p, *args, **kwargs):
        EVENTS.append(f"postprocess_batch {list(kwargs['images'].shape)}")

    def postprocess_batch_list(self, p, pp, *args, **kwargs):
        EVENTS.append("postprocess_batch_list")

    def postprocess_image(self, p, pp, *args):
        EVENTS.append("postprocess_image")

    def postprocess_maskoverlay(self, p, ppmo, *args):
        EVENTS.append("postprocess_maskoverlay")

    def postprocess_image_after_composite(self, p, pp, *args):
        EVENTS.append("postprocess_image_after_composite")

    def postprocess(self, p, processed, *args):
        EVENTS.append(f"postprocess {processed.comments.strip()}".strip())


def importable(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


FACTS_AT_START = {"model": type(shared.sd_model).__name__}


def add_routes(demo, app):
    @app.get("/recorder/v1/events")
    def get_events():
        return EVENTS

    @app.delete("/recorder/v1/events")
    def clear_events():
        EVENTS.clear()

    @app.get("/recorder/v1/keep-alive")
    def get_keep_alive():
        return demo.server.config.timeout_keep_alive

    @app.get("/recorder/v1/facts")
    def get_facts():
        import k_diffusion.sampling

        from modules import sd_samplers_kdiffusion

        flags = ("is_sd1", "is_sd2", "is_sdxl", "is_ssd", "is_sd3", "alphas_cumprod", "forge_objects")
        return {
            "model_at_start": FACTS_AT_START["model"],
            "model": [flag for flag in flags if hasattr(shared.sd_model, flag)],
            "modules": [
                name
                for name in (
                    "infotext_utils",
                    "generation_parameters_copypaste",
                    "sd_schedulers",
                    "sd_samplers_lcm",
                )
                if importable(f"modules.{name}")
            ],
            "accordion_is_class": isinstance(InputAccordion, type),
            "same_k_diffusion": (
                sd_samplers_kdiffusion.KDiffusionSampler("sample_euler", shared.sd_model).func
                is k_diffusion.sampling.sample_euler
            ),
            "extra": shared.opts.recorder_extra,
        }


script_callbacks.on_app_started(add_routes)
script_callbacks.on_ui_settings(
    lambda: shared.opts.add_option("recorder_extra", shared.OptionInfo(7, "Recorder extra").info("a test"))
)
script_callbacks.on_cfg_denoiser(lambda params: EVENTS.append(f"cfg_denoiser {list(params.x.shape)}"))
script_callbacks.on_cfg_denoised(lambda params: EVENTS.append(f"cfg_denoised {list(params.x.shape)}"))
script_callbacks.on_cfg_after_cfg(lambda params: EVENTS.append(f"cfg_after_cfg {list(params.x.shape)}"))
