"""What `--record` notes of a run of pytest, and the table that is written from it."""

import subprocess
from datetime import date

import pytest

from tests.live import record

pytest_plugins = ["pytester"]

HOST = {"host": "A1111 1.10.1", "host_commit": "82a973c0", "commit": "1234567"}
ENDED = {"passed": 3, "failed": 0, "skipped": {}, "note": ""}
TESTS = """
import pytest

@pytest.fixture
def broken():
    yield
    raise OSError

def test_that_passes(): pass
def test_that_fails(): assert False
def test_that_fails_afterwards(broken): pass
@pytest.mark.parametrize("webui", ["/some/where", "/else/where"])
def test_that_skips(webui): pytest.skip("this WebUI lacks it")
"""


def entry(day: int, *files: str, **changes) -> dict:
    return {**HOST, **ENDED, "date": f"2026-11-{day:02}", "files": list(files), **changes}


@pytest.fixture
def docs(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for page in (docs / "hosts.md", tmp_path / "README.md"):
        page.write_text(f"before\n{record.BEGIN}\nold\n{record.END}\nafter\n", encoding="utf-8")
    (docs / "hosts.json").write_text("[]", encoding="utf-8")
    return docs


def run(pytester, docs, *arguments):
    plugin = record.Record("A1111 1.10.1@82a973c0", docs=docs)
    pytester.inline_run("-p", "no:cacheprovider", *arguments, plugins=[plugin])
    return plugin


def test_a_run_is_added_with_its_files_its_counts_and_the_reasons_of_what_was_skipped(pytester, docs):
    pytester.makepyfile(**{"tests/live/test_one": TESTS, "tests/unit/test_other": "def test_other(): pass"})
    plugin = run(pytester, docs, "tests")
    assert record.read(docs) == [
        {
            "host": "A1111 1.10.1",
            "host_commit": "82a973c0",
            "commit": plugin.commit,
            "date": date.today().isoformat(),
            "files": ["one"],
            "passed": 1,
            "failed": 2,
            "skipped": {"this WebUI lacks it": 2},
            "note": "test_that_fails, test_that_fails_afterwards",
        }
    ]
    assert "Recorded" in plugin.said
    page = (docs / "hosts.md").read_text(encoding="utf-8")
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old" not in page
    assert "| A1111 1.10.1 (82a973c0) |" in page and "| one | 1 | 2 | 2 [1] |" in page
    assert "- [1] this WebUI lacks it" in page
    row = f"| A1111 1.10.1 | {date.today().isoformat()} | {plugin.commit} | 1 | 1 | 2 | 2 |"
    assert row in (docs.parent / "README.md").read_text(encoding="utf-8")


def test_a_run_that_was_cut_short_is_not_added(pytester, docs):
    pytester.makepyfile(**{"tests/live/test_one": TESTS})
    plugin = run(pytester, docs, "-x")
    assert record.read(docs) == [] and "Not recorded" in plugin.said


def test_changes_count_beside_the_commit_but_for_the_tables_of_earlier_runs(docs, tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    code = tmp_path / "code.py"
    code.touch()
    git("init")
    git("add", ".")
    git("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "commit", "-m", "All")
    monkeypatch.setattr(record, "ROOT", tmp_path)
    record.write([entry(1, "one")], docs)
    assert "and changes" not in record.Record("A1111 1.10.1", docs=docs).commit
    code.write_text("changed", encoding="utf-8")
    assert record.Record("A1111 1.10.1", docs=docs).commit.endswith(" and changes")


def test_a_run_goes_when_newer_ones_on_its_host_cover_all_of_its_files():
    old, api, page = entry(1, "api", "page"), entry(2, "api"), entry(3, "page")
    other = entry(1, "api", host="Forge")
    assert record.in_order([api, old, other]) == [api, old, other]
    assert record.in_order([page, api, old, other]) == [page, api, other]
    again = entry(2, "api", commit="7654321")
    assert record.in_order([again, api]) == [again]  # of one day, the first is the newer


def test_hosts_are_in_the_order_of_their_versions():
    hosts = ["Forge", "A1111 1.10.1", "A1111 1.9.4"]
    entries = record.in_order([entry(1, "api", host=host) for host in hosts])
    assert [one["host"] for one in entries] == ["A1111 1.9.4", "A1111 1.10.1", "Forge"]


def test_readme_has_the_newest_run_of_each_webui():
    entries = [entry(1, "api", "page", passed=9), entry(2, "api", passed=5), entry(1, "api", host="Forge")]
    assert record.summary(entries).splitlines()[2:] == [
        "| A1111 1.10.1 | 2026-11-02 | 1234567 | 1 | 5 | 0 | 0 |",
        "| Forge | 2026-11-01 | 1234567 | 1 | 3 | 0 | 0 |",
    ]


def test_many_files_are_counted_and_a_bar_ends_no_cell():
    table = record.table([entry(1, *"abcdefghi", note="a | b", host_commit="")])
    assert "| A1111 1.10.1 (commit unknown) |" in table and "| 9 files | 3 | 0 | 0 | a \\| b |" in table


def test_the_page_shows_what_the_file_holds():
    entries = record.read()
    assert entries == record.in_order(entries), "run `python -m tests.live.record`"
    assert record.table(entries) in (record.DOCS / "hosts.md").read_text(encoding="utf-8")
    assert record.summary(entries) in (record.ROOT / "README.md").read_text(encoding="utf-8")
    keys = set(entry(1, "api"))
    assert all(set(one) == keys for one in entries)
