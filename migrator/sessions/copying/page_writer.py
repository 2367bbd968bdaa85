"""A thread that writes a page while the next one is read and converted: the two wait for different servers."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing

from django.db import connections

from ..places import open_end
from ..records import CopyOptions, End, SessionCounts
from .page_copier import Prepared, SessionPageCopier
from .preflight import check_places


class WriterThread:
    """Writes prepared pages one after the other, with connections of its own; what it counts is added at the end."""

    def __init__(self, ends: tuple[End, End], options: CopyOptions, tally: SessionCounts) -> None:
        self._ends, self._options, self._total = ends, options, tally
        self._tally = SessionCounts()
        self._stack = ExitStack()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="migrator-writer")
        self._pending: Future[None] | None = None
        self._copier = self._pool.submit(self._open).result()

    def _open(self) -> SessionPageCopier:
        self._stack.callback(connections.close_all)
        source, self._dest = (self._stack.enter_context(closing(open_end(end, self._options))) for end in self._ends)
        check_places(source, self._dest)
        return SessionPageCopier(
            source=source,
            dest=self._dest,
            options=self._options,
            tally=self._tally,
            manifest=None,
            dest_is_empty=True,
        )

    def write(self, page: Prepared) -> None:
        """Hand over a page, once the one before is written; raise what writing that one raised."""
        self._wait()
        self._pending = self._pool.submit(self._copier.write, page)

    def finish(self) -> None:
        """Wait for the last page, and add what was counted."""
        self._wait()
        self._total.add(self._tally)
        self._total.losses += self._dest.losses

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Close the connections, in the thread that opened them."""
        self._pool.submit(self._stack.close).result()
        self._pool.shutdown()
