"""make_plan: every decision about one generation, from plain data to plain data.

The page's status line, the API's dry run, the infotext and the log all print the same Plan.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib_lcm.families import ModelFamily
from lib_lcm.lora_files import LoraFile
from lib_lcm.lora_use import Loras, LoraUse, resolve_lora
from lib_lcm.options import DEFAULT_LIMITS, SCHEDULE_LABELS, TRAILING, WEBUI, LcmOptions, Limits
from lib_lcm.schedule import lcm_timesteps, usable_steps, webui_timesteps

SAMPLER_NAME = "LCM"
CFG_ONE_TOLERANCE = 1e-4
AUTOMATIC_SCHEDULER = "Automatic"


def is_cfg_one(cfg: float) -> bool:
    """Whether a CFG scale counts as 1, where the unconditional half of the UNet's work cancels out."""
    return abs(cfg - 1.0) < CFG_ONE_TOLERANCE


@dataclass(frozen=True)
class PassRequest:
    """What was asked of one sampling pass; `strength` is the denoising strength, 1 for a pass that starts from noise."""

    steps: int
    strength: float = 1.0


@dataclass(frozen=True)
class Request:
    """The parts of a generation request that decide something."""

    first: PassRequest
    cfg: float
    hires: PassRequest | None = None
    prompt: str = ""
    negative_prompt: str = ""
    scheduler: str | None = None
    refiner: str | None = None


@dataclass(frozen=True)
class HostFacts:
    """What the host has to offer: the loaded model's family, the LoRA folder, and whether it has an LCM sampler of its own."""

    family: ModelFamily
    loras: Loras
    has_own_lcm: bool = False


@dataclass(frozen=True)
class Pass:
    """One sampling pass: `timesteps` is empty where the host decides them (a schedule picked by hand, its own img2img rule)."""

    steps: int
    timesteps: tuple[float, ...] = ()
    strength: float = 1.0


@dataclass(frozen=True)
class Plan:
    """What one generation will do.

    `schedule` is "trailing", "webui" or, where `host_scheduler` is set, that scheduler of the host's own drop-down.
    `problem` is a sentence where the generation must fail, and then nothing else of the plan is to be used.
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
    ignores_negative_prompt: bool = False
    messages: tuple[str, ...] = ()
    problem: str | None = None
    sampler: str = SAMPLER_NAME
    lora_name: str | None = None
    """What the LoRA is called: its file's name, with its folders where another file has the same."""

    @property
    def cond_only(self) -> bool:
        """Whether the UNet runs on the conditional half alone."""
        return is_cfg_one(self.cfg)

    def status_line(self) -> str:
        """The plan in one line, as the page shows it."""
        if self.problem:
            return self.problem
        lora = self.lora_name if self.lora is not None else "no LoRA"
        if self.lora is not None and self.weight != 1.0:
            lora += f" at {self.weight:g}"
        parts = [self.family.label, lora, _steps_text(self.first)]
        if self.hires is not None:
            parts.append(f"hires {_steps_text(self.hires)}")
        if self.host_scheduler:
            parts.append(f"schedule {self.host_scheduler}")
        elif self.schedule != TRAILING:
            parts.append(f"schedule {SCHEDULE_LABELS[self.schedule]}")
        cfg = f"CFG {self.cfg:g}"
        if self.cond_only:
            cfg += ": negative prompt ignored"
        parts.append(cfg)
        return " · ".join(parts)

    def as_dict(self) -> dict:
        """The plan as plain JSON, for the API and the log."""
        return {
            "status": self.status_line(),
            "problem": self.problem,
            "family": self.family.value,
            "sampler": self.sampler,
            "lora": self.lora_name,
            "weight": self.weight,
            "schedule": self.host_scheduler or self.schedule,
            "steps": self.first.steps,
            "timesteps": list(self.first.timesteps),
            "hires_steps": None if self.hires is None else self.hires.steps,
            "hires_timesteps": None if self.hires is None else list(self.hires.timesteps),
            "cfg": self.cfg,
            "messages": list(self.messages),
        }


def _steps_text(one: Pass) -> str:
    text = f"{one.steps} step" if one.steps == 1 else f"{one.steps} steps"
    if one.timesteps:
        text += ": " + " ".join(f"{timestep:.0f}" for timestep in one.timesteps)
    return text


def make_plan(options: LcmOptions, request: Request, host: HostFacts, limits: Limits = DEFAULT_LIMITS) -> Plan:
    """All decisions about one generation with LCM on (`options.enabled`). No side effects, never raises for a user's mistake."""
    messages: list[str] = []
    changes: list[str] = []
    problems: list[str] = []
    host_scheduler = None if request.scheduler in (None, "", AUTOMATIC_SCHEDULER) else request.scheduler
    cfg = options.cfg if options.cfg is not None else _clamped(request.cfg, limits.min_cfg, limits.max_cfg, "CFG", changes)
    if is_cfg_one(cfg):
        cfg = 1.0  # exactly: hosts that leave out the unconditional half by themselves compare with 1
    step_bounds = limits.min_steps, limits.max_steps
    wanted = options.steps if options.steps is not None else _clamped(request.first.steps, *step_bounds, "Steps", changes)
    hires_wanted = wanted
    if request.hires is not None and request.hires.steps:  # 0 means "as many as the first pass", in the WebUI and so here
        hires_wanted = _clamped(request.hires.steps, *step_bounds, "Hires steps", changes)
    if changes:
        bounds = f"{_range(*step_bounds)} steps and a CFG scale of {_range(limits.min_cfg, limits.max_cfg)}"
        messages.append(f"{', '.join(changes)}: LCM works with {bounds}.")

    def planned(steps: int, strength: float, name: str) -> Pass:
        if not 0.0 <= strength <= 1.0:
            problems.append(f"The denoising strength is {strength:g}; it must be from 0 to 1.")
            return Pass(steps, (), strength)
        if host_scheduler is not None or (options.schedule == WEBUI and strength < 1.0):
            return Pass(steps, (), strength)
        if options.schedule == WEBUI:
            return Pass(steps, tuple(webui_timesteps(steps)), strength)
        timesteps = tuple(lcm_timesteps(steps, strength=strength))
        if len(timesteps) < steps:
            messages.append(
                f"Denoising strength {strength:g} leaves only {usable_steps(strength=strength)} of the schedule's timesteps: "
                f"{name} {steps} → {len(timesteps)}."
            )
        return Pass(len(timesteps), timesteps, strength)

    first = planned(wanted, request.first.strength, "steps")
    hires = None if request.hires is None else planned(hires_wanted, request.hires.strength, "hires steps")
    if host_scheduler is not None:
        messages.append(
            f'Schedule type "{host_scheduler}" was picked by hand and is respected; '
            f'choose "{AUTOMATIC_SCHEDULER}" for the timesteps that the LCM-LoRA was made for.'
        )
    ignores_negative = is_cfg_one(cfg) and bool(request.negative_prompt.strip())
    if ignores_negative:
        messages.append(f"The negative prompt is ignored at CFG scale 1; raise CFG to {limits.max_cfg:g} at most to use it.")
    if request.refiner:
        messages.append(f"The refiner {request.refiner} was skipped: there is no LCM-LoRA for it.")
    use: LoraUse = resolve_lora(request.prompt, options, host.family, host.loras)
    messages.extend(use.messages)
    return Plan(
        family=host.family,
        lora=use.file,
        weight=use.weight,
        schedule=options.schedule,
        first=first,
        hires=hires,
        cfg=cfg,
        host_scheduler=host_scheduler,
        skips_refiner=bool(request.refiner),
        ignores_negative_prompt=ignores_negative,
        messages=tuple(messages),
        problem=problems[0] if problems else use.problem,
        lora_name=None if use.file is None else host.loras.name_of(use.file),
    )


def _clamped(value, minimum, maximum, name: str, changes: list[str]):
    """`value` within its bounds; a change is noted in `changes`."""
    within = min(max(value, minimum), maximum)
    if within != value:
        changes.append(f"{name} {value:g} → {within:g}")
    return within


def _range(minimum, maximum) -> str:
    return f"{minimum:g} to {maximum:g}"
