"""The LCM accordion on the txt2img and img2img tabs.

Whatever may change what a generation does makes javascript/lcm.js ask `_answer`, which says all that the
accordion is to show. How page and server talk is told in that file.
"""

from __future__ import annotations

import itertools
import json
import time

import gradio as gr

from lib_lcm.families import family_named
from lib_lcm.methods import LCM
from lib_lcm.options import OPTION, OPTIONS, Boolean, Choice, Limits, Number, Option, OwnNumber
from lib_lcm.plan import presets
from lib_lcm.plan.plan import Plan
from lib_lcm.plan.request import PROMPTS
from lib_lcm.sampling.guidance import highest_middle_cfg
from lib_lcm.text import Text
from lib_lcm.webui import facts, loras, settings
from lib_lcm.webui.host import models, page
from lib_lcm.webui.page import first_values, host_controls, live, own_lora, paste, status_panel
from lib_lcm.webui.page.host_controls import HostControls
from lib_lcm.webui.page.lora_control import LoraControl, correct_button, lora_in_use, remember_button, row_for
from lib_lcm.webui.page.more_loras import MoreLoras, list_for

FOLLOWING = [option.name for option in OPTIONS if option.is_of_family]
"""The options whose sliders start with the defaults of the loaded checkpoint's family, and follow it until
they are moved.
"""
ROWS = (("steps", "cfg"), ("weight",), ("lora",))
"""What stands beside what; an option that is not here has a row of its own."""
ADVANCED = (("schedule", "sampler"), ("gamma", "method"), ("guided_steps",))
"""The same for what is folded away: the LoRA decides it."""
MANY = 3
"""More choices than these are shown as a drop-down."""

_counter = itertools.count()


class Accordion:
    """The controls of one tab; `controls` are the script's arguments, in the order of OPTIONS."""

    def __init__(self, elem_id, controls_of_host: HostControls):
        """`elem_id` makes an element id from a short name. `connect` makes it work, when the WebUI's own
        controls are all there.
        """
        self.host_controls = controls_of_host
        self._elem_id = elem_id
        label = OPTION["enabled"].label
        with page.components.InputAccordion(False, label=label, elem_id=elem_id("enabled")) as self.enabled:
            self.status = gr.HTML("", elem_id=elem_id("status"))
            self.lora = LoraControl(elem_id)
            self.lora.draw_download()
            live.create_controls(elem_id)
            labels = list(presets.steps_by_preset(settings.limits()))
            self.quality = gr.Radio(labels, label=Text("Quality"), elem_id=elem_id("quality"))
            by_name = {"enabled": self.enabled}
            in_rows = {"enabled", *(name for row in (*ROWS, *ADVANCED) for name in row)}
            for row in (*ROWS, *((name,) for name in OPTION if name not in in_rows)):
                by_name |= self._row(row)
                if "cfg" in row:
                    negative = list(presets.negative_controls(settings.limits(), OPTION["steps"].first))
                    self.negative = gr.Radio(
                        negative, label=Text("Negative prompt"), elem_id=elem_id("negative")
                    )
            self.more = MoreLoras(elem_id)
            self.own = own_lora.OwnLora(elem_id)
            with gr.Accordion(Text("Advanced"), open=False, elem_id=elem_id("advanced")):
                for row in ADVANCED:
                    by_name |= self._row(row)
                self.lora.draw_correction()
            # last, where what comes and goes moves nothing
            self.messages = gr.HTML("", elem_id=elem_id("messages"))
            hidden = {"visible": False, "show_label": False}
            self.ask = gr.Button("", visible=False, elem_id=elem_id("ask"))
            self.exchange = gr.Textbox("", elem_id=elem_id("exchange"), **hidden)
            self.done = gr.Textbox("", elem_id=elem_id("done"), **hidden)
            self.pasted = gr.Textbox("", elem_id=elem_id("pasted"), **hidden)
        self.by_name = {name: by_name[name] for name in OPTION}
        self.controls = list(self.by_name.values())
        page.change_page_config(self.exchange, _first_exchange)
        first_values.only_on_page(self.enabled)
        for name, control in self.by_name.items():
            page.set_tooltip(control, OPTION[name].help)
        page.set_tooltip(self.quality, Text("Sets the steps."))
        page.set_tooltip(
            self.negative,
            Text(
                "Off: CFG scale 1, the fastest. Light: used in the middle steps. Full: in every"
                " step, at twice the work."
            ),
        )
        for component in (self.quality, self.negative, self.ask, self.exchange, self.done, self.pasted):
            component.do_not_save_to_config = True  # none of them is a setting of the user's
        fields = [paste.restored(name) for name in OPTION]
        self.paste_field_names = [str(field) for field in fields]
        pasted = paste.RestoredField(
            "LCM pasted", lambda given: json.dumps({**paste.told(given), "at": _token()})
        )
        self.infotext_fields = [*zip(self.controls, fields, strict=True), (self.pasted, pasted)]

    def _row(self, names: tuple[str, ...]) -> dict:
        """The controls of these options, beside each other."""
        if len(names) == 1:
            return {names[0]: self._control(OPTION[names[0]])}
        with page.components.FormRow():
            return {name: self._control(OPTION[name]) for name in names}

    def _control(self, option: Option):
        """The control of an option, by its kind; it starts with what the settings say."""
        name, kind, limits = option.name, option.kind, settings.limits()
        given = {"label": option.label, "elem_id": self._elem_id(name)}
        first = kind.shown(option.first)
        if isinstance(kind, OwnNumber):
            return gr.Dropdown(kind.choices, value=first, allow_custom_value=True, **given)
        if isinstance(kind, Number):
            control = gr.Slider(*kind.bounds(limits), first, step=kind.step, **given)
        elif isinstance(kind, Choice):
            control = (gr.Dropdown if len(kind.labels) > MANY else gr.Radio)(
                list(kind.labels.values()), value=first, **given
            )
        elif isinstance(kind, Boolean):
            return gr.Checkbox(first, **given)
        else:
            return self.lora.draw()

        def setting():
            defaults = settings.defaults(facts.loaded_family())
            return kind.shown(defaults.get(name, option.first))

        bounds = (lambda: kind.bounds(settings.limits())) if isinstance(kind, Number) else None
        first_values.follow_settings(control, first, setting, bounds)
        return control

    def connect(self) -> None:
        """Makes the accordion work, when the WebUI has made all of its own controls."""
        components = self.host_controls.components
        typed = {name for names in PROMPTS for name in names}
        for role, component in components.items():
            # gradio 4 reports a text as changed with every event, ours too: javascript/lcm.js watches this
            # one
            if role != "scaled_size":
                self._on(component.change, "changed", role in typed)
        for component in self.controls:
            self._on(component.change, "changed", False)
        self._on(self.lora.refresh.click, "changed", False)
        for component in (self.more.lora, self.more.accept):  # what a download said before is answered
            self._on(component.change, "changed", False)
        asked = [*self.controls, *components.values()]
        overruled = [components[role] for role in host_controls.OVERRULED if role in components]
        moving = [self.by_name[name] for name in FOLLOWING]
        place = {id(component): index for index, component in enumerate(asked)}
        places = {"overruled": overruled, "moving": moving, "schedule": [self.by_name["schedule"]]}
        lora = self.lora
        self.answered = [
            self.exchange, self.status, self.messages, self.quality, self.negative, self.by_name["steps"],
            self.by_name["cfg"],
            lora.dropdown, lora.remember, lora.download, lora.correct,
            self.more.lora, self.more.accept, self.own.about, self.own.name,
        ]  # fmt: skip
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
        limits = settings.limits()
        by_steps = {
            steps: {
                label: _picked(*values, limits)
                for label, values in presets.negative_controls(limits, steps).items()
            }
            for steps in range(limits.min_steps, limits.max_steps + 1)
        }
        steps, cfg, guided = (self.by_name[name] for name in ("steps", "cfg", "guided_steps"))
        self._on(
            self.quality.input,
            "picked",
            presets.steps_by_preset(limits),
            inputs=[self.quality, self.exchange],
            outputs=[steps],
        )
        inputs = [self.negative, self.exchange, steps]
        self._on(self.negative.input, "pickedNegative", by_steps, inputs=inputs, outputs=[cfg, guided])
        for component in [self.enabled, *overruled]:
            self._on(component.change, "held", inputs=[self.enabled, *overruled])
        schedule = self.by_name["schedule"]
        self._on(
            self.pasted.change,
            "pasted",
            len(overruled),
            inputs=[self.pasted, schedule],
            outputs=[schedule, *overruled],
        )
        self.lora.connect(self.done, self.exchange, self.by_name["method"])
        self.more.connect(self.done)
        self.own.connect(self.done)

    def _on(self, event, function: str, *args, inputs=(), outputs=()) -> None:
        """At this event of a component, the page calls a function of javascript/lcm.js with `args` and the
        values of `inputs`.
        """
        code = self._js(function, *args)
        event(fn=None, _js=code, inputs=list(inputs), outputs=list(outputs), show_progress=False)

    def _js(self, function: str, *args) -> str:
        given = ", ".join(json.dumps(arg) for arg in (self.host_controls.tab, *args))
        return f"(...values) => window.lcmPage?.{function}({given}, ...values)"

    def _answer(self, question: str, *values):
        asked = json.loads(question)
        if asked["token"] is None:
            return [gr.update()] * len(self.answered)
        with loras.library().seen_once():
            return self._answer_now(asked, values)

    def _answer_now(self, asked: dict, values: tuple):
        known, tab = asked["known"], self.host_controls
        value = dict(zip(OPTION, values[: len(OPTION)], strict=True))
        model = models.selected()
        family = known["family"] if model is None else models.family_of(model).name
        moved = followed(value, known["family"], family)
        value |= moved
        controls = dict(zip(tab.components, values[len(OPTION) :], strict=True))

        def say() -> status_panel.Answer:
            is_img2img, scaled = tab.tab == "img2img", asked["is_scaled"]
            return status_panel.answer(
                status_panel.Asked(list(value.values()), controls, is_img2img, scaled, asked["problem"])
            )

        said = say()
        of_method, kept = suited(value, said.plan, known.get("method"), known.get("kept"))
        if of_method:
            moved |= of_method
            value |= of_method
            said = say()
        light = light_cfg(said.plan)
        is_higher = light is not None and value["cfg"] > light
        if light is not None and value["cfg"] != light and (is_higher or value["cfg"] == known.get("light")):
            moved["cfg"] = value["cfg"] = light  # of other steps
            said = say()
        method = known.get("method") if said.plan is None else said.plan.method.name
        ranges = slider_ranges(said.plan)
        entries, dropdown, download = row_for(value["lora"], known.get("entries"))
        offers, *more = list_for(None if model is None else family_named(family), known.get("offers"))
        own, about, name = own_lora.update(known.get("own"))
        preset = presets.preset_of(value["steps"])
        negative = presets.negative_of(value["cfg"], value["guided_steps"])
        answer = {
            "token": asked["token"],
            "preset": preset,
            "negative": negative,
            "offer": said.offer,
            "pending": said.is_waiting,
            "refused": said.is_refusal,
            "moved": [moved.get(name) for name in FOLLOWING],
            "known": {
                "family": family, "entries": entries, "method": method, "kept": kept, "ranges": ranges,
                "offers": offers, "light": light, "own": own,
            },
            "lora": lora_in_use(said.plan),
        }  # fmt: skip
        # a slider whose range is as before is left alone: it may be in somebody's hand
        sliders = [
            gr.update() if now == before else gr.update(minimum=now[0], maximum=now[1])
            for now, before in zip(ranges, known.get("ranges") or slider_ranges(None), strict=True)
        ]
        # a negative prompt does nothing on a full LCM, whatever is picked there
        radio = gr.update(value=negative, visible=said.plan is None or not said.plan.is_full_lcm)
        return (
            json.dumps(answer), *status_panel.render(said, tab), preset, radio, *sliders, dropdown,
            remember_button(value["lora"]), download, correct_button(said.plan), *more, about, name,
        )  # fmt: skip


def _picked(cfg: float, guided: str, limits: Limits) -> list:
    """What the page sets where a preset of the negative prompt is picked: CFG scale and guided steps."""
    if cfg <= limits.max_cfg:
        return [cfg, guided]
    # a slider cannot be set beyond its range, which the answer changes too late
    return [{"__type__": "update", "value": cfg, "maximum": cfg}, guided]


def _first_exchange() -> dict:
    """What the page tells the server with its first question: whose defaults its sliders start with."""
    return {"value": json.dumps({"known": {"family": facts.loaded_family().name}})}


def followed(values: dict, before: str, now: str) -> dict:
    """The options whose sliders move when the family `before` has become `now`, with their new values: those
    of FOLLOWING that still have the default of the family before.
    """
    if before == now:
        return {}
    old, new = (settings.defaults(family_named(family)) for family in (before, now))
    return {name: new[name] for name in FOLLOWING if values[name] == old[name] != new[name]}


def suited(
    values: dict, plan: Plan | None, method_before: str | None, kept: dict | None
) -> tuple[dict, dict | None]:
    """The new values of steps and CFG scale where the method of the LoRA asks for others, and what the
    sliders held before a LoRA of another kind than LCM's was chosen, which they get back after it.
    """
    if plan is None or plan.method.recipe is None:
        return {}, kept
    limits, needed = settings.limits(plan.method), plan.method.needs_steps
    if plan.method.name in (method_before, method_before or LCM.name):
        return ({} if needed in (None, values["steps"]) else {"steps": needed}), kept
    asked = kept or {name: values[name] for name in ("steps", "cfg")}
    recipe, steps, cfg = plan.method.recipe, asked["steps"], asked["cfg"]
    if needed is not None:
        steps = needed
    elif not limits.min_steps <= steps <= limits.max_steps:
        steps = recipe.steps[2]
    # what an LCM-LoRA works with is no guidance to speak of for a full LCM
    is_of_lora = plan.method.is_of_checkpoint and cfg <= settings.limits().max_cfg
    if is_of_lora or not limits.min_cfg <= cfg <= limits.max_cfg:
        cfg = recipe.cfg[2]
    new = {"steps": steps, "cfg": cfg}
    moved = {name: value for name, value in new.items() if values[name] != value}
    return moved, None if new == asked else asked


def light_cfg(plan: Plan | None) -> float | None:
    """The CFG scale of Light for the steps that are planned; None where the middle steps are not guided
    alone.
    """
    if plan is None or plan.first.guided.steps is None:
        return None
    return highest_middle_cfg(settings.limits(plan.method).max_cfg, plan.first.steps)


def slider_ranges(plan: Plan | None) -> list[list[float]]:
    """The ranges of steps and CFG scale for what is planned. Where one number of steps alone works, the
    slider comes back to it by itself.
    """
    usual = settings.limits()
    limits = usual if plan is None else settings.limits(plan.method)
    highest = limits.max_cfg
    if plan is not None and plan.first.guided.steps is not None:
        highest = highest_middle_cfg(highest, limits.max_steps)
    steps = [min(usual.min_steps, limits.min_steps), max(usual.max_steps, limits.max_steps)]
    return [steps, [limits.min_cfg, highest]]


def _token() -> str:
    """Another one each time."""
    return f"{time.time()} {next(_counter)}"
