"""The status line: a plan in one line, for the page, the dry run and the log."""

from __future__ import annotations

from typing import Any

from lib_lcm.lora.file import BY_HASH, BY_LAYERS, BY_METADATA, BY_NAME, BY_YOU
from lib_lcm.lora.use import DISTILLED, REMEMBERED
from lib_lcm.methods import LCM
from lib_lcm.options import AUTO, SAMPLER_LABELS, SCHEDULE_LABELS, TRAILING
from lib_lcm.plan.plan import Plan, PlannedPass
from lib_lcm.text import Text, Translations, term, translated

SEPARATOR = " · "
HOW_KNOWN = {
    BY_HASH: "by its hash",
    BY_YOU: "as you said",
    BY_METADATA: "by its metadata",
    BY_LAYERS: "by its layers",
    BY_NAME: "by its name",
}
AS_ASKED = "as asked"


def status_line(plan: Plan, translations: Translations | None = None, *, is_short: bool = False) -> str:
    """What a generation will do, or the sentence that says why it cannot; in English without
    `translations`. `is_short` leaves out timesteps, rows and what the negative prompt does.
    """
    parts = [plan.problem] if plan.problem else _parts(plan, is_short)
    return SEPARATOR.join(translated(part, translations or {}) for part in parts)


def as_dict(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON, for the API and the log."""
    first, hires = plan.first, plan.hires
    lora, hires_lora = first.lora, None if hires is None else hires.lora
    return {
        "status": status_line(plan),
        "problem": plan.problem,
        "family": plan.family.name,
        "method": plan.method.name,
        "method_known_by": _known_by(plan),
        "sampler": plan.sampler,
        "gamma": first.gamma,
        "lora": None if lora is None else lora.name,
        "weight": None if lora is None else lora.weight,
        "schedule": plan.host_scheduler or plan.schedule,
        "steps": first.steps,
        "timesteps": list(first.timesteps),
        "hires_steps": None if hires is None else hires.steps,
        "hires_timesteps": None if hires is None else list(hires.timesteps),
        "hires_lora": None if hires_lora is None else hires_lora.name,
        "hires_weight": None if hires_lora is None else hires_lora.weight,
        "cfg": plan.cfg,
        "guided_steps": None if first.guided.steps is None else [index + 1 for index in first.guided.steps],
        "unet_rows": plan.unet_rows,
        "messages": list(plan.messages),
        "hints": list(plan.hints),
    }


def _known_by(plan: Plan) -> str | None:
    """How the method of the first pass is known."""
    if plan.options.method != AUTO:
        return AS_ASKED
    lora = plan.first.lora
    return None if lora is None or lora.known_by is None else HOW_KNOWN[lora.known_by]


def _parts(plan: Plan, is_short: bool) -> list[str]:
    parts = [plan.family.label, _lora(plan.first)]
    if plan.gamma is not None:
        parts.append(Text("{sampler} gamma {gamma:g}", sampler=plan.sampler, gamma=plan.gamma))
    elif plan.sampler != SAMPLER_LABELS["lcm"]:
        parts.append(plan.sampler)
    parts.append(_steps(plan.first, is_short))
    if plan.hires is not None:
        parts.append(_hires(plan.hires, plan.first, is_short))
    if plan.host_scheduler:
        parts.append(Text("schedule {schedule}", schedule=term(plan.host_scheduler)))
    elif plan.schedule != TRAILING:
        parts.append(Text("schedule {schedule}", schedule=SCHEDULE_LABELS[plan.schedule]))
    parts.append(_cfg(plan, is_short))
    rows = plan.unet_rows
    if rows is not None and not is_short:
        parts.append(Text("1 UNet row") if rows == 1 else Text("{rows} UNet rows", rows=rows))
    return parts


def _lora(first: PlannedPass) -> str:
    use = first.lora
    lora: str
    if use is None or use.name is None:
        lora = Text("no LoRA")
    elif use.weight == 1.0:
        lora = use.name
    else:
        lora = Text("{lora} at {weight:g}", lora=use.name, weight=use.weight)
    if first.method is not LCM:
        lora = Text("{lora} ({method})", lora=lora, method=_method(first))
    if use is not None and use.reason == REMEMBERED:
        return Text("{lora} (remembered for this checkpoint)", lora=lora)
    if use is not None and use.reason == DISTILLED:
        return Text("{lora} (distilled from this checkpoint)", lora=lora)
    return lora


def _method(one: PlannedPass) -> str:
    """The method of a pass and, where it is a guess, how it is known: "Lightning, 4 steps, by its name"."""
    is_of_lora = one.lora is not None and one.lora.method is one.method
    if one.lora is not None and is_of_lora and one.lora.known_by == BY_NAME:
        return Text("{method}, by its name", method=one.method.label)
    return one.method.label


def _hires(hires: PlannedPass, first: PlannedPass, is_short: bool) -> Text:
    steps, own, before = _steps(hires, is_short), hires.lora, first.lora
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


def _steps(one: PlannedPass, is_short: bool) -> Text:
    text = steps_text(one.steps)
    if one.strength < 1.0:
        text = Text("{steps} at strength {strength:g}", steps=text, strength=one.strength)
    if one.timesteps and not is_short:
        visited = " ".join(f"{timestep:.0f}" for timestep in one.timesteps)
        text = Text("{steps}: {timesteps}", steps=text, timesteps=visited)
    return text


def _cfg(plan: Plan, is_short: bool) -> Text:
    guided = plan.first.guided
    cfg = Text("CFG {cfg:g}", cfg=plan.cfg)
    if guided.steps is not None:
        numbers = [index + 1 for index in guided.steps]
        steps = Text("step {number}", number=numbers[0])
        if len(numbers) > 1:
            steps = Text("steps {first}–{last}", first=numbers[0], last=numbers[-1])
        cfg = Text("{cfg} in {steps}", cfg=cfg, steps=steps)
    if is_short or not guided.has_negative_prompt:
        return cfg
    if guided.ignores_negative_prompt:
        return Text("{cfg}: negative prompt ignored", cfg=cfg)
    return Text("{cfg}: negative prompt used", cfg=cfg)
