"""Tables of a key, a value and an expiry, as Django's database cache and all session tables are."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from django.db import DEFAULT_DB_ALIAS, connections

from ...console.suggestions import did_you_mean
from ...errors import Refused, UsageError
from .base import KeyedTable
from .layout import Layout

ENGINES = {
    "postgresql": "postgresql.PostgreSQLTable",
    "mysql": "mysql.MySQLTable",
    "sqlite": "sqlite.SQLiteTable",
}


def open_table(*, alias: str | None, layout: Layout, is_there: bool = False) -> KeyedTable:
    """Open a table of the database ``alias``. If it is known to exist, the database is not asked.

    Raises :exc:`UsageError` for an unknown alias, :exc:`Refused` for an unknown engine or a missing table.
    """
    alias = alias or DEFAULT_DB_ALIAS
    if alias not in connections:
        known = ", ".join(sorted(connections))
        meant = did_you_mean(alias, connections)
        raise UsageError(f"DATABASES has no alias {alias!r}.{meant} Its aliases are: {known}.")
    connection = connections[alias]
    if connection.vendor not in ENGINES:
        known = ", ".join(sorted(ENGINES))
        raise Refused(f"The database {alias!r} is {connection.vendor}, which is not supported. Supported: {known}.")
    table = _class_of(connection.vendor)(alias, connection, layout)
    if not is_there:
        table.check_exists()
    return table


def _class_of(vendor: str) -> type[KeyedTable]:
    module, name = ENGINES[vendor].split(".")
    return cast("type[KeyedTable]", getattr(import_module(f"{__name__}.{module}"), name))


def server_time(connection: Any) -> int | None:
    """Return a database server's time in microseconds of Unix time; None if it uses the clock of this host."""
    sql = _class_of(connection.vendor).clock_sql if connection.vendor in ENGINES else None
    if sql is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])
