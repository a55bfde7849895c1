"""Prompt syntax: editing over time `[a:b:0.5]`, alternation `[a|b]`, composition `a AND b :0.5`, and
attention `(a:1.2)`.

A conditioning is a schedule per prompt: a list of (last step, tensors). The parsers are in
`workbench.webui.prompt_syntax`.
"""

from __future__ import annotations

import re
from collections import namedtuple

import torch

from workbench.webui.prompt_syntax import parse_prompt_attention, prompt_schedule  # noqa: F401

ScheduledPromptConditioning = namedtuple("ScheduledPromptConditioning", ["end_at_step", "cond"])

re_AND = re.compile(r"\bAND\b")
_WEIGHT_AT_END = re.compile(r"\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*$")


class SdConditioning(list):
    """A list of prompts that also says what it is for: negative or not, and the picture's size."""

    def __init__(self, prompts, is_negative_prompt=False, width=None, height=None, copy_from=None):
        super().__init__(prompts)
        origin = prompts if copy_from is None else copy_from
        self.is_negative_prompt = is_negative_prompt or getattr(origin, "is_negative_prompt", False)
        self.width = width or getattr(origin, "width", None)
        self.height = height or getattr(origin, "height", None)


class ComposableScheduledPromptConditioning:
    """One part of an AND prompt: its schedule and its weight."""

    def __init__(self, schedules, weight=1.0):
        self.schedules: list[ScheduledPromptConditioning] = schedules
        self.weight: float = weight


class MulticondLearnedConditioning:
    """The conditioning of a batch: for each image a list of weighted parts."""

    def __init__(self, shape, batch):
        self.shape: tuple = shape
        self.batch: list[list[ComposableScheduledPromptConditioning]] = batch


class DictWithShape(dict):
    """SDXL's conditioning {"crossattn", "vector"}; `shape` is that of "crossattn"."""

    def __init__(self, x, shape=None):
        super().__init__(x)

    @property
    def shape(self):
        return self["crossattn"].shape


def get_learned_conditioning_prompt_schedules(
    prompts, base_steps, hires_steps=None, use_old_scheduling=False
):
    """For each prompt a list of [last step, text]. With hires_steps the schedule is that of the second
    pass.
    """
    schedules = {
        prompt: prompt_schedule(prompt, base_steps, hires_steps, use_old_scheduling)
        for prompt in set(prompts)
    }
    return [schedules[prompt] for prompt in prompts]


def get_learned_conditioning(model, prompts, steps, hires_steps=None, use_old_scheduling=False):
    """For each prompt a list of ScheduledPromptConditioning, computed by `model.get_learned_conditioning`."""
    computed: dict[str, list] = {}
    schedules = get_learned_conditioning_prompt_schedules(prompts, steps, hires_steps, use_old_scheduling)
    for prompt, schedule in zip(prompts, schedules, strict=True):
        if prompt in computed:
            continue
        conds = model.get_learned_conditioning(
            SdConditioning([text for _, text in schedule], copy_from=prompts)
        )
        computed[prompt] = [
            ScheduledPromptConditioning(
                end, {key: value[i] for key, value in conds.items()} if isinstance(conds, dict) else conds[i]
            )
            for i, (end, _) in enumerate(schedule)
        ]
    return [computed[prompt] for prompt in prompts]


def get_multicond_prompt_list(prompts):
    """Split prompts at AND. Returns per prompt a list of (index, weight), the distinct parts, and part ->
    index.
    """
    parts = SdConditioning(prompts)
    parts.clear()
    index_of: dict[str, int] = {}
    indexes = []
    for prompt in prompts:
        of_prompt = []
        for part in re_AND.split(prompt):
            found = _WEIGHT_AT_END.search(part)
            weight = float(found.group(1)) if found else 1.0
            text = part[: found.start()] if found else part.rstrip()
            if text not in index_of:
                index_of[text] = len(parts)
                parts.append(text)
            of_prompt.append((index_of[text], weight))
        indexes.append(of_prompt)
    return indexes, parts, index_of


def get_multicond_learned_conditioning(
    model, prompts, steps, hires_steps=None, use_old_scheduling=False
) -> MulticondLearnedConditioning:
    """Like get_learned_conditioning, for prompts that may hold AND."""
    indexes, parts, _ = get_multicond_prompt_list(prompts)
    learned = get_learned_conditioning(model, parts, steps, hires_steps, use_old_scheduling)
    batch = [
        [ComposableScheduledPromptConditioning(learned[i], weight) for i, weight in of_prompt]
        for of_prompt in indexes
    ]
    return MulticondLearnedConditioning(shape=(len(prompts),), batch=batch)


def _cond_at(schedule, step):
    return next((entry.cond for entry in schedule if step <= entry.end_at_step), schedule[0].cond)


def stack_conds(tensors):
    """Stack [tokens, width] tensors; shorter ones are lengthened by repeating their last token."""
    longest = max(tensor.shape[0] for tensor in tensors)
    return torch.stack(
        [torch.cat([tensor, tensor[-1:].expand(longest - tensor.shape[0], -1)]) for tensor in tensors]
    )


def _stack(conds):
    if not isinstance(conds[0], dict):
        return stack_conds(conds)
    stacked = {key: torch.stack([cond[key] for cond in conds]) for key in conds[0] if key != "crossattn"}
    return DictWithShape({"crossattn": stack_conds([cond["crossattn"] for cond in conds]), **stacked})


def reconstruct_cond_batch(c, current_step):
    """The conditioning of all images at a step: [images, tokens, width], or SDXL's dictionary of such."""
    return _stack([_cond_at(schedule, current_step) for schedule in c])


def reconstruct_multicond_batch(c: MulticondLearnedConditioning, current_step):
    """As reconstruct_cond_batch for AND prompts: (per image a list of (row, weight), tensor with one row per
    part).
    """
    conds, rows = [], []
    for parts in c.batch:
        of_image = []
        for part in parts:
            of_image.append((len(conds), part.weight))
            conds.append(_cond_at(part.schedules, current_step))
        rows.append(of_image)
    return rows, _stack(conds)
