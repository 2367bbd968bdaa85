"""How a table's columns are read in two databases so that they can be compared: as values, and as text in SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..engines.base.engine import Engine
from ..engines.base.values import Convert, FilledUp
from ..tables import Column, Kind, StoredColumn, Table
from .columns import Stored, Way, chain, way_of
from .field_converters import field_reading
from .field_values import lenient, meaning_of


@dataclass(frozen=True)
class Reading:
    """How a column is read as a value that can be compared with that of another database."""

    column: Column
    way: Way
    expression: str
    load: Convert | None


def readings(
    table: Table, engine: Engine, stored: Stored, other: Engine, other_stored: Stored, mapped: Collection[str] = ()
) -> tuple[Reading, ...]:
    """Return how ``engine`` reads a table's columns for a comparison with ``other``.

    ``mapped`` names the columns whose values a run replaces, which therefore differ.
    """
    found = []
    for column in table.columns:
        is_mapped = column.name in mapped
        way, typed = way_of(column, engine, other, stored[column.name], other_stored[column.name], is_mapped=is_mapped)
        if way is Way.RAW:
            found.append(Reading(typed, way, engine.values.raw_expression(column), None))
        elif way is Way.FIELD:
            expression, load = field_reading(table, column, engine)
            is_padded = stored[column.name].is_padded or other_stored[column.name].is_padded
            text = FilledUp if is_padded and column.kind is Kind.TEXT else None
            found.append(Reading(column, way, expression, chain(load, lenient(meaning_of(column)), text)))
        else:
            own = stored[column.name]
            load = engine.values.loader(typed, own)
            found.append(Reading(typed, way, engine.values.read_expression(typed, own), load))
    return tuple(found)


@dataclass(frozen=True)
class RowTexts:
    """The SQL for the text of a row in two databases: equal texts mean equal values, except in the columns ``without``.

    Those have no text that is known to be equal for equal values.
    """

    here: str
    there: str
    without: tuple[Column, ...] = ()


def row_texts(
    columns: Iterable[Column], source: Engine, dest: Engine, source_stored: Stored, dest_stored: Stored
) -> RowTexts | None:
    """Return the texts by which rows of two databases can be compared; ``None`` if no column has such a text."""
    here, there, without = [], [], []
    for column in columns:
        own, other = source_stored[column.name], dest_stored[column.name]
        one, another = _column_text(column, source, dest, own, other), _column_text(column, dest, source, other, own)
        if one is None or another is None:
            without.append(column)
        else:
            here.append(one)
            there.append(another)
    if not here:
        return None
    return RowTexts(source.digests.joined(here), dest.digests.joined(there), tuple(without))


def _column_text(column: Column, engine: Engine, other: Engine, own: StoredColumn, others: StoredColumn) -> str | None:
    way, typed = way_of(column, engine, other, own, others)
    text = engine.digests.column_text(typed, own) if way is Way.PROVEN else None
    if way is Way.RAW or (text is None and engine.vendor == other.vendor and own.declared == others.declared):
        text = engine.digests.raw_column_text(column, own)
    return text
