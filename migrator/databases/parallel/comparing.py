"""Rows of both databases compared by several processes with sessions of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from ...console.progress import Progress
from ...processes.workers import CannotWork, Event, Pool, Report, WorkerEvent
from ..chunks import Bounds
from ..copying.retry import Result, Retries
from ..engines.base.engine import Engine
from ..planning.columns import TableEnds
from ..verification.contents import NOT_COMPARED, Contents, Differences, Pairing
from ..verification.rows import RowDifference
from ..verification.table_comparison import TableComparison, ends_of
from .remote_workers import RemoteWorkers
from .worker_tasks import KeyRange, WorkerProgress, errors_explained, own_sessions, reading_sessions

EVENT_SECONDS = 0.2
REMOTE_SECONDS = 0.05  # with workers on other hosts, whose events cannot be waited for
# Of all tables together: fewer are compared before other processes have started.
HELPED_ROWS = 100_000
# Rows that differ in one range, and that a process sends: of more, the command itself finds one after the other.
MOST_SENT = 100_000


class Part(Protocol):
    """Some rows of a table, which one process compares."""

    @property
    def table(self) -> str:
        """The name of the table."""


P = TypeVar("P", bound=Part)
R = TypeVar("R")
# Prepares the comparison of a table with the sessions of the process that calls it; the result compares its parts.
Prepare = Callable[[str], Callable[[P], R]]


@dataclass(frozen=True)
class Helpers:
    """The processes that compare for a run. They are not its first ``kept`` readers of the snapshot, which copy.

    ``keep_alive`` is called from time to time. ``remote`` are workers on other hosts that compare ranges, too.
    ``only_read``: the destination is not that of a run, and is read in a snapshot as well.
    """

    retries: Retries
    kept: int = 0
    keep_alive: Callable[[], object] = lambda: None
    remote: RemoteWorkers | None = None
    only_read: bool = False

    @property
    def is_alone(self) -> bool:
        """Whether only the process of the command compares."""
        return self.retries.endpoints.jobs == 1 and self.remote is None

    def readers(self) -> list[int]:
        """Return which readers of the snapshot are free, one for each process."""
        numbers = range(self.kept, min(engine.readers for engine in self._read))
        free = [number for number in numbers if all(engine.can_join(number) for engine in self._read)]
        return free[-self.retries.endpoints.jobs :]

    def lose(self, reader: int) -> None:
        """Clean up after a process that has ended."""
        for engine in self._read:
            engine.lose_reader(reader)

    def sessions(self, retries: Retries, number: int, reader: int) -> AbstractContextManager[None]:
        """Open a process's own sessions; it is this ``reader`` of the snapshots."""
        if self.only_read:
            return reading_sessions(retries.endpoints, reader)
        return own_sessions(retries, number, reader)

    @property
    def _read(self) -> tuple[Engine, ...]:
        """The databases that are read in a snapshot."""
        endpoints = self.retries.endpoints
        return (endpoints.source, endpoints.dest) if self.only_read else (endpoints.source,)


class Once(Retries):
    """Tries once: another session would read another snapshot."""

    def run(self, action: Callable[[], Result], free_source: Callable[[], None] = lambda: None) -> Result:
        return action()


def side_by_side(
    parts: Iterator[P], prepare: Prepare[P, R | None], helpers: Helpers, rows: int, own: Prepare[P, R] | None = None
) -> Generator[tuple[P, R]]:
    """Compare parts, in as many processes as the run has, and yield each with its result, in any order.

    ``rows``: how many they have together. A part is taken when a process is free for it. What has no result there is
    compared by this process, as ``own`` prepares it, which is never tried twice; without it, by ``prepare``.
    """
    retries, left = helpers.retries, parts
    readers = helpers.readers() if rows > HELPED_ROWS and not helpers.is_alone else []
    if len(readers) > 1 or (readers and helpers.remote):
        workers = _Workers(parts, prepare, helpers, dict(enumerate(readers)))
        yield from workers.compare()
        left = workers.left()
    prepared = _by_table(own or prepare)
    for part in left:
        retries.check()
        compare = partial(prepared(part.table), part)
        result = compare() if own else retries.run(compare)
        if result is None:
            raise AssertionError(f"rows of {part.table} were not compared")
        yield part, result
        helpers.keep_alive()


class _Workers(Generic[P, R]):
    """Processes that compare one part after another, with workers on other hosts. One that ends is not replaced."""

    def __init__(
        self, parts: Iterator[P], prepare: Prepare[P, R | None], helpers: Helpers, readers: dict[int, int]
    ) -> None:
        self._parts, self._helpers, self._readers = parts, helpers, readers
        self._remote: Any = helpers.remote
        self._pool = Pool(partial(_open_worker, prepare, helpers, readers))
        self._idle: set[int] = set(self._remote.idle) if self._remote else set()
        self._running: dict[int, P] = {}
        # For the processes of this host: those that ended have left them, or other hosts have.
        self._given_back: list[P] = []
        # For the command itself.
        self._left_over: list[P] = []

    def compare(self) -> Generator[tuple[P, R]]:
        """Compare the parts in processes, until none is left, or no process is."""
        try:
            with self._pool:
                for number in self._readers:
                    with contextlib.suppress(OSError):  # the system starts no more
                        self._pool.start(number)
                while self._assign():
                    self._keep_alive()
                    for event in self._events():
                        if event.kind is WorkerEvent.DONE:
                            self._idle.add(event.worker)
                            part = self._running.pop(event.worker)
                            if event.value is not None:
                                yield part, event.value
                            elif event.worker in self._readers:
                                self._left_over.append(part)
                            else:
                                self._given_back.append(part)
                        else:
                            self._handle(event)
        finally:
            for reader in self._readers.values():
                self._helpers.lose(reader)

    def left(self) -> Iterator[P]:
        """Return the parts that no process has compared."""
        return chain(self._left_over, self._given_back, self._parts)

    def _assign(self) -> bool:
        """Give each idle process a part; return whether there is something to wait for."""
        for number in sorted(self._idle & self._pool.numbers):
            part = self._given_back.pop() if self._given_back else next(self._parts, None)
            if part is None:
                break
            self._give(number, part, self._pool)
        if self._remote:
            for number in sorted(self._idle & self._remote.numbers):
                if (part := next(self._parts, None)) is None:
                    break
                self._give(number, part, self._remote)
        are_all_idle = self._pool.numbers <= self._idle
        return bool(self._running) or not are_all_idle

    def _give(self, number: int, part: P, to: Any) -> None:
        self._idle.discard(number)
        self._running[number] = part
        to.assign(number, part)

    def _events(self) -> list[Event]:
        if self._remote is None:
            return self._pool.events(EVENT_SECONDS)
        events: list[Event] = self._remote.events()
        return self._pool.events(REMOTE_SECONDS) + events

    def _keep_alive(self) -> None:
        """Check for a signal, keep the run's own sessions, and record that the run is alive."""
        self._helpers.retries.check()
        self._helpers.retries.progress.tick()
        self._helpers.keep_alive()

    def _handle(self, event: Event) -> None:
        match event.kind:
            case WorkerEvent.MESSAGE:
                self._helpers.retries.progress.message(event.value)
            case WorkerEvent.READY:
                self._idle.add(event.worker)
            case WorkerEvent.FAILED:
                raise event.value
            case WorkerEvent.LOST:
                self._given_back.append(self._running.pop(event.worker))
            case WorkerEvent.GONE | WorkerEvent.DIED:
                self._idle.discard(event.worker)
                if part := self._running.pop(event.worker, None):
                    self._given_back.append(part)
                reason = f": {event.value}" if event.value else ", which was killed."
                self._helpers.retries.progress.message(f"  One process fewer{reason}")


def _by_table(prepare: Prepare[P, R]) -> Prepare[P, R]:
    prepared: dict[str, Callable[[P], R]] = {}

    def of(table: str) -> Callable[[P], R]:
        if table not in prepared:
            prepared.clear()  # the parts of a table follow one another
            prepared[table] = prepare(table)
        return prepared[table]

    return of


@contextlib.contextmanager
def _open_worker(
    prepare: Prepare[P, R | None], helpers: Helpers, readers: dict[int, int], number: int, report: Report
) -> Iterator[Callable[[P], R | None]]:
    retries = dataclasses.replace(helpers.retries, progress=WorkerProgress(report))
    prepared = _by_table(prepare)

    def compare(part: P) -> R | None:
        with errors_explained(retries.endpoints):
            result = retries.run(partial(prepared(part.table), part))
        try:
            pickle.dumps(result)
        except Exception as error:  # values of a field of the project's own, which may raise anything
            raise CannotWork(f"values of {part.table!r} that differ cannot be sent to another process") from error
        return result

    with helpers.sessions(retries, number, readers[number]):
        yield compare


# -- the values of whole tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ValuesOfTables:
    """What is compared of the tables of a run, and how: ``most`` rows that differ are listed for each table.

    With ``each``, every row that differs is passed on, with the name of its table, instead of being listed.
    """

    pairings: Sequence[Pairing]
    chunk_size: int
    most: int = 0
    each: Callable[[str, RowDifference], None] | None = None

    def by(self, helpers: Helpers, progress: Progress) -> tuple[Contents, ...]:
        """Compare all rows, in as many processes as the run has; return what was found by table."""
        ends = list(ends_of(self.pairings))
        if helpers.is_alone:
            return tuple(self._one(*one, helpers, progress) for one in zip(self.pairings, ends, strict=True))
        names = (pairing.table.name for pairing in self.pairings)
        return self._side_by_side(dict(zip(names, ends, strict=True)), helpers, progress)

    def _one(self, pairing: Pairing, ends: TableEnds, helpers: Helpers, progress: Progress) -> Contents:
        helpers.retries.check()
        each = partial(self._pass_on, pairing.table.name)
        comparison = TableComparison(pairing, self.most, progress, each, ends=ends)
        started = time.perf_counter()
        with comparison.reading_everything():
            found = comparison.all_rows(self.chunk_size)
        found.seconds = time.perf_counter() - started
        return found

    def _side_by_side(self, ends: dict[str, TableEnds], helpers: Helpers, progress: Progress) -> tuple[Contents, ...]:
        pairings = {pairing.table.name: pairing for pairing in self.pairings}
        tables = {name: TableComparison(one, self.most, progress, ends=ends[name]) for name, one in pairings.items()}
        found = {name: comparison.begin() for name, comparison in tables.items()}
        rows = {name: pairing.rows for name, pairing in pairings.items() if found[name].method != NOT_COMPARED}
        undivided = sorted((name for name in rows if not pairings[name].sorts_keys_alike), key=lambda name: -rows[name])
        if self.each:  # any number of their rows may differ
            found |= {name: self._one(pairings[name], ends[name], helpers, progress) for name in undivided}
            rows, undivided = {name: rows[name] for name in rows if name not in undivided}, []

        def parts() -> Iterator[KeyRange]:
            for name in [*undivided, *(name for name in rows if name not in undivided)]:
                ranges = [Bounds()] if name in undivided else tables[name].ranges(self.chunk_size)
                yield from (KeyRange(name, bounds, with_generated=not self.each) for bounds in ranges)

        def prepare(name: str) -> Callable[[KeyRange], Differences | None]:
            comparison = TableComparison(pairings[name], MOST_SENT if self.each else self.most, ends=ends[name])

            def compare(part: KeyRange) -> Differences | None:
                differences = comparison.of_range(part.bounds)
                return None if self.each and differences.is_truncated else differences

            return compare

        def own(name: str) -> Callable[[KeyRange], Differences]:
            comparison = TableComparison(pairings[name], 0, each=partial(self._pass_on, name), ends=ends[name])
            return lambda part: comparison.of_range(part.bounds)

        total = sum(rows.values())
        compared = side_by_side(parts(), prepare, helpers, total, own if self.each else None)
        with progress.task("values (compare)", total) as task, contextlib.closing(compared):
            for part, differences in compared:
                if self.each:
                    for difference in differences.differences:
                        self.each(part.table, difference)
                found[part.table].merge(differences, self.most)
                task.advance(differences.checked)
        return tuple(found.values())

    def _pass_on(self, table: str, difference: RowDifference) -> None:
        if self.each:
            self.each(table, difference)
