"""Rows of both databases compared as neutral values: looked up by their keys, or read in the order of the keys."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

from django.db import DatabaseError

from ...errors import MigratorError
from ..chunks import Bounds, Restriction, where_clause
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..engines.base.values import Unreadable
from ..tables import Kind, Table
from .compared_side import ComparedSide
from .json_documents import mean_the_same

# Keys that one query looks up.
LOOKUP = 250
MISSING, EXTRA, CHANGED = "missing", "extra", "changed"


@dataclass(frozen=True)
class RowDifference:
    """One row that is not the same on both sides: its neutral key, and of a changed one the fields that differ.

    ``values`` holds, by field, the neutral values of both sides.
    """

    kind: str
    key: Row
    fields: tuple[str, ...] = ()
    values: Mapping[str, tuple[Any, Any]] = field(default_factory=dict, repr=False)


@dataclass
class Found:
    """How many rows of the source were looked up, and how many of them the destination has."""

    looked_up: int = 0
    there: int = 0


# -- reading ----------------------------------------------------------------------------------------------------------


def pages(side: ComparedSide, bounds: Bounds, restriction: Restriction | None) -> Generator[list[Row]]:
    """Read a range in pages of neutral rows, each short enough to be looked up by one query."""
    with closing(side.reader(restriction).rows(bounds)) as batches:
        for batch in batches:
            for start in range(0, len(batch), LOOKUP):
                yield [side.neutral(row) for row in batch[start : start + LOOKUP]]


def by_key(side: ComparedSide, rows: Sequence[Row]) -> dict[Row, Row]:
    """Index neutral rows by their keys."""
    positions = side.key_positions
    return {tuple(row[i] for i in positions): row for row in rows}


def look_up(side: ComparedSide, keys: Sequence[Row]) -> dict[Row, Row]:
    """Read the rows that have these neutral keys."""
    where, params = side.key_test(keys)
    try:
        rows = side.engine.fetch_all(side.query(where), params)
    except DatabaseError as error:
        reader = side.reader()
        reader.recover_from(error)
        rows = [row for key in keys for row in reader.rows_where(*side.key_test([key]))]
    return by_key(side, [side.neutral(row) for row in rows])


def digests(side: ComparedSide, text: str, bounds: Bounds, restriction: Restriction | None) -> dict[Row, str | None]:
    """Read the digest of each row's text in a range, by its neutral key; ``None`` if the database cannot make one."""
    readings = [side.readings[position] for position in side.key_positions]
    columns = ", ".join([*(reading.expression for reading in readings), side.engine.digests.digest(text)])
    where, params = where_clause(side.engine, side.table.key, bounds, restriction)
    found = {}
    for batch in side.engine.stream(f"SELECT {columns} FROM {side.engine.quote(side.table.name)}{where}", params):
        for *key, digest in batch:
            found[side.neutral_key(readings, key)] = digest
    return found


def longest(side: ComparedSide, column: str) -> Row | None:
    """Return the neutral key of the row with a column's longest text; ``None`` if all are NULL."""
    readings = [side.readings[position] for position in side.key_positions]
    keys = ", ".join(reading.expression for reading in readings)
    name, table = side.engine.quote(column), side.engine.quote(side.table.name)
    sql = f"SELECT {keys} FROM {table} WHERE {name} IS NOT NULL ORDER BY LENGTH({name}) DESC LIMIT 1"
    rows = side.engine.fetch_all(sql)
    return side.neutral_key(readings, rows[0]) if rows else None


def nulls(engine: Engine, table: Table) -> Row:
    """Count the rows in which each column is NULL."""
    counts = ", ".join(f"COUNT(*) - COUNT({engine.quote(column.name)})" for column in table.columns)
    return engine.fetch_all(f"SELECT {counts} FROM {engine.quote(table.name)}")[0]


def nulls_in(side: ComparedSide, keys: Sequence[Row]) -> list[int]:
    """Count, by column, the NULLs among the rows that have these neutral keys."""
    counts = [0] * len(side.readings)
    for start in range(0, len(keys), LOOKUP):
        for row in look_up(side, keys[start : start + LOOKUP]).values():
            for position, value in enumerate(row):
                counts[position] += value is None
    return counts


# -- rows looked up by their keys -------------------------------------------------------------------------------------


def differing_rows(
    source: ComparedSide, dest: ComparedSide, bounds: Bounds, restriction: Restriction | None, found: Found
) -> Generator[RowDifference]:
    """Look up every source row of a range in the destination by its key, and yield those missing or changed."""
    with closing(pages(source, bounds, restriction)) as all_pages:
        for page in all_pages:
            found.looked_up += len(page)
            differences = list(compare_rows(source, dest, page))
            found.there += len(page) - sum(difference.kind == MISSING for difference in differences)
            yield from differences


def compare_rows(source: ComparedSide, dest: ComparedSide, page: Sequence[Row]) -> Generator[RowDifference]:
    """Look up neutral rows of the source in the destination by their keys, and yield those missing or changed."""
    here = by_key(source, page)
    there = look_up(dest, list(here))
    for key, row in here.items():
        match = there.get(key)
        if match is None:
            yield RowDifference(MISSING, key)
        elif match != row:
            yield _changed(source, key, row, match)


def compare_keys(
    source: ComparedSide,
    dest: ComparedSide,
    keys: Sequence[Row],
    absent: Callable[[Row], None] = lambda key: None,
) -> Iterator[RowDifference]:
    """Look up rows in both databases by their neutral keys, and yield those that are not the same.

    ``absent`` is called with each key that neither database has.
    """
    for start in range(0, len(keys), LOOKUP):
        page = keys[start : start + LOOKUP]
        here, there = look_up(source, page), look_up(dest, page)
        for key in page:
            row, match = here.get(key), there.get(key)
            if row is None and match is not None:
                yield RowDifference(EXTRA, key)
            elif match is None and (row is not None or _is_unreadable(key)):
                yield RowDifference(MISSING, key)
            elif row is not None and match is not None and row != match:
                yield _changed(source, key, row, match)
            elif row is None and match is None:
                absent(key)


def extra_rows(
    source: ComparedSide, dest: ComparedSide, bounds: Bounds, restriction: Restriction | None
) -> Iterator[RowDifference]:
    """Look up every destination row of a range in the source by its key, and yield those that are not there."""
    for page in pages(dest, bounds, restriction):
        here = by_key(dest, page)
        there = look_up(source, list(here))
        yield from (RowDifference(EXTRA, key) for key in here if key not in there)


def _is_unreadable(key: Row) -> bool:
    """Whether no database can be queried for a key, although a row has it."""
    return any(isinstance(value, Unreadable) for value in key)


def _changed(side: ComparedSide, key: Row, row: Row, match: Row) -> RowDifference:
    differing = {
        reading.column.attname: (value, other)
        for reading, value, other in zip(side.readings, row, match, strict=True)
        if value != other
    }
    return RowDifference(CHANGED, key, tuple(differing), differing)


# -- rows read in the order of their keys -----------------------------------------------------------------------------


def merged_rows(
    source: ComparedSide,
    dest: ComparedSide,
    bounds: Bounds,
    here: Restriction | None,
    there: Restriction | None,
    found: Found,
) -> Iterator[RowDifference]:
    """Read a range of both tables in the order of their keys, which are whole numbers, and yield what differs.

    The rows of the source meet ``here`` and those of the destination ``there``. Raises :exc:`MigratorError` for a key
    that is not a whole number.
    """
    left, right = _in_order(source, bounds, here), _in_order(dest, bounds, there)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if one is None or (other is not None and other[0] < one[0]):
            yield RowDifference(EXTRA, _key_of(dest, other[1] if other else ()))
            other = next(right, None)
            continue
        found.looked_up += 1
        if other is None or one[0] < other[0]:
            yield RowDifference(MISSING, _key_of(source, one[1]))
        else:
            found.there += 1
            if one[1] != other[1]:
                yield _changed(source, _key_of(source, one[1]), one[1], other[1])
            other = next(right, None)
        one = next(left, None)


def _in_order(
    side: ComparedSide, bounds: Bounds, restriction: Restriction | None
) -> Iterator[tuple[tuple[int, ...], Row]]:
    positions = side.key_positions
    for page in pages(side, bounds, restriction):
        for row in page:
            try:
                key = tuple(int(row[position]) for position in positions)
            except (TypeError, ValueError):
                raise MigratorError(
                    f"{side.table.label}: {side.engine.alias!r} has a primary key that is not a whole number. Fix it."
                ) from None
            yield key, row


def _key_of(side: ComparedSide, row: Row) -> Row:
    return tuple(row[position] for position in side.key_positions)


def hold_the_same_documents(source: ComparedSide, dest: ComparedSide, bounds: Bounds) -> bool:
    """Whether a range of both tables holds the same JSON documents, read in the order of the keys.

    Both sides are narrowed to the columns of their keys and of documents. ``False`` proves nothing: the databases may
    only sort their keys differently.
    """
    columns = [
        (left, right, left.column.kind is Kind.JSON) for left, right in zip(source.readings, dest.readings, strict=True)
    ]

    def are_equal(row: Row, match: Row) -> bool:
        for value, other, (left, right, is_document) in zip(row, match, columns, strict=True):
            if value == other:
                continue
            if value is None or other is None:
                return False
            if is_document and type(value) is type(other) is str:
                if not mean_the_same(value, other):
                    return False
            elif source.comparable(left, value) != dest.comparable(right, other):
                return False
        return True

    with closing(_read(source, bounds)) as left, closing(_read(dest, bounds)) as right:
        rows = zip_longest(chain.from_iterable(left), chain.from_iterable(right))
        return all(
            one == other or (one is not None and other is not None and are_equal(one, other)) for one, other in rows
        )


def _read(side: ComparedSide, bounds: Bounds) -> Generator[list[Row]]:
    return side.reader().rows(bounds)
