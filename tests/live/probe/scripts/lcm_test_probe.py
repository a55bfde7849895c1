"""A WebUI extension for tests: counts what the UNet really computes, independent of what the extension under
test says.

GET /lcm-test-probe/calls gives every UNet call since the last DELETE, as {"timesteps": [...], "rows": n,
    "loras": [names]}.
GET /lcm-test-probe/events gives what callbacks saw since then: {"callback": name, ...}.
GET /lcm-test-probe/settings gives the values of all settings, those of extensions too.
GET /lcm-test-probe/scripts describes the scripts and their arguments, also where the WebUI's own route fails
    at that.
GET /lcm-test-probe/looks says how often the LoRA folder was listed so far.
GET /lcm-test-probe/tiny-decoders says where the WebUI looks for those files, and DELETE makes it read them
    again. What would download one is an event of "download", and fails.
GET /lcm-test-probe/host says which WebUI this is, by what it has: {"name": "a1111-1.6" ... "a1111-1.10" |
    "forge" | "reforge" | "classic" | "neo"}.
POST /lcm-test-probe/behaviour makes the next generation, and only that one, meet another extension or a user
    who gets in its way:
    {"at_call": 2, "do": "interrupt" | "skip" | "fail" | "preview"}  in the UNet's second call; 0: before it
    {"at_call": 2, "do": "out of memory" | "nan"}  for want of memory, or a latent of nothing but NaN
    {"at_call": 2, "do": "interrogate"}         somebody has another picture described
    {"at_call": 2, "do": "hold"}                it waits until POST /lcm-test-probe/release
    {"sigmas": [14.6, 2.0, 0.0]}                p.sampler_noise_scheduler_override
    {"count_latents": true}                     events say how many latents are in memory
    {"soft_mask": true}                         on_mask_blend: half of the original stays
    {"edit_model": true}                        the checkpoint is one of InstructPix2Pix
The hidden button #lcm_test_probe_reset_txt2img (_img2img), first pressed on a fresh page, puts back on its
    tab whatever was there then.
The style "LCM test probe" is in the list of styles; it adds an LCM-LoRA's tag and a negative prompt.
Copy or link the folder `probe` into the extensions folder of the WebUI that is to be tested.
"""

import gc
import importlib.util
import os
import sys
import threading
from collections import Counter

import gradio as gr
import torch
from fastapi import Body

from modules import paths_internal, script_callbacks, scripts, sd_vae_taesd, shared

CALLS = []
EVENTS = []
RELEASED = threading.Event()
LONGEST_HOLD = 120  # seconds
LOOKS = Counter()
BEHAVIOUR = {"next": {}, "now": {}, "calls": 0}

styles = shared.prompt_styles
styles.styles["LCM test probe"] = styles.no_style._replace(
    name="LCM test probe", prompt="{prompt} <lora:lcm_lora_sd15:0.35>", negative_prompt="smudged"
)


list_folder = os.scandir


def scandir(path="."):
    if not isinstance(path, int):  # shutil.rmtree names an open folder
        LOOKS[os.path.realpath(path)] += 1
    return list_folder(path)


os.scandir = scandir

download_to_file = torch.hub.download_url_to_file


def download(address, *args, **kwargs):
    if "taesd" not in address:
        return download_to_file(address, *args, **kwargs)
    EVENTS.append({"callback": "download", "address": address})
    raise ConnectionError("the test probe lets no decoder be downloaded")


torch.hub.download_url_to_file = download


def unet():
    model = shared.sd_model
    forge = getattr(model, "forge_objects", None)
    return forge.unet.model.diffusion_model if forge is not None else model.model.diffusion_model


def loaded_loras():
    networks = sys.modules.get("networks")
    return [net.network_on_disk.name for net in networks.loaded_networks] if networks is not None else []


# The first values that gradio gives are kept; these, and no others, are what it gets back, each time. As
# copies: it changes lists in place.
RESET = (
    "(...values) => JSON.parse((window.lcmTestProbe ??= {}).TAB ??= JSON.stringify(values.slice(0, COUNT)))"
)
RESET_TYPES = (
    gr.Textbox,
    gr.Number,
    gr.Slider,
    gr.Checkbox,
    gr.CheckboxGroup,
    gr.Radio,
    gr.Dropdown,
    gr.Image,
    gr.Gallery,
    gr.HTML,
)
FOLLOWING = (
    "_status",
    "_quality",
    "_exchange",
    "_done",
    "_pasted",
    "_token_counter",
    "_negative_token_counter",
)
"""What follows from the rest of the page, or is no value: the ends of element ids."""


class ProbeScript(scripts.Script):
    handle = None

    def __init__(self):
        super().__init__()
        self.components = []
        self.reset = None
        self.is_last = False

    def title(self):
        return "LCM test probe"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        if not self.is_last:  # else the API makes controls that no page has
            self.reset = gr.Button(
                "", visible=False, elem_id=f"lcm_test_probe_reset_{'img2img' if is_img2img else 'txt2img'}"
            )
        return []

    def after_component(self, component, **kwargs):
        if self.is_last and self.reset is not None:  # the one after the last: by now all have their events
            tab = "img2img" if self.is_img2img else "txt2img"
            js = RESET.replace("TAB", tab).replace("COUNT", str(len(self.components)))
            self.reset.click(
                fn=None, _js=js, inputs=self.components, outputs=self.components, show_progress=False
            )
            self.reset = None
        name = kwargs.get("elem_id") or ""
        if isinstance(component, RESET_TYPES) and not name.endswith(FOLLOWING):
            self.components.append(component)
        self.is_last = self.is_last or name.startswith("generation_info_")

    def process(self, p, *args):
        # img2img encodes its picture with the random numbers that the generation before has left
        torch.manual_seed(0)
        BEHAVIOUR.update(now=BEHAVIOUR["next"], next={}, calls=0)
        sigmas = BEHAVIOUR["now"].get("sigmas")
        if sigmas:
            p.sampler_noise_scheduler_override = lambda steps: torch.tensor(sigmas)
        EVENTS.append(
            {"callback": "process", "prompts": list(p.all_prompts), "seed": p.all_seeds[0], "width": p.width}
        )
        if BEHAVIOUR["now"].get("edit_model"):
            p.sd_model.cond_stage_key = "edit"
        self.watch()
        if BEHAVIOUR["now"].get("at_call") == 0:
            disturb(BEHAVIOUR["now"]["do"])

    def before_process_batch(self, p, *args, **kwargs):
        self.watch()  # after a hires pass with a checkpoint of its own

    def before_hr(self, p, *args):
        self.watch()

    def watch(self):
        if ProbeScript.handle is not None:
            ProbeScript.handle.remove()
        ProbeScript.handle = unet().register_forward_pre_hook(record, with_kwargs=True)

    def after_extra_networks_activate(self, p, *args, **kwargs):
        data = kwargs["extra_network_data"]
        EVENTS.append(
            {
                "callback": "networks",
                "lora": [
                    {"items": tag.items, "positional": tag.positional, "named": tag.named}
                    for tag in data.get("lora", [])
                ],
                "are_own": data is p.extra_network_data,
            }
        )

    def on_mask_blend(self, p, mba, *args):
        if not BEHAVIOUR["now"].get("soft_mask"):
            return
        EVENTS.append(
            {"callback": "mask_blend", "sigma": None if mba.is_final_blend else round(float(mba.sigma[0]), 4)}
        )
        if not mba.is_final_blend:
            mba.blended_latent = torch.lerp(mba.blended_latent, mba.init_latent, 0.5)

    def postprocess(self, p, processed, *args):
        if BEHAVIOUR["now"].get("edit_model"):
            p.sd_model.cond_stage_key = "txt"
        # the watch goes on: a detailer calls this before its inner generation, in which it runs none of our
        # callbacks
        EVENTS.append({"callback": "postprocess", "comments": processed.comments})


def record(module, args, kwargs):
    timesteps = args[1] if len(args) > 1 else kwargs.get("timesteps", kwargs.get("timestep"))
    sample = args[0] if args else kwargs.get("x", kwargs.get("sample"))
    timesteps = [round(float(t), 4) for t in torch.atleast_1d(timesteps)]
    CALLS.append({"timesteps": timesteps, "rows": len(sample), "loras": loaded_loras()})
    count_latents(sample)
    BEHAVIOUR["calls"] += 1
    if BEHAVIOUR["now"].get("at_call") == BEHAVIOUR["calls"]:
        if BEHAVIOUR["now"]["do"] == "nan":
            no_number = torch.full_like(sample, torch.nan)
            return ((no_number, *args[1:]), kwargs) if args else (args, {**kwargs, "x": no_number})
        disturb(BEHAVIOUR["now"]["do"])
    return None


def count_latents(like):
    """Notes how many latents of the size of `like`'s rows are alive; views of one storage count once."""
    if not BEHAVIOUR["now"].get("count_latents"):
        return
    gc.collect()
    size = like[0].nbytes
    storages = {}
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor and thing.ndim == 4 and thing.shape[1:] == like.shape[1:]:
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    EVENTS.append({"callback": "latents", "alive": sum(storages.values()) / size})


def disturb(what):
    if what == "fail":
        raise RuntimeError("the LCM test probe fails in the middle of sampling")
    if what == "out of memory":
        raise torch.cuda.OutOfMemoryError("CUDA out of memory: the LCM test probe takes all of it")
    if what == "preview":
        previews = shared.state.id_live_preview
        shared.state.do_set_current_image()
        EVENTS.append({"callback": "preview", "made": shared.state.id_live_preview - previews})
    elif what == "interrogate":
        shared.state.begin(job="interrogate")
    elif what == "hold":
        EVENTS.append({"callback": "held"})
        RELEASED.wait(LONGEST_HOLD)
    else:
        getattr(shared.state, what)()


def rows(value):
    """Rows of a conditioning: a tensor, SDXL's dictionary of tensors, or None."""
    value = next(iter(value.values())) if isinstance(value, dict) else value
    return None if value is None else len(value)


def fingerprint(value):
    value = value.get("crossattn") if isinstance(value, dict) else value
    return round(value.double().abs().sum().item(), 4)


def before_guidance(params):
    EVENTS.append(
        {
            "callback": "cfg_denoiser",
            "x": len(params.x),
            "sigma": [round(level, 4) for level in params.sigma.tolist()],
            "cond": rows(params.text_cond),
            "uncond": rows(params.text_uncond),
            "text": fingerprint(params.text_cond),
        }
    )


def after_guidance(params):
    EVENTS.append({"callback": "cfg_denoised", "x": len(params.x)})
    count_latents(params.x)


HOSTS = {  # the newest first, with a module that none before it has
    "a1111-1.10": "modules.models.sd3",
    "a1111-1.9": "modules.sd_schedulers",
    "a1111-1.8": "modules.sd_samplers_lcm",
    "a1111-1.7": "modules.ui_toprow",
}


def host_name():
    def has(module):
        try:
            return importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # not even the package that it would be in
            return False

    if has("modules_forge"):
        if has("ldm_patched"):
            return "reforge" if has("modules.sd_schedulers") else "classic"
        return "neo" if has("modules_forge.presets") else "forge"
    return next((name for name, module in HOSTS.items() if has(module)), "a1111-1.6")


def described(info):
    args = [{"label": arg.label, "value": arg.value, "choices": labels_of(arg.choices)} for arg in info.args]
    return {"name": info.name, "is_img2img": info.is_img2img, "args": args}


def labels_of(choices):
    """gradio's newer versions make pairs of label and value of the choices, which A1111 1.6 does not allow
    for.
    """
    return choices and [choice[0] if isinstance(choice, tuple) else choice for choice in choices]


def add_routes(demo, app):
    @app.get("/lcm-test-probe/host")
    def get_host():
        return {"name": host_name()}

    @app.get("/lcm-test-probe/looks")
    def get_looks():
        return LOOKS[os.path.realpath(shared.cmd_opts.lora_dir)]

    @app.get("/lcm-test-probe/tiny-decoders")
    def get_tiny_decoders():
        return os.path.join(paths_internal.models_path, "VAE-taesd")

    @app.delete("/lcm-test-probe/tiny-decoders")
    def forget_tiny_decoders():
        sd_vae_taesd.sd_vae_taesd_models.clear()
        return {}

    @app.get("/lcm-test-probe/settings")
    def get_settings():
        return {
            name: shared.opts.data.get(name, label.default) for name, label in shared.opts.data_labels.items()
        }

    @app.get("/lcm-test-probe/scripts")
    def get_scripts():
        both = [*scripts.scripts_txt2img.scripts, *scripts.scripts_img2img.scripts]
        return [described(script.api_info) for script in both if script.api_info is not None]

    @app.get("/lcm-test-probe/calls")
    def get_calls():
        return CALLS

    @app.get("/lcm-test-probe/events")
    def get_events():
        return EVENTS

    @app.delete("/lcm-test-probe/calls")
    def clear_calls():
        CALLS.clear()
        EVENTS.clear()
        return {}

    @app.post("/lcm-test-probe/behaviour")
    def set_behaviour(wanted: dict = Body(...)):
        RELEASED.clear()
        BEHAVIOUR["next"] = wanted
        return {}

    @app.post("/lcm-test-probe/release")
    def release():
        RELEASED.set()
        return {}


def after_saving(params):
    EVENTS.append({"callback": "image_saved", "filename": params.filename})


script_callbacks.on_app_started(add_routes)
script_callbacks.on_cfg_denoiser(before_guidance)
script_callbacks.on_cfg_denoised(after_guidance)
script_callbacks.on_image_saved(after_saving)
