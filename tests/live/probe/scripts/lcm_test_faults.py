"""A WebUI extension for tests: other extensions' scripts that fail in their callbacks, one before LCM's and
one after it.

Their one argument, over the API: a list of callbacks' names; the script raises in each of them.
GET /lcm-test-faults/state gives {"callbacks": all their names, "order": titles of the always-on scripts,
"raised": ["title: callback", ...] since this was last asked, "resident": bytes of memory that this process
has}.
"""

import gradio as gr
import psutil

from modules import script_callbacks, scripts

RAISED = []
WANTED = {}
CALLBACKS = (
    "setup",
    "before_process",
    "process",
    "before_process_batch",
    "after_extra_networks_activate",
    "process_batch",
    "process_before_every_sampling",
    "before_hr",
    "post_sample",
    "postprocess_batch",
    "postprocess_batch_list",
    "postprocess_image",
    "postprocess_maskoverlay",
    "postprocess_image_after_composite",
    "postprocess",
)
SAMPLING_CALLBACKS = ("cfg_denoiser", "cfg_denoised", "cfg_after_cfg")
"""Those of `script_callbacks`."""


class Fault(Exception):
    pass


class _Faulty:
    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Textbox(visible=False)]


def _raise(title, callback):
    RAISED.append(f"{title}: {callback}")
    raise Fault(f"{title} fails in {callback}")


def _raising(callback):
    def method(self, p, *args, **kwargs):
        # its own argument is the last; what the WebUI passes to this callback comes before it
        wanted = args[-1] if args and isinstance(args[-1], list) else []
        if callback in ("setup", "before_process"):  # not every WebUI has the first
            WANTED[self.title()] = wanted
        if callback in wanted:
            _raise(self.title(), callback)

    return method


for _callback in CALLBACKS:
    setattr(_Faulty, _callback, _raising(_callback))


class FaultyBefore(_Faulty, scripts.Script):
    def title(self):
        return "LCM test fault before"


class FaultyAfter(_Faulty, scripts.Script):
    def title(self):
        return "LCM test fault after"


TITLES = (FaultyBefore().title(), FaultyAfter().title())


def put_in_order(demo, app):
    """Whatever the folders are called: one script first, the other last."""
    for runner in (scripts.scripts_txt2img, scripts.scripts_img2img):
        runner.alwayson_scripts.sort(key=lambda script: {TITLES[0]: 0, TITLES[1]: 2}.get(script.title(), 1))

    @app.get("/lcm-test-faults/state")
    def state():
        raised = RAISED.copy()
        RAISED.clear()
        order = [script.title() for script in scripts.scripts_txt2img.alwayson_scripts]
        resident = psutil.Process().memory_info().rss
        callbacks = [*CALLBACKS, *SAMPLING_CALLBACKS]
        return {"callbacks": callbacks, "order": order, "raised": raised, "resident": resident}


def _raising_in_sampling(callback):
    def function(params):
        titles = [title for title, wanted in WANTED.items() if callback in wanted]
        if titles:
            _raise(titles[0], callback)

    return function


script_callbacks.on_app_started(put_in_order)
for _callback in SAMPLING_CALLBACKS:
    getattr(script_callbacks, f"on_{_callback}")(_raising_in_sampling(_callback))
