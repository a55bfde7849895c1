"""Gets a published LoRA: resumable, verified, and never visible half done.

Not by `hf_hub_download`: that of A1111 1.6 (0.14) takes no endpoint, gives up where a connection breaks and
reports no progress, and none compares the SHA-256 or refuses another size before it has downloaded it all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from lib_lcm import __version__
from lib_lcm.lora.catalog import PublishedLora
from lib_lcm.text import Text

if TYPE_CHECKING:
    import requests

Progress = Callable[[int, int], None]  # bytes on disk, bytes in all

CHUNK = 1 << 20  # bytes between two reports of progress
CONNECT_TIMEOUT, READ_TIMEOUT = 10, 30  # seconds
ATTEMPTS = 3  # in a row without a new byte
RETRY_WAIT = 1.0  # seconds before the first repetition; doubled for each one that brings nothing
LONGEST_WAIT = 60  # seconds; where a server asks for more, the user decides
SIZE_TOLERANCE = 0.1  # of a size that is known in megabytes alone, which may be 1000 or 1024 kilobytes

# those of huggingface_hub, and what it reads as true
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TRUE = ("1", "ON", "YES", "TRUE")


class DownloadError(Exception):
    """The file is not there; the message is one sentence that says why and what to do."""


def download_lora(
    lora: PublishedLora, lora_dir: Path, *, mirror: str = "", progress: Progress | None = None
) -> Path:
    """Puts `lora` into `lora_dir` as `<name>.safetensors` and returns that path.

    A file of that name with the content of any upload is returned as it is, without any request. What arrives
    is collected in `<name>.safetensors.part`, which a WebUI does not take for a LoRA; it stays when the
    connection breaks, and the next call goes on from there. It gets its final name in one step, once its size
    and SHA-256 are right. Where the size is not known before, it is what the server says.

    `mirror` is the address of a copy of the Hugging Face Hub; where it is given, it wins over HF_ENDPOINT,
    and no token is sent to it. `progress(done, total)` is called in bytes, at least at the start and the end.
    HF_ENDPOINT, HF_TOKEN (or a saved login), HF_HUB_OFFLINE, proxies and certificates from the environment
    are honoured. Several calls for one file, as from two WebUIs, write the same bytes to the same places;
    within a process `background` makes them one.

    Raises DownloadError with one sentence; no other exception is meant to come out.
    """
    target = Path(lora_dir) / f"{lora.name}.safetensors"
    job = _Job(lora, target, mirror, progress or (lambda done, total: None))
    with _as_sentences(job):
        if job.is_there():
            job.progress(target.stat().st_size, target.stat().st_size)
            return target
        job.check_mirror()
        job.refuse_offline()
        job.prepare_folder()
        try:
            job.fetch()
            job.verify()
            if job.is_there():  # another process was faster
                job.part.unlink(missing_ok=True)
            else:
                os.replace(job.part, target)
        except FileNotFoundError:  # another process has just given the .part file its final name
            if not job.is_there():
                raise
    return target


class _Job:
    """One file on its way to `target`; `total` is its size in bytes, None until that is known."""

    def __init__(self, lora: PublishedLora, target: Path, mirror: str, progress: Progress):
        self.lora = lora
        self.total = lora.size
        self.target = target
        self.mirror = mirror.strip()
        self.part = target.with_name(target.name + ".part")
        self.progress = progress

    @property
    def by_hand(self) -> str:
        """The way that is left when this program cannot get the file."""
        return Text(
            "download {file} from {url} by hand and save it as {target}",
            file=self.lora.filename,
            url=self.lora.url,
            target=self.target,
        )

    def problem(self, template: str, **values: object) -> DownloadError:
        """A sentence about this download; its template may name the LoRA, its place, the server and the way
        by hand.
        """
        # a Python without huggingface_hub does not know the server, and may have other things to say
        if "{server}" in template:
            values["server"] = self.endpoint
        places = {"target": self.target, "folder": self.target.parent, "by_hand": self.by_hand}
        return DownloadError(Text(template, **{"lora": self.lora.name, **places, **values}))

    def is_there(self) -> bool:
        """Whether the target has the published content; raises DownloadError when it is something else."""
        if not self.target.exists():
            return False
        if self.is_published(self.target):
            return True
        raise self.problem(
            "{target} is there already and is not the published {lora}: move or rename it, then try again."
        )

    def is_published(self, path: Path) -> bool:
        """Whether a file has the content of one of the uploads."""
        if not path.is_file():
            return False
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest() in self.lora.sha256

    def refuse_offline(self) -> None:
        for variable in _OFFLINE_VARIABLES:
            if os.environ.get(variable, "").upper() in _TRUE:
                raise self.problem(
                    "{variable} is set, so {lora} is not downloaded: unset it, or {by_hand}.",
                    variable=variable,
                )

    @property
    def endpoint(self) -> str:
        """The address of the Hugging Face Hub, or of a mirror."""
        return self.mirror.rstrip("/") or _endpoint()

    def check_mirror(self) -> None:
        if self.mirror and not is_mirror(self.mirror):
            raise self.problem(
                "The download mirror {mirror!r} in Settings → LCM is no address such as"
                " https://hf-mirror.com: correct or empty it.",
                mirror=self.mirror,
            )

    def prepare_folder(self) -> None:
        folder = self.target.parent
        if not folder.is_dir():
            if not folder.parent.is_dir():
                raise self.problem("The LoRA folder {folder} does not exist: create it or name another one.")
            folder.mkdir(exist_ok=True)
        missing = self.lora.expected_size - self.size_so_far()
        free = shutil.disk_usage(folder).free
        if free < missing:
            raise self.problem(
                "{lora} needs {needed} in {folder}, where {free} are free: make room, then try again.",
                needed=_megabytes(missing),
                free=_megabytes(free),
            )

    @property
    def at_most(self) -> int:
        """The bytes that it has at most."""
        return int(self.lora.expected_size * (1 + SIZE_TOLERANCE)) if self.total is None else self.total

    def size_so_far(self) -> int:
        """Bytes of the file that have arrived earlier."""
        try:
            size = self.part.stat().st_size
        except FileNotFoundError:
            return 0
        if size > self.at_most:  # cannot be a beginning of this file
            self.part.unlink()
            return 0
        return size

    def fetch(self) -> None:
        """Fills the `.part` file, over as many connections as that takes."""
        failures = 0
        while (before := self.size_so_far()) != self.total:
            self.tell(before)
            try:
                self.fetch_some(before)
            except _TryAgain as failure:
                failures = 0 if self.size_so_far() > before else failures + 1
                if failures >= ATTEMPTS:
                    raise failure.problem from failure.__cause__
                time.sleep(failure.wait if failure.wait is not None else RETRY_WAIT * 2**failures)
        self.tell(before)

    def tell(self, done: int) -> None:
        self.progress(done, max(done, self.lora.expected_size) if self.total is None else self.total)

    def fetch_some(self, offset: int) -> None:
        """Goes on from `offset` (bytes) over one connection.

        Raises _TryAgain where another attempt may do better, DownloadError where none will.
        """
        import requests

        try:
            with self.request(offset) as response:
                if response.status_code == 416 and self.is_published(self.part):
                    self.total = offset  # which only now is known to be all
                else:
                    self.receive(response, self.start_of(response, offset))
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            if isinstance(error, requests.exceptions.SSLError):
                raise self.problem(
                    "The certificate of {server} is not trusted here, as happens behind company proxies: set"
                    " REQUESTS_CA_BUNDLE, or {by_hand}."
                ) from error
            if self.size_so_far():
                raise self.broken() from error
            raise _TryAgain(
                self.problem(
                    "{server} cannot be reached for {lora}: check the network and proxy, or {by_hand}."
                )
            ) from error
        except requests.RequestException as error:
            raise self.problem(
                "{lora} cannot be downloaded ({error}): {by_hand}.", error=str(error)
            ) from error

    def receive(self, response: requests.Response, start: int) -> None:
        """Writes what comes to where it belongs, `start` bytes behind the beginning."""
        self.part.touch()  # unlike "wb", leaves what another process has just begun
        with open(self.part, "r+b") as file:
            file.seek(start)
            for chunk in response.iter_content(CHUNK):
                if (size := file.tell() + len(chunk)) > self.at_most:
                    file.truncate(0)
                    raise self.wrong_size(Text("at least {size:,}", size=size))
                file.write(chunk)
                self.tell(file.tell())
            done = file.tell()
            _to_disk(file)
        if self.total is None:  # nor has the server told: its end is the end
            self.total = done
        if done < self.total:
            raise self.broken()

    def broken(self) -> _TryAgain:
        return _TryAgain(
            self.problem(
                "The connection broke while {lora} was downloading: try again, it goes on where it stopped;"
                " or {by_hand}."
            )
        )

    def request(self, offset: int) -> requests.Response:
        import requests

        # "identity": lengths and ranges then count the bytes of the file itself.
        headers = ({} if self.mirror else _hub_headers()) | {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        address = f"{self.endpoint}/{self.lora.repo}/resolve/main/{self.lora.filename}"
        return requests.get(address, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT))

    def start_of(self, response: requests.Response, offset: int) -> int:
        """Where in the file the body of `response` begins, in bytes; raises what its status calls for."""
        status = response.status_code
        if status == 206:
            start, total = _content_range(response)
            if start is None or start > offset:
                raise self.problem("{server} sent another part of {lora} than the one asked for: {by_hand}.")
            self.learn(total)
            return start
        if status == 200:
            length = response.headers.get("Content-Length")
            self.learn(None if length is None else int(length))
            return 0  # a server that cannot resume: the same bytes over again
        if status == 416:  # what is there is no beginning of what the server has
            self.part.unlink(missing_ok=True)
            raise _TryAgain(self.problem("{server} cannot go on with the download of {lora}: {by_hand}."))
        if status in (401, 403):
            raise self.problem(
                "{server} refused {lora} (HTTP {status}): remove or renew HF_TOKEN or the saved login, which"
                " the file does not need, or {by_hand}.",
                status=status,
            )
        if status in (404, 410):
            raise self.problem(
                "{server} does not have {file} (HTTP {status}): {by_hand}.",
                file=f"{self.lora.repo}/{self.lora.filename}",
                status=status,
            )
        if status == 429 or status >= 500:
            wait = _retry_after(response)
            later = Text("in {seconds:.0f} seconds", seconds=wait) if wait else Text("in a few minutes")
            problem = self.problem(
                "{server} is asked for too much at the moment (HTTP {status}): try {lora} again {later}."
                if status == 429
                else "{server} has a problem of its own (HTTP {status}): try {lora} again {later}.",
                status=status,
                later=later,
            )
            if wait is not None and wait > LONGEST_WAIT:
                raise problem
            raise _TryAgain(problem, wait)
        raise self.problem("{server} answered HTTP {status} for {lora}: {by_hand}.", status=status)

    def learn(self, total: int | None) -> None:
        """Takes the size that the server says, None where it says none; refuses one that no upload has."""
        expected = self.lora.expected_size
        is_about = self.lora.size is None and abs((total or 0) - expected) <= SIZE_TOLERANCE * expected
        if total is not None and not is_about and total not in self.lora.sizes:
            raise self.wrong_size(Text("{size:,}", size=total))
        self.total = total or self.total

    def wrong_size(self, offered: Text) -> DownloadError:
        expected = self.lora.expected_size
        return self.problem(
            "{server} offers {offered} bytes as {lora}, which has {size}: see whether a login page or"
            " HF_ENDPOINT answers in its place, or {by_hand}.",
            offered=offered,
            size=Text("about {size:,}" if self.lora.size is None else "{size:,}", size=expected),
        )

    def verify(self) -> None:
        """Reads the `.part` file back from the disk; deletes it and raises DownloadError when it is not the
        published one.
        """
        if self.part.exists() and not self.is_published(self.part):
            self.part.unlink(missing_ok=True)
            raise self.problem(
                "What arrived as {lora} is not the published file (its SHA-256 differs) and was deleted: try"
                " again, or {by_hand}."
            )


class _TryAgain(Exception):
    """An attempt failed in a way that another one may not, after `wait` seconds where the server named a
    time.
    """

    def __init__(self, problem: DownloadError, wait: float | None = None):
        super().__init__(problem)
        self.problem = problem
        self.wait = wait


@contextlib.contextmanager
def _as_sentences(job: _Job) -> Iterator[None]:
    """Turns what the file system, or a Python without the WebUI's packages, may raise into DownloadError."""
    try:
        yield
    except ImportError as error:
        raise job.problem(
            "This Python has no {package}: use the WebUI's own Python, or {by_hand}.", package=error.name
        ) from error
    except PermissionError as error:
        raise job.problem(
            "{path} may not be written: allow that, or close the program that has it open, then try again.",
            path=error.filename or job.target.parent,
        ) from error
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        raise job.problem(
            "The disk of {folder} is full: make room, then try again; {lora} goes on where it stopped."
            if is_full
            else "{lora} cannot be saved in {folder} ({error}): correct that, or name another folder.",
            error=str(error),
        ) from error


def is_mirror(address: str) -> bool:
    """Whether a text can be the address of a mirror: http or https, a host, and no password."""
    try:
        parts = urlsplit(address)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and not (parts.username or parts.password)
            and parts.port != 0
        )
    except ValueError:  # a port that is no number, a bracket too many
        return False


def _endpoint() -> str:
    """The address of the Hugging Face Hub, or of the mirror in HF_ENDPOINT."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _hub_headers() -> dict[str, str]:
    """User agent and, where there is one, the token; the same call in every huggingface_hub from 0.15 to
    2.
    """
    import huggingface_hub.utils as utils

    # HF_TOKEN by name: before 0.18 huggingface_hub read another variable. None: it looks for a saved login.
    token = os.environ.get("HF_TOKEN") or None
    headers = utils.build_hf_headers(  # type: ignore[attr-defined]
        token=token, library_name="sd-webui-lcm", library_version=__version__
    )
    return dict(headers)


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """`Content-Range: bytes 30-99/100` -> (30, 100); None for what is not given."""
    found = re.fullmatch(r"bytes (\d+)-\d*/(\d+|\*)", response.headers.get("Content-Range", ""))
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _retry_after(response: requests.Response) -> float | None:
    """The seconds that the server asks to wait; None where it gives none, or a date."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _to_disk(file: BinaryIO) -> None:
    """After a power cut, too, the file has what was written, so that its later name can be trusted."""
    file.flush()
    os.fsync(file.fileno())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
