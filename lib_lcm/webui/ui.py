"""The LCM accordion on the txt2img and img2img tabs.

Everything that may change what a generation does puts a new token into the hidden text box `ask`; that alone asks the server for the status
line, so that answers come in order. gradio 3 drops a question that is asked while another is being answered: the answer carries its token,
and where that is not the newest one the page asks again. gradio 4 keeps that question and asks it by itself, so it is asked once more under
its own token, not a new one: else each answer would find a newer token, for ever.
"""

from __future__ import annotations

import itertools
import json
import time

import gradio as gr

from lib_lcm import presets, texts
from lib_lcm.options import (
    DEFAULT_GAMMA,
    LCM,
    MAX_GAMMA,
    MAX_WEIGHT,
    MIN_GAMMA,
    MIN_WEIGHT,
    OPTIONS,
    SAMPLER_LABELS,
    SCHEDULE_LABELS,
    TCD,
)
from lib_lcm.webui import family_defaults, first_values, host, infotext, live, settings, status_panel
from lib_lcm.webui.host_controls import UNCHANGED, HostControls
from lib_lcm.webui.lora_control import LoraControl, entry_now, remember_button
from modules import ui_components

OPTION = {option.name: option for option in OPTIONS}
PROBLEM = "problem: "
"""How a token begins that brings a sentence for the status line."""
AGAIN = " |again "
"""What stands in a token that is asked once more, between the token and something new."""
TYPING_PAUSE, MOMENT = 400, 50
"""Milliseconds without a change until the status line is asked for: in a text field, anywhere else."""

_counter = itertools.count()


class RestoredField(str):
    """The name of a control in the WebUI's paste fields, and what reads it from pasted generation parameters.

    A string, so that "Send to img2img" finds the control of the same name on the other tab; callable, so that pasting asks `read`.
    """

    def __new__(cls, name: str, read):
        field = super().__new__(cls, name)
        field.read = read
        return field

    def __call__(self, pasted):
        return self.read(pasted)  # None leaves the control as it is, on the page and over the API


class Accordion:
    """The controls of one tab; `controls` are the script's arguments, in the order of OPTIONS."""

    def __init__(self, elem_id, host_controls: HostControls):
        """`elem_id` makes an element id from a short name. `connect` makes it work, when the WebUI's own controls are all there."""
        self.host_controls = host_controls
        limits = settings.limits()
        built_in = settings.DEFAULTS

        def slider(name: str, minimum, maximum, value, step, visible=True):
            return gr.Slider(minimum, maximum, value, step=step, label=OPTION[name].label, elem_id=elem_id(name), visible=visible)

        def radio(name: str, labels: dict[str, str], value: str):
            return gr.Radio(list(labels.values()), value=labels[value], label=OPTION[name].label, elem_id=elem_id(name))

        with ui_components.InputAccordion(False, label=OPTION["enabled"].label, elem_id=elem_id("enabled")) as enabled:
            self.status = gr.HTML(self._status_of_fresh_page, elem_id=elem_id("status"))
            self.quality = gr.Radio(
                presets.preset_labels(limits), value=self._preset_of_fresh_page, label=texts.QUALITY, elem_id=elem_id("quality")
            )
            with ui_components.FormRow():
                steps = slider("steps", limits.min_steps, limits.max_steps, built_in.steps, 1)
                cfg = slider("cfg", limits.min_cfg, limits.max_cfg, built_in.cfg, 0.1)
            weight = slider("weight", MIN_WEIGHT, MAX_WEIGHT, built_in.weight, 0.05)
            self.lora = LoraControl(elem_id)
            with ui_components.FormRow():
                schedule = radio("schedule", SCHEDULE_LABELS, built_in.schedule)
                sampler = radio("sampler", SAMPLER_LABELS, LCM)
                gamma = slider("gamma", MIN_GAMMA, MAX_GAMMA, DEFAULT_GAMMA, 0.05, visible=False)
            live.create_controls(elem_id)
            hidden = {"visible": False, "show_label": False}
            self.ask = gr.Textbox("", elem_id=elem_id("ask"), **hidden)
            self.answered = gr.Textbox("", elem_id=elem_id("answered"), **hidden)
            self.shown_quality = gr.Textbox("", elem_id=elem_id("shown_quality"), **hidden)
            self.is_scaled = gr.Checkbox(False, elem_id=elem_id("is_scaled"), **hidden)
            self.kept = gr.Textbox("", elem_id=elem_id("kept"), **hidden)
            self.kept_of_fresh_page = gr.Textbox(self._kept_of_fresh_page, elem_id=elem_id("kept_of_fresh_page"), **hidden)
            self.pasted = gr.Textbox("", elem_id=elem_id("pasted"), **hidden)
        self.controls = [enabled, weight, steps, cfg, self.lora.dropdown, schedule, sampler, gamma]
        self.enabled, self.steps, self.cfg, self.weight, self.gamma = enabled, steps, cfg, weight, gamma
        _follow_settings(steps, cfg, weight, schedule, gamma)
        first_values.only_on_page(enabled)
        for control, option in zip(self.controls, OPTIONS, strict=True):
            host.set_tooltip(control, option.help)
        host.set_tooltip(self.quality, texts.QUALITY_HELP)
        of_page = (self.ask, self.answered, self.is_scaled, self.shown_quality, self.kept, self.kept_of_fresh_page, self.pasted)
        for component in (self.quality, *of_page):
            component.do_not_save_to_config = True  # none of them is a setting of the user's
        fields = [RestoredField(f"LCM {option.name}", READ.get(option.name, infotext.RESTORE[option.name])) for option in OPTIONS]
        self.paste_field_names = [str(field) for field in fields]
        self.infotext_fields = [
            *zip(self.controls, fields, strict=True),
            (self.pasted, RestoredField("LCM pasted", lambda pasted: _token() if infotext.RESTORE["enabled"](pasted) else None)),
            (self.ask, RestoredField("LCM ask", lambda pasted: _token())),
        ]

    def connect(self, generation_info) -> None:
        """Makes the accordion work. `generation_info` is the text of the last generation: it changes when one has ended."""
        components = self.host_controls.components
        typed = {name for names in host.PROMPTS for name in names}
        for role, component in components.items():
            self._ask_when_changed(component, TYPING_PAUSE if role in typed else MOMENT)
        for component in [*self.controls, generation_info]:
            self._ask_when_changed(component, MOMENT)
        self.ask.change(
            self._answer,
            _js=f"(ask, isScaled, ...rest) => [ask, {self.host_controls.is_scaled_js}, ...rest]",
            inputs=[self.ask, self.is_scaled, *self.controls, *components.values()],
            outputs=[self.answered, self.status, self.quality, self.shown_quality, self.gamma, self.lora.remember],
            show_progress=False,
            queue=False,
        )
        again = (
            f"(ask, answered) => {{ const [asked, known] = [ask, answered].map(token => token.split({json.dumps(AGAIN)})[0]); "
            f"return asked === known ? {UNCHANGED} : asked + {json.dumps(AGAIN)} + Date.now(); }}"
        )
        self.answered.change(fn=None, _js=again, inputs=[self.ask, self.answered], outputs=[self.ask], show_progress=False)
        self._set_sliders_when_picked()
        family_defaults.follow(self.lora.refresh, steps=self.steps, cfg=self.cfg, weight=self.weight)
        self.lora.connect(self.ask, question=_token, complaint=lambda problem: f"{PROBLEM}{problem}")
        self.host_controls.keep_through_paste(self.enabled, self.kept, self.kept_of_fresh_page, self.pasted)

    def _ask_when_changed(self, component, pause: int) -> None:
        """Of several changes on this tab within the pause only the last one asks."""
        latest = f"window.lcmAsked_{self.host_controls.tab}"
        js = (
            f"async () => {{ const asked = {latest} = {{}}; "
            f"await new Promise(resolve => setTimeout(resolve, {pause})); "
            f"return {latest} === asked ? `${{Date.now()}}` : {UNCHANGED}; }}"
        )
        component.change(fn=None, _js=js, inputs=[], outputs=[self.ask], show_progress=False)

    def _set_sliders_when_picked(self) -> None:
        """A preset sets the sliders when the user picks it, and not when an answer says which one the sliders stand at.

        gradio 4 calls both an input. So what is shown already, by the last answer or pick, is left alone: the sliders may have moved on.
        """
        sliders = {label: presets.sliders_of(label) for label in presets.preset_labels(settings.limits())}
        js = (
            f"(picked, shown) => {{ const values = picked !== shown && ({json.dumps(sliders)})[picked]; "
            f"return [...(values || [{UNCHANGED}, {UNCHANGED}]), picked]; }}"
        )
        inputs, outputs = [self.quality, self.shown_quality], [self.steps, self.cfg, self.shown_quality]
        self.quality.input(fn=None, _js=js, inputs=inputs, outputs=outputs, show_progress=False)

    def _answer(self, token: str, is_scaled: bool, *values):
        args, of_host = values[: len(self.controls)], values[len(self.controls) :]
        question = token.split(AGAIN)[0]
        problem = question[len(PROBLEM) :] if question.startswith(PROBLEM) else None
        value = dict(zip(OPTION, args, strict=True))
        preset = presets.preset_of(value["steps"], value["cfg"])
        gamma = gr.update(visible=value["sampler"] == SAMPLER_LABELS[TCD])
        status = self._html(args, of_host, problem=problem, is_scaled=is_scaled)
        return token, status, preset, preset, gamma, remember_button(value["lora"])

    def _html(self, args, of_host, is_fresh: bool = False, **asked) -> str:
        controls = dict(zip(self.host_controls.components, of_host, strict=True))
        is_img2img = self.host_controls.tab == "img2img"
        given = status_panel.answer(status_panel.Asked(args, controls, is_img2img, **asked))
        return status_panel.render(given, self.host_controls, is_fresh)

    # What a page shows when it is opened, before anything has asked: made anew each time, from the defaults that the user may have saved.

    def _status_of_fresh_page(self) -> str:
        if not hasattr(self, "controls"):
            return ""
        args = [first_values.on_page(control) for control in self.controls]
        return self._html(args, [component.value for component in self.host_controls.components.values()], is_fresh=True)

    def _preset_of_fresh_page(self) -> str:
        return presets.preset_of(self.steps.value, self.cfg.value) if hasattr(self, "controls") else texts.CUSTOM

    def _kept_of_fresh_page(self) -> str:
        return json.dumps(self.host_controls.overruled_values())


def _follow_settings(steps, cfg, weight, schedule, gamma) -> None:
    """What these controls start with where the user has saved no other defaults for the page."""

    def now():
        return settings.defaults(family_defaults.loaded_family())

    def step_bounds():
        limits = settings.limits()
        return limits.min_steps, limits.max_steps

    def cfg_bounds():
        limits = settings.limits()
        return limits.min_cfg, limits.max_cfg

    built_in = settings.DEFAULTS
    first_values.follow_settings(steps, built_in.steps, lambda: now().steps, step_bounds)
    first_values.follow_settings(cfg, built_in.cfg, lambda: now().cfg, cfg_bounds)
    first_values.follow_settings(weight, built_in.weight, lambda: now().weight, lambda: (MIN_WEIGHT, MAX_WEIGHT))
    first_values.follow_settings(gamma, DEFAULT_GAMMA, lambda: DEFAULT_GAMMA, lambda: (MIN_GAMMA, MAX_GAMMA))
    first_values.follow_settings(schedule, SCHEDULE_LABELS[built_in.schedule], lambda: SCHEDULE_LABELS[now().schedule])


def _token() -> str:
    """Another one each time."""
    return f"{time.time()} {next(_counter)}"


def _read_lora(pasted):
    option = infotext.RESTORE["lora"](pasted)
    return None if option is None else entry_now(option)


READ = {"lora": _read_lora}
"""Option name -> what reads it from pasted generation parameters, where the control shows it in another way."""
