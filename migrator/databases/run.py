"""The conductor: plan, confirm, record, prepare, copy, finish, verify. The one module that knows the order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import Error

from ..console.finish_request import not_yet
from ..console.interrupts import Interrupts, raising_interrupted
from ..console.wording import plural
from ..errors import Declined, Interrupted, MigratorError, Refused
from . import run_messages
from .chunks import Restriction
from .copying.drops import drop_objects
from .copying.finish import RunFinisher, rows_of
from .copying.load import Load
from .copying.orphans import reject_orphans
from .copying.recreation import Recreator
from .copying.rejects import Rejects
from .copying.retry import Retries
from .copying.sequences import reset_sequences
from .endpoints import Endpoints, to_migrator_error
from .executors.brokers import Broker
from .executors.dispatcher import EXPECTED_WORKERS, Dispatcher
from .executors.obstacles import described, worker_findings
from .executors.reject_file import open_rejects
from .following.follow import follow_source
from .following.tracker import ChangeTracker
from .journal.journal import Journal
from .journal.records import Outcome, Run, RunState
from .parallel.comparing import Helpers, ValuesOfTables
from .parallel.coordinator import Coordinator
from .phases import Phase
from .planning.natural_keys import clear_caches
from .planning.pending_migrations import pending
from .planning.plan import Plan
from .planning.plan_request import Mode, PlanRequest
from .planning.preflight import make_plan, refuse
from .planning.rows_of_migrations import NOT_MIGRATED, Made, Migrated
from .planning.selection import Selection
from .result import RunResult
from .resume_recheck import recheck
from .row_counts import RowCounts
from .run_confirmation import confirm, refuse_changed, refuse_unresumable
from .run_lock import locked
from .run_monitor import RunMonitor
from .run_options import Console, RunOptions
from .update import Difference, apply_updates, find_updates
from .verification.contents import MOST_DIFFERENCES, Contents, Pairing
from .verification.counts import Verification
from .verification.run import compared_tables, count_tables, verify_run

NOTHING_WRITTEN = "Nothing was written."


class RunExecutor:
    """One run between two open databases: :meth:`run` makes it in its order."""

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
        monitor: RunMonitor | None = None,
        broker: Broker | None = None,
    ) -> None:
        self._migrated, self._broker = migrated, broker
        self._remote: Dispatcher | None = None
        self._endpoints, self._selection, self._options = endpoints, selection, options
        self._source, self._dest = endpoints.source, endpoints.dest
        self._console, self._interrupts = console, interrupts
        self._restrictions, self._adds_rows = restrictions or {}, adds_rows
        self._journal = Journal(endpoints.dest.alias)
        self._retries = Retries(endpoints, console.progress, interrupts.check)
        # By table name.
        self._row_counts: dict[str, RowCounts] = {}
        self._counts_before: Mapping[str, RowCounts] = {}
        self._monitor = monitor or RunMonitor(console.progress)
        self._tracker = ChangeTracker(endpoints.feed) if endpoints.feed else None

    def needs_migrations(self, *, is_whole: bool) -> bool:
        """Whether migrations have to be applied to the destination; refuse before that what can be refused.

        An unfinished run has its tables.
        """
        with ExitStack() as stack:
            stack.enter_context(locked(self._dest, self._journal))
            is_pending = self._journal.lacks_handlers() or pending(self._dest.connection)
            if self._journal.current() is not None or not is_pending:
                return False
            plan = self._plan(is_whole=is_whole, is_resumed=False, will_migrate=True)
            refuse(plan)
            if plan.destroyed and self._options.replace is None and not self._console.prompter.can_ask:
                raise Refused(run_messages.refusal_to_destroy(plan))
            return True

    def run(self, *, is_whole: bool) -> RunResult:
        """Make the run in its order: lock, plan, confirm, record, prepare, copy, finish, verify."""
        options = self._options
        with ExitStack() as stack:
            if self._tracker is not None:
                stack.enter_context(not_yet())
                stack.callback(self._tracker.close)
            finished = None
            if not options.dry_run:
                stack.enter_context(locked(self._dest, self._journal))
                finished = self._journal.clear_away()
            unfinished = self._journal.current()
            if options.resume and unfinished is None:
                return self._nothing_to_resume(finished)
            if unfinished:
                self._check_resumable(unfinished)
            plan = self._plan(
                is_whole=is_whole,
                is_resumed=unfinished is not None,
                will_migrate=options.migrate and options.dry_run,
            )
            self._console.show(plan)
            refuse(plan)
            if self._tracker is not None:
                self._interrupts.beat = self._tracker.keep_up
            if options.update:
                return self._follow(self._update(plan))
            if options.dry_run:
                return self._result(plan, remark=NOTHING_WRITTEN, is_dry_run=True)
            run = self._resume(unfinished, plan) if unfinished else self._begin(plan)
            return self._follow(self._carry_out(run, plan))

    def _result(self, plan: Plan, verification: Verification | None = None, **more: Any) -> RunResult:
        times = self._monitor.stopwatch
        return RunResult(
            plan,
            self._row_counts,
            verification,
            times.timings(),
            times.seconds(Phase.WAITING),
            rejects=self._options.rejects,
            **more,
        )

    # -- before the first write -------------------------------------------------------------------------------

    def _plan(
        self, *, is_whole: bool, is_resumed: bool, will_migrate: bool = False, checks_contents: bool = True
    ) -> Plan:
        self._console.progress.message(f"Checking {plural(len(self._selection.tables), 'table')} in both databases …")
        plan = make_plan(
            self._endpoints,
            self._selection,
            PlanRequest(
                mode=Mode.ADD if self._adds_rows else Mode.UPDATE if self._options.update else Mode.REPLACE,
                is_resumed=is_resumed,
                is_whole=is_whole,
                keeps_indexes=self._options.keep_indexes,
                keeps_triggers=self._options.keep_triggers,
                skips_rows=self._options.on_error == "skip",
                compares_values=self._options.verify == "full",
                checks_contents=checks_contents,
                restrictions=self._restrictions,
                will_migrate=will_migrate,
                is_confirmed=self._options.replace is not None,
                follows=self._options.follow,
                worker_findings=tuple(worker_findings(self._endpoints, self._broker) if self._broker else ()),
                workers=described(str(self._options.executor), self._broker, self._source) if self._broker else "",
                will_run_handlers=will_migrate and self._journal.lacks_handlers(),
                migrated=self._migrated,
                made=Made(self._journal.made_by_migrations()),
            ),
        )
        self._monitor.log_plan(plan)
        return plan

    def _begin(self, plan: Plan) -> Run:
        """Confirm a new run and record it."""
        with self._monitor.waiting():
            confirm(plan, self._options, self._console.prompter)
        refuse_changed(plan, self._options, self._journal, self._dest)
        rows = {planned.table.name: planned.source_rows for planned in plan.tables}
        return self._journal.begin(
            plan.identity(), plan.deferred, empties=bool(plan.emptied), rows=rows, hint=self._options.resume_hint
        )

    # -- resuming -----------------------------------------------------------------------------------------------

    def _check_resumable(self, unfinished: Run) -> None:
        if not self._options.resume or unfinished.is_forecast:
            raise Refused(
                run_messages.refusal_of_unfinished(self._dest.alias, unfinished, updates=self._options.update)
            )
        self._journal.refuse_other_format(unfinished)

    def _resume(self, run: Run, plan: Plan) -> Run:
        """Confirm that an unfinished run is resumed, and take it over."""
        refuse_unresumable(run, plan)
        with self._monitor.waiting():
            if not self._console.prompter.proceed(f"Resume the run of {run.holder()}?"):
                raise Declined(NOTHING_WRITTEN)
        self._journal.take_over(run)
        return run

    def _nothing_to_resume(self, finished: Run | None) -> RunResult:
        """Say whether the destination is a copy: perhaps there never was a run, or its record is lost."""
        plan = self._plan(is_whole=False, is_resumed=True, checks_contents=False)
        if finished:
            remark = run_messages.nothing_to_resume(self._dest.alias, finished, ())
            return self._result(plan, remark=remark, rejected_before=finished.rows_rejected)
        refuse(plan)  # it may even lack tables
        verification = Verification(count_tables(self._endpoints, plan), (), ())
        labels = [count.label for count in verification.differing]
        return self._result(plan, verification, remark=run_messages.nothing_to_resume(self._dest.alias, None, labels))

    # -- the run ------------------------------------------------------------------------------------------------

    def _carry_out(self, run: Run, plan: Plan) -> RunResult:
        """Make the recorded run: prepare or check again, copy, finish, verify, and end its record."""
        self._interrupts.defer(self._options.resume_hint)
        self._retries = Retries(
            self._endpoints, self._console.progress, self._interrupts.check, lambda: self._journal.is_run_by(run)
        )
        with ExitStack() as stack, self._saying_how_to_resume(run):
            stack.enter_context(self._showing(plan))
            self._find_counts_before(plan)
            if run.state == RunState.PREPARING:
                self._prepare(run, plan)
            elif not self._options.trust_done:
                rows = sum(counts.rows_written for counts in self._counts_before.values())
                self._monitor.enter(Phase.RECHECK, rows)
                if rows:
                    self._console.progress.message(run_messages.announcement_of_recheck(rows))
                recheck(run, plan, self._journal, self._retries)
            options = self._options
            rejects = open_rejects(options.on_error, options.rejects, self._journal, is_resumed=options.resume)
            stack.callback(rejects.close)
            self._load(run, plan, rejects, stack)
            verification = self._retries.run(lambda: self._verify(plan))
        rows_rejected = sum(counts.rows_rejected for counts in self._row_counts.values())
        outcome = Outcome(self._result(plan, verification).exit_code, self._options.verify)
        self._journal.end(run, rows_rejected=rows_rejected, is_kept=self._options.keep_journal, outcome=outcome)
        clear_caches()
        return self._result(plan, verification)

    def _showing(self, plan: Plan) -> AbstractContextManager[None]:
        return self._monitor.showing(plan, compares_values=self._options.verify == "full")

    @contextmanager
    def _saying_how_to_resume(self, run: Run) -> Iterator[None]:
        """Add to any error what the run leaves in the destination, and how to complete or abandon it."""
        try:
            with raising_interrupted():
                yield
        except Interrupted as error:
            state, *steps = self._state(run)
            raise Interrupted(f"{error} {state}", error.exit_code - 128, steps=steps) from None
        except (MigratorError, Error) as error:
            known = error if isinstance(error, MigratorError) else to_migrator_error(error, (self._dest, self._source))
            known.steps += tuple(self._state(run))
            if known is error:
                raise
            raise known from error

    def _state(self, run: Run) -> list[str]:
        """Say in lines what the run leaves in the destination, and how to continue it."""
        committed = {table: counts.rows_written for table, counts in self._counts_before.items()}
        committed |= {table: counts.rows_committed for table, counts in self._row_counts.items()}
        rows = sum(committed.values())
        return [run_messages.state_of(self._dest.alias, run, rows), *self._options.resume_hint.split("\n")]

    def _prepare(self, run: Run, plan: Plan) -> None:
        """Drop what the plan says, and empty the tables."""
        self._monitor.enter(Phase.PREPARATION)
        drop_objects(self._dest, run.dropped_objects(), self._retries)
        filled = [table.table.name for table in reversed(plan.tables) if table.dest_rows]
        if run.empties and filled:
            self._retries.run(lambda: self._dest.empty(filled))
        self._set_state(run, RunState.COPYING)

    def _find_counts_before(self, plan: Plan) -> None:
        """Find out what earlier processes of a resumed run have committed."""
        if plan.is_resumed:
            self._counts_before = self._retries.run(self._journal.counts_done)

    def _set_state(self, run: Run, state: RunState) -> None:
        self._retries.run(lambda: self._journal.set_state(run, state))

    def _load(self, run: Run, plan: Plan, rejects: Rejects, stack: ExitStack) -> None:
        """Copy the rows, recreate what was dropped, and set the sequences.

        Workers on other hosts stay until the end of ``stack``, if they are to compare as well.
        """
        self._find_counts_before(plan)
        rows = sum(planned.source_rows for planned in plan.tables)
        self._monitor.enter(Phase.COPYING, rows, done=sum(counts.rows_read for counts in self._counts_before.values()))
        workers = EXPECTED_WORKERS if self._can_share else 0
        load = Load(plan, self._journal, rejects, self._options.chunk_size, self._retries, self._counts_before, workers)
        self._dest.expect_recreation(run.dropped_objects())
        finisher = RunFinisher(self._dest, self._journal, self._options, self._console, self._interrupts, self._retries)
        schedule = finisher.schedule(run.dropped_objects(), rows_of(plan))
        objects = schedule.objects()
        recorded = self._retries.run(load.record_small_tables)
        self._begin_sharing(load, stack)
        with (
            Coordinator(load, self._remote) if plan.jobs > 1 or self._remote else nullcontext() as coordinator,
            Recreator(self._dest, schedule) as recreator,
        ):
            if coordinator:
                load.copy_all(self._row_counts, complete=coordinator.copy(self._row_counts))
                if self._remote and self._options.verify != "full":
                    self._remote.close()
            else:
                load.copy_all(self._row_counts, recreator.begin, recorded=recorded)
            self._monitor.enter(Phase.INDEXES, objects, unit="objects", ticks=coordinator is None)
            self._dest.detach_source()
            self._set_state(run, RunState.FINISHING)
            if self._options.on_error == "skip":
                self._count_rejected(reject_orphans(plan.tables, rejects, self._journal, adds_rows=plan.adds_rows))
            if coordinator:
                schedule.release()
                coordinator.finish(schedule, self._row_counts)
            if not (coordinator and schedule.is_empty()):
                self._count_rejected(finisher.finish(run, plan, recreator, rejects))
            for name, seconds in recreator.seconds.items():
                self._row_counts[name].indexing += seconds
            self._monitor.enter(Phase.SEQUENCES)
            self._retries.run(lambda: reset_sequences(plan))

    @property
    def _can_share(self) -> bool:
        """Whether workers on other hosts can read the snapshot."""
        return self._broker is not None and self._source.snapshot_name is not None

    def _begin_sharing(self, load: Load, stack: ExitStack) -> None:
        if self._broker and self._can_share:
            self._remote = stack.enter_context(Dispatcher(load, self._broker))

    def _count_rejected(self, removed: Mapping[str, int]) -> None:
        """Count rows as rejected that were removed after they were written; ``removed`` are by table name."""
        for table, rows in removed.items():
            self._row_counts[table].reject_committed(rows)

    def _verify(self, plan: Plan) -> Verification:
        rows = sum(planned.source_rows for planned in compared_tables(plan, self._options))
        forks = bool(rows) and not self._helpers(plan).is_alone
        self._monitor.enter(Phase.VERIFICATION, rows, ticks=not forks)
        rejected = {name: counts.rows_rejected for name, counts in self._row_counts.items()}
        compare = partial(self._compare, plan) if forks else None
        return verify_run(self._endpoints, plan, self._options, rejected, self._console.progress, compare)

    def _compare(self, plan: Plan, pairings: Sequence[Pairing]) -> tuple[Contents, ...]:
        """Compare all rows, in as many processes as copied, and on the same other hosts."""
        values = ValuesOfTables(pairings, self._options.rows_compared_at_once, MOST_DIFFERENCES)
        return values.by(self._helpers(plan), self._console.progress)

    def _helpers(self, plan: Plan) -> Helpers:
        remote = self._remote if self._options.verify == "full" or plan.updates else None
        return Helpers(self._retries, kept=0 if plan.updates else plan.jobs, remote=remote)

    # -- following ----------------------------------------------------------------------------------------------

    def _follow(self, result: RunResult) -> RunResult:
        """Follow the source of a copy that is complete, if that is wanted."""
        if self._tracker is None or self._options.dry_run:
            return result
        if result.exit_code:
            self._console.progress.message("The source is not followed, because the copy is not complete.")
            return result
        self._monitor.enter(Phase.FOLLOWING)
        followed = follow_source(
            self._endpoints, self._tracker, result.plan, self._options, self._console, self._interrupts
        )
        return replace(
            result,
            followed=followed,
            verification=followed.verification or result.verification,
            timings=self._monitor.stopwatch.timings(),
        )

    # -- updating -----------------------------------------------------------------------------------------------

    def _update(self, plan: Plan) -> RunResult:
        """Find what differs, write it in one transaction, and verify."""
        with self._monitor.waiting():
            if not self._options.dry_run and not self._console.prompter.proceed(run_messages.question_to_update(plan)):
                raise Declined(plan.untouched)
        with ExitStack() as stack:
            stack.enter_context(self._showing(plan))
            self._monitor.enter(Phase.COMPARING, sum(planned.source_rows for planned in plan.tables))
            if not self._options.dry_run:
                self._begin_sharing(Load(plan, self._journal, Rejects(), None, self._retries), stack)
            size, progress = self._options.rows_compared_at_once, self._console.progress
            found = find_updates(plan, self._helpers(plan), chunk_size=size, progress=progress)
            for difference in found:
                stack.callback(difference.close)
            updates = {difference.planned.table.name: difference.update for difference in found}
            if self._options.dry_run:
                return self._result(plan, updates=updates, remark=NOTHING_WRITTEN, is_dry_run=True)
            self._monitor.enter(Phase.WRITING, sum(update.changes for update in updates.values()))
            self._apply(found)
            self._monitor.enter(Phase.SEQUENCES)
            self._journal.forget_made()
            reset_sequences(plan)
            if (number := self._interrupts.received) is not None:
                raise Interrupted(f"Stopped. {run_messages.UPDATED}", number)
            verification = self._verify(plan)
        clear_caches()
        return self._result(plan, verification, updates=updates)

    def _apply(self, found: list[Difference]) -> None:
        apply_updates(
            self._endpoints,
            found,
            self._console.progress,
            self._interrupts.check,
            # From the commit on it would no longer be true that nothing was written.
            lambda: self._interrupts.defer(run_messages.UPDATED),
            keeps_triggers=self._options.keep_triggers,
        )
