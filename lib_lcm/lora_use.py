"""Which LCM-LoRA a prompt is drawn with, at which weight, and whether it took hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lib_lcm.catalog import FAMILIES_WITH_LORA
from lib_lcm.families import ModelFamily
from lib_lcm.lora_files import LoraFile, shown_name
from lib_lcm.options import AUTO, NONE, LcmOptions
from lib_lcm.prompt_tags import LoraTag, conventional_family, find_tags

# A LoRA of the right kind matches the model in every layer; one of another kind in a fifth of them (SD 1.5's on SDXL) or in none (key
# names that the WebUI does not know). What lies between is for layers that a WebUI counts differently.
LEAST_SHARE_MATCHED = 0.9


class Loras(Protocol):
    """What is asked of the LoRA folder (`library.LoraLibrary`)."""

    def choose(self, family: ModelFamily): ...

    def find(self, name: str) -> LoraFile | None: ...

    def is_lcm_lora(self, file: LoraFile) -> bool: ...

    def name_of(self, file: LoraFile) -> str: ...


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
    """The tags of `prompt` that mean an LCM-LoRA; see `lcm_among`."""
    return lcm_among(find_tags(prompt), loras)


def lcm_among(tags: Iterable[LoraTag], loras: Loras) -> list[LcmTag]:
    """The tags that mean an LCM-LoRA, by the content of the file they name or, where there is none, by its usual name."""
    found = []
    for tag in tags:
        file = loras.find(tag.name)
        if file is not None and file.problem is None:
            if loras.is_lcm_lora(file):
                found.append(LcmTag(tag, file, file.family))
        else:
            family = conventional_family(tag.name)
            if family is not None:
                found.append(LcmTag(tag, None, family))
    return found


def resolve_lora(tags: str | Sequence[LoraTag], options: LcmOptions, family: ModelFamily, loras: Loras) -> LoraUse:
    """The LCM-LoRA for a model of `family`: typed tags win, then the options (DESIGN rules 1-3).

    `tags` are those of the prompt that is to be drawn, or the prompt itself.
    """
    if options.lora == NONE:
        return LoraUse(weight=options.weight)
    typed = lcm_among(find_tags(tags) if isinstance(tags, str) else tags, loras)
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
                f"{loras.name_of(file)} was used instead, at the same weight."
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


def other_tags(tags: Iterable[LoraTag], loras: Loras) -> list[LoraTag]:
    """The tags that do not mean an LCM-LoRA: the LoRAs that are left as they are beside it."""
    tags = list(tags)
    lcm = [item.tag for item in lcm_among(tags, loras)]
    return [tag for tag in tags if not any(tag is other for other in lcm)]


def why_not_held(file: LoraFile, matched: int | None) -> str | None:
    """The sentence for a LoRA that the host reports as loaded but that changes too few of the model's layers, else None.

    `matched` is how many layers the host applied it to, None where the host does not tell.
    """
    if matched is None or matched >= LEAST_SHARE_MATCHED * file.modules:
        return None
    return (
        f"{shown_name(file.path)} did not take hold: the WebUI matched {matched} of its {file.modules} layers to the loaded model, so the "
        f"picture would not be LCM's; use the official file (the LCM panel's button gets it), or another LCM-LoRA."
    )


def first_prompt(prompts: Sequence[str] | str) -> str:
    """The prompt whose tags count: the WebUI applies the networks of a batch's first prompt to the whole batch."""
    if isinstance(prompts, str):
        return prompts
    return prompts[0] if prompts else ""
