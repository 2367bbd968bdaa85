"""The source read ahead of who writes: a thread reads the next lines, of the next chunk too, while these are loaded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import Enum
from types import TracebackType

from ..chunks import Bounds
from ..engines.base.lines import Block
from ..planning.route import Route

AHEAD_BYTES = 4 * 1024 * 1024


class _Mark(Enum):
    END = "the end of a range"


class Prefetch:
    """Reads ranges of a table as lines, in their order.

    From the first :meth:`read` on the source's session is the thread's; :meth:`stop` gives it back, and so does the end
    of the last range.
    """

    def __init__(self, route: Route, ranges: Sequence[Bounds]) -> None:
        self._route, self._ranges = route, ranges
        self._next: int | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._waiting: deque[Block | _Mark | BaseException] = deque()
        self._size = 0
        self._is_stopped = False

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def read(self, bounds: Bounds) -> Generator[Block]:
        """Give the lines of one of the ranges, as :meth:`Route.lines` does; it has to be closed.

        A range other than the next one is begun anew, and those that follow it after that.
        """
        number = self._ranges.index(bounds)
        if number != self._next:
            self.stop()
            self._start(number)
        with self.stopped_on_error():
            while (item := self._take()) is not _Mark.END:
                if isinstance(item, BaseException):
                    raise item
                yield item
                del item  # it may be large, and so may the next
        self._next = number + 1
        if self._next == len(self._ranges):
            self.stop()

    @contextmanager
    def stopped_on_error(self) -> Iterator[None]:
        """Give the source's session back before an error goes on."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the reading, and wait until the source's session is free."""
        if self._thread is None:
            return
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join()
        self._thread = self._next = None
        self._waiting.clear()
        self._size, self._is_stopped = 0, False
        self._route.source.connection.dec_thread_sharing()

    def _start(self, number: int) -> None:
        self._route.source.connection.inc_thread_sharing()
        self._thread = threading.Thread(target=self._fill, args=(number,), name="read-ahead", daemon=True)
        self._thread.start()

    def _take(self) -> Block | _Mark | BaseException:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            item = self._waiting.popleft()
            self._size -= _size(item)
            self._changed.notify_all()
        return item

    # -- in the thread ------------------------------------------------------------------------------------------

    def _fill(self, number: int) -> None:
        try:
            for bounds in self._ranges[number:]:
                with closing(self._route.lines(bounds)) as blocks:
                    for block in blocks:
                        self._put(block)
                        del block
                        if self._is_stopped:
                            return
                self._put(_Mark.END)
        except BaseException as error:
            self._put(error)

    def _put(self, item: Block | _Mark | BaseException) -> None:
        """Hand an item over; return when there is room for another."""
        size = _size(item)
        with self._changed:
            self._waiting.append(item)
            del item
            self._size += size
            self._changed.notify_all()
            while self._size >= AHEAD_BYTES and not self._is_stopped:
                self._changed.wait()


def _size(item: Block | _Mark | BaseException) -> int:
    return len(item.data) if isinstance(item, Block) else 0
