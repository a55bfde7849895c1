"""make_plan: every decision about one generation, from plain data to plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from lib_lcm.families import SDXL, Family
from lib_lcm.lora.choice import Wish
from lib_lcm.lora.use import FROM_OPTION, FROM_TAG, Loras, LoraUse, lora_for
from lib_lcm.methods import EVEN, FULL_LCM, GRID, LCM, TCD, Method, Recipe, method_named, named_in
from lib_lcm.options import (
    AUTO,
    BEST,
    DEFAULT_LIMITS,
    FINER,
    FIRST,
    MIDDLE,
    NONE,
    OPTION,
    SAMPLER_LABELS,
    SCHEDULE_LABELS,
    TRAILING,
    WEBUI,
    LcmOptions,
    Limits,
    LimitsOf,
    OptionsError,
    limits_of,
)
from lib_lcm.plan.plan import Plan, PlannedPass
from lib_lcm.plan.request import PassRequest, Request
from lib_lcm.plan.status import steps_text
from lib_lcm.sampling.guidance import edits_image, guided, highest_middle_cfg, is_cfg_one
from lib_lcm.sampling.schedules import (
    FINER_TIMESTEPS,
    ORIGINAL_STEPS,
    TRAIN_STEPS,
    timesteps_by,
    usable_steps,
    webui_unet_timesteps,
)
from lib_lcm.text import Text, joined, sentence_of, term

_N = TypeVar("_N", int, float)

AUTOMATIC_SCHEDULER = "Automatic"
GRID_SIDE, GRID_STEPS = 1024, 6
"""From this side on and below this many steps, SDXL's pictures may show a grid of fine dots."""


@dataclass(frozen=True)
class HostFacts:
    """What the host has to offer: the loaded model's family, the LoRA folder, and which of the samplers "LCM"
    and "TCD" are its own.

    `remembered_lora` is what Auto means for the loaded checkpoint where the user had one remembered, as the
    option `lora` has it. `defaults` and `limits` are those of its settings for that family.
    `is_image_editing`: the checkpoint is an image-editing one. `leaves_out_uncond`: the host itself computes
    nothing of the negative prompt at CFG 1. `is_on_grid`: its own LCM sampler tells the UNet the timesteps of
    the distillation grid alone; `spans_all`: it goes down to t = 0. `checkpoint` is the loaded one's name,
    `checkpoint_sha256` its hash where that is known; `is_full_lcm`: its UNet takes the guidance scale as an
    input.
    """

    family: Family
    loras: Loras
    own_samplers: frozenset[str] = frozenset()
    remembered_lora: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=lambda: FIRST)
    limits: LimitsOf = limits_of
    is_image_editing: bool = False
    leaves_out_uncond: bool = False
    is_on_grid: bool = True
    spans_all: bool = False
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    is_full_lcm: bool = False


def make_plan(options: LcmOptions, request: Request, host: HostFacts) -> Plan:
    """All decisions about one generation with LCM on (`options.enabled`). No side effects, never raises for a
    user's mistake.
    """
    return _Planner(options.filled(host.defaults), request, host).plan()


class _Planner:
    """The decisions in their order; `messages` and `problems` gather what is to be told."""

    def __init__(self, options: LcmOptions, request: Request, host: HostFacts):
        self.options = options
        self.request = request
        self.host = host
        self.messages: list[str] = []
        self.problems: list[str] = []
        self.changes: dict[str, tuple[Text, float, float]] = {}
        """What was brought into its range, by name: before and after."""

    def plan(self) -> Plan:
        if self.host.is_full_lcm:
            self.leave_out_lora()
        options, request = self.options, self.request
        self.wish = self.wished()
        lora = self.lora_of(request.first)
        method = self.method_of(lora)
        if self.host.is_full_lcm and lora is not None and lora.method is not None:
            self.messages.append(
                Text("The prompt names a LoRA for few steps, which a full LCM works without: remove its tag.")
            )
        limits = self.host.limits(method)
        steps = self.steps(limits, method)
        first = self.sampled(method)
        hires, hires_lora, hires_steps = None, None, steps
        if request.hires is not None:
            hires_lora = self.lora_of(request.hires)
            hires_method = method if hires_lora is None else self.method_of(hires_lora)
            hires = self.sampled(hires_method)
            limits_of_hires = self.host.limits(hires_method)
            hires_steps = self.hires_steps(steps, request.hires.steps, limits_of_hires, hires_method)
        if self.in_middle(method):
            limits, most = (
                self.in_middle_steps(limits, count) for count in (min(steps, hires_steps), limits.max_steps)
            )
            cfg = self.cfg(limits, method, most)
        else:
            cfg = self.cfg(limits, method, limits)
        schedule = self.schedule(first.sampler)
        first = self.timed(first, steps, request.first, schedule, Text("steps"))
        if hires is not None and request.hires is not None:
            hires = self.timed(hires, hires_steps, request.hires, schedule, Text("hires steps"))
        self.tell_changes(limits, method)
        if request.scheduler is not None:
            self.messages.append(
                Text(
                    'Schedule type "{schedule}" was picked by hand and is respected; choose "{automatic}" for'
                    " the timesteps that the LCM-LoRA was made for.",
                    schedule=term(request.scheduler),
                    automatic=term(AUTOMATIC_SCHEDULER),
                )
            )
        first = self.with_prompts(first, request.first, cfg, lora, schedule)
        if hires is not None and request.hires is not None:
            hires = self.with_prompts(hires, request.hires, cfg, hires_lora, schedule)
        passes = [one for one in (first, hires) if one is not None]
        if self.host.is_full_lcm and any(one.guided.ignores_negative_prompt for one in passes):
            self.messages.append(
                Text(
                    "The negative prompt does nothing on a full LCM, whose UNet takes the CFG scale as an"
                    " input."
                )
            )
        if request.refiner is not None:
            self.messages.append(
                Text(
                    "The refiner {refiner} is skipped: there is no LCM-LoRA for it.", refiner=request.refiner
                )
            )
        self.add_what_loras_say([one.lora for one in passes if one.lora is not None])
        return Plan(
            family=self.host.family,
            options=replace(options, schedule=schedule),
            first=first,
            hires=hires,
            cfg=cfg,
            schedule=schedule,
            host_scheduler=request.scheduler,
            wish=self.wish,
            skips_refiner=request.refiner is not None,
            is_full_lcm=self.host.is_full_lcm,
            messages=tuple(self.messages),
            hints=tuple(self.hints(first, hires)),
            problem=self.problems[0] if self.problems else None,
        )

    def leave_out_lora(self) -> None:
        """A full LCM needs no LoRA for few steps."""
        if self.options.lora not in (AUTO, BEST, NONE):
            self.messages.append(
                Text(
                    "The checkpoint is a full LCM and needs no LoRA for few steps: {lora} is not used.",
                    lora=self.options.lora,
                )
            )
        self.options = replace(self.options, lora=NONE)

    def wished(self) -> Wish:
        """What is wanted of the LoRA, where there is a choice."""
        options, first = self.options, self.request.first
        allowed = self.host.limits(LCM).max_cfg if options.cfg is None else options.cfg
        uses_negative = bool(first.negative_prompt.strip()) and allowed > DEFAULT_LIMITS.max_cfg
        steps = first.steps if options.steps is None else options.steps
        return Wish(steps, uses_negative, self.host.checkpoint_sha256)

    def lora_of(self, asked: PassRequest) -> LoraUse | None:
        """The LoRA of a pass; None on a checkpoint of its own, whose family is not known before it is
        loaded.
        """
        if asked.checkpoint is not None:
            return None
        host, prompt = self.host, asked.prompt or self.request.first.prompt
        return lora_for(prompt, self.options, host.family, host.loras, host.remembered_lora, self.wish)

    def method_of(self, lora: LoraUse | None) -> Method:
        """The method whose recipe counts: the one picked by hand, else the checkpoint's own, the LoRA's, or
        LCM.
        """
        picked = None if self.options.method == AUTO else method_named(self.options.method)
        if self.host.is_full_lcm:
            return picked or FULL_LCM
        return picked or (None if lora is None else lora.method) or LCM

    def sampled(self, method: Method) -> PlannedPass:
        """A pass by this method, with its sampler and gamma."""
        recipe, options = _recipe(method), self.options
        sampler = recipe.sampler if options.sampler == AUTO else options.sampler
        gamma = None
        if sampler == _recipe(TCD).sampler:
            gamma = options.gamma if options.gamma is not None else recipe.gamma
            gamma = _recipe(TCD).gamma if gamma is None else gamma
        return PlannedPass(0, method, SAMPLER_LABELS[sampler], gamma)

    def in_middle(self, method: Method) -> bool:
        """Whether the CFG scale acts in the middle steps alone."""
        is_asked = self.options.guided_steps == MIDDLE and not method.keeps_cfg
        return is_asked and not self.host.is_full_lcm

    def in_middle_steps(self, limits: Limits, steps: int) -> Limits:
        """The range where the CFG scale acts in the middle steps alone, of so many."""
        return replace(limits, max_cfg=highest_middle_cfg(limits.max_cfg, steps))

    def cfg(self, limits: Limits, method: Method, most: Limits) -> float:
        """The CFG scale of the options, else the request's own, brought into the range; `most` is that of
        more steps.
        """
        asked = self.request.cfg if self.options.cfg is None else self.options.cfg
        # of a method that keeps CFG, the lowest that works is not what somebody wants who asked for 1
        lowest = _recipe(method).cfg[2] if method.keeps_cfg and asked < limits.min_cfg else limits.min_cfg
        option = None if limits.max_cfg < asked <= most.max_cfg else "cfg"
        cfg = self.within(asked, lowest, limits.max_cfg, Text("CFG"), option, limits)
        # exactly 1: hosts that leave out the unconditional half by themselves compare with it
        return 1.0 if is_cfg_one(cfg) else cfg

    def steps(self, limits: Limits, method: Method) -> int:
        """The steps of the options, else the request's own, brought into the range."""
        asked = self.request.first.steps if self.options.steps is None else self.options.steps
        return self.steps_within(asked, Text("Steps"), "steps", limits, method)

    def hires_steps(self, steps: int, asked: int, limits: Limits, method: Method) -> int:
        """Those of the hires pass, where 0 means "as many as the first pass" in the WebUI."""
        return self.steps_within(asked or steps, Text("Hires steps"), None, limits, method)

    def steps_within(self, asked: int, name: Text, option: str | None, limits: Limits, method: Method) -> int:
        needed = method.needs_steps
        if needed is not None:  # set whatever was asked
            return self.within(asked, needed, needed, name, None, limits)
        return self.within(asked, limits.min_steps, limits.max_steps, name, option, limits)

    def within(self, value: _N, low: _N, high: _N, name: Text, option: str | None, limits: Limits) -> _N:
        """`value` brought into the range, which is told. An `option` outside it is refused instead, unless it
        is a value that LCM-LoRAs work with: the sliders may still stand where they stood for one of those.
        """
        inside = min(max(value, low), high)
        if inside == value:
            return value
        if option is not None and getattr(self.options, option) is not None:
            try:
                OPTION[option].read(value, self.host.limits(LCM))
            except OptionsError:
                try:
                    OPTION[option].read(value, limits)
                except OptionsError as error:
                    self.problems.append(sentence_of(error))
                    return inside
        self.changes[str(name).lower()] = (name, value, inside)
        return inside

    def tell_changes(self, limits: Limits, method: Method) -> None:
        if self.changes:
            self.messages.append(
                Text(
                    "{changes}: {method} works with {steps} steps and a CFG scale of {cfg}.",
                    changes=joined([_change(*change) for change in self.changes.values()]),
                    method=method.group,
                    steps=(
                        range_text(limits.min_steps, limits.max_steps)
                        if method.needs_steps is None
                        else str(method.needs_steps)
                    ),
                    cfg=range_text(limits.min_cfg, limits.max_cfg),
                )
            )

    def schedule(self, sampler: str) -> str:
        """ "trailing" or "webui", which nobody can hand over to where the host has no such sampler but
        LCM's.
        """
        schedule = self.options.schedule or TRAILING
        if schedule == WEBUI and self.host.is_full_lcm:
            if self.request.scheduler is None:
                self.messages.append(
                    Text(
                        "The WebUI's own sampler cannot give a full LCM its CFG scale: schedule"
                        ' "Trailing" is used.'
                    )
                )
            return TRAILING
        if schedule == WEBUI and sampler not in self.host.own_samplers and sampler != SAMPLER_LABELS["lcm"]:
            if self.request.scheduler is None:
                self.messages.append(
                    Text(
                        "The WebUI has no sampler {sampler} of its own to hand over to: schedule"
                        ' "Trailing" is used.',
                        sampler=sampler,
                    )
                )
            return TRAILING
        return schedule

    def timed(
        self, one: PlannedPass, steps: int, asked: PassRequest, schedule: str, name: Text
    ) -> PlannedPass:
        """The pass with the timesteps that it visits, as far as we decide them."""
        strength = asked.strength
        if not 0.0 <= strength <= 1.0:
            self.problems.append(
                Text("The denoising strength is {strength:g}; it must be from 0 to 1.", strength=strength)
            )
            return replace(one, steps=steps, strength=strength)
        if self.request.scheduler is not None:
            return replace(one, steps=steps, strength=strength)
        if schedule == WEBUI:
            is_known = one.sampler == SAMPLER_LABELS["lcm"] and strength == 1.0
            visited = self.of_own_lcm(steps) if is_known else ()
            return replace(one, steps=steps, timesteps=tuple(visited), strength=strength)
        rule = _recipe(one.method).timesteps
        if schedule == FINER:
            if rule == GRID and strength == 1.0 and steps in FINER_TIMESTEPS:
                return replace(one, steps=steps, timesteps=tuple(FINER_TIMESTEPS[steps]), strength=strength)
            if asked is self.request.first:
                self.messages.append(
                    Text(
                        'Schedule "{finer}" is for 2 to 4 steps from noise with an LCM-LoRA: "{trailing}" is'
                        " used.",
                        finer=term(SCHEDULE_LABELS[FINER]),
                        trailing=term(SCHEDULE_LABELS[TRAILING]),
                    )
                )
        timesteps = timesteps_by(rule, steps, strength=strength)
        if len(timesteps) < steps:
            points = len(timesteps) if rule == EVEN else usable_steps(strength=strength)
            _, before, _ = self.changes.pop(str(name), (name, steps, steps))  # told here, in one
            self.messages.append(
                Text(
                    "Denoising strength {strength:g} leaves only {points} of the schedule's timesteps:"
                    " {name} {before} → {after}.",
                    strength=strength,
                    points=points,
                    name=name,
                    before=before,
                    after=len(timesteps),
                )
            )
        return replace(one, steps=len(timesteps), timesteps=tuple(timesteps), strength=strength)

    def of_own_lcm(self, steps: int) -> list[int]:
        """The timesteps of the host's own LCM sampler."""
        points = TRAIN_STEPS if self.host.spans_all else ORIGINAL_STEPS
        return webui_unet_timesteps(steps, is_on_grid=self.host.is_on_grid, original_steps=points)

    def with_prompts(
        self, one: PlannedPass, asked: PassRequest, cfg: float, lora: LoraUse | None, schedule: str
    ) -> PlannedPass:
        """The pass with what its prompts decide: its LoRA, rows and the negative prompt."""
        first, host = self.request.first, self.host
        is_handed_over = schedule == WEBUI and one.sampler in host.own_samplers
        in_middle = self.in_middle(one.method)
        if in_middle and is_handed_over and not is_cfg_one(cfg):
            self.messages.append(
                Text(
                    'The WebUI\'s own sampler guides all steps; choose schedule "{trailing}" to guide the'
                    " middle ones alone.",
                    trailing=term(SCHEDULE_LABELS[TRAILING]),
                )
            )
        return replace(
            one,
            lora=lora,
            gamma=None if is_handed_over else one.gamma,
            guided=guided(
                1.0 if host.is_full_lcm else cfg,
                asked.prompt or first.prompt,
                asked.negative_prompt or first.negative_prompt,
                one.steps,
                in_middle=in_middle and not is_handed_over,
                is_editing=edits_image(host.is_image_editing, self.request.image_cfg),
                leaves_out_uncond=host.leaves_out_uncond,
                is_ours=not is_handed_over,
            ),
        )

    def add_what_loras_say(self, loras: list[LoraUse]) -> None:
        for lora in loras:
            self.messages.extend(message for message in lora.messages if message not in self.messages)
        self.problems.extend(lora.problem for lora in loras if lora.problem)

    def hints(self, first: PlannedPass, hires: PlannedPass | None) -> Iterator[str]:
        said = None if self.host.checkpoint is None else named_in(self.host.checkpoint + ".")
        use = first.lora
        is_plain = said is None and not self.host.is_full_lcm and self.options.method == AUTO
        if is_plain and self.options.lora == NONE and (use is None or use.method is None):
            yield Text(
                'Few-step LoRA "None" is for checkpoints that are made for few steps themselves; with any'
                ' other choose "Auto".'
            )
        is_chosen = use is not None and use.file is not None and use.reason not in (FROM_TAG, FROM_OPTION)
        if said is not None and is_chosen:
            yield Text(
                "The checkpoint's name says {method}: if it was made for few steps itself, choose Few-step"
                ' LoRA "None" and that method.',
                method=said.group,
            )
        for one, asked in ((first, self.request.first), (hires, self.request.hires)):
            if one is None or asked is None or self.host.family is not SDXL:
                continue
            if asked.side >= GRID_SIDE and one.steps < GRID_STEPS:
                yield Text(
                    "SDXL at {side} pixels in {steps}: raise steps to 6–8 if you see a grid.",
                    side=asked.side,
                    steps=steps_text(one.steps),
                )


def range_text(low: float, high: float) -> Text:
    """ "1 to 8", or "4"."""
    if low == high:
        return Text("{only:g}", only=low)
    return Text("{low:g} to {high:g}", low=low, high=high)


def _change(name: Text, before: float, after: float) -> Text:
    return Text("{name} {before:g} → {after:g}", name=name, before=before, after=after)


def _recipe(method: Method) -> Recipe:
    """The method's recipe; LCM's for one that has none."""
    recipe = method.recipe or LCM.recipe
    assert recipe is not None
    return recipe
