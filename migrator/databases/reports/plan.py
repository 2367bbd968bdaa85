"""The plan of a run as a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...console.reports import Cell, Fact, Grid, Mood, Point, Report, Verdict, record
from ...console.wording import byte_text, duration_range, listed, plural, shortened
from ..engines.base.catalogue import kinds_text
from ..engines.base.session_lifecycle import DatabaseInfo
from ..planning.plan import AwaitedTable, Estimate, Plan, TablePlan, largest_first
from ..tables import Table, shown_name
from .assessment import assess
from .checks import checks_document

SCHEMA = "migrator/batch-migrate@1"
SHOWN_TABLES = 3
SHOWN_LOSSES = 5


def plan_report(plan: Plan) -> Report:
    """Describe what a run will do."""
    assessment = assess(plan)
    return Report(
        title=f"Plan: {plan.source.alias!r} to {plan.dest.alias!r}",
        verdict=Verdict(Mood.NEUTRAL, "PLAN", _sentence(plan)),
        facts=(Fact("from", str(plan.source)), Fact("to", str(plan.dest)), *_facts(plan)),
        points=tuple(_points(plan)),
        details=(_grid(plan), assessment.grid),
        assessment=assessment,
        document=plan_document(plan),
    )


def _sentence(plan: Plan) -> str:
    every = plan.every
    count = plural(len(every), "table")
    between = f"from {plan.source.alias!r} to {plan.dest.alias!r}"
    if not every:
        return f"No table can be copied {between} yet."
    if plan.updates:
        return f"Compare {count} of {plan.source.alias!r} with {plan.dest.alias!r}, and write only what differs."
    verb = "Resume copying" if plan.is_resumed else "Add" if plan.adds_rows else "Copy"
    return f"{verb} {plural(sum(t.source_rows for t in every), 'row')} of {count} {between}."


def _grid(plan: Plan) -> Grid:
    rows: list[tuple[Cell, ...]] = [
        (number, t.table.label, _store_name(plan, t), t.source_rows, t.dest_rows, len(t.table.columns), t.route.method)
        for number, t in enumerate(_in_order(plan), 1)
    ]
    rows += [
        (None, t.table.label, t.table.name, t.source_rows, t.dest_rows, len(t.table.columns), _awaits(t))
        for t in plan.awaited
    ]
    every = plan.every
    totals = (sum(t.source_rows for t in every), sum(t.dest_rows or 0 for t in every))
    footer = (None, plural(len(rows), "table"), "", *totals, None, "")
    headers = ("#", "model", "table", "source rows", "dest rows", "columns", "method")
    title = "Tables, in the order in which they are copied" if _keeps_an_order(plan) else "Tables"
    return Grid(title, headers, tuple(rows), footer)


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
        "findings": [finding.document() for finding in plan.findings],
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


def _facts(plan: Plan) -> Iterator[Fact]:
    if largest := _largest(plan):
        yield Fact("largest", largest)
    if plan.estimate:
        yield Fact("estimate", _estimate_text(plan.estimate, plan.dest.alias))
    yield from _schema_facts(plan)
    yield from _loss_facts(plan)
    if plan.updates:
        yield Fact(
            "write", "changed rows are updated, new rows inserted, and rows missing from the source deleted in one step"
        )
    if plan.request.follows:
        yield Fact(
            "follow",
            f"what changes in {plan.source.alias!r} is copied again, until you ask for the last pass. Its server keeps "
            "its log of changes until this command has read it",
        )
    if plan.adds_rows:
        yield Fact("keep", "rows that the destination already has stay unchanged")
    if plan.deferred:
        yield Fact("rebuild", f"{kinds_text(plan.deferred)}: dropped during the load and recreated afterwards")
    if plan.jobs > 1:
        yield Fact("processes", f"{plan.jobs} copy in parallel, all from one snapshot of the source")
    if plan.request.workers:
        yield Fact("workers", plan.request.workers)
    yield from _rejection_facts(plan)
    yield from _left_out_facts(plan)
    if plan.awaited:
        tables = plural(len(plan.awaited), "table")
        yield Fact(
            "not checked",
            f"values, columns and foreign keys of {tables} that migrations will create or change. The run checks them "
            "after migrating and before it copies a row. A dry run can once the tables exist.",
        )


def _estimate_text(estimate: Estimate, alias: str) -> str:
    text = duration_range(estimate.seconds_low, estimate.seconds_high)
    if estimate.bytes_at_least:
        text += f", at least {byte_text(estimate.bytes_at_least)} in {alias!r} plus indexes and logs"
    return text


def _largest(plan: Plan) -> str:
    """Name the tables with the most rows, and count the others."""
    every = sorted(plan.every, key=lambda t: -t.source_rows)
    named = [f"{t.table.label} {t.source_rows:,}" for t in every[:SHOWN_TABLES] if t.source_rows]
    others = [f"{len(every) - len(named)} more"] if named and len(named) < len(every) else []
    empty = sum(not t.source_rows for t in every)
    return listed([*named, *others]) + (f" ({empty} of them empty)" if others and empty else "")


def _schema_facts(plan: Plan) -> Iterator[Fact]:
    endpoints = ((plan.source, plan.source_schemas), (plan.dest, plan.dest_schemas))
    found = [f"{one.alias!r}: {', '.join(sorted(set(schemas.values())))}" for one, schemas in endpoints if schemas]
    if found:
        yield Fact("schemas", "; ".join(found))


def _loss_facts(plan: Plan) -> Iterator[Fact]:
    """Name the tables whose rows are deleted first, by who put the rows there."""
    if plan.destroyed:
        name = f"--replace {plan.dest.alias}"
        way = f". Confirmed by {name}." if plan.is_confirmed else f". Requires {name} (or type the alias when asked)."
        yield _loss_fact("delete first", plan.destroyed, "", way, Mood.WARNING)
    of_django = [table for table in plan.emptied if table.is_made_by_migrate]
    of_project = [table for table in plan.emptied if table.is_made_by_migrations and table not in of_django]
    if of_django:
        yield _loss_fact("replace", of_django, " created by Django's migrate")
    if of_project:
        yield _loss_fact("replace", of_project, " created by your migrations")


def _loss_fact(
    label: str, tables: Sequence[TablePlan | AwaitedTable], whose: str, way: str = "", mood: Mood = Mood.NEUTRAL
) -> Fact:
    rows = {table.table.label: table.dest_rows or 0 for table in tables}
    return Fact(label, _rows_text(rows, SHOWN_LOSSES, whose) + way, _rows_text(rows, len(rows), whose) + way, mood)


def _rows_text(rows: Mapping[str, int], shown: int, whose: str = "") -> str:
    """Add up the rows of tables, given by label, and name the largest."""
    largest = sorted(rows.items(), key=lambda item: -item[1])
    names = shortened([f"{label} {count:,}" for label, count in largest], shown)
    return f"{plural(sum(rows.values()), 'row')}{whose}: {names}"


def _rejection_facts(plan: Plan) -> Iterator[Fact]:
    """Add up the rows that will be rejected, each once, including those that refer to one of them."""
    rows = {t.table.label: plan.rejected[t.table.name] for t in plan.tables if t.table.name in plan.rejected}
    if rows:
        at_least = "" if plan.knows_rejected else "at least "
        whose = ", including rows that refer to rejected ones"
        short, full = (at_least + _rows_text(rows, shown, whose) for shown in (SHOWN_LOSSES, len(rows)))
        yield Fact("reject", short, full, Mood.WARNING)


def _left_out_facts(plan: Plan) -> Iterator[Fact]:
    models = [f"{left_out.label} ({left_out.reason})" for left_out in plan.left_out]
    if models:
        yield Fact("left out", shortened(models, SHOWN_TABLES), full=", ".join(models))
    if plan.unknown_tables:
        names = plan.unknown_tables
        short, full = (f"these tables are left out: {shortened(names, shown)}" for shown in (SHOWN_TABLES, len(names)))
        yield Fact("no model", short, full)


def _points(plan: Plan) -> Iterator[Point]:
    """Yield the findings that stop nothing: first those about a whole database, because a long list is cut."""
    yield from (Point(Mood.WARNING, f"To be rejected: {finding}") for finding in plan.rejecting)
    endpoints = (plan.source.alias, plan.dest.alias)
    notes = [finding for finding in plan.findings if not finding.stops]
    notes.sort(key=lambda finding: finding.subject not in endpoints)
    yield from (Point(Mood.NOTE, str(finding)) for finding in notes)
