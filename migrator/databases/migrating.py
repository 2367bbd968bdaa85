"""The destination's tables made by Django's own ``migrate``, with every other database out of its reach."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..errors import Declined, Interrupted, MigratorError, Refused
from ..interrupts import telling_plainly
from ..report import plural
from .choices import Watcher
from .ends import explained, open_engine
from .engines.registry import engine_for
from .schema import unapplied_migrations

# A statement that begins with one of these words changes nothing; a common table expression may do either.
READING = ("SELECT", "SHOW", "PRAGMA", "EXPLAIN", "SET", "SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN")
BEFORE_WORDS = re.compile(r"^(?:\s|\(|/\*.*?\*/|--[^\n]*\n)+", re.DOTALL)
CHANGES = re.compile(r"\b(INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|MERGE\s+INTO)\b", re.IGNORECASE)


class WroteElsewhere(MigratorError):
    """A migration of the destination was about to write to another database."""


def migrate_destination(dest: str, watcher: Watcher) -> None:
    """Apply the migrations that the destination lacks, after asking.

    A data migration that does not say ``using`` writes to ``default``, which may well be the source: no database but
    the destination can be written to meanwhile. Raises :exc:`MigratorError` that names the migration which failed.
    """
    connection = open_engine(dest, must_exist=False).connection
    names = unapplied_migrations(connection)
    if not names:
        return
    if not watcher.prompter.proceed(f"Apply {plural(len(names), 'migration')} to {dest!r} first?"):
        raise Declined("Nothing was written.")
    watcher.progress.message(f"Applying {plural(len(names), 'migration')} to {dest!r} …")
    try:
        with telling_plainly(), _only_writable(dest), _locked(dest):
            call_command("migrate", database=dest, interactive=False, verbosity=0)
    except Interrupted as error:
        text = f"Stopped while {dest!r} was migrated, {_place(names, connection)}. Nothing was copied."
        raise Interrupted(text, error.exit_code - 128) from None
    except Refused:
        raise
    except WroteElsewhere as error:
        raise MigratorError(f"Migrating {dest!r} failed {_place(names, connection)}: {error}") from error
    except Exception as error:
        raise MigratorError(
            f"Migrating {dest!r} failed {_place(names, connection)}: {_reason(error, dest)}. Nothing was copied. Mend "
            f"it and call again, or run manage.py migrate --database {dest} by itself."
        ) from error


def _place(names: Sequence[str], connection: BaseDatabaseWrapper) -> str:
    """Say how far the migrations came, and in which they stopped."""
    left: list[str] = []
    with contextlib.suppress(Exception):  # the database may be out of reach by now
        left = unapplied_migrations(connection)
    place = f"after {len(names) - len(left)} of {plural(len(names), 'migration')}"
    return f"{place}, in {left[0]}" if left else place


def _reason(error: Exception, dest: str) -> str:
    if isinstance(error, Error):
        return str(explained(error, [engine_for(connections[dest])])).rstrip(".")
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text}".rstrip(".: ")


@contextlib.contextmanager
def _locked(dest: str) -> Iterator[None]:
    """Keep other runs off the destination, by a session that does nothing else."""
    engine = engine_for(connections[dest].copy())
    engine.connect()
    try:
        if not engine.lock():
            raise Refused(f"Another run is writing to {dest!r}. Wait for it, or stop it.")
        try:
            yield
        finally:
            with contextlib.suppress(Error):
                engine.unlock()
    finally:
        engine.close()


@contextlib.contextmanager
def _only_writable(dest: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for alias in connections:
            if alias == dest:
                continue
            with contextlib.suppress(ImportError, ImproperlyConfigured):  # what has no driver cannot be written to
                stack.enter_context(connections[alias].execute_wrapper(_refuse_writes(alias)))
        yield


def _only_reads(sql: str) -> bool:
    words = BEFORE_WORDS.sub("", sql).upper()
    return words.startswith(READING) or (words.startswith("WITH") and not CHANGES.search(sql))


def _refuse_writes(alias: str) -> Callable[..., Any]:
    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not _only_reads(sql):
            raise WroteElsewhere(
                f"it writes to {alias!r}, because it does not say using=schema_editor.connection.alias. Nothing was "
                "copied. Make the destination 'default' in DATABASES, or give the migration that alias, and call again."
            )
        return execute(sql, params, many, context)

    return wrapper
