"""A WebUI extension for tests: counts what the UNet really computes, independent of what the extension under test says.

GET /lcm-test-probe/calls gives every UNet call since the last DELETE, as {"timesteps": [...], "rows": n, "loras": [names]}.
Copy or link the folder `probe` into the extensions folder of the WebUI that is to be tested.
"""

import sys

import torch

from modules import script_callbacks, scripts, shared

CALLS = []


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
        if ProbeScript.handle is not None:
            ProbeScript.handle.remove()
        ProbeScript.handle = unet().register_forward_pre_hook(record, with_kwargs=True)

    def before_hr(self, p, *args):
        self.process(p)  # the hires pass may have a checkpoint of its own

    def postprocess(self, p, processed, *args):
        if ProbeScript.handle is not None:
            ProbeScript.handle.remove()
            ProbeScript.handle = None


def record(module, args, kwargs):
    timesteps = args[1] if len(args) > 1 else kwargs.get("timesteps", kwargs.get("timestep"))
    sample = args[0] if args else kwargs.get("x", kwargs.get("sample"))
    timesteps = [round(float(t), 4) for t in torch.atleast_1d(timesteps)]
    CALLS.append({"timesteps": timesteps, "rows": len(sample), "loras": loaded_loras()})


def add_routes(demo, app):
    @app.get("/lcm-test-probe/calls")
    def get_calls():
        return CALLS

    @app.delete("/lcm-test-probe/calls")
    def clear_calls():
        CALLS.clear()
        return {}


script_callbacks.on_app_started(add_routes)
