"""What the accordion says: the status line, warnings, and the style sheet that shows them at the WebUI's own
controls.

It is asked with everything on the tab that decides something, and answers with HTML. It makes the plan as the
generation will.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lib_lcm.options import SAMPLER_LABELS, LcmOptions, OptionsError, options_from_args
from lib_lcm.plan.lcm_off import PlainPass, last_lcm_lora, unfit_pass
from lib_lcm.plan.make import PassRequest, Plan, Request, hires_side, make_plan
from lib_lcm.plan.status import status_line
from lib_lcm.text import Text, sentence_of, translated
from lib_lcm.webui import language, loras, settings
from lib_lcm.webui.generation.process import host_facts
from lib_lcm.webui.host import models, prompts, samplers
from lib_lcm.webui.page import host_controls

SAME_SAMPLER = (None, "", "Use same sampler")


@dataclass(frozen=True)
class Asked:
    """The tab as it stands: the accordion's values in the order of OPTIONS, the WebUI's own by role
    (`host_controls`).
    """

    args: Sequence[Any]
    controls: Mapping[str, Any]
    is_img2img: bool
    is_scaled: bool = False
    """Whether img2img's "Resize by" is open, and not "Resize to"."""
    problem: str | None = None
    """What just went wrong with a button of the accordion."""


@dataclass(frozen=True)
class Answer:
    """What the page is to show."""

    line: str
    """In the page's language, as all of it."""
    warnings: tuple[str, ...] = ()
    covered: tuple[tuple[str, str], ...] = ()
    """(role, text) of the WebUI's controls that have no say, with the value that is used instead."""
    noted: tuple[tuple[str, str], ...] = ()
    """(role, text) of the WebUI's controls that need a word."""
    is_waiting: bool = False
    """Whether it will be another once a checkpoint is loaded."""
    is_refusal: bool = False
    """Whether the line says why a generation started now would fail."""


def answer(asked: Asked) -> Answer:
    """What a generation started now would do, whether the accordion is ticked or not."""
    words = language.translations()
    limits = settings.limits()
    asked = _with_styles(asked)
    is_ticked = bool(asked.args[0])
    tag = None if is_ticked else last_lcm_lora(asked.controls["prompt"], loras.library())
    is_switched_on = tag is not None and settings.typed_tag() == settings.SWITCH_ON
    role, warning = "prompt", None
    if is_switched_on:
        warning = Text(
            "The LCM-LoRA {lora} in the prompt switches LCM on (Settings → LCM), with the WebUI's own steps"
            " and CFG scale.",
            lora=tag,
        )
    elif not is_ticked and settings.typed_tag() != settings.NOTHING:
        unfit = unfit_pass(_plain_passes(asked), loras.library(), limits)
        if unfit is not None:
            role = "hires_prompt" if unfit[0].is_hires and asked.controls["hires_prompt"] else "prompt"
            warning = unfit[1]
    prompt_notes = () if warning is None else ((role, translated(warning, words)),)
    try:
        options = (
            LcmOptions(enabled=True) if is_switched_on else options_from_args([True, *asked.args[1:]], limits)
        )
    except OptionsError as error:
        return Answer(translated(sentence_of(error), words), noted=prompt_notes, is_refusal=is_ticked)
    model = models.loaded()
    if model is None or not models.is_selected(
        model, models.checkpoint_of(asked.controls.get("override_settings") or [])
    ):
        line = translated(
            Text("The checkpoint is not loaded yet; the LCM-LoRA is chosen when the generation starts."),
            words,
        )
        covered = (
            _covered(options.steps, options.cfg, SAMPLER_LABELS[options.sampler], asked) if is_ticked else ()
        )
        return Answer(line, _shown([asked.problem], words), covered, prompt_notes, is_waiting=True)
    plan = make_plan(options, _request(asked, options), host_facts(model), limits)
    line = status_line(plan, words)
    if not (is_ticked or is_switched_on):
        line = translated(Text("LCM is off. With it: {status}", status=line), words)
        return Answer(line, _shown([asked.problem, warning], words), noted=prompt_notes)
    shown = _shown([asked.problem, warning, *(() if plan.problem else (*plan.messages, *plan.hints))], words)
    covered = _covered(plan.first.steps, plan.cfg, plan.sampler, asked, plan.host_scheduler)
    if is_switched_on:  # then steps and CFG scale are the WebUI's own, brought into LCM's range
        covered = tuple((role, text) for role, text in covered if role not in ("steps", "cfg"))
    notes = (*prompt_notes, *_notes(plan, asked, is_switched_on, words))
    return Answer(line, shown, covered, notes, is_refusal=plan.problem is not None)


def render(given: Answer, controls: host_controls.HostControls) -> str:
    """The answer as HTML."""
    here = controls.components
    covered = {role: text for role, text in given.covered if role in here}
    noted = {role: text for role, text in given.noted if role in here}
    sheet = host_controls.style_sheet(controls, covered, noted)
    kind = "lcm-status lcm-refusal" if given.is_refusal else "lcm-status"
    warnings = "".join(f"<li>{html.escape(warning)}</li>" for warning in given.warnings)
    # javascript/lcm.js tells screen readers of what is new in it
    return (
        (f"<style>{sheet}</style>" if sheet else "")
        + f'<div class="{kind}"><span class="lcm-plan">{html.escape(given.line)}</span></div>'
        + (f'<ul class="lcm-warnings">{warnings}</ul>' if warnings else "")
    )


def _with_styles(asked: Asked) -> Asked:
    """The tab with its styles in the prompts, which a style may give a LoRA's tag or a negative prompt."""
    controls = asked.controls
    return replace(asked, controls={**controls, **prompts.styled(controls, controls.get("styles"))})


def _plain_passes(asked: Asked) -> list[PlainPass]:
    """The passes that the WebUI makes of the tab while LCM is off, as `generation.plain_passes` reads them
    from the processing object.
    """
    controls = asked.controls
    prompt, sampler = controls["prompt"], controls.get("sampler")
    steps, cfg = int(_number(controls.get("steps"), 0)), _number(controls.get("cfg"), 0.0)
    first = PlainPass(prompt, sampler, steps, cfg)
    if not controls.get("hires") or asked.is_img2img:
        return [first]
    hires_sampler = controls.get("hires_sampler")
    hires = PlainPass(
        controls["hires_prompt"] or prompt,
        sampler if hires_sampler in SAME_SAMPLER else hires_sampler,
        int(_number(controls.get("hires_steps"), 0)) or steps,
        _number(controls.get("hires_cfg"), 0.0) or cfg,
        is_hires=True,
    )
    return [first, hires]


def _request(asked: Asked, options: LcmOptions) -> Request:
    """The generation's request, as `generation.request_of` reads it from the processing object."""
    controls = asked.controls
    strength = _number(controls.get("strength"), 1.0)
    size = _size(asked)
    hires = None
    if controls.get("hires") and not asked.is_img2img:
        resized = (int(_number(controls.get(role), 0)) for role in ("hires_width", "hires_height"))
        side = hires_side(*size, _number(controls.get("hires_scale"), 1.0), *resized)
        hires = PassRequest(int(_number(controls.get("hires_steps"), 0)), strength, side)
    return Request(
        first=PassRequest(
            int(_number(controls.get("steps"), options.steps or 1)),
            strength if asked.is_img2img else 1.0,
            max(size),
        ),
        cfg=_number(controls.get("cfg"), options.cfg or 1.0),
        hires=hires,
        prompt=controls["prompt"],
        negative_prompt=controls["negative_prompt"],
        scheduler=samplers.asked_schedule(controls.get("sampler"), controls.get("scheduler")),
        refiner=controls.get("refiner_checkpoint") if controls.get("refiner") else None,
        image_cfg=_number(controls.get("image_cfg"), 1.0),
        hires_prompt=controls["hires_prompt"],
        hires_negative_prompt=controls["hires_negative_prompt"],
        hires_checkpoint=controls.get("hires_checkpoint"),
    )


def _size(asked: Asked) -> tuple[int, int]:
    """Width and height in pixels of what the first pass draws, 0 where that is not known."""
    controls = asked.controls
    if (
        asked.is_scaled
    ):  # the WebUI says under the slider what comes of the picture: "resize: from 512x768 to 1024x1536"
        sizes = re.findall(r"(\d+)x(\d+)", str(controls.get("scaled_size") or ""))
        width, height = sizes[-1] if sizes else (0, 0)
    else:
        width, height = (_number(controls.get(role), 0) for role in ("width", "height"))
    return int(width), int(height)


def _covered(
    steps: int | None, cfg: float | None, sampler: str, asked: Asked, scheduler: str | None = None
) -> tuple[tuple[str, str], ...]:
    values = {"steps": _lcm_value(steps), "cfg": _lcm_value(cfg), "sampler": sampler}
    if not asked.is_img2img:
        values |= {
            "hires_sampler": sampler,
            "hires_scheduler": scheduler or sampler,
            "hires_cfg": _lcm_value(cfg),
        }
    return tuple((role, text) for role, text in values.items() if text is not None)


def _lcm_value(value: float | None) -> str | None:
    """None while the field of the accordion is empty."""
    return None if value is None else f"LCM: {value:g}"


def _notes(plan: Plan, asked: Asked, is_switched_on: bool, words) -> list[tuple[str, str]]:
    """What the WebUI's controls that keep their say need a word about: their value is not quite what will be
    used.
    """
    notes = []
    if plan.ignores_negative_prompt:
        notes.append(("negative_prompt", translated(Text("LCM: ignored at CFG 1"), words)))
    if plan.hires_ignores_negative_prompt and asked.controls["hires_negative_prompt"].strip():
        notes.append(("hires_negative_prompt", translated(Text("LCM: ignored at CFG 1"), words)))
    if plan.hires is not None and plan.hires.steps != asked.controls.get("hires_steps"):
        notes.append(("hires_steps", f"LCM: {plan.hires.steps}"))
    if is_switched_on:
        if plan.first.steps != asked.controls.get("steps"):
            notes.append(("steps", f"LCM: {plan.first.steps}"))
        if plan.cfg != asked.controls.get("cfg"):
            notes.append(("cfg", f"LCM: {plan.cfg:g}"))
    return notes


def _shown(sentences, words) -> tuple[str, ...]:
    return tuple(translated(sentence, words) for sentence in sentences if sentence)


def _number(value: Any, default: float) -> float:
    """A number field of the page; `default` where it is empty."""
    return default if value is None or value == "" else float(value)
