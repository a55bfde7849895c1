"""lib_lcm.lora.download against a real HTTP server on this machine."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lib_lcm.families import SDXL
from lib_lcm.lora import download
from lib_lcm.lora.catalog import OPENRAIL, PublishedLora
from lib_lcm.lora.download import DownloadError, download_lora
from tests.hub import Hub
from tests.waiting import wait_for

CONTENT = random.Random(7).randbytes(300_000)
OTHER = random.Random(8).randbytes(300_000)
OLDER = random.Random(9).randbytes(1_000)
LORA = PublishedLora(
    SDXL,
    "lcm",
    "lcm_lora_test",
    "someone/some-lora",
    "pytorch_lora_weights.safetensors",
    OPENRAIL,
    (hashlib.sha256(CONTENT).hexdigest(), hashlib.sha256(OLDER).hexdigest()),
    megabytes=0,
    size=len(CONTENT),
    other_sizes=(len(OLDER),),
)
MILLION = random.Random(6).randbytes(1_040_000)
ABOUT = replace(LORA, sha256=(hashlib.sha256(MILLION).hexdigest(),), megabytes=1, size=None, other_sizes=())
ADDRESS = "/someone/some-lora/resolve/main/pytorch_lora_weights.safetensors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_TOKEN",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "CHUNK", 4096)
    monkeypatch.setattr(download, "RETRY_WAIT", 0.01)
    server = Hub(CONTENT)
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    yield server
    server.stop()


def loras_in(folder: Path) -> list[Path]:
    """What a WebUI's scan takes for LoRAs."""
    return [path for path in folder.rglob("*") if path.suffix in (".pt", ".ckpt", ".safetensors")]


def part_of(folder: Path) -> Path:
    return folder / "lcm_lora_test.safetensors.part"


def test_whole_file_arrives_under_its_conventional_name(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        assert not loras_in(tmp_path), "the file was visible before it was whole"

    path = download_lora(LORA, tmp_path, progress=progress)
    assert path == tmp_path / "lcm_lora_test.safetensors"
    assert path.read_bytes() == CONTENT
    assert sorted(tmp_path.iterdir()) == [path], "something was left behind"
    assert [address for address, _ in hub.requests] == [ADDRESS]
    assert seen[0] == (0, LORA.size) and seen[-1] == (LORA.size, LORA.size)
    assert len(seen) > 10 and [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_broken_connection_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.script = ["cut", "cut"]
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    first, *later = hub.ranges
    assert first is None and len(later) == 2
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in later]
    assert 0.25 * LORA.size < starts[0] < starts[1] < LORA.size


def test_part_of_an_earlier_call_is_used(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(CONTENT[:200_000])
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    assert hub.ranges == ["bytes=200000-"]


def test_whole_part_of_an_earlier_call_needs_no_request(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(CONTENT)
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    assert not hub.requests


def test_connection_that_keeps_breaking_leaves_the_part_and_says_so(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(CONTENT[:50_000])
    hub.script = [503] * 20
    with pytest.raises(DownloadError, match="HTTP 503.*lcm_lora_test"):
        download_lora(LORA, tmp_path)
    assert len(hub.requests) == download.ATTEMPTS
    assert part_of(tmp_path).read_bytes() == CONTENT[:50_000]
    assert not loras_in(tmp_path)


def test_server_that_cannot_resume_sends_the_whole_file_again(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(CONTENT[:50_000])
    hub.script = ["no range"]
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT


def test_server_that_gives_no_length_and_ends_early_is_asked_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, hub.content = hub.content, CONTENT[:100_000]
    hub.script = ["no length"]
    monkeypatch.setattr(download.time, "sleep", lambda seconds: setattr(hub, "content", whole))
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=100000-"]


def test_another_range_than_asked_for_is_refused(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(CONTENT[:50_000])
    hub.script = ["elsewhere"]
    with pytest.raises(DownloadError, match="another part"):
        download_lora(LORA, tmp_path)


def test_part_longer_than_the_file_is_not_taken_for_its_beginning(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(OTHER + b"more")
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    assert hub.ranges == [None]


def test_wrong_content_of_the_right_size_is_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.content = OTHER
    with pytest.raises(DownloadError, match="lcm_lora_test is not the published file.*deleted"):
        download_lora(LORA, tmp_path)
    assert not list(tmp_path.iterdir())
    hub.content = CONTENT
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT, "the failure spoiled the next attempt"


@pytest.mark.parametrize(
    ("content", "script", "offers"),
    [
        (OTHER + b"more", [], "offers 300,004 bytes"),
        (OTHER + b"more", ["no length"] * 9, "offers at least 300,004 bytes"),
        (b"<html>Please log in", [], "offers 19 bytes"),
    ],
    ids=["longer", "longer than it says", "a login page"],
)
def test_wrong_size_is_refused_at_once(
    hub: Hub, tmp_path: Path, content: bytes, script: list, offers: str
) -> None:
    hub.content, hub.script = content, script
    with pytest.raises(DownloadError, match=f"{offers} as lcm_lora_test, which has 300,000"):
        download_lora(LORA, tmp_path)
    assert len(hub.requests) == 1
    assert not loras_in(tmp_path)
    assert not part_of(tmp_path).exists() or not part_of(tmp_path).stat().st_size, (
        "the next download would go on from it"
    )


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "does not have someone/some-lora"), (418, "HTTP 418")],
)
def test_refusal_names_the_file_and_the_way_by_hand(hub: Hub, tmp_path: Path, status: int, says: str) -> None:
    hub.script = [status] * 20
    with pytest.raises(DownloadError) as caught:
        download_lora(LORA, tmp_path)
    message = str(caught.value)
    assert says in message and "lcm_lora_test" in message and LORA.url in message and "\n" not in message
    assert len(hub.requests) == 1, "asking again cannot help"
    assert not list(tmp_path.iterdir())


def test_busy_server_is_asked_again_after_the_time_it_names(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    hub.script = [("status", 429, {"Retry-After": "7"}), 500]
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    assert waits == [7.0, download.RETRY_WAIT * 4]


def test_long_wait_is_left_to_the_user(hub: Hub, tmp_path: Path) -> None:
    hub.script = [("status", 429, {"Retry-After": "3600"})]
    with pytest.raises(DownloadError, match="lcm_lora_test again in 3600 seconds"):
        download_lora(LORA, tmp_path)
    assert len(hub.requests) == 1


def test_token_goes_to_the_hub_and_not_along_a_redirect(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    elsewhere = Hub(CONTENT)
    hub.script = [("redirect", elsewhere.url.replace("127.0.0.1", "localhost"))]
    try:
        assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    finally:
        elsewhere.stop()
    assert hub.requests[0][1]["authorization"] == "Bearer hf_secret"
    assert len(elsewhere.requests) == 1
    assert "authorization" not in elsewhere.requests[0][1]


def test_unreachable_server(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Hub()
    closed.stop()
    monkeypatch.setenv("HF_ENDPOINT", closed.url)
    with pytest.raises(DownloadError, match=f"{closed.url} cannot be reached for lcm_lora_test"):
        download_lora(LORA, tmp_path)


def test_offline_mode_makes_no_request(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        download_lora(LORA, tmp_path)
    assert not hub.requests


@pytest.mark.parametrize("content", [CONTENT, OLDER], ids=["current", "earlier upload"])
def test_published_file_that_is_there_is_kept(hub: Hub, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lcm_lora_test.safetensors").write_bytes(content)
    seen: list[tuple[int, int]] = []
    path = download_lora(LORA, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == content
    assert not hub.requests and seen == [(len(content), len(content))]


def test_another_file_of_that_name_is_never_overwritten(hub: Hub, tmp_path: Path) -> None:
    target = tmp_path / "lcm_lora_test.safetensors"
    target.write_bytes(b"mine")
    with pytest.raises(DownloadError, match=re.escape(f"{target} is there already")):
        download_lora(LORA, tmp_path)
    assert target.read_bytes() == b"mine" and not hub.requests


def test_another_file_that_appears_meanwhile_is_not_overwritten(hub: Hub, tmp_path: Path) -> None:
    target = tmp_path / "lcm_lora_test.safetensors"
    with pytest.raises(DownloadError, match="is there already"):
        download_lora(LORA, tmp_path, progress=lambda done, total: target.write_bytes(b"mine"))
    assert target.read_bytes() == b"mine"


def test_missing_lora_folder_of_a_webui_is_made(hub: Hub, tmp_path: Path) -> None:
    assert download_lora(LORA, tmp_path / "Lora").read_bytes() == CONTENT


def test_missing_folder_elsewhere_is_not_made(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError, match=re.escape(f"The LoRA folder {tmp_path / 'typo' / 'Lora'} does not exist")
    ):
        download_lora(LORA, tmp_path / "typo" / "Lora")
    assert not (tmp_path / "typo").exists() and not hub.requests


def test_lora_folder_that_is_a_file(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "Lora").write_text("not a folder")
    with pytest.raises(DownloadError, match=re.escape(str(tmp_path / "Lora"))):
        download_lora(LORA, tmp_path / "Lora")


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "full"), (errno.EACCES, "may not be written"), (errno.EIO, "cannot be saved")],
)
def test_disk_that_refuses_a_write(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def refuse(file: object) -> None:
        raise OSError(number, os.strerror(number), str(part_of(tmp_path)))

    monkeypatch.setattr(download, "_to_disk", refuse)
    with pytest.raises(DownloadError, match=says):
        download_lora(LORA, tmp_path)
    assert not loras_in(tmp_path)


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_folder_without_permission(hub: Hub, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DownloadError, match="may not be written"):
            download_lora(LORA, tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("size", [{"size": 1 << 60}, {"size": None, "megabytes": 1 << 40}], ids=str)
def test_too_little_space_is_noticed_before_the_download(hub: Hub, tmp_path: Path, size: dict) -> None:
    with pytest.raises(DownloadError, match="make room"):
        download_lora(replace(LORA, **size), tmp_path)
    assert not hub.requests


def test_python_without_the_packages_is_told_to_be_the_wrong_one(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(DownloadError, match="This Python has no requests: use the WebUI's own Python"):
        download_lora(LORA, tmp_path)


def test_a_mirror_wins_over_the_environment_and_gets_no_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert download_lora(LORA, tmp_path, mirror=f" {hub.url}/ ").read_bytes() == CONTENT
    [(address, headers)] = hub.requests
    assert address == ADDRESS and "authorization" not in {name.lower() for name in headers}


@pytest.mark.parametrize(
    "mirror",
    [
        "hf-mirror.com",
        "ftp://hf-mirror.com",
        "https://",
        "http://a:b@c",
        "file:///etc",
        "http://[",
        "http://x:y",
        "C:\\hub",
    ],
)
def test_a_mirror_that_is_no_address_is_refused_with_its_name(hub: Hub, tmp_path: Path, mirror: str) -> None:
    with pytest.raises(DownloadError, match="Settings → LCM") as refused:
        download_lora(LORA, tmp_path, mirror=mirror)
    assert repr(mirror) in str(refused.value) and hub.requests == []


def test_a_proxy_of_the_environment_is_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://huggingface.invalid")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    assert [address for address, _ in hub.requests] == [f"http://huggingface.invalid{ADDRESS}"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_disk_that_is_really_full(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=re.escape(f"The disk of {tmp_path} is full: make room")):
        download_lora(LORA, tmp_path)
    assert not loras_in(tmp_path)


# --- other uploads, and files whose size is known in megabytes alone ----------------------------------------


def test_an_earlier_upload_is_taken_too(hub: Hub, tmp_path: Path) -> None:
    """A mirror may still have it."""
    hub.content = OLDER
    seen: list[tuple[int, int]] = []
    path = download_lora(LORA, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == OLDER and seen[-1] == (len(OLDER), len(OLDER))


def test_the_server_says_the_size_that_is_not_known(hub: Hub, tmp_path: Path) -> None:
    hub.content, hub.script = MILLION, ["cut"]
    seen: list[tuple[int, int]] = []
    path = download_lora(ABOUT, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == MILLION and list(tmp_path.iterdir()) == [path]
    assert seen[0] == (0, 1_000_000) and {total for _, total in seen[1:]} == {len(MILLION)}
    assert seen[-1] == (len(MILLION), len(MILLION))
    first, asked = hub.ranges
    assert first is None and asked is not None, "it did not notice the cut, or began anew"
    assert 300_000 < int(asked.removeprefix("bytes=").removesuffix("-")) <= 312_000


def test_a_part_of_a_file_of_unknown_size_is_used(hub: Hub, tmp_path: Path) -> None:
    hub.content = MILLION
    part_of(tmp_path).write_bytes(MILLION[:500_000])
    assert download_lora(ABOUT, tmp_path).read_bytes() == MILLION
    assert hub.ranges == ["bytes=500000-"]


def test_a_whole_part_of_unknown_size_is_known_by_its_sha256(hub: Hub, tmp_path: Path) -> None:
    hub.content = MILLION
    part_of(tmp_path).write_bytes(MILLION)
    assert download_lora(ABOUT, tmp_path).read_bytes() == MILLION
    assert hub.ranges == [f"bytes={len(MILLION)}-"]


def test_a_part_of_unknown_size_that_is_something_else_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hub.content = MILLION
    part_of(tmp_path).write_bytes(MILLION[::-1])
    assert download_lora(ABOUT, tmp_path).read_bytes() == MILLION
    assert hub.ranges == [f"bytes={len(MILLION)}-", None]


def test_where_nobody_knows_the_size_the_end_is_the_end(hub: Hub, tmp_path: Path) -> None:
    hub.content, hub.script = MILLION, ["no length"]
    assert download_lora(ABOUT, tmp_path).read_bytes() == MILLION
    hub.content, hub.script = MILLION[:900_000], ["no length"]
    (tmp_path / "lcm_lora_test.safetensors").unlink()
    with pytest.raises(DownloadError, match="not the published file"):
        download_lora(ABOUT, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "script", "offers"),
    [
        (b"<html>Please log in", [], "offers 19 bytes"),
        (MILLION + bytes(100_000), [], "offers 1,140,000 bytes"),
        (MILLION + bytes(100_000), ["no length"], "offers at least 1,1"),
    ],
    ids=["a login page", "longer", "longer than it says"],
)
def test_a_size_far_from_the_megabytes_is_refused_at_once(
    hub: Hub, tmp_path: Path, content: bytes, script: list, offers: str
) -> None:
    hub.content, hub.script = content, script
    with pytest.raises(DownloadError, match=f"{offers}.* as lcm_lora_test, which has about 1,000,000"):
        download_lora(ABOUT, tmp_path)
    assert len(hub.requests) == 1 and not loras_in(tmp_path)


# --- other processes ----------------------------------------------------------------------------------------


def in_another_process(hub: Hub, folder: Path) -> subprocess.Popen:
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(download.__file__).parents[2])!r})
from lib_lcm.lora import download
from lib_lcm.lora.catalog import PublishedLora
from lib_lcm.families import SDXL
download.CHUNK = 4096
lora = PublishedLora(
    SDXL, {LORA.method!r}, {LORA.name!r}, {LORA.repo!r}, {LORA.filename!r}, {LORA.licence!r}, {LORA.sha256!r},
    0, {LORA.size},
)
download.download_lora(lora, Path({str(folder)!r}))
"""
    return subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **hub.environment})


def test_a_webui_that_is_stopped_in_the_middle_leaves_nothing_that_looks_whole(
    hub: Hub, tmp_path: Path
) -> None:
    hub.script = ["stall"]
    process = in_another_process(hub, tmp_path)

    def has_begun() -> bool:
        assert process.poll() is None, "it ended by itself"
        return part_of(tmp_path).exists() and part_of(tmp_path).stat().st_size > 0

    wait_for(has_begun)
    process.kill()
    process.wait()
    assert not loras_in(tmp_path)
    kept = part_of(tmp_path).read_bytes()
    assert 0 < len(kept) < len(CONTENT) and CONTENT.startswith(kept)
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    assert hub.ranges == [None, f"bytes={len(kept)}-"] and list(tmp_path.iterdir()) == [
        tmp_path / "lcm_lora_test.safetensors"
    ]


def test_two_processes_that_get_one_file_at_once_do_not_spoil_it(hub: Hub, tmp_path: Path) -> None:
    hub.gate = threading.Barrier(2, action=lambda: setattr(hub, "gate", None))
    processes = [in_another_process(hub, tmp_path) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert len(hub.requests) >= 2 and list(tmp_path.iterdir()) == [tmp_path / "lcm_lora_test.safetensors"]
    assert (tmp_path / "lcm_lora_test.safetensors").read_bytes() == CONTENT


@pytest.mark.parametrize("moment", ["r+b", "rb", "replace"])
def test_another_process_may_be_done_at_any_moment(
    hub: Hub, tmp_path: Path, monkeypatch, moment: str
) -> None:
    """It takes the .part file away: as this one is about to write into it, to read it back, or to give it its
    name.
    """
    part, replace, moments = part_of(tmp_path), os.replace, [moment]

    def pass_by(now: str, path) -> None:
        if path == part and now in moments:
            moments.remove(now)
            part.write_bytes(CONTENT)
            replace(part, tmp_path / "lcm_lora_test.safetensors")

    def opened(path, mode):
        pass_by(mode, path)
        return open(path, mode)

    def replaced(old, new):
        pass_by("replace", old)
        replace(old, new)

    part.write_bytes(CONTENT[: len(CONTENT) // 2])
    monkeypatch.setattr(download, "open", opened, raising=False)
    monkeypatch.setattr(download.os, "replace", replaced)
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT and not moments
    assert list(tmp_path.iterdir()) == [tmp_path / "lcm_lora_test.safetensors"]


def test_what_another_process_has_just_begun_is_not_cut_off(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    """It would go on behind a hole, and take what it then reads back for a wrong file."""
    sizes = []

    def opened(path, mode):
        if mode != "rb":
            part_of(tmp_path).write_bytes(CONTENT[:100_000])
        file = open(path, mode)
        sizes.append(part_of(tmp_path).stat().st_size)
        return file

    monkeypatch.setattr(download, "open", opened, raising=False)
    assert download_lora(LORA, tmp_path).read_bytes() == CONTENT
    assert sizes[0] == 100_000


def test_a_folder_that_is_deleted_meanwhile_is_told_of(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "Lora"
    monkeypatch.setattr(download.os, "replace", lambda old, new: shutil.rmtree(folder) or os.rename(old, new))
    with pytest.raises(DownloadError, match="cannot be saved"):
        download_lora(LORA, folder)
