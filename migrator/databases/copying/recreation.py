"""The recreation of indexes and keys: a second session begins with complete tables while others are copied."""

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
    """What failed for a table after its last row: an object to recreate, or its statistics (``None``)."""

    table: str
    item: DeferredObject | None
    error: Error


class RecreationFailed(Exception):
    """A step after the last row failed for a reason that does not lie in the rows."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(str(failed.error))
        self.failed = failed


class Recreator:
    """Carries out a schedule in the destination's session, and before that in a second one.

    Nothing depends on the second one: the first tries again what failed there, and reports the reason.
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
            # The server rolls its statement back; the run that resumes or cleans up recreates the object.
            with contextlib.suppress(Error):
                self._dest.end_session(self._helper_session)
        self._helper.join(END_SECONDS)

    @property
    def seconds(self) -> Mapping[str, float]:
        """How long indexes and foreign keys took in seconds, by table name."""
        return self._seconds

    def begin(self, tables: Mapping[str, int]) -> None:
        """Begin with tables that are complete, given by their names with the number of their rows."""
        with self._changed:
            self._schedule.complete(tables)
            self._changed.notify_all()
        is_worth_it = max(tables.values(), default=0) > HELPED_ROWS
        if self._helper is None and is_worth_it and self._dest.features.supports_parallel_writers:
            self._helper = threading.Thread(target=self._help, name="finisher", daemon=True)
            self._helper.start()

    def run(
        self,
        progress: Progress,
        check: Action,
        with_retries: Callable[[Action], None],
        *,
        accepts: Callable[[Error], bool],
    ) -> list[Failed]:
        """Carry out the rest of the schedule; return what failed with an error that ``accepts`` returns True for.

        ``check`` is called between two steps, so that a signal can end the work there. ``with_retries`` runs a step,
        again after a transient error. Raises :exc:`RecreationFailed` for any other error.
        """
        failed: list[Failed] = []
        with self._changed:
            self._schedule.release()
            self._changed.notify_all()
        shown = progress if self._objects else Progress()
        with shown.task("indexes and keys", self._objects, unit="objects") as bar:
            shown_before = self._objects_done
            bar.advance(shown_before)
            while self._running or not self._schedule.is_empty():
                check()
                if (task := self._take()) is not None:
                    with self._marked_running(task):
                        found = self._failures(task, with_retries)
                    self._objects_done -= sum(one.item is not None for one in found)
                    for one in found:
                        if not accepts(one.error):
                            raise RecreationFailed(one)
                    failed += found
                bar.advance(self._objects_done - shown_before)
                shown_before = self._objects_done
        if self._helper_error is not None:
            raise self._helper_error
        return failed

    def _failures(self, task: FinishTask, with_retries: Callable[[Action], None]) -> list[Failed]:
        """Carry out a task, and return what failed; if its parts fail together, each is tried by itself."""
        try:
            with_retries(partial(task.carry_out, self._dest.catalogue))
        except Error as error:
            if len(parts := task.parts()) > 1:
                return [one for part in parts for one in self._failures(part, with_retries)]
            return [Failed(task.table, task.items[0] if isinstance(task, Recreate) else None, error)]
        return []

    def _take(self) -> FinishTask | None:
        """Take a task that can be carried out now, or within a moment; otherwise return ``None``."""
        with self._changed:
            task = self._schedule.next(self._running)
            if task is None:
                self._changed.wait(WAIT_SECONDS)
                task = self._schedule.next(self._running)
            if task is not None:
                self._running.append(task)
        return task

    @contextlib.contextmanager
    def _marked_running(self, task: FinishTask, *, gives_back: bool = False) -> Iterator[None]:
        """Count the task as done after the block, unless it fails; with ``gives_back`` it is then scheduled again."""
        started = time.perf_counter()
        is_done = False
        try:
            yield
            is_done = True
        finally:
            with self._changed:
                self._running.remove(task)
                if not is_done and gives_back:
                    self._schedule.give_back(task)
                elif is_done and isinstance(task, Recreate):
                    for table, seconds in task.shares(time.perf_counter() - started):
                        self._seconds[table] += seconds
                    self._objects_done += len(task.items)
                self._changed.notify_all()

    # -- in the thread ------------------------------------------------------------------------------------------

    def _help(self) -> None:
        try:
            with contextlib.suppress(Error, MigratorError), self._second_session() as dest:
                while not self._is_over:
                    if (task := self._take()) is not None:
                        with self._marked_running(task, gives_back=True):
                            task.carry_out(dest.catalogue)
        except BaseException as error:
            self._helper_error = error

    @contextlib.contextmanager
    def _second_session(self) -> Iterator[Engine]:
        """Open another session of the destination, with the lock of worker 0, so that later runs wait for its end."""
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
                raise MigratorError("another session is worker 0")
        finally:
            dest.close()
