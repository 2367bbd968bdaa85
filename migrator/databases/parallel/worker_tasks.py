"""The tasks of a worker, and the worker, which has sessions of its own to both databases."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import Error

from ...console.progress import Progress
from ...processes.workers import CannotWork, Report
from ..chunks import Bounds
from ..copying.load import Load
from ..copying.recreation_order import FinishTask, Recreate, RefreshStatistics
from ..copying.retry import Retries
from ..endpoints import Endpoints, to_migrator_error, without_secrets
from ..engines.base.engine import Engine
from ..engines.base.errors import Severity, SnapshotLost
from ..planning.plan import TablePlan
from ..row_counts import RowCounts


@dataclass(frozen=True)
class SplitTable:
    """Split a large table into chunks. The result: the counts of those done before, and the numbers of the others."""

    table: str


@dataclass(frozen=True)
class CopyChunk:
    """Copy one chunk of a table, by its number. The result: its counts."""

    table: str
    chunk: int


@dataclass(frozen=True)
class CopyTable:
    """Copy a small table. The result: its counts."""

    table: str


@dataclass(frozen=True)
class CopyTables:
    """Copy small tables in one transaction, or one by one if that fails. The result: their counts by table."""

    tables: tuple[str, ...]


@dataclass(frozen=True)
class CopyGroup:
    """Copy tables that reference each other in one transaction. The result: their counts by table."""

    tables: tuple[str, ...]


@dataclass(frozen=True)
class KeyRange:
    """Compare the rows of a table in a range of keys. The result: how they differ.

    ``with_generated``: whether generated columns are compared as well.
    """

    table: str
    bounds: Bounds
    with_generated: bool = False


WorkerTask = SplitTable | CopyChunk | CopyTable | CopyTables | CopyGroup | FinishTask
Split = tuple[RowCounts, list[range]]


class WorkerProgress(Progress):
    """Sends messages to the parent's process, which counts by itself."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def message(self, text: str) -> None:
        self._report(text)


@contextlib.contextmanager
def open_worker(load: Load, number: int, report: Report) -> Iterator[Callable[[WorkerTask], Any]]:
    """Open a worker's own sessions, in its process; the context is the function that carries out tasks.

    Raises :exc:`~migrator.processes.workers.CannotWork` if a server accepts no more sessions.
    """
    retries = dataclasses.replace(load.retries, progress=WorkerProgress(report))
    load = dataclasses.replace(load, retries=retries, rejects=load.rejects.for_worker())
    worker = _Worker(load)

    def carry_out(task: WorkerTask) -> Any:
        with errors_explained(load.endpoints):
            return worker.carry_out(task)

    with own_sessions(retries, number, number):
        yield carry_out


@contextlib.contextmanager
def own_sessions(retries: Retries, number: int, reader: int) -> Iterator[None]:
    """Open a worker's own sessions to both databases, in its process; it is this ``reader`` of the snapshot.

    Raises :exc:`~migrator.processes.workers.CannotWork` if a server accepts no more sessions.
    """
    source, dest = retries.endpoints.source, retries.endpoints.dest
    dest.worker = number
    dest.forget_session()
    with errors_explained(retries.endpoints):
        with _unless_full(source):
            source.join_snapshot(reader)
            source.remember_session()
        with _unless_full(dest):
            retries.reconnect()
    yield
    source.release_snapshot()
    for engine in (source, dest):
        with contextlib.suppress(Error):
            engine.connection.close()


@contextlib.contextmanager
def reading_sessions(endpoints: Endpoints, reader: int) -> Iterator[None]:
    """Open sessions in a process of its own that read both snapshots; it is this ``reader`` of each.

    Raises :exc:`~migrator.processes.workers.CannotWork` if a server accepts no more sessions.
    """
    engines = endpoints.source, endpoints.dest
    with errors_explained(endpoints):
        for engine in engines:
            with _unless_full(engine):
                engine.join_snapshot(reader)
                engine.remember_session()
    yield
    for engine in engines:
        engine.release_snapshot()
        with contextlib.suppress(Error):
            engine.connection.close()


@contextlib.contextmanager
def _unless_full(engine: Engine) -> Iterator[None]:
    """Raise :exc:`CannotWork`, after which other workers continue, if a server accepts no more sessions."""
    try:
        yield
    except Error as error:
        if engine.severity(error) is not Severity.RETRY:
            raise
        reason = without_secrets(str(error), engine.alias)
        raise CannotWork(f"{engine.alias!r} accepts no more sessions: {reason}") from error


@contextlib.contextmanager
def errors_explained(endpoints: Endpoints) -> Iterator[None]:
    """Turn the error of a database into one that can be sent to the parent."""
    try:
        yield
    except SnapshotLost as error:
        raise CannotWork(str(error)) from error
    except Error as error:
        raise to_migrator_error(error, (endpoints.dest, endpoints.source)) from error


class _Worker:
    """Carries out tasks, one after another."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._planned = {planned.table.name: planned for planned in load.plan.tables}

    def carry_out(self, task: WorkerTask) -> Any:
        """Return the result that the task's class describes."""
        match task:
            case SplitTable(table):
                return self._split(self._planned[table])
            case CopyChunk(table, number):
                return self._copy_chunk(self._planned[table], number)
            case CopyTable(table):
                return self._copy_table(self._planned[table])
            case CopyTables(tables):
                return self._copy_tables([self._planned[table] for table in tables])
            case CopyGroup(tables):
                return self._copy_group([self._planned[table] for table in tables])
            case Recreate() | RefreshStatistics():
                return self._finish(task)

    def _split(self, planned: TablePlan) -> Split:
        load, name = self._load, planned.table.name
        load.with_retries(lambda: load.split(planned))
        done = load.with_retries(lambda: load.journal.counts_of(name))
        return load.since_before(name, done), load.with_retries(lambda: load.journal.pending_numbers(name))

    def _copy_chunk(self, planned: TablePlan, number: int) -> RowCounts:
        chunk = self._load.with_retries(lambda: self._load.journal.chunk(planned.table.name, number))
        (counts,) = self._load.copy_chunks(planned, [chunk])
        return counts

    def _copy_table(self, planned: TablePlan) -> RowCounts:
        counts: dict[str, RowCounts] = {}
        self._load.copy_table(planned, counts)
        return counts[planned.table.name]

    def _copy_tables(self, tables: list[TablePlan]) -> dict[str, RowCounts]:
        load, counts = self._load, dict[str, RowCounts]()
        recorded = load.with_retries(lambda: load.journal.whole([planned.table.name for planned in tables]))
        load.copy_small_tables([planned for planned in tables if planned.table.name in recorded], counts, recorded)
        for planned in tables:
            if planned.table.name not in recorded:
                load.copy_table(planned, counts)
        return counts

    def _copy_group(self, group: list[TablePlan]) -> dict[str, RowCounts]:
        counts: dict[str, RowCounts] = {}
        self._load.with_retries(lambda: self._load.copy_group(group, counts))
        self._load.rejects.settle()
        return counts

    def _finish(self, task: FinishTask) -> float | None:
        """Return the seconds that it took; ``None`` if it failed. The run then tries it again, and explains."""
        started = time.perf_counter()
        try:
            self._load.with_retries(lambda: task.carry_out(self._load.endpoints.dest.catalogue))
        except Error:
            return None
        return time.perf_counter() - started
