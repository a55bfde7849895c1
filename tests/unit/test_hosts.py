"""`python dev.py hosts`: the live suite on a list of installed WebUIs."""

import json
import subprocess
import sys

import pytest

from tests.live import hosts

WEBUIS = {
    "A1111 1.10.1": {"folder": "/a1111", "commit": "82a973c0", "args": "--use-cpu all --no-half"},
    "Forge": {"folder": "/forge", "python": "/forge/bin/python", "models": "/models", "name": "forge"},
}


@pytest.fixture
def listed(tmp_path):
    file = tmp_path / "hosts.json"
    file.write_text(json.dumps(WEBUIS), encoding="utf-8")
    return file


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.live.hosts", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=hosts.ROOT)


def test_what_the_list_says_becomes_options_of_the_tests(listed):
    a1111, forge = hosts.read(listed).items()
    assert hosts.arguments_of(*a1111, ["tests/live/test_page.py"], 90) == [
        "tests/live/test_page.py", "--webui=/a1111", "--record=A1111 1.10.1@82a973c0",
        "--webui-args=--use-cpu all --no-half", "--minutes=90",
    ]  # fmt: skip
    assert hosts.arguments_of(*forge, ["tests/live"], None) == [
        "tests/live", "--webui=/forge", "--record=Forge", "--webui-python=/forge/bin/python",
        "--webui-models=/models", "--webui-name=forge",
    ]  # fmt: skip


def test_the_tests_are_run_for_each_name_and_end_when_the_time_is_over(listed):
    done = run("Forge", "--list", listed, "--files", "tests/unit/test_texts.py", "--minutes", "0")
    assert "== Forge" in done.stdout and "== A1111" not in done.stdout
    assert "0 minutes are over" in done.stdout and "Not recorded" in done.stdout
    assert done.returncode != 0


@pytest.mark.parametrize(
    "content,sentence",
    [
        (None, "cannot be read"),
        ("{", "is no JSON"),
        ("[]", "correct it"),
        ('{"Forge": {"args": ""}}', "Forge in .* has no folder"),
        ('{"Forge": {"folder": "x", "arg": ""}}', "Forge in .* has arg"),
    ],
)
def test_a_list_that_cannot_be_used_gets_one_sentence(tmp_path, content, sentence):
    file = tmp_path / "hosts.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(hosts.ListProblem, match=sentence):
        hosts.read(file)


def test_a_name_that_is_not_listed_is_told_with_those_that_are(listed):
    done = run("reForge", "--list", listed)
    assert done.returncode == 2 and "has no reForge, but A1111 1.10.1, Forge." in done.stderr
