"""The result of a run as a report: rows copied, where the time went, and what was verified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...console.reports import Cell, Grid, Report, record
from ...console.wording import byte_text, plural
from ..planning.plan import TablePlan
from ..result import RunResult
from ..row_counts import RowCounts
from .plan import named, plan_document, plan_report
from .times import times_document
from .update import update_report
from .verification import result_lines, verification_document, verification_grids

MEASURABLE_SECONDS = 0.01  # a rate over less time would mean nothing
SHOWN_SECONDS = 0.1
SHOWN_TABLES = 10


def result_report(result: RunResult) -> Report:
    """Describe what a run did, the row counts of both sides and the verdict."""
    if result.updates is not None:
        return update_report(result, result.updates)
    heading = f"Move from {result.plan.source.alias!r} to {result.plan.dest.alias!r}"
    document = {
        "schema": "migrator/batch-migrate@1",
        "plan": plan_document(result.plan),
        "remark": result.remark,
        **times_document(result),
    }
    if result.remark:
        document["not_recreated"] = [item.as_json() for item in result.not_recreated]
        preface = plan_report(result.plan) if result.plan.tables else None
        return Report(heading, (), tuple(_remark_lines(result)), document, result.exit_code, preface)
    grids = (_copied_grid(result), *_time_grids(result), *verification_grids(result.verification))
    document |= {
        "tables": [_counts_document(table, result.row_counts[table.table.name]) for table in result.plan.tables],
        "seconds_finishing": round(result.seconds_finishing, 3),
        "verification": verification_document(result.verification) if result.verification else None,
    }
    return Report(heading, grids, tuple(_lines(result)), document, result.exit_code, plan_report(result.plan))


def _remark_lines(result: RunResult) -> Iterator[str]:
    yield str(result.remark)
    for item in result.not_recreated:
        yield from item.lines()
    if result.not_recreated:
        count = plural(len(result.not_recreated), "object")
        yield f"Not as before the run in {result.plan.dest.alias!r}: {count}, listed above."


def _lines(result: RunResult) -> Iterator[str]:
    rows, tables = sum(counts.rows_written for counts in result.row_counts.values()), len(result.row_counts)
    by = f" with {result.plan.jobs} processes" if result.plan.jobs > 1 else ""
    yield f"Wrote {plural(rows, 'row')} to {plural(tables, 'table')}{by} in {result.seconds:.1f} s."
    yield f"Of that, indexes, foreign keys and sequences took {result.seconds_finishing:.1f} s."
    yield from result_lines(result)
    if left_out := len(result.plan.left_out) + len(result.plan.unknown_tables):
        yield f"{plural(left_out, 'table was', 'tables were')} left out; the plan lists them."
    if result.rows_rejected:
        rejected = plural(result.rows_rejected, "row")
        yield f"{rejected} rejected; the reject file holds their values, personal data included."
    else:
        yield "0 errors, 0 rows rejected."
    if result.exit_code == 3:
        yield "The destination is NOT a copy of the source: see above."


def _copied_grid(result: RunResult) -> Grid:
    rows = [_copied_row(t.table.label, result.row_counts[t.table.name]) for t in result.plan.tables]
    total = RowCounts()
    for counts in result.row_counts.values():
        total.add(counts)
    headers = ("model", "read", "written", "rejected", "size", "seconds", "rows/s")
    return Grid("Copied", headers, tuple(rows), _copied_row("total", total))


def _copied_row(name: str, counts: RowCounts) -> tuple[Cell, ...]:
    size = byte_text(counts.bytes_written)
    rows = (counts.rows_read, counts.rows_written, counts.rows_rejected)
    rate = int(counts.rows_read / counts.seconds) if counts.seconds >= MEASURABLE_SECONDS else None
    return (name, *rows, size, round(counts.seconds, 1), rate)


def _time_grids(result: RunResult) -> list[Grid]:
    """Return a grid of where the time went, for the tables that took most of it; none if all were quick."""
    by_label = {t.table.label: result.row_counts[t.table.name] for t in result.plan.tables}
    shown = {label: counts for label, counts in by_label.items() if counts.seconds + counts.indexing >= SHOWN_SECONDS}
    slowest = sorted(shown.items(), key=lambda item: -item[1].seconds - item[1].indexing)[:SHOWN_TABLES]
    if not slowest:
        return []
    others, total = RowCounts(), RowCounts()
    for label, counts in by_label.items():
        total.add(counts)
        if label not in dict(slowest):
            others.add(counts)
    rows = [_time_row(label, counts) for label, counts in slowest]
    rest = len(by_label) - len(slowest)
    rows += [_time_row(plural(rest, "other table"), others)] if rest else []
    headers = ("model", "reading", "converting", "writing", "indexes", "all")
    return [Grid("Where the time went, in seconds", headers, tuple(rows), _time_row("total", total))]


def _time_row(name: str, counts: RowCounts) -> tuple[Cell, ...]:
    seconds = (counts.reading, counts.converting, counts.writing, counts.indexing, counts.seconds + counts.indexing)
    return (name, *(round(one, 1) for one in seconds))


def _counts_document(planned: TablePlan, counts: RowCounts) -> dict[str, Any]:
    return {
        **named(planned.table),
        **record(counts, "rows_read", "rows_written", "rows_before", "rows_rejected", "bytes_written"),
        "seconds_reading": round(counts.reading, 3),
        "seconds_converting": round(counts.converting, 3),
        "seconds_writing": round(counts.writing, 3),
        "seconds_indexing": round(counts.indexing, 3),
        "rows_per_second": round(counts.rows_read / counts.seconds) if counts.seconds >= MEASURABLE_SECONDS else None,
    }
