"""One side of a comparison: a table of one database, its rows read as neutral values that compare with the other's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any

from ..chunks import Restriction, any_of
from ..engines.base.change_feed import KeyText
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..engines.base.values import FilledUp, Unreadable, Unstorable
from ..planning.columns import Stored, TableEnds, Way
from ..planning.comparable_columns import Reading, readings
from ..row_reader import RowReader
from ..tables import Table
from .comparable_values import COMPARABLE, ByMeaning, comparable_of_field

Mapped = Mapping[str, Mapping[Any, Any]]

# No column and no table of a model has such a name.
NUMBER, KEYS = "migrator_number__", "migrator_keys__"


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


@dataclass(frozen=True)
class ComparedSide:
    """How one database's rows of a table are read so that they compare with the other's.

    ``mappings``: by column name, the values that the other side has in place of this side's.
    """

    engine: Engine
    table: Table
    readings: tuple[Reading, ...]
    stored: Stored
    mappings: Mapped = field(default_factory=dict)

    @property
    def key_positions(self) -> list[int]:
        """The positions of the primary key's columns among the compared ones."""
        names = [reading.column.name for reading in self.readings]
        return [names.index(name) for name in self.table.key]

    def narrowed(self, names: Collection[str]) -> ComparedSide:
        """Return this side with only the columns of these names."""
        chosen = tuple(reading for reading in self.readings if reading.column.name in names)
        return dataclasses.replace(self, readings=chosen)

    def reader(self, restriction: Restriction | None = None) -> RowReader:
        """Return a reader of the compared columns."""
        names = [reading.column.name for reading in self.readings]
        expressions = [reading.expression for reading in self.readings]
        return RowReader(self.engine, self.table, names, expressions, restriction)

    def query(self, where: str) -> str:
        """Build the query for the compared columns."""
        columns = ", ".join(reading.expression for reading in self.readings)
        return f"SELECT {columns} FROM {self.engine.quote(self.table.name)}{where}"

    def neutral(self, row: Row) -> Row:
        """Convert a row of the driver's values into neutral ones, which are equal if they mean the same."""
        return tuple(
            None if value is None else self.comparable(reading, value)
            for reading, value in zip(self.readings, row, strict=True)
        )

    def neutral_key(self, readings: Sequence[Reading], values: Sequence[Any]) -> Row:
        """Convert the driver's values of key columns into neutral ones."""
        return tuple(self.comparable(reading, value) for reading, value in zip(readings, values, strict=True))

    def key_test(self, keys: Sequence[Row]) -> tuple[str, list[Any]]:
        """Build the WHERE clause, keyword included, for the rows with these neutral keys, and its parameters."""
        dumps = [self._dump(self.readings[position]) for position in self.key_positions]
        dumped = [
            tuple(
                value if isinstance(value, Unreadable) else dump(value) for dump, value in zip(dumps, key, strict=True)
            )
            for key in chain.from_iterable(map(_stored_forms, self._own(keys)))
        ]
        test, params = any_of(self.engine, self.table.key, dumped)
        return f" WHERE {test}", params

    def neutral_keys(self, texts: Sequence[KeyText]) -> list[Row]:
        """Convert keys from the texts of a change feed to neutral ones: the database reads them like stored ones.

        A key in another text form would be found in neither database, and look equal.
        """
        columns = [
            f"{self.engine.typed_parameter(self.stored[name])} AS {self.engine.quote(name)}" for name in self.table.key
        ]
        readings = [self.readings[position] for position in self.key_positions]
        rows = " UNION ALL ".join(f"SELECT {number} AS {NUMBER}, {', '.join(columns)}" for number in range(len(texts)))
        found = self.engine.fetch_all(
            f"SELECT {', '.join([NUMBER, *(reading.expression for reading in readings)])} FROM ({rows}) AS {KEYS}",
            [value for text in texts for value in text],
        )
        return [self.neutral_key(readings, row[1:]) for row in sorted(found, key=itemgetter(0))]

    def _own(self, keys: Sequence[Row]) -> Sequence[Row]:
        """Replace the other side's values in keys by this side's own."""
        if not self.mappings.keys() & set(self.table.key):
            return keys
        inverse = [{there: here for here, there in self.mappings.get(name, {}).items()} for name in self.table.key]
        return [tuple(map(_own_value, inverse, key)) for key in keys]

    def comparable(self, reading: Reading, value: Any) -> Any:
        """Convert one value of the driver's into a neutral one, which equals another that means the same."""
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


def sides(table: Table, ends: TableEnds, mappings: Mapped | None = None) -> tuple[ComparedSide, ComparedSide]:
    """Prepare both sides of a table for comparison.

    ``mappings``: by column name, the values that the destination has in place of the source's.
    """
    mappings, swapped = mappings or {}, ends.swapped()
    return (
        ComparedSide(ends.source, table, readings(table, ends, mappings), ends.source_stored, mappings),
        ComparedSide(ends.dest, table, readings(table, swapped, mappings), ends.dest_stored),
    )


def _own_value(inverse: Mapping[Any, Any], value: Any) -> Any:
    return value.own if isinstance(value, Untranslated) else inverse.get(value, value)


def _stored_forms(key: Row) -> Sequence[Row]:
    """Return a key as it is, and without its padding spaces: either may be stored."""
    if not any(isinstance(value, FilledUp) for value in key):
        return (key,)
    stripped = tuple(value.rstrip(" ") if isinstance(value, FilledUp) else value for value in key)
    return tuple(str(value) if isinstance(value, FilledUp) else value for value in key), stripped


def _unchanged(value: Any) -> Any:
    return value
