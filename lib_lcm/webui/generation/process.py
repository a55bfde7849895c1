"""One generation with LCM, from the script's arguments to the processing object: the WebUI's script
callbacks, in the order they come.
"""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib_lcm.lora.use import first_prompt
from lib_lcm.options import SAMPLER_LABELS, LcmOptions, OptionsError
from lib_lcm.plan import infotext
from lib_lcm.plan.make import AUTOMATIC_SCHEDULER, make_plan
from lib_lcm.plan.plan import Plan
from lib_lcm.plan.request import Request, read_request
from lib_lcm.plan.typed_tag import NOTHING, unfit_pass
from lib_lcm.text import Text, joined, sentence_of, term
from lib_lcm.webui import current, facts, loras, messages, settings
from lib_lcm.webui.generation import activation
from lib_lcm.webui.host import generations, prompts, samplers, scripts

RESTORED_FIELDS = ("steps", "refiner_switch_at")
"""What a plan changes in the processing object that the next plan for the same one must find as it was."""


@dataclass
class _Record:
    """What is known of a generation that has begun; its processing object may come back with another
    request.
    """

    processing: weakref.ref
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """What the last plan changed in it, from what to what."""


class Generation:
    """What the script does in each callback. Which generations are running is known to `current`.

    `make_ready` is called before a plan is made.
    """

    def __init__(self, make_ready: Callable[[], None]):
        self._make_ready = make_ready
        self._records: list[_Record] = []

    def process(self, p, args: Sequence[Any]) -> None:
        """The model is loaded and all prompts are known: decides everything and applies it to the processing
        object.
        """
        current.begin(p, None)
        _forget_earlier_plan(p, self._record_of(p))
        try:
            options = facts.asked_options(args, _first(p.all_prompts))
        except OptionsError as error:
            messages.refuse(p, sentence_of(error))
            return
        if not options.enabled:
            _warn(p)
            axes = getattr(p, "lcm_axes", {})  # of X/Y/Z plot
            if axes and "enabled" not in axes:
                sentence = Text("{axis} had no effect: LCM is off; tick it.", axis=next(iter(axes.values())))
                messages.tell(p, sentence)
            return
        try:
            self._begin(p, options)
        except Exception as error:
            # The WebUI would swallow it and go on, with a picture that passes for LCM's.
            traceback.print_exc()
            current.begin(p, None)
            sentence = Text(
                "LCM could not prepare this picture ({error}): switch LCM off, and please report this.",
                error=f"{type(error).__name__}: {error}",
            )
            messages.refuse(p, sentence)

    def _begin(self, p, options: LcmOptions) -> None:
        self._make_ready()
        with loras.library().seen_once():
            plan = make_plan(options, request_of(p), facts.host_facts(p.sd_model))
        if plan.problem is not None:
            messages.refuse(p, plan.problem)
            return
        lora = plan.first.lora
        if p.disable_extra_networks and lora is not None and lora.file is not None:
            sentence = Text(
                "The request leaves out all LoRAs (disable_extra_networks), and LCM does not work without"
                " its own: allow them."
            )
            messages.refuse(p, sentence)
            return
        asked = {name: getattr(p, name, None) for name in RESTORED_FIELDS}
        apply_plan(p, plan)
        changes = {name: (before, getattr(p, name, None)) for name, before in asked.items()}
        self._record_of(p).changes = changes
        # as planned, which holds its place among the keys; what is activated takes it
        activation.write_infotext(p, plan, lora)
        current.begin(p, plan)
        for message in (*plan.messages, *_overruled(p, options)):
            messages.tell(p, message)

    def postprocess(self, p) -> None:
        """The generation is over."""
        current.end(p)

    def _record_of(self, p) -> _Record:
        """A detailer's inner pass can be of this very script, with a processing object of its own."""
        self._records = [record for record in self._records if record.processing() is not None]
        record = next((record for record in self._records if record.processing() is p), None)
        if record is None:
            record = _Record(weakref.ref(p))
            self._records.append(record)
        return record


def _overruled(p, options: LcmOptions) -> Iterator[Text]:
    """What the selected script sets for its pictures in vain, since LCM's own options have that say."""
    script, fields = scripts.fields_set_by_script(p)
    given = {"steps": options.steps, "cfg_scale": options.cfg, "sampler_name": options.sampler}
    names = {"steps": Text("Steps"), "cfg_scale": Text("CFG scale"), "sampler_name": Text("Sampler")}
    overruled = [names[field] for field in names if field in fields and given[field] is not None]
    if overruled:
        yield Text(
            "{script} sets {fields}, which LCM overrules: use the axes [LCM] Steps, CFG scale or the LCM"
            " options instead.",
            script=term(script),
            fields=joined(overruled),
        )


def _warn(p) -> None:
    """Says where an LCM-LoRA in the prompt, or a picture made with LCM, does not go together with LCM off."""
    if settings.typed_tag() == NOTHING:
        return
    unfit = unfit_pass(request_of(p), loras.library(), settings.limits)
    warning = _warning_of_init_image(p) if unfit is None else unfit[1]
    if warning is not None:
        messages.tell(p, warning)


def _forget_earlier_plan(p, record: _Record) -> None:
    """img2img's batch and Loopback make one generation after another with one processing object, each with a
    request of its own.
    """
    keys = infotext.KEYS.values()
    if any(key in p.extra_generation_params for key in keys):
        p.extra_generation_params = {
            key: value for key, value in p.extra_generation_params.items() if key not in keys
        }
    changes, record.changes = record.changes, {}
    for name, (before, after) in changes.items():
        if getattr(p, name, None) == after != before:
            setattr(p, name, before)


def _warning_of_init_image(p) -> Text | None:
    """What is wrong with the sampler of a picture made with LCM, taken over from it (img2img's batch can do
    that) while LCM is off.
    """
    image = next(iter(getattr(p, "init_images", None) or ()), None)
    parameters = getattr(image, "info", {}).get("parameters")
    if p.sampler_name not in SAMPLER_LABELS.values() or not isinstance(parameters, str):
        return None
    if not infotext.was_made_with_lcm(parameters):
        return None
    return Text(
        "The picture that this one starts from was made with LCM, and LCM is off, so the sampler {sampler}"
        " runs without the LCM-LoRA: tick LCM.",
        sampler=p.sampler_name,
    )


FIELDS = (
    "steps", "cfg_scale", "sampler_name", "width", "height", "denoising_strength", "image_cfg_scale",
    "enable_hr", "hr_second_pass_steps", "hr_scale", "hr_resize_x", "hr_resize_y", "hr_sampler_name",
    "hr_checkpoint_name", "hr_cfg",
)  # fmt: skip
"""What `read_request` takes from a processing object as it is, where this WebUI has it."""


def request_of(p) -> Request:
    """The parts of the processing object that decide something."""
    values = {name: getattr(p, name, None) for name in FIELDS}
    values["prompt"], values["negative_prompt"] = _first(p.all_prompts), _first(p.all_negative_prompts)
    if values["enable_hr"]:
        values["hr_prompt"], values["hr_negative_prompt"] = (
            _first(p.all_hr_prompts),
            _first(p.all_hr_negative_prompts),
        )
    if not generations.is_for_api(p):
        values["hr_second_pass_steps"] = generations.chosen_hires_steps(values["hr_second_pass_steps"])
    values["scheduler"] = samplers.asked_schedule(p.sampler_name, getattr(p, "scheduler", None))
    if getattr(p, "refiner_checkpoint_info", None) is not None:
        values["refiner_checkpoint"] = p.refiner_checkpoint
    return read_request(values, is_img2img=not hasattr(p, "enable_hr"))


def _first(all_prompts: Sequence[str] | str) -> str:
    """The first of a generation's prompts, as it is drawn."""
    return prompts.without_comments(first_prompt(all_prompts))


def apply_plan(p, plan: Plan) -> None:
    """Makes the processing object do what the plan says. Applying it again changes nothing."""
    p.sampler_name = plan.sampler
    # strength 0 leaves no step; the host divides by their number all the same
    p.steps = max(plan.first.steps, 1)
    # "CFG scale: 1" in the infotext, not 1.0
    p.cfg_scale = int(plan.cfg) if plan.cfg == int(plan.cfg) else plan.cfg
    # else the infotext would name one that was not used
    generations.set_known(p, scheduler=plan.host_scheduler or AUTOMATIC_SCHEDULER)
    if plan.hires is not None:
        p.hr_second_pass_steps = plan.hires.steps
        # none of its own: that of the first pass
        p.hr_sampler_name = None if plan.hires.sampler == plan.sampler else plan.hires.sampler
        generations.set_known(p, hr_scheduler=None, hr_cfg=plan.cfg)
    if plan.skips_refiner:
        # `refiner_checkpoint` stays: ControlNet decides by it, before and after us, in which of two callbacks
        # it acts
        p.refiner_checkpoint_info = None
        p.refiner_switch_at = None
