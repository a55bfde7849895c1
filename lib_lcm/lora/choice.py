"""Which LoRA file serves a model family, and the sentence where none does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lib_lcm.families import Family
from lib_lcm.lora.catalog import OFFICIAL_LORAS, OfficialLora, family_of_sha256, official_lora
from lib_lcm.lora.file import LoraFile, listed_problem, shown_name
from lib_lcm.lora.names import conventional_family
from lib_lcm.methods import named_in, names_steps
from lib_lcm.text import Text, listed

FROM_CATALOG, FROM_HEADER, FROM_NAME = REASONS = ("catalog", "header", "name")  # in order of preference


@dataclass(frozen=True)
class Choice:
    """Which LCM-LoRA serves `family`.

    Either `file` is set, and `reason` says why: "catalog" (it is a published file, by its SHA-256), "header"
    (its layers are those of an LCM-LoRA of this family) or "name" (it has the conventional name and a header
    of this family). Or `file` is None and `problem` is one sentence for the user that says what to do.
    """

    family: Family
    file: LoraFile | None = None
    reason: str | None = None
    problem: str | None = None


class Found(NamedTuple):
    """A file in the LoRA folder: `relative` is its path in there, with forward slashes; `size` (bytes) and
    `mtime_ns` are as the folder lists them; `sha256` is None for a file that cannot be a published one.
    """

    file: LoraFile
    relative: str
    size: int
    mtime_ns: int
    sha256: Future[str | None] | None

    @property
    def is_named_as_published(self) -> bool:
        """Whether it has a conventional name of its family's LCM-LoRA."""
        return conventional_family(self.relative) is self.file.family

    @property
    def reason_by_looks(self) -> str | None:
        """Why it counts as an LCM-LoRA of its family, its hash aside; None where it does not."""
        if self.file.problem is not None or self.file.family is None:
            return None
        if self.is_named_as_published:
            return FROM_HEADER if self.file.is_lcm else FROM_NAME
        return FROM_HEADER if self.file.is_lcm and named_in(self.relative) is None else None

    @property
    def reason(self) -> str | None:
        """The same, its hash included if that is known by now."""
        sha256 = self.sha256
        known = sha256.result() if sha256 is not None and sha256.done() and not sha256.exception() else None
        is_published = known is not None and family_of_sha256(known) is self.file.family
        return FROM_CATALOG if is_published else self.reason_by_looks

    @property
    def is_lcm_lora(self) -> bool:
        """Whether it is an LCM-LoRA of its family; waits for its hash where only that can tell."""
        if self.reason_by_looks is None and self.sha256 is not None:
            wait([self.sha256])
        return self.reason is not None

    @property
    def is_few_step_lora(self) -> bool:
        """Whether it makes pictures in few steps by another method than LCM's: TCD, Hyper-SD and the like."""
        if self.file.problem is not None or self.file.family is None or named_in(self.relative) is None:
            return False
        return self.file.is_lcm or names_steps(self.relative)  # the name alone may be a style's


def may_be_published(file: LoraFile) -> bool:
    """Whether it has the size of a published LCM-LoRA."""
    sizes = (size for lora in OFFICIAL_LORAS for size in (lora.size, *lora.other_sizes))
    return file.problem is None and file.family is not None and file.size in sizes


def ranked(files: Iterable[Found], family: Family) -> list[Found]:
    """The LCM-LoRAs of `family`, best first: by the reasons in `Choice`, then by conventional name, else as
    they come.
    """
    possible = [
        found
        for found in files
        if found.file.family is family and (found.reason_by_looks is not None or found.sha256 is not None)
    ]
    if len(possible) > 1 or any(found.reason_by_looks is None for found in possible):
        # a single one is taken whatever its hash
        wait([found.sha256 for found in possible if found.sha256 is not None])
    lcm = [found for found in possible if found.reason is not None]
    return sorted(lcm, key=lambda found: (REASONS.index(found.reason), not found.is_named_as_published))


def choose(
    files: Collection[Found], family: Family, unlisted: Iterable[Path], lora_dirs: Sequence[Path]
) -> Choice:
    """The best of `files`, or why there is none. `unlisted` are files with an LCM-LoRA's name that no WebUI
    lists.
    """
    official = official_lora(family)
    if official is None:
        return Choice(
            family,
            problem=Text(
                "There is no LCM-LoRA for {family} checkpoints; switch LCM off, load one of another family"
                ' ({known}), or choose LCM-LoRA "None" if the checkpoint is itself an LCM.',
                family=family.label,
                known=", ".join(lora.family.label for lora in OFFICIAL_LORAS),
            ),
        )
    best = next(iter(ranked(files, family)), None)
    if best is not None:
        return Choice(family, best.file, best.reason)
    misses = list(_misses(files, official, unlisted))
    said = {"family": family.label, "short": family.name}
    if misses:
        problem = Text(
            "No LCM-LoRA for {family} was found ({misses}): correct that, or download it with the LCM"
            " panel's button or with `python install.py --download {short}`.",
            misses=listed(misses[:3]),
            **said,
        )
    else:
        problem = Text(
            "No LCM-LoRA for {family} was found: download it with the LCM panel's button or with `python"
            " install.py --download {short}`, or put {file} from {url} into {folder} as {name}.safetensors.",
            file=official.filename,
            url=official.url,
            folder=str(lora_dirs[0]) if lora_dirs else Text("the LoRA folder"),
            name=official.name,
            **said,
        )
    return Choice(family, problem=problem)


def _misses(files: Iterable[Found], official: OfficialLora, unlisted: Iterable[Path]) -> Iterator[Text]:
    """What is wrong with the files that somebody may take for the family's LCM-LoRA."""
    family = official.family
    for path in unlisted:
        if conventional_family(path.stem) is family:
            yield Text("{file} does not end in .safetensors", file=shown_name(path))
    for file, relative, *_ in files:
        is_named_so = conventional_family(relative) is family
        # The published files are all downloaded under one name: a broken one may be of this family unless its
        # header says otherwise.
        is_download = file.path.name.lower() == official.filename and file.family in (None, family)
        name, method = shown_name(file.path), named_in(relative)
        if file.problem:
            if is_named_so or is_download:
                yield listed_problem(file)
        elif is_named_so and file.family is None:
            yield Text(
                "{file} does not look made for {family}, whatever its name", file=name, family=family.label
            )
        elif is_named_so and file.family is not None:
            yield Text("{file} was made for {family}, whatever its name", file=name, family=file.family.label)
        elif file.family is family and file.is_lcm and method:
            yield Text(
                '{file} is by its name a "{method}" LoRA, not an LCM-LoRA', file=name, method=method.name
            )
