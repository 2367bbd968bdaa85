"""The rows that a run with `--on-error skip` will reject: those with findings, and all that refer to one of them.

They are determined in the source, as sets of primary keys, in the order in which the run checks them: values first,
then unique keys in the order of the rows, then foreign keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..findings import Cause, Finding, FoundRows
from ..tables import Reference, Table
from .foreign_keys import constrained
from .key_lookup import absent_in
from .parent_rows import children_of
from .plan import TablePlan

PAGE = 200


@dataclass(frozen=True)
class Rejection:
    """How many rows will be rejected, by table name; ``is_complete``: every finding could say which."""

    rows: Mapping[str, int]
    is_complete: bool

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def forecast_rejection(
    source: Engine, dest: Engine, tables: Sequence[TablePlan], findings: Iterable[Finding], *, adds_rows: bool
) -> Rejection:
    """Return how many rows a run will reject because of findings about rows.

    ``adds_rows``: the destination keeps its rows, and foreign keys can refer to them.
    """
    findings = list(findings)
    found = [finding.rows for finding in findings if finding.rows is not None]
    closure = _Closure(source, dest, tables, adds_rows=adds_rows)
    by_cause = {cause: [rows for rows in found if rows.cause is cause] for cause in Cause}
    pairs = by_cause[Cause.REPEATED] + by_cause[Cause.CONFLICTING]
    closure.refuse(by_cause[Cause.VALUE])
    if adds_rows:  # foreign keys and primary keys are enforced from the first row on
        closure.refuse(by_cause[Cause.TAKEN], has_children=False)
        closure.refuse(by_cause[Cause.ORPHAN])
        closure.follow()
        closure.keep_first(pairs)
    else:
        closure.keep_first(pairs)
        closure.refuse(by_cause[Cause.ORPHAN])
    closure.follow()
    return Rejection({name: len(keys) for name, keys in closure.rejected.items() if keys}, len(found) == len(findings))


class _Closure:
    """The primary keys of rejected rows, by table name, as they are collected."""

    def __init__(self, source: Engine, dest: Engine, tables: Sequence[TablePlan], *, adds_rows: bool) -> None:
        self.rejected: defaultdict[str, set[Row]] = defaultdict(set)
        self._source, self._dest, self._adds_rows = source, dest, adds_rows
        self._tables = {planned.table.name: planned for planned in tables}
        self._referring: defaultdict[str, list[tuple[TablePlan, Reference]]] = defaultdict(list)
        for planned in tables:
            for reference in constrained(planned.table):
                self._referring[reference.target_table].append((planned, reference))
        # By table name, rows whose children have not been searched for.
        self._new: defaultdict[str, list[Row]] = defaultdict(list)

    def refuse(self, found: Iterable[FoundRows], *, has_children: bool = True) -> None:
        """Reject rows, and have their children searched for."""
        for rows in found:
            self._reject(rows.table, map(_hashable, rows.keys(self._source)), has_children=has_children)

    def _reject(self, table: str, keys: Iterable[Row], *, has_children: bool = True) -> None:
        known = self.rejected[table]
        for number, key in enumerate(keys):
            if not self._tables[table].table.key:
                key = (len(known), number)  # rows without a key are counted one by one
            if key not in known:
                known.add(key)
                if has_children:
                    self._new[table].append(key)

    def keep_first(self, found: Sequence[FoundRows]) -> None:
        """Reject rows that conflict with each other, except the first that is stored."""
        # By table and row, the groups that it is in: all rows with one value, or a pair of rows in conflict.
        groups: defaultdict[str, defaultdict[Row, set[tuple[int, Row]]]] = defaultdict(lambda: defaultdict(set))
        for rule, rows in enumerate(found):
            width = len(self._tables[rows.table].table.key)
            for pair in map(_hashable, rows.keys(self._source)):
                key, first = pair[:width], pair[width:]
                group = (rule, first if rows.cause is Cause.REPEATED else pair)
                groups[rows.table][key].add(group)
                groups[rows.table][first].add(group)
        for table, members in groups.items():
            held: set[tuple[int, Row]] = set()
            refused = []
            for key in _in_order(members):
                if key in self.rejected[table]:
                    continue
                if members[key] & held:
                    refused.append(key)
                else:
                    held |= members[key]
            self._reject(table, refused)

    def follow(self) -> None:
        """Reject the rows that refer to rejected rows, and so on until there are no more."""
        while any(self._new.values()):
            table = next(name for name, keys in self._new.items() if keys)
            keys = self._new.pop(table)
            for child, reference in self._referring[table]:
                values: Iterable[object] = self._values(self._tables[table].table, reference, keys)
                if self._adds_rows:
                    values = absent_in(self._dest, self._source, child.table, reference, iter(values))
                found = children_of(self._source, child.table, reference, child.route.restriction, values)
                self._reject(child.table.name, map(_hashable, found))

    def _values(self, table: Table, reference: Reference, keys: Sequence[Row]) -> Iterator[object]:
        """Yield the values of foreign keys to rejected rows that no remaining row has."""
        if table.key == (reference.target_column,):
            yield from (key[0] for key in keys)
            return
        if not table.key:
            return
        source, rejected = self._source, self.rejected[table.name]
        target, name = source.quote(reference.target_column), source.quote(table.name)
        names = ", ".join(source.quote(part) for part in table.key)
        test = " AND ".join(f"{source.quote(part)} = %s" for part in table.key)
        for start in range(0, len(keys), PAGE):
            page = keys[start : start + PAGE]
            where = " OR ".join([f"({test})"] * len(page))
            params = [value for key in page for value in key]
            rows = source.fetch_all(f"SELECT {target} FROM {name} WHERE ({where}) AND {target} IS NOT NULL", params)
            values = list(dict.fromkeys(row[0] for row in rows))
            if not values:
                continue
            marks = ", ".join(["%s"] * len(values))
            having = source.fetch_all(f"SELECT {target}, {names} FROM {name} WHERE {target} IN ({marks})", values)
            left = {row[0] for row in having if _hashable(row[1:]) not in rejected}
            yield from (value for value in values if value not in left)


def _hashable(key: Row) -> Row:
    return tuple(bytes(value) if isinstance(value, memoryview | bytearray) else value for value in key)


def _in_order(keys: Iterable[Row]) -> list[Row]:
    """Return keys in the order in which the rows are copied, as far as Python can sort them."""
    try:
        return sorted(keys)
    except TypeError:
        return sorted(keys, key=str)
