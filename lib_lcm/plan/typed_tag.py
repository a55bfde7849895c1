"""The tag of a LoRA for few steps in a prompt while LCM is off: it switches LCM on, or the settings of its
pass may not suit it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib_lcm.lora.use import FewStepTag, Loras, few_step_tags
from lib_lcm.methods import LCM, Method
from lib_lcm.options import SAMPLER_LABELS, LcmOptions, Limits, LimitsOf
from lib_lcm.plan.make import range_text
from lib_lcm.plan.request import Request
from lib_lcm.text import Text, joined

WARN, SWITCH_ON, NOTHING = Text("warn"), Text("switch LCM on"), Text("nothing")
"""What such a tag does: a setting."""


@dataclass(frozen=True)
class PlainPass:
    """A sampling pass without LCM, as the WebUI will make it."""

    prompt: str
    sampler: str | None
    steps: int
    cfg: float
    is_hires: bool = False


def plain_passes(request: Request) -> list[PlainPass]:
    """The passes that the WebUI makes of a request while LCM is off."""
    first, hires = request.first, request.hires
    passes = [PlainPass(first.prompt, first.sampler, first.steps, request.cfg)]
    if hires is not None:
        steps, cfg = hires.steps or first.steps, hires.cfg or request.cfg
        passes.append(
            PlainPass(hires.prompt or first.prompt, hires.sampler or first.sampler, steps, cfg, True)
        )
    return passes


def last_few_step_tag(prompt: str, loras: Loras) -> FewStepTag | None:
    """The last tag of `prompt` that means a LoRA for few steps which LCM can sample; None where there is
    none.
    """
    tags = few_step_tags(prompt, loras) if "<" in prompt else []
    return next((tag for tag in reversed(tags) if tag.method.recipe is not None), None)


def switched_on(options: LcmOptions, prompt: str, loras: Loras, effect: str) -> LcmOptions:
    """The options that a generation has: those given or, where LCM is off and a tag switches it on, LCM's
    own.
    """
    if options.enabled or effect != SWITCH_ON or last_few_step_tag(prompt, loras) is None:
        return options
    return LcmOptions(enabled=True)


def unfit_pass(request: Request, loras: Loras, limits: LimitsOf) -> tuple[PlainPass, Text] | None:
    """The first pass with a LoRA for few steps in its prompt that its settings do not suit, and the sentence
    about it; None where there is none.
    """
    for one in plain_passes(request):
        lora = last_few_step_tag(one.prompt, loras)
        unfit = [] if lora is None else _unfit(one, lora.method, limits(lora.method))
        if lora is not None and unfit:
            within = limits(lora.method)
            values: dict[str, object] = {
                "lora": lora.tag.name,
                "method": lora.method.group,
                "unfit": joined(unfit),
                "sampler": _sampler(lora.method),
                "steps": range_text(within.min_steps, within.max_steps),
                "cfg": within.max_cfg,
            }
            return one, _of_hires(values) if one.is_hires else _of_first(values)
    return None


def _sampler(method: Method) -> str:
    return SAMPLER_LABELS[LCM.name if method.recipe is None else method.recipe.sampler]


def _of_first(values: dict[str, object]) -> Text:
    return Text(
        "The prompt holds the {method} LoRA {lora}, which does not work with {unfit}: tick LCM, or use the"
        " sampler {sampler} with {steps} steps and CFG {cfg:g} at most.",
        **values,
    )


def _of_hires(values: dict[str, object]) -> Text:
    return Text(
        "The prompt of the hires pass holds the {method} LoRA {lora}, which does not work with that pass's"
        " {unfit}: tick LCM, or give that pass the sampler {sampler} with {steps} steps and CFG {cfg:g} at"
        " most.",
        **values,
    )


def _unfit(one: PlainPass, method: Method, limits: Limits) -> list[Text]:
    found = []
    # others than LCM's can be sampled with samplers of the WebUI's own
    if method is LCM and one.sampler not in SAMPLER_LABELS.values():
        found.append(Text("sampler {sampler}", sampler=one.sampler))
    if one.steps > limits.max_steps:
        found.append(Text("{steps} steps", steps=one.steps))
    if one.cfg > limits.max_cfg:
        found.append(Text("CFG scale {cfg:g}", cfg=one.cfg))
    return found
