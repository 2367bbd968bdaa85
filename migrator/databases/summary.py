"""The plan, the outcome and a comparison of counts as reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..report import Cell, Grid, Report, byte_text, plural
from .counting import Comparison
from .differences import contents_documents, contents_grid, contents_lines, proof_lines
from .engines.base.engine import Endpoint
from .outcome import Outcome
from .plan import Plan, TablePlan
from .route import Tally
from .schema import shortened
from .verify import EQUAL, REJECTED, TableCount, Verification

SHOWN_FINDINGS = 20
MEASURABLE_SECONDS = 0.01  # below that, a rate would say nothing


# -- the plan -------------------------------------------------------------------------------------------------------


def plan_report(plan: Plan) -> Report:
    """Describe what a run will do."""
    heading = f"Plan\n  from {plan.source}\n  to   {plan.dest}"
    rows: list[tuple[Cell, ...]] = [
        (number, t.table.label, t.table.name, t.source_rows, t.dest_rows, len(t.table.columns), t.route.method)
        for number, t in enumerate(plan.tables, 1)
    ]
    rows += [
        (None, table.label, table.name, count, None, len(table.columns), "created first")
        for table, count in plan.created
    ]
    total = sum(table.source_rows for table in plan.tables) + sum(count for _, count in plan.created)
    footer = (None, plural(len(rows), "table"), "", total, sum(t.dest_rows for t in plan.tables), None, "")
    headers = ("#", "model", "table", "source rows", "dest rows", "columns", "method")
    grid = Grid("Tables, in the order in which they are copied", headers, tuple(rows), footer)
    return Report(heading, (grid,), tuple(_plan_lines(plan)), plan_document(plan))


def _plan_lines(plan: Plan) -> list[str]:
    lines = []
    if plan.destroyed:
        lines.append(f"Emptied first: {_with_rows(plan.destroyed)}.")
        lines.append(f"That takes --replace {plan.dest.alias}, or the alias typed at the question.")
    made = [table for table in plan.emptied if table.is_made_by_migrate]
    if made:
        lines.append(f"Replaced, as Django's migrate made them: {_with_rows(made)}.")
    if plan.adds_rows:
        lines.append("Rows that the destination already has stay as they are.")
    if plan.taken_off:
        kinds = [item.kind for item in plan.taken_off]
        indexes = plural(kinds.count("index"), "index", "indexes")
        keys = plural(len(kinds) - kinds.count("index"), "foreign key")
        lines.append(f"Taken off while rows are loaded and put back after: {indexes}, {keys}.")
    for left_out in plan.left_out:
        lines.append(f"Left out: {left_out.label} ({left_out.reason}).")
    if plan.unknown_tables:
        lines.append(f"Left out: tables that no model describes: {shortened(plan.unknown_tables)}.")
    if plan.created:
        lines.append("Values and foreign keys are checked when those tables are there.")
    lines += [f"To be rejected: {finding}" for finding in plan.set_aside]
    lines += [f"Note: {finding}" for finding in plan.findings if not finding.stops][:SHOWN_FINDINGS]
    return lines


def _with_rows(tables: Sequence[TablePlan]) -> str:
    return ", ".join(f"{table.table.label} ({plural(table.dest_rows, 'row')})" for table in tables)


def _endpoint(endpoint: Endpoint) -> dict[str, str]:
    return {
        "alias": endpoint.alias,
        "engine": endpoint.engine,
        "database": endpoint.database,
        "host": endpoint.host,
    }


def plan_document(plan: Plan) -> dict[str, Any]:
    """Describe the plan for programs."""
    return {
        "source": _endpoint(plan.source),
        "dest": _endpoint(plan.dest),
        "adds_rows": plan.adds_rows,
        "tables": [
            {
                "label": t.table.label,
                "table": t.table.name,
                "source_rows": t.source_rows,
                "dest_rows": t.dest_rows,
                "columns": [column.name for column in t.table.columns],
                "method": t.route.method,
                "emptied": t in plan.emptied,
            }
            for t in plan.tables
        ],
        "taken_off": [{"table": i.table, "kind": i.kind, "name": i.name} for i in plan.taken_off],
        "left_out": [{"label": item.label, "reason": item.reason} for item in plan.left_out],
        "unknown_tables": list(plan.unknown_tables),
        "findings": [
            {"subject": f.subject, "text": f.text, "advice": f.advice, "stops": f.stops} for f in plan.findings
        ],
    }


# -- the outcome ------------------------------------------------------------------------------------------------------


def outcome_report(outcome: Outcome) -> Report:
    """Describe what a run did, the counts on both sides and the verdict."""
    document: dict[str, Any] = {"plan": plan_document(outcome.plan), "remark": outcome.remark}
    heading = f"Move from {outcome.plan.source.alias!r} to {outcome.plan.dest.alias!r}"
    if outcome.remark:
        return Report(heading, (), (outcome.remark,), document, outcome.exit_code, plan_report(outcome.plan))
    grids = [_tally_grid(outcome)]
    if outcome.verification and outcome.verification.counts:
        grids.append(count_grid("Rows on both sides", outcome.verification.counts))
    if outcome.verification and outcome.verification.contents:
        grids.append(contents_grid(outcome.verification.contents))
    document |= {
        "tables": [_tally_document(table, outcome.tallies[table.table.name]) for table in outcome.plan.tables],
        "seconds": round(outcome.seconds, 3),
        "seconds_finishing": round(outcome.seconds_finishing, 3),
        "verification": verification_document(outcome.verification) if outcome.verification else None,
    }
    lines = tuple(_outcome_lines(outcome))
    return Report(heading, tuple(grids), lines, document, outcome.exit_code, plan_report(outcome.plan))


def _tally_grid(outcome: Outcome) -> Grid:
    rows = [_tally_row(t.table.label, outcome.tallies[t.table.name]) for t in outcome.plan.tables]
    total = Tally()
    for tally in outcome.tallies.values():
        total.add(tally)
    headers = ("model", "read", "written", "rejected", "size", "seconds", "rows/s")
    return Grid("Copied", headers, tuple(rows), _tally_row("total", total))


def _seconds(tally: Tally) -> float:
    return tally.reading + tally.converting + tally.writing


def _tally_row(name: str, tally: Tally) -> tuple[Cell, ...]:
    seconds = _seconds(tally)
    rate = int(tally.rows_read / seconds) if seconds >= MEASURABLE_SECONDS else None
    size = byte_text(tally.bytes_written)
    return (name, tally.rows_read, tally.rows_written, tally.rows_rejected, size, round(seconds, 1), rate)


def _tally_document(planned: TablePlan, tally: Tally) -> dict[str, Any]:
    return {
        "label": planned.table.label,
        "table": planned.table.name,
        "rows_read": tally.rows_read,
        "rows_written": tally.rows_written,
        "rows_rejected": tally.rows_rejected,
        "bytes_written": tally.bytes_written,
        "seconds_reading": round(tally.reading, 3),
        "seconds_converting": round(tally.converting, 3),
        "seconds_writing": round(tally.writing, 3),
    }


def _outcome_lines(outcome: Outcome) -> list[str]:
    total = sum(tally.rows_written for tally in outcome.tallies.values())
    lines = [
        f"{plural(total, 'row')} in {plural(len(outcome.tallies), 'table')} written in {outcome.seconds:.1f} s, "
        f"of which {outcome.seconds_finishing:.1f} s for indexes, foreign keys and counters."
    ]
    if outcome.verification:
        lines += verification_lines(outcome.verification)
        lines += proof_lines(outcome.verification.contents, None)
    lines.append(
        f"{plural(outcome.rows_rejected, 'row')} rejected; the reject file holds them, and personal data with them."
        if outcome.rows_rejected
        else "0 errors, 0 rows rejected."
    )
    if outcome.exit_code == 3:
        lines.append("The destination is NOT a copy of the source: see above.")
    return lines


# -- a comparison -----------------------------------------------------------------------------------------------------


def count_grid(title: str, counts: Sequence[TableCount]) -> Grid:
    """Make the table of counts: source, destination, difference."""
    rows: list[tuple[Cell, ...]] = [
        (count.label, count.source_rows, count.dest_rows, count.difference, count.status) for count in counts
    ]
    footer = (
        "total",
        sum(count.source_rows or 0 for count in counts),
        sum(count.dest_rows or 0 for count in counts),
        sum(count.difference or 0 for count in counts),
        "",
    )
    return Grid(title, ("model", "source", "destination", "difference", "status"), tuple(rows), footer)


def verification_lines(verification: Verification, *, with_values: bool = False) -> list[str]:
    """Say what was checked and what was found."""
    lines = [f"Counter behind its table: {late}." for late in verification.late_counters]
    lines += [f"Dangling: {dangling.table.label}: {dangling}." for dangling in verification.dangling]
    lines += contents_lines(verification.contents, with_values=with_values)
    if verification.counts:
        differing = len(verification.differing)
        lacking = sum(count.status == REJECTED for count in verification.counts)
        of_all = plural(len(verification.counts), "table")
        if differing:
            lines.append(f"Counts differ in {differing} of {of_all}.")
        elif lacking:
            lines.append(f"Counts agree in {of_all}, but for the rejected rows of {lacking} of them.")
        else:
            lines.append(f"Counts agree in {of_all}.")
    else:
        lines.append("Counts were not compared, as asked (--verify none).")
    if not (verification.late_counters or verification.dangling):
        lines.append("Counters are above the largest keys, and every foreign key leads to a row.")
    return lines


def verification_document(verification: Verification, *, with_values: bool = False) -> dict[str, Any]:
    """Describe a comparison for programs."""
    contents = contents_documents(verification.contents, with_values=with_values)
    return {
        "models": [
            {
                "label": count.label,
                "table": count.table,
                "source_rows": count.source_rows,
                "dest_rows": count.dest_rows,
                "status": count.status,
                **contents.get(count.table, {}),
            }
            for count in verification.counts
        ],
        "late_counters": [str(late) for late in verification.late_counters],
        "dangling": [f"{dangling.table.label}: {dangling}" for dangling in verification.dangling],
    }


def comparison_report(comparison: Comparison, *, with_values: bool = False) -> Report:
    """Describe a comparison of two databases; values are only shown ``with_values``."""
    verification = comparison.verification
    heading = f"Comparison\n  source      {comparison.source}\n  destination {comparison.dest}"
    grids = [count_grid("Rows on both sides", verification.counts)]
    if verification.contents:
        grids.append(contents_grid(verification.contents))
    equal = sum(count.status == EQUAL for count in verification.counts)
    lines = [
        *verification_lines(verification, with_values=with_values),
        *proof_lines(verification.contents, comparison.sample),
    ]
    if not verification.contents:
        lines.append(
            f"Proven: exact counts of {plural(len(verification.counts), 'table')}, {equal} of them equal. "
            "Not proven: that the rows hold the same values (--mode full)."
        )
    if comparison.exit_code == 3:
        lines.append("Differences were found.")
    document = {
        "source": _endpoint(comparison.source),
        "dest": _endpoint(comparison.dest),
        "mode": comparison.mode,
        "seed": comparison.sample.seed if comparison.sample else None,
        **verification_document(verification, with_values=with_values),
    }
    return Report(heading, tuple(grids), tuple(lines), document, comparison.exit_code)
