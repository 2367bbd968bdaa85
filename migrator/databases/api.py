"""``batch_migrate`` and ``batch_migrate_models``: the functions behind the commands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..conf import load
from ..console.interrupts import Interrupts
from ..errors import UsageError
from .abandon import abandon_run
from .endpoints import open_endpoints
from .migrations.migrate import migrate_destination
from .options import RESUME_HINT, Console, RunOptions, check_options
from .planning.filters import parse_filter, restrictions_for
from .planning.rows_of_migrations import NOT_MIGRATED
from .planning.selection import select
from .planning.table_names import named_for
from .result import RunResult
from .run import RunExecutor


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
    console: Console | None = None,
) -> RunResult:
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
    options = RunOptions(
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
    console = console or Console()
    check_options(options, dest)
    if cleanup:
        return abandon_run(source=source, dest=dest, labels=labels, exclude=exclude, options=options, console=console)
    migrated = NOT_MIGRATED
    with named_for(source, dest), Interrupts() as interrupts:
        selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
        if migrate and not dry_run:
            with open_endpoints(source, dest, settings, selection.names) as endpoints:
                is_needed = RunExecutor(endpoints, selection, options, console, interrupts).needs_migrations(
                    is_whole=not labels
                )
            if is_needed:
                migrated = migrate_destination(dest, console)
        with open_endpoints(source, dest, settings, selection.names, jobs=options.jobs, is_dry=dry_run) as endpoints:
            executor = RunExecutor(endpoints, selection, options, console, interrupts, migrated=migrated)
            return executor.run(is_whole=not labels, will_migrate=migrate and dry_run)


def batch_migrate_models(
    *,
    models: Sequence[str],
    source: str,
    dest: str,
    filters: Sequence[str] = (),
    exclude: Sequence[str] = (),
    chunk_size: int | None = None,
    dry_run: bool = False,
    resume: bool = False,
    trust_done: bool = False,
    cleanup: bool = False,
    keep_triggers: bool = False,
    verify: str = "count",
    on_error: str = "stop",
    rejects: Path | None = None,
    keep_journal: bool = False,
    jobs: int = 1,
    resume_hint: str = RESUME_HINT,
    console: Console | None = None,
) -> RunResult:
    """Copy the rows of chosen models, with their parents' tables and many-to-many tables, beside those that are there.

    ``models`` are ``app_label.Model``; ``filters`` are Django lookups as ``field__lookup=value``, which all have to be
    met and which apply to each of the models (``in`` and ``range`` take values separated by commas). ``exclude`` leaves
    out apps or models that would come along.

    Raises :exc:`~migrator.errors.UsageError` for unknown models and lookups, :exc:`~migrator.errors.Refused` where a
    chosen row's parent is missing or its key is taken, and what :func:`~migrator.databases.batch_migrate` raises.
    """
    settings = load()
    options = RunOptions(
        settings.CHUNK_SIZE if chunk_size is None else chunk_size,
        dry_run=dry_run,
        resume=resume,
        trust_done=trust_done,
        cleanup=cleanup,
        keep_triggers=keep_triggers,
        verify=verify,
        on_error=on_error,
        rejects=rejects,
        keep_journal=keep_journal,
        jobs=jobs,
        resume_hint=resume_hint,
    )
    check_options(options, dest)
    if not models:
        raise UsageError("Name at least one model, as app_label.Model.")
    lookups = dict(parse_filter(text) for text in filters)
    console = console or Console()
    if cleanup:
        return abandon_run(source=source, dest=dest, labels=models, exclude=exclude, options=options, console=console)
    with ExitStack() as stack:
        stack.enter_context(named_for(source, dest))
        selection = select(source=source, dest=dest, labels=models, exclude=exclude)
        interrupts = stack.enter_context(Interrupts())
        endpoints = stack.enter_context(
            open_endpoints(source, dest, settings, selection.names, jobs=options.jobs, is_dry=dry_run)
        )
        restrictions = restrictions_for(
            endpoints.source, [table.model for table in selection.tables], selection.named, lookups
        )
        executor = RunExecutor(endpoints, selection, options, console, interrupts, restrictions, adds_rows=True)
        return executor.run(is_whole=False)
