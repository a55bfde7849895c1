"""The status line: a plan in one line, for the page, the dry run and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib_lcm.lora.use import REMEMBERED
from lib_lcm.options import SAMPLER_LABELS, SCHEDULE_LABELS, TRAILING
from lib_lcm.text import Text, Translations, term, translated

if TYPE_CHECKING:
    from lib_lcm.plan.plan import Plan, PlannedPass

SEPARATOR = " · "


def status_line(plan: Plan, translations: Translations | None = None) -> str:
    """What a generation will do, or the sentence that says why it cannot; in English without
    `translations`.
    """
    parts = [plan.problem] if plan.problem else _parts(plan)
    return SEPARATOR.join(translated(part, translations or {}) for part in parts)


def _parts(plan: Plan) -> list[str]:
    parts = [plan.family.label, _lora(plan.first)]
    if plan.gamma is not None:
        parts.append(Text("{sampler} gamma {gamma:g}", sampler=plan.sampler, gamma=plan.gamma))
    elif plan.sampler != SAMPLER_LABELS["lcm"]:
        parts.append(plan.sampler)
    parts.append(_steps(plan.first))
    if plan.hires is not None:
        parts.append(_hires(plan.hires, plan.first))
    if plan.host_scheduler:
        parts.append(Text("schedule {schedule}", schedule=term(plan.host_scheduler)))
    elif plan.schedule != TRAILING:
        parts.append(Text("schedule {schedule}", schedule=SCHEDULE_LABELS[plan.schedule]))
    parts.append(_cfg(plan))
    rows = plan.unet_rows
    if rows is not None:
        parts.append(Text("1 UNet row") if rows == 1 else Text("{rows} UNet rows", rows=rows))
    return parts


def _lora(first: PlannedPass) -> str:
    use = first.lora
    if use is None or use.name is None:
        lora = Text("no LoRA")
    else:
        lora = (
            use.name if use.weight == 1.0 else Text("{lora} at {weight:g}", lora=use.name, weight=use.weight)
        )
    if use is not None and use.reason == REMEMBERED:
        return Text("{lora} (remembered for this checkpoint)", lora=lora)
    return lora


def _hires(hires: PlannedPass, first: PlannedPass) -> Text:
    steps, own, before = _steps(hires), hires.lora, first.lora
    if own is None or before is None or (own.name, own.weight) == (before.name, before.weight):
        return Text("hires {steps}", steps=steps)
    lora = (
        Text("no LoRA")
        if own.name is None
        else Text("{lora} at {weight:g}", lora=own.name, weight=own.weight)
    )
    return Text("hires {steps} with {lora}", steps=steps, lora=lora)


def steps_text(steps: int) -> Text:
    """ "1 step", "4 steps"."""
    return Text("1 step") if steps == 1 else Text("{steps} steps", steps=steps)


def _steps(one: PlannedPass) -> Text:
    text = steps_text(one.steps)
    if one.strength < 1.0:
        text = Text("{steps} at strength {strength:g}", steps=text, strength=one.strength)
    if one.timesteps:
        visited = " ".join(f"{timestep:.0f}" for timestep in one.timesteps)
        text = Text("{steps}: {timesteps}", steps=text, timesteps=visited)
    return text


def _cfg(plan: Plan) -> Text:
    guided = plan.first.guided
    if not guided.has_negative_prompt:
        return Text("CFG {cfg:g}", cfg=plan.cfg)
    if guided.ignores_negative_prompt:
        return Text("CFG {cfg:g}: negative prompt ignored", cfg=plan.cfg)
    return Text("CFG {cfg:g}: negative prompt used", cfg=plan.cfg)
