"""Unique values of added rows that rows of the destination already have, found before the first write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import transaction

from ...console.wording import plural
from ..engines.base.constraints import UniqueIndex
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..findings import Cause, Finding, FoundRows
from ..primary_keys import key_text
from ..tables import Column
from .destination_trials import Trial, TrialResult, can_be_tried
from .source_view import View
from .table_route import Route
from .unique_rules import IndexSql, columns_in, in_dest, name_of

EXAMPLES = 3


@dataclass(frozen=True)
class _Key:
    """A unique index of the destination; ``equals`` is the operator that compares its parts."""

    name: str
    columns: tuple[Column, ...]
    sql: IndexSql
    equals: str


def taken_trials(route: Route, indexes: Sequence[UniqueIndex]) -> Iterator[Trial]:
    """Yield a trial for each unique index of the destination except the primary key, which is checked elsewhere.

    The index itself finds the rows, so that the cost depends only on the number of added rows.
    """
    columns = {column.name: column for column in route.table.columns}
    for index in indexes:
        known = None if set(index.columns) == set(route.table.key) else in_dest(route, index)
        if known is None:
            continue
        if index.is_plain:
            used = tuple(columns[name] for name in index.columns if name in columns)
        else:
            used = columns_in(known, columns)
        fields = tuple(column.attname for column in used)
        equals = "=" if index.nulls_distinct else "IS NOT DISTINCT FROM"
        key = _Key(name_of(route, index, fields), used, known, equals)
        names = tuple(dict.fromkeys([*(column.name for column in used), *route.table.key]))
        if can_be_tried(route, names):
            find, describe = partial(_taken, route, key), partial(_finding, route, key)
            yield Trial(f"unique index {key.name}", names, find, describe)


def _taken(route: Route, key: _Key, dest: Engine, view: View) -> TrialResult:
    """Find rows of the temporary table whose values another row of the destination's table has."""
    table = route.table
    (number,) = view.key
    parts = "".join(f", {part.text} AS part_{n}" for n, part in enumerate(key.sql.parts))
    keys = "".join(f", {dest.quote(name)} AS key_{n}" for n, name in enumerate(table.key))
    where = "" if key.sql.condition is None else f" WHERE {key.sql.condition.text}"
    params = [param for sql in (*key.sql.parts, key.sql.condition) if sql for param in sql.params]
    equal = [f"own.part_{n} {key.equals} there.part_{n}" for n, _ in enumerate(key.sql.parts)]
    is_same = " AND ".join(f"own.key_{n} = there.key_{n}" for n, _ in enumerate(table.key))
    shown = "".join(f", there.key_{n}" for n, _ in enumerate(table.key))
    sql = (
        f"SELECT own.{number}{shown} FROM (SELECT {number}{keys}{parts} FROM {view.sql}{where}) own "
        f"JOIN (SELECT 1 AS one{keys}{parts} FROM {dest.quote(table.name)}{where}) there ON {' AND '.join(equal)}"
        + (f" WHERE NOT ({is_same})" if is_same else "")
        + f" ORDER BY own.{number}"
    )
    with transaction.atomic(using=dest.alias):
        found: dict[int, Row] = {}
        for taken, *there in dest.fetch_all(sql, [*params, *params]):
            found.setdefault(int(taken), tuple(there))
    every = [(taken,) for taken in found]
    return TrialResult(len(every), every[:EXAMPLES], every, list(found.values())[:EXAMPLES])


def _finding(
    route: Route, key: _Key, rows: int, pairs: Sequence[Row], every: Callable[[Engine], Iterator[Row]]
) -> Finding:
    table, width = route.table, len(route.table.key)
    shown = [
        f"{key_text(table, pair[:width])} has the values of {key_text(table, pair[width:])}" for pair in pairs if pair
    ]
    examples = f" (for example primary key {', '.join(shown)} there)" if shown else ""
    has = "has" if rows == 1 else "have"
    return Finding(
        f"{table.label}.{', '.join(column.attname for column in key.columns)}",
        f"{plural(rows, 'chosen row')} {has} values that a row of {route.dest.alias!r} already has, which {key.name} "
        f"allows only once{examples}",
        "Choose other rows, or correct or delete one row of each pair.",
        is_about_rows=True,
        rows=FoundRows(table.name, Cause.VALUE, every),
    )
