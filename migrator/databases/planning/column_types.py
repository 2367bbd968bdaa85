"""Whether the destination's columns have the types that the models give them, or others that hold the same values.

The engines' closed tables list what each type holds. A type that is in none of them stops the run before its first
write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..engines.base.engine import Engine
from ..findings import Finding
from ..tables import Column, Kind, StoredColumn, Table
from .columns import Stored, TableEnds, Way, way_of

CONSTRAINTS = re.compile(
    r"\s+(?:default|not|null|collate|generated|primary|unique|check|references|on|auto_increment)\b", re.IGNORECASE
)
# Columns that a message names.
SHOWN = 5


def check_types(
    tables: Sequence[Table],
    source: Engine,
    dest: Engine,
    source_has: Mapping[str, Stored],
    dest_has: Mapping[str, Stored],
) -> Iterator[Finding]:
    """Compare the type that each field gives its column with the column's type in the destination.

    Yields a finding that stops the run for each column whose type is not known to hold the field's values, and one note
    that lists the columns of other types that hold them.
    """
    ends = {table.name: TableEnds(source, dest, source_has[table.name], dest_has[table.name]) for table in tables}
    pairs = [
        (table, column, ends[table.name])
        for table in tables
        for column in table.columns
        if column.name in source_has[table.name] and column.name in dest_has[table.name]
    ]
    declared = _declared(dest, (column for _, column, _ in pairs))
    others = []
    for table, column, both in pairs:
        _, stored = both.of(column)
        yield from _check_source(table, column, both)
        db_type = _db_type(column, dest)
        expected = declared.get(db_type or "")
        if _has_expected_type(column, both, expected, db_type):
            continue
        shown = expected or db_type or ""
        if _holds(column, both, shown):
            others.append(f"{_subject(table, column)} as {_type_name(stored)} (Django: {shown})")
        else:
            yield _unproven_type(table, column, dest, stored, shown)
    if others:
        yield _other_types(dest, others)


def _unproven_type(table: Table, column: Column, dest: Engine, stored: StoredColumn, declared: str) -> Finding:
    return Finding(
        _subject(table, column),
        f"{dest.alias!r} stores it as {_type_name(stored)}, which is not known to keep the values of {declared}, the "
        "type that Django gives this field there",
        f"{dest.types.change(table.name, stored, declared)}, or leave the model out with --exclude {table.label}.",
    )


def _other_types(dest: Engine, columns: Sequence[str]) -> Finding:
    rest = len(columns) - SHOWN
    text = ", ".join(columns[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
    text = f"columns there have other types than the models, but hold the same values: {text}"
    return Finding(dest.alias, text, "", stops=False)


def _subject(table: Table, column: Column) -> str:
    return f"{table.label}.{column.attname}"


def _type_name(stored: StoredColumn) -> str:
    return stored.domain or stored.declared


def _db_type(column: Column, engine: Engine) -> str | None:
    """Return the type that a field gives its column, without the constraints that some add to it."""
    try:
        db_type = column.field.db_type(engine.connection)
    except Exception:  # a field may know other databases only
        return None
    return None if db_type is None else CONSTRAINTS.split(db_type, maxsplit=1)[0]


def _declared(dest: Engine, columns: Iterable[Column]) -> Mapping[str, str]:
    db_types = {_db_type(column, dest) for column in columns}
    return dest.types.declared(sorted(db_type for db_type in db_types if db_type))


def _holds_every_integer(column: Column, dest: Engine, stored: StoredColumn) -> bool:
    """Whether an integer type is at least as wide as the field's.

    Django itself creates wider ones: its migrations give automatic many-to-many tables the key type of
    DEFAULT_AUTO_FIELD, whatever the app's configuration says.
    """
    held = dest.values.integer_range(stored) if dest.values.stores(Kind.INTEGER, stored) else None
    if held is None:
        return False
    of_field: tuple[Any, Any] = dest.connection.ops.integer_field_range(column.field.get_internal_type())
    smallest, largest = of_field
    if smallest is None or largest is None:
        return False
    return bool(held[0] <= smallest and largest <= held[1])


def _has_expected_type(column: Column, ends: TableEnds, expected: str | None, db_type: str | None) -> bool:
    """Whether a column has the type of its field or of the source's column, or its field has no type."""
    own, stored = ends.of(column)
    if db_type is None or (ends.source.vendor == ends.dest.vendor and own.declared == stored.declared):
        return True
    if column.kind is Kind.INTEGER and _holds_every_integer(column, ends.dest, stored):
        return True
    return expected is not None and ends.dest.types.is_declared(expected, stored)


def _holds(column: Column, ends: TableEnds, declared: str) -> bool:
    way, typed = way_of(column, ends)
    if way is Way.RAW:
        return True
    _, stored = ends.of(column)
    if column.kind is not Kind.OTHER:
        return ends.dest.types.holds(typed.kind, stored)
    return way is Way.PROVEN or ends.dest.types.widens(declared, stored)


def _check_source(table: Table, column: Column, ends: TableEnds) -> Iterator[Finding]:
    source, (own, _) = ends.source, ends.of(column)
    way, _ = way_of(column, ends)
    if way is Way.FIELD and source.types.is_read_as_another_moment(column.kind, own):
        yield Finding(
            _subject(table, column),
            f"{source.alias!r} stores it as {own.declared}, from which Django reads another point in time",
            f"{source.types.change(table.name, own, str(_db_type(column, source)))}, or leave the model out with "
            f"--exclude {table.label}.",
        )
