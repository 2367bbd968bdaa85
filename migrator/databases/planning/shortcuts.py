"""Faster ways for values which nothing was found against before the first write.

As lines of text, where both sides know the spelling of every column; else without guards, and without Python
where one database gives a column's values as the other stores them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from ..engines.base.engine import Engine
from ..engines.base.lines import LineField, TextFormat
from ..tables import StoredColumn, Table
from .columns import Conversion, Stored, Way, chain


def line_fields(
    table: Table,
    source: Engine,
    dest: Engine,
    conversions: Sequence[Conversion],
    source_stored: Stored,
    dest_stored: Stored,
) -> tuple[LineField, ...] | None:
    """Choose how the source renders each column, or return ``None`` where the rows' values have to be converted."""
    if dest.text_writer(table.name, [conversion.target for conversion in conversions]) is None:
        return None
    found = []
    for conversion in conversions:
        field = _field(conversion, source, dest, source_stored, dest_stored)
        if field is None:
            return None
        found.append(field)
    return tuple(found)


def is_binary(
    fields: Sequence[LineField] | None, conversions: Sequence[Conversion], source: Engine, dest: Engine, stored: Stored
) -> bool:
    """Tell whether a table's rows can travel as both databases keep them."""
    is_raw = fields is not None and all(conversion.way is Way.RAW for conversion in conversions)
    return is_raw and dest.takes_binary(source, [stored[conversion.column.name] for conversion in conversions])


def _field(
    conversion: Conversion, source: Engine, dest: Engine, source_stored: Stored, dest_stored: Stored
) -> LineField | None:
    column = conversion.column
    if conversion.way is Way.FIELD or conversion.mapping is not None:
        return None
    form = TextFormat.STORED if conversion.way is Way.RAW else dest.lines.text_format(column, dest_stored[column.name])
    return None if form is None else source.lines.field(form, column, source_stored[column.name])


def trusted(
    ways: Iterable[Conversion], source: Engine, dest: Engine, source_stored: Stored, dest_stored: Stored
) -> tuple[Conversion, ...]:
    """Choose for each column what is enough for values which nothing was found against before the first write.

    They need no guard, and no Python where one database gives them as the other stores them.
    """
    return tuple(
        _trusted(way, source, dest, source_stored[way.column.name], dest_stored[way.column.name]) for way in ways
    )


def _trusted(
    guarded: Conversion, source: Engine, dest: Engine, source_stored: StoredColumn, dest_stored: StoredColumn
) -> Conversion:
    column = guarded.column
    if guarded.way is not Way.PROVEN or guarded.mapping is not None:
        return guarded
    spelling = source.values.text_form(column, source_stored)
    if spelling is not None and dest.values.accepts_text_form(column, dest_stored):
        return dataclasses.replace(guarded, expression=spelling, convert=None)
    steps = source.values.loader(column, source_stored), dest.values.dumper(column, dest_stored)
    return dataclasses.replace(guarded, convert=chain(*steps))
