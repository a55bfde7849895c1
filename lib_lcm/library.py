"""The LoRA folder as a whole: which files are in it, and which of them serves which model family.

A `LoraLibrary` looks at every file once and remembers what it saw for as long as the file's size and time of change stay the same, so
that asking again costs little more than listing the folder. What a single file is, `lora_files` decides; here is only the choice
between them.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lib_lcm.catalog import FAMILIES_WITH_LORA, OFFICIAL_LORAS, OfficialLora, family_of_sha256, official_lora
from lib_lcm.families import ModelFamily
from lib_lcm.lora_files import LoraFile, inspect_lora, shown_name
from lib_lcm.prompt_tags import conventional_family

# What the WebUIs list as LoRAs.
LORA_ENDINGS = frozenset({".safetensors", ".pt", ".ckpt"})
# Other few-step distillations, whose LoRAs have the layers of an LCM-LoRA but want other timesteps: Hyper-SD, SDXL Lightning and Turbo,
# trajectory (TCD) and phased (PCM) consistency distillation, distribution matching (DMD), Flash Diffusion.
OTHER_DISTILLATIONS = ("hyper", "lightning", "turbo", "tcd", "pcm", "dmd", "flash")

_CATALOG_SIZES = {size for lora in OFFICIAL_LORAS for size in (lora.size, *lora.other_sizes)}
_FROM_CATALOG, _FROM_HEADER, _FROM_NAME = "catalog", "header", "name"
_REASONS = (_FROM_CATALOG, _FROM_HEADER, _FROM_NAME)  # in order of preference


@dataclass(frozen=True)
class Choice:
    """Which LCM-LoRA serves `family`.

    Either `file` is set, and `reason` says why: "catalog" (it is a published file, by its SHA-256), "header" (its layers are those of an
    LCM-LoRA of this family) or "name" (it has the conventional name and a header of this family). Or `file` is None and `problem` is
    one sentence for the user that says what to do.
    """

    family: ModelFamily
    file: LoraFile | None = None
    reason: str | None = None
    problem: str | None = None


class _Place(NamedTuple):
    """Where a file lies: `path` as the system listed it, `relative` to its LoRA folder with forward slashes, and how many folders down."""

    path: str
    relative: str
    depth: int


class _Seen(NamedTuple):
    size: int
    mtime_ns: int
    file: LoraFile


class LoraLibrary:
    """The LoRA files in one or more folders and their sub-folders.

    `lora_dirs` are the WebUI's LoRA folders; ones that do not exist count as empty. `sha256_of` returns the SHA-256 of a file as hex
    digits, or None; by default the file is read. It is only called for files that have the size of a published one, and its answers are
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
        self._sha256_of = sha256_of or _sha256_of
        self._lock = threading.RLock()
        self._seen: dict[str, _Seen] = {}
        self._places: dict[Path, _Place] = {}
        self._digests: dict[tuple[str, int, int], str | None] = {}
        self._mistyped: list[Path] = []
        self._files: list[LoraFile] | None = None
        self._index: dict[str, LoraFile] | None = None
        self._stems: Counter[str] | None = None

    @property
    def files(self) -> list[LoraFile]:
        """All LoRA files of the last scan (the first is made here), whole or not, in order of depth and name."""
        with self._lock:
            return list(self._scanned())

    def scan(self) -> list[LoraFile]:
        """Look at the folders again and return the files now in them. Only new and changed files are opened."""
        with self._lock:
            seen: dict[str, _Seen] = {}
            places: dict[Path, _Place] = {}
            self._mistyped = []
            for entry, place in _walk(self.lora_dirs):
                if os.path.splitext(entry.name)[1].lower() not in LORA_ENDINGS:
                    if _is_mistyped(place.relative):
                        self._mistyped.append(Path(entry.path))
                    continue
                try:
                    status = entry.stat()
                    size, mtime_ns = status.st_size, status.st_mtime_ns
                except OSError:
                    size, mtime_ns = -1, -1  # vanished, or a dangling link: `inspect_lora` finds the words
                known = self._seen.get(entry.path)
                # A file with a problem is looked at again: a permission can come back without the size or the time changing.
                if known is None or (known.size, known.mtime_ns) != (size, mtime_ns) or known.file.problem is not None:
                    known = _Seen(size, mtime_ns, inspect_lora(entry.path))
                seen[entry.path] = known
                places[known.file.path] = place
            if self._files is None or seen != self._seen:
                self._seen, self._places = seen, places
                current = {(path, known.size, known.mtime_ns) for path, known in seen.items()}
                self._digests = {key: digest for key, digest in self._digests.items() if key in current}
                self._files = sorted((known.file for known in seen.values()), key=self._order)
                self._index = self._stems = None
            return list(self._files)

    def candidates(self, family: ModelFamily) -> list[LoraFile]:
        """The LCM-LoRAs of `family` now in the folders, best first. Never a file of another family, nor one with a problem.

        The order is that of the reasons in `Choice`; equals go by conventional name, then fewer sub-folders, then name.
        """
        return [file for _, file in self._ranked(family)]

    def choose(self, family: ModelFamily) -> Choice:
        """The best LCM-LoRA of `family` now in the folders, or the sentence that says why there is none and what to do."""
        family = ModelFamily(family)
        if family not in FAMILIES_WITH_LORA:
            known = ", ".join(lora.family.label for lora in OFFICIAL_LORAS)
            name = "This kind of checkpoint" if family is ModelFamily.unknown else family.label
            todo = f"load a checkpoint of another family ({known}), or choose a LoRA by name"
            return Choice(family, problem=f"{name} has no LCM-LoRA: {todo}.")
        with self._lock:
            ranked = self._ranked(family)
            if ranked:
                reason, file = ranked[0]
                return Choice(family, file, reason)
            return Choice(family, problem=self._why_none(family))

    def is_lcm_lora(self, file: LoraFile) -> bool:
        """Whether `file`, found in the folders, is one that `choose` could take for its family."""
        with self._lock:
            return file.family is not None and file.path in self._places and self._reason(file, file.family) is not None

    def find(self, name: str) -> LoraFile | None:
        """The file that the LoRA name `name` means, or None: a file name or a path within the LoRA folder, with or without its ending.

        Upper and lower case count only where two files differ in nothing else. Of several files of one name, the one in the fewest
        sub-folders.
        """
        # as it stands comes first: a file's name may begin with a space or, but on Windows, hold a backslash
        names = [text for text in dict.fromkeys((name, name.strip().replace("\\", "/").strip("/"))) if text.strip()]
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
        """What `file` is called: its name without ending or, where other files have that too, its path in the LoRA folder.

        Forward slashes; `find` of this name gives the file again.
        """
        with self._lock:
            place = self._places.get(file.path)
            if place is None:
                return file.name
            if self._stems is None:
                self._stems = Counter(other.name.casefold() for other in self._scanned())
            is_only_one = self._stems[file.name.casefold()] == 1
            for name in ([file.name, file.path.name] if is_only_one else []) + [os.path.splitext(place.relative)[0]]:
                found = self._look_up(name)
                if found is not None and found.path == file.path:
                    return name
            return place.relative

    # -------------------------------------------------------------------------------------------------------------- how it is done

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

    def _ranked(self, family: ModelFamily) -> list[tuple[str, LoraFile]]:
        """(reason, file) of every LCM-LoRA of `family`, best first, after a fresh look at the folders."""
        family = ModelFamily(family)
        if family is ModelFamily.unknown:
            return []
        with self._lock:
            ranked = []
            for file in self.scan():
                reason = self._reason(file, family)
                if reason:
                    ranked.append((_REASONS.index(reason), not self._has_conventional_name(file, family), self._order(file), reason, file))
            ranked.sort(key=lambda entry: entry[:3])
            return [(reason, file) for *_, reason, file in ranked]

    def _reason(self, file: LoraFile, family: ModelFamily) -> str | None:
        """Why `file` counts as an LCM-LoRA of `family`, or None if it does not."""
        if file.problem is not None or file.family is not family:
            return None
        if file.size in _CATALOG_SIZES and family_of_sha256(self._digest(file) or "") is family:
            return _FROM_CATALOG
        if self._has_conventional_name(file, family):
            return _FROM_HEADER if file.is_lcm else _FROM_NAME
        return _FROM_HEADER if file.is_lcm and _other_distillation(self._places[file.path].relative) is None else None

    def _has_conventional_name(self, file: LoraFile, family: ModelFamily) -> bool:
        return conventional_family(self._places[file.path].relative) is family

    def _digest(self, file: LoraFile) -> str | None:
        path = self._places[file.path].path
        seen = self._seen[path]
        key = (path, seen.size, seen.mtime_ns)
        if key not in self._digests:
            try:
                self._digests[key] = self._sha256_of(file.path)
            except OSError:
                return None  # vanished, or unreadable just now: ask again next time
        return self._digests[key]

    def _why_none(self, family: ModelFamily) -> str:
        official = official_lora(family)
        misses = [*self._mistyped_endings(official), *self._misnamed(official), *self._other_distillations(family)]
        missing = f"No LCM-LoRA for {family.label} was found"
        download = f"download it with the LCM panel's button or with `python install.py --download {family}`"
        if misses:
            return f"{missing} ({'; '.join(misses[:3])}): correct that, or {download}."
        folder = self.lora_dirs[0] if self.lora_dirs else "the LoRA folder"
        return f"{missing}: {download}, or put {official.filename} from {official.url} into {folder} as {official.name}.safetensors."

    def _mistyped_endings(self, official: OfficialLora) -> Iterable[str]:
        for path in self._mistyped:
            if path.suffix.lower().lstrip(".") in _UNFINISHED:
                if conventional_family(path.stem) is official.family:
                    yield f"{shown_name(path)} is a download that was not finished"
                continue
            file = inspect_lora(path)
            if file.family is official.family and (file.is_lcm or conventional_family(path.stem) is official.family):
                yield f'{shown_name(path)} has a mis-typed ending: rename it to "{shown_name(path.stem)}.safetensors"'
            elif file.problem and conventional_family(path.stem) is official.family:
                yield file.problem.rstrip(".")

    def _misnamed(self, official: OfficialLora) -> Iterable[str]:
        for file in self._scanned():
            is_conventional = self._has_conventional_name(file, official.family)
            # The published files are all downloaded under one name: a broken one may be of this family unless its header says otherwise.
            is_download = file.path.name.lower() == official.filename and file.family in (None, official.family)
            if file.problem:
                if is_conventional or is_download:
                    yield file.problem.rstrip(".")
            elif is_conventional:
                actually = f"was made for {file.family.label}" if file.family else f"does not look made for {official.family.label}"
                yield f"{shown_name(file.path)} {actually}, whatever its name"

    def _other_distillations(self, family: ModelFamily) -> Iterable[str]:
        for file in self._scanned():
            method = _other_distillation(self._places[file.path].relative)
            if file.family is family and file.is_lcm and method:
                yield f'{shown_name(file.path)} is by its name a "{method}" LoRA, not an LCM-LoRA'


def _walk(folders: Iterable[Path]) -> Iterable[tuple[os.DirEntry[str], _Place]]:
    """Every file below `folders` with its place, each real folder once (links may form loops), in a fixed order."""
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


def _is_mistyped(relative: str) -> bool:
    """Whether a file that no WebUI lists was probably meant as a safetensors file: a misspelt ending, or none after an LCM-LoRA's name."""
    stem, ending = os.path.splitext(relative)
    ending = ending.lower().lstrip(".")
    if conventional_family(stem) is not None:
        return ending not in _COMPANIONS
    return len(ending) > 4 and difflib.SequenceMatcher(None, ending, "safetensors").ratio() > 0.8


# What browsers and downloaders add to a file's name until it is whole.
_UNFINISHED = frozenset({"part", "partial", "crdownload", "download", "tmp", "incomplete", "aria2"})
# Files that lie beside a LoRA under its name: previews, notes, the extensions' data.
_COMPANIONS = frozenset({"png", "jpg", "jpeg", "webp", "gif", "mp4", "txt", "json", "info", "md", "html", "yaml", "yml", "csv", "sha256"})


def _is_unchanged(seen: _Seen) -> bool:
    try:
        status = os.stat(seen.file.path)
    except (OSError, ValueError):
        return False
    return (status.st_size, status.st_mtime_ns) == (seen.size, seen.mtime_ns)


def _other_distillation(relative: str) -> str | None:
    """The few-step method other than LCM that a file's name speaks of, or None."""
    words = "".join(c if c.isalpha() else " " for c in relative.rsplit("/", 1)[-1].lower()).split()
    if "lcm" in words:
        return None
    return next((method for method in OTHER_DISTILLATIONS if any(word.startswith(method) for word in words)), None)


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
