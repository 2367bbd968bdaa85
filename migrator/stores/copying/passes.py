"""A pass over the source: a share in this process, or one in each of several processes."""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from django.db import connections

from ...processes.prefetch import read_ahead
from ...processes.workers import Work, can_fork, run_side_by_side
from ..base import WHOLE, Share, Store
from .page_copier import Page, PageCopier, Prepared
from .records import CopyCounts, PassOptions

COLLECT_EVERY_PAGES = 50
Tick = Callable[[int], None]
Check = Callable[[], None]
S = TypeVar("S", bound=Store)
Opened = TypeVar("Opened", bound=Store, covariant=True)


class Endpoint(Protocol[Opened]):
    """The source or the destination of a copy, which every process and every thread opens for itself."""

    def open(self) -> Opened:
        """Open the store."""


@dataclass(frozen=True)
class CopyContext(ABC, Generic[S]):
    """A copy: its two endpoints, its options, and what differs between kinds of copies."""

    source: Endpoint[S]
    dest: Endpoint[S]
    options: Any

    @contextmanager
    def opened(self) -> Iterator[tuple[S, S]]:
        """Open source and destination, and check them."""
        with closing(self.source.open()) as source, closing(self.dest.open()) as dest:
            self.check(source, dest)
            yield source, dest

    @abstractmethod
    def check(self, source: S, dest: S) -> None:
        """Raise :exc:`migrator.errors.Refused` if the one cannot be copied to the other."""

    @abstractmethod
    def pages(self, source: S, share: Share) -> Iterator[Page]:
        """Yield the pages of a share, as far as the options want them."""

    @abstractmethod
    def copier(self, source: S, dest: S, counts: CopyCounts) -> AbstractContextManager[PageCopier]:
        """Return what copies pages and counts."""

    @abstractmethod
    def share(self, index: int) -> Share:
        """Return one of as many shares of the keys as there are jobs."""


def jobs_for(source: Store, options: PassOptions) -> int:
    """Return how many processes copy in parallel."""
    return options.jobs if can_fork() and source.can_share and options.limit is None else 1


def copy_once(context: CopyContext[S], source: S, dest: S, tick: Tick, check: Check) -> CopyCounts:
    """Copy all records once, in this process or a share in each of several; return the counts."""
    if jobs_for(source, context.options) == 1:
        return copy_share(context, source, dest, WHOLE, tick, check)

    def of_share(index: int) -> Work[CopyCounts]:
        def work(tick: Tick) -> CopyCounts:
            with context.opened() as (source, dest):
                return copy_share(context, source, dest, context.share(index), tick, lambda: None)

        return work

    total = CopyCounts()
    for counts in run_side_by_side([of_share(index) for index in range(context.options.jobs)], tick, check):
        total.add(counts)
    return total


def copy_share(context: CopyContext[S], source: S, dest: S, share: Share, tick: Tick, check: Check) -> CopyCounts:
    """Copy one share of the records once. One thread reads ahead, and one writes while the next page is converted."""
    counts = CopyCounts()
    rate = context.options.rate
    pace = Pace(rate / share.count if rate else None)
    with garbage_left_for_later(), ExitStack() as stack:
        copier = stack.enter_context(context.copier(source, dest, counts))
        pages = stack.enter_context(closing(_pages_of(context, source, share)))
        overlaps = copier.can_overlap and source.can_open_again and dest.can_open_again
        writer = stack.enter_context(closing(WriterThread(context, counts))) if overlaps else None
        for number, page in enumerate(pages):
            if writer:
                writer.write(copier.prepare(page))
            else:
                copier.copy(page)
            tick(len(page))
            pace.wait(len(page))
            check()
            if number % COLLECT_EVERY_PAGES == 0:
                gc.collect()
        if writer:
            writer.finish()
    counts.losses += dest.losses
    dest.losses.clear()
    return counts


def _pages_of(context: CopyContext[S], source: S, share: Share) -> Generator[Page]:
    """Read the pages of a share ahead, if the source can be opened once more for that."""

    def pages(opened: S) -> Generator[Page]:
        yield from context.pages(opened, share)

    def pages_of_another() -> Generator[Page]:
        with closing(context.source.open()) as opened:
            yield from pages(opened)

    return read_ahead(pages_of_another) if source.can_open_again else pages(source)


class WriterThread:
    """Writes prepared pages one after the other, over connections of its own, while the next one is converted.

    Reading and writing wait for different servers. What it counts is added at the end.
    """

    def __init__(self, context: CopyContext[Any], counts: CopyCounts) -> None:
        self._context, self._total = context, counts
        self._counts = CopyCounts()
        self._stack = ExitStack()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="migrator-writer")
        self._pending: Future[None] | None = None
        self._copier = self._pool.submit(self._open).result()

    def _open(self) -> PageCopier:
        self._stack.callback(connections.close_all)
        source, self._dest = self._stack.enter_context(self._context.opened())
        return self._stack.enter_context(self._context.copier(source, self._dest, self._counts))

    def write(self, page: Prepared) -> None:
        """Hand over a page, once the previous one is written; raise what writing the previous one raised."""
        self._wait()
        self._pending = self._pool.submit(self._copier.write, page)

    def finish(self) -> None:
        """Wait for the last page, and add what was counted."""
        self._wait()
        self._total.add(self._counts)
        self._total.losses += self._dest.losses

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Close the connections, in the thread that opened them."""
        self._pool.submit(self._stack.close).result()
        self._pool.shutdown()


class Pace:
    """Holds a pass to a number of records in a second."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._started = time.monotonic()
        self._count = 0

    def wait(self, count: int) -> None:
        """Sleep until ``count`` more records are due."""
        if self._rate:
            self._count += count
            time.sleep(max(self._started + self._count / self._rate - time.monotonic(), 0))


@contextmanager
def garbage_left_for_later() -> Iterator[None]:
    """Keep the garbage collector from searching each page: pages hold no cycles, and the search takes a fifth."""
    was_enabled = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
