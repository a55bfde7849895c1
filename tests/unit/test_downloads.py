import threading

import pytest

from lib_lcm.lora.catalog import OFFICIAL_LORAS
from lib_lcm.lora.download import DownloadError
from lib_lcm.lora.downloads import DONE, FAILED, IDLE, RUNNING, Downloads, DownloadState

SD15, SDXL, _ = OFFICIAL_LORAS


class Hub:
    """Stands in for `download_lora`: waits until it is told how to end."""

    def __init__(self):
        self.calls = []
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.error = None

    def __call__(self, lora, lora_dir, *, mirror, progress):
        self.calls.append((lora, lora_dir))
        progress(7, lora.size)
        self.started.set()
        self.may_end.wait(10)
        if self.error is not None:
            raise self.error


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.may_end.set()


def ended(downloads, lora) -> DownloadState:
    for thread in threading.enumerate():
        if thread.name == f"download {lora.name}":
            thread.join(10)
    return downloads.state(lora)


def test_progress_can_be_followed_to_the_end(hub, tmp_path):
    downloads = Downloads(hub)
    assert downloads.state(SD15) == DownloadState(IDLE, 0, SD15.size)
    assert downloads.start(SD15, tmp_path).state == RUNNING
    assert hub.started.wait(10)
    assert downloads.state(SD15) == DownloadState(RUNNING, 7, SD15.size)
    assert downloads.state(SDXL).state == IDLE
    hub.may_end.set()
    assert ended(downloads, SD15) == DownloadState(DONE, SD15.size, SD15.size)


def test_starting_again_while_it_runs_starts_nothing(hub, tmp_path):
    downloads = Downloads(hub)
    downloads.start(SD15, tmp_path)
    assert hub.started.wait(10)
    assert downloads.start(SD15, tmp_path).state == RUNNING
    hub.may_end.set()
    ended(downloads, SD15)
    assert hub.calls == [(SD15, tmp_path)]


def test_a_failure_is_one_sentence_and_can_be_tried_again(hub, tmp_path):
    downloads = Downloads(hub)
    hub.error = DownloadError("The hub is away.")
    hub.may_end.set()
    downloads.start(SD15, tmp_path)
    assert ended(downloads, SD15) == DownloadState(FAILED, 7, SD15.size, "The hub is away.")
    hub.error = None
    downloads.start(SD15, tmp_path)
    assert ended(downloads, SD15).state == DONE


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_unexpected_error_does_not_leave_it_running(hub, tmp_path):
    downloads = Downloads(hub)
    hub.error = RuntimeError("surprise")
    hub.may_end.set()
    downloads.start(SD15, tmp_path)
    state = ended(downloads, SD15)
    assert state.state == FAILED and "surprise" in state.problem
