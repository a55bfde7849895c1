"""make_plan: every decision about one generation, from plain data to plain data.

The page's status line, the API's dry run, the infotext and the log all print the same Plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lib_lcm.families import ModelFamily
from lib_lcm.lora.file import LoraFile
from lib_lcm.lora.use import Loras, resolve_lora
from lib_lcm.options import (
    DEFAULT_LIMITS,
    LCM,
    SAMPLER_LABELS,
    TCD,
    TRAILING,
    WEBUI,
    Defaults,
    LcmOptions,
    Limits,
)
from lib_lcm.plan.status import status_line, steps_text
from lib_lcm.sampling.prompt_parts import part_weights
from lib_lcm.sampling.schedules import lcm_timesteps, usable_steps, webui_unet_timesteps
from lib_lcm.text import Text, joined, term

CFG_ONE_TOLERANCE = 1e-4
AUTOMATIC_SCHEDULER = "Automatic"
NO_REFINER = (None, "", "None")
SAME_CHECKPOINT = (None, "", "Use same checkpoint")
GRID_SIDE, GRID_STEPS = 1024, 6
"""From this side on and below this many steps, SDXL's pictures may show a grid of fine dots."""


def is_cfg_one(cfg: float) -> bool:
    """Whether a CFG scale counts as 1, where the unconditional half of the UNet's work cancels out."""
    return abs(cfg - 1.0) < CFG_ONE_TOLERANCE


def edits_image(is_editing_checkpoint: bool, image_cfg: float | None) -> bool:
    """Whether guidance has the third term of image editing (InstructPix2Pix); at an image CFG scale of 1 it
    cancels out.
    """
    return is_editing_checkpoint and image_cfg not in (None, 1.0)


def is_cond_enough(cfg: float, weights: Sequence[float], is_editing: bool) -> bool:
    """Whether the guided result is the conditional prediction alone: CFG 1, one part of the prompt at weight
    1, no image editing.
    """
    return is_cfg_one(cfg) and list(weights) == [1.0] and not is_editing


@dataclass(frozen=True)
class PassRequest:
    """What was asked of one sampling pass.

    `strength` is the denoising strength, 1 for a pass that starts from noise; `side` is the picture's longer
    side in pixels, 0 if unknown.
    """

    steps: int
    strength: float = 1.0
    side: int = 0


@dataclass(frozen=True)
class Request:
    """The parts of a generation request that decide something.

    `image_cfg` is the image CFG scale, which image-editing checkpoints have in img2img. The hires pass has
    the prompts of the first one where its own are empty, as in the WebUI, and the same checkpoint where
    `hires_checkpoint` is one of SAME_CHECKPOINT; there is no refiner where that is one of NO_REFINER.
    """

    first: PassRequest
    cfg: float
    hires: PassRequest | None = None
    prompt: str = ""
    negative_prompt: str = ""
    scheduler: str | None = None
    refiner: str | None = None
    image_cfg: float | None = None
    hires_prompt: str = ""
    hires_negative_prompt: str = ""
    hires_checkpoint: str | None = None


@dataclass(frozen=True)
class HostFacts:
    """What the host has to offer: the loaded model's family, the LoRA folder, and which of the samplers "LCM"
    and "TCD" are its own.

    `remembered_lora` is what Auto means for the loaded checkpoint where the user had one remembered, as the
    option `lora` has it. `defaults` are what its settings say for that family. `is_image_editing`: the
    checkpoint is an image-editing one. `leaves_out_uncond`: the host itself computes nothing of the negative
    prompt at CFG 1, whatever the prompt. `is_on_grid`: its own LCM sampler tells the UNet the timesteps of
    the distillation grid alone.
    """

    family: ModelFamily
    loras: Loras
    own_samplers: frozenset[str] = frozenset()
    remembered_lora: str | None = None
    defaults: Defaults = Defaults()
    is_image_editing: bool = False
    leaves_out_uncond: bool = False
    is_on_grid: bool = True


@dataclass(frozen=True)
class Pass:
    """One sampling pass.

    `timesteps`, as the UNet is told them, is empty where the host decides them (a schedule picked by hand,
    its own img2img rule).
    """

    steps: int
    timesteps: tuple[float, ...] = ()
    strength: float = 1.0


@dataclass(frozen=True)
class Plan:
    """What one generation will do.

    `schedule` is "trailing", "webui" or, where `host_scheduler` is set, that scheduler of the host's own
    drop-down. `problem` is a sentence where the generation must fail, and then nothing else of the plan is to
    be used.
    """

    family: ModelFamily
    lora: LoraFile | None
    weight: float
    schedule: str
    first: Pass
    hires: Pass | None
    cfg: float
    host_scheduler: str | None = None
    skips_refiner: bool = False
    has_negative_prompt: bool = False
    ignores_negative_prompt: bool = False
    """Whether there is a negative prompt and it does nothing."""
    hires_ignores_negative_prompt: bool = False
    """The same of the hires pass."""
    rows: int = 1
    """How often a picture stands in the UNet's batch: for each part of the prompt, and above CFG 1 for the
    negative prompt too.
    """
    hires_rows: int | None = None
    """The same of the hires pass; None where there is none."""
    messages: tuple[str, ...] = ()
    """What every picture made so is told with."""
    hints: tuple[str, ...] = ()
    """What may be worth a thought, for the page before the picture is made."""
    problem: str | None = None
    sampler: str = SAMPLER_LABELS[LCM]
    """The sampler's name in the WebUI."""
    lora_name: str | None = None
    """What the LoRA is called: its file's name, with its folders where another file has the same."""
    lora_reason: str | None = None
    """Why it is this one, as in `lora_use.LoraUse`."""
    hires_lora_name: str | None = None
    hires_weight: float | None = None
    """LoRA and weight of the hires pass, whose prompt may have a tag of its own; None where there is no such
    pass, and where it is on a checkpoint of its own, whose family is not known before it is loaded."""
    gamma: float | None = None
    """TCD's gamma; None with LCM, which has none, and where the WebUI's own TCD is used, which has its own.
    """

    @property
    def unet_rows(self) -> int | None:
        """How many rows the UNet computes for a picture; None where the host decides that."""
        passes = [(self.rows, self.first), (self.hires_rows, self.hires)]
        taken = [(rows, one) for rows, one in passes if one is not None]
        if any(one.steps and not one.timesteps for _, one in taken):
            return None
        return sum(rows * len(one.timesteps) for rows, one in taken)

    def status_line(self) -> str:
        """The plan in one line, as the page shows it."""
        return status_line(self)

    def as_dict(self) -> dict:
        """The plan as plain JSON, for the API and the log."""
        return {
            "status": self.status_line(),
            "problem": self.problem,
            "family": self.family.value,
            "sampler": self.sampler,
            "gamma": self.gamma,
            "lora": self.lora_name,
            "weight": self.weight,
            "schedule": self.host_scheduler or self.schedule,
            "steps": self.first.steps,
            "timesteps": list(self.first.timesteps),
            "hires_steps": None if self.hires is None else self.hires.steps,
            "hires_timesteps": None if self.hires is None else list(self.hires.timesteps),
            "hires_lora": self.hires_lora_name,
            "hires_weight": self.hires_weight,
            "cfg": self.cfg,
            "unet_rows": self.unet_rows,
            "messages": list(self.messages),
            "hints": list(self.hints),
        }


def make_plan(
    options: LcmOptions, request: Request, host: HostFacts, limits: Limits = DEFAULT_LIMITS
) -> Plan:
    """All decisions about one generation with LCM on (`options.enabled`). No side effects, never raises for a
    user's mistake.
    """
    options = host.defaults.fill(options)
    messages: list[str] = []
    changes: list[Text] = []
    problems: list[str] = []
    host_scheduler = None if request.scheduler in (None, "", AUTOMATIC_SCHEDULER) else request.scheduler
    cfg = (
        options.cfg
        if options.cfg is not None
        else _clamped(request.cfg, limits.min_cfg, limits.max_cfg, Text("CFG"), changes)
    )
    if is_cfg_one(cfg):
        cfg = 1.0  # exactly: hosts that leave out the unconditional half by themselves compare with 1
    step_bounds = limits.min_steps, limits.max_steps
    wanted = (
        options.steps
        if options.steps is not None
        else _clamped(request.first.steps, *step_bounds, Text("Steps"), changes)
    )
    hires_wanted = wanted
    if (
        request.hires is not None and request.hires.steps
    ):  # 0 means "as many as the first pass", in the WebUI and so here
        hires_wanted = _clamped(request.hires.steps, *step_bounds, Text("Hires steps"), changes)
    if changes:
        steps_range = Text("{low:g} to {high:g}", low=limits.min_steps, high=limits.max_steps)
        cfg_range = Text("{low:g} to {high:g}", low=limits.min_cfg, high=limits.max_cfg)
        messages.append(
            Text(
                "{changes}: LCM works with {steps} steps and a CFG scale of {cfg}.",
                changes=joined(changes),
                steps=steps_range,
                cfg=cfg_range,
            )
        )

    sampler, schedule = SAMPLER_LABELS[options.sampler], options.schedule
    is_handed_over = schedule == WEBUI and sampler in host.own_samplers
    if options.sampler == TCD and schedule == WEBUI and not is_handed_over:
        schedule = TRAILING
        if host_scheduler is None:
            messages.append(
                Text('The WebUI has no TCD sampler of its own to hand over to: schedule "Trailing" was used.')
            )

    def planned(steps: int, strength: float, name: str) -> Pass:
        if not 0.0 <= strength <= 1.0:
            problems.append(
                Text("The denoising strength is {strength:g}; it must be from 0 to 1.", strength=strength)
            )
            return Pass(steps, (), strength)
        if host_scheduler is not None or (schedule == WEBUI and (options.sampler == TCD or strength < 1.0)):
            return Pass(steps, (), strength)
        if schedule == WEBUI:
            return Pass(steps, tuple(webui_unet_timesteps(steps, is_on_grid=host.is_on_grid)), strength)
        timesteps = tuple(lcm_timesteps(steps, strength=strength))
        if len(timesteps) < steps:
            points = usable_steps(strength=strength)
            messages.append(
                Text(
                    "Denoising strength {strength:g} leaves only {points} of the schedule's timesteps: {name}"
                    " {before} → {after}.",
                    strength=strength,
                    points=points,
                    name=name,
                    before=steps,
                    after=len(timesteps),
                )
            )
        return Pass(len(timesteps), timesteps, strength)

    first = planned(wanted, request.first.strength, Text("steps"))
    hires = (
        None if request.hires is None else planned(hires_wanted, request.hires.strength, Text("hires steps"))
    )
    if host_scheduler is not None:
        messages.append(
            Text(
                'Schedule type "{schedule}" was picked by hand and is respected; choose "{automatic}" for the'
                " timesteps that the LCM-LoRA was made for.",
                schedule=term(host_scheduler),
                automatic=term(AUTOMATIC_SCHEDULER),
            )
        )
    is_editing = edits_image(host.is_image_editing, request.image_cfg)
    prompts = [(request.prompt, request.negative_prompt)]
    if hires is not None:
        prompts.append(
            (request.hires_prompt or request.prompt, request.hires_negative_prompt or request.negative_prompt)
        )
    guided = [
        _guided(cfg, prompt, negative_prompt, is_editing, is_handed_over, host)
        for prompt, negative_prompt in prompts
    ]
    on_loaded = prompts if request.hires_checkpoint in SAME_CHECKPOINT else prompts[:1]
    uses = [
        resolve_lora(prompt, options, host.family, host.loras, host.remembered_lora)
        for prompt, _ in on_loaded
    ]
    if any(one.ignores_negative_prompt for one in guided):
        messages.append(
            Text(
                "The negative prompt is ignored at CFG scale 1; raise CFG to {cfg:g} at most to use it.",
                cfg=limits.max_cfg,
            )
        )
    has_refiner = request.refiner not in NO_REFINER
    if has_refiner:
        messages.append(
            Text("The refiner {refiner} was skipped: there is no LCM-LoRA for it.", refiner=request.refiner)
        )
    for one in uses:
        messages.extend(message for message in one.messages if message not in messages)
    problems.extend(one.problem for one in uses if one.problem)
    use, hires_use = (*uses, None)[:2]
    of_first, of_hires = (*guided, None)[:2]
    return Plan(
        family=host.family,
        lora=use.file,
        weight=use.weight,
        schedule=schedule,
        first=first,
        hires=hires,
        cfg=cfg,
        host_scheduler=host_scheduler,
        skips_refiner=has_refiner,
        has_negative_prompt=of_first.has_negative_prompt,
        ignores_negative_prompt=of_first.ignores_negative_prompt,
        hires_ignores_negative_prompt=of_hires is not None and of_hires.ignores_negative_prompt,
        rows=of_first.rows,
        hires_rows=None if of_hires is None else of_hires.rows,
        messages=tuple(messages),
        hints=tuple(_hints(host.family, [(first, request.first), (hires, request.hires)])),
        problem=problems[0] if problems else None,
        sampler=sampler,
        lora_name=None if use.file is None else host.loras.name_of(use.file),
        lora_reason=use.reason,
        hires_lora_name=(
            None if hires_use is None or hires_use.file is None else host.loras.name_of(hires_use.file)
        ),
        hires_weight=None if hires_use is None else hires_use.weight,
        gamma=options.gamma if options.sampler == TCD and not is_handed_over else None,
    )


@dataclass(frozen=True)
class _Guided:
    """What the CFG scale means for the prompts of one pass; the fields are those of Plan."""

    has_negative_prompt: bool
    ignores_negative_prompt: bool
    rows: int


def _guided(
    cfg: float, prompt: str, negative_prompt: str, is_editing: bool, is_handed_over: bool, host: HostFacts
) -> _Guided:
    weights = part_weights(prompt)
    is_left_out_by_us = not is_handed_over and is_cond_enough(cfg, weights, is_editing)
    leaves_out_uncond = is_left_out_by_us or (is_cfg_one(cfg) and host.leaves_out_uncond)
    # of parts whose weights add up to 1 it cancels out too, though it is computed
    cancels_out = leaves_out_uncond or (is_cfg_one(cfg) and is_cfg_one(sum(weights)) and not is_editing)
    has_negative = bool(negative_prompt.strip())
    rows = len(weights) + (0 if leaves_out_uncond else 2 if is_editing else 1)
    return _Guided(has_negative, has_negative and cancels_out, rows)


def _hints(family: ModelFamily, passes) -> Iterator[str]:
    """`passes` are pairs of a Pass and the PassRequest that it came from, or of None and None."""
    for one, asked in passes:
        if (
            one is not None
            and family is ModelFamily.sdxl
            and asked.side >= GRID_SIDE
            and one.steps < GRID_STEPS
        ):
            yield Text(
                "SDXL at {side} pixels in {steps}: raise steps to 6–8 if you see a grid.",
                side=asked.side,
                steps=steps_text(one.steps),
            )


def _clamped(value, minimum, maximum, name: str, changes: list[Text]):
    """`value` within its bounds; a change is noted in `changes`."""
    within = min(max(value, minimum), maximum)
    if within != value:
        changes.append(Text("{name} {before:g} → {after:g}", name=name, before=value, after=within))
    return within


def hires_side(width: int, height: int, scale: float, resize_x: int, resize_y: int) -> int:
    """The longer side in pixels of what the hires pass draws, from the first pass's `width` and `height`.

    Resized to `resize_x` and `resize_y`, of which one may be 0 and then follows from the other, or by `scale`
    where both are 0.
    """
    if resize_x and resize_y:
        return max(resize_x, resize_y)
    if not (width and height):
        return 0
    if resize_x:
        return max(resize_x, resize_x * height // width)
    if resize_y:
        return max(resize_y, resize_y * width // height)
    return int(max(width, height) * scale)
