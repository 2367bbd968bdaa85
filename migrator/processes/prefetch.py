"""Pages read in a thread of their own, one page ahead: to read waits for a server, and to convert does not."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

Page = TypeVar("Page")


def read_ahead(pages: Callable[[], Generator[Page]]) -> Generator[Page]:
    """Yield what ``pages`` yields in another thread, where it opens connections of its own."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="migrator-reader") as pool:
        reading = pages()
        try:
            pending: Future[Page | None] = pool.submit(next, reading, None)
            while (page := pending.result()) is not None:
                pending = pool.submit(next, reading, None)
                yield page
        finally:
            pool.submit(_end, reading).result()


def _end(reading: Generator[Page]) -> None:
    reading.close()
    connections.close_all()
