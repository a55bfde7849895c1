"""Which LCM-LoRA a prompt is drawn with, at which weight, and whether it took hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lib_lcm.families import UNKNOWN, Family
from lib_lcm.lora.file import LoraFile, shown_name
from lib_lcm.lora.names import conventional_family
from lib_lcm.lora.tags import LoraTag, find_tags
from lib_lcm.options import AUTO, FIRST, NONE, LcmOptions
from lib_lcm.text import Text

# A LoRA of the right kind matches the model in every layer; one of another kind in a fifth of them (SD 1.5's
# on SDXL) or in none (key names that the WebUI does not know). What lies between is for layers that a WebUI
# counts differently.
LEAST_SHARE_MATCHED = 0.9

FROM_TAG, FROM_OPTION, REMEMBERED = "tag", "option", "remembered"


class Loras(Protocol):
    """What is asked of the LoRA folder (`library.LoraLibrary`)."""

    def choose(self, family: Family) -> Any: ...

    def find(self, name: str) -> LoraFile | None: ...

    def is_lcm_lora(self, file: LoraFile) -> bool: ...

    def is_few_step_lora(self, file: LoraFile) -> bool: ...

    def name_of(self, file: LoraFile) -> str: ...


@dataclass(frozen=True)
class LoraUse:
    """The LCM-LoRA of one prompt: `file` is None where none is used, and `problem` a sentence where the
    generation must fail.

    `name` is what the file is called: its name, with its folders where another file has the same. `reason`
    says why it is this one: "tag" (the prompt names it), "option" (the option `lora` does), "remembered" (for
    the checkpoint), or the `reason` of a `Choice`; None where there is a problem. `replaces` are the prompt's
    tags in whose place it stands; all others are left as they are.
    """

    file: LoraFile | None = None
    name: str | None = None
    weight: float = 1.0
    messages: tuple[str, ...] = ()
    problem: str | None = None
    reason: str | None = None
    replaces: tuple[LoraTag, ...] = ()

    def left_beside(self, tags: Iterable[LoraTag]) -> list[LoraTag]:
        """Those of the prompt's tags that are left as they are."""
        return [tag for tag in tags if not any(tag is other for other in self.replaces)]


@dataclass(frozen=True)
class LcmTag:
    """A tag in a prompt that means an LCM-LoRA; `file` is None where no file on disk has the name."""

    tag: LoraTag
    file: LoraFile | None
    family: Family | None


def lcm_tags(tags: str | Iterable[LoraTag], loras: Loras) -> list[LcmTag]:
    """The tags of a prompt that mean an LCM-LoRA, by the content of the file they name or, where there is
    none, by its usual name.
    """
    found = []
    for tag in find_tags(tags) if isinstance(tags, str) else tags:
        file = loras.find(tag.name)
        if file is not None and file.problem is None:
            if loras.is_lcm_lora(file):
                found.append(LcmTag(tag, file, file.family))
        else:
            family = conventional_family(tag.name)
            if family is not None:
                found.append(LcmTag(tag, None, family))
    return found


def option_name(file: LoraFile, loras: Loras) -> str:
    """The value of the option `lora` that means this file: its name, with its ending where the name alone
    would mean something else.
    """
    name = loras.name_of(file)
    return name + file.path.suffix if name.lower() in (AUTO, NONE) else name


def lora_for(
    tags: str | Sequence[LoraTag],
    options: LcmOptions,
    family: Family,
    loras: Loras,
    remembered: str | None = None,
) -> LoraUse:
    """What a prompt is drawn with on a checkpoint of `family`: typed tags win, then the options.

    `tags` are those of the prompt that is to be drawn, or the prompt itself. `remembered` is what Auto means
    for this checkpoint, as the option `lora` has it, None where nothing is remembered.
    """
    # for callers without settings
    weight = float(FIRST["weight"] if options.weight is None else options.weight)
    if options.lora == NONE:
        return LoraUse(weight=weight, reason=FROM_OPTION)
    if options.lora == AUTO and remembered == NONE:
        return LoraUse(weight=weight, reason=REMEMBERED)
    tags = find_tags(tags) if isinstance(tags, str) else list(tags)
    typed = lcm_tags(tags, loras)
    unreadable = next((item.tag.problem for item in typed if item.tag.problem), None)
    if unreadable is not None:
        return LoraUse(problem=unreadable)
    if options.lora == AUTO and not typed:
        few_step = _few_step_lora(tags, family, loras)
        if few_step is not None:
            return _in_its_place(few_step, weight, options.sampler)
    fitting = [item.file for item in typed if item.file is not None and item.family is family]
    found = (
        LoraUse(fitting[-1], reason=FROM_TAG) if fitting else _of_options(options, family, loras, remembered)
    )
    if found.problem:
        return found
    found = replace(found, name=None if found.file is None else loras.name_of(found.file))
    return _with_tags(replace(found, weight=weight), tags, typed, family, loras)


def _few_step_lora(tags: Sequence[LoraTag], family: Family, loras: Loras) -> str | None:
    """The name in the last tag of a LoRA that makes this family's pictures in few steps as an LCM-LoRA does,
    or None.
    """
    for tag in reversed(tags):
        file = loras.find(tag.name)
        if file is not None and file.family is family and loras.is_few_step_lora(file):
            return tag.name
    return None


def _in_its_place(lora: str, weight: float, sampler: str) -> LoraUse:
    """No LCM-LoRA, since the prompt names a LoRA of another method."""
    if sampler == "tcd":
        message = Text(
            "{lora} in the prompt makes pictures in few steps by itself, so no LCM-LoRA was added to it.",
            lora=lora,
        )
    else:
        message = Text(
            "{lora} in the prompt makes pictures in few steps by itself, so no LCM-LoRA was added to it; try"
            " the sampler TCD with it.",
            lora=lora,
        )
    return LoraUse(weight=weight, messages=(message,), reason=FROM_TAG)


def _with_tags(
    found: LoraUse, tags: Sequence[LoraTag], typed: Sequence[LcmTag], family: Family, loras: Loras
) -> LoraUse:
    """The use of a LoRA with the weight that the prompt's tags give it, and with messages about them."""
    messages = list(found.messages)
    for item in typed:
        if item.family is not None and item.family is not family:
            messages.append(
                Text(
                    "{lora} is an LCM-LoRA for {family} and the checkpoint is {checkpoint}: {used} was used"
                    " instead, at the same weight.",
                    lora=item.tag.name,
                    family=item.family.label,
                    checkpoint=family.label,
                    used=found.name,
                )
            )
    if len(typed) > 1:
        messages.append(
            Text(
                "The prompt names an LCM-LoRA {count} times: it was applied once, at the last weight,"
                " {weight:g}.",
                count=len(typed),
                weight=typed[-1].tag.weight,
            )
        )
    # in the prompt's order: tags that mean an LCM-LoRA, and those of the very file that was chosen
    meant = [
        tag for tag in tags if any(tag is item.tag for item in typed) or _is_tag_of(tag, found.file, loras)
    ]
    unreadable = next((tag.problem for tag in meant if tag.problem), None)
    if unreadable is not None:
        return LoraUse(problem=unreadable)
    weight = meant[-1].weight if meant else found.weight
    return replace(found, weight=weight, messages=tuple(messages), replaces=tuple(meant))


def _is_tag_of(tag: LoraTag, file: LoraFile | None, loras: Loras) -> bool:
    found = None if file is None else loras.find(tag.name)
    return found is not None and file is not None and found.path == file.path


def _of_options(options: LcmOptions, family: Family, loras: Loras, remembered: str | None) -> LoraUse:
    """The LoRA that the option names, else the remembered one, else the best of the family."""
    if family is UNKNOWN:
        return LoraUse(
            problem=Text(
                "The kind of the loaded checkpoint was not recognised, so no LCM-LoRA can be chosen for it;"
                ' switch LCM off, or choose LCM-LoRA "None" if the checkpoint is itself an LCM.'
            )
        )
    if options.lora != AUTO:
        file, problem = _named_file(options.lora, family, loras)
        # one of the usual names may stand for a file that is called otherwise
        if problem is None or conventional_family(options.lora) is not family:
            return LoraUse(file, problem=problem, reason=None if problem else FROM_OPTION)
    gone = None
    if remembered is not None:
        file, gone = _named_file(remembered, family, loras)
        if gone is None:
            return LoraUse(file, reason=REMEMBERED)
    choice = loras.choose(family)
    best = LoraUse(choice.file, problem=choice.problem, reason=choice.reason)
    if gone is None or best.file is None:
        return best
    message = Text(
        "What is remembered for this checkpoint cannot be used, so Auto took {lora}: {why}",
        lora=loras.name_of(best.file),
        why=gone,
    )
    return replace(best, messages=(message,))


def _named_file(name: str, family: Family, loras: Loras) -> tuple[LoraFile | None, str | None]:
    """The file of that name, or the sentence why it cannot be used."""
    file = loras.find(name)
    if file is None:
        return None, Text(
            "LoRA {name!r} is not in the LoRA folder; choose another LCM-LoRA, or Auto.", name=name
        )
    if file.problem is not None:
        return None, file.problem
    if file.family is not None and file.family is not family:
        return None, Text(
            "LoRA {name!r} is for {family} and the checkpoint is {checkpoint}; choose another LCM-LoRA, or"
            " Auto.",
            name=name,
            family=file.family.label,
            checkpoint=family.label,
        )
    return file, None


def why_not_held(file: LoraFile, matched: int | None) -> str | None:
    """The sentence for a LoRA that the host reports as loaded but that changes too few of the model's layers,
    else None.

    `matched` is how many layers the host applied it to, None where the host does not tell.
    """
    if matched is None or matched >= LEAST_SHARE_MATCHED * file.modules:
        return None
    return Text(
        "{file} did not take hold: the WebUI matched {matched} of its {modules} layers to the loaded model,"
        " so the picture would not be LCM's; use the official file (the LCM panel's button gets it), or"
        " another LCM-LoRA.",
        file=shown_name(file.path),
        matched=matched,
        modules=file.modules,
    )


def why_partly_held(file: LoraFile, failed: int) -> str | None:
    """The sentence for a LoRA that the host could not put into `failed` layers, else None: where they are few
    it is LCM all the same.
    """
    if file.modules - failed >= LEAST_SHARE_MATCHED * file.modules:
        return None
    return Text(
        "{file} did not take hold: the WebUI could not change {failed} of its {modules} layers, most often"
        " for want of memory, so the picture would not be LCM's; free memory and try again, or use another"
        " LCM-LoRA.",
        file=shown_name(file.path),
        failed=failed,
        modules=file.modules,
    )


def first_prompt(prompts: Sequence[str] | str) -> str:
    """The prompt whose tags count: the WebUI applies the networks of a batch's first prompt to the whole
    batch.
    """
    if isinstance(prompts, str):
        return prompts
    return prompts[0] if prompts else ""
