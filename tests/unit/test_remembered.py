"""What is remembered for a checkpoint outlives the process, a second WebUI on the same folder, and a broken
file.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import threading

import pytest
from filelock import FileLock

from lib_lcm.lora import remembered
from lib_lcm.lora.remembered import NotRemembered, RememberedLoras

ONE, TWO = "A" * 64, "b" * 64


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lcm-loras.json"


def test_a_choice_is_there_for_the_next_process_under_the_hash_in_any_case(path):
    RememberedLoras(path).remember(ONE, "sub/mine \U0001f600 \udcff", name="dream.safetensors")
    again = RememberedLoras(path)
    assert again.get(ONE) == again.get(ONE.lower()) == "sub/mine \U0001f600 \udcff"
    assert again.get(TWO) is None and again.get(None) is None
    assert "dream.safetensors" in path.read_text(encoding="utf-8")


def test_it_can_be_changed_and_forgotten(path):
    store = RememberedLoras(path)
    assert store.is_empty()
    store.remember(ONE, "mine")
    store.remember(TWO, "none")
    store.remember(ONE, "other")
    assert (store.get(ONE), store.get(TWO)) == ("other", "none")
    store.forget(ONE)
    store.forget(ONE)
    assert (store.get(ONE), store.get(TWO)) == (None, "none") and not store.is_empty()


def test_asking_makes_no_file(path):
    store = RememberedLoras(path)
    assert store.get(ONE) is None and store.problem is None and not path.exists()


def test_what_another_webui_writes_is_seen_and_kept(path):
    here, there = RememberedLoras(path), RememberedLoras(path)
    here.remember(ONE, "mine")
    there.remember(TWO, "theirs")
    assert (here.get(ONE), here.get(TWO)) == ("mine", "theirs")
    path.unlink()
    assert here.get(ONE) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_broken_file_counts_as_empty_is_named_and_is_kept_aside(path, content):
    path.write_bytes(content)
    store = RememberedLoras(path)
    assert store.get(ONE) is None
    assert str(path) in store.problem and store.problem.endswith(".") and store.problem.isprintable()
    store.remember(ONE, "mine")
    assert store.get(ONE) == "mine" and store.problem is None
    assert path.with_name("lcm-loras.json.broken").read_bytes() == content


def test_a_file_that_cannot_be_read_just_now_is_left_as_it_is(path, monkeypatch):
    RememberedLoras(path).remember(ONE, "mine")
    store = RememberedLoras(path)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "in use")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "read_text", refuse)
        assert str(path) in store.problem and store.get(ONE) is None
        with pytest.raises(NotRemembered, match="in use"):
            store.remember(TWO, "theirs")
    assert store.get(ONE) == RememberedLoras(path).get(ONE) == "mine" and store.problem is None


def test_entries_that_are_none_are_passed_over(path):
    entries = {ONE: {"lora": "mine"}, TWO: "x", "3": {"lora": 1}, "4": {"lora": " "}, "5": {}, "6": None}
    path.write_text("\ufeff" + json.dumps(entries), encoding="utf-8")
    store = RememberedLoras(path)
    assert [store.get(key) for key in entries] == [
        "mine",
        None,
        None,
        None,
        None,
        None,
    ] and store.problem is None


def test_a_file_that_cannot_be_written_is_named(path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    store = RememberedLoras(path)
    store.remember(ONE, "mine")
    monkeypatch.setattr(remembered, "REPLACE_WAIT", 0)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(NotRemembered) as caught:
        store.remember(ONE, "other")
    assert str(path) in str(caught.value) and "Permission denied" in str(caught.value)
    assert store.get(ONE) == "mine" and not list(path.parent.glob("*.new")), "half a file was left"
    with pytest.raises(NotRemembered):
        RememberedLoras(path / "within a file" / "x.json").remember(ONE, "mine")


def test_a_file_that_another_program_reads_just_now_is_replaced_a_moment_later(path, monkeypatch):
    real, refusals = os.replace, [PermissionError(13, "in use")] * 3

    def replace(source, target):
        if refusals:
            raise refusals.pop()
        real(source, target)

    monkeypatch.setattr(remembered, "REPLACE_WAIT", 0)
    monkeypatch.setattr(os, "replace", replace)
    RememberedLoras(path).remember(ONE, "mine")
    assert RememberedLoras(path).get(ONE) == "mine"


def test_threads_lose_nothing(path):
    store = RememberedLoras(path)

    def work(number):
        for i in range(10):
            store.remember(f"{number:032}{i:032}", "mine")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        sum(
            RememberedLoras(path).get(f"{number:032}{i:032}") == "mine"
            for number in range(4)
            for i in range(10)
        )
        == 40
    )


def _write_many(path, letter, gate):
    remembered.LOCK_TIMEOUT = 60  # this loop leaves the other process little room
    store = RememberedLoras(path)
    gate.wait()
    for i in range(30):
        store.remember(f"{letter}{i:063}", "mine")


def test_two_processes_lose_nothing(path):
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(2)
    processes = [context.Process(target=_write_many, args=(path, letter, gate)) for letter in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    store = RememberedLoras(path)
    lost = [(letter, i) for letter in "ab" for i in range(30) if store.get(f"{letter}{i:063}") is None]
    assert lost == []


def test_a_lock_that_another_process_holds_is_named(path, monkeypatch):
    store = RememberedLoras(path)
    store.remember(ONE, "mine")
    monkeypatch.setattr(remembered, "LOCK_TIMEOUT", 0.1)
    with FileLock(f"{path}.lock"):
        with pytest.raises(NotRemembered, match=re.escape(f"{path}.lock could not be locked")):
            store.remember(TWO, "theirs")
        assert (store.get(ONE), store.get(TWO)) == ("mine", None)
    store.remember(TWO, "theirs")
    assert store.get(TWO) == "theirs"


def test_it_is_written_where_no_lock_file_can_be_made(path):
    path.with_name("lcm-loras.json.lock").mkdir()
    store = RememberedLoras(path)
    store.remember(ONE, "mine")
    assert RememberedLoras(path).get(ONE) == "mine"


def _write_for_ever(path):
    store = RememberedLoras(path)
    for i in range(10**9):
        store.remember(ONE, "mine" * (i % 500 + 1))


def test_a_process_that_is_killed_leaves_a_whole_file(path):
    process = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(path,), daemon=True)
    process.start()
    try:
        while not path.exists():
            assert process.is_alive()
        for _ in range(200):
            text = path.read_text(encoding="utf-8")
            assert set(json.loads(text)[ONE.lower()]["lora"]) == set("mine")
    finally:
        process.kill()
        process.join()
    assert set(RememberedLoras(path).get(ONE)) == set("mine")
