"""What comes after the last row: rows without parents, counters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from django.db import transaction

from ..chunks import key_text
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..engines.base.values import BIGINT
from ..journal.journal import Journal
from ..planning.foreign_keys import constrained
from ..planning.key_lookup import chosen_among
from ..planning.plan import Plan, TablePlan
from ..planning.triggers import without_triggers
from ..tables import Reference, Table
from .rejects import Problem, Rejects, row_of

BATCH = 500
ORPHAN_ADVICE = "Copy or correct the row that it points at, then this one."


def reject_orphans(
    tables: Sequence[TablePlan], rejects: Rejects, journal: Journal, *, adds_rows: bool
) -> dict[str, int]:
    """Move rows whose parents were rejected, or never existed, to the reject file; then their children, and so on.

    ``adds_rows``: the destination has rows of its own, and they stay whatever they point at. Returns the number of
    rejected rows by table name.
    """
    removed: dict[str, int] = {}
    found = True
    while found:
        found = False
        for planned in tables:
            for reference in constrained(planned.table):
                while count := _reject_batch(planned, reference, rejects, journal, adds_rows=adds_rows):
                    removed[planned.table.name] = removed.get(planned.table.name, 0) + count
                    found = True
    return removed


def _reject_batch(
    planned: TablePlan, reference: Reference, rejects: Rejects, journal: Journal, *, adds_rows: bool
) -> int:
    table, dest = planned.table, planned.route.dest
    names = [column.name for column in table.columns]
    select = ", ".join(f"child.{dest.quote(name)}" for name in names)
    query = dest.orphan_query(table.name, reference, select)
    rows = dest.fetch_all(query if adds_rows else f"{query} LIMIT {BATCH}")
    if adds_rows and rows:
        rows = list(islice(_copied(planned, names, rows, rejects), BATCH))
    if not rows:
        return 0
    key = table.key or (reference.column,)
    test = " AND ".join(f"{dest.quote(name)} = %s" for name in key)
    attname = table.column(reference.column).attname
    reason = f"the row of {reference.target_table} that it points at is missing"
    found = []
    for row in rows:
        values = row_of(names, row)
        own = [values[name] for name in key]
        problem = Problem(
            table.label, table.name, key_text(table, own), attname, "reference", reason, "reference", ORPHAN_ADVICE
        )
        found.append((problem, values, test, own))
    silenced = [table.name] if planned.route.silences_triggers else []
    reject_rows(dest, table, found, rejects, journal, silenced)
    return len(rows)


def _copied(planned: TablePlan, names: Sequence[str], rows: Sequence[Row], rejects: Rejects) -> Iterator[Row]:
    """Give those rows of the destination that the run has copied: chosen ones, which it has not rejected."""
    table = planned.table
    there = {tuple(row[names.index(name)] for name in table.key): row for row in rows if table.key}
    rejected = rejects.listed(table.name)
    for own, key in chosen_among(planned.route.source, planned.route.dest, table, planned.route.restriction, there):
        if key_text(table, own) not in rejected:
            yield there[key]


def reject_rows(
    dest: Engine,
    table: Table,
    rows: Sequence[tuple[Problem, dict[str, Any], str, Sequence[Any]]],
    rejects: Rejects,
    journal: Journal,
    silenced: Sequence[str] = (),
) -> None:
    """Move rows of the destination to the reject file, in one transaction in which ``silenced`` tables fire no trigger.

    Each is given with its problem, its values, and the condition and parameters that find it.
    """
    with transaction.atomic(using=dest.alias), without_triggers(dest, silenced):
        rejects.begin()
        for problem, values, test, params in rows:
            rejects.add(problem, values, None)
            dest.execute(f"DELETE FROM {dest.quote(table.name)} WHERE {test}", params)
        journal.record_rejected_afterwards(table.name, len(rows))
        rejects.commit()
    if not dest.connection.in_atomic_block:  # else all of it may be tried again
        rejects.settle()


def reset_sequences(plan: Plan) -> None:
    """Set every copied table's counter so that the next key is one that is free.

    Where the destination becomes what the source is, it goes on from where the source's counter is, which may be above
    the largest key: else the key of a deleted row, to which something may still refer by its number, would come back.
    """
    if not plan.tables:
        return
    tables, route = [planned.table for planned in plan.tables], plan.tables[0].route
    next_keys = {} if plan.adds_rows else route.source.catalogue.next_keys(tables)
    held = {
        table.name: next_keys[table.name]
        for table in tables
        if table.name in next_keys and next_keys[table.name] <= _largest_key(table, route.dest)
    }
    route.dest.catalogue.reset_sequences(tables, held, may_lower=not (plan.adds_rows or plan.updates))


def _largest_key(table: Table, dest: Engine) -> int:
    largest: int | None = None
    with contextlib.suppress(KeyError):  # raised for a field that Django has no range for
        largest = dest.connection.ops.integer_field_range(table.column(table.key[0]).field.get_internal_type())[1]
    return BIGINT[1] if largest is None else largest
