"""The report of a run tells where the time went: by table, in reading, converting, writing and indexes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.console.report_html import to_html
from migrator.console.report_text import to_text
from migrator.console.reports import to_json
from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.findings import Finding
from migrator.databases.reports.plan import plan_report
from migrator.databases.reports.run import SHOWN_TABLES, result_report
from migrator.databases.row_counts import RowCounts
from tests.databases.snapshots import insert_rows
from tests.management.running import facts
from tests.pairs import in_turn
from tests.testapp.models import Chapter, Tag, TreeNode

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases, Pair

TIMES = {
    "testapp_tag": RowCounts(1000, 1000, 0, 2048, reading=1.5, converting=0.25, writing=2.25, indexing=0.0),
    "testapp_chapter": RowCounts(2000, 2000, 0, 4096, reading=0.5, converting=0.0, writing=0.5, indexing=4.0),
    "testapp_treenode": RowCounts(10, 10, 0, 64, reading=0.001, converting=0.001, writing=0.002, indexing=0.003),
}
GRID = """\
Where the time went, in seconds
  model            reading  converting  writing  indexes  all
  ---------------  -------  ----------  -------  -------  ---
  testapp.Chapter      0.5         0.0      0.5      4.0  5.0
  testapp.Tag          1.5         0.2      2.2      0.0  4.0
  1 other table        0.0         0.0      0.0      0.0  0.0
  ---------------  -------  ----------  -------  -------  ---
  total                2.0         0.3      2.8      4.0  9.0
"""


@pytest.fixture
def outcome(databases: FreshDatabases) -> RunResult:
    return moved("sqlite_a", "sqlite_b", databases)


def moved(source: str, dest: str, databases: FreshDatabases) -> RunResult:
    databases.fresh(source, dest)
    insert_rows(Tag, source, [{"id": n, "name": f"tag {n}"} for n in range(1, 100)])
    insert_rows(Chapter, source, [{"id": n, "title": "x", "tag_id": n, "_order": 0} for n in range(1, 100)])
    insert_rows(TreeNode, source, [{"id": n, "name": f"{n}"} for n in range(1, 100)])
    return batch_migrate(source=source, dest=dest, labels=[model._meta.label for model in (Tag, Chapter, TreeNode)])


@in_turn
@pytest.mark.usefixtures("few_rows_are_many")
def test_measures_the_indexes_of_each_table(pair: Pair, databases: FreshDatabases) -> None:
    tallies = moved(*pair, databases).row_counts
    assert tallies["testapp_treenode"].indexing > 0
    assert tallies["testapp_tag"].indexing == 0, "it has none that are dropped"
    assert all(tally.seconds > 0 for tally in tallies.values())


def test_shows_the_slowest_tables_first(outcome: RunResult) -> None:
    report = result_report(replace(outcome, row_counts=TIMES))
    assert GRID in to_text(report, is_full=True) + "\n"
    text = to_text(report)
    assert "Where the time went" not in text
    assert facts(text)["slowest"] == "testapp.Chapter 5.0 s, testapp.Tag 4.0 s"


def test_shows_no_more_tables_than_can_be_read(outcome: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.databases.reports.run.SHOWN_TABLES", 1)
    text = to_text(result_report(replace(outcome, row_counts=TIMES)), is_full=True)
    _, _, grid = text.partition("Where the time went, in seconds\n")
    assert [line.split()[0] for line in grid.splitlines()[2:4]] == ["testapp.Chapter", "2"]
    assert SHOWN_TABLES == 10


def test_says_nothing_of_a_run_that_was_quick(outcome: RunResult) -> None:
    quick = {name: RowCounts(1, 1, writing=0.01) for name in TIMES}
    text = to_text(result_report(replace(outcome, row_counts=quick)), is_full=True)
    assert "Where the time went" not in text
    assert "slowest" not in facts(text)


def test_programs_get_the_times_of_every_table(outcome: RunResult) -> None:
    document = json.loads(to_json(result_report(replace(outcome, row_counts=TIMES))))
    by_table = {table["table"]: table for table in document["tables"]}
    assert by_table["testapp_chapter"] == {
        "label": "testapp.Chapter",
        "table": "testapp_chapter",
        "rows_read": 2000,
        "rows_written": 2000,
        "rows_before": 0,
        "rows_rejected": 0,
        "bytes_written": 4096,
        "seconds_reading": 0.5,
        "seconds_converting": 0.0,
        "seconds_writing": 0.5,
        "seconds_indexing": 4.0,
        "rows_per_second": 2000,
    }
    assert by_table["testapp_treenode"]["rows_per_second"] is None, "too quick to tell"
    assert by_table["testapp_treenode"]["seconds_indexing"] == 0.003


def test_the_page_has_the_same_times(outcome: RunResult) -> None:
    page = to_html(result_report(replace(outcome, row_counts=TIMES)))
    assert "<caption>Where the time went, in seconds</caption>" in page
    assert '<th scope="row">testapp.Chapter</th><td class="number">0.5</td>' in page


def test_notes_about_a_database_come_before_a_list_that_is_cut(outcome: RunResult) -> None:
    notes = [Finding("testapp.Tag", f"note {number}", "", stops=False) for number in range(25)]
    notes.append(Finding(outcome.plan.dest.alias, "triggers fire", "", stops=False))
    report = plan_report(replace(outcome.plan, findings=tuple(notes)))
    every = [f"Note: {outcome.plan.dest.alias}: triggers fire.", *(f"Note: testapp.Tag: note {n}." for n in range(25))]
    *_, last = lines = to_text(report).splitlines()
    shown = [line for line in lines if line.startswith("Note: ")]
    assert shown == every[: len(shown)]
    assert 3 <= len(shown) < 26
    assert last == f"{26 - len(shown)} more notes; -v 2 lists everything."
    full = to_text(report, is_full=True).splitlines()
    assert [line for line in full if line.startswith("Note: ")] == every


def test_a_resumed_run_tells_its_own_rows_from_those_that_were_there(outcome: RunResult) -> None:
    counts = {name: replace(one, rows_before=3) for name, one in TIMES.items()}
    text = to_text(result_report(replace(outcome, row_counts=counts)), is_full=True)
    done, *_ = text.splitlines()
    assert done.startswith("DONE  3,010 rows of 3 tables copied to 'sqlite_b' in ")
    assert done.endswith("; 9 rows were there already from the interrupted run.")
    assert facts(text)["before"] == "9 rows, copied by the interrupted run"
    (head,) = (line for line in text.splitlines() if "written  rejected" in line)
    assert head.split()[:4] == ["model", "before", "read", "written"]
    assert "before" not in to_text(result_report(replace(outcome, row_counts=TIMES)), is_full=True)
