"""The abandoning of an unfinished run, which needs only its destination and the journal there, not its source."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from django.db import Error

from ..conf import load
from ..console.interrupts import Interrupts, raising_interrupted
from ..errors import Declined, Interrupted, MigratorError, Refused
from .copying.finish import RunFinisher
from .copying.recreation_failures import NotRecreated
from .copying.retry import Retries
from .endpoints import Endpoints, open_destination, to_migrator_error
from .engines.base.catalogue import kinds_text
from .engines.base.engine import Engine
from .journal.journal import Journal
from .journal.records import Run
from .phases import Phase, Stopwatch
from .planning.plan import unread_plan
from .planning.selection import select
from .planning.table_names import named_for
from .result import RunResult
from .run_lock import locked
from .run_options import Console, RunOptions
from .tables import Table

AGAIN = "Run --cleanup again: objects that were recreated stay."


def abandon_run(
    *,
    source: str,
    dest: str,
    labels: Sequence[str],
    exclude: Sequence[str],
    options: RunOptions,
    console: Console,
) -> RunResult:
    """Recreate what an unfinished run dropped in a destination, as far as possible, and end the run in any case.

    The source is not opened: ``source`` only helps to select the tables, and need not be in ``DATABASES`` any more.
    """
    settings, stopwatch = load(), Stopwatch()
    with ExitStack() as stack:
        stack.enter_context(named_for(dest, dest))
        interrupts = stack.enter_context(Interrupts())
        selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
        engine = stack.enter_context(open_destination(dest, settings, selection.names))
        journal = Journal(dest)
        plan = unread_plan(source, engine.describe())
        if options.dry_run:
            run = journal.current()
            return RunResult(plan, {}, None, remark=_what_cleanup_would_do(dest, run), is_dry_run=run is not None)
        stack.enter_context(locked(engine, journal))
        journal.clear_away()
        run = journal.current()
        if run is None:
            journal.forget_made()
            return RunResult(plan, {}, None, remark=f"No unfinished run in {dest!r}: nothing to clean up.")
        stopwatch.begin(Phase.WAITING)
        _confirm(engine, run, console)
        stopwatch.begin(Phase.CLEANUP)
        retries = Retries(
            Endpoints(engine, engine, settings.RETRY_FOR),
            console.progress,
            interrupts.check,
            lambda: journal.is_run_by(run),
        )
        finisher = RunFinisher(engine, journal, options, console, interrupts, retries)
        remark, left = _abandon(finisher, run, retries.run(lambda: _complete(engine, selection.tables)))
        waiting = stopwatch.seconds(Phase.WAITING)
        return RunResult(
            plan, {}, None, stopwatch.timings(), waiting, remark=remark, is_abandoned=True, not_recreated=left
        )


def _what_cleanup_would_do(alias: str, run: Run | None) -> str:
    if run is None:
        return f"No unfinished run in {alias!r}: nothing to clean up."
    if run.is_forecast and run.is_signed:
        return f"Nothing was written. --cleanup would delete the sample of a forecast from {alias!r}."
    if not run.dropped_objects():
        return f"Nothing was written. --cleanup would end the run in {alias!r}."
    objects = kinds_text(run.dropped_objects())
    if not run.is_signed:
        return f"Nothing was written. --cleanup would end the run in {alias!r}, and list the SQL for {objects}."
    return f"Nothing was written. --cleanup would end the run in {alias!r}, and recreate {objects}."


def _confirm(dest: Engine, run: Run, console: Console) -> None:
    if reason := dest.why_read_only():
        raise Refused(f"{dest.alias!r}: {reason}. Nothing was written. Run --cleanup again when it can be written.")
    objects = kinds_text(run.dropped_objects())
    question = f"Recreate {objects} in {dest.alias!r} and abandon the run?"
    if run.is_forecast and run.is_signed:
        question = f"Delete the sample of a forecast from {dest.alias!r}, and recreate what was dropped there?"
    elif not run.dropped_objects():
        question = f"Abandon the run in {dest.alias!r}?"
    elif not run.is_signed:
        question = f"Abandon the run in {dest.alias!r} without recreating {objects}, and list their SQL?"
    if not console.prompter.proceed(question):
        raise Declined("Nothing was written.")


def _complete(dest: Engine, tables: Sequence[Table]) -> list[Table]:
    """Return those tables that have all columns of their models."""
    stored = dest.catalogue.stored_tables([table.name for table in tables])
    return [table for table in tables if all(column.name in stored[table.name] for column in table.columns)]


def _abandon(finisher: RunFinisher, run: Run, tables: Sequence[Table]) -> tuple[str, tuple[NotRecreated, ...]]:
    finisher.interrupts.defer(AGAIN)
    finisher.journal.take_over(run)
    try:
        with raising_interrupted():
            return finisher.abandon(run, tables)
    except Interrupted as error:
        raise Interrupted(f"{error} {AGAIN}", error.exit_code - 128) from None
    except (MigratorError, Error) as error:
        shown = to_migrator_error(error, [finisher.dest]) if isinstance(error, Error) else error
        raise type(shown)(f"{shown} {AGAIN}") from error
