"""A WebUI extension for tests: counts what the UNet really computes, independent of what the extension under test says.

GET /lcm-test-probe/calls gives every UNet call since the last DELETE, as {"timesteps": [...], "rows": n, "loras": [names]}.
GET /lcm-test-probe/events gives what callbacks saw since then: {"callback": name, ...}.
POST /lcm-test-probe/behaviour makes the next generation, and only that one, meet another extension or a user who gets in its way:
    {"at_call": 2, "do": "interrupt" | "skip" | "fail" | "preview"}   during the UNet's second call
    {"sigmas": [14.6, 2.0, 0.0]}                                      p.sampler_noise_scheduler_override
    {"count_latents": true}                                           events say how many latents are in memory
Copy or link the folder `probe` into the extensions folder of the WebUI that is to be tested.
"""

import gc
import sys

import torch
from fastapi import Body

from modules import script_callbacks, scripts, shared

CALLS = []
EVENTS = []
BEHAVIOUR = {"next": {}, "now": {}, "calls": 0}


def unet():
    model = shared.sd_model
    forge = getattr(model, "forge_objects", None)
    return forge.unet.model.diffusion_model if forge is not None else model.model.diffusion_model


def loaded_loras():
    networks = sys.modules.get("networks")
    return [net.network_on_disk.name for net in networks.loaded_networks] if networks is not None else []


class ProbeScript(scripts.Script):
    handle = None

    def title(self):
        return "LCM test probe"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return []

    def process(self, p, *args):
        BEHAVIOUR.update(now=BEHAVIOUR["next"], next={}, calls=0)
        sigmas = BEHAVIOUR["now"].get("sigmas")
        if sigmas:
            p.sampler_noise_scheduler_override = lambda steps: torch.tensor(sigmas)
        self.watch()

    def before_hr(self, p, *args):
        self.watch()  # the hires pass may have a checkpoint of its own

    def watch(self):
        if ProbeScript.handle is not None:
            ProbeScript.handle.remove()
        ProbeScript.handle = unet().register_forward_pre_hook(record, with_kwargs=True)

    def postprocess(self, p, processed, *args):
        if ProbeScript.handle is not None:
            ProbeScript.handle.remove()
            ProbeScript.handle = None
        EVENTS.append({"callback": "postprocess", "comments": processed.comments})


def record(module, args, kwargs):
    timesteps = args[1] if len(args) > 1 else kwargs.get("timesteps", kwargs.get("timestep"))
    sample = args[0] if args else kwargs.get("x", kwargs.get("sample"))
    timesteps = [round(float(t), 4) for t in torch.atleast_1d(timesteps)]
    CALLS.append({"timesteps": timesteps, "rows": len(sample), "loras": loaded_loras()})
    count_latents(sample)
    BEHAVIOUR["calls"] += 1
    if BEHAVIOUR["now"].get("at_call") == BEHAVIOUR["calls"]:
        disturb(BEHAVIOUR["now"]["do"])


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
    if what == "preview":
        previews = shared.state.id_live_preview
        shared.state.do_set_current_image()
        EVENTS.append({"callback": "preview", "made": shared.state.id_live_preview - previews})
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


def add_routes(demo, app):
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
    def set_behaviour(wanted: dict = Body(...)):  # noqa: B008 (fastapi's way)
        BEHAVIOUR["next"] = wanted
        return {}


script_callbacks.on_app_started(add_routes)
script_callbacks.on_cfg_denoiser(before_guidance)
script_callbacks.on_cfg_denoised(after_guidance)
