"""Orphans, which are rejected after the last row, and the rejection of rows that are in the destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import transaction

from ..chunks import Bounds, any_of, order_by, where_clause
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..journal.journal import Journal
from ..planning.foreign_keys import constrained
from ..planning.key_lookup import LOOKUP, chosen_among, pages
from ..planning.plan import TablePlan
from ..planning.triggers import without_triggers
from ..primary_keys import Key, key_text
from ..tables import Reference, Table
from .rejects import NO_KEY, Problem, RejectedRow, Rejects, row_of

BATCH = 2000  # rows in one transaction
ORPHAN_ADVICE = "Copy or correct the row that it references, then this one."

# SQL with its parameters, after WHERE.
Condition = tuple[str, Sequence[Any]]


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
                if count := _OrphansOf(planned, reference, rejects, adds_rows=adds_rows).reject(journal):
                    removed[planned.table.name] = removed.get(planned.table.name, 0) + count
                    has_removed = True
    return removed


class _OrphansOf:
    """The orphans of one reference in the destination, found by their primary keys.

    Those of a table without one are found by the values of the foreign key.
    """

    def __init__(self, planned: TablePlan, reference: Reference, rejects: Rejects, *, adds_rows: bool) -> None:
        self._planned, self._reference, self._rejects = planned, reference, rejects
        self._table, self._dest = planned.table, planned.route.dest
        self._adds_rows = adds_rows
        self._key = planned.table.key or (reference.column,)

    def reject(self, journal: Journal) -> int:
        """Move them to the reject file, and return how many there were."""
        silenced = [self._table.name] if self._planned.route.disables_triggers else []
        count = 0
        for keys in pages(self._copied_keys() if self._adds_rows else self._keys(), BATCH):
            conditions = [any_of(self._dest, self._key, page) for page in pages(keys, LOOKUP // len(self._key))]
            rows = [self._rejected(row) for condition in conditions for row in self._rows(condition)]
            reject_rows(self._dest, self._table, rows, conditions, self._rejects, journal, silenced)
            count += len(rows)
        return count

    def _keys(self) -> Iterator[Key]:
        """Yield the keys page by page, each page with a query of its own, as the rows before it are deleted by then."""
        dest, names = self._dest, ", ".join(f"child.{self._dest.quote(name)}" for name in self._key)
        select = names if self._table.key else f"DISTINCT {names}"
        orphans = dest.orphan_query(self._table.name, self._reference, select)
        page: Sequence[Row] | None = None
        while page is None or len(page) == BATCH:
            bounds = Bounds(tuple(page[-1]) if page else None)
            where, params = where_clause(dest, self._key, bounds, None)
            query = f"SELECT * FROM ({orphans}) orphans{where}{order_by(dest, self._key)} LIMIT {BATCH}"
            page = dest.fetch_all(query, params)
            yield from map(tuple, page)

    def _copied_keys(self) -> list[Key]:
        """Return the keys of those rows that the run has copied: it selected them, and has not rejected them."""
        table, route = self._table, self._planned.route
        keys = list(self._keys()) if table.key else []
        rejected = self._rejects.keys_of(table.name) if keys else set()
        chosen = chosen_among(route.source, route.dest, table, route.restriction, keys)
        return [key for own, key in chosen if key_text(table, own) not in rejected]

    def _rows(self, condition: Condition) -> list[dict[str, Any]]:
        dest, names = self._dest, [column.name for column in self._table.columns]
        columns, (test, params) = ", ".join(dest.quote(name) for name in names), condition
        query = f"SELECT {columns} FROM {dest.quote(self._table.name)} WHERE {test}"
        return [row_of(names, row) for row in dest.fetch_all(query, params)]

    def _rejected(self, values: dict[str, Any]) -> RejectedRow:
        table = self._table
        key = key_text(table, [values[name] for name in table.key]) if table.key else NO_KEY
        attname = table.column(self._reference.column).attname
        reason = f"the row of {self._reference.target_table} that it references is missing"
        problem = Problem(
            table.label, table.name, key, attname, "reference", reason, "reference", ORPHAN_ADVICE,
        )  # fmt: skip
        return RejectedRow(problem, values)


def reject_rows(
    dest: Engine,
    table: Table,
    rows: Sequence[RejectedRow],
    conditions: Sequence[Condition],
    rejects: Rejects,
    journal: Journal,
    silenced: Sequence[str] = (),
) -> None:
    """Move rows of the destination to the reject file, in one transaction that disables triggers of ``silenced``.

    ``conditions`` find these rows.
    """
    with transaction.atomic(using=dest.alias), without_triggers(dest, silenced):
        rejects.begin()
        for row in rows:
            rejects.add(row.problem, row.values, None)
        for test, params in conditions:
            dest.execute(f"DELETE FROM {dest.quote(table.name)} WHERE {test}", params)
        journal.record_rejected_afterwards(table.name, len(rows))
        rejects.commit()
    if not dest.connection.in_atomic_block:  # otherwise all of it may be retried
        rejects.settle()
