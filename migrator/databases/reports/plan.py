"""The plan of a run as a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ...console.reports import Cell, Grid, Report, record
from ...console.wording import plural, shortened
from ..engines.base.catalogue import kinds_text
from ..engines.base.session_lifecycle import DatabaseInfo
from ..planning.plan import AwaitedTable, Plan, TablePlan, largest_first
from ..tables import Table, shown_name
from .checks import checks_document, checks_grid

SHOWN_FINDINGS = 20
SHOWN_REJECTED = 5


def plan_report(plan: Plan) -> Report:
    """Describe what a run will do."""
    heading = f"Plan\n  from {plan.source}\n  to   {plan.dest}"
    rows: list[tuple[Cell, ...]] = [
        (number, t.table.label, _store_name(plan, t), t.source_rows, t.dest_rows, len(t.table.columns), t.route.method)
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
    checks = checks_grid(plan.checks)
    return Report(heading, (grid,), tuple(_plan_lines(plan)), plan_document(plan), details=(checks,))


def plan_document(plan: Plan) -> dict[str, Any]:
    """Describe the plan for programs."""
    return {
        "source": endpoint(plan.source),
        "dest": endpoint(plan.dest),
        "adds_rows": plan.adds_rows,
        "estimate": None if plan.estimate is None else asdict(plan.estimate),
        "jobs": plan.jobs,
        "tables": [
            {
                **named(t.table),
                "source_schema": plan.source_schemas.get(t.table.name),
                "dest_schema": plan.dest_schemas.get(t.table.name),
                **record(t, "source_rows", "dest_rows"),
                "columns": [column.name for column in t.table.columns],
                "method": t.route.method,
                "emptied": t in plan.emptied,
                "made_by_migrations": t.is_made_by_migrations,
                "to_be_rejected": plan.rejected.get(t.table.name, 0),
            }
            for t in _in_order(plan)
        ],
        "awaited": [{**named(t.table), **record(t, "source_rows", "dest_rows")} for t in plan.awaited],
        "taken_off": [record(item, "table", "kind", "name") for item in plan.deferred],
        "left_out": [record(item, "label", "reason") for item in plan.left_out],
        "unknown_tables": list(plan.unknown_tables),
        "checks": checks_document(plan.checks),
        "findings": [record(finding, "subject", "text", "advice", "stops") for finding in plan.findings],
    }


def endpoint(database: DatabaseInfo) -> dict[str, str]:
    """Return how documents describe one of both databases."""
    return record(database, "alias", "engine", "database", "host")


def named(table: Table) -> dict[str, str]:
    """Return how documents name a table."""
    return {"label": table.label, "table": table.name}


def _keeps_an_order(plan: Plan) -> bool:
    return plan.jobs == 1 and not plan.updates


def _in_order(plan: Plan) -> Iterator[TablePlan]:
    """Yield the tables as one process copies them; parents first if several processes do, or none is copied."""
    groups = largest_first(plan.groups) if _keeps_an_order(plan) else plan.groups
    return (planned for group in groups for planned in group)


def _store_name(plan: Plan, planned: TablePlan) -> str:
    """Return a table's name, with its schemas if the tables of a database are in several."""
    name = shown_name(planned.table.name)
    sides = (plan.source_schemas, plan.dest_schemas)
    if all(len(set(schemas.values())) < 2 for schemas in sides):
        return name
    last = name.rpartition(".")[2]
    schemas = [side.get(planned.table.name) for side in sides]
    return " to ".join(dict.fromkeys(name if schema is None else f"{schema}.{last}" for schema in schemas))


def _awaits(waiting: AwaitedTable) -> str:
    return "created first" if waiting.dest_rows is None else "changed first"


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield from _schema_lines(plan)
    yield from _loss_lines(plan)
    if plan.updates:
        yield (
            "Only differences are written: changed rows are updated, new rows inserted, and rows missing from the "
            "source deleted."
        )
    if plan.adds_rows:
        yield "Rows that the destination already has stay unchanged."
    if plan.deferred:
        yield f"Dropped during the load and recreated afterwards: {kinds_text(plan.deferred)}."
    if plan.jobs > 1:
        yield f"{plan.jobs} processes copy in parallel, all from one snapshot of the source."
    yield from (f"Left out: {left_out.label} ({left_out.reason})." for left_out in plan.left_out)
    if plan.unknown_tables:
        yield f"Left out: tables without a model: {shortened(plan.unknown_tables)}."
    yield from _awaiting_lines(plan)
    yield from (f"To be rejected: {finding}" for finding in plan.rejecting)
    yield from _rejection_lines(plan)
    yield from _note_lines(plan)


def _schema_lines(plan: Plan) -> Iterator[str]:
    endpoints = ((plan.source, plan.source_schemas), (plan.dest, plan.dest_schemas))
    found = [f"{one.alias!r}: {', '.join(sorted(set(schemas.values())))}" for one, schemas in endpoints if schemas]
    if found:
        yield f"Schemas of these tables: {'; '.join(found)}."


def _loss_lines(plan: Plan) -> Iterator[str]:
    """Name the tables whose rows are deleted first, by who put the rows there."""
    if plan.destroyed:
        yield f"Rows that will be deleted first: {_with_rows(plan.destroyed)}."
        yield f"That requires --replace {plan.dest.alias} (or type the alias when asked)."
    of_django = [table for table in plan.emptied if table.is_made_by_migrate]
    of_project = [table for table in plan.emptied if table.is_made_by_migrations and table not in of_django]
    if of_django:
        yield f"Rows created by Django's migrate that will be replaced: {_with_rows(of_django)}."
    if of_project:
        yield f"Rows created by your migrations that will be replaced: {_with_rows(of_project)}."


def _with_rows(tables: Sequence[TablePlan | AwaitedTable]) -> str:
    return ", ".join(f"{table.table.label} ({plural(table.dest_rows or 0, 'row')})" for table in tables)


def _awaiting_lines(plan: Plan) -> Iterator[str]:
    """Say what a plan cannot know before migrations are applied, and when it is checked."""
    if plan.awaited:
        tables = plural(len(plan.awaited), "table")
        yield (
            f"Not checked yet: values, columns and foreign keys of {tables} that migrations will create or change. "
            "The run checks them after migrating and before it copies a row. A dry run can once the tables exist."
        )


def _rejection_lines(plan: Plan) -> Iterator[str]:
    """Add up the rows that will be rejected, each once, including those that refer to one of them."""
    if not plan.rejected:
        return
    of_tables = [(t.table.label, plan.rejected[t.table.name]) for t in plan.tables if t.table.name in plan.rejected]
    of_tables.sort(key=lambda one: -one[1])
    total = plural(sum(count for _, count in of_tables), "row")
    listed = shortened([f"{label} {count:,}" for label, count in of_tables], SHOWN_REJECTED)
    at_least = "" if plan.knows_rejected else "at least "
    yield f"To be rejected in total: {at_least}{total}, including rows that refer to rejected ones: {listed}."


def _note_lines(plan: Plan) -> Iterator[str]:
    """List the findings that stop nothing: first those about a whole database, because a long list is cut."""
    endpoints = (plan.source.alias, plan.dest.alias)
    notes = [finding for finding in plan.findings if not finding.stops]
    notes.sort(key=lambda finding: finding.subject not in endpoints)
    yield from (f"Note: {finding}" for finding in notes[:SHOWN_FINDINGS])
    if rest := len(notes[SHOWN_FINDINGS:]):
        yield f"Note: {plural(rest, 'more note')}; --format json lists them all."
