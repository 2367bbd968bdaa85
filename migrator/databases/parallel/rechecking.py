"""The committed rows of a resumed run, compared with the source by several processes with sessions of their own."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import chain

from ...processes.workers import Event, Pool, Report, WorkerEvent
from ..copying.retry import Retries
from ..journal.journal import Journal
from ..verification.committed_rows import Changes, CommittedRows, Span
from .worker_tasks import WorkerProgress, errors_explained, own_sessions

EVENT_SECONDS = 0.2
# Of all tables together: fewer are compared before other processes have started.
HELPED_ROWS = 100_000

# Prepares the comparison of a table with the sessions of the process that calls it.
Prepare = Callable[[str], CommittedRows]


def compared(
    spans: Iterator[Span], prepare: Prepare, retries: Retries, journal: Journal, rows: int
) -> Generator[tuple[Span, Changes]]:
    """Compare spans, in as many processes as the run has, and yield each with its changes, in any order.

    ``rows``: how many they have together. A span is taken when a process is free for it.
    """
    endpoints, left = retries.endpoints, spans
    if endpoints.jobs > 1 and rows > HELPED_ROWS:
        numbers = [number for number in range(endpoints.jobs) if endpoints.source.can_join(reader_of(number, retries))]
        if len(numbers) > 1:
            workers = _Workers(spans, prepare, retries, journal)
            yield from workers.compare(numbers)
            left = workers.left()
    committed = _by_table(prepare)
    for span in left:
        retries.check()
        yield span, retries.run(partial(committed(span.table).changes, span))
        retries.run(journal.heartbeat)


def reader_of(number: int, retries: Retries) -> int:
    """Return which reader of the snapshot a process is; the processes that copy are the first ones.

    Of MySQL, each reader is a session that one process can use, once.
    """
    return retries.endpoints.jobs + number


class _Workers:
    """Processes that compare one span after another. One that ends is not replaced."""

    def __init__(self, spans: Iterator[Span], prepare: Prepare, retries: Retries, journal: Journal) -> None:
        self._spans, self._retries, self._journal = spans, retries, journal
        self._pool = Pool(partial(_open_worker, prepare, retries))
        self._idle: set[int] = set()
        self._running: dict[int, Span] = {}
        self._given_back: list[Span] = []

    def compare(self, numbers: list[int]) -> Generator[tuple[Span, Changes]]:
        """Compare the spans in processes with these numbers, until none is left, or no process is."""
        try:
            with self._pool:
                for number in numbers:
                    with contextlib.suppress(OSError):  # the system starts no more
                        self._pool.start(number)
                while self._assign():
                    self._keep_alive()
                    for event in self._pool.events(EVENT_SECONDS):
                        if event.kind is WorkerEvent.DONE:
                            self._idle.add(event.worker)
                            yield self._running.pop(event.worker), event.value
                        else:
                            self._handle(event)
        finally:
            for number in numbers:
                self._retries.endpoints.source.lose_reader(reader_of(number, self._retries))

    def left(self) -> Iterator[Span]:
        """Return the spans that no process has compared."""
        return chain(self._given_back, self._spans)

    def _assign(self) -> bool:
        """Give each idle process a span; return whether there is something to wait for."""
        for number in sorted(self._idle):
            span = self._given_back.pop() if self._given_back else next(self._spans, None)
            if span is None:
                break
            self._idle.discard(number)
            self._running[number] = span
            self._pool.assign(number, span)
        are_all_idle = self._idle == self._pool.numbers
        return bool(self._running) or not are_all_idle

    def _keep_alive(self) -> None:
        """Check for a signal, keep the run's own sessions, and record that the run is alive."""
        self._retries.check()
        self._retries.progress.tick()
        self._retries.run(self._journal.heartbeat)

    def _handle(self, event: Event) -> None:
        match event.kind:
            case WorkerEvent.MESSAGE:
                self._retries.progress.message(event.value)
            case WorkerEvent.READY:
                self._idle.add(event.worker)
            case WorkerEvent.FAILED:
                raise event.value
            case WorkerEvent.GONE | WorkerEvent.DIED:
                self._idle.discard(event.worker)
                if span := self._running.pop(event.worker, None):
                    self._given_back.append(span)
                reason = f": {event.value}" if event.value else ", which was killed."
                self._retries.progress.message(f"  One process fewer{reason}")


def _by_table(prepare: Prepare) -> Prepare:
    prepared: dict[str, CommittedRows] = {}

    def committed(table: str) -> CommittedRows:
        if table not in prepared:
            prepared.clear()  # the spans of a table follow one another
            prepared[table] = prepare(table)
        return prepared[table]

    return committed


@contextlib.contextmanager
def _open_worker(
    prepare: Prepare, retries: Retries, number: int, report: Report
) -> Iterator[Callable[[Span], Changes]]:
    retries = dataclasses.replace(retries, progress=WorkerProgress(report))
    committed = _by_table(prepare)

    def changes(span: Span) -> Changes:
        with errors_explained(retries.endpoints):
            return retries.run(partial(committed(span.table).changes, span))

    with own_sessions(retries, number, reader_of(number, retries)):
        yield changes
