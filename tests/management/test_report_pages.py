"""The pages that `--report x.html` leaves, whether a command succeeds, is refused or fails."""

from __future__ import annotations

import html
import io
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from migrator.management.drivers import driver_versions
from tests.databases.snapshots import insert_rows
from tests.management.running import another_alias, entry_of, nothing_changes, run
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import Chapter, Tag

SQLITE = Pair("sqlite_a", "sqlite_b")


@pytest.fixture
def sqlite(databases: FreshDatabases) -> Pair:
    databases.fresh(*SQLITE)
    insert_rows(Tag, SQLITE.source, [{"id": 1, "name": "fine"}, {"id": 2, "name": "<b>also</b>"}])
    return SQLITE


def move(pair: Pair, report: Path, *more: str | Path) -> tuple[int, str]:
    """Move tags and chapters; return the exit code and the page."""
    ends = ("--source", pair.source, "--dest", pair.dest, "--no-input", "--report", report)
    code = run("batch_migrate", "testapp.Tag", "testapp.Chapter", *ends, *more).code
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    return code, html.unescape(report.read_text(encoding="utf-8"))


def test_the_page_of_a_move_has_its_figures_its_times_and_its_command(sqlite: Pair, tmp_path: Path) -> None:
    code, page = move(sqlite, tmp_path / "move.html", "--verify", "full")
    assert code == 0
    assert "<strong>DONE</strong>" in page
    assert "<b>2</b> rows copied" in page
    assert "<b>0</b> rows rejected" in page
    assert "<b>0</b> rows differing<small>all values compared</small>" in page
    assert (
        f"<code>manage.py batch_migrate testapp.Tag testapp.Chapter --source {sqlite.source} --dest {sqlite.dest}"
        in page.replace(f"<code>{Path(sys.executable).name} ", "<code>")
    )
    assert "Plan: " in page


def test_a_refused_run_leaves_a_page_that_says_why_and_what_to_do(sqlite: Pair, tmp_path: Path) -> None:
    insert_rows(Tag, sqlite.dest, [{"id": 7, "name": "mine"}])
    with nothing_changes(*sqlite):
        code, page = move(sqlite, tmp_path / "move.html")
    assert code == 1
    assert "<strong>REFUSED</strong>" in page
    assert "rows that will be LOST" in page
    assert "Plan: " in page


def orphan(pair: Pair) -> None:
    """Give the source a chapter whose tag is missing."""
    insert_rows(Chapter, pair.source, [{"id": 5, "tag_id": 99, "title": "lost", "_order": 0}])


def test_what_stops_a_run_is_an_open_point_each(sqlite: Pair, tmp_path: Path) -> None:
    orphan(sqlite)
    code, page = move(sqlite, tmp_path / "move.html")
    assert code == 1
    assert "Nothing was written. 1 problem stops this run." in page
    assert "<b>Problem:</b> testapp.Chapter: 1 row has no matching row" in page
    assert "Fix what is listed above, and run the command again." in page
    assert "--on-error skip --rejects FILE" in page


def test_rejected_rows_are_listed_as_such_and_not_as_differing(sqlite: Pair, tmp_path: Path) -> None:
    orphan(sqlite)
    skipping = ("--on-error", "skip", "--rejects", tmp_path / "rejects.jsonl", "--verify", "full")
    code, page = move(sqlite, tmp_path / "move.html", *skipping)
    assert code == 4
    assert "<b>1</b> rows rejected" in page
    assert "<b>0</b> rows differing" in page
    assert "Rejected rows, which the destination lacks" in page
    assert "Rows that differ" not in page


def test_differing_rows_are_a_table_with_their_values(sqlite: Pair, tmp_path: Path) -> None:
    insert_rows(Tag, sqlite.dest, [{"id": 1, "name": "fine"}, {"id": 2, "name": "other"}])
    report = tmp_path / "compared.html"
    ends = ("--source", sqlite.source, "--dest", sqlite.dest, "--report", report)
    assert run("verify_counts", "testapp.Tag", *ends, "--mode", "full", "--show-values").code == 3
    page = report.read_text(encoding="utf-8")
    row = '<th scope="row">testapp.Tag</th><td>2</td><td>changed</td><td>name</td>'
    assert f"{row}<td>&#x27;&lt;b&gt;also&lt;/b&gt;&#x27;</td><td>&#x27;other&#x27;</td>" in page.replace("\n", "")
    assert "<b>1</b> rows differing" in page
    assert "testapp.Tag 2: changed" not in page


def test_a_command_that_reaches_no_database_leaves_a_page_too(sqlite: Pair, tmp_path: Path) -> None:
    with another_alias("gone", **entry_of(sqlite.source, NAME=str(tmp_path / "gone.sqlite3"))):
        code, page = move(Pair("gone", sqlite.dest), tmp_path / "move.html")
    assert code == 1
    assert "<h1>batch_migrate</h1>" in page
    assert "<strong>REFUSED</strong>" in page
    assert "gone.sqlite3" in page


def test_a_mistyped_command_leaves_the_report_of_an_earlier_run(sqlite: Pair, tmp_path: Path) -> None:
    report = tmp_path / "move.html"
    report.write_text("earlier")
    assert run("batch_migrate", "--source", sqlite.source, "--dest", "nowhere", "--report", report).code == 2
    assert report.read_text() == "earlier"


def test_a_call_from_python_is_not_taken_for_a_command_line(
    sqlite: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["gunicorn", "--bind=8000"])
    report = tmp_path / "compared.html"
    with pytest.raises(CommandError):
        call_command("verify_counts", "testapp.Tag", source=sqlite.source, dest=sqlite.dest, report=report,
                     stdout=io.StringIO(), stderr=io.StringIO())  # fmt: skip
    page = report.read_text(encoding="utf-8")
    assert "<code>verify_counts, called from Python</code>" in page
    assert "gunicorn" not in page


def test_drivers_have_versions_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("fancydb.compat", "tupledb", "sqlite3.dbapi2")
    used = [SimpleNamespace(Database=SimpleNamespace(__name__=name)) for name in names]
    monkeypatch.setattr(type(connections), "all", lambda self, initialized_only: used)
    fancy = SimpleNamespace(__name__="fancydb", __version__="2.9.9 (dt dec)")
    monkeypatch.setitem(sys.modules, "fancydb", fancy)
    tupled = SimpleNamespace(__name__="tupledb", version_info=(2, 2, 7, "final", 0))
    monkeypatch.setitem(sys.modules, "tupledb", tupled)
    found = driver_versions()
    assert (found["fancydb"], found["tupledb"]) == ("2.9.9", "2.2.7")
    assert "sqlite3" not in found
