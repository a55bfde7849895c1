"""The status line: a plan in one line, for the page, the dry run and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib_lcm.lora.use import REMEMBERED
from lib_lcm.options import LCM, SAMPLER_LABELS, SCHEDULE_LABELS, TRAILING
from lib_lcm.text import Text, Translations, term, translated

if TYPE_CHECKING:
    from lib_lcm.plan.make import Pass, Plan

SEPARATOR = " · "


def status_line(plan: Plan, translations: Translations | None = None) -> str:
    """What a generation will do, or the sentence that says why it cannot; in English without
    `translations`.
    """
    parts = [plan.problem] if plan.problem else _parts(plan)
    return SEPARATOR.join(translated(part, translations or {}) for part in parts)


def _parts(plan: Plan) -> list[str]:
    parts = [plan.family.label, _lora(plan)]
    if plan.gamma is not None:
        parts.append(Text("{sampler} gamma {gamma:g}", sampler=plan.sampler, gamma=plan.gamma))
    elif plan.sampler != SAMPLER_LABELS[LCM]:
        parts.append(plan.sampler)
    parts.append(_steps(plan.first))
    if plan.hires is not None:
        parts.append(_hires(plan))
    if plan.host_scheduler:
        parts.append(Text("schedule {schedule}", schedule=term(plan.host_scheduler)))
    elif plan.schedule != TRAILING:
        parts.append(Text("schedule {schedule}", schedule=SCHEDULE_LABELS[plan.schedule]))
    parts.append(_cfg(plan))
    rows = plan.unet_rows
    if rows is not None:
        parts.append(Text("1 UNet row") if rows == 1 else Text("{rows} UNet rows", rows=rows))
    return parts


def _lora(plan: Plan) -> str:
    lora = Text("no LoRA") if plan.lora is None else plan.lora_name
    if plan.lora is not None and plan.weight != 1.0:
        lora = Text("{lora} at {weight:g}", lora=lora, weight=plan.weight)
    return (
        Text("{lora} (remembered for this checkpoint)", lora=lora) if plan.lora_reason == REMEMBERED else lora
    )


def _hires(plan: Plan) -> Text:
    steps = _steps(plan.hires)
    if plan.hires_weight is None or (plan.hires_lora_name, plan.hires_weight) == (
        plan.lora_name,
        plan.weight,
    ):
        return Text("hires {steps}", steps=steps)
    if plan.hires_lora_name is None:
        lora = Text("no LoRA")
    else:
        lora = Text("{lora} at {weight:g}", lora=plan.hires_lora_name, weight=plan.hires_weight)
    return Text("hires {steps} with {lora}", steps=steps, lora=lora)


def steps_text(steps: int) -> Text:
    """ "1 step", "4 steps"."""
    return Text("1 step") if steps == 1 else Text("{steps} steps", steps=steps)


def _steps(one: Pass) -> Text:
    text = steps_text(one.steps)
    if one.strength < 1.0:
        text = Text("{steps} at strength {strength:g}", steps=text, strength=one.strength)
    if one.timesteps:
        text = Text(
            "{steps}: {timesteps}",
            steps=text,
            timesteps=" ".join(f"{timestep:.0f}" for timestep in one.timesteps),
        )
    return text


def _cfg(plan: Plan) -> Text:
    if not plan.has_negative_prompt:
        return Text("CFG {cfg:g}", cfg=plan.cfg)
    return Text(
        (
            "CFG {cfg:g}: negative prompt ignored"
            if plan.ignores_negative_prompt
            else "CFG {cfg:g}: negative prompt used"
        ),
        cfg=plan.cfg,
    )
