"""What migrations reach while they run: ``default`` is the destination, and every other database can only be read."""

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

# A statement that begins with one of these words changes nothing; a common table expression may do either.
LOOKING = ("SELECT", "SHOW", "EXPLAIN", "WITH")
READING = ("SELECT", "SHOW", "EXPLAIN", "PRAGMA", "SET", "SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN")
BEFORE_WORDS = re.compile(r"^(?:\s|\(|/\*.*?\*/|--[^\n]*\n)+", re.DOTALL)
CHANGES = re.compile(r"\b(INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|MERGE\s+INTO)\b", re.IGNORECASE)


class WroteElsewhere(MigratorError):
    """A migration of the destination tried to write to another database."""


class Reach:
    """Lets migrations write to the destination alone, and remembers what else they reached for.

    ``step`` is what runs now, in the words of a message. ``refused`` and ``read`` hold pairs of a step and the alias of
    another database that it tried to write to, or read.
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
        """Return the alias of the database whose statement ended with this error, as far as that is known."""
        return next((alias for known, alias in self._raised if known is error), None)

    @contextlib.contextmanager
    def opened(self) -> Iterator[str]:
        """Replace ``default`` by the destination, in settings and connections, and guard all other connections.

        Gives the alias under which to migrate. A thread that a migration starts gets the same: new connections are
        made from the settings. Connections of the destination's two aliases are one, so that a transaction under one
        of them is a transaction under the other.
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
        """Guard a connection that was just opened, by the server itself where the engine is known."""
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
        """Let all connections go, and close those whose sessions would go on refusing writes."""
        for connection in self._watched:
            connection.execute_wrappers.remove(self._watch)
        for connection in self._read_only:
            with contextlib.suppress(Exception):  # of another thread, which has ended or closes it
                connection.close()

    def _watch(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        connection: BaseDatabaseWrapper = context["connection"]
        alias = self.dest
        if not self._is_inside(connection):
            alias = connection.alias
            words = BEFORE_WORDS.sub("", _text(sql, connection))
            if not _only_reads(words):
                self.refused[self.step, alias] = None
                raise WroteElsewhere(f"it writes to {alias!r}")
            if words.upper().startswith(LOOKING):
                self.read[self.step, alias] = None
        try:
            return execute(sql, params, many, context)
        except Exception as error:
            self._raised.append((error, alias))
            raise


@contextlib.contextmanager
def _replaced(name: str, settings: dict[str, Any], stand_in: BaseDatabaseWrapper) -> Iterator[None]:
    """Let an alias mean another database for a while."""
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
    """Leave out what has Django take a connection from a pool: it finds the pool by the alias alone."""
    return {**settings, "OPTIONS": {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}}


def _alias_for(dest: str) -> str:
    """Choose the alias under which the destination is migrated.

    That is ``default``, which migrations compare theirs with, unless the project's router gives the two different
    tables: then a table that the router keeps off ``default`` would be missing, and yet its migration be recorded.
    """
    models = apps.get_models(include_auto_created=True)
    is_alike = all(
        router.allow_migrate_model(DEFAULT_DB_ALIAS, model) == router.allow_migrate_model(dest, model)
        for model in models
    )
    return DEFAULT_DB_ALIAS if is_alike else dest


def _text(sql: Any, connection: BaseDatabaseWrapper) -> str:
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    return sql if isinstance(sql, str) else str(sql.as_string(connection.connection))


def _only_reads(words: str) -> bool:
    upper = words.upper()
    return upper.startswith(READING) or (upper.startswith("WITH") and not CHANGES.search(words))
