"""Downloads in the background, from a hub on this machine."""

import hashlib
import random
import threading
from dataclasses import replace

import pytest

from lib_lcm import families
from lib_lcm.families import Family
from lib_lcm.lora import background, download
from lib_lcm.lora.background import DONE, FAILED, IDLE, RUNNING, Downloads, DownloadState
from lib_lcm.lora.catalog import OPENRAIL, PublishedLora
from lib_lcm.lora.download import DownloadError
from tests.hub import Hub
from tests.waiting import wait_for

CONTENT = random.Random(7).randbytes(300_000)


def lora_of(family: Family) -> PublishedLora:
    return PublishedLora(
        family, "lcm", f"lora_{family}", f"someone/{family}", "weights.safetensors", OPENRAIL,
        (hashlib.sha256(CONTENT).hexdigest(),), megabytes=0, size=len(CONTENT),
    )  # fmt: skip


SD15, SDXL = lora_of(families.SD15), lora_of(families.SDXL)


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 4096)
    monkeypatch.setattr(download, "RETRY_WAIT", 0.01)
    hub = Hub(CONTENT)
    for name, value in hub.environment.items():
        monkeypatch.setenv(name, value)
    yield hub
    hub.stop()


def ended(downloads, lora) -> DownloadState:
    return wait_for(lambda: (state := downloads.state(lora)).state != RUNNING and state)


def test_progress_can_be_followed_to_the_end(hub, tmp_path):
    hub.script = ["stall"]
    downloads = Downloads()
    assert downloads.state(SD15) == DownloadState(IDLE, 0, SD15.size)
    downloads.start(SD15, tmp_path)
    assert downloads.state(SD15).state == RUNNING
    wait_for(lambda: downloads.state(SD15).done > 0)
    assert downloads.state(SDXL).state == IDLE
    seen = []

    def progress(done, total):
        seen.append((done, total))
        hub.may_go_on.set()

    downloads.follow(SD15, progress)
    assert 0 < seen[0][0] < SD15.size and seen[-1] == (SD15.size, SD15.size)
    assert downloads.state(SD15) == DownloadState(DONE, SD15.size, SD15.size)


def test_the_total_is_an_estimate_until_the_server_has_said_it(hub, tmp_path):
    hub.content = CONTENT * 3 + CONTENT[:40_000]
    about = replace(SD15, size=None, megabytes=1, sha256=(hashlib.sha256(hub.content).hexdigest(),))
    hub.gate = threading.Barrier(2)
    downloads = Downloads()
    assert downloads.state(about) == DownloadState(IDLE, 0, 1_000_000)
    downloads.start(about, tmp_path)
    assert downloads.state(about) == DownloadState(RUNNING, 0, 1_000_000)
    hub.gate.wait(60)
    assert ended(downloads, about) == DownloadState(DONE, 940_000, 940_000)


def test_starting_again_while_it_runs_starts_nothing(hub, tmp_path):
    hub.script = ["stall"]
    downloads = Downloads()
    for _ in range(3):
        downloads.start(SD15, tmp_path)
        wait_for(lambda: hub.requests)
    followers = [
        threading.Thread(target=downloads.follow, args=(SD15, lambda done, total: None)) for _ in range(3)
    ]
    for follower in followers:
        follower.start()
    hub.may_go_on.set()
    for follower in followers:
        follower.join()
    assert downloads.state(SD15).state == DONE
    assert len(hub.requests) == 2  # the one that stalled, and the one that went on


def test_different_files_are_downloaded_side_by_side(hub, tmp_path):
    hub.gate = threading.Barrier(2)
    downloads = Downloads()
    for lora in (SD15, SDXL):
        downloads.start(lora, tmp_path)
    assert [ended(downloads, lora).state for lora in (SD15, SDXL)] == [DONE, DONE]


def test_a_failure_is_one_sentence_and_can_be_tried_again(hub, tmp_path):
    hub.script = [404]
    downloads = Downloads()
    downloads.start(SD15, tmp_path)
    state = ended(downloads, SD15)
    assert (state.state, state.done) == (FAILED, 0) and "HTTP 404" in state.problem
    with pytest.raises(DownloadError) as caught:
        downloads.follow(SD15, lambda done, total: None)
    assert caught.value.args == (state.problem,)
    downloads.start(SD15, tmp_path)
    assert ended(downloads, SD15).state == DONE


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_unexpected_error_does_not_leave_it_running(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(background, "download_lora", None)
    downloads = Downloads()
    downloads.start(SD15, tmp_path)
    state = ended(downloads, SD15)
    assert state.state == FAILED and "TypeError" in state.problem
