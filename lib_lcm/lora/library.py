"""The LoRA folder as a whole: which files are in it, and which of them serves which model family.

A `LoraLibrary` looks at every file once and remembers what it saw for as long as the file's size and time of
change stay the same, so that asking again costs little more than listing the folder. What a single file is,
`lora_files` decides; here is only the choice between them.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lib_lcm.families import UNKNOWN, Family, family_named
from lib_lcm.lora.catalog import (
    OFFICIAL_LORAS,
    OfficialLora,
    family_of_sha256,
    official_lora,
)
from lib_lcm.lora.file import PICKLE_ENDINGS, LoraFile, inspect_lora, listed_problem, shown_name
from lib_lcm.lora.hashes import FileHashes, Version
from lib_lcm.lora.names import conventional_family
from lib_lcm.methods import named_in, names_steps
from lib_lcm.text import Text, listed

# What the WebUIs list as LoRAs.
LORA_ENDINGS = frozenset({".safetensors", ".pt", ".ckpt"})

_CATALOG_SIZES = {size for lora in OFFICIAL_LORAS for size in (lora.size, *lora.other_sizes)}
_FROM_CATALOG, _FROM_HEADER, _FROM_NAME = "catalog", "header", "name"
_REASONS = (_FROM_CATALOG, _FROM_HEADER, _FROM_NAME)  # in order of preference


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


class _Place(NamedTuple):
    """Where a file lies: `path` as the system listed it, `relative` to its LoRA folder with forward slashes,
    and how many folders down.
    """

    path: str
    relative: str
    depth: int


class _Seen(NamedTuple):
    size: int
    mtime_ns: int
    file: LoraFile


class _Contender(NamedTuple):
    """A file that serves `family`, or does if its hash says so.

    `reason` is why, the hash aside; `sha256` is None for a file that has not the size of a published one.
    """

    family: Family
    file: LoraFile
    reason: str | None
    sha256: Future[str | None] | None
    has_conventional_name: bool
    order: tuple[int, str, str]

    def decided_reason(self) -> str | None:
        """Why the file counts as an LCM-LoRA of the family, as far as is known by now, or None if it does
        not.
        """
        is_hashed = self.sha256 is not None and self.sha256.done() and self.sha256.exception() is None
        return (
            _FROM_CATALOG
            if is_hashed and family_of_sha256(self.sha256.result() or "") is self.family
            else self.reason
        )


class LoraLibrary:
    """The LoRA files in one or more folders and their sub-folders.

    `lora_dirs` are the WebUI's LoRA folders; ones that do not exist count as empty. `sha256_of` returns the
    SHA-256 of a file as hex digits, or None; by default the file is read. It is only called for LoRAs that
    have the size of a published one, in a thread of its own from the first scan on, and its answers are
    remembered. All methods may be called from any thread.
    """

    def __init__(
        self,
        lora_dirs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        sha256_of: Callable[[Path], str | None] | None = None,
    ):
        if isinstance(lora_dirs, (str, os.PathLike)):
            lora_dirs = [lora_dirs]
        self.lora_dirs = [Path(folder) for folder in lora_dirs]
        self._hashes = FileHashes(sha256_of)
        self._lock = threading.RLock()
        self._this_thread = threading.local()
        self._seen: dict[str, _Seen] = {}
        self._places: dict[Path, _Place] = {}
        self._unlisted: list[Path] = []
        self._files: list[LoraFile] | None = None
        self._index: dict[str, LoraFile] | None = None
        self._stems: Counter[str] | None = None

    @property
    def files(self) -> list[LoraFile]:
        """All LoRA files of the last scan (the first is made here), whole or not, in order of depth and
        name.
        """
        with self._lock:
            return list(self._scanned())

    def scan(self) -> list[LoraFile]:
        """Look at the folders again and return the files now in them. Only new and changed files are
        opened.
        """
        with self._lock:
            if getattr(self._this_thread, "has_seen", False) and self._files is not None:
                return list(self._files)
            seen: dict[str, _Seen] = {}
            places: dict[Path, _Place] = {}
            self._unlisted = []
            for entry, place in _walk(self.lora_dirs):
                if os.path.splitext(entry.name)[1].lower() not in LORA_ENDINGS:
                    if _may_be_meant(entry.name):
                        self._unlisted.append(Path(entry.path))
                    continue
                try:
                    status = entry.stat()
                    size, mtime_ns = status.st_size, status.st_mtime_ns
                except OSError:
                    size, mtime_ns = -1, -1  # vanished, or a dangling link: `inspect_lora` finds the words
                known = self._seen.get(entry.path)
                # A file with a problem is looked at again: a permission can come back without the size or the
                # time changing.
                if (
                    known is None
                    or (known.size, known.mtime_ns) != (size, mtime_ns)
                    or known.file.problem is not None
                ):
                    known = _Seen(size, mtime_ns, inspect_lora(entry.path))
                seen[entry.path] = known
                places[known.file.path] = place
            if self._files is None or seen != self._seen:
                self._seen, self._places = seen, places
                self._files = sorted((known.file for known in seen.values()), key=self._order)
                self._index = self._stems = None
                for file in self._files:
                    self._sha256(file)  # so that it is known by the time that somebody waits for it
            self._this_thread.has_seen = getattr(self._this_thread, "sees_once", False)
            return list(self._files)

    @contextmanager
    def seen_once(self):
        """While inside, this thread looks at the folders at most once, however much it asks: on a network
        disk a look takes its time.
        """
        self._this_thread.sees_once = True
        try:
            yield self
        finally:
            self._this_thread.sees_once = self._this_thread.has_seen = False

    def candidates(self, family: Family) -> list[LoraFile]:
        """The LCM-LoRAs of `family` now in the folders, best first. Never a file of another family, nor one
        with a problem.

        The order is that of the reasons in `Choice`; equals go by conventional name, then fewer sub-folders,
        then name.
        """
        return [file for _, file in self._ranked(family)]

    def choose(self, family: Family) -> Choice:
        """The best LCM-LoRA of `family` now in the folders, or the sentence that says why there is none and
        what to do.
        """
        family = family_named(family)
        if official_lora(family) is None:
            known = ", ".join(lora.family.label for lora in OFFICIAL_LORAS)
            name = Text("This kind of checkpoint") if family is UNKNOWN else family.label
            return Choice(
                family,
                problem=Text(
                    "{family} has no LCM-LoRA: load a checkpoint of another family ({known}), or choose a"
                    " LoRA by name.",
                    family=name,
                    known=known,
                ),
            )
        ranked = self._ranked(family)
        if ranked:
            reason, file = ranked[0]
            return Choice(family, file, reason)
        with self._lock:
            return Choice(family, problem=self._why_none(family))

    def is_lcm_lora(self, file: LoraFile) -> bool:
        """Whether `file`, found in the folders, is one that `choose` could take for its family."""
        with self._lock:
            if file.family is None or file.path not in self._places:
                return False
            contender = self._contender(file, file.family)
        if contender is None:
            return False
        if contender.reason is None:
            wait([contender.sha256])
        return contender.decided_reason() is not None

    def lcm_loras(self) -> list[LoraFile]:
        """The LCM-LoRAs of all families now in the folders, in order of depth and name."""
        return [file for file in self.scan() if self.is_lcm_lora(file)]

    def is_few_step_lora(self, file: LoraFile) -> bool:
        """Whether `file`, found in the folders, makes pictures in few steps by another method than LCM's:
        TCD, Hyper-SD and the like.
        """
        with self._lock:
            place = self._places.get(file.path)
            if (
                place is None
                or file.problem is not None
                or file.family is None
                or named_in(place.relative) is None
            ):
                return False
            return file.is_lcm or names_steps(place.relative)  # the name alone may be a style's

    def few_step_loras(self) -> list[LoraFile]:
        """The LoRAs for which `is_few_step_lora` holds now in the folders, in order of depth and name."""
        return [file for file in self.scan() if self.is_few_step_lora(file)]

    def unchecked(self) -> list[LoraFile]:
        """Files of the last scan that are LCM-LoRAs by their name and of a kind that is never opened (`.pt`,
        `.ckpt`).
        """
        return [
            file
            for file in self.files
            if file.path.suffix.lower() in PICKLE_ENDINGS and "lcm" in file.name.lower()
        ]

    def find(self, name: str) -> LoraFile | None:
        """The file that the LoRA name `name` means, or None: a file name or a path within the LoRA folder,
        with or without its ending.

        Upper and lower case count only where two files differ in nothing else. Of several files of one name,
        the one in the fewest sub-folders.
        """
        # as it stands comes first: a file's name may begin with a space or, but on Windows, hold a backslash
        names = [
            text for text in dict.fromkeys((name, name.strip().replace("\\", "/").strip("/"))) if text.strip()
        ]
        with self._lock:
            file = self._look_up_first(names)
            if file is None or not _is_unchanged(self._seen[self._places[file.path].path]):
                self.scan()
                file = self._look_up_first(names)
            return file

    def at(self, path: str | os.PathLike[str]) -> LoraFile | None:
        """The file at `path` (below a LoRA folder, spelled as the folder is), as it is now, or None."""
        key = os.fspath(path)
        with self._lock:
            self._scanned()
            known = self._seen.get(key)
            if known is None or not _is_unchanged(known):
                self.scan()
                known = self._seen.get(key)
            return None if known is None else known.file

    def name_of(self, file: LoraFile) -> str:
        """What `file` is called: its name without ending or, where other files have that too, its path in the
        LoRA folder.

        Forward slashes; `find` of this name gives the file again.
        """
        with self._lock:
            place = self._places.get(file.path)
            if place is None:
                return file.name
            if self._stems is None:
                self._stems = Counter(other.name.casefold() for other in self._scanned())
            is_only_one = self._stems[file.name.casefold()] == 1
            for name in ([file.name, file.path.name] if is_only_one else []) + [
                os.path.splitext(place.relative)[0]
            ]:
                found = self._look_up(name)
                if found is not None and found.path == file.path:
                    return name
            return place.relative

    # --------------------------------------------------------------------------------------------------------

    def _scanned(self) -> list[LoraFile]:
        return self.scan() if self._files is None else self._files

    def _order(self, file: LoraFile) -> tuple[int, str, str]:
        place = self._places[file.path]
        return place.depth, place.relative.casefold(), place.relative

    def _look_up_first(self, names: Iterable[str]) -> LoraFile | None:
        return next((file for name in names if (file := self._look_up(name)) is not None), None)

    def _look_up(self, wanted: str) -> LoraFile | None:
        files = self._scanned()
        if self._index is None:
            self._index = {}
            for fold in (str, str.casefold):  # names as they are come before names in another case
                for file in files:  # in order of depth and name, so that the first of equals is the right one
                    relative = self._places[file.path].relative
                    for name in (relative, os.path.splitext(relative)[0], file.path.name, file.path.stem):
                        self._index.setdefault(fold(name), file)
        return self._index.get(wanted) or self._index.get(wanted.casefold())

    def _ranked(self, family: Family) -> list[tuple[str, LoraFile]]:
        """(reason, file) of every LCM-LoRA of `family`, best first, after a fresh look at the folders."""
        family = family_named(family)
        if family is UNKNOWN:
            return []
        with self._lock:
            contenders = [
                contender for file in self.scan() if (contender := self._contender(file, family)) is not None
            ]
        if len(contenders) > 1 or any(contender.reason is None for contender in contenders):
            # without the lock; a single one is taken whatever its hash
            wait([contender.sha256 for contender in contenders if contender.sha256 is not None])
        ranked = []
        for contender in contenders:
            reason = contender.decided_reason()
            if reason is not None:
                ranked.append(
                    (
                        _REASONS.index(reason),
                        not contender.has_conventional_name,
                        contender.order,
                        reason,
                        contender.file,
                    )
                )
        ranked.sort(key=lambda entry: entry[:3])
        return [(reason, file) for *_, reason, file in ranked]

    def _contender(self, file: LoraFile, family: Family) -> _Contender | None:
        """`file` as a possible LCM-LoRA of `family`, None where it cannot be one."""
        if file.problem is not None or file.family is not family:
            return None
        is_conventional = self._has_conventional_name(file, family)
        if is_conventional:
            reason = _FROM_HEADER if file.is_lcm else _FROM_NAME
        else:
            reason = (
                _FROM_HEADER if file.is_lcm and named_in(self._places[file.path].relative) is None else None
            )
        sha256 = self._sha256(file)
        return (
            None
            if reason is None and sha256 is None
            else _Contender(family, file, reason, sha256, is_conventional, self._order(file))
        )

    def _has_conventional_name(self, file: LoraFile, family: Family) -> bool:
        return conventional_family(self._places[file.path].relative) is family

    def _sha256(self, file: LoraFile) -> Future[str | None] | None:
        """The hash of a file that may be a published one, None for any other."""
        if file.problem is not None or file.family is None or file.size not in _CATALOG_SIZES:
            return None
        path = self._places[file.path].path
        return self._hashes.request(Version(path, self._seen[path].size, self._seen[path].mtime_ns))

    def _why_none(self, family: Family) -> str:
        official = official_lora(family)
        misses = [
            *self._not_listed(official),
            *self._misnamed(official),
            *self._other_distillations(family),
        ]
        said = {"family": family.label, "short": family.name}
        if misses:
            return Text(
                "No LCM-LoRA for {family} was found ({misses}): correct that, or download it with the LCM"
                " panel's button or with `python install.py --download {short}`.",
                misses=listed(misses[:3]),
                **said,
            )
        folder = str(self.lora_dirs[0]) if self.lora_dirs else Text("the LoRA folder")
        return Text(
            "No LCM-LoRA for {family} was found: download it with the LCM panel's button or with `python"
            " install.py --download {short}`, or put {file} from {url} into {folder} as {name}.safetensors.",
            file=official.filename,
            url=official.url,
            folder=folder,
            name=official.name,
            **said,
        )

    def _not_listed(self, official: OfficialLora) -> Iterable[str]:
        for path in self._unlisted:
            if conventional_family(path.stem) is official.family:
                yield Text("{file} does not end in .safetensors", file=shown_name(path))

    def _misnamed(self, official: OfficialLora) -> Iterable[str]:
        for file in self._scanned():
            is_conventional = self._has_conventional_name(file, official.family)
            # The published files are all downloaded under one name: a broken one may be of this family unless
            # its header says otherwise.
            is_download = file.path.name.lower() == official.filename and file.family in (
                None,
                official.family,
            )
            if file.problem:
                if is_conventional or is_download:
                    yield listed_problem(file)
            elif is_conventional:
                yield Text(
                    (
                        "{file} was made for {family}, whatever its name"
                        if file.family
                        else "{file} does not look made for {family}, whatever its name"
                    ),
                    file=shown_name(file.path),
                    family=(file.family or official.family).label,
                )

    def _other_distillations(self, family: Family) -> Iterable[str]:
        for file in self._scanned():
            method = named_in(self._places[file.path].relative)
            if file.family is family and file.is_lcm and method:
                yield Text(
                    '{file} is by its name a "{method}" LoRA, not an LCM-LoRA',
                    file=shown_name(file.path),
                    method=method.name,
                )


def _walk(folders: Iterable[Path]) -> Iterable[tuple[os.DirEntry[str], _Place]]:
    """Every file below `folders` with its place, each real folder once (links may form loops), in a fixed
    order.
    """
    visited = set()
    for root in folders:
        level = [(str(root), "")]
        depth = 0
        while level:
            below = []
            for folder, prefix in level:
                try:
                    status = os.stat(folder)
                    # Some network disks number nothing: there the path has to do.
                    identity = (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(folder)
                    if identity in visited:
                        continue
                    visited.add(identity)
                    with os.scandir(folder) as listing:
                        entries = sorted(listing, key=lambda entry: entry.name)
                except (OSError, ValueError):
                    continue  # gone, or not ours to read
                for entry in entries:
                    try:
                        is_folder = entry.is_dir()
                    except OSError:
                        is_folder = False
                    if is_folder:
                        below.append((entry.path, f"{prefix}{entry.name}/"))
                    else:
                        yield entry, _Place(entry.path, prefix + entry.name, depth)
            level = below
            depth += 1


def _may_be_meant(name: str) -> bool:
    """Whether a file that no WebUI lists has an LCM-LoRA's name and is nothing that lies beside one."""
    return "lcm" in name.lower() and os.path.splitext(name)[1].lower().lstrip(".") not in _COMPANIONS


# Files that lie beside a LoRA under its name: previews, notes, the extensions' data.
_COMPANIONS = frozenset(
    {
        "png",
        "jpg",
        "jpeg",
        "webp",
        "gif",
        "mp4",
        "txt",
        "json",
        "info",
        "md",
        "html",
        "yaml",
        "yml",
        "csv",
        "sha256",
    }
)


def _is_unchanged(seen: _Seen) -> bool:
    try:
        status = os.stat(seen.file.path)
    except (OSError, ValueError):
        return False
    return (status.st_size, status.st_mtime_ns) == (seen.size, seen.mtime_ns)
