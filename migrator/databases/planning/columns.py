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


def conversions(
    table: Table,
    source: Engine,
    dest: Engine,
    source_stored: Stored,
    dest_stored: Stored,
    mappings: Mapping[str, Mapping[Any, Any]],
) -> tuple[Conversion, ...]:
    """Return the conversion of every column of a table; each checks that the destination can hold the value.

    ``mappings`` has, by column name, values that are replaced: the ids of rows that have other ids in the destination.
    """
    return tuple(
        _conversion(
            table, column, source, dest, source_stored[column.name], dest_stored[column.name],
            mappings.get(column.name),
        )
        for column in table.columns
    )  # fmt: skip


def way_of(
    column: Column,
    source: Engine,
    dest: Engine,
    source_stored: StoredColumn,
    dest_stored: StoredColumn,
    *,
    is_mapped: bool = False,
) -> tuple[Way, Column]:
    """Return the way of one column, and the column with the kind that its values have on that way.

    ``is_mapped``: its values are replaced, so they must be read as values.
    """
    if is_mapped:
        return Way.PROVEN, column
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


def _conversion(
    table: Table,
    column: Column,
    source: Engine,
    dest: Engine,
    source_stored: StoredColumn,
    dest_stored: StoredColumn,
    mapping: Mapping[Any, Any] | None,
) -> Conversion:
    way, typed = way_of(column, source, dest, source_stored, dest_stored, is_mapped=mapping is not None)
    match way:
        case Way.RAW:
            expression = source.values.raw_expression(column)
            return Conversion(typed, way, expression, None, Target(column.name, typed.kind), ())
        case Way.PROVEN:
            return _proven(typed, source, dest, source_stored, dest_stored, mapping)
        case Way.FIELD:
            return _by_field(table, column, source, dest, source_stored, dest_stored)


def _proven(
    column: Column,
    source: Engine,
    dest: Engine,
    source_stored: StoredColumn,
    dest_stored: StoredColumn,
    mapping: Mapping[Any, Any] | None,
) -> Conversion:
    limits = _limits(column, source, dest, source_stored, dest_stored)
    convert = chain(
        source.values.loader(column, source_stored),
        *map(guard, limits),
        None if mapping is None else _mapped(mapping),
        dest.values.dumper(column, dest_stored),
    )
    expression = source.values.read_expression(column, source_stored)
    return Conversion(column, Way.PROVEN, expression, convert, Target(column.name, column.kind), limits, mapping)


def _by_field(
    table: Table, column: Column, source: Engine, dest: Engine, source_stored: StoredColumn, dest_stored: StoredColumn
) -> Conversion:
    expression, load = field_reading(table, column, source)
    dump, placeholder = field_dump(table, column, dest)
    # The source can be queried for values that the destination's type cannot hold if it has the kind's own type.
    can_query = source.values.stores(column.kind, source_stored) and dest.types.holds(column.kind, dest_stored)
    limits = _limits(column, source, dest, source_stored, dest_stored) if can_query else ()
    convert = chain(never_none(load), meaning_of(column), dump)
    return Conversion(column, Way.FIELD, expression, convert, Target(column.name, Kind.OTHER, placeholder), limits)


def unchecked(
    conversions: Iterable[Conversion], source: Engine, dest: Engine, source_stored: Stored, dest_stored: Stored
) -> tuple[Conversion, ...]:
    """Return the conversions for values that are known to fit: without checks, and without Python where possible."""
    return tuple(
        _unchecked(one, source, dest, source_stored[one.column.name], dest_stored[one.column.name])
        for one in conversions
    )


def _unchecked(
    checked: Conversion, source: Engine, dest: Engine, source_stored: StoredColumn, dest_stored: StoredColumn
) -> Conversion:
    column = checked.column
    if checked.way is not Way.PROVEN or checked.mapping is not None:
        return checked
    text_form = source.values.text_form(column, source_stored)
    if text_form is not None and dest.values.accepts_text_form(column, dest_stored):
        return dataclasses.replace(checked, expression=text_form, convert=None)
    steps = source.values.loader(column, source_stored), dest.values.dumper(column, dest_stored)
    return dataclasses.replace(checked, convert=chain(*steps))


def _limits(
    column: Column, source: Engine, dest: Engine, source_stored: StoredColumn, dest_stored: StoredColumn
) -> tuple[Limit, ...]:
    """Return what the destination's column cannot hold and the source's may."""
    return tuple(
        limit
        for limit in dest.values.limits(column, dest_stored)
        if source.values.violation(limit, source.quote(column.name), source_stored) is not None
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
