"""A model field's own converters, as Django's ORM applies them when it reads and saves."""

from __future__ import annotations

from typing import Any

from django.db.models.query import QuerySet

from ..engines.base.engine import Engine
from ..engines.base.values import Convert, Unstorable
from ..tables import Column, Kind, Table


def field_reading(table: Table, column: Column, engine: Engine) -> tuple[str, Convert | None]:
    """Return the SQL by which the ORM selects a column, and the field's conversion of what the driver returns."""
    connection = engine.connection
    compiler = QuerySet(table.model, using=engine.alias).query.get_compiler(using=engine.alias)
    col = column.field.get_col(table.name)
    expression, _ = column.field.select_format(compiler, engine.quote(column.name), ())
    if column.kind is not Kind.OTHER:
        expression = engine.values.unconverted(expression)
    if column.kind in (Kind.DECIMAL, Kind.DATE):  # their only converters round a number, and drop a time of day
        return expression, None
    converters = [*connection.ops.get_db_converters(col), *col.get_db_converters(connection)]
    if not converters:
        return expression, None

    def load(value: Any) -> Any:
        for converter in converters:
            value = converter(value, col, connection)
        return value

    return expression, load


def never_none(load: Convert | None) -> Convert | None:
    """Return a conversion that raises :exc:`Unstorable` for a value that the field reads as ``None``.

    Written to the destination, that value would become NULL.
    """
    if load is None:
        return None

    def check(value: Any) -> Any:
        loaded = load(value)
        if loaded is None:
            raise Unstorable(
                type(value).__name__, "its field reads it as None", "Correct the value, or set it to NULL."
            )
        return loaded

    return check


def field_dump(table: Table, column: Column, engine: Engine) -> tuple[Convert, str | None]:
    """Return the field's conversion to what the driver takes, and its own SQL around the parameter, if any."""
    connection = engine.connection
    field = column.field
    placeholder = None
    if hasattr(field, "get_placeholder"):
        compiler = QuerySet(table.model, using=engine.alias).query.get_compiler(using=engine.alias)
        placeholder = field.get_placeholder(None, compiler, connection)
    return (lambda value: field.get_db_prep_save(value, connection)), None if placeholder == "%s" else placeholder
