"""The LCM accordion on the txt2img and img2img tabs.

Whatever may change what a generation does makes javascript/lcm.js ask `_answer`, which says all that the
accordion is to show. How page and server talk is told in that file.
"""

from __future__ import annotations

import itertools
import json
import time

import gradio as gr

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
from lib_lcm.plan import presets
from lib_lcm.text import Text
from lib_lcm.webui import loras, settings
from lib_lcm.webui.host import models, page, prompts
from lib_lcm.webui.page import family_defaults, first_values, host_controls, live, status_panel
from lib_lcm.webui.page import paste as infotext
from lib_lcm.webui.page.host_controls import HostControls
from lib_lcm.webui.page.lora_control import LoraControl, entry_now, remember_button, row_for

OPTION = {option.name: option for option in OPTIONS}

_counter = itertools.count()


class RestoredField(str):
    """The name of a control in the WebUI's paste fields, and what reads it from pasted generation parameters.

    A string, so that "Send to img2img" finds the control of the same name on the other tab; callable, so that
    pasting asks `read`.
    """

    def __new__(cls, name: str, read):
        field = super().__new__(cls, name)
        field.read = read
        return field

    def __call__(self, pasted):
        return self.read(pasted)  # None leaves the control as it is, on the page and over the API


class Accordion:
    """The controls of one tab; `controls` are the script's arguments, in the order of OPTIONS."""

    def __init__(self, elem_id, controls_of_host: HostControls):
        """`elem_id` makes an element id from a short name. `connect` makes it work, when the WebUI's own
        controls are all there.
        """
        self.host_controls = controls_of_host
        limits = settings.limits()
        built_in = settings.DEFAULTS

        def slider(name: str, minimum, maximum, value, step, visible=True):
            return gr.Slider(
                minimum,
                maximum,
                value,
                step=step,
                label=OPTION[name].label,
                elem_id=elem_id(name),
                visible=visible,
            )

        def radio(name: str, labels: dict[str, str], value: str):
            return gr.Radio(
                list(labels.values()), value=labels[value], label=OPTION[name].label, elem_id=elem_id(name)
            )

        with page.InputAccordion(False, label=OPTION["enabled"].label, elem_id=elem_id("enabled")) as enabled:
            self.status = gr.HTML("", elem_id=elem_id("status"))
            self.quality = gr.Radio(
                presets.preset_labels(limits), label=Text("Quality"), elem_id=elem_id("quality")
            )
            with page.FormRow():
                steps = slider("steps", limits.min_steps, limits.max_steps, built_in.steps, 1)
                cfg = slider("cfg", limits.min_cfg, limits.max_cfg, built_in.cfg, 0.1)
            weight = slider("weight", MIN_WEIGHT, MAX_WEIGHT, built_in.weight, 0.05)
            self.lora = LoraControl(elem_id)
            with page.FormRow():
                schedule = radio("schedule", SCHEDULE_LABELS, built_in.schedule)
                sampler = radio("sampler", SAMPLER_LABELS, LCM)
                gamma = slider("gamma", MIN_GAMMA, MAX_GAMMA, DEFAULT_GAMMA, 0.05, visible=False)
            live.create_controls(elem_id)
            hidden = {"visible": False, "show_label": False}
            self.ask = gr.Button("", visible=False, elem_id=elem_id("ask"))
            self.exchange = gr.Textbox("", elem_id=elem_id("exchange"), **hidden)
            self.done = gr.Textbox("", elem_id=elem_id("done"), **hidden)
            self.pasted = gr.Textbox("", elem_id=elem_id("pasted"), **hidden)
        self.controls = [enabled, weight, steps, cfg, self.lora.dropdown, schedule, sampler, gamma]
        self.enabled, self.steps, self.cfg, self.weight, self.gamma = enabled, steps, cfg, weight, gamma
        _follow_settings(steps, cfg, weight, schedule, gamma)
        page.change_page_config(
            self.exchange,
            lambda: {"value": json.dumps({"known": {"family": family_defaults.loaded_family().value}})},
        )
        first_values.only_on_page(enabled)
        for control, option in zip(self.controls, OPTIONS, strict=True):
            page.set_tooltip(control, option.help)
        page.set_tooltip(self.quality, Text("Sets steps and CFG scale. Moving a slider makes it Custom."))
        for component in (self.quality, self.ask, self.exchange, self.done, self.pasted):
            component.do_not_save_to_config = True  # none of them is a setting of the user's
        fields = [
            RestoredField(f"LCM {option.name}", READ.get(option.name, infotext.RESTORE[option.name]))
            for option in OPTIONS
        ]
        self.paste_field_names = [str(field) for field in fields]
        self.infotext_fields = [
            *zip(self.controls, fields, strict=True),
            (
                self.pasted,
                RestoredField(
                    "LCM pasted", lambda pasted: _token() if infotext.RESTORE["enabled"](pasted) else None
                ),
            ),
        ]

    def connect(self) -> None:
        """Makes the accordion work, when the WebUI has made all of its own controls."""
        components = self.host_controls.components
        typed = {name for names in prompts.PROMPTS for name in names}
        for role, component in components.items():
            if role == "scaled_size":
                # gradio 4 reports a text as changed with every event, ours too: javascript/lcm.js watches
                # this one
                continue
            self._on(component.change, "changed", role in typed)
        for component in self.controls:
            self._on(component.change, "changed", False)
        self._on(self.lora.refresh.click, "changed", False)
        asked = [*self.controls, *components.values()]
        overruled = [components[role] for role in host_controls.OVERRULED if role in components]
        moving = [self.controls[list(OPTION).index(name)] for name in family_defaults.FOLLOWING]
        place = {id(component): index for index, component in enumerate(asked)}
        places = {"overruled": overruled, "moving": moving}
        self.answered = [
            self.exchange,
            self.status,
            self.quality,
            self.gamma,
            self.lora.dropdown,
            self.lora.remember,
            self.lora.download,
        ]
        self.ask.click(
            self._answer,
            _js=self._js("asking", {name: [place[id(one)] for one in some] for name, some in places.items()}),
            inputs=[self.exchange, *asked],
            outputs=self.answered,
            show_progress=False,
            # of a page that goes away meanwhile, gradio 3 can keep a task for ever, for which "Reload UI"
            # then waits
            queue=False,
        )
        self._on(self.exchange.change, "heard", inputs=[self.exchange, *moving], outputs=moving)
        self._on(self.done.change, "done", inputs=[self.done])
        sliders = {label: presets.sliders_of(label) for label in presets.preset_labels(settings.limits())}
        self._on(
            self.quality.input,
            "picked",
            sliders,
            inputs=[self.quality, self.exchange],
            outputs=[self.steps, self.cfg],
        )
        for component in [self.enabled, *overruled]:
            self._on(component.change, "held", inputs=[self.enabled, *overruled])
        self._on(self.pasted.change, "pasted", len(overruled), outputs=overruled)
        self.lora.connect(self.done)

    def _on(self, event, function: str, *args, inputs=(), outputs=()) -> None:
        """At this event of a component, the page calls a function of javascript/lcm.js with `args` and the
        values of `inputs`.
        """
        event(
            fn=None,
            _js=self._js(function, *args),
            inputs=list(inputs),
            outputs=list(outputs),
            show_progress=False,
        )

    def _js(self, function: str, *args) -> str:
        given = ", ".join(json.dumps(arg) for arg in (self.host_controls.tab, *args))
        return f"(...values) => window.lcmPage?.{function}({given}, ...values)"

    def _answer(self, question: str, *values):
        asked = json.loads(question)
        if asked["token"] is None:
            return [gr.update()] * len(self.answered)
        known = asked["known"]
        with loras.library().seen_once():
            value = dict(zip(OPTION, values[: len(self.controls)], strict=True))
            model = models.selected()
            family = known["family"] if model is None else models.family_of(model).value
            moved = family_defaults.followed(value, known["family"], family)
            value |= moved
            controls = dict(zip(self.host_controls.components, values[len(self.controls) :], strict=True))
            is_img2img = self.host_controls.tab == "img2img"
            said = status_panel.answer(
                status_panel.Asked(
                    list(value.values()),
                    controls,
                    is_img2img,
                    is_scaled=asked["is_scaled"],
                    problem=asked["problem"],
                )
            )
            preset = presets.preset_of(value["steps"], value["cfg"])
            entries, dropdown, download = row_for(value["lora"], known.get("entries"))
            answer = {
                "token": asked["token"],
                "preset": preset,
                "pending": said.is_waiting,
                "moved": [moved.get(name) for name in family_defaults.FOLLOWING],
                "known": {"family": family, "entries": entries},
            }
            gamma = gr.update(visible=value["sampler"] == SAMPLER_LABELS[TCD])
            status = status_panel.render(said, self.host_controls)
            return (
                json.dumps(answer),
                status,
                preset,
                gamma,
                dropdown,
                remember_button(value["lora"]),
                download,
            )


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
    first_values.follow_settings(
        weight, built_in.weight, lambda: now().weight, lambda: (MIN_WEIGHT, MAX_WEIGHT)
    )
    first_values.follow_settings(gamma, DEFAULT_GAMMA, lambda: DEFAULT_GAMMA, lambda: (MIN_GAMMA, MAX_GAMMA))
    first_values.follow_settings(
        schedule, SCHEDULE_LABELS[built_in.schedule], lambda: SCHEDULE_LABELS[now().schedule]
    )


def _token() -> str:
    """Another one each time."""
    return f"{time.time()} {next(_counter)}"


def _read_lora(pasted):
    option = infotext.RESTORE["lora"](pasted)
    return None if option is None else entry_now(option)


READ = {"lora": _read_lora}
"""Option name -> what reads it from pasted generation parameters, where the control shows it in another way.
"""
