"""Unique values of added rows that other rows of the destination have already, found before the first write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import transaction

from ...console.wording import plural
from ..chunks import key_text
from ..engines.base.constraints import UniqueIndex
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..findings import Cause, Finding, FoundRows
from ..tables import Column
from .check_constraints import words_in
from .constraint_sql import Sql
from .destination_trials import Trial, TrialRefusal, is_answerable
from .route import Route
from .source_view import View
from .unique_constraints import in_dest, name_of

EXAMPLES = 3


@dataclass(frozen=True)
class _Key:
    """A unique index of the destination: its parts and its condition in the destination's own SQL."""

    name: str
    columns: tuple[Column, ...]
    parts: tuple[Sql, ...]
    condition: Sql | None
    equals: str


def taken_trials(route: Route, indexes: Sequence[UniqueIndex]) -> Iterator[Trial]:
    """Yield a question for each unique index of the destination but the primary key, which is asked about elsewhere.

    The index itself finds the rows, so that a question costs as much as the added rows are many.
    """
    columns = {column.name: column for column in route.table.columns}
    for index in indexes:
        known = None if set(index.columns) == set(route.table.key) else in_dest(route, index)
        if known is None:
            continue
        words = {word.lower() for sql in (*known[0], known[1]) if sql for word in words_in(sql.text)}
        used = tuple(column for column in columns.values() if column.name.lower() in words)
        if index.is_plain:
            used = tuple(columns[name] for name in index.columns if name in columns)
        fields = tuple(column.attname for column in used)
        equals = "=" if index.nulls_distinct else "IS NOT DISTINCT FROM"
        key = _Key(name_of(route, index, fields), used, *known, equals)
        names = tuple(dict.fromkeys([*(column.name for column in used), *route.table.key]))
        if is_answerable(route, names):
            ask, describe = partial(_taken, route, key), partial(_finding, route, key)
            yield Trial(f"unique index {key.name}", names, ask, describe)


def _taken(route: Route, key: _Key, dest: Engine, view: View) -> TrialRefusal:
    table = route.table
    (number,) = view.key
    parts = "".join(f", {part.text} AS part_{place}" for place, part in enumerate(key.parts))
    keys = "".join(f", {dest.quote(name)} AS key_{place}" for place, name in enumerate(table.key))
    where = "" if key.condition is None else f" WHERE {key.condition.text}"
    params = [param for sql in (*key.parts, key.condition) if sql for param in sql.params]
    equal = [f"own.part_{place} {key.equals} there.part_{place}" for place, _ in enumerate(key.parts)]
    is_same = " AND ".join(f"own.key_{place} = there.key_{place}" for place, _ in enumerate(table.key))
    shown = "".join(f", there.key_{place}" for place, _ in enumerate(table.key))
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
    return TrialRefusal(len(every), every[:EXAMPLES], every, list(found.values())[:EXAMPLES])


def _finding(
    route: Route, key: _Key, rows: int, pairs: Sequence[Row], every: Callable[[Engine], Iterator[Row]]
) -> Finding:
    table, width = route.table, len(route.table.key)
    shown = [f"{key_text(table, pair[:width])} has that of {key_text(table, pair[width:])}" for pair in pairs if pair]
    examples = f" (for example primary key {', '.join(shown)} there)" if shown else ""
    has = "has" if rows == 1 else "have"
    return Finding(
        f"{table.label}.{', '.join(column.attname for column in key.columns)}",
        f"{plural(rows, 'chosen row')} {has} values that a row of {route.dest.alias!r} has already, which {key.name} "
        f"allows only once{examples}",
        "Choose other rows, or correct or delete one row of each pair.",
        is_about_rows=True,
        rows=FoundRows(table.name, Cause.VALUE, every),
    )
