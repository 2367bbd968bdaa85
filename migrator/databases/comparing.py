"""Rows of both databases side by side, as neutral values."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .chunks import Bounds, Restriction, conditions, order
from .columns import Reading, readings
from .engines.base.engine import Engine
from .engines.base.session import Row
from .schema import StoredTables
from .tables import Kind, Table

LOOKUP = 250


@dataclass(frozen=True)
class Side:
    """How one database's rows of a table are read so that they compare with the other's."""

    engine: Engine
    table: Table
    readings: tuple[Reading, ...]

    def query(self, where: str) -> str:
        """Build the query for the compared columns."""
        columns = ", ".join(reading.expression for reading in self.readings)
        return f"SELECT {columns} FROM {self.engine.quote(self.table.name)}{where}"

    def neutral(self, row: Row) -> Row:
        """Turn a row of the driver's values into neutral ones that are equal where they mean the same."""
        return tuple(
            None if value is None else _comparable(reading, value)
            for reading, value in zip(self.readings, row, strict=True)
        )


def sides(
    table: Table, source: Engine, dest: Engine, source_has: StoredTables, dest_has: StoredTables
) -> tuple[Side, Side]:
    """Prepare both sides of a table for comparison."""
    own, other = source_has[table.name], dest_has[table.name]
    return (
        Side(source, table, readings(table, source, own, dest, other)),
        Side(dest, table, readings(table, dest, other, source, own)),
    )


def _parsed_json(text: str) -> Any:
    return json.dumps(json.loads(text), sort_keys=True)


COMPARABLE: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.FLOAT: lambda value: struct.pack(">d", value),  # so that NaN equals itself and -0.0 differs from 0.0
    Kind.JSON: _parsed_json,
}


def _comparable(reading: Reading, value: Any) -> Any:
    loaded = reading.load(value) if reading.load else value
    convert = COMPARABLE.get(reading.column.kind)
    return convert(loaded) if convert else loaded


@dataclass(frozen=True)
class Difference:
    """How many rows of a range are missing in the destination or differ there, and how many were found."""

    missing: int
    changed: int
    found: int


def compare_range(
    source: Side, dest: Side, bounds: Bounds, restriction: Restriction | None, dumps: Sequence[Callable[[Any], Any]]
) -> Difference:
    """Look up every source row of a range in the destination by its key, and compare.

    ``dumps`` turns each neutral value of the key into a parameter for the destination.
    """
    missing = changed = found = 0
    positions = [[r.column.name for r in source.readings].index(name) for name in source.table.key]
    for page in pages(source, bounds, restriction):
        here = {tuple(row[i] for i in positions): row for row in page}
        there = _look_up(dest, list(here), positions, dumps)
        for key, row in here.items():
            match = there.get(key)
            if match is None:
                missing += 1
            else:
                found += 1
                changed += match != row
    return Difference(missing, changed, found)


def pages(side: Side, bounds: Bounds, restriction: Restriction | None) -> Iterator[list[Row]]:
    """Read a range in pages of neutral rows, each short enough to be looked up by one query."""
    where, params = conditions(side.engine, side.table.key, bounds, restriction)
    for batch in side.engine.stream(side.query(where + order(side.engine, side.table.key)), params):
        for start in range(0, len(batch), LOOKUP):
            yield [side.neutral(row) for row in batch[start : start + LOOKUP]]


def _look_up(
    side: Side, keys: Sequence[Row], positions: Sequence[int], dumps: Sequence[Callable[[Any], Any]]
) -> dict[Row, Row]:
    test = " AND ".join(f"{side.engine.quote(name)} = %s" for name in side.table.key)
    params = [dump(value) for key in keys for dump, value in zip(dumps, key, strict=True)]
    sql = side.query(f" WHERE {' OR '.join([f'({test})'] * len(keys))}")
    rows = (side.neutral(row) for row in side.engine.fetch_all(sql, params))
    return {tuple(row[i] for i in positions): row for row in rows}
