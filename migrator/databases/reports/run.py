"""The plan, the outcome and a comparison of counts as reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...console.reports import Cell, Grid, Report
from ...console.wording import byte_text, plural, shortened
from ..engines.base.catalogue import kinds_text
from ..engines.base.lifecycle import DatabaseInfo
from ..planning.plan import AwaitedTable, Plan, TablePlan, largest_first
from ..result import RunResult
from ..row_counts import RowCounts
from ..tables import shown_name
from ..update import Update
from ..verification.compare import Comparison
from ..verification.contents import no_table
from ..verification.counts import EQUAL
from ..verification.rejected_rows import rejected_lines
from .verification import contents_grid, count_grid, proof_lines, verification_document, verification_lines

SHOWN_FINDINGS = 20
UNPROVEN = "Not proven: that the rows hold the same values (--verify full)."
MEASURABLE_SECONDS = 0.01  # below that, a rate would say nothing
TOLD_SECONDS = 0.1
SHOWN_TABLES = 10
SHOWN_REJECTED = 5


# -- the plan -------------------------------------------------------------------------------------------------------


def plan_report(plan: Plan) -> Report:
    """Describe what a run will do."""
    heading = f"Plan\n  from {plan.source}\n  to   {plan.dest}"
    rows: list[tuple[Cell, ...]] = [
        (number, t.table.label, _place(plan, t), t.source_rows, t.dest_rows, len(t.table.columns), t.route.method)
        for number, t in enumerate(_in_order(plan), 1)
    ]
    rows += [
        (None, t.table.label, t.table.name, t.source_rows, t.dest_rows, len(t.table.columns), _awaits(t))
        for t in plan.awaited
    ]
    every: list[TablePlan | AwaitedTable] = [*plan.tables, *plan.awaited]
    totals = (sum(t.source_rows for t in every), sum(t.dest_rows or 0 for t in every))
    footer = (None, plural(len(rows), "table"), "", *totals, None, "")
    headers = ("#", "model", "table", "source rows", "dest rows", "columns", "method")
    title = "Tables, in the order in which they are copied" if _keeps_an_order(plan) else "Tables"
    grid = Grid(title, headers, tuple(rows), footer)
    return Report(heading, (grid,), tuple(_plan_lines(plan)), plan_document(plan))


def _keeps_an_order(plan: Plan) -> bool:
    return plan.jobs == 1 and not plan.updates


def _in_order(plan: Plan) -> Iterator[TablePlan]:
    """Give the tables as one process copies them, or parents first where several do, or none is copied."""
    groups = largest_first(plan.groups) if _keeps_an_order(plan) else plan.groups
    return (planned for group in groups for planned in group)


def _place(plan: Plan, planned: TablePlan) -> str:
    """Name a table, with its schemas where those of a database are several."""
    name = shown_name(planned.table.name)
    sides = (plan.source_schemas, plan.dest_schemas)
    if all(len(set(schemas.values())) < 2 for schemas in sides):
        return name
    last = name.rpartition(".")[2]
    schemas = [side.get(planned.table.name) for side in sides]
    return " to ".join(dict.fromkeys(name if schema is None else f"{schema}.{last}" for schema in schemas))


def _schema_line(plan: Plan) -> list[str]:
    endpoints = ((plan.source, plan.source_schemas), (plan.dest, plan.dest_schemas))
    found = [f"{end.alias!r}: {', '.join(sorted(set(schemas.values())))}" for end, schemas in endpoints if schemas]
    return [f"Schemas of these tables: {'; '.join(found)}."] if found else []


def _plan_lines(plan: Plan) -> list[str]:
    lines = _schema_line(plan)
    if plan.destroyed:
        lines.append(f"Emptied first: {_with_rows(plan.destroyed)}.")
        lines.append(f"That takes --replace {plan.dest.alias}, or the alias typed at the question.")
    if of_django := [table for table in plan.emptied if table.is_made_by_migrate]:
        lines.append(f"Replaced, as Django's migrate made them: {_with_rows(of_django)}.")
    if of_project := [table for table in plan.emptied if table.is_made_by_migrations and table not in of_django]:
        lines.append(f"Replaced, as your migrations made them: {_with_rows(of_project)}.")
    if plan.updates:
        lines.append(
            "Only differences are written: changed rows are rewritten, new rows inserted, and rows missing from the "
            "source deleted."
        )
    if plan.adds_rows:
        lines.append("Rows that the destination already has stay as they are.")
    if plan.taken_off:
        lines.append(f"Taken off while rows are loaded and put back after: {kinds_text(plan.taken_off)}.")
    if plan.jobs > 1:
        lines.append(f"{plan.jobs} processes copy side by side, all of them from one snapshot of the source.")
    for left_out in plan.left_out:
        lines.append(f"Left out: {left_out.label} ({left_out.reason}).")
    if plan.unknown_tables:
        lines.append(f"Left out: tables that no model describes: {shortened(plan.unknown_tables)}.")
    lines += _awaiting_lines(plan)
    lines += [f"To be rejected: {finding}" for finding in plan.set_aside]
    lines += _rejection_lines(plan)
    lines += _note_lines(plan)
    return lines


def _awaits(waiting: AwaitedTable) -> str:
    return "created first" if waiting.dest_rows is None else "changed first"


def _awaiting_lines(plan: Plan) -> Iterator[str]:
    """Say what a plan cannot know before migrations are applied, and what becomes of the rows that they make."""
    if not plan.awaited:
        return
    tables = plural(len(plan.awaited), "table")
    yield (
        f"Not checked yet: values, columns and foreign keys of {tables}, which migrations create or change first. The "
        "run checks them after that and before it copies a row; a dry run does once the tables are there."
    )


def _rejection_lines(plan: Plan) -> list[str]:
    """Add up the rows that will be rejected, each once, with those that point at one of them."""
    if not plan.rejected:
        return []
    of_tables = [(t.table.label, plan.rejected[t.table.name]) for t in plan.tables if t.table.name in plan.rejected]
    of_tables.sort(key=lambda one: -one[1])
    total = plural(sum(count for _, count in of_tables), "row")
    named = shortened([f"{label} {count:,}" for label, count in of_tables], SHOWN_REJECTED)
    at_least = "" if plan.knows_rejected else "at least "
    return [f"Rejected in all: {at_least}{total}, with every row that points at one of them: {named}."]


def _note_lines(plan: Plan) -> list[str]:
    """Tell what stops nothing: what is about a whole database first, for a long list is cut."""
    endpoints = (plan.source.alias, plan.dest.alias)
    notes = [finding for finding in plan.findings if not finding.stops]
    notes.sort(key=lambda finding: finding.subject not in endpoints)
    lines = [f"Note: {finding}" for finding in notes[:SHOWN_FINDINGS]]
    rest = len(notes[SHOWN_FINDINGS:])
    return [*lines, f"Note: {plural(rest, 'more note')}, which --format json has all of."] if rest else lines


def _with_rows(tables: Sequence[TablePlan | AwaitedTable]) -> str:
    return ", ".join(f"{table.table.label} ({plural(table.dest_rows or 0, 'row')})" for table in tables)


def _endpoint(endpoint: DatabaseInfo) -> dict[str, str]:
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
        "jobs": plan.jobs,
        "tables": [
            {
                "label": t.table.label,
                "table": t.table.name,
                "source_schema": plan.source_schemas.get(t.table.name),
                "dest_schema": plan.dest_schemas.get(t.table.name),
                "source_rows": t.source_rows,
                "dest_rows": t.dest_rows,
                "columns": [column.name for column in t.table.columns],
                "method": t.route.method,
                "emptied": t in plan.emptied,
                "made_by_migrations": t.is_made_by_migrations,
                "to_be_rejected": plan.rejected.get(t.table.name, 0),
            }
            for t in _in_order(plan)
        ],
        "awaited": [
            {"label": t.table.label, "table": t.table.name, "source_rows": t.source_rows, "dest_rows": t.dest_rows}
            for t in plan.awaited
        ],
        "taken_off": [{"table": i.table, "kind": i.kind, "name": i.name} for i in plan.taken_off],
        "left_out": [{"label": item.label, "reason": item.reason} for item in plan.left_out],
        "unknown_tables": list(plan.unknown_tables),
        "findings": [
            {"subject": f.subject, "text": f.text, "advice": f.advice, "stops": f.stops} for f in plan.findings
        ],
    }


# -- the outcome ------------------------------------------------------------------------------------------------------


def outcome_report(outcome: RunResult) -> Report:
    """Describe what a run did, the counts on both sides and the verdict."""
    document: dict[str, Any] = {"plan": plan_document(outcome.plan), "remark": outcome.remark}
    heading = f"Move from {outcome.plan.source.alias!r} to {outcome.plan.dest.alias!r}"
    if outcome.updates is not None:
        return _update_report(outcome, outcome.updates)
    if outcome.remark:
        document["not_recreated"] = [item.as_json() for item in outcome.not_recreated]
        lines = [outcome.remark, *(line for item in outcome.not_recreated for line in item.lines())]
        if outcome.not_recreated:
            count = plural(len(outcome.not_recreated), "object")
            lines.append(f"Not as before the run in {outcome.plan.dest.alias!r}: {count}, listed above.")
        preface = plan_report(outcome.plan) if outcome.plan.tables else None
        return Report(heading, (), tuple(lines), document, outcome.exit_code, preface)
    grids = [_tally_grid(outcome), *_time_grids(outcome)]
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
    return Report(
        heading, tuple(grids), tuple(_outcome_lines(outcome)), document, outcome.exit_code, plan_report(outcome.plan)
    )


def _update_report(outcome: RunResult, updates: Mapping[str, Update]) -> Report:
    heading = f"Update of {outcome.plan.dest.alias!r} from {outcome.plan.source.alias!r}"
    is_dry = outcome.verification is None
    grids = [_update_grid(outcome.plan, updates, is_dry=is_dry)]
    rows = plural(sum(update.compared for update in updates.values()), "row")
    if is_dry:
        heading += ", dry run"
        lines = [f"{rows} compared.", _forecast(updates)]
    else:
        lines = [f"{rows} compared, {plural(outcome.changes, 'row')} changed in {outcome.seconds:.1f} s."]
        if not outcome.changes:
            lines.append("The destination was equal to the source already: no row was written.")
    if outcome.verification:
        lines += verification_lines(outcome.verification)
        lines += proof_lines(outcome.verification.contents, None)
        lines += _unproven(outcome)
        grids.append(count_grid("Rows on both sides", outcome.verification.counts))
        if outcome.verification.contents:
            grids.append(contents_grid(outcome.verification.contents))
    if outcome.exit_code == 3:
        lines.append("The destination is NOT a copy of the source: see above.")
    document = {
        "plan": plan_document(outcome.plan),
        "remark": outcome.remark,
        "dry_run": is_dry,
        "updates": [
            _update_document(planned, updates[planned.table.name], is_dry=is_dry) for planned in outcome.plan.tables
        ],
        "seconds": round(outcome.seconds, 3),
        "verification": verification_document(outcome.verification) if outcome.verification else None,
    }
    return Report(heading, tuple(grids), tuple(lines), document, outcome.exit_code, plan_report(outcome.plan))


def _forecast(updates: Mapping[str, Update]) -> str:
    """Say what an update would write."""
    kinds = ("inserted", "rewritten", "deleted")
    counts = {kind: sum(getattr(update, kind) for update in updates.values()) for kind in kinds}
    if not any(counts.values()):
        return "Nothing was written, and nothing would be: the destination equals the source."
    would = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return f"Nothing was written. {plural(sum(counts.values()), 'row')} would change: {would}."


def _update_document(planned: TablePlan, update: Update, *, is_dry: bool) -> dict[str, Any]:
    """Describe what was done to a table for programs, or would be: then the names begin with ``to_be_``."""
    done = {"inserted": update.inserted, "rewritten": update.rewritten, "deleted": update.deleted}
    named = {f"to_be_{name}" if is_dry else name: count for name, count in done.items()}
    return {
        "label": planned.table.label,
        "table": planned.table.name,
        "compared": update.compared,
        **named,
        "seconds": update.seconds,
    }


def _unproven(outcome: RunResult) -> list[str]:
    """Say that values were not compared; those of tables with triggers are in any case."""
    compared = len(outcome.verification.contents) if outcome.verification else 0
    if not compared:
        return [UNPROVEN]
    others = len(outcome.plan.tables) - compared
    return [f"Not proven: the same of the other {plural(others, 'table')} (--verify full)."] if others else []


def _update_grid(plan: Plan, updates: Mapping[str, Update], *, is_dry: bool) -> Grid:
    total = Update()
    rows: list[tuple[Cell, ...]] = []
    for planned in plan.tables:
        update = updates[planned.table.name]
        rows.append((planned.table.label, *vars(update).values()))
        for name, value in vars(update).items():
            setattr(total, name, getattr(total, name) + value)
    headers = ("model", "compared", "inserted", "rewritten", "deleted", "seconds")
    if is_dry:
        headers = ("model", "compared", "to insert", "to rewrite", "to delete", "seconds")
    title = "What an update would write" if is_dry else "Updated"
    return Grid(title, headers, tuple(rows), ("total", *vars(total).values()))


def _tally_grid(outcome: RunResult) -> Grid:
    rows = [_tally_row(t.table.label, outcome.tallies[t.table.name]) for t in outcome.plan.tables]
    total = RowCounts()
    for tally in outcome.tallies.values():
        total.add(tally)
    headers = ("model", "read", "written", "rejected", "size", "seconds", "rows/s")
    return Grid("Copied", headers, tuple(rows), _tally_row("total", total))


def _tally_row(name: str, tally: RowCounts) -> tuple[Cell, ...]:
    rate = int(tally.rows_read / tally.seconds) if tally.seconds >= MEASURABLE_SECONDS else None
    size = byte_text(tally.bytes_written)
    return (name, tally.rows_read, tally.rows_written, tally.rows_rejected, size, round(tally.seconds, 1), rate)


def _time_grids(outcome: RunResult) -> list[Grid]:
    """Tell where the time went, for the tables that took most of it; none where all were quick."""
    by_label = {t.table.label: outcome.tallies[t.table.name] for t in outcome.plan.tables}
    shown = {label: tally for label, tally in by_label.items() if tally.seconds + tally.indexing >= TOLD_SECONDS}
    slowest = sorted(shown.items(), key=lambda item: -item[1].seconds - item[1].indexing)[:SHOWN_TABLES]
    if not slowest:
        return []
    others, total = RowCounts(), RowCounts()
    for label, tally in by_label.items():
        total.add(tally)
        if label not in dict(slowest):
            others.add(tally)
    rows = [_time_row(label, tally) for label, tally in slowest]
    rest = len(by_label) - len(slowest)
    rows += [_time_row(plural(rest, "other table"), others)] if rest else []
    headers = ("model", "reading", "converting", "writing", "indexes", "all")
    return [Grid("Where the time went, in seconds", headers, tuple(rows), _time_row("total", total))]


def _time_row(name: str, tally: RowCounts) -> tuple[Cell, ...]:
    seconds = (tally.reading, tally.converting, tally.writing, tally.indexing, tally.seconds + tally.indexing)
    return (name, *(round(one, 1) for one in seconds))


def _tally_document(planned: TablePlan, tally: RowCounts) -> dict[str, Any]:
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
        "seconds_indexing": round(tally.indexing, 3),
        "rows_per_second": round(tally.rows_read / tally.seconds) if tally.seconds >= MEASURABLE_SECONDS else None,
    }


def _outcome_lines(outcome: RunResult) -> list[str]:
    total = sum(tally.rows_written for tally in outcome.tallies.values())
    by = f"by {outcome.plan.jobs} processes " if outcome.plan.jobs > 1 else ""
    lines = [
        f"{plural(total, 'row')} in {plural(len(outcome.tallies), 'table')} written {by}in {outcome.seconds:.1f} s, "
        f"of which {outcome.seconds_finishing:.1f} s for indexes, foreign keys and counters."
    ]
    if outcome.verification:
        lines += verification_lines(outcome.verification)
        lines += proof_lines(outcome.verification.contents, None)
        lines += _unproven(outcome)
    left_out = len(outcome.plan.left_out) + len(outcome.plan.unknown_tables)
    lines += [f"{plural(left_out, 'table was', 'tables were')} left out; the plan names them."] if left_out else []
    lines.append(
        f"{plural(outcome.rows_rejected, 'row')} rejected; the reject file holds them, and personal data with them."
        if outcome.rows_rejected
        else "0 errors, 0 rows rejected."
    )
    if outcome.exit_code == 3:
        lines.append("The destination is NOT a copy of the source: see above.")
    return lines


# -- a comparison -----------------------------------------------------------------------------------------------------


def _tables_that_lack(comparison: Comparison) -> list[str]:
    """Name the tables that one side does not have, as far as the comparison of values does not."""
    endpoints = (comparison.source.alias, comparison.dest.alias)
    counts = () if comparison.verification.contents else comparison.verification.counts
    return [
        f"{count.label}: {no_table(alias, count.table)}."
        for count in counts
        for alias, rows in zip(endpoints, (count.source_rows, count.dest_rows), strict=True)
        if rows is None
    ]


def comparison_report(comparison: Comparison) -> Report:
    """Describe a comparison of two databases; values are only shown if its options say so."""
    verification, with_values = comparison.verification, comparison.options.show_values
    heading = f"Comparison\n  source      {comparison.source}\n  destination {comparison.dest}"
    grids = [count_grid("Rows on both sides", verification.counts)]
    if verification.contents:
        grids.append(contents_grid(verification.contents))
    equal = sum(count.status == EQUAL for count in verification.counts)
    lines = [
        *_tables_that_lack(comparison),
        *verification_lines(verification, with_values=with_values),
        *proof_lines(verification.contents, comparison.sample),
    ]
    if not verification.contents:
        lines.append(
            f"Proven: exact counts of {plural(len(verification.counts), 'table')}, {equal} of them equal. "
            "Not proven: that the rows hold the same values (--mode full)."
        )
    if comparison.rejected:
        lines += rejected_lines(comparison.rejected)
    lines += [f"Note: {note}" for note in comparison.notes]
    if comparison.exit_code == 3:
        lines.append("Differences were found.")
    document = {
        "source": _endpoint(comparison.source),
        "dest": _endpoint(comparison.dest),
        "mode": comparison.options.mode,
        "seed": comparison.sample.seed if comparison.sample else None,
        "notes": [{"subject": note.subject, "text": note.text, "advice": note.advice} for note in comparison.notes],
        **verification_document(verification, with_values=with_values),
    }
    return Report(heading, tuple(grids), tuple(lines), document, comparison.exit_code)
