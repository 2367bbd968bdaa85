"""A whole database, or chosen apps and models of it, to another one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..conf import load
from ..interrupts import Interrupts
from .abandoning import abandon_run
from .choices import RESUME_HINT, Choices, Watcher, check_choices
from .ends import open_ends
from .made import NOT_MIGRATED
from .migrating import migrate_destination
from .move import Move
from .naming import named_for
from .outcome import Outcome
from .selection import select


def batch_migrate(
    *,
    source: str,
    dest: str,
    labels: Sequence[str] = (),
    exclude: Sequence[str] = (),
    migrate: bool = False,
    chunk_size: int | None = None,
    replace: str | None = None,
    update: bool = False,
    dry_run: bool = False,
    resume: bool = False,
    trust_done: bool = False,
    cleanup: bool = False,
    keep_indexes: bool = False,
    keep_triggers: bool = False,
    verify: str = "count",
    on_error: str = "stop",
    rejects: Path | None = None,
    keep_journal: bool = False,
    jobs: int = 1,
    resume_hint: str = RESUME_HINT,
    watcher: Watcher | None = None,
) -> Outcome:
    """Move the tables of the project's models from one database of ``DATABASES`` to another, and prove it.

    ``source`` and ``dest`` are aliases, ``labels`` and ``exclude`` are ``app_label`` or ``app_label.Model``.
    ``replace`` has to equal ``dest`` before rows that somebody else than Django's ``migrate`` has put into the
    destination are emptied. ``chunk_size`` is in rows. ``resume`` goes on with a run that was cut off (``trust_done``
    without holding its committed chunks against the source), ``cleanup`` gives such a run up. ``update`` rewrites only
    the rows that differ in a destination that was filled before, all of them in one transaction. ``jobs`` processes
    copy side by side, where both databases allow it.

    Raises :exc:`~migrator.errors.UsageError` for arguments that cannot be right, :exc:`~migrator.errors.Refused` for
    what a check found before the first write, :exc:`~migrator.errors.DataRejected` for a row that the destination
    cannot hold, and :exc:`~migrator.errors.Interrupted` after a signal.
    """
    settings = load()
    choices = Choices(
        settings.CHUNK_SIZE if chunk_size is None else chunk_size,
        replace=replace,
        update=update,
        dry_run=dry_run,
        resume=resume,
        trust_done=trust_done,
        cleanup=cleanup,
        keep_indexes=keep_indexes,
        keep_triggers=keep_triggers,
        verify=verify,
        on_error=on_error,
        rejects=rejects,
        keep_journal=keep_journal,
        jobs=jobs,
        resume_hint=resume_hint,
    )
    watcher = watcher or Watcher()
    check_choices(choices, dest)
    if cleanup:
        return abandon_run(source=source, dest=dest, labels=labels, exclude=exclude, choices=choices, watcher=watcher)
    migrated = NOT_MIGRATED
    with named_for(source, dest), Interrupts() as interrupts:
        selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
        if migrate and not dry_run:
            with open_ends(source, dest, settings, selection.names) as ends:
                is_needed = Move(ends, selection, choices, watcher, interrupts).needs_migrations(is_whole=not labels)
            if is_needed:
                migrated = migrate_destination(dest, watcher)
        with open_ends(source, dest, settings, selection.names, jobs=choices.jobs, is_dry=dry_run) as ends:
            move = Move(ends, selection, choices, watcher, interrupts, migrated=migrated)
            return move.make(is_whole=not labels, will_migrate=migrate and dry_run)
