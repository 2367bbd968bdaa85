"""PostgreSQL: rows read in batches, by a cursor or while the server is still running the query."""

from __future__ import annotations

import contextlib
from abc import ABC
from collections.abc import Generator, Sequence
from itertools import islice
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from ..base.reading import Reading
from ..base.session import LARGEST_FETCH, Row, batches, next_fetch, prepared
from .catalogue import PostgreSQLCatalogue

# On average. Such rows are read many at once from the first batch on; larger ones may be stored compressed.
NARROW_BYTES = 500


class Batches(Reading, ABC):
    """Reads rows in batches; the size of a table's rows, once known, chooses how many."""

    catalogue: PostgreSQLCatalogue

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._fitting: dict[str, int] = {}  # rows of a table in a batch, as far as they are known

    def stream(self, sql: str, params: Sequence[Any]) -> Generator[list[Row]]:
        with contextlib.closing(self.connection.chunked_cursor()) as cursor:
            yield from batches(cursor, sql, params)

    def stream_table(self, table: str, sql: str, params: Sequence[Any]) -> Generator[list[Row]]:
        known = self._known_fitting(table) if _can_stream_batches() else None
        found = self.stream(sql, params) if known is None else self._stream_batches(sql, params, known)
        fitting = known or LARGEST_FETCH
        with contextlib.closing(found):
            for rows in found:
                fitting = min(fitting, next_fetch(rows, LARGEST_FETCH))
                yield rows
        self._fitting[table] = fitting

    def _known_fitting(self, table: str) -> int | None:
        """Return how many rows of a table fit in a batch; ``None`` if only reading them will show that."""
        if table not in self._fitting:
            size = self.catalogue.row_size(table)
            if size is not None and size <= NARROW_BYTES:
                self._fitting[table] = LARGEST_FETCH
        return self._fitting.get(table)

    def _stream_batches(self, sql: str, params: Sequence[Any], size: int) -> Generator[list[Row]]:
        """Let the server continue a query while its rows are processed; a cursor would wait for the next FETCH."""
        with self.connection.cursor() as cursor, self.connection.wrap_database_errors:
            found = cursor.cursor.stream(*prepared(sql, params), size=size)
            try:
                while rows := list(islice(found, size)):
                    yield rows
            finally:
                # Closing it early would cancel the query, which would end the snapshot.
                for _ in found:
                    pass


def _can_stream_batches() -> bool:
    """Whether the driver returns the rows of a running query in chunks: psycopg 3.2 with libpq 17 does.

    See psycopg's documentation, ``Cursor.stream()``, and libpq's, "Chunked Rows Mode".
    """
    if not is_psycopg3:
        return False
    try:
        from psycopg import Capabilities
    except ImportError:  # psycopg 3.1
        return False
    return Capabilities().has_stream_chunked()
