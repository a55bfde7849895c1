"""A WebUI extension for tests: stands for kinds of other extensions that a test machine does not have.

POST /lcm-test-neighbours/next with {"windows": n} makes the next generation meet an extension that computes
its images n at a time in overlapping windows, as AnimateDiff does with a long video: it puts itself in the
place of the k-diffusion denoiser's `forward`. {"tiles": n} makes it meet one that computes n times as many
rows of each, as Tiled Diffusion does, and knows the conditioning by its keys. {"windows": n, "unet": true}
replaces the UNet's `forward` too, by one that counts on both halves, prompt and negative prompt, in its
batch. POST /lcm-test-neighbours/reload with {"marker": path} does what "Reload UI" does, and writes the file
when the WebUI serves again. {"rival": "now" | "load" | "before_ui" | "app_started"} adds a sampler "LCM" of
another extension (it is Euler) before that, or at that stage of loading; {"lcm": false} leaves the extension
under test out. DELETE /lcm-test-neighbours/rival takes the other sampler out. POST
/lcm-test-neighbours/distributed with {"txt2img": false, "img2img": false} switches the extension Distributed
off, as its own ticks do, and answers with what they were before; {} where it is not there. The selectable
script "LCM test loopback" makes one generation after another with one processing object, as Loopback does, at
the denoising strengths that its argument lists: "0.1, 0.6". GET /lcm-test-neighbours/refiners says which
refiner the last generation asked for, as each callback saw it. {"levels": n} makes the next generation meet
an extension that makes the sampler before the WebUI does and asks it for the noise levels of n steps; GET
/lcm-test-neighbours/levels says what it got. DELETE /lcm-test-neighbours/lcm takes LCM out of the scripts
that run, and POST puts it back.
"""

from pathlib import Path
from types import MethodType

import gradio as gr
import torch
from fastapi import Body

from modules import (
    extensions,
    processing,
    script_callbacks,
    scripts,
    sd_samplers,
    sd_samplers_common,
    sd_samplers_kdiffusion,
    shared,
)

NEXT = {}
NOW = {}
REFINERS = {}
LEVELS = []
TAKEN_OUT = []
RELOAD = getattr(shared, "lcm_test_reload", {})
"""How the scripts are loaded this time; it outlives them."""
RIVAL = ["k_rival"]
"""What the other extension's sampler is told by: its aliases."""


class NeighboursScript(scripts.Script):
    def title(self):
        return "LCM test neighbours"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return []

    def process(self, p, *args):
        REFINERS["process"] = p.refiner_checkpoint
        NOW.clear()
        NOW.update(NEXT, p=p)
        NEXT.clear()
        if NOW.get("unet"):
            unet = shared.sd_model.model.diffusion_model
            NOW["unet"] = unet
            unet.forward = MethodType(forward_of_both_halves(unet.forward), unet)

    def before_process_batch(self, p, *args, **kwargs):
        REFINERS["before_process_batch"] = p.refiner_checkpoint

    def process_batch(self, p, *args, **kwargs):
        if "levels" in NOW:
            sampler = sd_samplers.create_sampler(p.sampler_name, p.sd_model)
            LEVELS[:] = sampler.get_sigmas(p, NOW["levels"]).tolist()

    def postprocess(self, p, processed, *args):
        if "unet" in NOW:
            del NOW["unet"].forward
        NOW.clear()


class LoopbackScript(scripts.Script):
    def title(self):
        return "LCM test loopback"

    def show(self, is_img2img):
        return is_img2img

    def ui(self, is_img2img):
        return [gr.Textbox(visible=False)]

    def run(self, p, strengths):
        made = None
        for strength in strengths.split(","):
            p.denoising_strength = float(strength)
            done = processing.process_images(p)
            if made is None:
                made = done
            else:
                made.images += done.images
                made.infotexts += done.infotexts
        return made


def forward_of_both_halves(original):
    def forward(self, x, *args, **kwargs):
        assert len(x) % 2 == 0 and torch.equal(*x.chunk(2)), "the UNet's batch lacks its second half"
        return original(x, *args, **kwargs)

    return forward


def windows(images, size):
    """Lists of image numbers that cover all, each sharing half of its images with the next."""
    return [[(first + i) % images for i in range(size)] for first in range(0, images, max(size // 2, 1))]


def forward_in_windows(original, size):
    def forward(self, x, sigma, cond):
        images = len(x) // 2 if shared.opts.batch_cond_uncond else len(x)
        result = torch.zeros_like(x)
        for window in windows(images, size):
            rows = window + [images + i for i in window] if shared.opts.batch_cond_uncond else window
            cut = {
                key: [value[0][rows]] if isinstance(value, list) else value[rows]
                for key, value in cond.items()
            }
            result[rows] = original(x[rows], sigma[rows], cond=cut)
        return result

    return forward


def forward_in_tiles(original, tiles):
    def forward(self, x, sigma, cond):
        known = {
            "c_crossattn": lambda value: [value[0].repeat(tiles, 1, 1)],
            "c_concat": lambda value: [value[0].repeat(tiles, 1, 1, 1)],
        }
        known["crossattn"], known["vector"] = (
            lambda value: value.repeat(tiles, 1, 1),
            lambda value: value.repeat(tiles, 1),
        )
        tiled = {key: known[key](value) if key in known else value for key, value in cond.items()}
        return original(x.repeat(tiles, 1, 1, 1), sigma.repeat(tiles), cond=tiled).chunk(tiles)[-1]

    return forward


FORWARDS = {"windows": forward_in_windows, "tiles": forward_in_tiles}


def on_denoiser(params):
    kind = next((kind for kind in FORWARDS if kind in NOW), None)
    if kind is None:
        return
    # A1111 before 1.8 does not hand the denoiser to callbacks
    inner = NOW["p"].sampler.model_wrap_cfg.inner_model
    if "forward" not in vars(inner):
        inner.forward = MethodType(FORWARDS[kind](inner.forward, NOW[kind]), inner)


def add_rival():
    def make(model):
        return sd_samplers_kdiffusion.KDiffusionSampler("sample_euler", model)

    entry = sd_samplers_common.SamplerData("LCM", make, RIVAL, {})
    sd_samplers.all_samplers.append(entry)
    sd_samplers.all_samplers_map["LCM"] = entry
    sd_samplers.set_samplers()


def remove_rival():
    sd_samplers.all_samplers[:] = [entry for entry in sd_samplers.all_samplers if entry.aliases != RIVAL]
    sd_samplers.all_samplers_map.clear()
    sd_samplers.all_samplers_map.update({entry.name: entry for entry in sd_samplers.all_samplers})
    sd_samplers.set_samplers()


def at(stage):
    if RELOAD.get("rival") == stage:
        add_rival()


def names_under_test():
    """The names of the extension under test in the setting "disabled_extensions"."""
    found = [extension for extension in extensions.extensions if (Path(extension.path) / "lib_lcm").is_dir()]
    return {name for extension in found for name in (extension.name, Path(extension.path).name)}


def add_routes(demo, app):
    at("app_started")

    @app.post("/lcm-test-neighbours/reload")
    def reload(wanted: dict = Body(...)):
        shared.lcm_test_reload = wanted
        if wanted.get("rival") == "now":
            add_rival()
        disabled = set(shared.opts.disabled_extensions) - names_under_test()
        shared.opts.data["disabled_extensions"] = sorted(
            disabled if wanted.get("lcm", True) else disabled | names_under_test()
        )
        shared.state.request_restart()
        return {}

    @app.delete("/lcm-test-neighbours/rival")
    def take_rival_out():
        remove_rival()
        return {}

    @app.post("/lcm-test-neighbours/next")
    def set_next(wanted: dict = Body(...)):
        NEXT.update(wanted)
        return {}

    @app.post("/lcm-test-neighbours/distributed")
    def set_distributed(wanted: dict = Body(...)):
        script = next(
            (script for script in scripts.scripts_txt2img.scripts if script.title() == "Distribute"), None
        )
        if script is None:
            return {}
        before = {"txt2img": script.world.enabled, "img2img": script.world.enabled_i2i}
        script.world.enabled, script.world.enabled_i2i = wanted["txt2img"], wanted["img2img"]
        script.world.save_config()  # it reads it again at each generation
        return before

    @app.get("/lcm-test-neighbours/refiners")
    def get_refiners():
        return REFINERS

    @app.delete("/lcm-test-neighbours/lcm")
    def take_lcm_out():
        for runner in (scripts.scripts_txt2img, scripts.scripts_img2img):
            TAKEN_OUT.append((runner, runner.alwayson_scripts.copy()))
            runner.alwayson_scripts[:] = [s for s in runner.alwayson_scripts if s.title() != "LCM"]
        return {}

    @app.post("/lcm-test-neighbours/lcm")
    def put_lcm_back():
        for runner, all_scripts in TAKEN_OUT:
            runner.alwayson_scripts[:] = all_scripts
        TAKEN_OUT.clear()
        return {}

    @app.get("/lcm-test-neighbours/levels")
    def get_levels():
        return LEVELS


def tell_that_it_serves(demo, app):
    if "marker" in RELOAD:
        Path(RELOAD["marker"]).touch()


at("load")
script_callbacks.on_before_ui(lambda: at("before_ui"))
script_callbacks.on_app_started(add_routes)
script_callbacks.on_app_started(tell_that_it_serves)
script_callbacks.on_cfg_denoiser(on_denoiser)
