"""The result of a run as a report: rows copied, where the time went, and what was verified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...console.reports import Cell, Fact, Grid, Mood, Point, Report, Verdict, record, without_column
from ...console.wording import byte_text, plural, seconds_text, shortened
from ..phases import Phase
from ..planning.plan import TablePlan
from ..result import RunResult
from ..row_counts import RowCounts
from .figures import plan_figures, run_figures, seconds_by_table, spent
from .following import follow_document, follow_facts, follow_verdict
from .forecast import forecast_report
from .outcome import ends_facts, next_steps, not_a_copy, unchecked
from .plan import SCHEMA, named, plan_document, plan_report
from .row_grids import row_grids
from .times import times_document
from .update import update_report
from .verification import (
    differing_grids,
    verification_document,
    verification_facts,
    verification_grids,
    verification_points,
)

MEASURABLE_SECONDS = 0.01  # a rate over less time would mean nothing
SHOWN_SECONDS = 0.1
SHOWN_TABLES = 10
SHOWN_SLOWEST = 3


def result_report(result: RunResult, again: str = "the same command without --dry-run") -> Report:
    """Describe what a run did, the row counts of both sides and the verdict; ``again`` repeats a dry run in earnest."""
    if result.forecast is not None:
        return forecast_report(result, result.forecast, again)
    if result.updates is not None:
        return update_report(result, result.updates, again)
    if result.remark:
        return _remark_report(result, result.remark, again)
    plan = result.plan
    document = {
        "schema": SCHEMA,
        "plan": plan_document(plan),
        "remark": result.remark,
        "tables": [_counts_document(table, result.row_counts[table.table.name]) for table in plan.tables],
        **times_document(result),
        "seconds_finishing": round(result.seconds_finishing, 3),
        "follow": follow_document(result.followed),
        "verification": verification_document(result.verification) if result.verification else None,
    }
    return Report(
        title=f"Move from {plan.source.alias!r} to {plan.dest.alias!r}",
        verdict=_verdict(result),
        facts=(*ends_facts(plan), *_facts(result)),
        grids=tuple(differing_grids(result.verification)),
        points=tuple(verification_points(result.verification)) if result.verification else (),
        details=(_copied_grid(result), *_time_grids(result), *verification_grids(result.verification)),
        figures=run_figures(result),
        row_grids=row_grids(result.verification),
        timings=dict(result.timings),
        slowest=seconds_by_table(result),
        next=tuple(next_steps(result)),
        document=document,
        exit_code=result.exit_code,
        preface=plan_report(plan),
    )


def _remark_report(result: RunResult, remark: str, again: str) -> Report:
    """Describe a run that copied nothing: a dry run, one with nothing to do, or one that was abandoned."""
    document = {
        "schema": SCHEMA,
        "plan": plan_document(result.plan),
        "remark": remark,
        **times_document(result),
        "not_recreated": [item.as_json() for item in result.not_recreated],
    }
    word = "DRY RUN" if result.is_dry_run else "ABANDONED" if result.is_abandoned else "NOTHING TO DO"
    verdict = Verdict(Mood.NEUTRAL, word, remark)
    if result.exit_code == 3:
        verdict = Verdict(Mood.BAD, "NOT A COPY", remark)
    elif result.rows_rejected:
        verdict = Verdict(Mood.WARNING, "INCOMPLETE", remark)
    points = []
    if result.not_recreated:
        count = plural(len(result.not_recreated), "object")
        changed = f"Not as before the run in {result.plan.dest.alias!r}: {count}."
        points = [Point(Mood.WARNING, remark, stays=True)]
        verdict = Verdict(Mood.WARNING, "ABANDONED", changed)
    for item in result.not_recreated:
        first, *others = (line.strip() for line in item.lines())
        points.append(Point(Mood.BAD, first, stays=True, statements=tuple(others)))
    return Report(
        title=f"Move from {result.plan.source.alias!r} to {result.plan.dest.alias!r}",
        verdict=verdict,
        points=tuple(points),
        figures=plan_figures(result.plan) if result.is_dry_run else (),
        timings=dict(result.timings),
        next=(again,) if result.is_dry_run else (),
        document=document,
        exit_code=result.exit_code,
        preface=plan_report(result.plan) if result.plan.tables else None,
        is_dry_run=result.is_dry_run,
    )


def _verdict(result: RunResult) -> Verdict:
    if result.verification and not result.verification.is_clean:
        return not_a_copy(result.verification)
    if result.rows_rejected:
        rejected = f"{plural(result.rows_rejected, 'row')} rejected"
        sentence = f"{rejected}; the reject file holds their values, personal data included."
        return Verdict(Mood.WARNING, "INCOMPLETE", sentence)
    if result.verification and result.verification.unchecked:
        return unchecked(result.verification)
    if result.followed:
        return follow_verdict(result, result.followed)
    rows, tables = plural(result.rows_written, "row"), plural(len(result.row_counts), "table")
    done = f"{rows} of {tables} copied to {result.plan.dest.alias!r} in {seconds_text(result.seconds)}"
    if before := result.rows_before:
        done += f"; {plural(before, 'row was', 'rows were')} there already from the interrupted run"
    return Verdict(Mood.GOOD, "DONE", f"{done}.")


def _facts(result: RunResult) -> Iterator[Fact]:
    yield Fact("copied", _copied_text(result))
    if before := result.rows_before:
        yield Fact("before", f"{plural(before, 'row')}, copied by the interrupted run")
    seconds = [(label, spent) for label, spent in seconds_by_table(result).items() if spent >= SHOWN_SECONDS]
    if slowest := ", ".join(f"{label} {seconds_text(spent)}" for label, spent in seconds[:SHOWN_SLOWEST]):
        yield Fact("slowest", slowest if result.exit_code == 0 else "", slowest)
    if result.followed:
        yield from follow_facts(result.followed)
    if result.verification:
        yield from verification_facts(result.verification, None, option="--verify full")
    if not result.rows_rejected:
        yield Fact("rejected", "0 rows", mood=Mood.GOOD)
    elif rejected := _rejected(result):
        count = plural(result.rows_rejected, "row")
        full = f"{count}: {', '.join(rejected)}"
        yield Fact("rejected", f"{count}: {shortened(rejected, SHOWN_SLOWEST)}", full, Mood.WARNING)
    if left_out := len(result.plan.left_out) + len(result.plan.unknown_tables):
        yield Fact("left out", f"{plural(left_out, 'table')}; the plan lists them")


def _copied_text(result: RunResult) -> str:
    total = RowCounts()
    for counts in result.row_counts.values():
        total.add(counts)
    text = f"{plural(total.rows_written, 'row')}, {byte_text(total.bytes_written)}"
    seconds = result.seconds_of(Phase.COPYING)
    if seconds >= SHOWN_SECONDS:
        text += f", {total.rows_read / seconds:,.0f} rows/s"
    return f"{text} with {result.plan.jobs} processes" if result.plan.jobs > 1 else text


def _rejected(result: RunResult) -> list[str]:
    """Name the tables with rejected rows, those with the most first."""
    rows = {t.table.label: result.row_counts[t.table.name].rows_rejected for t in result.plan.tables}
    largest = sorted(((label, count) for label, count in rows.items() if count), key=lambda item: -item[1])
    return [f"{label} {count:,}" for label, count in largest]


def _copied_grid(result: RunResult) -> Grid:
    rows = [_copied_row(t.table.label, result.row_counts[t.table.name]) for t in result.plan.tables]
    total = RowCounts()
    for counts in result.row_counts.values():
        total.add(counts)
    headers = ("model", "before", "read", "written", "rejected", "size", "seconds", "rows/s")
    grid = Grid("Copied", headers, tuple(rows), _copied_row("total", total))
    return grid if total.rows_before else without_column(grid, "before")


def _copied_row(name: str, counts: RowCounts) -> tuple[Cell, ...]:
    size = byte_text(counts.bytes_written)
    rows = (counts.rows_before, counts.rows_read, counts.rows_written, counts.rows_rejected)
    rate = int(counts.rows_read / counts.seconds) if counts.seconds >= MEASURABLE_SECONDS else None
    return (name, *rows, size, round(counts.seconds, 1), rate)


def _time_grids(result: RunResult) -> list[Grid]:
    """Return a grid of where the time went, for the tables that took most of it; none if all were quick."""
    by_label = {t.table.label: result.row_counts[t.table.name] for t in result.plan.tables}
    shown = {label: counts for label, counts in by_label.items() if spent(counts) >= SHOWN_SECONDS}
    slowest = sorted(shown.items(), key=lambda item: -spent(item[1]))[:SHOWN_TABLES]
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
    seconds = (counts.reading, counts.converting, counts.writing, counts.indexing, spent(counts))
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
