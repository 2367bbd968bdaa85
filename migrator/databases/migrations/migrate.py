"""Run Django's ``migrate`` on the destination, with every other database read-only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

from django.core.management import BaseCommand, call_command, get_commands, load_command_class
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ...console.interrupts import raising_interrupted
from ...console.wording import plural, shortened
from ...errors import Declined, Interrupted, MigratorError, Refused
from ..endpoints import open_engine, to_migrator_error
from ..engines.base.engine import Engine
from ..engines.registry import engine_for
from ..findings import Finding
from ..journal.journal import Journal
from ..planning.pending_migrations import Pending, pending
from ..planning.rows_of_migrations import NOT_MIGRATED, Made, Migrated, fingerprints, holds_rows_of_others
from ..run_options import Console
from .guarded_databases import WriteGuard, WroteToAnotherDatabase

AGAIN = "Nothing was copied. Fix it and repeat the command: it continues with the remaining migrations."
AGAIN_AFTERWARDS = "Nothing was copied. Fix it and repeat the command: the handlers then run again."
AFTERWARDS = "a post_migrate handler"
CREATING = "the creation of tables that no migration creates"


def migrate_destination(dest: str, console: Console) -> Migrated:
    """Apply the migrations that the destination lacks, and create the tables of apps without any, after asking.

    While they run, ``default`` is the destination, so that a data migration without ``using()`` does what its author
    meant, and all other databases are read-only. If the destination had only rows of migrations before, all rows that
    it has afterwards are recorded as such, even if a migration fails. Raises :exc:`MigratorError`, which names the
    migration that failed.
    """
    connection = open_engine(dest, must_exist=False).connection
    missing, journal = pending(connection), Journal(dest)
    lacks_handlers = journal.lacks_handlers()
    if not missing and not lacks_handlers:
        return NOT_MIGRATED
    what = missing.announced(dest) or f"run the post_migrate handlers for {dest!r} again"
    if not console.prompter.proceed(f"{what[0].upper()}{what[1:]} first?"):
        raise Declined("Nothing was written.")
    console.progress.message(_in_progress(missing, dest))
    guard = WriteGuard(dest)
    try:
        with raising_interrupted(), _locked(dest) as engine, _rows_recorded(engine), guard.opened() as alias:
            call_command(_watched_migrate(guard), database=alias, interactive=False, verbosity=0, run_syncdb=True)
    except Interrupted as error:
        text = f"Stopped while {dest!r} was migrated, {_progress(missing, connection, guard)}. Nothing was copied."
        raise Interrupted(text, error.exit_code - 128) from None
    except Refused:
        raise
    except Exception as error:
        progress = _progress(missing, connection, guard)
        again = AGAIN_AFTERWARDS if progress.endswith(AFTERWARDS) else AGAIN
        raise MigratorError(f"Migrating {dest!r} failed {progress}: {_reason(error, guard)} {again}") from error
    if lacks_handlers:
        journal.record_handlers(lacking=False)
    return Migrated(missing.reported(dest) or f"post_migrate handlers were run for {dest!r}", tuple(_notes(guard)))


def _in_progress(missing: Pending, dest: str) -> str:
    if missing.migrations:
        return f"Applying {plural(len(missing.migrations), 'migration')} to {dest!r} …"
    return f"Migrating {dest!r} …"


def _watched_migrate(guard: WriteGuard) -> BaseCommand:
    """Return the project's ``migrate`` command, which reports each of its steps to the guard."""
    command: Any = get_commands()["migrate"]
    if not isinstance(command, BaseCommand):
        command = load_command_class(command, "migrate")

    def record_step(action: str, migration: Any = None, fake: bool = False) -> None:
        guard.step = f"{migration.app_label}.{migration.name}" if action == "apply_start" else AFTERWARDS

    command.migration_progress_callback = record_step
    return cast("BaseCommand", command)


def _progress(missing: Pending, connection: BaseDatabaseWrapper, guard: WriteGuard) -> str:
    """Describe how many migrations were applied, and which one failed."""
    names, left = missing.migrations, Pending()
    with contextlib.suppress(Exception):  # the database may be unreachable by now
        left = pending(connection)
        if not left:
            Journal(guard.dest).record_handlers(lacking=True)
            after = f"after all {len(names)} migrations, " if names else ""
            return f"{after}in {AFTERWARDS}"
    if left.tables and not guard.step:
        return f"in {CREATING}: {shortened(left.tables, 3)}"
    progress = f"after {len(names) - len(left.migrations)} of {plural(len(names), 'migration')}"
    return f"{progress}, in {left.migrations[0]}" if left.migrations else progress


def _reason(error: Exception, guard: WriteGuard) -> str:
    """Describe why migrating failed: the error of the database that raised it, and any other database involved."""
    if isinstance(error, WroteToAnotherDatabase):
        alias_note = "" if guard.dest == DEFAULT_DB_ALIAS else f" (now also the alias {DEFAULT_DB_ALIAS!r})"
        return (
            f"{error}. Only {guard.dest!r}{alias_note} can be written to. In the migration, use no alias, or "
            "schema_editor.connection.alias."
        )
    raised_by = guard.raised_by(error)
    if isinstance(error, Error) and error.__cause__:  # by a driver, whose message may contain values of rows
        aliases = [raised_by] if raised_by else [guard.dest, *(alias for alias in connections if alias != guard.dest)]
        reason = str(to_migrator_error(error, list(_engines(aliases))))
    else:
        text = str(error).splitlines()[0] if str(error) else ""
        reason = f"{type(error).__name__}: {text}".rstrip(".: ") + "."
    for step, alias in dict.fromkeys((*guard.refused, *guard.read)):
        if step == guard.step:
            verb = "tried to write to" if (step, alias) in guard.refused else "reads"
            reason += f" It {verb} {alias!r}, which is not the database being migrated."
    return reason


def _engines(aliases: Sequence[str]) -> Iterator[Engine]:
    for alias in aliases:
        with contextlib.suppress(Exception):  # its driver is missing, or migrator does not support its engine
            yield engine_for(connections[alias])


def _notes(guard: WriteGuard) -> Iterator[Finding]:
    for step, alias in guard.refused:
        text = f"{step} tried to write to {alias!r}, which was rejected, and continued"
        yield Finding(guard.dest, text, "Check what it has left undone.", stops=False)
    for step, alias in guard.read:
        if (step, alias) not in guard.refused:
            yield Finding(guard.dest, f"{step} read {alias!r} while it was applied", "", stops=False)


@contextlib.contextmanager
def _locked(dest: str) -> Iterator[Engine]:
    """Hold the destination's lock against other runs, with a session of its own."""
    engine = engine_for(connections[dest].copy())
    engine.connect()
    try:
        if not engine.lock():
            raise Refused(f"Another run is writing to {dest!r}. Wait for it, or stop it.")
        try:
            yield engine
        finally:
            with contextlib.suppress(Error):
                engine.unlock()
    finally:
        engine.close()


@contextlib.contextmanager
def _rows_recorded(engine: Engine) -> Iterator[None]:
    """Record which rows the migrations have created, if the destination had no others before.

    Nothing is known about the time between two calls, so the record describes the rows as they were when the migrations
    ended. A killed process leaves no record, and its rows count as not created by migrations.
    """
    journal = Journal(engine.alias)
    is_known = not holds_rows_of_others(engine, Made(journal.made_by_migrations()))
    try:
        yield
    finally:
        if is_known:
            with contextlib.suppress(Error):
                journal.record_made(fingerprints(engine))
