"""PostgreSQL's ``COPY … TO STDOUT``: its rows in blocks, as each of the two drivers delivers them.

If the consumer stops early, the rest is read and discarded: the drivers would cancel the query instead, which would end
the source's snapshot.
"""

from __future__ import annotations

import contextlib
import queue
import select
import threading
from collections.abc import Generator
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from ..base.server_lines import Block

BLOCK_BYTES = 128 * 1024
# In milliseconds. Data that the TLS library has already read does not make the socket readable.
LONGEST_WAIT = 100


def copy_to(connection: BaseDatabaseWrapper, statement: str) -> Generator[Block]:
    """Run a ``COPY … TO STDOUT`` and yield its rows in blocks; the last block has their number.

    The generator has to be closed. It raises Django's database errors.
    """
    connection.ensure_connection()
    read = _read_psycopg3 if is_psycopg3 else _read_psycopg2
    with connection.wrap_database_errors, contextlib.closing(read(connection.connection, statement)) as blocks:
        yield from blocks


def _read_psycopg3(connection: Any, statement: str) -> Generator[Block]:
    rows = _Rows(connection.pgconn, statement)
    try:
        while not rows.are_complete:
            yield Block(0, rows.take())
    except BaseException:
        with contextlib.suppress(Exception):
            while not rows.are_complete:
                rows.take()
            rows.end()
        raise
    yield Block(rows.end(), b"")


class _Rows:
    """A query's rows, read from libpq one by one: the driver's own iteration takes more than twice as long."""

    def __init__(self, libpq: Any, statement: str) -> None:
        from psycopg.pq import ExecStatus

        self._libpq = libpq
        self._socket = select.poll()
        self._socket.register(libpq.socket, select.POLLIN)
        libpq.send_query(statement.encode())
        while libpq.flush():
            self._wait()
        self._expect(ExecStatus.COPY_OUT)
        self.are_complete = False

    def take(self) -> bytes:
        """Return the next rows, about a block of them."""
        parts: list[bytes] = []
        length = 0
        get, row = self._libpq.get_copy_data, None
        while length < BLOCK_BYTES and not self.are_complete:
            size, row = get(1)
            if size > 0:
                parts.append(bytes(row))
                length += size
            elif size == 0:
                self._wait()
            else:
                self.are_complete = True
        del row
        return _taken(parts)

    def end(self) -> int:
        """Return the number of rows, after the last."""
        from psycopg.pq import ExecStatus

        result = self._expect(ExecStatus.COMMAND_OK)
        self._result()  # checks that no other result follows
        return int(result.command_tuples)

    def _expect(self, status: int) -> Any:
        from psycopg.errors import error_from_result

        result = self._result()
        if result.status != status:
            self._result()
            raise error_from_result(result)
        return result

    def _result(self) -> Any:
        while self._libpq.is_busy():
            self._wait()
        return self._libpq.get_result()

    def _wait(self) -> None:
        """Wait until the server has sent something, or for :data:`LONGEST_WAIT`."""
        self._socket.poll(LONGEST_WAIT)
        self._libpq.consume_input()


class _Blocks:
    """The file that psycopg2 writes lines to: it passes on blocks, each after the one before was consumed.

    After the consumer has stopped, blocks are discarded.
    """

    def __init__(self) -> None:
        self._ready: queue.SimpleQueue[Block | None] = queue.SimpleQueue()
        self._consumed = threading.Semaphore(0)
        self._is_abandoned = False
        self._parts: list[bytes] = []
        self._length = 0

    def write(self, row: bytes) -> None:
        self._parts.append(row)
        self._length += len(row)
        if self._length >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        whole, self._length = _taken(self._parts), 0
        if whole and not self._is_abandoned:
            self._ready.put(Block(0, whole))
            del whole
            self._consumed.acquire()

    def end(self) -> None:
        """Mark the end of the blocks."""
        self._ready.put(None)

    def take(self) -> Generator[Block]:
        """Yield the blocks up to the end; if closed before, wait for the end."""
        try:
            while (block := self._ready.get()) is not None:
                yield block
                del block
                self._consumed.release()
        except BaseException:
            self._is_abandoned = True
            self._consumed.release()
            while self._ready.get() is not None:
                pass
            raise


def _read_psycopg2(connection: Any, statement: str) -> Generator[Block]:
    # psycopg2 only writes to a file, so it writes in a thread while this one consumes. An error in the file, or its end
    # before the last row, would end the query, and with it the source's snapshot.
    blocks = _Blocks()
    failures: list[BaseException] = []

    def fill() -> None:
        try:
            cursor.copy_expert(statement, blocks)
            blocks.flush()
        except BaseException as error:
            failures.append(error)
        finally:
            blocks.end()

    with connection.cursor() as cursor:
        thread = threading.Thread(target=fill, name="copy-to")
        thread.start()
        try:
            yield from blocks.take()
        finally:
            thread.join()
        if failures:
            raise failures[0]
        yield Block(cursor.rowcount, b"")


def _taken(parts: list[bytes]) -> bytes:
    """Join parts and release them: they may be large."""
    whole = b"".join(parts)
    parts.clear()
    return whole
