"""The runs on real WebUIs: one entry a run in docs/hosts.json, shown as the table in docs/hosts.md, and the
newest of each WebUI in README.md.

    python dev.py test tests/live --webui DIR --record "A1111 1.10.1@82a973c0"   adds the entry of this run
    python -m tests.live.record                                                  writes the tables anew

An entry, {"host": "A1111 1.10.1", "host_commit": "82a973c0", "commit": ours, "date": "2026-11-28", "files":
["api", ...], "passed": 77, "failed": 0, "skipped": {reason: number}, "note": ""}, stays until newer runs on
its host have covered all of its files.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BEGIN, END = "<!-- from hosts.json: begin -->", "<!-- end -->"
MOST_NAMES = 8
"""Names of files that a cell of the table holds; beyond it, how many they are."""


class Record:
    """A plugin of pytest that adds the entry of its run to the folder `docs`.

    `host` is "name@commit"; without "@commit", git is asked in the folder `webui`, where that is a clone.
    Raises UsageError where this repository is none: nobody could tell what was tested.
    """

    def __init__(self, host: str, webui: Path | None = None, docs: Path = DOCS):
        self.host, _, self.host_commit = host.partition("@")
        if not self.host_commit and webui is not None and (webui / ".git").exists():
            self.host_commit = _git(webui, "rev-parse", "--short=8", "HEAD")
        self.commit = _git(ROOT, "rev-parse", "--short", "HEAD")
        if not self.commit:
            raise pytest.UsageError(f"--record needs {ROOT} to be a git clone.")
        # but for what records write
        if _git(ROOT, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs", ":!README.md"):
            self.commit += " and changes"
        self.docs = docs
        self.outcomes: dict[str, str] = {}
        self.skipped: Counter[str] = Counter()
        self.said = ""

    def pytest_runtest_logreport(self, report) -> None:
        if not report.nodeid.startswith("tests/live/"):
            return
        if report.skipped:
            self.skipped[report.longrepr[2].removeprefix("Skipped: ")] += 1
        if report.failed or report.when == "call" or report.skipped:
            failed = report.failed or self.outcomes.get(report.nodeid) == "failed"  # its teardown may, too
            self.outcomes[report.nodeid] = "failed" if failed else report.outcome

    def pytest_sessionfinish(self, session, exitstatus) -> None:
        ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if not self.outcomes or not ended or session.shouldfail or session.shouldstop:
            self.said = "Not recorded: the run did not reach its end."
            return
        outcomes = Counter(self.outcomes.values())
        failed = {_test(nodeid): None for nodeid, what in self.outcomes.items() if what == "failed"}
        entry = {
            "host": self.host,
            "host_commit": self.host_commit,
            "commit": self.commit,
            "date": date.today().isoformat(),
            "files": sorted({Path(nodeid.partition("::")[0]).stem[5:] for nodeid in self.outcomes}),
            "passed": outcomes["passed"],
            "failed": outcomes["failed"],
            "skipped": dict(sorted(self.skipped.items())),
            "note": ", ".join(failed),
        }
        write([entry, *read(self.docs)], self.docs)
        self.said = f"Recorded in {self.docs / 'hosts.json'}."

    def pytest_terminal_summary(self, terminalreporter) -> None:
        terminalreporter.write_line(self.said)


def read(docs: Path = DOCS) -> list[dict]:
    """The entries."""
    return json.loads((docs / "hosts.json").read_text(encoding="utf-8"))


def write(entries: list[dict], docs: Path = DOCS) -> None:
    """Writes entries, the newest of a day first, as hosts.json and the tables of hosts.md and README.md."""
    entries = in_order(entries)
    text = json.dumps(entries, indent=1, ensure_ascii=False)
    (docs / "hosts.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    for path, shown in ((docs / "hosts.md", table(entries)), (docs.parent / "README.md", summary(entries))):
        before, rest = path.read_text(encoding="utf-8").split(BEGIN)
        page = before + BEGIN + "\n" + shown + END + rest.split(END, 1)[1]
        path.write_text(page, encoding="utf-8", newline="\n")


def in_order(entries: list[dict]) -> list[dict]:
    """The entries by host, the newest first, without those whose files all have newer ones."""
    newest_first = sorted(entries, key=lambda entry: entry["date"], reverse=True)
    kept, covered = [], set()
    for entry in newest_first:
        files = {(entry["host"], file) for file in entry["files"]}
        if not files <= covered:
            kept.append(entry)
            covered |= files
    return sorted(kept, key=lambda entry: _natural(entry["host"]))


def table(entries: list[dict]) -> str:
    """The entries as Markdown, with the reasons of skipped tests below."""
    reasons = list(dict.fromkeys(reason for entry in entries for reason in entry["skipped"]))
    lines = [
        "| WebUI | our commit | date | files of `tests/live` | passed | failed | skipped | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        files, skipped = entry["files"], entry["skipped"]
        cells = [
            f"{entry['host']} ({entry['host_commit'] or 'commit unknown'})",
            entry["commit"],
            entry["date"],
            ", ".join(files) if len(files) <= MOST_NAMES else f"{len(files)} files",
            entry["passed"],
            entry["failed"],
            ", ".join(f"{number} [{reasons.index(reason) + 1}]" for reason, number in skipped.items()) or 0,
            entry["note"],
        ]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "Skipped because:", ""] if reasons else []
    lines += [f"- [{number}] {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(lines) + "\n"


def summary(entries: list[dict]) -> str:
    """The newest entry of each WebUI as Markdown."""
    newest: dict[str, dict] = {}
    for entry in in_order(entries):
        newest.setdefault(entry["host"], entry)
    lines = ["| WebUI | run on | our commit | files | passed | failed | skipped |", "|---" * 7 + "|"]
    for entry in newest.values():
        skipped = sum(entry["skipped"].values())
        counts = len(entry["files"]), entry["passed"], entry["failed"], skipped
        cells = (entry["host"], entry["date"], entry["commit"], *counts)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def _test(nodeid: str) -> str:
    """The test's name alone: what follows in brackets has the WebUI's folder in it."""
    return nodeid.partition("::")[2].partition("[")[0]


def _natural(name: str) -> list:
    """A key for sorting: 1.10 after 1.9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    write(read())
