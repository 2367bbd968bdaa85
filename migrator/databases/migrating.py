"""The destination's tables made by Django's own ``migrate``, with every other database out of its reach."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management import call_command
from django.db import connections

from ..errors import Declined, MigratorError
from ..report import plural
from .choices import Watcher
from .ends import open_engine
from .schema import unapplied_migrations

# A statement that begins with one of these words changes nothing; a common table expression may do either.
READING = ("SELECT", "SHOW", "PRAGMA", "EXPLAIN", "SET", "SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN")
CHANGES = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|REPLACE)\b", re.IGNORECASE)


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
        with _only_writable(dest):
            call_command("migrate", database=dest, interactive=False, verbosity=0)
    except Exception as error:
        left = unapplied_migrations(connection)
        place = f"after {plural(len(names) - len(left), 'migration')} of {len(names)}"
        if left:
            place += f", in {left[0]}"
        reason = str(error).splitlines()[0] if str(error) else ""
        raise MigratorError(
            f"Migrating {dest!r} failed {place}: {type(error).__name__}: {reason} Nothing was copied. Mend it and call "
            f"again, or run manage.py migrate --database {dest} by itself."
        ) from error


@contextlib.contextmanager
def _only_writable(dest: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for alias in connections:
            if alias != dest:
                stack.enter_context(connections[alias].execute_wrapper(_refuse_writes(alias)))
        yield


def _only_reads(sql: str) -> bool:
    words = sql.lstrip().upper()
    return words.startswith(READING) or (words.startswith("WITH") and not CHANGES.search(sql))


def _refuse_writes(alias: str) -> Callable[..., Any]:
    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not _only_reads(sql):
            raise WroteElsewhere(
                f"it writes to {alias!r}, because it does not say using=schema_editor.connection.alias. Make the "
                f"destination 'default' in DATABASES while it is migrated."
            )
        return execute(sql, params, many, context)

    return wrapper
