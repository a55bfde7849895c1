"""Which LoRA file serves a model family, and the sentence where none does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib_lcm.families import Family
from lib_lcm.lora.catalog import (
    PUBLISHED,
    PublishedLora,
    published_lcm,
    published_of_sha256,
    published_of_short,
)
from lib_lcm.lora.file import (
    BY_HASH,
    BY_YOU,
    KNOWN_BY,
    LoraFile,
    is_of_trainer,
    listed_problem,
    shown_name,
)
from lib_lcm.lora.names import conventional_family
from lib_lcm.methods import LCM, Method, method_named
from lib_lcm.options import DEFAULT_LIMITS
from lib_lcm.text import Text, listed

BEST_FIRST = (
    "hyper", "dmd2", "hyper-8", "hyper-4", "hyper-2", "lightning-8", "lightning-4", "lightning-2", "tcd",
    "lcm",
)  # fmt: skip
"""Methods in the order in which "best" takes them, where a file of each is there.

By the figures that their authors publish for 4 steps. ImageReward, SDXL: Hyper-SD unified 1.15, its 4-step
file 0.93, Lightning 0.72, TCD 0.67, LCM 0.48; SD 1.5: Hyper-SD unified 0.53, TCD -0.15, LCM -0.37. DMD2 gives
FID alone: 19.3 on SDXL, where Lightning has 24.5 and LCM 22.2.
"""
NO_METHOD = "none"
"""As the catalog has it for files that are no accelerators."""
MEGABYTES_APART = 0.5
"""How far a size in bytes may be from the one in megabytes, where an upload's is known in those alone."""

Correction = Callable[[str], "Method | None"]
"""SHA-256 of a file -> the method that the user says it is of, None where they said nothing."""


@dataclass(frozen=True)
class Wish:
    """What is wanted of a few-step LoRA: the number of steps, whether there is a negative prompt that a CFG
    scale above 2 may serve, and the SHA-256 of the checkpoint, None where it is not known.
    """

    steps: int | None = None
    uses_negative_prompt: bool = False
    checkpoint: str | None = None


@dataclass(frozen=True)
class Choice:
    """Which LoRA serves `family`.

    Either `file` is set, with its method, and `known_by` says how that is known (`file.KNOWN_BY`). Or `file`
    is None and `problem` is one sentence for the user that says what to do.
    """

    family: Family
    file: LoraFile | None = None
    method: Method | None = None
    known_by: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Found:
    """A file in the LoRA folder.

    `relative` is its path in there, with forward slashes; `size` (bytes) and `mtime_ns` are as the folder
    lists them; `sha256` is None for a file that cannot be a published one. `short` is the beginning of the
    WebUI's own hash of its tensors, where that is known. `corrected` says what the user knows better.
    """

    file: LoraFile
    relative: str
    size: int
    mtime_ns: int
    sha256: Future[str | None] | None = None
    short: str | None = None
    corrected: Correction | None = None

    def known(self, *, wait_for_hash: bool = False) -> tuple[Method | None, str | None]:
        """The method that it was made by, and how that is known. None, None for a file that was not made for
        few steps.

        What only its hash can tell may be known later alone, unless `wait_for_hash`.
        """
        if self.file.problem is not None or self.file.family is None:
            return None, None
        if wait_for_hash and self.sha256 is not None:
            wait([self.sha256])
        digest = self._digest
        by_user = None if digest is None or self.corrected is None else self.corrected(digest)
        if by_user is not None:
            return by_user, BY_YOU
        row = self.published
        if row is not None and row.family is self.file.family:
            method = method_named(row.method)
            return method, None if method is None else BY_HASH
        return self.file.method, self.file.known_by

    @property
    def published(self) -> PublishedLora | None:
        """The published LoRA that it is, as far as that is known by now."""
        row = None if self._digest is None else published_of_sha256(self._digest)
        return published_of_short(self.short) if row is None and self.short else row

    @property
    def _digest(self) -> str | None:
        sha256 = self.sha256
        return sha256.result() if sha256 is not None and sha256.done() and not sha256.exception() else None

    @property
    def rank(self) -> tuple[bool, int, bool]:
        """The better of two files of one method comes first."""
        known_by = self.known()[1]
        is_conventional = conventional_family(self.relative) is self.file.family
        known = KNOWN_BY.index(known_by) if known_by is not None else len(KNOWN_BY)
        return not self.file.has_kohya_names, known, not is_conventional


def published_like(file: LoraFile) -> list[PublishedLora]:
    """The published LoRAs of its family that it may be, by its size. Where no size in bytes is known, a file
    with a style trainer's metadata is none: the published ones have no such.
    """
    if file.problem is not None:
        return []
    return [
        row
        for row in PUBLISHED
        if row.family is file.family
        and (
            file.size in row.sizes
            or (
                len(row.sizes) < len(row.sha256)
                and _is_about(file.size, row.megabytes)
                and not is_of_trainer(file.metadata)
            )
        )
    ]


def may_be_published(file: LoraFile) -> bool:
    """Whether it has the size of a published LoRA of its family."""
    return bool(published_like(file))


def _is_about(size: int, megabytes: int) -> bool:
    """Whether a size in bytes may be one in whole megabytes, 0 where not even that is known."""
    return not megabytes or abs(size / 1e6 - megabytes) <= MEGABYTES_APART


def ranked(files: Iterable[Found], family: Family) -> list[Found]:
    """The LCM-LoRAs of `family`, best first: those that every WebUI can read, by how they are known, by
    conventional name, else as they come.
    """
    of_family = [found for found in files if found.file.family is family]
    wait([found.sha256 for found in of_family if found.sha256 is not None and _hash_decides(found)])
    known = [found for found in of_family if found.known()[0] is LCM]
    if len(known) > 1:  # how they are known decides the order
        wait([found.sha256 for found in known if found.sha256 is not None])
    return sorted(known, key=lambda found: found.rank)


def _hash_decides(found: Found) -> bool:
    """Whether its hash can make an LCM-LoRA of it, or another than one."""
    methods = {row.method for row in published_like(found.file)}
    methods.add(found.file.method.name if found.file.method is not None else NO_METHOD)
    return found.corrected is not None or (LCM.name in methods and len(methods) > 1)


def choose(
    files: Collection[Found], family: Family, unlisted: Iterable[Path], lora_dirs: Sequence[Path]
) -> Choice:
    """The best LCM-LoRA of `files`, or why there is none. `unlisted` are files with an LCM-LoRA's name that
    no WebUI lists.
    """
    official = published_lcm(family)
    if official is None:
        known = dict.fromkeys(row.family.label for row in PUBLISHED if row.method == LCM.name)
        return Choice(
            family,
            problem=Text(
                "There is no LCM-LoRA for {family} checkpoints; switch LCM off, load one of another family"
                ' ({known}), or choose Few-step LoRA "None" if the checkpoint is itself an LCM.',
                family=family.label,
                known=", ".join(known),
            ),
        )
    best = next(iter(ranked(files, family)), None)
    if best is not None:
        return Choice(family, best.file, *best.known())
    misses = list(_misses(files, official, unlisted))
    said = {"family": family.label, "short": family.name}
    if misses:
        problem = Text(
            "No LCM-LoRA for {family} was found ({misses}): correct that, or download it with the LCM"
            " panel's button or with `python install.py --download {short}` in the extension's folder.",
            misses=listed(misses[:3]),
            **said,
        )
    else:
        problem = Text(
            "No LCM-LoRA for {family} was found: download it with the LCM panel's button or with `python"
            " install.py --download {short}` in the extension's folder, or put {file} from {url} into"
            " {folder} as {name}.safetensors.",
            file=official.filename,
            url=official.url,
            folder=str(lora_dirs[0]) if lora_dirs else Text("the LoRA folder"),
            name=official.name,
            **said,
        )
    return Choice(family, problem=problem)


def choose_best(files: Iterable[Found], family: Family, wish: Wish) -> Choice | None:
    """The best few-step LoRA of `files` for what is wanted, whatever its method; None where there is none.

    One that works with the wanted steps comes before one that needs others, and before both one that keeps
    CFG where a negative prompt is to work.
    """
    wanted = None if wish.steps is None else min(wish.steps, DEFAULT_LIMITS.max_steps)
    best: Choice | None = None
    lowest: tuple[Any, ...] = ()
    for found in files:
        method, known_by = found.known(wait_for_hash=True) if found.file.family is family else (None, None)
        if method is None:
            continue
        serves_negative = wish.uses_negative_prompt and method.keeps_cfg
        if not serves_negative and method.name not in BEST_FIRST:
            continue
        needed = method.needs_steps
        steps_off = 0 if needed is None or wanted is None else abs(needed - wanted)
        place = 0 if serves_negative else BEST_FIRST.index(method.name)
        order = (not serves_negative, steps_off, place, found.rank)
        if best is None or order < lowest:
            best, lowest = Choice(family, found.file, method, known_by), order
    return best


def of_group(files: Iterable[Found], family: Family, group: str, steps: int) -> Found | None:
    """The file of this group of methods that is made for exactly so many steps, or None."""
    known = [(one, one.known(wait_for_hash=True)[0]) for one in files if one.file.family is family]
    fitting = [
        one
        for one, method in known
        if method is not None and method.group == group and method.needs_steps == steps
    ]
    return min(fitting, key=lambda one: one.rank, default=None)


def _misses(files: Iterable[Found], official: PublishedLora, unlisted: Iterable[Path]) -> Iterator[Text]:
    """What is wrong with the files that somebody may take for the family's LCM-LoRA."""
    family = official.family
    for path in unlisted:
        if conventional_family(path.stem) is family:
            yield Text("{file} does not end in .safetensors", file=shown_name(path))
    for found in files:
        file = found.file
        is_named_so = conventional_family(found.relative) is family
        # The published files are all downloaded under one name: a broken one may be of this family unless its
        # header says otherwise.
        is_download = file.path.name.lower() == official.filename and file.family in (None, family)
        name, method = shown_name(file.path), found.known()[0]
        if file.problem:
            if is_named_so or is_download:
                yield listed_problem(file)
        elif file.family is family:
            if method is not None:
                yield Text("{file} is a {method} LoRA, not an LCM-LoRA", file=name, method=method.group)
        elif is_named_so and file.family is None:
            yield Text(
                "{file} does not look made for {family}, whatever its name", file=name, family=family.label
            )
        elif is_named_so and file.family is not None:
            yield Text("{file} was made for {family}, whatever its name", file=name, family=file.family.label)
