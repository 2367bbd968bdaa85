"""Rows of both databases side by side, as neutral values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any

from django.db import DatabaseError

from ...errors import MigratorError
from ..chunks import Bounds, Restriction, equality, where_clause
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..engines.base.values import FilledUp, Unreadable, Unstorable
from ..planning.columns import Reading, Stored, Way, readings
from ..row_reader import RowReader
from ..tables import Kind, Table
from .comparable_values import COMPARABLE, ByMeaning, comparable_of_field
from .json_documents import mean_the_same

LOOKUP = 250
MISSING, EXTRA, CHANGED = "missing", "extra", "changed"

Mapped = Mapping[str, Mapping[Any, Any]]


class Untranslated(Unreadable):
    """An id of the source whose row the destination does not have under any id; it equals no id there."""

    def __init__(self, own: Any) -> None:
        super().__init__(f"{own}, which has no counterpart")
        self.own = own

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Untranslated) and self.own == other.own

    def __hash__(self) -> int:
        return hash(("untranslated", self.own))

    def __str__(self) -> str:
        return str(self.own)


def _own_value(back: Mapping[Any, Any], value: Any) -> Any:
    return value.own if isinstance(value, Untranslated) else back.get(value, value)


@dataclass(frozen=True)
class ComparedSide:
    """How one database's rows of a table are read so that they compare with the other's.

    ``mappings`` gives, by column name, values that this side has in place of the other's.
    """

    engine: Engine
    table: Table
    readings: tuple[Reading, ...]
    stored: Stored
    mappings: Mapped = field(default_factory=dict)

    @property
    def key_positions(self) -> list[int]:
        """Where the columns of the primary key are among the compared ones."""
        names = [reading.column.name for reading in self.readings]
        return [names.index(name) for name in self.table.key]

    def narrowed(self, names: Collection[str]) -> ComparedSide:
        """Give this side with the columns of these names alone."""
        chosen = tuple(reading for reading in self.readings if reading.column.name in names)
        return dataclasses.replace(self, readings=chosen)

    def reader(self, restriction: Restriction | None = None) -> RowReader:
        """Give what reads the compared columns."""
        names = [reading.column.name for reading in self.readings]
        expressions = [reading.expression for reading in self.readings]
        return RowReader(self.engine, self.table, names, expressions, restriction)

    def query(self, where: str) -> str:
        """Build the query for the compared columns."""
        columns = ", ".join(reading.expression for reading in self.readings)
        return f"SELECT {columns} FROM {self.engine.quote(self.table.name)}{where}"

    def neutral(self, row: Row) -> Row:
        """Turn a row of the driver's values into neutral ones that are equal where they mean the same."""
        return tuple(
            None if value is None else self.comparable(reading, value)
            for reading, value in zip(self.readings, row, strict=True)
        )

    def neutral_key(self, readings: Sequence[Reading], values: Sequence[Any]) -> Row:
        """Turn the driver's values of key columns into neutral ones."""
        return tuple(self.comparable(reading, value) for reading, value in zip(readings, values, strict=True))

    def key_test(self, keys: Sequence[Row]) -> tuple[str, list[Any]]:
        """Build the WHERE clause, keyword included, for the rows with these neutral keys, and its parameters."""
        dumps = [self._dump(self.readings[position]) for position in self.key_positions]
        tests, params = [], []
        for key in chain.from_iterable(map(_spellings, self._own(keys))):
            dumped = tuple(
                value if isinstance(value, Unreadable) else dump(value) for dump, value in zip(dumps, key, strict=True)
            )
            test, values = equality(self.engine, self.table.key, dumped)
            tests.append(f"({test})")
            params += values
        return f" WHERE {' OR '.join(tests)}", params

    def _own(self, keys: Sequence[Row]) -> Sequence[Row]:
        """Put this side's own values into keys in which the other's stand in their place."""
        if not self.mappings.keys() & set(self.table.key):
            return keys
        back = [{there: here for here, there in self.mappings.get(name, {}).items()} for name in self.table.key]
        return [tuple(map(_own_value, back, key)) for key in keys]

    def comparable(self, reading: Reading, value: Any) -> Any:
        """Turn one value of the driver's into a neutral one that is equal where it means the same."""
        if isinstance(value, Unreadable):
            return value
        try:
            loaded = reading.load(value) if reading.load else value
        except Unstorable as error:
            return Unreadable(error.reason)
        except Exception as error:  # a field's own, which may raise anything
            return Unreadable(f"its conversion failed with {type(error).__name__}")
        mapping = self.mappings.get(reading.column.name)
        if mapping is not None:
            return mapping.get(loaded, Untranslated(loaded))
        if reading.way is Way.FIELD:
            return comparable_of_field(reading.column.field, loaded)
        convert = COMPARABLE.get(reading.column.kind)
        return convert(loaded) if convert else loaded

    def _dump(self, reading: Reading) -> Callable[[Any], Any]:
        name = reading.column.name
        if reading.way is Way.FIELD:
            connection, own = self.engine.connection, reading.column.field
            return lambda value: own.get_db_prep_value(
                value.value if isinstance(value, ByMeaning) else value, connection=connection, prepared=False
            )
        if reading.way is Way.RAW:
            return _unchanged
        return self.engine.values.dumper(reading.column, self.stored[name]) or _unchanged


def sides(
    table: Table,
    source: Engine,
    dest: Engine,
    own: Stored,
    other: Stored,
    mappings: Mapped | None = None,
) -> tuple[ComparedSide, ComparedSide]:
    """Prepare both sides of a table for comparison, of which these are the stored columns.

    ``mappings`` gives, by column name, what the destination has in place of the source's values.
    """
    mappings = mappings or {}
    return (
        ComparedSide(source, table, readings(table, source, own, dest, other, mappings), own, mappings),
        ComparedSide(dest, table, readings(table, dest, other, source, own, mappings), other),
    )


def _unchanged(value: Any) -> Any:
    return value


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
    """How many rows of the source were looked up, and how many of them were there."""

    looked_up: int = 0
    there: int = 0


def hold_the_same_documents(source: ComparedSide, dest: ComparedSide, bounds: Bounds) -> bool:
    """Tell whether a range of both tables holds the same documents of JSON, read in the order of the keys.

    Both sides have the columns of their keys and of documents alone. ``False`` proves nothing: perhaps they only order
    their keys otherwise.
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


def differing_rows(
    source: ComparedSide, dest: ComparedSide, bounds: Bounds, restriction: Restriction | None, found: Found
) -> Generator[RowDifference]:
    """Look up every source row of a range in the destination by its key, and give those missing or changed."""
    with closing(pages(source, bounds, restriction)) as all_pages:
        for page in all_pages:
            found.looked_up += len(page)
            differences = list(compare_rows(source, dest, page))
            found.there += len(page) - sum(difference.kind == MISSING for difference in differences)
            yield from differences


def compare_rows(source: ComparedSide, dest: ComparedSide, page: Sequence[Row]) -> Generator[RowDifference]:
    """Look up neutral rows of the source in the destination by their keys, and give those missing or changed."""
    here = by_key(source, page)
    there = look_up(dest, list(here))
    for key, row in here.items():
        match = there.get(key)
        if match is None:
            yield RowDifference(MISSING, key)
        elif match != row:
            yield _changed(source, key, row, match)


def merged_rows(
    source: ComparedSide,
    dest: ComparedSide,
    bounds: Bounds,
    here: Restriction | None,
    there: Restriction | None,
    found: Found,
) -> Iterator[RowDifference]:
    """Read a range of both tables in the order of their keys, which are whole numbers, and give what differs."""
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
                    f"{side.table.label}: {side.engine.alias!r} has a primary key that is no whole number. Correct it."
                ) from None
            yield key, row


def _key_of(side: ComparedSide, row: Row) -> Row:
    return tuple(row[position] for position in side.key_positions)


def compare_keys(source: ComparedSide, dest: ComparedSide, keys: Sequence[Row]) -> Iterator[RowDifference]:
    """Look up rows in both databases, and give those that are not the same."""
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


def _spellings(key: Row) -> Sequence[Row]:
    """Give a key as it is, and without the spaces that may only fill it up: it may be stored in either way."""
    if not any(isinstance(value, FilledUp) for value in key):
        return (key,)
    stripped = tuple(value.rstrip(" ") if isinstance(value, FilledUp) else value for value in key)
    return tuple(str(value) if isinstance(value, FilledUp) else value for value in key), stripped


def _is_unreadable(key: Row) -> bool:
    """Tell whether a key is one that was there, and that no database can be asked for."""
    return any(isinstance(value, Unreadable) for value in key)


def digests(side: ComparedSide, text: str, bounds: Bounds, restriction: Restriction | None) -> dict[Row, str | None]:
    """Read the digest of each row's text in a range, by its neutral key; None where the database can make none."""
    readings = [side.readings[position] for position in side.key_positions]
    columns = ", ".join([*(reading.expression for reading in readings), side.engine.digests.digest(text)])
    where, params = where_clause(side.engine, side.table.key, bounds, restriction)
    found = {}
    for batch in side.engine.stream(f"SELECT {columns} FROM {side.engine.quote(side.table.name)}{where}", params):
        for *key, digest in batch:
            found[side.neutral_key(readings, key)] = digest
    return found


def longest(side: ComparedSide, column: str) -> Row | None:
    """Find the row with a column's longest text, and give its neutral key; ``None`` where all are NULL."""
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


def extra_rows(
    source: ComparedSide, dest: ComparedSide, bounds: Bounds, restriction: Restriction | None
) -> Iterator[RowDifference]:
    """Look up every row of the destination's range in the source by its key, and give those that are not there."""
    for page in pages(dest, bounds, restriction):
        here = by_key(dest, page)
        there = look_up(source, list(here))
        yield from (RowDifference(EXTRA, key) for key in here if key not in there)


def _changed(side: ComparedSide, key: Row, row: Row, match: Row) -> RowDifference:
    differing = {
        reading.column.attname: (value, other)
        for reading, value, other in zip(side.readings, row, match, strict=True)
        if value != other
    }
    return RowDifference(CHANGED, key, tuple(differing), differing)


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
        reader.survive(error)
        rows = [row for key in keys for row in reader.rows_where(*side.key_test([key]))]
    return by_key(side, [side.neutral(row) for row in rows])
