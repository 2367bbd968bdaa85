"""The forecast of a move: check the whole plan, copy a sample to a scratch twice, and compute what all rows will take.

Its steps: check the scratch, time the plan of the whole move against the real destination, ask, copy a third of the
sample and then all of it, compare the values, and leave the scratch empty.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ...conf import load
from ...console.interrupts import Interrupts
from ...console.wording import listed, plural
from ...errors import Declined, Refused
from .. import run_messages
from ..copying.finish import RunFinisher
from ..copying.retry import Retries
from ..endpoints import Endpoints, open_endpoints
from ..journal.journal import Journal
from ..journal.records import Outcome, Run, RunState
from ..migrations.migrate import migrate_destination
from ..phases import Phase
from ..planning.parallel_queries import HELPED_ROWS
from ..planning.plan import Plan, TablePlan, largest_first
from ..planning.plan_request import PlanRequest
from ..planning.preflight import make_plan, refuse
from ..planning.rows_of_migrations import Made
from ..planning.selection import Selection, select
from ..planning.table_names import named_for
from ..result import RunResult
from ..run import RunExecutor
from ..run_lock import locked
from ..run_monitor import RunMonitor
from ..run_options import Console, RunOptions
from .model import (
    Forecast,
    TableForecast,
    Timing,
    saved_by_copy,
    saved_by_processes,
    seconds_of_indexes,
    seconds_of_rows,
    seconds_per_row,
)
from .sample import SMALL, TableSample, take_sample
from .scratch import check_scratch, refuse_filled, saying_what_is_left, what_is_left
from .trial import Trial, TrialTimes


def forecast_move(
    *,
    source: str,
    dest: str,
    labels: Sequence[str],
    exclude: Sequence[str],
    options: RunOptions,
    console: Console,
) -> RunResult:
    """Return how long a move is likely to take; only the database ``--scratch`` is written, and left empty.

    Raises what the move itself would raise before its first write, and the same for a scratch that cannot be used.
    """
    settings, monitor, scratch = load(), RunMonitor(console.progress), str(options.scratch)
    with Interrupts() as interrupts:
        with named_for(source, dest):
            selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
            notes = tuple(check_scratch(source, dest, scratch, settings, selection.names))
            began = time.perf_counter()
            with open_endpoints(source, dest, settings, selection.names, jobs=options.jobs, is_dry=True) as endpoints:
                dry = replace(options, forecast=False, dry_run=True)
                executor = RunExecutor(endpoints, selection, dry, console, interrupts, monitor=monitor)
                result = executor.run(is_whole=not labels)
            seconds = time.perf_counter() - began
        if result.plan.migrates:
            notes += (f"The migrations of {dest!r} are not part of it.",)
        if result.plan.destroyed:
            notes += (f"The time to empty the tables of {dest!r} is not part of it.",)
        if options.migrate:
            monitor.enter(Phase.MIGRATIONS)
            migrate_destination(scratch, console)
        monitor.enter(Phase.CHECKS)
        with named_for(source, scratch):
            selection = select(source=source, dest=scratch, labels=labels, exclude=exclude)
            with open_endpoints(source, scratch, settings, selection.names, jobs=options.jobs) as endpoints:
                measuring = _Measuring(
                    endpoints, selection, result.plan, seconds, options, console, interrupts, monitor
                )
                forecast = replace(measuring.forecast(), notes=notes)
    times = monitor.stopwatch
    waiting = times.seconds(Phase.WAITING)
    return replace(result, timings=times.timings(), seconds_waiting=waiting, remark=None, forecast=forecast)


@dataclass(frozen=True)
class _Measuring:
    """The forecast of one move, between its source and the scratch.

    ``checked``: the plan of the move between its real databases, which took so many ``seconds``.
    """

    endpoints: Endpoints
    selection: Selection
    checked: Plan
    seconds: float
    options: RunOptions
    console: Console
    interrupts: Interrupts
    monitor: RunMonitor

    def forecast(self) -> Forecast:
        """Copy the sample, and compute what all rows will take; the scratch is left without rows."""
        alias, journal = self.endpoints.dest.alias, Journal(self.endpoints.dest.alias)
        with locked(self.endpoints.dest, journal):
            journal.clear_away()
            unfinished = journal.current()
            if unfinished is not None:
                _refuse_unusable(alias, unfinished)
                self._confirm("delete the sample of an interrupted forecast, and copy another one")
                with self._leaving_a_sample():
                    self._delete_earlier(journal, unfinished)
            plan, seconds = self._plan(journal)
            samples = take_sample(plan)
            if unfinished is None:
                rows = sum(sample.rows_of() for sample in samples if sample.is_possible)
                self._confirm(f"copy {plural(rows, 'row')} of {plural(len(samples), 'table')}")
            self.monitor.enter(Phase.SAMPLE)
            with self._leaving_a_sample():
                run = journal.begin(
                    plan.identity(),
                    plan.deferred,
                    empties=True,
                    rows={sample.table.name: sample.rows_of() for sample in samples if sample.is_possible},
                    hint=what_is_left(self.endpoints),
                    state=RunState.FORECASTING,
                )
                trial = Trial(plan, run, self._finisher(journal, run))
                return replace(self._measure(plan, samples, trial), plan=seconds)

    def _measure(self, plan: Plan, samples: Sequence[TableSample], trial: Trial) -> Forecast:
        possible = [sample for sample in samples if sample.is_possible]
        small = trial.measure(possible, SMALL)
        large = trial.measure(possible, 1.0)
        trial.empty()
        trial.restore()
        trial.finisher.journal.end(trial.run, rows_rejected=0, is_kept=False, outcome=Outcome(0, "none"))
        tables = _forecast_tables(plan, samples, small, large)
        rows = sum(table.rows for table in tables)
        return Forecast(
            self.endpoints.dest.alias,
            self.seconds,
            tables,
            self._saved(plan, tables),
            seconds_of_rows(small.keys, large.keys, rows),
            seconds_of_rows(small.values, large.values, rows),
            self.options.verify == "full",
        )

    def _saved(self, plan: Plan, tables: Sequence[TableForecast]) -> float:
        if not self.endpoints.dest.features.supports_parallel_writers:
            return 0.0
        if plan.jobs > 1:
            return saved_by_processes(tables, plan.jobs)
        return saved_by_copy(tables, HELPED_ROWS)

    # -- before the first write ---------------------------------------------------------------------------------

    def _plan(self, journal: Journal) -> tuple[Plan, float]:
        """Plan the copy of all rows to the scratch; return the plan, and the seconds that the move's own plan takes.

        The transports are those that the checks of the move have found to be right. The real destination may lack
        tables, or store a column otherwise: then all is checked again, with the scratch.
        """
        plan = self._plan_with(journal, checks_contents=False)
        refuse(plan)
        refuse_filled(plan, self.endpoints.dest)
        checked = {planned.table.label: planned for planned in self.checked.tables}
        if not all(_is_stored_alike(planned, checked.get(planned.table.label)) for planned in plan.tables):
            began = time.perf_counter()
            plan = self._plan_with(journal, checks_contents=True)
            refuse(plan)
            return plan, time.perf_counter() - began
        groups = (
            tuple(one.with_transport(checked[one.table.label].route.transport) for one in group)
            for group in plan.groups
        )
        return replace(plan, groups=tuple(groups)), self.seconds

    def _plan_with(self, journal: Journal, *, checks_contents: bool) -> Plan:
        return make_plan(
            self.endpoints,
            self.selection,
            PlanRequest(
                is_whole=self.checked.request.is_whole,
                keeps_indexes=self.options.keep_indexes,
                keeps_triggers=self.options.keep_triggers,
                checks_contents=checks_contents,
                made=Made(journal.made_by_migrations()),
            ),
        )

    def _confirm(self, what: str) -> None:
        """Show what the forecast will write, and ask whether it may."""
        source, scratch, dest = self.endpoints.source.alias, self.endpoints.dest.describe(), self.checked.dest.alias
        text = f"{what} from {source!r} to {scratch}, and empty its tables again"
        self.console.progress.message(f"Forecast: {text}. Nothing is written to {dest!r}.")
        with self.monitor.waiting():
            if not self.console.prompter.proceed(f"{text[0].upper()}{text[1:]}?"):
                raise Declined("Nothing was written.")

    # -- around the sample --------------------------------------------------------------------------------------

    @contextmanager
    def _leaving_a_sample(self) -> Iterator[None]:
        """From here on, a signal stops between two chunks, and any error says what the forecast leaves."""
        self.interrupts.defer(what_is_left(self.endpoints))
        with saying_what_is_left(self.endpoints):
            yield

    def _finisher(self, journal: Journal, run: Run) -> RunFinisher:
        retries = Retries(self.endpoints, self.console.progress, self.interrupts.check, lambda: journal.is_run_by(run))
        return RunFinisher(self.endpoints.dest, journal, self.options, self.console, self.interrupts, retries)

    def _delete_earlier(self, journal: Journal, run: Run) -> None:
        """Delete the sample of a forecast that was interrupted, and recreate what it dropped."""
        journal.take_over(run)
        _, left = self._finisher(journal, run).abandon(run, self.selection.tables)
        if left:
            names = listed([f"{one.kind} {one.name!r} of {one.table!r}" for one in left])
            raise Refused(f"An earlier forecast dropped what could not be recreated: {names}. Create it first.")


def _refuse_unusable(alias: str, unfinished: Run) -> None:
    """Raise :exc:`Refused` unless an unfinished run is a forecast that this project has begun."""
    if not unfinished.is_forecast:
        raise Refused(run_messages.refusal_of_unfinished(alias, unfinished, updates=False))
    if not unfinished.is_signed:
        raise Refused(run_messages.refusal_of_unsigned(alias))


def _is_stored_alike(planned: TablePlan, checked: TablePlan | None) -> bool:
    """Whether a table is stored in the scratch as in the real destination, so that one's transport suits both."""
    return checked is not None and checked.route.dest_stored == planned.route.dest_stored


def _forecast_tables(
    plan: Plan, samples: Sequence[TableSample], small: TrialTimes, large: TrialTimes
) -> tuple[TableForecast, ...]:
    """Return what each table that has rows will take, in the order of the copy."""
    by_name = {sample.table.name: sample for sample in samples}
    measured = {
        name: TableForecast(
            by_name[name].table.label,
            name,
            rows := by_name[name].planned.source_rows,
            large.rows[name].rows,
            by_name[name].seconds + seconds_of_rows(_of(small.rows, name), large.rows[name], rows),
            seconds_of_indexes(_of(small.indexes, name), large.indexes[name], rows),
        )
        for name in large.rows
    }
    of_row, of_entry = seconds_per_row(list(measured.values()))
    return tuple(
        measured.get(
            one.table.name,
            TableForecast(
                one.table.label,
                one.table.name,
                one.source_rows,
                0,
                of_row * one.source_rows,
                of_entry * one.source_rows,
                is_measured=False,
            ),
        )
        for group in largest_first(plan.groups)
        for one in group
        if one.source_rows
    )


def _of(timings: Mapping[str, Timing], name: str) -> Timing:
    return timings.get(name, Timing(0, 0.0))
