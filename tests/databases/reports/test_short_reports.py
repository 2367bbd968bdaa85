"""Plans, results and comparisons fit on a screen, however many tables there are, and hide no loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from migrator.console.report_text import to_text
from migrator.console.reports import Report
from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.comparison import CompareOptions, Comparison
from migrator.databases.engines.base.catalogue import INDEX, TRIGGER, DeferredObject
from migrator.databases.findings import Finding
from migrator.databases.planning.plan import Plan, TablePlan
from migrator.databases.planning.plan_request import Mode, PlanRequest
from migrator.databases.planning.selection import EVERYTHING, LeftOut
from migrator.databases.reports.comparison import comparison_report
from migrator.databases.reports.plan import plan_report
from migrator.databases.reports.run import result_report
from migrator.databases.row_counts import RowCounts
from migrator.databases.update import Update
from migrator.databases.verification.contents import Contents
from migrator.databases.verification.counts import TableCount, Verification
from migrator.databases.verification.rows import CHANGED, RowDifference
from tests.databases.snapshots import insert_rows
from tests.management.running import facts
from tests.testapp.models import Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

TABLES = 165
SHORT = 22  # about 20
COMPARE = ["Next: python manage.py verify_counts --source sqlite_a --dest sqlite_b \\", "        --mode full"]


@pytest.fixture(scope="module")
def outcome(databases: FreshDatabases) -> RunResult:
    """Return the result of a run of 165 tables, most of them empty, as of a large project."""
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": 1, "name": "one"}])
    result = batch_migrate(source="sqlite_a", dest="sqlite_b", labels=["testapp.Tag"])
    tables = [_table(result.plan.tables[0], number) for number in range(TABLES)]
    one, other = (
        replace(info, engine="PostgreSQL 15.18", database="shop", host="db1:5432")
        for info in (result.plan.source, result.plan.dest)
    )
    groups = tuple((table,) for table in tables)
    plan = replace(result.plan, source=one, dest=other, groups=groups, choice=EVERYTHING)
    counts = {
        t.table.name: RowCounts(t.source_rows, t.source_rows, 0, 4096, writing=t.source_rows / 1000) for t in tables
    }
    return replace(
        result,
        plan=plan,
        row_counts=counts,
        verification=_verified(tables),
        timings=(("checks", 12.0), ("copying", 93.5), ("indexes and keys", 31.2), ("verification", 40.0)),
    )


def _table(planned: TablePlan, number: int) -> TablePlan:
    table = replace(planned.table, label=f"warehouse.LongModelName{number}", name=f"warehouse_longmodelname{number}")
    rows = 1000 * number if number % 10 == 0 else 0
    return replace(planned, route=replace(planned.route, table=table), source_rows=rows, dest_rows=0)


def _verified(tables: list[TablePlan], *, lacking: int = 0) -> Verification:
    counts = [TableCount(t.table.label, t.table.name, t.source_rows, t.source_rows - lacking) for t in tables]
    return Verification(tuple(counts), (), ())


def shown(report: Report) -> list[str]:
    """Return the lines that a terminal of 80 columns shows of a report, and assert that they fit."""
    lines = to_text(report, 80).splitlines()
    assert not [line for line in lines if len(line) > 80]
    assert len(lines) <= SHORT, "\n".join(lines)
    assert len([line for line in lines if "LongModelName" in line]) <= 8
    return lines


def listed(report: Report) -> int:
    """Return how many of the tables are in the full form, which files and `-v 2` have."""
    text = to_text(report, is_full=True)
    return sum(f"  warehouse.LongModelName{number} " in text for number in range(TABLES))


def test_a_plan_is_short_and_hides_no_loss(outcome: RunResult) -> None:
    plan = _filled(outcome.plan)
    report = plan_report(plan)
    lines = shown(report)
    assert lines[0] == "PLAN  Copy 1,360,000 rows of 165 tables from 'sqlite_a' to 'sqlite_b'."
    found = facts(to_text(report))
    assert found["delete first"] == (
        "3,300 rows: warehouse.LongModelName0 20, warehouse.LongModelName1 20, warehouse.LongModelName2 20, "
        "warehouse.LongModelName3 20, warehouse.LongModelName4 20 and 160 more. Requires --replace sqlite_b (or type "
        "the alias when asked)."
    )
    named = facts(to_text(plan_report(replace(plan, request=replace(plan.request, is_confirmed=True)))))
    assert named["delete first"].endswith(" and 160 more. Confirmed by --replace sqlite_b.")
    assert found["largest"].endswith(" and 162 more (149 of them empty)")
    assert found["left out"].startswith("shop.Left0 (excluded), ")
    assert found["left out"].endswith(" and 37 more")
    assert lines[-1].endswith(" more notes; -v 2 lists everything.")
    assert listed(report) == TABLES
    full = facts(to_text(report, is_full=True))
    assert full["delete first"].count("warehouse.") == TABLES
    assert full["left out"].count("shop.") == 40


def test_a_plan_says_what_it_compares_and_when_there_is_nothing_to_copy(outcome: RunResult) -> None:
    plan = replace(outcome.plan, request=PlanRequest(mode=Mode.UPDATE))
    sentence = "Compare 165 tables of 'sqlite_a' with 'sqlite_b', and write only what differs."
    assert plan_report(plan).verdict.sentence == sentence
    for nothing in (plan, outcome.plan):
        sentence = "No table can be copied from 'sqlite_a' to 'sqlite_b' yet."
        assert plan_report(replace(nothing, groups=())).verdict.sentence == sentence


def test_a_plan_counts_only_kinds_that_it_drops(outcome: RunResult) -> None:
    dropped = [DeferredObject("shop_order", kind, "x", "", "") for kind in (INDEX, INDEX, TRIGGER)]
    found = facts(to_text(plan_report(replace(outcome.plan, deferred=tuple(dropped)))))
    assert found["rebuild"].startswith("2 indexes, 1 trigger: ")


def test_the_next_command_has_the_reject_file_of_the_run(outcome: RunResult) -> None:
    counts = {name: replace(one, rows_rejected=1) for name, one in outcome.row_counts.items()}
    result = replace(outcome, row_counts=counts, rejects=Path("bad rows.jsonl"))
    assert result_report(result).next[0].endswith(" --mode full --rejects 'bad rows.jsonl'")


def _filled(plan: Plan) -> Plan:
    """Return a plan with something to say of each kind."""
    groups = tuple((replace(table, dest_rows=20),) for (table,) in reversed(plan.groups))
    left_out = tuple(LeftOut(f"shop.Left{number}", "excluded") for number in range(40))
    notes = tuple(Finding(f"shop.Model{n}", "a note on a table of this run", "", stops=False) for n in range(60))
    return replace(plan, groups=groups, left_out=left_out, findings=notes, jobs=4)


def test_a_result_is_short(outcome: RunResult) -> None:
    report = result_report(outcome)
    lines = shown(report)
    assert lines[0] == "DONE  1,360,000 rows of 165 tables copied to 'sqlite_b' in 2 min 57 s."
    assert lines[-2:] == COMPARE
    found = facts(to_text(report))
    assert found["slowest"] == (
        "warehouse.LongModelName160 2 min 40 s, warehouse.LongModelName150 2 min 30 s, "
        "warehouse.LongModelName140 2 min 20 s"
    )
    assert found["time"] == ("2 min 57 s: checks 12.0 s, copying 93.5 s, indexes and keys 31.2 s, verification 40.0 s")
    assert listed(report) == TABLES


@pytest.mark.parametrize("rejects", [False, True])
def test_a_result_lists_a_few_of_the_tables_that_differ(outcome: RunResult, rejects: bool) -> None:
    counts = outcome.row_counts
    if rejects:
        counts = {name: replace(one, rows_rejected=7) for name, one in counts.items()}
    verification = _verified([*outcome.plan.tables], lacking=8)
    lines = shown(result_report(replace(outcome, row_counts=counts, verification=verification)))
    assert lines[0].startswith("NOT A COPY  The destination is NOT a copy of the source: row counts differ in")
    assert "Row counts that differ (and 161 more tables; -v 2 lists them all)" in lines
    assert sum(line.endswith(" different") for line in lines) == 4


def test_a_comparison_is_short_however_many_rows_differ(outcome: RunResult) -> None:
    tables = outcome.plan.tables
    contents = tuple(
        Contents(
            label=t.table.label, table=t.table, method="checksum", checked=100, changed=50,
            differences=[RowDifference(CHANGED, (n,), ("name",)) for n in range(50)],
        )
        for t in tables
    )  # fmt: skip
    verification = replace(_verified([*tables]), contents=contents)
    options = CompareOptions(mode="full")
    report = comparison_report(Comparison(outcome.plan.source, outcome.plan.dest, options, verification))
    lines = shown(report)
    assert lines[0] == "DIFFERENT  Differences were found in 165 of 165 tables."
    assert "Values that differ (and 161 more tables; -v 2 lists them all)" in lines
    # Of each table, 20 rows are named, and the others counted.
    assert lines[-3] == f"{165 * 21 - 3:,} more problems; -v 2 lists everything."
    assert lines[-2:] == [
        "Next: python manage.py batch_migrate --source sqlite_a --dest sqlite_b \\",
        "        --update --dry-run",
    ]
    assert listed(report) == TABLES


def test_equal_databases_need_a_few_lines(outcome: RunResult) -> None:
    comparison = Comparison(outcome.plan.source, outcome.plan.dest, CompareOptions(), _verified([*outcome.plan.tables]))
    lines = shown(comparison_report(comparison))
    assert lines[0] == "EQUAL  No difference in the row counts of 165 tables."
    assert not [line for line in lines if "LongModelName" in line]


@pytest.mark.parametrize("is_dry", [False, True])
def test_an_update_lists_a_few_of_the_tables_that_change(outcome: RunResult, is_dry: bool) -> None:
    changed = {t.table.name: Update(compared=10, inserted=n, deleted=1) for n, t in enumerate(outcome.plan.tables)}
    verification = None if is_dry else outcome.verification
    result = replace(outcome, row_counts={}, updates=changed, verification=verification, is_dry_run=is_dry)
    report = result_report(result, "python manage.py batch_migrate --update")
    lines = shown(report)
    first = "DRY RUN  Nothing was written. 13,695 rows would change: 13,530 inserted, 0"
    assert lines[0] == (
        first if is_dry else "UPDATED  13,695 rows of 'sqlite_b' changed in 2 min 57 s: 13,530 inserted, 0"
    )
    title = "What an update would write" if is_dry else "Updated"
    assert f"{title} (and 161 more tables; -v 2 lists them all)" in lines
    expected = ["Next: python manage.py batch_migrate --update"] if is_dry else COMPARE
    assert lines[-len(expected) :] == expected
    assert listed(report) == TABLES
    nothing = {name: Update(compared=10) for name in changed}
    lines = shown(result_report(replace(result, updates=nothing)))
    assert not [line for line in lines if "LongModelName" in line]
