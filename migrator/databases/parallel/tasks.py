"""What a worker is told to do, and how it does it, with sessions of its own to both databases."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import Error

from ...console.progress import Progress
from ...processes.workers import CannotWork, Tell
from ..copying.load import Load, done_before
from ..copying.recreation_order import FinishTask, Recreate, RefreshStatistics
from ..endpoints import to_migrator_error, without_secrets
from ..engines.base.engine import Engine
from ..engines.base.errors import Severity, SnapshotLost
from ..planning.plan import TablePlan
from ..row_counts import RowCounts


@dataclass(frozen=True)
class CutTable:
    """Cut a large table into chunks; answered by what was done before, and the keys of the chunks that are left."""

    table: str


@dataclass(frozen=True)
class CopyChunk:
    """Copy one chunk of a table; answered by its tally."""

    table: str
    chunk: int


@dataclass(frozen=True)
class CopyTable:
    """Copy a small table; answered by its tally."""

    table: str


@dataclass(frozen=True)
class CopyGroup:
    """Copy tables that are only right together; answered by their tallies."""

    tables: tuple[str, ...]


WorkerTask = CutTable | CopyChunk | CopyTable | CopyGroup | FinishTask
Cut = tuple[RowCounts, list[int]]


class WorkerProgress(Progress):
    """Tell the parent's process what there is to say. The parent counts by itself."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def message(self, text: str) -> None:
        self._tell(text)


@contextlib.contextmanager
def open_worker(load: Load, number: int, tell: Tell) -> Iterator[Callable[[WorkerTask], Any]]:
    """Open a worker's own sessions, in its process, and give what carries out orders.

    Raises :exc:`~migrator.processes.workers.CannotWork` where a server takes no more sessions.
    """
    retries = dataclasses.replace(load.retries, progress=WorkerProgress(tell))
    load = dataclasses.replace(load, retries=retries, rejects=load.rejects.for_another_process())
    source, dest = load.endpoints.source, load.endpoints.dest
    dest.worker = number
    dest.forget_session()
    with _explained(load):
        with _unless_full(source):
            source.join_snapshot(number)
            source.remember_session()
        with _unless_full(dest):
            load.retries.reconnect()
    hand = _Worker(load)

    def carry_out(order: WorkerTask) -> Any:
        with _explained(load):
            return hand.do(order)

    yield carry_out
    for engine in (source, dest):
        with contextlib.suppress(Error):
            engine.connection.close()


@contextlib.contextmanager
def _unless_full(engine: Engine) -> Iterator[None]:
    """Turn the error of a server that takes no more sessions into what other workers outlive."""
    try:
        yield
    except Error as error:
        if engine.severity(error) is not Severity.RETRY:
            raise
        reason = without_secrets(str(error), engine.alias)
        raise CannotWork(f"{engine.alias!r} takes no session more: {reason}") from error


@contextlib.contextmanager
def _explained(load: Load) -> Iterator[None]:
    """Turn what a database raises into what can be told to the parent."""
    try:
        yield
    except SnapshotLost as error:
        raise CannotWork(str(error)) from error
    except Error as error:
        raise to_migrator_error(error, (load.endpoints.dest, load.endpoints.source)) from error


class _Worker:
    """Does what it is told, one thing after the other."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._planned = {planned.table.name: planned for planned in load.plan.tables}

    def do(self, order: WorkerTask) -> Any:
        match order:
            case CutTable(table):
                return self._cut(self._planned[table])
            case CopyChunk(table, number):
                return self._copy_chunk(self._planned[table], number)
            case CopyTable(table):
                return self._copy_table(self._planned[table])
            case CopyGroup(tables):
                return self._copy_group([self._planned[table] for table in tables])
            case Recreate() | RefreshStatistics():
                return self._finish(order)

    def _cut(self, planned: TablePlan) -> Cut:
        chunks = self._load.again(lambda: self._load.chunks_of(planned))
        return done_before(chunks), [chunk.pk for chunk in chunks if not chunk.is_done]

    def _copy_chunk(self, planned: TablePlan, number: int) -> RowCounts:
        chunk = self._load.again(lambda: self._load.journal.chunk(number))
        (tally,) = self._load.copy_chunks(planned, [chunk])
        return tally

    def _copy_table(self, planned: TablePlan) -> RowCounts:
        tallies: dict[str, RowCounts] = {}
        self._load.copy_table(planned, tallies)
        return tallies[planned.table.name]

    def _copy_group(self, group: list[TablePlan]) -> dict[str, RowCounts]:
        tallies: dict[str, RowCounts] = {}
        self._load.again(lambda: self._load.copy_group(group, tallies))
        self._load.rejects.settle()
        return tallies

    def _finish(self, order: FinishTask) -> float | None:
        """Return the seconds that it took; ``None`` if it failed, which the run itself then tries and explains."""
        started = time.perf_counter()
        try:
            self._load.again(lambda: order.carry_out(self._load.endpoints.dest.catalogue))
        except Error:
            return None
        return time.perf_counter() - started
