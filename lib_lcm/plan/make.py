"""make_plan: every decision about one generation, from plain data to plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from lib_lcm.families import SDXL, Family
from lib_lcm.lora.use import Loras, LoraUse, lora_for
from lib_lcm.options import FIRST, SAMPLER_LABELS, TRAILING, WEBUI, LcmOptions, LimitsOf, limits_of
from lib_lcm.plan.plan import Plan, PlannedPass
from lib_lcm.plan.request import PassRequest, Request
from lib_lcm.plan.status import steps_text
from lib_lcm.sampling.guidance import edits_image, guided, is_cfg_one
from lib_lcm.sampling.schedules import lcm_timesteps, usable_steps, webui_unet_timesteps
from lib_lcm.text import Text, joined, term

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
    the distillation grid alone.
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
        self.limits = host.limits(options.method)
        self.sampler = SAMPLER_LABELS[options.sampler]
        self.messages: list[str] = []
        self.problems: list[str] = []

    def plan(self) -> Plan:
        cfg, steps, hires_steps = self.within_limits()
        schedule = self.schedule()
        self.is_handed_over = schedule == WEBUI and self.sampler in self.host.own_samplers
        first = self.timed(steps, self.request.first, schedule, Text("steps"))
        hires = None
        if self.request.hires is not None:
            hires = self.timed(hires_steps, self.request.hires, schedule, Text("hires steps"))
        if self.request.scheduler is not None:
            self.messages.append(
                Text(
                    'Schedule type "{schedule}" was picked by hand and is respected; choose "{automatic}" for'
                    " the timesteps that the LCM-LoRA was made for.",
                    schedule=term(self.request.scheduler),
                    automatic=term(AUTOMATIC_SCHEDULER),
                )
            )
        first = self.with_prompts(first, self.request.first, cfg)
        if hires is not None and self.request.hires is not None:
            hires = self.with_prompts(hires, self.request.hires, cfg)
        passes = [one for one in (first, hires) if one is not None]
        if any(one.guided.ignores_negative_prompt for one in passes):
            self.messages.append(
                Text(
                    "The negative prompt is ignored at CFG scale 1; raise CFG to {cfg:g} at most to use it.",
                    cfg=self.limits.max_cfg,
                )
            )
        if self.request.refiner is not None:
            self.messages.append(
                Text(
                    "The refiner {refiner} was skipped: there is no LCM-LoRA for it.",
                    refiner=self.request.refiner,
                )
            )
        self.add_what_loras_say([one.lora for one in passes if one.lora is not None])
        return Plan(
            family=self.host.family,
            options=replace(self.options, schedule=schedule),
            first=first,
            hires=hires,
            cfg=cfg,
            sampler=self.sampler,
            schedule=schedule,
            host_scheduler=self.request.scheduler,
            gamma=(
                None
                if self.options.method.recipe.gamma is None or self.is_handed_over
                else self.options.gamma
            ),
            skips_refiner=self.request.refiner is not None,
            messages=tuple(self.messages),
            hints=tuple(self.hints(first, hires)),
            problem=self.problems[0] if self.problems else None,
        )

    def within_limits(self) -> tuple[float, int, int]:
        """CFG scale, steps and hires steps: those of the options, else the request's own brought into the
        range.
        """
        limits, request = self.limits, self.request
        changes: list[str] = []

        def within(value: _N, low: _N, high: _N, name: Text) -> _N:
            inside = min(max(value, low), high)
            if inside != value:
                changes.append(Text("{name} {before:g} → {after:g}", name=name, before=value, after=inside))
            return inside

        cfg, steps = self.options.cfg, self.options.steps
        if cfg is None:
            cfg = within(request.cfg, limits.min_cfg, limits.max_cfg, Text("CFG"))
        if steps is None:
            steps = within(request.first.steps, limits.min_steps, limits.max_steps, Text("Steps"))
        hires_steps = steps
        if request.hires is not None and request.hires.steps:
            # 0 means "as many as the first pass" in the WebUI
            hires_steps = within(request.hires.steps, limits.min_steps, limits.max_steps, Text("Hires steps"))
        if changes:
            self.messages.append(
                Text(
                    "{changes}: LCM works with {steps} steps and a CFG scale of {cfg}.",
                    changes=joined(changes),
                    steps=range_text(limits.min_steps, limits.max_steps),
                    cfg=range_text(limits.min_cfg, limits.max_cfg),
                )
            )
        # exactly 1: hosts that leave out the unconditional half by themselves compare with it
        return 1.0 if is_cfg_one(cfg) else cfg, steps, hires_steps

    def schedule(self) -> str:
        """ "trailing" or "webui", which nobody can hand over to where the host has no such sampler but
        LCM's.
        """
        schedule = self.options.schedule or TRAILING
        if schedule == WEBUI and self.sampler not in self.host.own_samplers and self.options.sampler != "lcm":
            if self.request.scheduler is None:
                self.messages.append(
                    Text(
                        'The WebUI has no TCD sampler of its own to hand over to: schedule "Trailing" was'
                        " used."
                    )
                )
            return TRAILING
        return schedule

    def timed(self, steps: int, asked: PassRequest, schedule: str, name: Text) -> PlannedPass:
        """The pass with the timesteps that it visits, as far as we decide them."""
        strength = asked.strength
        if not 0.0 <= strength <= 1.0:
            self.problems.append(
                Text("The denoising strength is {strength:g}; it must be from 0 to 1.", strength=strength)
            )
            return PlannedPass(steps, (), strength)
        if self.request.scheduler is not None:
            return PlannedPass(steps, (), strength)
        if schedule == WEBUI:
            is_known = self.options.sampler == "lcm" and strength == 1.0
            timesteps = webui_unet_timesteps(steps, is_on_grid=self.host.is_on_grid) if is_known else ()
            return PlannedPass(steps, tuple(timesteps), strength)
        timesteps = lcm_timesteps(steps, strength=strength)
        if len(timesteps) < steps:
            self.messages.append(
                Text(
                    "Denoising strength {strength:g} leaves only {points} of the schedule's timesteps:"
                    " {name} {before} → {after}.",
                    strength=strength,
                    points=usable_steps(strength=strength),
                    name=name,
                    before=steps,
                    after=len(timesteps),
                )
            )
        return PlannedPass(len(timesteps), tuple(timesteps), strength)

    def with_prompts(self, one: PlannedPass, asked: PassRequest, cfg: float) -> PlannedPass:
        """The pass with what its prompts decide: rows, the negative prompt, and the LoRA of the loaded
        checkpoint.
        """
        first, host = self.request.first, self.host
        prompt, negative_prompt = asked.prompt or first.prompt, asked.negative_prompt or first.negative_prompt
        lora = None
        if asked.checkpoint is None:
            lora = lora_for(prompt, self.options, host.family, host.loras, host.remembered_lora)
        return replace(
            one,
            lora=lora,
            guided=guided(
                cfg,
                prompt,
                negative_prompt,
                is_editing=edits_image(host.is_image_editing, self.request.image_cfg),
                leaves_out_uncond=host.leaves_out_uncond,
                is_ours=not self.is_handed_over,
            ),
        )

    def add_what_loras_say(self, loras: list[LoraUse]) -> None:
        for lora in loras:
            self.messages.extend(message for message in lora.messages if message not in self.messages)
        self.problems.extend(lora.problem for lora in loras if lora.problem)

    def hints(self, first: PlannedPass, hires: PlannedPass | None) -> Iterator[str]:
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
    """ "1 to 8"."""
    return Text("{low:g} to {high:g}", low=low, high=high)
