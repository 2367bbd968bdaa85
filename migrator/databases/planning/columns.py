"""How the values of each column are converted from one database to the other.

There are three ways, chosen once per column: ``raw`` (both columns have the same type of the same engine), ``proven``
(Django's own field, or a plain storage type in both databases: the conversions of the two engines), and ``field`` (the
field's own converters, for everything else).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..engines.base.engine import Engine
from ..engines.base.loading import Target
from ..engines.base.values import Convert, Limit, Unstorable
from ..tables import Column, Kind, StoredColumn, Table
from .field_converters import field_dump, field_reading, never_none
from .field_values import meaning_of
from .value_limits import guard

Stored = Mapping[str, StoredColumn]  # a table's columns in one database, by name


@dataclass(frozen=True)
class TableEnds:
    """Both databases, and how each stores the columns of one table."""

    source: Engine
    dest: Engine
    source_stored: Stored
    dest_stored: Stored

    def of(self, column: Column) -> tuple[StoredColumn, StoredColumn]:
        """Return how the source and how the destination store a column."""
        return self.source_stored[column.name], self.dest_stored[column.name]

    def swapped(self) -> TableEnds:
        """Return the two the other way round."""
        return TableEnds(self.dest, self.source, self.dest_stored, self.source_stored)


FAMILIES: Mapping[str, Kind] = {"text": Kind.TEXT, "binary": Kind.BINARY, "integer": Kind.INTEGER}


class Way(enum.StrEnum):
    """How the values of a column are converted. Journals record these names."""

    RAW = "raw"
    PROVEN = "proven"
    FIELD = "field"


@dataclass(frozen=True)
class Conversion:
    """How one column is copied: read by ``expression``, converted by ``convert``, written to ``target``.

    ``limits``: what ``target`` cannot hold and the source may. ``mapping``: values that are replaced.
    """

    column: Column
    way: Way
    expression: str
    convert: Convert | None
    target: Target
    limits: tuple[Limit, ...]
    mapping: Mapping[Any, Any] | None = None


def conversions(table: Table, ends: TableEnds, mappings: Mapping[str, Mapping[Any, Any]]) -> tuple[Conversion, ...]:
    """Return the conversion of every column of a table; each checks that the destination can hold the value.

    ``mappings`` has, by column name, values that are replaced: the ids of rows that have other ids in the destination.
    """
    return tuple(_conversion(table, column, ends, mappings.get(column.name)) for column in table.columns)


def way_of(column: Column, ends: TableEnds, *, is_mapped: bool = False) -> tuple[Way, Column]:
    """Return the way of one column, and the column with the kind that its values have on that way.

    ``is_mapped``: its values are replaced, so they must be read as values.
    """
    if is_mapped:
        return Way.PROVEN, column
    source, dest, (source_stored, dest_stored) = ends.source, ends.dest, ends.of(column)
    is_same_type = source.vendor == dest.vendor and source_stored.declared == dest_stored.declared
    if column.kind is Kind.DATETIME and source.connection.timezone_name != dest.connection.timezone_name:
        is_same_type = False  # the same local time would be another instant
    if is_same_type and source.features.raw_values_are_exact:
        return Way.RAW, dataclasses.replace(column, kind=source.features.raw_kind)
    kind = column.kind
    in_source, in_dest = source.values.stores(kind, source_stored), dest.values.stores(kind, dest_stored)
    if kind is not Kind.OTHER and in_source and in_dest:
        return Way.PROVEN, column
    family = source.values.storage(source_stored)
    is_unknown = kind is Kind.OTHER or not (in_source or in_dest)
    if is_unknown and family in FAMILIES and family == dest.values.storage(dest_stored):
        # The field reads what is stored, so the stored value itself is copied.
        return Way.PROVEN, dataclasses.replace(column, kind=FAMILIES[family])
    if kind is not Kind.OTHER:
        return Way.FIELD, column
    if source.values.stores_documents(column, source_stored) and dest.values.stores_documents(column, dest_stored):
        # A document is the same, whatever the field's class makes of it.
        return Way.PROVEN, dataclasses.replace(column, kind=Kind.JSON)
    return (Way.RAW if is_same_type else Way.FIELD), column


def _conversion(table: Table, column: Column, ends: TableEnds, mapping: Mapping[Any, Any] | None) -> Conversion:
    way, typed = way_of(column, ends, is_mapped=mapping is not None)
    match way:
        case Way.RAW:
            expression = ends.source.values.raw_expression(column)
            return Conversion(typed, way, expression, None, Target(column.name, typed.kind), ())
        case Way.PROVEN:
            return _proven(typed, ends, mapping)
        case Way.FIELD:
            return _by_field(table, column, ends)


def _proven(column: Column, ends: TableEnds, mapping: Mapping[Any, Any] | None) -> Conversion:
    source_stored, dest_stored = ends.of(column)
    limits = _limits(column, ends)
    convert = chain(
        ends.source.values.loader(column, source_stored),
        *map(guard, limits),
        None if mapping is None else _mapped(mapping),
        ends.dest.values.dumper(column, dest_stored),
    )
    expression = ends.source.values.read_expression(column, source_stored)
    return Conversion(column, Way.PROVEN, expression, convert, Target(column.name, column.kind), limits, mapping)


def _by_field(table: Table, column: Column, ends: TableEnds) -> Conversion:
    source_stored, dest_stored = ends.of(column)
    expression, load = field_reading(table, column, ends.source)
    dump, placeholder = field_dump(table, column, ends.dest)
    # The source can be queried for values that the destination's type cannot hold if it has the kind's own type.
    can_query = ends.source.values.stores(column.kind, source_stored) and ends.dest.types.holds(
        column.kind, dest_stored
    )
    limits = _limits(column, ends) if can_query else ()
    convert = chain(never_none(load), meaning_of(column), dump)
    return Conversion(column, Way.FIELD, expression, convert, Target(column.name, Kind.OTHER, placeholder), limits)


def unchecked(conversions: Iterable[Conversion], ends: TableEnds) -> tuple[Conversion, ...]:
    """Return the conversions for values that are known to fit: without checks, and without Python where possible."""
    return tuple(_unchecked(one, ends) for one in conversions)


def _unchecked(checked: Conversion, ends: TableEnds) -> Conversion:
    column = checked.column
    if checked.way is not Way.PROVEN or checked.mapping is not None:
        return checked
    source_stored, dest_stored = ends.of(column)
    text_form = ends.source.values.text_form(column, source_stored)
    if text_form is not None and ends.dest.values.accepts_text_form(column, dest_stored):
        return dataclasses.replace(checked, expression=text_form, convert=None)
    steps = ends.source.values.loader(column, source_stored), ends.dest.values.dumper(column, dest_stored)
    return dataclasses.replace(checked, convert=chain(*steps))


def _limits(column: Column, ends: TableEnds) -> tuple[Limit, ...]:
    """Return what the destination's column cannot hold and the source's may."""
    source_stored, dest_stored = ends.of(column)
    return tuple(
        limit
        for limit in ends.dest.values.limits(column, dest_stored)
        if ends.source.values.violation(limit, ends.source.quote(column.name), source_stored) is not None
    )


def chain(*steps: Convert | None) -> Convert | None:
    """Return one conversion that applies these in order; ``None`` without any."""
    real = [step for step in steps if step is not None]
    if len(real) < 2:
        return real[0] if real else None
    if len(real) == 2:
        first, second = real
        return lambda value: second(first(value))

    def chained(value: Any) -> Any:
        for step in real:
            value = step(value)
        return value

    return chained


def _mapped(mapping: Mapping[Any, Any]) -> Convert:
    def replace(value: Any) -> Any:
        try:
            return mapping[value]
        except KeyError:
            raise Unstorable(
                "id", "the row that it refers to does not exist in the destination", "Copy that model too."
            ) from None

    return replace
