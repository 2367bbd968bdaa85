"""The parent of several processes: it assigns tasks, collects their results, and replaces workers that die."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from django.db import Error

from ...console.progress import Progress, Task
from ...console.safe_text import visible
from ...console.wording import plural, shortened
from ...errors import Interrupted, MigratorError
from ...processes.workers import Event, Pool, WorkerEvent
from ..copying.load import Load
from ..copying.recreation_order import Recreate, RecreationSchedule, RefreshStatistics
from ..engines.base.run_locks import MOST_PROCESSES
from ..journal.journal import HEARTBEAT_SECONDS
from ..planning.plan import TablePlan
from ..primary_keys import key_text
from ..row_counts import RowCounts
from .remote_workers import RemoteWorkers
from .scheduler import LoadSchedule, Schedule
from .worker_tasks import CopyChunk, CopyGroup, CopyTable, CopyTables, SplitTable, WorkerTask, open_worker

MOST_DEATHS = 3  # during one task
SHOWN_TABLES = 5
EVENT_SECONDS = 0.2
REMOTE_SECONDS = 0.05  # with workers on other hosts, whose events cannot be waited for
END_SECONDS, END_SECONDS_AFTER_ERROR = 5.0, 1.0

OnDone = Callable[[WorkerTask, Any], None]


class Coordinator:
    """Some workers, each with at most one task. Leaving the context ends them, and waits until the server knows it.

    ``remote`` are workers on other hosts, in addition to the processes of this one.
    """

    def __init__(self, load: Load, remote: RemoteWorkers | None = None) -> None:
        self._load, self._remote = load, remote
        self._pool = Pool(lambda number, report: open_worker(load, number, report))
        self._idle: set[int] = set()
        self._running: dict[int, WorkerTask] = {}
        # Workers that ended, with their task. No one else may have it while their sessions exist.
        self._dead: dict[int, WorkerTask | None] = {}
        self._deaths: dict[WorkerTask | None, int] = {}
        self._not_replaced: set[int] = set()
        self._last_heartbeat = time.monotonic()

    def __enter__(self) -> Coordinator:
        for number in range(self._load.endpoints.jobs):
            self._start(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)
        deadline = time.monotonic() + (END_SECONDS if kind is None else END_SECONDS_AFTER_ERROR)
        with contextlib.suppress(Error):
            own = set(range(MOST_PROCESSES))
            while self._load.endpoints.dest.workers() & own and time.monotonic() < deadline:
                time.sleep(0.02)

    # -- what is to be done -------------------------------------------------------------------------------------

    def copy(self, counts: dict[str, RowCounts]) -> set[str]:
        """Copy the plan's tables, and return the names of those that are complete: all, unless no worker is left."""
        load, plan = self._load, self._load.plan
        keeps_order = plan.adds_rows and not load.endpoints.dest.features.can_switch_off_foreign_keys
        schedule = LoadSchedule(plan, load.is_one_chunk, keeps_order=keeps_order, can_share=load.shared.can_hold)
        total = sum(planned.source_rows for planned in plan.tables)
        processes = plural(load.endpoints.jobs, "process", "processes") + (" and workers" if self._remote else "")
        label = f"{plural(len(plan.tables), 'table')}, {processes}"
        done = sum(counts.rows_read for counts in load.before.values())
        with load.progress.task(label, total, done=done) as shown:
            self._run_all(schedule, _CopyResults(load, schedule, counts, shown).add)
        self._remote = None  # what follows is not for them
        self._idle &= self._pool.numbers
        return schedule.complete

    def finish(self, schedule: RecreationSchedule, counts: Mapping[str, RowCounts]) -> None:
        """Do what follows the last row. A task that fails, or that no worker is left for, stays in the schedule."""
        failed: list[WorkerTask] = []

        def done(task: WorkerTask, seconds: float | None) -> None:
            if seconds is None:
                failed.append(task)
            elif isinstance(task, Recreate):
                for table, share in task.shares(seconds):
                    counts[table].indexing += share
                shown.advance(len(task.items))

        objects = schedule.objects()
        progress = self._load.progress if objects else Progress()
        with progress.task("indexes and keys", objects, unit="objects") as shown:
            self._run_all(schedule, done)
        for task in failed:
            schedule.give_back(task)

    # -- how it is done -----------------------------------------------------------------------------------------

    def _run_all(self, schedule: Schedule, on_done: OnDone) -> None:
        """Assign tasks until none is left, or no worker is.

        After a signal, or an error of one worker, the others finish their tasks; then it is raised.
        """
        stop: Exception | None = None
        while True:
            if stop is None:
                stop = self._assign_tasks(schedule)
            if not self._running:
                if stop:
                    raise stop
                if self._is_finished(schedule):
                    return
            self._load.progress.tick()
            for event in self._events(is_stopping=stop is not None):
                reason = self._handle(event, schedule, on_done)
                stop = stop or reason

    def _events(self, *, is_stopping: bool) -> list[Event]:
        """Wait for events of all workers."""
        if self._remote is None:
            return self._pool.events(EVENT_SECONDS)
        remote = self._remote.recall if is_stopping else self._remote.events
        return self._pool.events(REMOTE_SECONDS) + remote()

    def _assign_tasks(self, schedule: Schedule) -> Exception | None:
        """Give every idle worker a task; return the error that has to end the work."""
        try:
            self._load.check()
        except Interrupted as error:  # a second signal, which comes anywhere else, ends it at once
            return error
        try:
            self._heartbeat()
            self._replace_dead_workers(schedule)
        except Interrupted:
            raise
        except (MigratorError, Error) as error:
            return error
        for number in self._idle & self._pool.numbers:
            if task := schedule.next(self._running.values()):
                self._running[number] = task
                self._pool.assign(number, task)
        if self._remote:  # last: a chunk that none of them can copy comes back, and has to reach a process
            for number in self._idle & self._remote.numbers:
                if chunk := schedule.next_chunk():
                    self._running[number] = chunk
                    self._remote.assign(number, chunk)
        self._idle -= self._running.keys()
        return None

    def _is_finished(self, schedule: Schedule) -> bool:
        if any(task is not None for task in self._dead.values()):
            return False
        return schedule.is_empty() or not self._pool.numbers - self._idle

    def _handle(self, event: Event, schedule: Schedule, on_done: OnDone) -> MigratorError | None:
        """Act on the event of a worker; return the error that has to end the work."""
        match event.kind:
            case WorkerEvent.MESSAGE:
                self._load.progress.message(event.value)
            case WorkerEvent.READY:
                self._idle.add(event.worker)
            case WorkerEvent.DONE:
                self._idle.add(event.worker)
                on_done(self._running.pop(event.worker), event.value)
            case WorkerEvent.FAILED:
                self._running.pop(event.worker, None)
                error: MigratorError = event.value
                return error
            case WorkerEvent.GONE | WorkerEvent.DIED:
                return self._lose_worker(event)
            case WorkerEvent.LOST:
                return self._lose_task(event, schedule)
        return None

    def _lose_task(self, event: Event, schedule: Schedule) -> MigratorError | None:
        """Give a task of a worker on another host to anyone; return an error if too many were lost with it."""
        task = self._running.pop(event.worker)
        schedule.give_back(task)
        if not event.value:
            return None
        self._load.progress.message(f"  A worker on another host was lost {self._activity(task)}.")
        return self._count_death(task, "workers were lost")

    def _lose_worker(self, event: Event) -> MigratorError | None:
        """Keep the task of a worker that ended for another one; return an error if too many died with it."""
        self._idle.discard(event.worker)
        task = self._running.pop(event.worker, None)
        self._load.endpoints.source.lose_reader(event.worker)
        if event.kind is WorkerEvent.GONE:
            self._not_replaced.add(event.worker)
            self._load.progress.message(f"  One process fewer: {event.value}")
        else:
            self._load.progress.message(f"  A process was killed {self._activity(task)}.")
            if error := self._count_death(task, "processes were killed"):
                return error
        self._dead[event.worker] = task
        return None

    def _count_death(self, task: WorkerTask | None, what: str) -> MigratorError | None:
        """Count a worker that ended with a task; return an error if that was the last one that may."""
        self._deaths[task] = self._deaths.get(task, 0) + 1
        if task is None or self._deaths[task] < MOST_DEATHS:
            return None
        return MigratorError(
            f"{MOST_DEATHS} {what} {self._activity(task)}, one after the other. If the system kills them because they "
            "take too much memory, a smaller --chunk-size helps."
        )

    def _replace_dead_workers(self, schedule: Schedule) -> None:
        """Put the tasks of dead workers back once their sessions have ended, and start other workers instead."""
        if not self._dead:
            return
        source = self._load.endpoints.source
        if not source.is_intact():
            raise source.snapshot_lost()
        lingering = self._load.with_retries(self._load.endpoints.dest.workers)
        for number in set(self._dead) - lingering:
            task = self._dead.pop(number)
            if task is not None:
                schedule.give_back(task)
            if number not in self._not_replaced and source.can_join(number) and self._deaths.get(None, 0) < MOST_DEATHS:
                self._start(number)

    def _start(self, number: int) -> None:
        try:
            self._pool.start(number)
        except OSError as error:
            self._load.progress.message(f"  One process fewer: the system does not start another ({error.strerror}).")

    def _heartbeat(self) -> None:
        """Keep the parent's own sessions alive, and record that the run is."""
        if time.monotonic() - self._last_heartbeat < HEARTBEAT_SECONDS:
            return
        self._last_heartbeat = time.monotonic()
        source = self._load.endpoints.source
        if not source.is_intact():
            raise source.snapshot_lost()
        self._load.with_retries(self._load.journal.heartbeat)

    def _activity(self, task: WorkerTask | None) -> str:
        """Describe for people what a worker did when it ended."""
        labels = {planned.table.name: planned.table.label for planned in self._load.plan.tables}
        match task:
            case None:
                return "before it had any work"
            case SplitTable(table):
                return f"while it split {labels[table]} into chunks"
            case CopyTable(table):
                return f"while it copied {labels[table]}"
            case CopyChunk(table, number):
                return f"while it copied {labels[table]}, {self._range(table, number)}"
            case CopyGroup(tables) | CopyTables(tables):
                return f"while it copied {shortened([labels[table] for table in tables], SHOWN_TABLES)}"
            case Recreate(items):
                objects = [f"{item.kind} {item.name!r} of {labels.get(item.table)}" for item in items]
                return f"while it recreated {shortened(objects, 1)}"
            case RefreshStatistics(tables):
                return f"while it refreshed the statistics of {shortened([labels[t] for t in tables], SHOWN_TABLES)}"

    def _range(self, table: str, number: int) -> str:
        bounds = self._load.with_retries(lambda: self._load.journal.chunk(table, number)).bounds()
        planned = next(planned for planned in self._load.plan.tables if planned.table.name == table)
        lower, upper = (key and visible(key_text(planned.table, key)) for key in (bounds.lower, bounds.upper))
        return f"primary keys {f'above {lower}' if lower else 'from the first'} {f'up to {upper}' if upper else 'on'}"


class _CopyResults:
    """Adds up what workers have copied, and reports tables that are complete."""

    def __init__(self, load: Load, schedule: LoadSchedule, counts: dict[str, RowCounts], shown: Task) -> None:
        self._progress, self._schedule, self._counts, self._shown = load.progress, schedule, counts, shown
        self._planned: Mapping[str, TablePlan] = {planned.table.name: planned for planned in load.plan.tables}
        self._reported: set[str] = set()

    def add(self, task: WorkerTask, result: Any) -> None:
        """Take the result of a task that a worker carried out."""
        match task:
            case SplitTable(table):
                done_before, chunks = result
                self._schedule.add_chunks(table, chunks)
                self._add(table, done_before)
            case CopyGroup() | CopyTables():
                for table, copied in result.items():
                    self._add(table, copied)
            case CopyTable(table) | CopyChunk(table, _):
                self._add(table, result)
        self._schedule.done(task)
        self._report_tables()

    def _add(self, table: str, copied: RowCounts) -> None:
        self._counts.setdefault(table, RowCounts()).add(copied)
        self._shown.advance(copied.rows_read)

    def _report_tables(self) -> None:
        for table in self._schedule.complete - self._reported:
            self._reported.add(table)
            planned = self._planned[table]
            self._progress.finished(planned.table.label, planned.source_rows)
