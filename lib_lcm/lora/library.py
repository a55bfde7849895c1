"""The LoRA folder as a whole: which files are in it, what they are called, and which of them a name means.

A `LoraLibrary` looks at every file once and remembers what it saw for as long as the file's size and time of
change stay the same, so that asking again costs little more than listing the folder. What a single file is,
`file` decides, and `choice` which of them serves a model family.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lib_lcm.families import Family, family_named
from lib_lcm.lora.catalog import PublishedLora
from lib_lcm.lora.choice import (
    Choice,
    Found,
    Wish,
    choose,
    choose_best,
    may_be_published,
    of_group,
    ranked,
)
from lib_lcm.lora.file import PICKLE_ENDINGS, LoraFile, inspect_lora
from lib_lcm.lora.hashes import FileHashes
from lib_lcm.lora.remembered import RememberedMethods
from lib_lcm.methods import Method

# What the WebUIs list as LoRAs.
LORA_ENDINGS = frozenset({".safetensors", ".pt", ".ckpt"})
# Files that lie beside a LoRA under its name: previews, notes, the extensions' data.
_COMPANIONS = {
    ".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".txt", ".json", ".info", ".md", ".html", ".yaml",
    ".yml", ".csv", ".sha256",
}  # fmt: skip


class _Contents:
    """What one look at the folders found. `unlisted` has an LCM-LoRA's name and an ending that no WebUI
    lists.
    """

    def __init__(self, files: Iterable[Found], unlisted: list[Path]):
        # in order of depth and name
        ordered = sorted(
            files, key=lambda found: (found.relative.count("/"), found.relative.casefold(), found.relative)
        )
        self.by_path = {found.file.path: found for found in ordered}
        self.files = [found.file for found in ordered]
        self.unlisted = unlisted
        self.same_names = Counter(file.name.casefold() for file in self.files)
        self._by_name: dict[str, Found] = {}
        # names as they are come before names in another case, and before names in which bytes are escaped
        for spelled in (str, str.casefold, as_text, lambda name: as_text(name).casefold()):
            for found in ordered:
                path = found.file.path
                for name in (found.relative, _without_ending(found.relative), path.name, path.stem):
                    self._by_name.setdefault(spelled(name), found)

    def find(self, *names: str) -> Found | None:
        """The file that the first of these names means, of those that mean one."""
        spellings = (spelling for name in names for spelling in (name, name.casefold()))
        return next((self._by_name[name] for name in spellings if name in self._by_name), None)


class _Looks(threading.local):
    """Whether this thread has looked at the folders since `seen_once` began; None where it may look at any
    time.
    """

    has_looked: bool | None = None


class LoraLibrary:
    """The LoRA files in one or more folders and their sub-folders.

    `lora_dirs` are the WebUI's LoRA folders; ones that do not exist count as empty. `sha256_of` returns the
    SHA-256 of a file as hex digits, or None; by default the file is read. It is only called for LoRAs that
    have the size of a published one or of one that `corrections` knows, in a thread of its own from the first
    scan on, and its answers are remembered. `short_hashes` returns the beginnings of the WebUI's own hashes
    of the files' tensors, as far as it has them. All methods may be called from any thread.
    """

    def __init__(
        self,
        lora_dirs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        sha256_of: Callable[[Path], str | None] | None = None,
        short_hashes: Callable[[], Mapping[Path, str]] = dict,
        corrections: RememberedMethods | None = None,
    ):
        if isinstance(lora_dirs, (str, os.PathLike)):
            lora_dirs = [lora_dirs]
        self.lora_dirs = [Path(folder) for folder in lora_dirs]
        self._hashes = FileHashes(sha256_of)
        self._short_hashes = short_hashes
        self._corrections = corrections
        self._lock = threading.RLock()
        self._looks = _Looks()
        self._contents: _Contents | None = None  # never changed, but replaced by the next look

    @property
    def files(self) -> list[LoraFile]:
        """All LoRA files of the last scan (the first is made here), whole or not, in order of depth and
        name.
        """
        return list(self._last().files)

    def scan(self) -> list[LoraFile]:
        """Look at the folders again and return the files now in them. Only new and changed files are
        opened.
        """
        return list(self._look().files)

    @contextmanager
    def seen_once(self) -> Iterator[LoraLibrary]:
        """While inside, this thread looks at the folders at most once, however much it asks: on a network
        disk a look takes its time.
        """
        before = self._looks.has_looked
        self._looks.has_looked = before or False
        try:
            yield self
        finally:
            self._looks.has_looked = before

    def candidates(self, family: Family) -> list[LoraFile]:
        """The LCM-LoRAs of `family` now in the folders, best first. Never a file of another family, nor one
        with a problem.

        The order is that of the reasons in `Choice`; equals go by conventional name, then fewer sub-folders,
        then name.
        """
        return [found.file for found in ranked(self._look().by_path.values(), family_named(family))]

    def choose(self, family: Family) -> Choice:
        """The best LCM-LoRA of `family` now in the folders, or the sentence that says why there is none and
        what to do.
        """
        contents = self._look()
        return choose(contents.by_path.values(), family_named(family), contents.unlisted, self.lora_dirs)

    def choose_best(self, family: Family, wish: Wish) -> Choice:
        """The best few-step LoRA of `family` now in the folders, whatever its method; as `choose` where there
        is none.
        """
        return choose_best(self._look().by_path.values(), family, wish) or self.choose(family)

    def distilled_from(self, sha256: str, family: Family) -> LoraFile | None:
        """The LoRA now in the folders that our distiller made of the checkpoint with this SHA-256."""
        files = [found.file for found in self._look().by_path.values()]
        made = [(file, file.distilled_from) for file in files if file.family is family]
        return next((file for file, base in made if base is not None and base[1] == sha256), None)

    def of_group(self, family: Family, group: str, steps: int) -> LoraFile | None:
        """The file now in the folders that is made by a method of this group for exactly so many steps."""
        found = of_group(self._look().by_path.values(), family, group, steps)
        return None if found is None else found.file

    def of_method(self, family: Family, method: Method) -> LoraFile | None:
        """The best file of this method for `family` now in the folders, or None."""
        found = [one for one in self._look().by_path.values() if one.file.family is family]
        of_it = [one for one in found if one.known(wait_for_hash=True)[0] is method]
        return min(of_it, key=lambda one: one.rank).file if of_it else None

    def method_of(self, file: LoraFile) -> tuple[Method | None, str | None]:
        """The method of `file`, found in the folders, and how it is known (`file.KNOWN_BY`); waits where its
        hash has to tell.
        """
        found = self._last().by_path.get(file.path)
        return (None, None) if found is None else found.known(wait_for_hash=True)

    def few_step_loras(self) -> list[tuple[LoraFile, Method, str]]:
        """The LoRAs for few steps now in the folders, each with its method and how that is known by now, in
        order of depth and name.
        """
        # only where nothing else speaks for a file is its hash worth waiting for
        known = [
            (found.file, *found.known(wait_for_hash=found.file.method is None))
            for found in self._look().by_path.values()
        ]
        return [
            (file, method, known_by)
            for file, method, known_by in known
            if method is not None and known_by is not None
        ]

    def published(self) -> dict[PublishedLora, LoraFile]:
        """The published LoRAs that are known by now to be in the folders, each with the first file of it."""
        found: dict[PublishedLora, LoraFile] = {}
        for one in self._look().by_path.values():
            if one.published is not None:
                found.setdefault(one.published, one.file)
        return found

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
        cleaned = name.strip().replace("\\", "/").strip("/")
        return self._as_it_is_now(lambda contents: contents.find(name, cleaned))

    def at(self, path: str | os.PathLike[str]) -> LoraFile | None:
        """The file at `path` (below a LoRA folder, spelled as the folder is), as it is now, or None."""
        return self._as_it_is_now(lambda contents: contents.by_path.get(Path(path)))

    def name_of(self, file: LoraFile) -> str:
        """What `file` is called: its name without ending or, where other files have that too, its path in the
        LoRA folder.

        Forward slashes, and bytes that are not UTF-8 escaped; `find` of this name gives the file again.
        """
        contents = self._last()
        found = contents.by_path.get(file.path)
        if found is None:
            return as_text(file.name)
        is_only_one = contents.same_names[file.name.casefold()] == 1
        names = [file.name, file.path.name] if is_only_one else []
        names = [as_text(name) for name in (*names, _without_ending(found.relative), found.relative)]
        return next((name for name in names if contents.find(name) is found), names[-1])

    # --------------------------------------------------------------------------------------------------------

    def _last(self) -> _Contents:
        return self._contents or self._look()

    def _as_it_is_now(self, look_up: Callable[[_Contents], Found | None]) -> LoraFile | None:
        """What `look_up` finds, after a fresh look where it finds nothing or a file that has changed."""
        found = look_up(self._last())
        if found is None or not _is_unchanged(found):
            found = look_up(self._look())
        return None if found is None else found.file

    def _look(self) -> _Contents:
        """What is in the folders now."""
        with self._lock:
            if self._contents is not None and self._looks.has_looked:
                return self._contents
            before = {} if self._contents is None else self._contents.by_path
            now, unlisted, short_hashes = {}, [], self._short_hashes()
            corrected = () if self._corrections is None else self._corrections.sizes()
            for entry, relative in _walk(self.lora_dirs):
                if entry.name.startswith("._"):  # what macOS puts beside a file on a foreign disk
                    continue
                ending = os.path.splitext(entry.name)[1].lower()
                if ending in LORA_ENDINGS:
                    path = Path(entry.path)
                    now[path] = self._found(
                        entry, path, relative, before.get(path), short_hashes.get(path), corrected
                    )
                elif "lcm" in entry.name.lower() and ending not in _COMPANIONS:
                    unlisted.append(Path(entry.path))
            if self._contents is None or (now, unlisted) != (before, self._contents.unlisted):
                self._contents = _Contents(now.values(), unlisted)
            if self._looks.has_looked is not None:
                self._looks.has_looked = True
            return self._contents

    def _found(
        self,
        entry: os.DirEntry[str],
        path: Path,
        relative: str,
        known: Found | None,
        short: str | None,
        corrected: Collection[int],
    ) -> Found:
        try:
            status = entry.stat()
            size, mtime_ns = status.st_size, status.st_mtime_ns
        except OSError:
            size, mtime_ns = -1, -1  # vanished, or a dangling link: `inspect_lora` finds the words
        # A file with a problem is looked at again: a permission can come back without the size or the time
        # changing.
        if (
            known is None
            or (known.size, known.mtime_ns) != (size, mtime_ns)
            or known.file.problem is not None
        ):
            file = inspect_lora(path, relative)
        else:
            file = known.file
        # asked for here, so that it is known by the time that somebody waits for it
        needs_hash = may_be_published(file) or size in corrected
        sha256 = self._hashes.request(path, size, mtime_ns) if needs_hash else None
        corrections = self._corrections if size in corrected else None
        return Found(
            file, relative, size, mtime_ns, sha256, short, None if corrections is None else corrections.get
        )


def _walk(folders: Iterable[Path]) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Every file below `folders` with its path in there, each real folder once (links may form loops), in a
    fixed order.
    """
    visited = set()
    for root in folders:
        level = [(str(root), "")]
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
                        yield entry, prefix + entry.name
            level = below


def as_text(name: str) -> str:
    r"""A file's name as every page and JSON can hold it: where Linux has bytes in it that are not UTF-8,
    which Python reads as half a character each, such a half is spelled out ("\udcff").
    """
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")


def _without_ending(name: str) -> str:
    return os.path.splitext(name)[0]


def _is_unchanged(found: Found) -> bool:
    try:
        status = os.stat(found.file.path)
    except (OSError, ValueError):
        return False
    return (status.st_size, status.st_mtime_ns) == (found.size, found.mtime_ns)
