"""The parent's side of several processes: it hands out orders, hears of what became of them, and outlives workers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from django.db import Error

from ...conf import DEFAULT_CHUNK_SIZE
from ...console.progress import Progress, Task
from ...console.safe_text import visible
from ...console.wording import plural
from ...errors import Interrupted, MigratorError
from ...processes.workers import DONE, FAILED, GONE, READY, TOLD, Event, Pool
from ..chunks import key_text
from ..copying.load import Load
from ..copying.recreation_order import Recreate, RecreationSchedule, RefreshStatistics
from ..journal.journal import HEARTBEAT_SECONDS
from ..row_counts import RowCounts
from .scheduler import LoadSchedule, Schedule
from .tasks import CopyChunk, CopyGroup, CopyTable, CutTable, WorkerTask, open_worker

MOST_DEATHS = 3  # over one piece of work
NEWS_SECONDS = 0.2
END_SECONDS, HASTY_END_SECONDS = 5.0, 1.0

Done = Callable[[WorkerTask, Any], None]


class Coordinator:
    """Some workers, each with at most one order. Leaving it ends them, and waits until their servers know of it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._pool = Pool(lambda number, tell: open_worker(load, number, tell))
        self._idle: set[int] = set()
        self._running: dict[int, WorkerTask] = {}
        # Workers that died, with what they had: until their sessions are gone, nobody else may do it.
        self._buried: dict[int, WorkerTask | None] = {}
        self._deaths: dict[WorkerTask | None, int] = {}
        self._given_up: set[int] = set()
        self._last_heartbeat = time.monotonic()

    def __enter__(self) -> Coordinator:
        for number in range(self._load.endpoints.jobs):
            self._start(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)
        deadline = time.monotonic() + (END_SECONDS if kind is None else HASTY_END_SECONDS)
        with contextlib.suppress(Error):
            while self._load.endpoints.dest.workers() and time.monotonic() < deadline:
                time.sleep(0.02)

    # -- what is to be done -------------------------------------------------------------------------------------

    def copy(self, tallies: dict[str, RowCounts]) -> set[str]:
        """Copy the plan's tables; return those that are complete, which are all unless no worker is left."""
        load, plan = self._load, self._load.plan
        keeps_order = plan.adds_rows and not load.endpoints.dest.features.can_switch_off_foreign_keys
        schedule = LoadSchedule(plan, load.chunk_size or DEFAULT_CHUNK_SIZE, keeps_order=keeps_order)
        total = sum(planned.source_rows for planned in plan.tables)
        label = f"{plural(len(plan.tables), 'table')}, {plural(load.endpoints.jobs, 'process', 'processes')}"
        with load.progress.task(label, total) as task:
            self._work_off(schedule, _Copied(load, schedule, tallies, task).take)
        return schedule.complete

    def finish(self, schedule: RecreationSchedule, tallies: Mapping[str, RowCounts]) -> None:
        """Do what comes after the last rows; what fails, or is left because no worker is, stays in the schedule."""
        failed: list[WorkerTask] = []

        def done(order: WorkerTask, seconds: float | None) -> None:
            if seconds is None:
                failed.append(order)
            elif isinstance(order, Recreate):
                tallies[order.table].indexing += seconds
                task.advance(len(order.items))

        objects = schedule.objects()
        shown = self._load.progress if objects else Progress()
        with shown.task("indexes and keys", objects, unit="objects") as task:
            self._work_off(schedule, done)
        for order in failed:
            schedule.give_back(order)

    # -- how it is done -----------------------------------------------------------------------------------------

    def _work_off(self, schedule: Schedule, done: Done) -> None:
        """Hand out orders until none is left, or nobody to give one to.

        A signal or an error of one worker lets the others finish what they are at; then it is raised.
        """
        stop: Exception | None = None
        while True:
            if stop is None:
                stop = self._set_to_work(schedule)
            if not self._running:
                if stop:
                    raise stop
                if self._has_nothing_to_do(schedule):
                    return
            for event in self._pool.events(NEWS_SECONDS):
                reason = self._heard(event, done)
                stop = stop or reason

    def _set_to_work(self, schedule: Schedule) -> Exception | None:
        """Give everybody something to do; return what has to end the work."""
        try:
            self._load.check()
        except Interrupted as error:  # a second signal, which comes anywhere else, ends it at once
            return error
        try:
            self._heartbeat()
            self._replace_the_dead(schedule)
        except Interrupted:
            raise
        except (MigratorError, Error) as error:
            return error
        self._hand_out(schedule)
        return None

    def _has_nothing_to_do(self, schedule: Schedule) -> bool:
        if any(order is not None for order in self._buried.values()):
            return False
        return schedule.is_empty() or self._idle == self._pool.numbers

    def _hand_out(self, schedule: Schedule) -> None:
        while self._idle and (order := schedule.next(self._running.values())):
            number = self._idle.pop()
            self._running[number] = order
            self._pool.give(number, order)

    def _heard(self, event: Event, done: Done) -> MigratorError | None:
        """Act on news of a worker; return what has to end the work."""
        if event.kind == TOLD:
            self._load.progress.message(event.value)
        elif event.kind == READY:
            self._idle.add(event.worker)
        elif event.kind == DONE:
            self._idle.add(event.worker)
            done(self._running.pop(event.worker), event.value)
        elif event.kind == FAILED:
            self._running.pop(event.worker, None)
            error: MigratorError = event.value
            return error
        else:
            return self._lost(event)
        return None

    def _lost(self, event: Event) -> MigratorError | None:
        """Keep what a worker had for another one, unless too many died of it."""
        self._idle.discard(event.worker)
        order = self._running.pop(event.worker, None)
        self._load.endpoints.source.lose_reader(event.worker)
        if event.kind == GONE:
            self._given_up.add(event.worker)
            self._load.progress.message(f"  One process less: {event.value}")
        else:
            self._deaths[order] = self._deaths.get(order, 0) + 1
            self._load.progress.message(f"  A process was killed {self._place(order)}.")
            if order is not None and self._deaths[order] >= MOST_DEATHS:
                return MigratorError(
                    f"{MOST_DEATHS} processes were killed {self._place(order)}, one after the other. Where the "
                    "system kills what takes too much memory, a smaller --chunk-size helps."
                )
        self._buried[event.worker] = order
        return None

    def _replace_the_dead(self, schedule: Schedule) -> None:
        """Give back what dead workers had once their servers know of it, and start others in their place."""
        if not self._buried:
            return
        source = self._load.endpoints.source
        if not source.is_intact():
            raise source.snapshot_lost()
        lingering = self._load.again(self._load.endpoints.dest.workers)
        for number in set(self._buried) - lingering:
            order = self._buried.pop(number)
            if order is not None:
                schedule.give_back(order)
            if number not in self._given_up and source.can_join(number) and self._deaths.get(None, 0) < MOST_DEATHS:
                self._start(number)

    def _start(self, number: int) -> None:
        try:
            self._pool.start(number)
        except OSError as error:
            self._load.progress.message(f"  One process less: the system starts no more ({error.strerror}).")

    def _heartbeat(self) -> None:
        """Keep the parent's own sessions alive, and the run's record."""
        if time.monotonic() - self._last_heartbeat < HEARTBEAT_SECONDS:
            return
        self._last_heartbeat = time.monotonic()
        source = self._load.endpoints.source
        if not source.is_intact():
            raise source.snapshot_lost()
        self._load.again(self._load.journal.heartbeat)

    def _place(self, order: WorkerTask | None) -> str:
        """Say for people at which work a worker was."""
        labels = {planned.table.name: planned.table.label for planned in self._load.plan.tables}
        match order:
            case None:
                return "before it had any work"
            case CutTable(table):
                return f"while it looked for the chunks of {labels[table]}"
            case CopyTable(table):
                return f"while it copied {labels[table]}"
            case CopyChunk(table, number):
                return f"while it copied {labels[table]}, {self._range(table, number)}"
            case CopyGroup(tables):
                return f"while it copied {', '.join(labels[table] for table in tables)}"
            case Recreate(items):
                return f"while it put back {items[0].kind} {items[0].name!r} of {labels.get(order.table)}"
            case RefreshStatistics(table):
                return f"while it had the statistics of {labels[table]} refreshed"

    def _range(self, table: str, number: int) -> str:
        bounds = self._load.again(lambda: self._load.journal.chunk(number)).bounds()
        planned = next(planned for planned in self._load.plan.tables if planned.table.name == table)
        lower, upper = (key and visible(key_text(planned.table, key)) for key in (bounds.lower, bounds.upper))
        return f"primary keys {f'above {lower}' if lower else 'from the first'} {f'up to {upper}' if upper else 'on'}"


class _Copied:
    """Counts what workers have copied, table by table."""

    def __init__(self, load: Load, schedule: LoadSchedule, tallies: dict[str, RowCounts], task: Task) -> None:
        self._progress, self._schedule, self._tallies, self._task = load.progress, schedule, tallies, task
        self._planned: Mapping[str, Any] = {planned.table.name: planned for planned in load.plan.tables}
        self._told: set[str] = set()

    def take(self, order: WorkerTask, answer: Any) -> None:
        """Take note of an order that was carried out."""
        match order:
            case CutTable(table):
                tally, chunks = answer
                self._schedule.cut(table, chunks)
                self._add(table, tally)
            case CopyGroup():
                for table, tally in answer.items():
                    self._add(table, tally)
            case CopyTable(table) | CopyChunk(table, _):
                self._add(table, answer)
        self._schedule.done(order)
        self._tell_of_tables()

    def _add(self, table: str, tally: RowCounts) -> None:
        self._tallies.setdefault(table, RowCounts()).add(tally)
        self._task.advance(tally.rows_read)

    def _tell_of_tables(self) -> None:
        for table in self._schedule.complete - self._told:
            self._told.add(table)
            label = self._planned[table].table.label
            self._progress.message(f"  {label}: {plural(self._tallies[table].rows_read, 'row')}")
