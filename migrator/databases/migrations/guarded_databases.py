"""The databases while migrations run: ``default`` is the destination, and all others are read-only."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ...conf import load
from ...errors import MigratorError, UsageError
from ..engines.registry import engine_for
from ..planning.natural_keys import clear_caches

# A statement that begins with one of these words does not write, except WITH, which may.
QUERIES = ("SELECT", "SHOW", "EXPLAIN", "WITH")
NOT_WRITING = ("SELECT", "SHOW", "EXPLAIN", "PRAGMA", "SET", "SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN")
LEADING_COMMENTS = re.compile(r"^(?:\s|\(|/\*.*?\*/|--[^\n]*\n)+", re.DOTALL)
WRITING = re.compile(r"\b(INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|MERGE\s+INTO)\b", re.IGNORECASE)


class WroteToAnotherDatabase(MigratorError):
    """A migration of the destination tried to write to another database."""


class WriteGuard:
    """Lets migrations write to the destination only, and records which other databases they tried to use.

    ``step`` describes what is running, for messages. ``refused`` and ``read`` hold pairs of a step and the alias of
    another database, which it tried to write to or has read.
    """

    def __init__(self, dest: str) -> None:
        self.dest = dest
        self.step = ""
        self.read: dict[tuple[str, str], None] = {}
        self.refused: dict[tuple[str, str], None] = {}
        self._raised: list[tuple[BaseException, str]] = []
        self._inside = _without_pool(connections.settings[dest])
        self._stand_in: BaseDatabaseWrapper | None = None
        self._watched: list[BaseDatabaseWrapper] = []
        self._read_only: list[BaseDatabaseWrapper] = []

    def raised_by(self, error: BaseException) -> str | None:
        """Return the alias of the database whose statement raised this error, or ``None`` if it is unknown."""
        return next((alias for known, alias in self._raised if known is error), None)

    @contextlib.contextmanager
    def opened(self) -> Iterator[str]:
        """Replace ``default`` with the destination, in settings and connections, and guard all other connections.

        Yields the alias under which to migrate. Threads that a migration starts are covered: they connect by these
        settings. Both aliases of the destination share one connection, so a transaction under one of them is a
        transaction under the other.
        """
        alias = _alias_for(self.dest)
        self._stand_in = stand_in = type(connections[self.dest])(copy.deepcopy(self._inside), alias)
        with contextlib.ExitStack() as stack:
            stack.callback(self._release)
            for connection in connections.all(initialized_only=True):
                self._attach(connection)
            for name in {DEFAULT_DB_ALIAS, self.dest}:
                stack.enter_context(_replaced(name, self._inside, stand_in))
            connection_created.connect(self._guard, weak=False, dispatch_uid=self)
            stack.callback(connection_created.disconnect, dispatch_uid=self)
            clear_caches()
            stack.callback(clear_caches)
            stack.callback(stand_in.close)
            engine = engine_for(stand_in)
            engine.link_timeout = load().LINK_TIMEOUT
            engine.connect()
            self._attach(stand_in)
            yield alias

    def _is_inside(self, connection: BaseDatabaseWrapper) -> bool:
        return connection is self._stand_in or connection.settings_dict == self._inside

    def _guard(self, connection: BaseDatabaseWrapper, **more: Any) -> None:
        """Guard a connection that was just opened; if the engine is known, the server rejects writes, too."""
        if self._is_inside(connection):
            return
        with contextlib.suppress(UsageError, Error):
            engine_for(connection).forbid_writes()
            self._read_only.append(connection)
        self._attach(connection)

    def _attach(self, connection: BaseDatabaseWrapper) -> None:
        if self._watch not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._watch)
            self._watched.append(connection)

    def _release(self) -> None:
        """Stop guarding, and close the connections whose sessions would otherwise stay read-only."""
        for connection in self._watched:
            connection.execute_wrappers.remove(self._watch)
        for connection in self._read_only:
            with contextlib.suppress(Exception):  # it belongs to another thread, which has ended or will close it
                connection.close()

    def _watch(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        connection: BaseDatabaseWrapper = context["connection"]
        alias = self.dest
        if not self._is_inside(connection):
            alias = connection.alias
            statement = LEADING_COMMENTS.sub("", _sql_text(sql, connection))
            if not _only_reads(statement):
                self.refused[self.step, alias] = None
                raise WroteToAnotherDatabase(f"it writes to {alias!r}")
            if statement.upper().startswith(QUERIES):
                self.read[self.step, alias] = None
        try:
            return execute(sql, params, many, context)
        except Exception as error:
            self._raised.append((error, alias))
            raise


@contextlib.contextmanager
def _replaced(name: str, settings: dict[str, Any], stand_in: BaseDatabaseWrapper) -> Iterator[None]:
    """Point an alias to another connection inside the context."""
    former = None
    with contextlib.suppress(ImportError, ImproperlyConfigured):  # its driver may be missing
        former = connections[name]
    settings_before = connections.settings[name]
    connections.settings[name] = settings
    connections[name] = stand_in
    try:
        yield
    finally:
        connections.settings[name] = settings_before
        if former is None:
            del connections[name]
        else:
            connections[name] = former


def _without_pool(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without the pool: Django looks connection pools up by alias (its PostgreSQL backend)."""
    return {**settings, "OPTIONS": {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}}


def _alias_for(dest: str) -> str:
    """Return the alias under which to migrate the destination.

    It is ``default``, because migrations compare their alias with that, unless the project's router allows different
    models there. Otherwise a table that the router keeps out of ``default`` would be missing although its migration
    is recorded.
    """
    models = apps.get_models(include_auto_created=True)
    is_routed_alike = all(
        router.allow_migrate_model(DEFAULT_DB_ALIAS, model) == router.allow_migrate_model(dest, model)
        for model in models
    )
    return DEFAULT_DB_ALIAS if is_routed_alike else dest


def _sql_text(sql: Any, connection: BaseDatabaseWrapper) -> str:
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    return sql if isinstance(sql, str) else str(sql.as_string(connection.connection))


def _only_reads(statement: str) -> bool:
    upper = statement.upper()
    return upper.startswith(NOT_WRITING) or (upper.startswith("WITH") and not WRITING.search(statement))
