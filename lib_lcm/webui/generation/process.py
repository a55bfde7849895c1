"""One generation with LCM, from the script's arguments to the infotext: the WebUI's script callbacks, in the
order they come.
"""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lib_lcm.lora.use import first_prompt
from lib_lcm.options import SAMPLER_LABELS, LcmOptions, OptionsError, options_from_args
from lib_lcm.plan.lcm_off import PlainPass, last_lcm_lora, unfit_pass
from lib_lcm.plan.make import (
    AUTOMATIC_SCHEDULER,
    HostFacts,
    PassRequest,
    Plan,
    Request,
    hires_side,
    make_plan,
)
from lib_lcm.text import Text, sentence_of
from lib_lcm.webui import loras, messages, remembered, settings
from lib_lcm.webui.generation import current
from lib_lcm.webui.host import generations, models, prompts, samplers
from lib_lcm.webui.page import paste as infotext
from lib_lcm.webui.sampling import registry
from lib_lcm.webui.sampling.own import own_samplers

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
    """What the script does in each callback. Which generations are running is known to `current`."""

    def __init__(self):
        self._records: list[_Record] = []

    def process(self, p, args: Sequence[Any]) -> None:
        """The model is loaded and all prompts are known: decides everything and applies it to the processing
        object.
        """
        current.begin(p, None)
        record = self._record_of(p)
        _forget_earlier_plan(p, record)
        try:
            options = options_from_args(args, settings.limits())
        except OptionsError as error:
            messages.refuse(p, sentence_of(error))
            return
        if not options.enabled:
            options = self._options_of_typed_tag(p)
            if options is None:
                return
        try:
            self._begin(p, options)
        except Exception as error:
            # The WebUI would swallow it and go on, with a picture that passes for LCM's.
            traceback.print_exc()
            current.begin(p, None)
            messages.refuse(
                p,
                Text(
                    "LCM could not prepare this picture ({error}): switch LCM off, and please report this.",
                    error=f"{type(error).__name__}: {error}",
                ),
            )

    def _begin(self, p, options: LcmOptions) -> None:
        registry.register()  # another extension may have put a sampler of our name in our place
        facts = host_facts(p.sd_model)
        plan = make_plan(options, request_of(p), facts, settings.limits())
        if plan.problem is not None:
            messages.refuse(p, plan.problem)
            return
        if plan.lora is not None and p.disable_extra_networks:
            messages.refuse(
                p,
                Text(
                    "The request leaves out all LoRAs (disable_extra_networks), and LCM does not work without"
                    " its own: allow them."
                ),
            )
            return
        asked = {name: getattr(p, name, None) for name in RESTORED_FIELDS}
        apply_plan(p, plan)
        self._record_of(p).changes = {
            name: (before, getattr(p, name, None)) for name, before in asked.items()
        }
        current.begin(p, current.Run(plan, facts.defaults.fill(options)))
        for message in plan.messages:
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

    def _options_of_typed_tag(self, p) -> LcmOptions | None:
        """What an LCM-LoRA in the prompt means while LCM is off: options where a setting says that it
        switches LCM on, else None.
        """
        if is_switched_on_by(_first(p.all_prompts)):
            return LcmOptions(enabled=True)
        if settings.typed_tag() == settings.NOTHING:
            return None
        unfit = unfit_pass(plain_passes(p), loras.library(), settings.limits())
        warning = _warning_of_init_image(p) if unfit is None else unfit[1]
        if warning is not None:
            messages.tell(p, warning)
        return None


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
    if (
        p.sampler_name not in SAMPLER_LABELS.values()
        or not isinstance(parameters, str)
        or not infotext.was_made_with_lcm(parameters)
    ):
        return None
    return Text(
        "The picture that this one starts from was made with LCM, and LCM is off, so the sampler {sampler}"
        " runs without the LCM-LoRA: tick LCM.",
        sampler=p.sampler_name,
    )


def plain_passes(p) -> list[PlainPass]:
    """The passes that the WebUI makes of the processing object while LCM is off."""
    first = PlainPass(_first(p.all_prompts), p.sampler_name, int(p.steps), p.cfg_scale)
    if not getattr(p, "enable_hr", False):
        return [first]
    # of these, what is empty or 0 means "as in the first pass"; not every WebUI has a CFG scale for the hires
    # pass
    hires = PlainPass(
        _first(p.all_hr_prompts) or first.prompt,
        p.hr_sampler_name or first.sampler,
        int(p.hr_second_pass_steps or first.steps),
        getattr(p, "hr_cfg", None) or first.cfg,
        is_hires=True,
    )
    return [first, hires]


def is_switched_on_by(prompt: str) -> bool:
    """Whether a setting says that LCM is on for this prompt though its tick is not set, because of an
    LCM-LoRA in it.
    """
    return settings.typed_tag() == settings.SWITCH_ON and last_lcm_lora(prompt, loras.library()) is not None


def host_facts(model) -> HostFacts:
    """What plans for a loaded model are made from, besides options and request."""
    family = models.family_of(model)
    return HostFacts(
        family,
        loras.library(),
        own_samplers(),
        remembered.lora_of(model),
        settings.defaults(family),
        is_image_editing=models.is_image_editing(model),
        leaves_out_uncond=models.computes_cond_only_at_cfg_one(model),
        is_on_grid=models.own_lcm_is_on_grid(model),
    )


def _first(all_prompts: Sequence[str] | str) -> str:
    """The first of a generation's prompts, as it is drawn."""
    return prompts.without_comments(first_prompt(all_prompts))


def request_of(p) -> Request:
    """The parts of the processing object that decide something."""
    is_hires = bool(getattr(p, "enable_hr", False))
    # txt2img has a denoising strength too, that of its hires pass
    is_txt2img = hasattr(p, "enable_hr")
    strength = 1.0 if p.denoising_strength is None else min(float(p.denoising_strength), 1.0)
    hires = None
    if is_hires:
        side = hires_side(p.width, p.height, p.hr_scale, p.hr_resize_x, p.hr_resize_y)
        hires = PassRequest(p.hr_second_pass_steps, strength, side)
    return Request(
        first=PassRequest(p.steps, 1.0 if is_txt2img else strength, max(p.width, p.height)),
        cfg=p.cfg_scale,
        hires=hires,
        prompt=_first(p.all_prompts),
        negative_prompt=_first(p.all_negative_prompts),
        scheduler=samplers.asked_schedule(p.sampler_name, getattr(p, "scheduler", None)),
        refiner=(
            getattr(p, "refiner_checkpoint", None)
            if getattr(p, "refiner_checkpoint_info", None) is not None
            else None
        ),
        image_cfg=getattr(p, "image_cfg_scale", None),
        hires_prompt=_first(p.all_hr_prompts) if is_hires else "",
        hires_negative_prompt=_first(p.all_hr_negative_prompts) if is_hires else "",
        hires_checkpoint=getattr(p, "hr_checkpoint_name", None),
    )


def apply_plan(p, plan: Plan) -> None:
    """Makes the processing object do what the plan says. Applying it again changes nothing."""
    p.sampler_name = plan.sampler
    p.steps = max(
        plan.first.steps, 1
    )  # strength 0 leaves no step; the host divides by their number all the same
    p.cfg_scale = (
        int(plan.cfg) if plan.cfg == int(plan.cfg) else plan.cfg
    )  # "CFG scale: 1" in the infotext, not 1.0
    generations.set_known(
        p, scheduler=plan.host_scheduler or AUTOMATIC_SCHEDULER
    )  # else the infotext would name one that was not used
    if plan.hires is not None:
        p.hr_second_pass_steps = plan.hires.steps
        p.hr_sampler_name = None
        generations.set_known(p, hr_scheduler=None, hr_cfg=plan.cfg)
    if plan.skips_refiner:
        # `refiner_checkpoint` stays: ControlNet decides by it, before and after us, in which of two callbacks
        # it acts
        p.refiner_checkpoint_info = None
        p.refiner_switch_at = None
    # A dictionary of its own: X/Y/Z plot's pictures share one, and those made without LCM must not carry
    # ours.
    p.extra_generation_params = {**p.extra_generation_params, **infotext.parameters(plan)}
