"""Orphans, which are rejected after the last row, and the rejection of rows that are in the destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from django.db import transaction

from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..journal.journal import Journal
from ..planning.foreign_keys import constrained
from ..planning.key_lookup import chosen_among
from ..planning.plan import TablePlan
from ..planning.triggers import without_triggers
from ..primary_keys import key_text
from ..tables import Reference, Table
from .rejects import Problem, RejectedRow, Rejects, row_of

BATCH = 500
ORPHAN_ADVICE = "Copy or correct the row that it references, then this one."


def reject_orphans(
    tables: Sequence[TablePlan], rejects: Rejects, journal: Journal, *, adds_rows: bool
) -> dict[str, int]:
    """Move orphans, whose parents were rejected or never existed, to the reject file; then their children, and so on.

    ``adds_rows``: the destination has rows of its own, which stay even as orphans. Returns the number of rejected rows
    by table name.
    """
    removed: dict[str, int] = {}
    has_removed = True
    while has_removed:
        has_removed = False
        for planned in tables:
            for reference in constrained(planned.table):
                while count := _reject_batch(planned, reference, rejects, journal, adds_rows=adds_rows):
                    removed[planned.table.name] = removed.get(planned.table.name, 0) + count
                    has_removed = True
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
    reason = f"the row of {reference.target_table} that it references is missing"
    found = []
    for row in rows:
        values = row_of(names, row)
        key_values = [values[name] for name in key]
        problem = Problem(
            table.label, table.name, key_text(table, key_values), attname,
            "reference", reason, "reference", ORPHAN_ADVICE,
        )  # fmt: skip
        found.append(RejectedRow(problem, values, test, key_values))
    silenced = [table.name] if planned.route.disables_triggers else []
    reject_rows(dest, table, found, rejects, journal, silenced)
    return len(rows)


def _copied(planned: TablePlan, names: Sequence[str], rows: Sequence[Row], rejects: Rejects) -> Iterator[Row]:
    """Yield those rows of the destination that the run has copied: it selected them, and has not rejected them."""
    table = planned.table
    by_key = {tuple(row[names.index(name)] for name in table.key): row for row in rows if table.key}
    rejected = rejects.keys_of(table.name)
    for own, key in chosen_among(planned.route.source, planned.route.dest, table, planned.route.restriction, by_key):
        if key_text(table, own) not in rejected:
            yield by_key[key]


def reject_rows(
    dest: Engine,
    table: Table,
    rows: Sequence[RejectedRow],
    rejects: Rejects,
    journal: Journal,
    silenced: Sequence[str] = (),
) -> None:
    """Move rows of the destination to the reject file, in one transaction that disables triggers of ``silenced``."""
    with transaction.atomic(using=dest.alias), without_triggers(dest, silenced):
        rejects.begin()
        for row in rows:
            rejects.add(row.problem, row.values, None)
            dest.execute(f"DELETE FROM {dest.quote(table.name)} WHERE {row.test}", row.params)
        journal.record_rejected_afterwards(table.name, len(rows))
        rejects.commit()
    if not dest.connection.in_atomic_block:  # otherwise all of it may be retried
        rejects.settle()
