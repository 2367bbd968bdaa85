"""Objects that cannot be recreated after the last row: the rows in the way are named or rejected, others listed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from django.db import Error

from ...console.wording import plural
from ...errors import DataRejected, MigratorError, Reason
from ..chunks import Bounds, equality, find_bounds, order_by, where_clause
from ..engines.base.catalogue import FOREIGN_KEY, INDEX, DeferredObject, Obstacle
from ..engines.base.engine import Engine
from ..engines.base.errors import Fault
from ..journal.journal import Journal
from ..planning.foreign_keys import constrained, find_orphans
from ..planning.parallel_queries import ParallelQueries
from ..primary_keys import Key, key_text
from ..tables import Reference, Table
from .orphans import reject_rows
from .recreation import Failed
from .rejects import NO_KEY, Problem, RejectedRow, Rejects, row_of

SHOWN_ROWS = 5
BATCH = 500
ROWS_INDEXED_AT_ONCE = 10_000  # when an index is tried on a copy of rows
ADVICE = "Correct the row in the source."

Tables = Mapping[str, Table]


@dataclass(frozen=True)
class NotRecreated:
    """An object that a run dropped and that was not recreated as it was.

    ``statement`` recreates it; ``rows`` names the first rows in the way. ``is_unchecked``: it exists, but is enforced
    for new rows only.
    """

    table: str
    kind: str
    name: str
    statement: str
    reason: str
    rows: tuple[str, ...] = ()
    is_unchecked: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the lines that describe it for people; the statement is on a line of its own."""
        fate = "was recreated without a check of the rows" if self.is_unchecked else "was not recreated"
        yield f"  {self.kind} {self.name!r} of {self.table!r} {fate}: {self.reason}."
        yield from (f"    {row}" for row in self.rows)
        yield f"    {'Check them with' if self.is_unchecked else 'Recreate it with'}: {self.statement}"


def find_obstacles(dest: Engine, table: Table, item: DeferredObject, limit: int) -> list[Obstacle]:
    """Return rows that prevent the recreation of an object, at most ``limit``; none if they cannot be found."""
    try:
        found = dest.catalogue.find_obstacles(item, table.key, limit)
        if found is None and item.kind == INDEX:
            found = list(islice(_not_indexed(dest, table, item), limit))
    except Error:  # this search only explains another error
        found = None
    return found or []


def _not_indexed(dest: Engine, table: Table, item: DeferredObject) -> Iterator[Obstacle]:
    """Yield the rows that an index rejects, found by creating it on copies of fewer and fewer rows."""

    def can_index(bounds: Bounds) -> bool:
        return dest.catalogue.can_index(item, *where_clause(dest, table.key, bounds, None))

    def search(keys: Sequence[Key], below: Key | None) -> Iterator[Key]:
        if not keys or can_index(Bounds(below, keys[-1])):
            return
        if len(keys) == 1:
            yield keys[0]
            return
        half = len(keys) // 2
        yield from search(keys[:half], below)
        yield from search(keys[half:], keys[half - 1])

    if not table.key or not dest.catalogue.can_index(item, " WHERE 1 = 0", ()):
        return
    names = ", ".join(dest.quote(name) for name in table.key)
    rows = dest.count(table.name)
    for bounds in list(find_bounds(dest, table.name, table.key, rows, ROWS_INDEXED_AT_ONCE, None)):
        if can_index(bounds):
            continue
        where, params = where_clause(dest, table.key, bounds, None)
        page = f"SELECT {names} FROM {dest.quote(table.name)}{where}{order_by(dest, table.key)}"
        for key in search([tuple(row) for row in dest.fetch_all(page, params)], bounds.lower):
            yield Obstacle(key, *equality(dest, table.key, key))


def _describe(table: Table, item: DeferredObject, obstacle: Obstacle) -> str:
    """Describe a row by its model, its primary key and the fields of the object."""
    key = key_text(table, obstacle.key) if table.key else NO_KEY
    fields = ", ".join(_fields(table, item))
    if table.key and obstacle.duplicate_of is not None and obstacle.duplicate_of != obstacle.key:
        keys = f"primary keys {key_text(table, obstacle.duplicate_of)} and {key}"
    else:
        keys = f"primary key {key}" + (", which exists twice" if obstacle.duplicate_of is not None else "")
    return f"{table.label} with {keys}{f', field {fields}' if fields else ''}"


def _fields(table: Table, item: DeferredObject) -> list[str]:
    return [table.column(name).attname for name in _columns(table, item)]


def _columns(table: Table, item: DeferredObject) -> list[str]:
    """Return the columns that the definition of an index or a key contains."""
    text = re.split(r"\b(?:REFERENCES|INCLUDE|WHERE|WITH)\b", item.create_sql.partition("(")[2])[0]
    return [c.name for c in table.columns if re.search(rf"(?<!\w){re.escape(c.name)}(?!\w)", text)]


def explain(dest: Engine, tables: Tables, failed: Sequence[Failed], hint: str) -> MigratorError:
    """Build the error for objects that could not be recreated, which names the rows in the way."""
    reasons = []
    for one in failed:
        fault = dest.fault(one.error, one.table)
        details = [f"{row}." for row in _rows(dest, tables, one)]
        if not details and (triggers := dest.catalogue.event_triggers()):
            details = [f"Event triggers are enabled there, which may prevent it: {', '.join(triggers[:SHOWN_ROWS])}."]
        reasons.append(Reason(f"{_name(one, tables)}: {fault.message} [{fault.code}].", tuple(details)))
    count = plural(len(failed), "object")
    text = f"{dest.alias!r}: all rows are copied, but {count} could not be recreated:"
    return DataRejected(text, reasons=reasons, steps=[hint])


def _name(failed: Failed, tables: Tables) -> str:
    owner = tables[failed.table].label if failed.table in tables else repr(failed.table)
    return f"{failed.item.kind} {failed.item.name!r} of {owner}" if failed.item else f"the statistics of {owner}"


def _rows(dest: Engine, tables: Tables, failed: Failed) -> tuple[str, ...]:
    table = tables.get(failed.table)
    if table is None or failed.item is None or not dest.is_about_rows(failed.error):
        return ()
    found = find_obstacles(dest, table, failed.item, SHOWN_ROWS + 1)
    names = [_describe(table, failed.item, obstacle) for obstacle in found[:SHOWN_ROWS]]
    return (*names, *(["and more rows"] if len(found) > SHOWN_ROWS else []))


def reject_obstacles(
    dest: Engine, tables: Tables, failed: Sequence[Failed], rejects: Rejects, journal: Journal
) -> dict[str, int]:
    """Move the rows in the way to the reject file, and return their number by table name.

    Of several rows with the same unique values, the one with the smallest key stays.
    """
    removed: dict[str, int] = {}
    for one in failed:
        table = tables.get(one.table)
        if table is None or one.item is None:
            continue
        fault = dest.fault(one.error, one.table)
        while found := find_obstacles(dest, table, one.item, BATCH):
            rows = [_rejected(dest, table, one.item, obstacle, fault) for obstacle in found]
            conditions = [(obstacle.test, obstacle.params) for obstacle in found]
            reject_rows(dest, table, rows, conditions, rejects, journal)
            removed[table.name] = removed.get(table.name, 0) + len(rows)
    return removed


def _rejected(dest: Engine, table: Table, item: DeferredObject, obstacle: Obstacle, fault: Fault) -> RejectedRow:
    names = [column.name for column in table.columns]
    columns = ", ".join(dest.quote(name) for name in names)
    query = f"SELECT {columns} FROM {dest.quote(table.name)} WHERE {obstacle.test}"
    values = row_of(names, dest.fetch_all(query, obstacle.params)[0])
    key = key_text(table, obstacle.key) if table.key else NO_KEY
    fields = ", ".join(_fields(table, item)) or None
    reason = f"{item.name}: {fault.message}"
    problem = Problem(table.label, table.name, key, fields, item.kind, reason, fault.code, ADVICE)
    return RejectedRow(problem, values)


def list_failures(dest: Engine, tables: Tables, failed: Sequence[Failed]) -> Iterator[NotRecreated]:
    """Yield what cannot be recreated. Foreign keys are recreated without a check of the rows if the engine can."""
    for one in failed:
        if one.item is None:  # statistics, which the server refreshes by itself in time
            continue
        item, fault = one.item, dest.fault(one.error, one.table)
        reason = f"{fault.message} [{fault.code}]"
        rows = _rows(dest, tables, one)
        try:
            is_there = dest.catalogue.recreate_unvalidated(item)
        except Error:
            is_there = False
        statement = dest.catalogue.check_statement(item) if is_there else dest.catalogue.statement(item)
        yield NotRecreated(item.table, item.kind, item.name, statement, reason, rows, is_there)


def list_keys_with_orphans(dest: Engine, tables: Tables, items: Sequence[DeferredObject]) -> Iterator[NotRecreated]:
    """Yield the foreign keys that an engine has recreated without a check, and for which there are orphans."""
    keys = [item for item in items if item.kind == FOREIGN_KEY] if dest.features.can_switch_off_foreign_keys else []
    for table in [tables[name] for name in dict.fromkeys(item.table for item in keys) if name in tables]:
        for reference in constrained(table):
            of_column = [i for i in keys if i.table == table.name and reference.column in _columns(table, i)]
            if of_column and (reason := _orphans(dest, table, reference)):
                query = dest.orphan_query(table.name, reference, "child.*").replace("%%", "%")
                yield from (NotRecreated(i.table, i.kind, i.name, query, reason, is_unchecked=True) for i in of_column)


def _orphans(dest: Engine, table: Table, reference: Reference) -> str | None:
    """Describe the orphans of a reference, or why they cannot be found; ``None`` if there are none."""
    try:
        found = find_orphans(ParallelQueries(dest), [replace(table, references=(reference,))], {}).result()
    except Error as error:
        fault = dest.fault(error, table.name)
        return f"its rows cannot be checked: {fault.message} [{fault.code}]"
    return str(found[0]) if found else None


def list_unsigned(dest: Engine, items: Sequence[DeferredObject]) -> Iterator[NotRecreated]:
    """Yield all objects of a record that is not signed, so that their SQL is not executed."""
    for item in items:
        reason = "its SQL is not signed with this project's SECRET_KEY, so read it before you run it"
        yield NotRecreated(item.table, item.kind, item.name, dest.catalogue.statement(item), reason)
