"""The destination's tables made by Django's own ``migrate``, with every other database out of its reach."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

from django.core.management import BaseCommand, call_command, get_commands, load_command_class
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ...console.interrupts import telling_plainly
from ...console.wording import plural, shortened
from ...errors import Declined, Interrupted, MigratorError, Refused
from ..endpoints import explained, open_engine
from ..engines.base.engine import Engine
from ..engines.registry import engine_for
from ..findings import Finding
from ..journal import Journal
from ..options import Console
from ..planning.rows_of_migrations import NOT_MIGRATED, Made, Migrated, fingerprints, holds_rows_of_others
from ..planning.schema import Pending, pending
from .guarded_databases import Reach, WroteElsewhere

AGAIN = "Nothing was copied. Fix it and give the same command again: it goes on with the migrations that are left."
AGAIN_AFTERWARDS = "Nothing was copied. Fix it and give the same command again: its handlers then run again."
AFTERWARDS = "a post_migrate handler"
CREATING = "the creation of tables that no migration creates"


def migrate_destination(dest: str, console: Console) -> Migrated:
    """Apply the migrations that the destination lacks, and create the tables of apps without any, after asking.

    Meanwhile ``default`` is the destination, so that a data migration without ``using()`` does what its author meant,
    and no other database can be written to. Where the destination held nobody's rows before, those that it holds
    afterwards are recorded as rows of these migrations, also if one of them fails. Raises :exc:`MigratorError` that
    names the migration which failed.
    """
    connection = open_engine(dest, must_exist=False).connection
    coming, journal = pending(connection), Journal(dest)
    lacks_handlers = journal.lacks_handlers()
    if not coming and not lacks_handlers:
        return NOT_MIGRATED
    what = coming.announced(dest) or f"run the post_migrate handlers for {dest!r} again"
    if not console.prompter.proceed(f"{what[0].upper()}{what[1:]} first?"):
        raise Declined("Nothing was written.")
    console.progress.message(_in_progress(coming, dest))
    reach = Reach(dest)
    try:
        with telling_plainly(), _locked(dest) as engine, _rows_recorded(engine), reach.opened() as alias:
            call_command(_told_of_steps(reach), database=alias, interactive=False, verbosity=0, run_syncdb=True)
    except Interrupted as error:
        text = f"Stopped while {dest!r} was migrated, {_place(coming, connection, reach)}. Nothing was copied."
        raise Interrupted(text, error.exit_code - 128) from None
    except Refused:
        raise
    except Exception as error:
        place = _place(coming, connection, reach)
        again = AGAIN_AFTERWARDS if place.endswith(AFTERWARDS) else AGAIN
        raise MigratorError(f"Migrating {dest!r} failed {place}: {_reason(error, reach)} {again}") from error
    if lacks_handlers:
        journal.record_handlers(lacking=False)
    return Migrated(coming.reported(dest) or f"post_migrate handlers were run for {dest!r}", tuple(_notes(reach)))


def _in_progress(coming: Pending, dest: str) -> str:
    if coming.migrations:
        return f"Applying {plural(len(coming.migrations), 'migration')} to {dest!r} …"
    return f"Migrating {dest!r} …"


def _told_of_steps(reach: Reach) -> BaseCommand:
    """Give the project's ``migrate``, which tells ``reach`` what it does."""
    command: Any = get_commands()["migrate"]
    if not isinstance(command, BaseCommand):
        command = load_command_class(command, "migrate")

    def tell(action: str, migration: Any = None, fake: bool = False) -> None:
        reach.step = f"{migration.app_label}.{migration.name}" if action == "apply_start" else AFTERWARDS

    command.migration_progress_callback = tell
    return cast("BaseCommand", command)


def _place(coming: Pending, connection: BaseDatabaseWrapper, reach: Reach) -> str:
    """Say how far the migrations came, and in which they stopped."""
    names, left = coming.migrations, Pending()
    with contextlib.suppress(Exception):  # the database may be out of reach by now
        left = pending(connection)
        if not left:
            Journal(reach.dest).record_handlers(lacking=True)
            after = f"after all {len(names)} migrations, " if names else ""
            return f"{after}in {AFTERWARDS}"
    if left.tables and not reach.step:
        return f"in {CREATING}: {shortened(left.tables, 3)}"
    place = f"after {len(names) - len(left.migrations)} of {plural(len(names), 'migration')}"
    return f"{place}, in {left.migrations[0]}" if left.migrations else place


def _reason(error: Exception, reach: Reach) -> str:
    """Say why migrating failed, by the database that raised it, and which other one had a part in it."""
    if isinstance(error, WroteElsewhere):
        standing_in = "" if reach.dest == DEFAULT_DB_ALIAS else f", which is {DEFAULT_DB_ALIAS!r} meanwhile,"
        return (
            f"{error}. Only {reach.dest!r}{standing_in} can be written to. Let the migration name no alias, or "
            "schema_editor.connection.alias."
        )
    raised_by = reach.raised_by(error)
    if isinstance(error, Error) and error.__cause__:  # by a driver, whose words may hold values of rows
        aliases = [raised_by] if raised_by else [reach.dest, *(alias for alias in connections if alias != reach.dest)]
        reason = str(explained(error, list(_engines(aliases))))
    else:
        text = str(error).splitlines()[0] if str(error) else ""
        reason = f"{type(error).__name__}: {text}".rstrip(".: ") + "."
    for step, alias in dict.fromkeys((*reach.refused, *reach.read)):
        if step == reach.step:
            verb = "tried to write to" if (step, alias) in reach.refused else "reads"
            reason += f" It {verb} {alias!r}, which is not the database that is migrated."
    return reason


def _engines(aliases: Sequence[str]) -> Iterator[Engine]:
    for alias in aliases:
        with contextlib.suppress(Exception):  # without a driver, or of an engine that no move knows
            yield engine_for(connections[alias])


def _notes(reach: Reach) -> Iterator[Finding]:
    for step, alias in reach.refused:
        text = f"{step} tried to write to {alias!r}, which was refused, and went on"
        yield Finding(reach.dest, text, "Check what it has not done.", stops=False)
    for step, alias in reach.read:
        if (step, alias) not in reach.refused:
            yield Finding(reach.dest, f"{step} read {alias!r} while it was applied", "", stops=False)


@contextlib.contextmanager
def _locked(dest: str) -> Iterator[Engine]:
    """Keep other runs off the destination, by a session that does nothing else."""
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
    """Record which rows the migrations have made, if there were no others before.

    What happens between two calls is not known, so a record holds what the rows were when the migrations ended. Of a
    process that was killed there is none, and its rows count as somebody's.
    """
    journal = Journal(engine.alias)
    is_known = not holds_rows_of_others(engine, Made(journal.made_by_migrations()))
    try:
        yield
    finally:
        if is_known:
            with contextlib.suppress(Error):
                journal.record_made(fingerprints(engine))
