"""The row of the destination that holds the unique value which another one was to be given."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import Error, transaction

from .chunks import key_text
from .engines.base.session import Row
from .route import Route


def rival_of(route: Route, converted: Row, columns: Sequence[str]) -> str | None:
    """Return the primary key of the row that has the same values in these columns, if they are a unique key there.

    ``converted``: the row that was refused, as it would have been written. ``None`` if nothing can be said.
    """
    table, dest = route.table, route.dest
    values = dict(zip((conversion.column.name for conversion in route.conversions), converted, strict=True))
    if not table.key or not {*columns} <= values.keys() or None in (values[name] for name in columns):
        return None
    test = " AND ".join(f"{dest.quote(name)} = %s" for name in columns)
    names = ", ".join(dest.quote(name) for name in table.key)
    sql = f"SELECT {names} FROM {dest.quote(table.name)} WHERE {test} LIMIT 1"
    try:
        with transaction.atomic(using=dest.alias):
            if frozenset(columns) not in dest.catalogue.unique_keys(table.name):
                return None
            rows = dest.fetch_all(sql, [values[name] for name in columns])
    except (Error, TypeError, ValueError):  # a value that only its writer knows how to send
        return None
    return key_text(table, rows[0]) if rows else None
