"""The conductor: plan, preflight, confirm, copy chunk by chunk, finish, verify. The one module that knows the order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from django.core.management import call_command
from django.db import Error, transaction

from ..conf import load
from ..errors import Declined, Interrupted, MigratorError, Refused, UsageError
from ..interrupts import Interrupts
from ..progress import Progress
from ..prompts import Prompter
from .chunks import Restriction, find_bounds
from .ends import Ends, explained, open_ends, open_engine
from .finish import put_back, reject_orphans, reset_counters
from .identity import clear_caches
from .journal import COPYING, DONE, FINISHING, PREPARING, Journal, Run
from .plan import Plan, TablePlan, differences, stored_tables
from .preflight import make_plan, refuse
from .references import existing_keys, find_dangling
from .rejects import Rejects, keep_lines, rejects_for
from .resume import recheck
from .retry import copy_with_retries, with_retries
from .route import Tally
from .schema import unapplied_migrations
from .selection import Selection, select
from .verify import TableCount, Verification, count_tables, late_counters

RESUME_HINT = "Call again with resume=True to go on, or with cleanup=True to put back what was taken off."


@dataclass(frozen=True)
class Choices:
    """How a run is to be made; each is an option of the commands."""

    chunk_size: int
    replace: str | None = None
    dry_run: bool = False
    resume: bool = False
    trust_done: bool = False
    cleanup: bool = False
    keep_indexes: bool = False
    verify: str = "count"
    on_error: str = "stop"
    rejects: Path | None = None
    keep_journal: bool = False
    resume_hint: str = RESUME_HINT


@dataclass(frozen=True)
class Watcher:
    """Who is told and asked: shows the plan, draws the progress, answers the questions."""

    show: Callable[[Plan], None] = lambda plan: None
    progress: Progress = field(default_factory=Progress)
    prompter: Prompter = field(default_factory=Prompter)


@dataclass(frozen=True)
class Outcome:
    """What a run did. ``tallies`` are by table name; a dry run has none."""

    plan: Plan
    tallies: Mapping[str, Tally]
    verification: Verification | None
    seconds: float
    seconds_finishing: float = 0.0
    remark: str | None = None

    @property
    def rows_rejected(self) -> int:
        return sum(tally.rows_rejected for tally in self.tallies.values())

    @property
    def exit_code(self) -> int:
        """0 all well, 3 differences found, 4 rows rejected or not everything checked."""
        if self.verification and not self.verification.is_clean:
            return 3
        return 4 if self.rows_rejected else 0


def batch_migrate(
    *,
    source: str,
    dest: str,
    labels: Sequence[str] = (),
    exclude: Sequence[str] = (),
    migrate: bool = False,
    chunk_size: int | None = None,
    replace: str | None = None,
    dry_run: bool = False,
    resume: bool = False,
    trust_done: bool = False,
    cleanup: bool = False,
    keep_indexes: bool = False,
    verify: str = "count",
    on_error: str = "stop",
    rejects: Path | None = None,
    keep_journal: bool = False,
    resume_hint: str = RESUME_HINT,
    watcher: Watcher | None = None,
) -> Outcome:
    """Move the tables of the project's models from one database of ``DATABASES`` to another, and prove it.

    ``source`` and ``dest`` are aliases, ``labels`` and ``exclude`` are ``app_label`` or ``app_label.Model``.
    ``replace`` has to equal ``dest`` before rows that somebody else than Django's ``migrate`` has put into the
    destination are emptied. ``chunk_size`` is in rows. ``resume`` goes on with a run that was cut off (``trust_done``
    without holding its committed chunks against the source), ``cleanup`` gives such a run up.

    Raises :exc:`~migrator.errors.UsageError` for arguments that cannot be right, :exc:`~migrator.errors.Refused` for
    what a check found before the first write, :exc:`~migrator.errors.DataRejected` for a row that the destination
    cannot hold, and :exc:`~migrator.errors.Interrupted` after a signal.
    """
    settings = load()
    choices = Choices(
        chunk_size or settings.CHUNK_SIZE, replace, dry_run, resume, trust_done, cleanup, keep_indexes, verify,
        on_error, rejects, keep_journal, resume_hint,
    )  # fmt: skip
    watcher = watcher or Watcher()
    check_choices(choices, dest)
    selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
    if migrate and not dry_run:
        with open_ends(source, dest, settings):
            pass  # tells whether they can be the ends of a move, before anything is created
        _migrate_destination(dest, watcher)
    with Interrupts() as interrupts, open_ends(source, dest, settings) as ends:
        run = _Run(ends, selection, choices, watcher, interrupts)
        return run.make(is_whole=not labels, will_migrate=migrate and dry_run)


def migrate_rows(
    *, ends: Ends, selection: Selection, restrictions: Mapping[str, Restriction | None], choices: Choices,
    watcher: Watcher, interrupts: Interrupts,
) -> Outcome:  # fmt: skip
    """Add chosen rows to a destination that may hold others."""
    return _Run(ends, selection, choices, watcher, interrupts, restrictions, adds_rows=True).make(is_whole=False)


def check_choices(choices: Choices, dest: str) -> None:
    """Raise :exc:`UsageError` for choices that exclude each other or lack something."""
    if choices.replace is not None and choices.replace != dest:
        raise UsageError(
            f"--replace names {choices.replace!r}, and the destination is {dest!r}. It has to name the database whose "
            "rows will be lost. Nothing was written."
        )
    if choices.verify not in ("none", "count"):
        raise UsageError(f"verify is {choices.verify!r}; it is 'none' or 'count'.")
    if choices.resume and choices.cleanup:
        raise UsageError("--resume and --cleanup exclude each other: a run goes on, or is given up.")
    if choices.on_error == "skip" and choices.rejects is None:
        raise UsageError("--on-error skip needs --rejects FILE: a row that is not copied has to be kept somewhere.")


def _migrate_destination(dest: str, watcher: Watcher) -> None:
    names = unapplied_migrations(open_engine(dest).connection)
    if not names:
        return
    if not watcher.prompter.proceed(f"Apply {len(names)} migrations to {dest!r} first?"):
        raise Declined("Nothing was written.")
    watcher.progress.message(f"Applying {len(names)} migrations to {dest!r} …")
    call_command("migrate", database=dest, interactive=False, verbosity=0)


class _Run:
    """One run over two open databases."""

    def __init__(
        self,
        ends: Ends,
        selection: Selection,
        choices: Choices,
        watcher: Watcher,
        interrupts: Interrupts,
        restrictions: Mapping[str, Restriction | None] | None = None,
        *,
        adds_rows: bool = False,
    ) -> None:
        self._ends, self._selection, self._choices = ends, selection, choices
        self._watcher, self._interrupts = watcher, interrupts
        self._restrictions, self._adds_rows = restrictions or {}, adds_rows
        self._journal = Journal(ends.dest.alias)
        self._tallies: dict[str, Tally] = {}
        self._started = time.perf_counter()

    def make(self, *, is_whole: bool, will_migrate: bool = False) -> Outcome:
        """Make the run in its order: lock, plan, confirm, record, prepare, copy, finish, verify."""
        with ExitStack() as stack:
            if not self._choices.dry_run:
                self._lock()
                stack.callback(self._unlock)
            unfinished = self._journal.current()
            if self._choices.cleanup:
                return self._clean_up(unfinished)
            if self._choices.resume and unfinished is None:
                plan = self._plan(is_whole=is_whole, is_resumed=False)
                return Outcome(
                    plan, {}, None, 0.0, remark=f"No unfinished run in {self._ends.dest.alias!r}: nothing to resume."
                )
            if unfinished and not self._choices.resume:
                raise Refused(self._unfinished_text(unfinished))
            plan = self._plan(is_whole=is_whole, is_resumed=unfinished is not None, will_migrate=will_migrate)
            self._watcher.show(plan)
            refuse(plan, on_error=self._choices.on_error)
            if self._choices.dry_run:
                return Outcome(plan, {}, None, time.perf_counter() - self._started, remark="Nothing was written.")
            run = self._take_up(unfinished, plan) if unfinished else self._begin(plan)
            return self._walk(run, plan)

    # -- before the first write -------------------------------------------------------------------------------

    def _plan(self, *, is_whole: bool, is_resumed: bool, will_migrate: bool = False) -> Plan:
        self._watcher.progress.message(f"Looking at {len(self._selection.tables)} tables in both databases …")
        return make_plan(
            self._ends,
            self._selection,
            keeps_indexes=self._choices.keep_indexes,
            adds_rows=self._adds_rows,
            restrictions=self._restrictions,
            is_whole=is_whole,
            is_resumed=is_resumed,
            will_migrate=will_migrate,
        )

    def _lock(self) -> None:
        if self._ends.dest.lock():
            return
        holder = self._journal.current()
        who = f" ({holder.holder()})" if holder else ""
        raise Refused(f"Another run is writing to {self._ends.dest.alias!r}{who}. Wait for it, or stop it.")

    def _unlock(self) -> None:
        if self._ends.dest.connection.connection is not None and self._ends.dest.connection.is_usable():
            self._ends.dest.unlock()

    def _unfinished_text(self, run: Run) -> str:
        return (
            f"{self._ends.dest.alias!r} holds an unfinished run ({run.holder()}). Pass --resume to go on with it, or "
            "--cleanup to give it up: that puts back what it took off, and leaves the copied rows."
        )

    def _begin(self, plan: Plan) -> Run:
        self._confirm(plan)
        return self._journal.begin(plan.identity(), plan.taken_off, empties=bool(plan.emptied))

    def _confirm(self, plan: Plan) -> None:
        dest = plan.dest
        if plan.destroyed and self._choices.replace is None:
            tables = ", ".join(f"{table.table.label} ({table.dest_rows:,})" for table in plan.destroyed)
            warning = f"{dest} holds rows that will be LOST: {tables}."
            if not self._watcher.prompter.type_to_destroy(warning, dest.alias):
                raise Refused(
                    f"{warning} Nothing was written. Pass --replace {dest.alias} if they may be, or choose an empty "
                    "destination."
                )
            return
        rows = sum(table.source_rows for table in plan.tables)
        question = f"Copy {rows:,} rows of {len(plan.tables)} tables from {plan.source.alias!r} to {dest.alias!r}?"
        if not self._watcher.prompter.proceed(question):
            raise Declined("Nothing was written.")

    def _take_up(self, run: Run, plan: Plan) -> Run:
        found = differences(run.recorded_identity(), plan.identity())
        if found:
            raise Refused(
                f"The unfinished run cannot go on, because it was planned otherwise: {'; '.join(found)}. Call with the "
                "same arguments and code as then, or give it up with --cleanup."
            )
        if not self._watcher.prompter.proceed(f"Go on with the run of {run.holder()}?"):
            raise Declined("Nothing was written.")
        self._journal.take_over(run)
        return run

    # -- the run ------------------------------------------------------------------------------------------------

    def _walk(self, run: Run, plan: Plan) -> Outcome:
        rejects = self._open_rejects(run)
        try:
            if run.state == PREPARING:
                self._prepare(run, plan)
            elif run.state == COPYING and self._choices.resume and not self._choices.trust_done:
                self._recheck(plan)
            self._copy_all(plan, rejects)
            finishing = time.perf_counter()
            self._finish(run, plan, rejects)
            finishing = time.perf_counter() - finishing
            verification = self._verify(plan)
        except Interrupted as error:
            text = f"{error} {self._progress_text(run)}\n{self._choices.resume_hint}"
            raise Interrupted(text, error.exit_code - 128) from None
        except (MigratorError, Error) as error:
            told = explained(error, self._ends) if isinstance(error, Error) else error
            raise type(told)(f"{told}\n{self._progress_text(run)}\n{self._choices.resume_hint}") from error
        finally:
            rejects.close()
        if not self._choices.keep_journal:
            self._journal.drop()
        clear_caches()
        return Outcome(plan, self._tallies, verification, time.perf_counter() - self._started, finishing)

    def _progress_text(self, run: Run) -> str:
        rows = sum(tally.rows_written for tally in self._tallies.values())
        text = f"{rows:,} rows are committed in {self._ends.dest.alias!r}."
        if items := run.items_taken_off():
            text += f" Until the run is resumed or given up, {len(items)} indexes and foreign keys are off there."
        return text

    def _open_rejects(self, run: Run) -> Rejects:
        path = self._choices.rejects
        if self._choices.on_error == "skip" and path is not None and run.state != PREPARING:
            done = {
                (chunk.table, chunk.number)
                for table in self._selection.tables
                for chunk in self._journal.chunks(table.name)
                if chunk.state == DONE
            }
            keep_lines(path, lambda table, number: number is None or (table, number) in done)
        return rejects_for(self._choices.on_error, path)

    def _prepare(self, run: Run, plan: Plan) -> None:
        dest = self._ends.dest
        for item in run.items_taken_off():
            dest.catalogue.take_off(item)
        if run.empties:
            dest.empty([table.table.name for table in reversed(plan.tables)])
        self._journal.set_state(run, COPYING)

    def _recheck(self, plan: Plan) -> None:
        source_has, dest_has = stored_tables(self._ends, [table.table for table in plan.tables])
        for table in plan.tables:
            self._interrupts.check()
            recheck(table, self._journal, source_has, dest_has, self._watcher.progress, adds_rows=self._adds_rows)

    def _copy_all(self, plan: Plan, rejects: Rejects) -> None:
        for group in plan.groups:
            if any(table.route.binds_late for table in group):
                # The rows of a cycle are only right together, so they are committed together.
                with_retries(self._ends, self._watcher.progress, lambda: self._copy_group(group, rejects))  # noqa: B023
            else:
                for table in group:
                    self._copy_table(table, rejects)

    def _copy_group(self, group: Sequence[TablePlan], rejects: Rejects) -> None:
        with transaction.atomic(using=self._ends.dest.alias):
            for table in group:
                self._copy_table(table, rejects)

    def _copy_table(self, planned: TablePlan, rejects: Rejects) -> None:
        table, route = planned.table, planned.route
        chunks = self._journal.chunks(table.name)
        if not chunks:
            bounds = find_bounds(
                route.source, table.name, table.key, planned.source_rows, self._choices.chunk_size, route.restriction
            )
            chunks = self._journal.add_chunks(table.name, bounds)
        tally = self._tallies[table.name] = Tally()
        done = [chunk for chunk in chunks if chunk.state == DONE]
        for chunk in done:
            tally.add(Tally(chunk.rows_read, chunk.rows_written, chunk.rows_rejected, chunk.bytes_written))
        with self._watcher.progress.task(table.label, planned.source_rows, done=tally.rows_read) as task:
            for chunk in chunks:
                if chunk.state == DONE:
                    continue
                self._interrupts.check()
                copied = copy_with_retries(route, chunk, self._journal, rejects, self._ends, self._watcher.progress)
                tally.add(copied)
                task.advance(copied.rows_read)
                self._journal.beat()

    def _finish(self, run: Run, plan: Plan, rejects: Rejects) -> None:
        self._journal.set_state(run, FINISHING)
        if self._choices.on_error == "skip":
            for table, rows in reject_orphans(plan, rejects).items():
                self._tallies[table].rows_rejected += rows
                self._tallies[table].rows_written -= rows
        items = run.items_taken_off()
        if items:
            put_back(self._ends.dest, items, self._watcher.progress, self._interrupts.check)
        reset_counters(plan)
        if plan.tables:
            self._ends.dest.catalogue.refresh_statistics([planned.table.name for planned in plan.tables])

    def _verify(self, plan: Plan) -> Verification:
        """Check counters and references in any case, and the counts unless they are not wanted."""
        tables = [planned.table for planned in plan.tables]
        rejected = {name: tally.rows_rejected for name, tally in self._tallies.items()}
        dest = self._ends.dest
        counts: tuple[TableCount, ...] = ()
        if self._choices.verify == "count" and self._adds_rows:
            counts = self._count_added(plan, rejected)
        elif self._choices.verify == "count":
            counts = count_tables(self._ends.source, dest, tables, rejected)
        return Verification(counts, late_counters(dest, tables), tuple(find_dangling(dest, tables)))

    def _count_added(self, plan: Plan, rejected: Mapping[str, int]) -> tuple[TableCount, ...]:
        """Look up the key of every chosen row in the destination, whose own rows say nothing in a mere count."""
        return tuple(
            TableCount(
                planned.table.label,
                planned.table.name,
                planned.source_rows,
                existing_keys(self._ends.source, self._ends.dest, planned.table, planned.route.restriction)[0],
                rejected[planned.table.name],
            )
            for planned in plan.tables
        )

    # -- giving a run up ----------------------------------------------------------------------------------------

    def _clean_up(self, run: Run | None) -> Outcome:
        plan = self._plan(is_whole=False, is_resumed=True)
        alias = self._ends.dest.alias
        if run is None:
            return Outcome(plan, {}, None, 0.0, remark=f"No unfinished run in {alias!r}: nothing to clean up.")
        items = run.items_taken_off()
        if not self._watcher.prompter.proceed(f"Put back {len(items)} objects in {alias!r} and forget the run?"):
            raise Declined("Nothing was written.")
        put_back(self._ends.dest, items, self._watcher.progress, self._interrupts.check)
        reset_counters(plan)
        self._journal.drop()
        return Outcome(
            plan, {}, None, time.perf_counter() - self._started,
            remark=f"The run is given up: {len(items)} objects are back in {alias!r}, and the copied rows stay.",
        )  # fmt: skip
