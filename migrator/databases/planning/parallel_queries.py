"""Queries of one database, divided among sessions: while one scans a table, so do the others.

Answers are :class:`~concurrent.futures.Future` objects. All queries are queued before the first answer is needed, so
that all sessions always have the longest of them to choose from.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count, zip_longest
from queue import Empty, PriorityQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from django.db import Error

from ...errors import MigratorError
from ..engines.base.engine import Engine

HELPED_ROWS = 10_000  # a second session isn't worth opening for tables with fewer rows
END_SECONDS = 2.0  # how long to wait for a query of another session whose answer is no longer needed

Answer = TypeVar("Answer")


class _Deferred(Future[Answer]):
    """A future that the first caller of :meth:`result` completes, in its own thread, by calling ``complete``.

    If that raises an error, so does :meth:`result`; the future stays pending, and the next call tries again.
    """

    def __init__(self, complete: Callable[[Future[Answer]], None]) -> None:
        super().__init__()
        self._complete = complete

    def result(self, timeout: float | None = None) -> Answer:
        if not self.done():
            self._complete(self)
        return super().result(timeout=0)  # no other thread will complete it


def deferred(compute: Callable[[], Answer]) -> Future[Answer]:
    """Return a future whose answer is computed when it is first needed, typically from other futures."""
    return _Deferred(lambda future: future.set_result(compute()))


def completed(answer: Answer) -> Future[Answer]:
    """Return a future whose answer is known already."""
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future


@dataclass(frozen=True, order=True)
class _Query(Generic[Answer]):
    """A queued query. Queries are sorted by their first two values: the longest first, then in the order of asking."""

    rank: int
    number: int
    run: Callable[[Engine], Answer] = field(compare=False)
    may_be_later: Callable[[Answer], bool] | None = field(compare=False)
    future: Future[Answer] = field(compare=False)

    def accepts(self, answer: Answer, *, is_later: bool) -> bool:
        """Whether an answer counts; ``is_later``: it may be from a later snapshot than the first session's."""
        return not is_later or (self.may_be_later is not None and self.may_be_later(answer))


class ParallelQueries:
    """Runs queries in a session and, if the largest table has more than ``HELPED_ROWS`` ``rows``, in others.

    There are up to ``sessions`` together. The others only help. A query that fails there is run again in the first one,
    whose error is raised. If the others read a later snapshot than the first, they run only queries that accept that.
    """

    def __init__(self, engine: Engine, rows: int = 0, sessions: int = 2) -> None:
        self.engine, self._is_worth_it, self._sessions = engine, rows > HELPED_ROWS, sessions
        self._others: list[Engine] = []
        self._own: PriorityQueue[_Query[Any]] = PriorityQueue()
        self._shared: PriorityQueue[_Query[Any]] = PriorityQueue()
        self._numbers = count()
        # Of the other sessions, in the same order.
        self._threads: list[threading.Thread] = []
        self._is_over = False

    def __enter__(self) -> ParallelQueries:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own, self._shared = PriorityQueue(), PriorityQueue()
        self._is_over = True
        deadline = time.monotonic() + END_SECONDS
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        for other, thread in zip_longest(self._others, self._threads):
            if thread is None or not thread.is_alive():
                self._close(other)

    def parts(self, rows: int) -> int:
        """Return into how many a query over so many rows is better split."""
        return self._sessions if rows > HELPED_ROWS and not self.engine.parallel_session_may_be_later else 1

    def should_join(self, rows: int) -> bool:
        """Whether queries over so few rows are better joined to one statement, for the sake of their round trips."""
        return rows <= HELPED_ROWS

    def begin(self) -> None:
        """Start the other sessions on the queries so far, while the first is busy with something else."""
        if self._threads or not self._is_worth_it or self._shared.empty():
            return
        self._open(min(self._sessions - 1, self._shared.qsize()))
        self._is_worth_it = bool(self._others)
        for other in self._others:
            other.connection.inc_thread_sharing()
            self._threads.append(threading.Thread(target=self._help, args=(other,), name="second session", daemon=True))
        for thread in self._threads:
            thread.start()

    def ask(
        self, run: Callable[[Engine], Answer], rows: int = 0, may_be_later: Callable[[Answer], bool] | None = None
    ) -> Future[Answer]:
        """Queue a query and return its future; the first answer that is needed runs all queries queued so far.

        The query over the most ``rows`` runs first, so that no session is left with it at the end.
        ``may_be_later(answer)``: whether an answer read from a later snapshot is acceptable; if it isn't, the first
        session runs the query again.
        """
        future = _Deferred[Answer](lambda _: self._run_all())
        is_shared = may_be_later is not None or not self.engine.parallel_session_may_be_later
        (self._shared if is_shared else self._own).put(_Query(-rows, next(self._numbers), run, may_be_later, future))
        return future

    def _run_all(self) -> None:
        if self._own.qsize() + self._shared.qsize() > 1:
            self.begin()
        self._run_queued(self.engine)
        if self._threads:
            for thread in self._threads:
                thread.join()
            self._threads.clear()
            self._run_queued(self.engine)

    def _open(self, count: int) -> None:
        """Open other sessions, until there are so many, or until one cannot be opened."""
        with contextlib.suppress(Error, MigratorError):
            while len(self._others) < count and (other := self.engine.open_parallel_session()) is not None:
                self._others.append(other)

    @staticmethod
    def _close(other: Engine) -> None:
        with contextlib.suppress(Error):
            other.close()

    def _run_queued(self, engine: Engine) -> None:
        while (query := self._next(engine)) is not None:
            try:
                answer = query.run(engine)
            except BaseException:  # queued again: the error is raised for this answer too, whenever it is needed
                (self._own if engine is self.engine else self._shared).put(query)
                raise
            if engine is self.engine or query.accepts(answer, is_later=self.engine.parallel_session_may_be_later):
                query.future.set_result(answer)
            else:
                self._own.put(query)

    def _next(self, engine: Engine) -> _Query[Any] | None:
        for queue in (self._own, self._shared) if engine is self.engine else (self._shared,):
            with contextlib.suppress(Empty):
                return queue.get_nowait()
        return None

    # -- in the thread of another session -------------------------------------------------------------------------

    def _help(self, other: Engine) -> None:
        with contextlib.suppress(Exception):
            self._run_queued(other)
        if self._is_over:  # __exit__ has not waited for this thread
            self._close(other)
        other.connection.dec_thread_sharing()
