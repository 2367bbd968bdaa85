"""How the rows of a table travel: one of four transports, chosen once for all of its columns.

From the fastest to the one that is always possible:

* :class:`ServerSideCopy`: the destination reads the source itself; both store every column alike.
* :class:`BinaryStream`: the rows as both databases store them.
* :class:`TextStream`: lines of text that the source renders and the destination loads. Python sees no value.
* :class:`ConvertedRows`: Python converts every value.

The choice assumes that the source holds only values that the destination can store. When the values have been checked,
:func:`settle` confirms it, or exchanges it for a safer one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..chunks import Restriction
from ..engines.base.server_lines import LineField, TextFormat
from ..tables import Table
from .columns import Conversion, TableEnds, Way, unchecked


@dataclass(frozen=True)
class ConvertedRows:
    """Rows that the source's driver reads, Python converts, and the destination's driver writes."""

    conversions: tuple[Conversion, ...]


@dataclass(frozen=True)
class TextStream:
    """Lines of text, one field for each column.

    ``fallback`` is used if the destination loads no lines at the moment, for example because ``local_infile`` of a
    MySQL server has been disabled since.
    """

    fields: tuple[LineField, ...]
    fallback: ConvertedRows


@dataclass(frozen=True)
class BinaryStream:
    """Rows in the binary form of both databases, one field for each column."""

    fields: tuple[LineField, ...]


@dataclass(frozen=True)
class ServerSideCopy:
    """Rows that the destination reads from the source itself, in one statement.

    ``fallback`` is used if it cannot at the moment, for example because an SQLite file has been replaced.
    """

    fallback: ConvertedRows


Transport = ServerSideCopy | BinaryStream | TextStream | ConvertedRows


def choose_transport(
    table: Table,
    conversions: tuple[Conversion, ...],
    ends: TableEnds,
    restriction: Restriction | None,
) -> Transport:
    """Return the fastest transport for a table, on the assumption that the destination can store all of its values.

    Only values that the snapshot protects from later changes can be checked for that. For other tables, the choice is
    between :class:`ServerSideCopy` and ``conversions``, which check each value.
    """
    is_in_snapshot = table.name not in ends.source.outside_snapshot
    rows = ConvertedRows(unchecked(conversions, ends) if is_in_snapshot else conversions)
    is_raw = all(conversion.way is Way.RAW for conversion in conversions)
    # A restriction may refer to other tables, and both databases have tables of these names.
    if is_raw and restriction is None and ends.dest.can_copy_within(ends.source):
        return ServerSideCopy(rows)
    fields = _line_fields(table, conversions, ends) if is_in_snapshot else None
    if fields is None:
        return rows
    stored = [ends.source_stored[conversion.column.name] for conversion in conversions]
    if is_raw and ends.dest.takes_binary(ends.source, stored):
        return BinaryStream(fields)
    return TextStream(fields, rows)


def _line_fields(table: Table, conversions: Sequence[Conversion], ends: TableEnds) -> tuple[LineField, ...] | None:
    """Return how the source renders each column in a line; ``None`` if a column has no text form that both know."""
    if ends.dest.text_writer(table.name, [conversion.target for conversion in conversions]) is None:
        return None
    found = []
    for conversion in conversions:
        field = _line_field(conversion, ends)
        if field is None:
            return None
        found.append(field)
    return tuple(found)


def _line_field(conversion: Conversion, ends: TableEnds) -> LineField | None:
    column = conversion.column
    if conversion.way is Way.FIELD or conversion.mapping is not None:
        return None
    source_stored, dest_stored = ends.of(column)
    is_raw = conversion.way is Way.RAW
    text_format = TextFormat.STORED if is_raw else ends.dest.lines.text_format(column, dest_stored)
    return None if text_format is None else ends.source.lines.field(text_format, column, source_stored)


def settle(
    transport: Transport, conversions: tuple[Conversion, ...], *, is_clean: bool, unsafe: Collection[LineField]
) -> Transport:
    """Return the cheapest transport that is right for all values of a table, now that they have been checked.

    ``conversions`` check each value. ``is_clean``: the destination can store every value. ``unsafe``: the line fields
    that render some value wrongly.
    """
    if is_clean and isinstance(transport, TextStream):
        fields = [_cheapest(field, unsafe) for field in transport.fields]
        safe = tuple(field for field in fields if field is not None)
        if len(safe) == len(fields):
            return dataclasses.replace(transport, fields=safe)
        is_clean = False
    if is_clean:
        return transport
    rows = ConvertedRows(conversions)
    return ServerSideCopy(rows) if isinstance(transport, ServerSideCopy) else rows


def _cheapest(field: LineField, unsafe: Collection[LineField]) -> LineField | None:
    """Return the cheapest SQL for a column that is right for all of its values; ``None`` if neither is."""
    return next((sql for sql in (field.cheaper, field) if sql is not None and sql not in unsafe), None)
