"""What the accordion says: the status line, warnings, and the style sheet that shows them at the WebUI's own
controls.

It is asked with everything on the tab that decides something, and answers with HTML. It makes the plan as the
generation will.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib_lcm.options import AUTO, BEST, OWN_LABEL, SAMPLER_LABELS, OptionsError, options_from_args
from lib_lcm.plan.make import make_plan
from lib_lcm.plan.plan import Plan
from lib_lcm.plan.presets import LIGHT, negative_controls
from lib_lcm.plan.request import Request, read_request
from lib_lcm.plan.status import status_line, steps_text
from lib_lcm.plan.typed_tag import NOTHING, last_few_step_tag, unfit_pass
from lib_lcm.text import Text, Translations, sentence_of, translated
from lib_lcm.webui import facts, language, loras, settings
from lib_lcm.webui.host import generations, models, prompts, samplers
from lib_lcm.webui.page import host_controls

CANNOT_DRAW = Text("cannot draw")

Texts = tuple[tuple[str, str], ...]
"""(role, text) of controls of the WebUI."""


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
    """What the page is to show, in its language. `line` is the status line, `details` the same with all that
    is known.
    """

    line: str
    details: str = ""
    state: str | None = None
    """A word for the title of the accordion, which counts while it is folded."""
    warnings: tuple[str, ...] = ()
    covered: Texts = ()
    """The WebUI's controls that have no say, with the value that is used instead."""
    noted: Texts = ()
    """The WebUI's controls that need a word."""
    is_waiting: bool = False
    """Whether it will be another once a checkpoint is loaded."""
    is_refusal: bool = False
    """Whether the line says why a generation started now would fail."""
    plan: Plan | None = None
    """What a generation started now would do, where that is known."""
    offer: str | None = None
    """The text of a button at the negative prompt that makes it count."""


def answer(asked: Asked) -> Answer:
    """What a generation started now would do, whether the accordion is ticked or not."""
    words = language.translations()
    request = request_of(asked)
    is_ticked = bool(asked.args[0])
    try:
        options = facts.asked_options([is_ticked, *asked.args[1:]], request.prompt)
        is_on = options.enabled
        if not is_on:
            options = options_from_args([True, *asked.args[1:]], settings.limits)
    except OptionsError as error:
        noted = _translated([_warning(request, is_switched_on=False)] if not is_ticked else [], words)
        state = translated(CANNOT_DRAW, words) if is_ticked else None
        return Answer(translated(sentence_of(error), words), state=state, noted=noted, is_refusal=is_ticked)
    is_switched_on = is_on and not is_ticked
    warning = None if is_ticked else _warning(request, is_switched_on)
    warnings, noted = [asked.problem, warning and warning[1]], _translated([warning], words)
    model = models.loaded()
    if model is None or not models.is_selected(model, _override(asked)):
        line = Text("The checkpoint is not loaded yet; the LCM-LoRA is chosen when the generation starts.")
        sampler = SAMPLER_LABELS.get(options.sampler, OWN_LABEL)
        covered = _covered(options.steps, options.cfg, sampler, None, asked) if is_ticked else ()
        return Answer(
            translated(line, words),
            warnings=_shown(warnings, words),
            covered=covered,
            noted=noted,
            is_waiting=True,
        )
    plan = make_plan(options, request, facts.host_facts(model))
    line, details = status_line(plan, words, is_short=True), status_line(plan, words)
    if not is_on:
        line, details = (
            translated(Text("LCM is off. With it: {status}", status=status), words)
            for status in (line, details)
        )
        return Answer(line, details, warnings=_shown(warnings, words), noted=noted, plan=plan)
    if plan.problem is None:
        warnings += [*plan.messages, *plan.hints]
    covered = _covered(plan.first.steps, plan.cfg, plan.sampler, plan.host_scheduler, asked)
    if is_switched_on:  # then steps and CFG scale are the WebUI's own, brought into LCM's range
        covered = tuple((role, text) for role, text in covered if role not in ("steps", "cfg_scale"))
    is_refusal = plan.problem is not None
    is_light_possible = not plan.is_full_lcm and LIGHT in negative_controls(
        settings.limits(plan.method), plan.first.steps
    )
    offer = None
    if plan.first.guided.ignores_negative_prompt and is_light_possible and not is_switched_on:
        offer = translated(Text("LCM: ignored at CFG 1. Use it (Light)"), words)
    noted += _translated(_notes(plan, asked, is_switched_on, is_offered=offer is not None), words)
    return Answer(
        line,
        details,
        translated(_state(plan), words),
        _shown(warnings, words),
        covered,
        noted,
        is_refusal=is_refusal,
        plan=plan,
        offer=offer,
    )


def render(given: Answer, controls: host_controls.HostControls) -> tuple[str, str]:
    """The answer as HTML: the status line, with the style sheet, and the messages."""
    here = controls.components
    covered = {role: text for role, text in given.covered if role in here}
    noted = {role: text for role, text in given.noted if role in here}
    sheet = host_controls.style_sheet(controls, covered, noted, given.state)
    kind = "lcm-status lcm-refusal" if given.is_refusal else "lcm-status"
    details = "" if given.is_refusal or not given.details else f' title="{html.escape(given.details)}"'
    line = with_links(given.line) if given.is_refusal else html.escape(given.line)
    warnings = "".join(f"<li>{with_links(warning)}</li>" for warning in given.warnings)
    # javascript/lcm.js tells screen readers of what is new in it
    return (
        (f"<style>{sheet}</style>" if sheet else "")
        + f'<div class="{kind}"{details}><span class="lcm-plan">{line}</span></div>',
        f'<ul class="lcm-warnings">{warnings}</ul>' if warnings else "",
    )


def with_links(sentence: str) -> str:
    """As HTML, with addresses as links and what stands between backticks as code."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(sentence))
    return re.sub(
        r"https://[^\s<>&()]*[\w/]", r'<a href="\g<0>" target="_blank" rel="noopener">\g<0></a>', text
    )


def _state(plan: Plan) -> Text:
    """What the title of the accordion says."""
    if plan.problem is None:
        return steps_text(plan.first.steps)
    lora = plan.first.lora
    is_missing = lora is not None and lora.problem == plan.problem and plan.options.lora in (AUTO, BEST)
    return Text("no LoRA") if is_missing else CANNOT_DRAW


def request_of(asked: Asked) -> Request:
    """The generation's request, with its styles in the prompts, which may bring a LoRA's tag or a negative
    prompt.
    """
    controls = asked.controls
    values = {**controls, **prompts.styled(controls, controls.get("styles"))}
    values["scheduler"] = samplers.asked_schedule(controls.get("sampler_name"), controls.get("scheduler"))
    values["hr_second_pass_steps"] = generations.chosen_hires_steps(controls.get("hr_second_pass_steps"))
    if not controls.get("refiner"):
        values["refiner_checkpoint"] = None
    if asked.is_scaled:
        # the WebUI says under the slider what comes of it: "resize: from 512x768 to 1024x1536"
        sizes = re.findall(r"(\d+)x(\d+)", str(controls.get("scaled_size") or ""))
        values["width"], values["height"] = sizes[-1] if sizes else (0, 0)
    return read_request(values, is_img2img=asked.is_img2img)


def _override(asked: Asked) -> str | None:
    return models.checkpoint_of(asked.controls.get("override_settings") or [])


def _warning(request: Request, is_switched_on: bool) -> tuple[str, Text] | None:
    """What an LCM-LoRA in a prompt means while LCM is not ticked, with the role of the prompt."""
    if is_switched_on:
        tag = last_few_step_tag(request.prompt, loras.library())
        sentence = Text(
            "The LoRA {lora} in the prompt switches LCM on (Settings → LCM), with the WebUI's own steps and"
            " CFG scale.",
            lora=None if tag is None else tag.tag.name,
        )
        return "prompt", sentence
    unfit = None if settings.typed_tag() == NOTHING else unfit_pass(request, loras.library(), settings.limits)
    if unfit is None:
        return None
    is_of_hires = unfit[0].is_hires and request.hires is not None and request.hires.prompt
    return "hr_prompt" if is_of_hires else "prompt", unfit[1]


def _covered(
    steps: int | None, cfg: float | None, sampler: str, scheduler: str | None, asked: Asked
) -> tuple[tuple[str, str], ...]:
    """The controls in which LCM decides; one stays as it is while the field of the accordion is empty."""
    steps_text, cfg_text = (None if value is None else f"LCM: {value:g}" for value in (steps, cfg))
    values = {"steps": steps_text, "cfg_scale": cfg_text, "sampler_name": sampler}
    if not asked.is_img2img:
        values |= {"hr_sampler_name": sampler, "hr_scheduler": scheduler or sampler, "hr_cfg": cfg_text}
    return tuple((role, text) for role, text in values.items() if text is not None)


def _notes(plan: Plan, asked: Asked, is_switched_on: bool, is_offered: bool) -> list[tuple[str, str]]:
    """What the WebUI's controls that keep their say need a word about: their value is not quite what will be
    used. `is_offered`: a button says it of the negative prompt.
    """
    notes: list[tuple[str, str]] = []
    controls = asked.controls
    ignored = Text("LCM: ignored") if plan.is_full_lcm else Text("LCM: ignored at CFG 1")
    if plan.first.guided.ignores_negative_prompt and not is_offered:
        notes.append(("negative_prompt", ignored))
    if plan.hires is not None:
        has_own = (controls.get("hr_negative_prompt") or "").strip()
        if has_own and plan.hires.guided.ignores_negative_prompt:
            notes.append(("hr_negative_prompt", ignored))
        if plan.hires.steps != controls.get("hr_second_pass_steps"):
            notes.append(("hr_second_pass_steps", f"LCM: {plan.hires.steps}"))
    if is_switched_on:
        if plan.first.steps != controls.get("steps"):
            notes.append(("steps", f"LCM: {plan.first.steps}"))
        if plan.cfg != controls.get("cfg_scale"):
            notes.append(("cfg_scale", f"LCM: {plan.cfg:g}"))
    return notes


def _translated(notes: Iterable[tuple[str, str] | None], words: Translations) -> Texts:
    return tuple((note[0], translated(note[1], words)) for note in notes if note is not None)


def _shown(sentences: Iterable[str | None], words: Translations) -> tuple[str, ...]:
    return tuple(translated(sentence, words) for sentence in sentences if sentence)
