"""Runs the scripts of one tab: makes their interface, and calls them during a generation."""

from __future__ import annotations

import os

import gradio as gr

from modules import errors, shared
from modules.scripts_base import AlwaysVisible, OnComponent, Script
from workbench.webui import profiles


def wrap_call(func, filename, funcname, *args, default=None, **kwargs):
    """func(...), or `default` with a report if it raises."""
    try:
        return func(*args, **kwargs)
    except Exception:
        errors.report(f"Error calling: {filename}/{funcname}", exc_info=True)
        return default


class ScriptRunner:
    """`inputs` are all components of all scripts, the first being the drop-down; a script's own are
    inputs[args_from:args_to].
    """

    def __init__(self):
        self.scripts = []
        self.selectable_scripts = []
        self.alwayson_scripts = []
        self.titles = []
        self.title_map = {}
        self.infotext_fields = []
        self.paste_field_names = []
        self.inputs = [None]
        self.on_before_component_elem_id = {}
        self.on_after_component_elem_id = {}

    # -- making the scripts and their interface

    def initialize_scripts(self, is_img2img):
        """Make one object of every script class that is for this tab."""
        from modules import scripts

        self.scripts.clear()
        self.alwayson_scripts.clear()
        self.selectable_scripts.clear()
        self.infotext_fields.clear()
        self.paste_field_names.clear()
        for data in scripts.scripts_data:
            try:
                script = data.script_class()
            except Exception:
                errors.report(f"Error initializing a script of {data.path}", exc_info=True)
                continue
            script.filename = data.path
            script.is_txt2img = not is_img2img
            script.is_img2img = is_img2img
            script.tabname = "img2img" if is_img2img else "txt2img"
            visibility = script.show(is_img2img)
            if not visibility:
                continue
            script.alwayson = visibility is AlwaysVisible
            self.scripts.append(script)
            (self.alwayson_scripts if script.alwayson else self.selectable_scripts).append(script)
        self.apply_on_before_component_callbacks()

    def apply_on_before_component_callbacks(self):
        """Take over the component callbacks that scripts have asked for since the last call."""
        for script in self.scripts:
            for wanted, known in (
                (script.on_before_component_elem_id, self.on_before_component_elem_id),
                (script.on_after_component_elem_id, self.on_after_component_elem_id),
            ):
                for elem_id, callback in wanted or []:
                    known.setdefault(elem_id, []).append((callback, script))
            script.on_before_component_elem_id = script.on_after_component_elem_id = None

    def prepare_ui(self):
        self.inputs = [None]

    def create_script_ui(self, script):
        script.args_from = script.args_to = len(self.inputs)
        try:
            self._create_script_ui(script)
        except Exception:
            errors.report(f"Error creating UI for {script.name}: ", exc_info=True)

    def _create_script_ui(self, script):
        from modules.api import models

        controls = wrap_call(script.ui, script.filename, "ui", script.is_img2img)
        script.controls = controls
        if controls is None:
            return
        script.name = wrap_call(script.title, script.filename, "title", default=script.filename).lower()
        for control in controls:
            control.custom_script_source = os.path.basename(script.filename)
        script.api_info = models.ScriptInfo(
            name=script.name,
            is_img2img=script.is_img2img,
            is_alwayson=script.alwayson,
            args=[models.describe_arg(c) for c in controls],
        )
        self.infotext_fields += script.infotext_fields or []
        self.paste_field_names += script.paste_field_names or []
        self.inputs += controls
        script.args_to = len(self.inputs)

    def setup_ui_for_section(self, section, scriptlist=None):
        for script in self.alwayson_scripts if scriptlist is None else scriptlist:
            if script.alwayson and script.section != section:
                continue
            if script.create_group:
                with gr.Group(visible=script.alwayson) as group:
                    self.create_script_ui(script)
                script.group = group
            else:
                self.create_script_ui(script)

    def setup_ui(self):
        """Make the interface of all scripts, with a drop-down for the selectable ones. Returns all inputs."""
        titles = {
            script: wrap_call(script.title, script.filename, "title") or script.filename
            for script in self.scripts
        }
        self.title_map = {title.lower(): script for script, title in titles.items()}
        self.titles = [titles[script] for script in self.selectable_scripts]
        self.setup_ui_for_section(None)

        dropdown = gr.Dropdown(
            label="Script", elem_id="script_list", choices=["None", *self.titles], value="None", type="index"
        )
        self.inputs[0] = dropdown
        self.setup_ui_for_section(None, self.selectable_scripts)
        groups = [script.group for script in self.selectable_scripts]
        if groups:
            dropdown.change(
                fn=lambda chosen: {
                    group: gr.update(visible=place == chosen) for place, group in enumerate(groups, start=1)
                },
                inputs=[dropdown],
                outputs=groups,
            )
        self.apply_on_before_component_callbacks()
        return self.inputs

    def script(self, title):
        return self.title_map.get(title.lower())

    def set_named_arg(self, args, script_name, arg_elem_id, value, fuzzy=False):
        """The args with the value of one component of a script replaced. Raises RuntimeError if there is no
        such component.
        """
        script = next((script for script in self.scripts if script.name == script_name), None)
        if script is None:
            raise RuntimeError(f"script {script_name} not found")
        for i, control in enumerate(script.controls):
            if (arg_elem_id in control.elem_id) if fuzzy else (arg_elem_id == control.elem_id):
                changed = list(args)
                changed[script.args_from + i] = value
                return type(args)(changed)
        raise RuntimeError(f"arg_elem_id {arg_elem_id} not found in script {script_name}")

    # -- during a generation

    def ordered_scripts(self, method_name):
        """The scripts that have a method of that name of their own, in the order they were loaded."""
        candidates = (
            self.scripts if method_name in ("before_component", "after_component") else self.alwayson_scripts
        )
        return [
            script
            for script in candidates
            if getattr(type(script), method_name, None) is not getattr(Script, method_name, None)
        ]

    def _call(self, method_name, p, *args, **kwargs):
        """Call a method of every always-on script. An exception is reported and swallowed, as the WebUI
        does.
        """
        for script in self.ordered_scripts(method_name):
            try:
                script_args = p.script_args[script.args_from : script.args_to]
                getattr(script, method_name)(p, *args, *script_args, **kwargs)
            except Exception:
                errors.report(f"Error running {method_name}: {script.filename}", exc_info=True)

    def run(self, p, *args):
        """Run the script chosen in the drop-down; None if there is none."""
        chosen = args[0]
        if not chosen:
            return None
        script = self.selectable_scripts[chosen - 1]
        processed = script.run(p, *args[script.args_from : script.args_to])
        shared.total_tqdm.clear()
        return processed

    def setup_scrips(self, p, *, is_ui=True):
        for script in self.ordered_scripts("setup"):
            if script.setup_for_ui_only and not is_ui:
                continue
            try:
                script.setup(p, *p.script_args[script.args_from : script.args_to])
            except Exception:
                errors.report(f"Error running setup: {script.filename}", exc_info=True)

    def before_process(self, p):
        self._call("before_process", p)

    def process(self, p):
        self._call("process", p)

    def before_process_batch(self, p, **kwargs):
        self._call("before_process_batch", p, **kwargs)

    def after_extra_networks_activate(self, p, **kwargs):
        self._call("after_extra_networks_activate", p, **kwargs)

    def process_batch(self, p, **kwargs):
        self._call("process_batch", p, **kwargs)

    def process_before_every_sampling(self, p, **kwargs):
        if profiles.active.every_sampling_callback:
            self._call("process_before_every_sampling", p, **kwargs)

    def before_hr(self, p):
        self._call("before_hr", p)

    def post_sample(self, p, ps):
        if profiles.active.late_image_callbacks:
            self._call("post_sample", p, ps)

    def on_mask_blend(self, p, mba):
        if profiles.active.late_image_callbacks:
            self._call("on_mask_blend", p, mba)

    def postprocess_batch(self, p, images, **kwargs):
        self._call("postprocess_batch", p, images=images, **kwargs)

    def postprocess_batch_list(self, p, pp, **kwargs):
        self._call("postprocess_batch_list", p, pp, **kwargs)

    def postprocess_image(self, p, pp):
        self._call("postprocess_image", p, pp)

    def postprocess_maskoverlay(self, p, ppmo):
        if profiles.active.late_image_callbacks:
            self._call("postprocess_maskoverlay", p, ppmo)

    def postprocess_image_after_composite(self, p, pp):
        if profiles.active.late_image_callbacks:
            self._call("postprocess_image_after_composite", p, pp)

    def postprocess(self, p, processed):
        self._call("postprocess", p, processed)

    # -- while the page is built

    def before_component(self, component, **kwargs):
        self._component_event(
            "before_component", self.on_before_component_elem_id.get(kwargs.get("elem_id")), component, kwargs
        )

    def after_component(self, component, **kwargs):
        self._component_event(
            "after_component", self.on_after_component_elem_id.get(component.elem_id), component, kwargs
        )

    def _component_event(self, method_name, wanted, component, kwargs):
        for callback, script in wanted or []:
            wrap_call(callback, script.filename, f"on_{method_name}", OnComponent(component=component))
        for script in self.ordered_scripts(method_name):
            wrap_call(getattr(script, method_name), script.filename, method_name, component, **kwargs)
