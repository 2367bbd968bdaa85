"""``batch_migrate`` and ``batch_migrate_models``: the functions behind the commands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from typing import Unpack

from ..conf import load
from ..console.interrupts import Interrupts
from ..errors import UsageError
from .abandon_run import abandon_run
from .announcements import announced
from .endpoints import open_endpoints
from .executors.brokers import open_broker
from .executors.invitations import invitation_by
from .forecasting.forecast import forecast_move
from .migrations.migrate import migrate_destination
from .phases import Phase
from .planning.brought_parents import bring_parents
from .planning.filters import check_filters, parse_filter, restrictions_for
from .planning.rows_of_migrations import NOT_MIGRATED
from .planning.selection import select
from .planning.table_names import named_for
from .result import RunResult
from .run import RunExecutor
from .run_monitor import RunMonitor
from .run_options import Console, RunKeywords, RunOptions, WholeRunKeywords, options_of


@announced
def batch_migrate(
    *,
    source: str,
    dest: str,
    labels: Sequence[str] = (),
    exclude: Sequence[str] = (),
    console: Console | None = None,
    **keywords: Unpack[WholeRunKeywords],
) -> RunResult:
    """Copy the tables of the project's models from one database of ``DATABASES`` to another, and verify the copy.

    ``source`` and ``dest`` are aliases, ``labels`` and ``exclude`` are ``app_label`` or ``app_label.Model``. The
    keywords are the fields of :class:`~migrator.databases.run_options.RunOptions`, which explain themselves as the
    command's options. ``replace`` has to equal ``dest`` before rows are deleted from the destination that anyone else
    than Django's ``migrate`` has put there.

    Raises :exc:`~migrator.errors.UsageError` for arguments that cannot be right, :exc:`~migrator.errors.Refused` for
    what a check found before the first write, :exc:`~migrator.errors.DataRejected` for a row that the destination
    cannot hold, and :exc:`~migrator.errors.Interrupted` after a signal.
    """
    console = console or Console()
    options = options_of(keywords, WholeRunKeywords.__optional_keys__, dest, load().CHUNK_SIZE)
    make = abandon_run if options.cleanup else forecast_move if options.forecast else _move
    return make(source=source, dest=dest, labels=labels, exclude=exclude, options=options, console=console)


def _move(
    *, source: str, dest: str, labels: Sequence[str], exclude: Sequence[str], options: RunOptions, console: Console
) -> RunResult:
    """Make a run over whole tables, after the migrations if they are wanted."""
    settings, monitor = load(), RunMonitor(console.progress)
    broker = open_broker(options.executor, settings) if options.executor else None
    with named_for(source, dest), Interrupts() as interrupts, closing(broker) if broker else nullcontext():
        selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
        followed, is_whole = selection.tables if options.follow else (), not labels
        opened = partial(open_endpoints, source, dest, settings, selection.names, followed=followed)
        migrated = NOT_MIGRATED
        if options.migrate and not options.dry_run:
            with opened(is_dry=True) as endpoints:
                executor = RunExecutor(endpoints, selection, options, console, interrupts, broker=broker)
                is_needed = executor.needs_migrations(is_whole=is_whole)
            if is_needed:
                monitor.enter(Phase.MIGRATIONS)
                migrated = migrate_destination(dest, console)
                monitor.enter(Phase.CHECKS)
        with opened(
            jobs=options.jobs,
            is_dry=options.dry_run,
            invite=partial(invitation_by, broker, source, dest, interrupts.check) if broker else None,
            readings=options.readings,
            check=interrupts.check,
        ) as endpoints:
            return RunExecutor(
                endpoints,
                selection,
                options,
                console,
                interrupts,
                migrated=migrated,
                monitor=monitor,
                broker=broker,
            ).run(is_whole=is_whole)


@announced
def batch_migrate_models(
    *,
    models: Sequence[str],
    source: str,
    dest: str,
    filters: Sequence[str] = (),
    with_parents: bool = False,
    exclude: Sequence[str] = (),
    console: Console | None = None,
    **keywords: Unpack[RunKeywords],
) -> RunResult:
    """Add the rows of chosen models to those of another database, with their parents' and many-to-many tables.

    ``models`` are ``app_label.Model``; ``filters`` are Django lookups as ``field__lookup=value``, which all have to be
    met (``in`` and ``range`` take values separated by commas). A filter applies to each of the models, or to the one
    that it names: ``app_label.Model:field__lookup=value``. ``with_parents`` also copies the rows that these refer to,
    transitively. ``exclude`` leaves out apps or models that would come along. The keywords are fields of
    :class:`~migrator.databases.run_options.RunOptions`.

    Raises :exc:`~migrator.errors.UsageError` for unknown models and lookups, :exc:`~migrator.errors.Refused` if a
    chosen row's parent is missing or its key is taken, and what :func:`~migrator.databases.batch_migrate` raises.
    """
    settings, console = load(), console or Console()
    monitor = RunMonitor(console.progress)
    options = options_of(keywords, RunKeywords.__optional_keys__, dest, settings.CHUNK_SIZE)
    if not models:
        raise UsageError("Name at least one model, as app_label.Model.")
    parsed = [parse_filter(text) for text in filters]
    if options.cleanup:
        return abandon_run(source=source, dest=dest, labels=models, exclude=exclude, options=options, console=console)
    with ExitStack() as stack:
        stack.enter_context(named_for(source, dest))
        selection = select(source=source, dest=dest, labels=models, exclude=exclude, brings_parents=with_parents)
        check_filters(parsed, selection.named)
        interrupts = stack.enter_context(Interrupts())
        endpoints = stack.enter_context(
            open_endpoints(
                source,
                dest,
                settings,
                selection.names,
                jobs=options.jobs,
                is_dry=options.dry_run,
                readings=options.readings,
            )
        )
        restrictions = restrictions_for(
            endpoints.source, [table.model for table in selection.tables], selection.named, parsed
        )
        if with_parents:
            restrictions = bring_parents(endpoints.source, selection.tables, restrictions, selection.brought)
        executor = RunExecutor(
            endpoints, selection, options, console, interrupts, restrictions, adds_rows=True, monitor=monitor
        )
        return executor.run(is_whole=False)
