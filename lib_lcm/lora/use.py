"""Which few-step LoRA a prompt is drawn with, at which weight, and whether it took hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lib_lcm.families import UNKNOWN, Family
from lib_lcm.lora.choice import Wish
from lib_lcm.lora.file import LoraFile, shown_name
from lib_lcm.lora.names import conventional_family, means_any_lcm_lora
from lib_lcm.lora.tags import LoraTag, find_tags
from lib_lcm.methods import LCM, Method
from lib_lcm.options import AUTO, BEST, FIRST, NONE, LcmOptions
from lib_lcm.text import Text

# A LoRA of the right kind matches the model in every layer; one of another kind in a fifth of them (SD 1.5's
# on SDXL) or in none (key names that the WebUI does not know). What lies between is for layers that a WebUI
# counts differently.
LEAST_SHARE_MATCHED = 0.9

FROM_TAG, FROM_OPTION, REMEMBERED, DISTILLED = "tag", "option", "remembered", "distilled"


class Loras(Protocol):
    """What is asked of the LoRA folder (`library.LoraLibrary`)."""

    def choose(self, family: Family) -> Any: ...

    def choose_best(self, family: Family, wish: Wish) -> Any: ...

    def distilled_from(self, sha256: str, family: Family) -> LoraFile | None: ...

    def of_group(self, family: Family, group: str, steps: int) -> LoraFile | None: ...

    def of_method(self, family: Family, method: Method) -> LoraFile | None: ...

    def find(self, name: str) -> LoraFile | None: ...

    def method_of(self, file: LoraFile) -> tuple[Method | None, str | None]: ...

    def name_of(self, file: LoraFile) -> str: ...


@dataclass(frozen=True)
class LoraUse:
    """The few-step LoRA of one prompt: `file` is None where none is used, and `problem` a sentence where the
    generation must fail.

    `name` is what the file is called: its name, with its folders where another file has the same. `method` is
    what it was made by and `known_by` how that is known; None for a file of which nothing is known. `reason`
    says why it is this one: "tag" (the prompt names it), "option" (the option `lora` does), "remembered" (for
    the checkpoint), "distilled" (from the checkpoint), or as `known_by` where it was chosen; None where there
    is a problem. `replaces` are the prompt's tags in whose place it stands; all others are left as they are.
    """

    file: LoraFile | None = None
    name: str | None = None
    weight: float = 1.0
    method: Method | None = None
    known_by: str | None = None
    messages: tuple[str, ...] = ()
    problem: str | None = None
    reason: str | None = None
    replaces: tuple[LoraTag, ...] = ()

    def left_beside(self, tags: Iterable[LoraTag]) -> list[LoraTag]:
        """Those of the prompt's tags that are left as they are."""
        return [tag for tag in tags if not any(tag is other for other in self.replaces)]


@dataclass(frozen=True)
class FewStepTag:
    """A tag in a prompt that means a LoRA for few steps; `file` is None where no file on disk has the name,
    and `family` where it is an LCM-LoRA of whichever family.
    """

    tag: LoraTag
    method: Method
    file: LoraFile | None
    family: Family | None


def few_step_tags(tags: str | Iterable[LoraTag], loras: Loras) -> list[FewStepTag]:
    """The tags of a prompt that mean a LoRA for few steps, by the content of the file they name or, where
    there is none, by the usual name of an LCM-LoRA.
    """
    return _read_tags(find_tags(tags) if isinstance(tags, str) else tags, loras)[0]


def _read_tags(tags: Iterable[LoraTag], loras: Loras) -> tuple[list[FewStepTag], list[LoraTag]]:
    """The tags that mean a LoRA for few steps, and those that mean no file at all."""
    found, unknown = [], []
    for tag in tags:
        file = loras.find(tag.name)
        if file is not None and file.problem is None:
            method, _ = loras.method_of(file)
            if method is not None:
                found.append(FewStepTag(tag, method, file, file.family))
        else:
            family = conventional_family(tag.name)
            if family is not None or means_any_lcm_lora(tag.name):
                found.append(FewStepTag(tag, LCM, None, family))
            elif file is None:
                unknown.append(tag)
    return found, unknown


def lcm_tags(tags: str | Iterable[LoraTag], loras: Loras) -> list[FewStepTag]:
    """Those of them that mean an LCM-LoRA."""
    return [item for item in few_step_tags(tags, loras) if item.method is LCM]


def option_name(file: LoraFile, loras: Loras) -> str:
    """The value of the option `lora` that means this file: its name, with its ending where the name alone
    would mean something else.
    """
    name = loras.name_of(file)
    return name + file.path.suffix if name.lower() in (AUTO, BEST, NONE) else name


def lora_for(
    tags: str | Sequence[LoraTag],
    options: LcmOptions,
    family: Family,
    loras: Loras,
    remembered: str | None = None,
    wish: Wish = Wish(),  # noqa: B008 (it is never changed)
) -> LoraUse:
    """What a prompt is drawn with on a checkpoint of `family`: typed tags win, then the options.

    `tags` are those of the prompt that is to be drawn, or the prompt itself. `remembered` is what Auto means
    for this checkpoint, as the option `lora` has it, None where nothing is remembered.
    """
    tags = find_tags(tags) if isinstance(tags, str) else list(tags)
    unreadable = next((tag.problem for tag in tags if tag.problem), None)
    if unreadable is not None:  # the WebUI would apply none of the prompt's LoRAs, ours among them
        return LoraUse(problem=unreadable)
    # for callers without settings
    weight = float(FIRST["weight"] if options.weight is None else options.weight)
    typed, unknown = _read_tags(tags, loras)
    fitting = [item.file for item in typed if item.file is not None and item.family is family]
    if options.lora == NONE or (options.lora == AUTO and remembered == NONE):
        # what was typed is left to the WebUI, and sampled as it was made for
        method, known_by = loras.method_of(fitting[-1]) if fitting else (None, None)
        reason = FROM_OPTION if options.lora == NONE else REMEMBERED
        return LoraUse(weight=weight, method=method, known_by=known_by, reason=reason)
    if fitting:
        found = _of_file(fitting[-1], loras, FROM_TAG)
    else:
        found = _of_options(options, family, loras, remembered, wish)
    is_unknown = found.method is not None and found.method.recipe is None
    if is_unknown and found.file is not None and options.method == AUTO:
        return LoraUse(
            problem=Text(
                "{lora} is a {method} LoRA, which LCM cannot sample: switch LCM off for it, use another LoRA"
                " for few steps, or pick its method by hand.",
                lora=loras.name_of(found.file),
                method=None if found.method is None else found.method.group,
            )
        )
    if found.problem:
        return found
    for name in dict.fromkeys(tag.name for tag in unknown):
        message = Text(
            "The LoRA {lora} in the prompt is not in the LoRA folder: its tag does nothing.", lora=name
        )
        found = replace(found, messages=(*found.messages, message))
    return _with_tags(replace(found, weight=weight), tags, typed, family, loras)


def _of_file(file: LoraFile, loras: Loras, reason: str) -> LoraUse:
    method, known_by = loras.method_of(file)
    return LoraUse(file, loras.name_of(file), method=method, known_by=known_by, reason=reason)


def _with_tags(
    found: LoraUse, tags: Sequence[LoraTag], typed: Sequence[FewStepTag], family: Family, loras: Loras
) -> LoraUse:
    """The use of a LoRA with the weight that the prompt's tags give it, and with messages about them."""
    messages = list(found.messages)
    replaced = []
    for item in typed:
        if item.family is not None and item.family is not family:
            messages.append(
                Text(
                    "{lora} was made for {family} and the checkpoint is {checkpoint}: {used} is used"
                    " instead, at the same weight.",
                    lora=item.tag.name,
                    family=item.family.label,
                    checkpoint=family.label,
                    used=found.name,
                )
            )
        elif item.file is not None and item.method is not found.method:
            messages.append(
                Text(
                    "{lora} ({method}) was left beside {used} ({used_method}), whose way of sampling counts:"
                    " two LoRAs for few steps seldom go together.",
                    lora=item.tag.name,
                    method=item.method.group,
                    used=found.name,
                    used_method=LCM.group if found.method is None else found.method.group,
                )
            )
            continue
        replaced.append(item.tag)
    if len(replaced) > 1:
        messages.append(
            Text(
                "The prompt names a LoRA for few steps {count} times: it was applied once, at the last"
                " weight, {weight:g}.",
                count=len(replaced),
                weight=replaced[-1].weight,
            )
        )
    # in the prompt's order: tags that mean a few-step LoRA, and those of the very file that was chosen
    meant = [
        tag for tag in tags if any(tag is other for other in replaced) or _is_tag_of(tag, found.file, loras)
    ]
    weight = meant[-1].weight if meant else found.weight
    return replace(found, weight=weight, messages=tuple(messages), replaces=tuple(meant))


def _is_tag_of(tag: LoraTag, file: LoraFile | None, loras: Loras) -> bool:
    found = None if file is None else loras.find(tag.name)
    return found is not None and file is not None and found.path == file.path


def _of_options(
    options: LcmOptions, family: Family, loras: Loras, remembered: str | None, wish: Wish
) -> LoraUse:
    """The LoRA that the option names, else the remembered one, else the best of the family."""
    if family is UNKNOWN:
        return LoraUse(
            problem=Text(
                "The kind of the loaded checkpoint was not recognised, so no LCM-LoRA can be chosen for it;"
                ' switch LCM off, or choose Few-step LoRA "None" if the checkpoint is itself an LCM.'
            )
        )
    if options.lora not in (AUTO, BEST):
        file, problem = _named_file(options.lora, family, loras)
        if file is not None:
            return _for_steps(_of_file(file, loras, FROM_OPTION), family, loras, wish)
        # one of the usual names may stand for a file that is called otherwise
        if conventional_family(options.lora) is not family:
            return LoraUse(problem=problem)
    gone = None
    if options.lora != BEST and remembered not in (None, BEST):
        file, gone = _named_file(str(remembered), family, loras)
        if file is not None:
            return _for_steps(_of_file(file, loras, REMEMBERED), family, loras, wish)
    is_best = options.lora == BEST or remembered == BEST
    if wish.checkpoint is not None and gone is None and not is_best:
        file = loras.distilled_from(wish.checkpoint, family)
        if file is not None:
            return _of_file(file, loras, DISTILLED)
    choice = loras.choose_best(family, wish) if is_best else loras.choose(family)
    best = LoraUse(
        choice.file,
        None if choice.file is None else loras.name_of(choice.file),
        method=choice.method,
        known_by=choice.known_by,
        problem=choice.problem,
        reason=choice.known_by,
    )
    if gone is None or best.file is None:
        return best
    message = Text(
        "What is remembered for this checkpoint cannot be used, so Auto took {lora}: {why}",
        lora=best.name,
        why=gone,
    )
    return replace(best, messages=(message,))


def _for_steps(use: LoraUse, family: Family, loras: Loras, wish: Wish) -> LoraUse:
    """The same, or the file of the same kind that is made for the wanted steps, where one is there."""
    needed = None if use.method is None else use.method.needs_steps
    if use.method is None or needed is None or wish.steps in (None, needed):
        return use
    other = loras.of_group(family, use.method.group, int(wish.steps or 0))
    if other is None:
        return use
    message = Text(
        "{lora} is for {needed} steps: {used} is used for {steps}.",
        lora=use.name,
        needed=needed,
        used=loras.name_of(other),
        steps=wish.steps,
    )
    return replace(_of_file(other, loras, str(use.reason)), messages=(message,))


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
