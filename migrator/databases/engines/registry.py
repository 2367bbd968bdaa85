"""The engine of each of Django's vendor names, imported when it is used: a missing driver affects only its users."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from django.db.backends.base.base import BaseDatabaseWrapper

from ...errors import UsageError
from .base.engine import Engine

ENGINES: Mapping[str, str] = {
    "postgresql": "migrator.databases.engines.postgresql.engine.PostgreSQL",
    "mysql": "migrator.databases.engines.mysql.engine.MySQL",
    "sqlite": "migrator.databases.engines.sqlite.engine.SQLite",
}


def engine_for(connection: BaseDatabaseWrapper) -> Engine:
    """Return the engine of a connection.

    Raises :exc:`UsageError` for a database that migrator does not know.
    """
    path = ENGINES.get(connection.vendor)
    if path is None:
        known = ", ".join(sorted(ENGINES))
        raise UsageError(
            f"{connection.alias!r} is a {connection.display_name} database; migrator moves rows between {known}."
        )
    module, _, name = path.rpartition(".")
    cls: type[Engine] = getattr(import_module(module), name)
    return cls(connection)
