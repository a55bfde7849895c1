"""Which LCM-LoRA a prompt is drawn with, at which weight, and the prompt that makes the host apply it exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lib_lcm.catalog import FAMILIES_WITH_LORA
from lib_lcm.families import ModelFamily
from lib_lcm.lora_files import LoraFile
from lib_lcm.options import AUTO, NONE, LcmOptions, shown_number
from lib_lcm.prompt_tags import LoraTag, conventional_family, find_tags, remove_tags


class Loras(Protocol):
    """What is asked of the LoRA folder (`library.LoraLibrary`)."""

    def choose(self, family: ModelFamily): ...

    def find(self, name: str) -> LoraFile | None: ...

    def is_lcm_lora(self, file: LoraFile) -> bool: ...


@dataclass(frozen=True)
class LoraUse:
    """The LCM-LoRA of one prompt: `file` is None where none is used, and `problem` a sentence where the generation must fail."""

    file: LoraFile | None = None
    weight: float = 1.0
    messages: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class LcmTag:
    """A tag in a prompt that means an LCM-LoRA; `file` is None where no file on disk has the name."""

    tag: LoraTag
    file: LoraFile | None
    family: ModelFamily | None


def lcm_tags(prompt: str, loras: Loras) -> list[LcmTag]:
    """The tags of `prompt` that mean an LCM-LoRA, by the content of the file they name or, where there is none, by its usual name."""
    found = []
    for tag in find_tags(prompt):
        file = loras.find(tag.name)
        if file is not None and file.problem is None:
            if loras.is_lcm_lora(file):
                found.append(LcmTag(tag, file, file.family))
        else:
            family = conventional_family(tag.name)
            if family is not None:
                found.append(LcmTag(tag, None, family))
    return found


def resolve_lora(prompt: str, options: LcmOptions, family: ModelFamily, loras: Loras) -> LoraUse:
    """The LCM-LoRA that `prompt` is to be drawn with on a model of `family`: typed tags win, then the options (DESIGN rules 1-3)."""
    if options.lora == NONE:
        return LoraUse(weight=options.weight)
    typed = lcm_tags(prompt, loras)
    for item in typed:
        if item.tag.problem:
            return LoraUse(problem=item.tag.problem)
    fitting = [item for item in typed if item.file is not None and item.family is family]
    if fitting:
        file = fitting[-1].file
    else:
        file, problem = _file_of_options(options, family, loras)
        if problem:
            return LoraUse(problem=problem)
    messages = []
    for item in typed:
        if item.family is not None and item.family is not family:
            messages.append(
                f"{item.tag.name} is an LCM-LoRA for {item.family.label} and the checkpoint is {family.label}: "
                f"{file.path.stem} was used instead, at the same weight."
            )
    if len(typed) > 1:
        times = f"The prompt names an LCM-LoRA {len(typed)} times"
        messages.append(f"{times}: it was applied once, at the last weight, {typed[-1].tag.weight:g}.")
    weight = typed[-1].tag.weight if typed else options.weight
    return LoraUse(file, weight, tuple(messages))


def _file_of_options(options: LcmOptions, family: ModelFamily, loras: Loras) -> tuple[LoraFile | None, str | None]:
    if family is ModelFamily.unknown:
        return None, (
            'The kind of the loaded checkpoint was not recognised, so no LCM-LoRA can be chosen for it; '
            'switch LCM off, or choose LCM-LoRA "None" if the checkpoint is itself an LCM.'
        )
    if options.lora != AUTO and conventional_family(options.lora) is not family:
        return _named_file(options.lora, family, loras)
    if options.lora != AUTO:
        named, problem = _named_file(options.lora, family, loras)
        if problem is None:
            return named, None
    if family not in FAMILIES_WITH_LORA:
        return None, (
            f'There is no LCM-LoRA for {family.label} checkpoints; switch LCM off, load an SD 1.5, SDXL or SSD-1B checkpoint, '
            f'or choose LCM-LoRA "None" if the checkpoint is itself an LCM.'
        )
    choice = loras.choose(family)
    return choice.file, choice.problem


def _named_file(name: str, family: ModelFamily, loras: Loras) -> tuple[LoraFile | None, str | None]:
    file = loras.find(name)
    if file is None:
        return None, f"LoRA {name!r} is not in the LoRA folder; choose another LCM-LoRA, or Auto."
    if file.problem is not None:
        return None, file.problem
    if file.family is not None and file.family is not family:
        return None, f"LoRA {name!r} is for {file.family.label} and the checkpoint is {family.label}; choose another LCM-LoRA, or Auto."
    return file, None


def prompt_with_lora(prompt: str, use: LoraUse, network_name: str, loras: Loras) -> str:
    """`prompt` with exactly one tag for the LCM-LoRA in it, the one that the host is to read; other LoRAs stay as they are.

    `network_name` is the name under which the host knows `use.file`. Without a file the prompt is returned as it is.
    """
    if use.file is None:
        return prompt
    bare = remove_tags(prompt, [item.tag for item in lcm_tags(prompt, loras)])
    return f"{bare}<lora:{network_name}:{shown_number(use.weight)}>"


def first_prompt(prompts: Sequence[str] | str) -> str:
    """The prompt whose tags count: the WebUI applies the networks of a batch's first prompt to the whole batch."""
    if isinstance(prompts, str):
        return prompts
    return prompts[0] if prompts else ""
