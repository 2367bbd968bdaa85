"""Indexes, foreign keys and statistics: by a second session for tables that are complete, while others are copied."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from django.db import Error, connections

from ...console.progress import Progress
from ...errors import MigratorError
from ..engines.base.catalogue import DeferredObject
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..engines.registry import engine_for
from ..planning.parallel_queries import END_SECONDS, HELPED_ROWS
from .recreation_order import FinishTask, Recreate, RecreationSchedule

WAIT_SECONDS = 0.2

Action = Callable[[], None]


@dataclass(frozen=True)
class Failed:
    """What could not be done for a table after its last row: an object to recreate, or its statistics (``None``)."""

    table: str
    item: DeferredObject | None
    error: Error


class RecreationFailed(Exception):
    """A step after the last row failed, and the cause is not in the rows."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(str(failed.error))
        self.failed = failed


class Recreator:
    """Carries out a schedule in the destination's session, and in a second one that begins before.

    Nothing depends on the second one: what it fails at is left to the first, which tries again and tells the reason.
    """

    def __init__(self, dest: Engine, schedule: RecreationSchedule) -> None:
        self._dest, self._schedule = dest, schedule
        self._objects, self._objects_done = schedule.objects(), 0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._changed = threading.Condition()
        self._running: list[FinishTask] = []
        self._helper: threading.Thread | None = None
        self._helper_session: Row | None = None
        self._helper_error: BaseException | None = None
        self._is_over = False

    def __enter__(self) -> Recreator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._helper is None:
            return
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._running and self._helper_session is not None:
            # Its server undoes what it is at, and whoever goes on with the run puts that back.
            with contextlib.suppress(Error):
                self._dest.end_session(self._helper_session)
        self._helper.join(END_SECONDS)

    @property
    def seconds(self) -> Mapping[str, float]:
        """The seconds that indexes and foreign keys took, by table name."""
        return self._seconds

    def begin(self, tables: Mapping[str, int]) -> None:
        """Begin with tables that are complete, given by name with the number of their rows."""
        with self._changed:
            self._schedule.complete(tables)
            self._changed.notify_all()
        is_worth_it = max(tables.values(), default=0) > HELPED_ROWS
        if self._helper is None and is_worth_it and self._dest.features.supports_parallel_writers:
            self._helper = threading.Thread(target=self._help, name="finisher", daemon=True)
            self._helper.start()

    def work_off(
        self,
        progress: Progress,
        check: Action,
        again: Callable[[Action], None],
        *,
        passes_over: Callable[[Error], bool],
    ) -> list[Failed]:
        """Carry out all that is left; return what failed with an error that ``passes_over`` accepts.

        ``check`` is called between two steps, so that a signal can end the work there; ``again`` runs a step, once more
        where a fault passes. Raises :exc:`RecreationFailed` for any other error.
        """
        failed: list[Failed] = []
        with self._changed:
            self._schedule.release()
            self._changed.notify_all()
        told = self._objects_done
        shown = progress if self._objects else Progress()
        with shown.task("indexes and keys", self._objects, done=told, unit="objects") as task:
            while self._running or not self._schedule.is_empty():
                check()
                if (order := self._take()) is not None:
                    with self._held(order):
                        found = self._failures(order, again)
                    self._objects_done -= sum(one.item is not None for one in found)
                    for one in found:
                        if not passes_over(one.error):
                            raise RecreationFailed(one)
                    failed += found
                task.advance(self._objects_done - told)
                told = self._objects_done
        if self._helper_error is not None:
            raise self._helper_error
        return failed

    def _failures(self, order: FinishTask, again: Callable[[Action], None]) -> list[Failed]:
        """Carry out an order; of several objects that fail together each is tried by itself."""
        try:
            again(partial(order.carry_out, self._dest.catalogue))
        except Error as error:
            items = order.items if isinstance(order, Recreate) else ()
            if len(items) < 2:
                return [Failed(order.table, items[0] if items else None, error)]
            return [one for item in items for one in self._failures(Recreate((item,)), again)]
        return []

    def _take(self) -> FinishTask | None:
        """Take what can be done now, after a moment if need be."""
        with self._changed:
            order = self._schedule.next(self._running)
            if order is None:
                self._changed.wait(WAIT_SECONDS)
                order = self._schedule.next(self._running)
            if order is not None:
                self._running.append(order)
        return order

    @contextlib.contextmanager
    def _held(self, order: FinishTask, *, gives_back: bool = False) -> Iterator[None]:
        """Count what is carried out meanwhile as done; where it fails it may be left to somebody else."""
        started = time.perf_counter()
        is_done = False
        try:
            yield
            is_done = True
        finally:
            with self._changed:
                self._running.remove(order)
                if not is_done and gives_back:
                    self._schedule.give_back(order)
                elif is_done and isinstance(order, Recreate):
                    self._seconds[order.table] += time.perf_counter() - started
                    self._objects_done += len(order.items)
                self._changed.notify_all()

    # -- in the thread ------------------------------------------------------------------------------------------

    def _help(self) -> None:
        try:
            with contextlib.suppress(Error, MigratorError), self._second_session() as dest:
                while not self._is_over:
                    if (order := self._take()) is not None:
                        with self._held(order, gives_back=True):
                            order.carry_out(dest.catalogue)
        except BaseException as error:
            self._helper_error = error

    @contextlib.contextmanager
    def _second_session(self) -> Iterator[Engine]:
        """Open another session like that of the destination, known as a worker's to runs that come after this one."""
        dest = engine_for(connections[self._dest.alias])  # of this thread
        dest.link_timeout, dest.worker = self._dest.link_timeout, 0
        try:
            dest.connect()
            dest.open_destination()
            if dest.lock():
                self._helper_session = dest.session_identity()
                yield dest
                dest.unlock()
            else:
                raise MigratorError("another session is that worker")
        finally:
            dest.close()
