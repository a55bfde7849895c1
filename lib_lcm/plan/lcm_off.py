"""An LCM-LoRA's tag in a prompt while LCM is off: whether the settings of its pass suit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib_lcm.lora.use import Loras, lcm_tags
from lib_lcm.options import SAMPLER_LABELS, Limits
from lib_lcm.text import Text, joined


@dataclass(frozen=True)
class PlainPass:
    """A sampling pass without LCM, as the WebUI will make it."""

    prompt: str
    sampler: str
    steps: int
    cfg: float
    is_hires: bool = False


def last_lcm_lora(prompt: str, loras: Loras) -> str | None:
    """The name in the last tag of `prompt` that means an LCM-LoRA; None where there is none."""
    tags = lcm_tags(prompt, loras) if "<" in prompt else []
    return tags[-1].tag.name if tags else None


def unfit_pass(passes: Sequence[PlainPass], loras: Loras, limits: Limits) -> tuple[PlainPass, Text] | None:
    """The first pass with an LCM-LoRA in its prompt that its settings do not suit, and the sentence about it;
    None where there is none.
    """
    for one in passes:
        lora = last_lcm_lora(one.prompt, loras)
        unfit = [] if lora is None else _unfit(one, limits)
        if unfit:
            steps = Text("{low:g} to {high:g}", low=limits.min_steps, high=limits.max_steps)
            return one, Text(
                (
                    "The prompt of the hires pass holds the LCM-LoRA {lora}, which does not work with that"
                    " pass's {unfit}: tick LCM, or give that pass the sampler LCM with {steps} steps and CFG"
                    " {cfg:g} at most."
                    if one.is_hires
                    else (
                        "The prompt holds the LCM-LoRA {lora}, which does not work with {unfit}: tick LCM, or"
                        " use the sampler LCM with {steps} steps and CFG {cfg:g} at most."
                    )
                ),
                lora=lora,
                unfit=joined(unfit),
                steps=steps,
                cfg=limits.max_cfg,
            )
    return None


def _unfit(one: PlainPass, limits: Limits) -> list[Text]:
    found = []
    if one.sampler not in SAMPLER_LABELS.values():
        found.append(Text("sampler {sampler}", sampler=one.sampler))
    if one.steps > limits.max_steps:
        found.append(Text("{steps} steps", steps=one.steps))
    if one.cfg > limits.max_cfg:
        found.append(Text("CFG scale {cfg:g}", cfg=one.cfg))
    return found
