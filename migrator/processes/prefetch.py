"""Items read in a thread of their own, ahead of their use: while one waits for a server, the other can work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import Enum
from types import TracebackType
from typing import Generic, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

Range = TypeVar("Range")
Item = TypeVar("Item")


class _Marker(Enum):
    END = "the end of a range"


class Prefetch(Generic[Range, Item]):
    """Reads ranges in their order in a thread, until the items that wait reach ``limit`` in all, by their ``size``.

    ``read_range`` yields the items of one range. It runs in the thread, whose own database connections are closed when
    it ends. From the first :meth:`read` on, the session of ``connection`` belongs to the thread. It is free again after
    the last range, after an error, and after :meth:`stop`.
    """

    def __init__(
        self,
        read_range: Callable[[Range], Generator[Item]],
        ranges: Sequence[Range],
        *,
        size: Callable[[Item], int],
        limit: int,
        connection: BaseDatabaseWrapper | None = None,
    ) -> None:
        self._read_range, self._ranges = read_range, ranges
        self._size_of, self._limit, self._connection = size, limit, connection
        self._next: int | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._waiting: deque[Item | _Marker | BaseException] = deque()
        self._size = 0
        self._is_stopped = False

    def __enter__(self) -> Prefetch[Range, Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def read(self, wanted: Range) -> Generator[Item]:
        """Yield the items of one of the ranges; raise what reading them raised. The generator has to be closed.

        After any other range than the next one, reading restarts at that range.
        """
        number = self._next
        if number is None or self._ranges[number] != wanted:
            self.stop()
            number = self._ranges.index(wanted)
            self._start(number)
        with self.stopped_on_error():
            while (item := self._take()) is not _Marker.END:
                if isinstance(item, BaseException):
                    raise item
                yield item
                del item  # it may be large, and so may the next
        self._next = number + 1
        if self._next == len(self._ranges):
            self.stop()

    @contextmanager
    def stopped_on_error(self) -> Iterator[None]:
        """Free the session before an error leaves the block."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop reading, and wait until the thread has ended and the session is free."""
        if self._thread is None:
            return
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join()
        self._thread = self._next = None
        self._waiting.clear()
        self._size, self._is_stopped = 0, False
        if self._connection is not None:
            self._connection.dec_thread_sharing()

    def _start(self, number: int) -> None:
        if self._connection is not None:
            self._connection.inc_thread_sharing()
        self._thread = threading.Thread(target=self._fill, args=(number,), name="prefetch", daemon=True)
        self._thread.start()

    def _take(self) -> Item | _Marker | BaseException:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            item = self._waiting.popleft()
            self._size -= self._size_in_queue(item)
            self._changed.notify_all()
        return item

    def _size_in_queue(self, item: Item | _Marker | BaseException) -> int:
        return 0 if isinstance(item, _Marker | BaseException) else self._size_of(item)

    # -- in the thread ------------------------------------------------------------------------------------------

    def _fill(self, number: int) -> None:
        try:
            try:
                self._put_ranges(self._ranges[number:])
            finally:
                connections.close_all()  # of this thread
        except BaseException as error:
            self._put(error)

    def _put_ranges(self, ranges: Sequence[Range]) -> None:
        for one in ranges:
            with closing(self._read_range(one)) as items:
                for item in items:
                    self._put(item)
                    del item
                    if self._is_stopped:
                        return
            self._put(_Marker.END)

    def _put(self, item: Item | _Marker | BaseException) -> None:
        """Queue an item; return when there is room for another."""
        size = self._size_in_queue(item)
        with self._changed:
            self._waiting.append(item)
            del item
            self._size += size
            self._changed.notify_all()
            while self._size >= self._limit and not self._is_stopped:
                self._changed.wait()


def read_ahead(pages: Callable[[], Generator[Item]]) -> Generator[Item]:
    """Yield what ``pages`` yields in another thread, one page ahead; there it opens connections of its own."""
    with Prefetch(lambda _: pages(), [None], size=lambda page: 1, limit=1) as prefetch:
        yield from prefetch.read(None)
