"""The conductor: plan, confirm, record, prepare, copy, finish, verify. The one module that knows the order."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from functools import partial

from django.db import Error

from ..console.interrupts import Interrupts, telling_plainly
from ..console.progress import Progress
from ..console.wording import plural, shortened
from ..errors import Declined, Interrupted, MigratorError, Refused
from .chunks import Restriction
from .copying.finish import RunFinisher, rows_of
from .copying.load import Load
from .copying.orphans_and_sequences import reject_orphans, reset_sequences
from .copying.recreation import Recreator
from .copying.rejects import Rejects, keep_lines, rejects_for
from .copying.retry import Retries
from .endpoints import Endpoints, to_migrator_error
from .engines.base.catalogue import UNIQUE_KEY, kinds_text
from .journal.journal import Journal
from .journal.records import AFTERWARDS, Run, RunState
from .options import Console, RunOptions
from .parallel.coordinator import Coordinator
from .planning.draft import stored_tables
from .planning.natural_keys import clear_caches
from .planning.pending_migrations import pending
from .planning.plan import Plan, differences
from .planning.preflight import make_plan, refuse
from .planning.request import Mode, PlanRequest
from .planning.rows_of_migrations import NOT_MIGRATED, Made, Migrated
from .planning.selection import Selection
from .recheck import find_change
from .result import RunResult
from .row_counts import RowCounts
from .run_lock import locked
from .update import apply_updates, find_updates
from .verification.counts import Verification
from .verification.run import count_tables, verify_run


class RunExecutor:
    """One run over two open databases."""

    def __init__(
        self,
        endpoints: Endpoints,
        selection: Selection,
        options: RunOptions,
        console: Console,
        interrupts: Interrupts,
        restrictions: Mapping[str, Restriction | None] | None = None,
        *,
        adds_rows: bool = False,
        migrated: Migrated = NOT_MIGRATED,
    ) -> None:
        self._migrated = migrated
        self._endpoints, self._selection, self._options = endpoints, selection, options
        self._console, self._interrupts = console, interrupts
        self._restrictions, self._adds_rows = restrictions or {}, adds_rows
        self._journal = Journal(endpoints.dest.alias)
        self._retries = Retries(endpoints, console.progress, interrupts.check)
        self._tallies: dict[str, RowCounts] = {}
        self._started = time.perf_counter()

    def needs_migrations(self, *, is_whole: bool) -> bool:
        """Tell whether migrations have to be applied to the destination, after refusing what can be refused before.

        A run that is unfinished has its tables.
        """
        with ExitStack() as stack:
            stack.enter_context(locked(self._endpoints.dest, self._journal))
            is_pending = self._journal.lacks_handlers() or pending(self._endpoints.dest.connection)
            if self._journal.current() is not None or not is_pending:
                return False
            plan = self._plan(is_whole=is_whole, is_resumed=False, will_migrate=True)
            refuse(plan)
            if plan.destroyed and self._options.replace is None and not self._console.prompter.can_ask:
                raise Refused(_refusal_to_destroy(plan))
            return True

    def run(self, *, is_whole: bool) -> RunResult:
        """Make the run in its order: lock, plan, confirm, record, prepare, copy, finish, verify."""
        with ExitStack() as stack:
            finished = None
            if not self._options.dry_run:
                stack.enter_context(locked(self._endpoints.dest, self._journal))
                finished = self._journal.clear_away()
            unfinished = self._journal.current()
            if self._options.resume and unfinished is None:
                return self._nothing_to_resume(finished)
            if unfinished and not self._options.resume:
                raise Refused(self._unfinished_text(unfinished))
            if unfinished:
                self._journal.refuse_other_format(unfinished)
            plan = self._plan(
                is_whole=is_whole,
                is_resumed=unfinished is not None,
                will_migrate=self._options.migrate and self._options.dry_run,
            )
            self._console.show(plan)
            refuse(plan)
            if self._options.update:
                return self._update(plan)
            if self._options.dry_run:
                return RunResult(plan, {}, None, time.perf_counter() - self._started, remark="Nothing was written.")
            run = self._take_up(unfinished, plan) if unfinished else self._begin(plan)
            return self._walk(run, plan)

    def _nothing_to_resume(self, finished: Run | None) -> RunResult:
        plan = self._plan(is_whole=False, is_resumed=True, checks_contents=False)
        alias, rejected = self._endpoints.dest.alias, finished.rows_rejected if finished else 0
        if finished:
            remark = f"The run in {alias!r} had finished, with {rejected:,} rows rejected; nothing is left to do."
            return RunResult(plan, {}, None, 0.0, remark=remark, rejected_before=rejected)
        refuse(plan)  # it may even lack tables
        remark = f"No unfinished run in {alias!r}: nothing to resume."
        # Perhaps there never was one, or its record is lost: whoever goes on after this has to know.
        verification = Verification(count_tables(self._endpoints, plan), (), ())
        if lacking := [count.label for count in verification.differing]:
            remark += f" It is NOT a copy of the source: counts differ in {shortened(lacking)}. Call without --resume."
        return RunResult(plan, {}, verification, 0.0, remark=remark)

    # -- before the first write -------------------------------------------------------------------------------

    def _plan(
        self, *, is_whole: bool, is_resumed: bool, will_migrate: bool = False, checks_contents: bool = True
    ) -> Plan:
        self._console.progress.message(f"Looking at {plural(len(self._selection.tables), 'table')} in both databases …")
        return make_plan(
            self._endpoints,
            self._selection,
            PlanRequest(
                mode=Mode.ADD if self._adds_rows else Mode.UPDATE if self._options.update else Mode.REPLACE,
                is_resumed=is_resumed,
                is_whole=is_whole,
                keeps_indexes=self._options.keep_indexes,
                keeps_triggers=self._options.keep_triggers,
                skips_rows=self._options.on_error == "skip",
                checks_contents=checks_contents,
                restrictions=self._restrictions,
                will_migrate=will_migrate,
                will_run_handlers=will_migrate and self._journal.lacks_handlers(),
                migrated=self._migrated,
                made=Made(self._journal.made_by_migrations()),
            ),
        )

    def _unfinished_text(self, run: Run) -> str:
        if self._options.update:
            return (
                f"{self._endpoints.dest.alias!r} holds an unfinished run ({run.holder()}). Nothing was written. Give "
                "the command of that run with --resume to complete it, or with --cleanup to give it up; then update."
            )
        return (
            f"{self._endpoints.dest.alias!r} holds an unfinished run ({run.holder()}). Pass --resume to go on with it, "
            "or --cleanup to give it up: that puts back what it took off, and leaves the copied rows."
        )

    def _begin(self, plan: Plan) -> Run:
        self._confirm(plan)
        self._check_still_made(plan)
        return self._journal.begin(plan.identity(), plan.deferred, empties=bool(plan.emptied))

    def _check_still_made(self, plan: Plan) -> None:
        """Refuse to empty what somebody has written since the plan was made: rows of migrations were all there was."""
        if self._options.replace is not None:
            return
        rows = {t.table.name: t.dest_rows for t in plan.tables if t.is_made_by_migrations}
        known = Made(self._journal.made_by_migrations()).tables(self._endpoints.dest, rows)
        if changed := [t.table.label for t in plan.tables if t.table.name in rows.keys() - known]:
            raise Refused(f"Somebody has written to {shortened(changed)} meanwhile. {plan.untouched} Call again.")

    def _confirm(self, plan: Plan) -> None:
        dest = plan.dest
        if plan.destroyed and self._options.replace is None:
            if not self._console.prompter.type_to_destroy(_loss(plan), dest.alias):
                raise Refused(_refusal_to_destroy(plan))
            return
        rows = sum(table.source_rows for table in plan.tables)
        what = f"{plural(rows, 'row')} of {plural(len(plan.tables), 'table')}"
        question = f"Copy {what} from {plan.source.alias!r} to {dest.alias!r}?"
        if not self._console.prompter.proceed(question):
            raise Declined(plan.untouched)

    def _unsigned_text(self) -> str:
        return (
            f"The unfinished run in {self._endpoints.dest.alias!r} is not signed with this project's SECRET_KEY, so "
            "the SQL in its record is not executed. Nothing was written. If the key was changed since, add the old one "
            "to SECRET_KEY_FALLBACKS and call again. Otherwise pass --cleanup: it ends the run and lists the SQL for "
            "you."
        )

    def _take_up(self, run: Run, plan: Plan) -> Run:
        found = differences(run.recorded_identity(), plan.identity())
        if found:
            raise Refused(
                f"The unfinished run cannot go on, because it was planned otherwise: {'; '.join(found)}. Call with the "
                "same arguments and code as then, or give it up with --cleanup."
            )
        if not run.is_signed:
            raise Refused(self._unsigned_text())
        if not self._console.prompter.proceed(f"Go on with the run of {run.holder()}?"):
            raise Declined("Nothing was written.")
        self._journal.take_over(run)
        return run

    # -- the run ------------------------------------------------------------------------------------------------

    def _walk(self, run: Run, plan: Plan) -> RunResult:
        self._interrupts.defer(self._options.resume_hint)
        self._retries = Retries(
            self._endpoints, self._console.progress, self._interrupts.check, lambda: self._journal.is_run_by(run)
        )
        rejects = Rejects()
        try:
            with telling_plainly():
                if run.state == RunState.PREPARING:
                    self._prepare(run, plan)
                elif not self._options.trust_done:
                    self._recheck(run, plan)
                rejects = self._open_rejects()
                finishing = self._load(run, plan, rejects)
                verification = self._retries.run(lambda: self._prove(plan))
        except Interrupted as error:
            text = f"{error} {self._progress_text(run)}\n{self._options.resume_hint}"
            raise Interrupted(text, error.exit_code - 128) from None
        except (MigratorError, Error) as error:
            told = (
                to_migrator_error(error, (self._endpoints.dest, self._endpoints.source))
                if isinstance(error, Error)
                else error
            )
            raise type(told)(f"{told}\n{self._progress_text(run)}\n{self._options.resume_hint}") from error
        finally:
            rejects.close()
        rows_rejected = sum(tally.rows_rejected for tally in self._tallies.values())
        self._journal.end(run, rows_rejected=rows_rejected, is_kept=self._options.keep_journal)
        clear_caches()
        return RunResult(plan, self._tallies, verification, time.perf_counter() - self._started, finishing)

    def _prove(self, plan: Plan) -> Verification:
        rejected = {name: tally.rows_rejected for name, tally in self._tallies.items()}
        return verify_run(self._endpoints, plan, self._options, rejected, self._console.progress)

    def _progress_text(self, run: Run) -> str:
        rows = sum(tally.rows_written for tally in self._tallies.values())
        text = f"{rows:,} rows are committed in {self._endpoints.dest.alias!r}."
        if items := run.dropped_objects():
            text += f" Taken off there until then: {kinds_text(items)}."
        return text

    def _open_rejects(self) -> Rejects:
        path = self._options.rejects
        if self._options.on_error == "skip" and path is not None and self._options.resume:
            done = {
                (chunk.table, None if chunk.number == AFTERWARDS else chunk.number)
                for table in self._selection.tables
                for chunk in self._journal.chunks(table.name)
                if chunk.is_done
            }
            keep_lines(path, lambda table, number: (table, number) in done)
        return rejects_for(self._options.on_error, path)

    def _prepare(self, run: Run, plan: Plan) -> None:
        dest = self._endpoints.dest
        for item in run.dropped_objects():
            self._retries.run(partial(dest.catalogue.drop, item))
        filled = [table.table.name for table in reversed(plan.tables) if table.dest_rows]
        if run.empties and filled:
            self._retries.run(lambda: dest.empty(filled))
        self._set_state(run, RunState.COPYING)

    def _set_state(self, run: Run, state: RunState) -> None:
        self._retries.run(lambda: self._journal.set_state(run, state))

    def _recheck(self, run: Run, plan: Plan) -> None:
        """Hold what was committed against the source as it is now, and let what differs be copied again.

        It is found by its keys, so those of tables with rows come back before, and stay on: else each chunk would be
        looked for in the whole table.
        """
        has = stored_tables(self._endpoints, [table.table for table in plan.tables])
        self._put_back_keys(run)
        changes = []
        for table in plan.tables:
            self._interrupts.check()
            change = find_change(table, self._journal, *has, self._console.progress, adds_rows=self._adds_rows)
            if change:
                changes.append(change)
        if changes:
            for item in run.dropped_objects():  # some may be back already
                if item.kind != UNIQUE_KEY:
                    self._endpoints.dest.catalogue.drop(item)
            self._journal.set_state(run, RunState.COPYING)
            for change in reversed(changes):
                change.undo(self._journal, self._console.progress)

    def _put_back_keys(self, run: Run) -> None:
        keys = [
            item
            for item in run.dropped_objects()
            if item.kind == UNIQUE_KEY and any(chunk.is_done for chunk in self._journal.chunks(item.table))
        ]
        progress = self._console.progress if keys else Progress()
        with progress.task("keys (re-check)", len(keys), unit="objects") as task:
            for item in keys:
                self._interrupts.check()
                try:
                    self._retries.run(partial(self._endpoints.dest.catalogue.recreate, [item]))
                except Error as error:
                    if not self._endpoints.dest.is_about_rows(error):  # rows in the way are about to be found
                        raise
                task.advance(1)

    def _load(self, run: Run, plan: Plan, rejects: Rejects) -> float:
        """Copy the rows and put back what was taken off; return the seconds that came after the last row."""
        load = Load(plan, self._journal, rejects, self._options.chunk_size, self._retries)
        self._endpoints.dest.expect_recreation(run.dropped_objects())
        run_finisher = self._run_finisher()
        schedule = run_finisher.schedule(run.dropped_objects(), rows_of(plan))
        recorded = self._retries.run(load.record_small_tables)
        with (
            Coordinator(load) if plan.jobs > 1 else nullcontext() as crew,
            Recreator(self._endpoints.dest, schedule) as finisher,
        ):
            if crew:
                load.copy_all(self._tallies, complete=crew.copy(self._tallies))
            else:
                load.copy_all(self._tallies, finisher.begin, recorded=recorded)
            finishing = time.perf_counter()
            self._endpoints.dest.detach_source()
            self._set_state(run, RunState.FINISHING)
            if self._options.on_error == "skip":
                for table, rows in reject_orphans(
                    plan.tables, rejects, self._journal, adds_rows=plan.adds_rows
                ).items():
                    self._tallies[table].add(RowCounts(rows_written=-rows, rows_rejected=rows))
            if crew:
                schedule.release()
                crew.finish(schedule, self._tallies)
            if not (crew and schedule.is_empty()):
                for table, rows in run_finisher.finish(run, plan, finisher, rejects).items():
                    self._tallies[table].add(RowCounts(rows_written=-rows, rows_rejected=rows))
            for name, seconds in finisher.seconds.items():
                self._tallies[name].indexing += seconds
            self._retries.run(lambda: reset_sequences(plan))
            return time.perf_counter() - finishing

    def _run_finisher(self) -> RunFinisher:
        return RunFinisher(
            self._endpoints.dest, self._journal, self._options, self._console, self._interrupts, self._retries
        )

    # -- rewriting what differs ---------------------------------------------------------------------------------

    def _update(self, plan: Plan) -> RunResult:
        question = f"Rewrite and delete rows of {plan.dest} until it equals {plan.source.alias!r}?"
        if not self._options.dry_run and not self._console.prompter.proceed(question):
            raise Declined(plan.untouched)
        progress, check = self._console.progress, self._interrupts.check
        with ExitStack() as stack:
            found = find_updates(plan, chunk_size=self._options.rows_compared_at_once, progress=progress, check=check)
            for difference in found:
                stack.callback(difference.close)
            updates = {difference.planned.table.name: difference.update for difference in found}
            if self._options.dry_run:
                seconds = time.perf_counter() - self._started
                return RunResult(plan, {}, None, seconds, updates=updates, remark="Nothing was written.")
            # From the commit on it would no longer be true that nothing was written.
            again = "The update is complete. Call again with --update to have it verified."
            apply_updates(
                self._endpoints,
                found,
                progress,
                check,
                lambda: self._interrupts.defer(again),
                keeps_triggers=self._options.keep_triggers,
            )
        finishing = time.perf_counter()
        self._journal.forget_made()
        reset_sequences(plan)
        if (number := self._interrupts.received) is not None:
            raise Interrupted(f"Stopped. {again}", number)
        finishing = time.perf_counter() - finishing
        verification = self._prove(plan)
        clear_caches()
        return RunResult(plan, {}, verification, time.perf_counter() - self._started, finishing, updates=updates)


def _loss(plan: Plan) -> str:
    tables = ", ".join(f"{table.table.label} ({table.dest_rows:,})" for table in plan.destroyed)
    return f"{plan.dest} holds rows that will be LOST: {tables}."


def _refusal_to_destroy(plan: Plan) -> str:
    way_on = f"Pass --replace {plan.dest.alias} if they may be, or choose an empty destination."
    return f"{_loss(plan)} {plan.untouched} {way_on}"
