"""How a table's columns are read in two databases so that they can be compared: as values, and as text in SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..engines.base.values import Convert, FilledUp
from ..tables import Column, Kind, Table
from .columns import TableEnds, Way, chain, way_of
from .field_converters import field_reading
from .field_values import lenient, meaning_of


@dataclass(frozen=True)
class Reading:
    """How a column is read as a value that can be compared with that of another database."""

    column: Column
    way: Way
    expression: str
    load: Convert | None


def readings(table: Table, ends: TableEnds, mapped: Collection[str] = ()) -> tuple[Reading, ...]:
    """Return how the first of both databases reads a table's columns for a comparison with the other.

    ``mapped`` names the columns whose values a run replaces, which therefore differ.
    """
    found, engine = [], ends.source
    for column in table.columns:
        own, other = ends.of(column)
        way, typed = way_of(column, ends, is_mapped=column.name in mapped)
        if way is Way.RAW:
            found.append(Reading(typed, way, engine.values.raw_expression(column), None))
        elif way is Way.FIELD:
            expression, load = field_reading(table, column, engine)
            text = FilledUp if (own.is_padded or other.is_padded) and column.kind is Kind.TEXT else None
            found.append(Reading(column, way, expression, chain(load, lenient(meaning_of(column)), text)))
        else:
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


def row_texts(columns: Iterable[Column], ends: TableEnds) -> RowTexts | None:
    """Return the texts by which rows of two databases can be compared; ``None`` if no column has such a text."""
    here, there, without = [], [], []
    for column in columns:
        one, another = _column_text(column, ends), _column_text(column, ends.swapped())
        if one is None or another is None:
            without.append(column)
        else:
            here.append(one)
            there.append(another)
    if not here:
        return None
    return RowTexts(ends.source.digests.joined(here), ends.dest.digests.joined(there), tuple(without))


def _column_text(column: Column, ends: TableEnds) -> str | None:
    engine, (own, other) = ends.source, ends.of(column)
    way, typed = way_of(column, ends)
    text = engine.digests.column_text(typed, own) if way is Way.PROVEN else None
    if way is Way.RAW or (text is None and engine.vendor == ends.dest.vendor and own.declared == other.declared):
        text = engine.digests.raw_column_text(column, own)
    return text
