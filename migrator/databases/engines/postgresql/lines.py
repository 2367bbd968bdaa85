"""PostgreSQL: rows as lines of text, which COPY renders and escapes."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from ...tables import Column, Kind, StoredColumn
from ..base.lines import Block, Form, LineField, Lines
from ..base.session import prepared

BLOCK_BYTES = 128 * 1024

FORMS: Mapping[Kind, Form] = {
    Kind.INTEGER: Form.INTEGER,
    Kind.BOOLEAN: Form.BOOLEAN,
    Kind.FLOAT: Form.FLOAT,
    Kind.DECIMAL: Form.DECIMAL,
    Kind.TEXT: Form.TEXT,
    Kind.JSON: Form.JSON,
    Kind.BINARY: Form.BINARY,
    Kind.DATE: Form.DATE,
    Kind.TIME: Form.TIME,
    Kind.DURATION: Form.SPAN,
    Kind.UUID: Form.UUID,
    Kind.ADDRESS: Form.ADDRESS,
}
# The text of such a column is in the form already.
AS_THEY_ARE = (
    Form.INTEGER, Form.FLOAT, Form.DECIMAL, Form.TEXT, Form.JSON, Form.BINARY, Form.DATE, Form.TIME, Form.STORED,
)  # fmt: skip

# COPY writes three control characters as escapes that not every reader knows.
UNCOMMON = re.compile(rb"\\[bfv]")
ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
UNESCAPED = {b"b": b"\b", b"f": b"\f", b"v": b"\v"}


class PostgreSQLLines(Lines):
    """Lines by ``COPY … TO STDOUT`` and ``COPY … FROM STDIN``."""

    def form(self, column: Column, stored: StoredColumn) -> Form | None:
        if column.kind is Kind.DATETIME:
            # Without an offset a text is taken for the session's local time.
            return Form.DATETIME if self.connection.timezone_name == "UTC" else None
        return FORMS.get(column.kind)

    def field(self, form: Form, column: Column, stored: StoredColumn) -> LineField | None:
        name = self.quote(column.name)
        if form in AS_THEY_ARE:
            return LineField(name)
        match form:
            case Form.BOOLEAN:
                return LineField(f"{name}::int")
            case Form.DATETIME if not settings.USE_TZ:
                return LineField(f"{name}::timestamp")
            case Form.DATETIME if self.connection.timezone_name == "UTC":
                return LineField(f"{name} AT TIME ZONE 'UTC'")
            case Form.MICROSECONDS:
                return LineField(f"round(extract(epoch from {name}) * 1000000)")
            case Form.UUID:
                return LineField(f"replace({name}::text, '-', '')")
            case Form.ADDRESS | Form.ADDRESS_TEXT:
                # Python writes IPv6 addresses that end like IPv4 ones otherwise.
                return LineField(f"host({name})", f"host({name}) LIKE '%%:%%.%%'")
        return None

    def selected(self, fields: Sequence[str]) -> str:
        return ", ".join(fields)

    def read(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        with contextlib.closing(self._read(sql, params, "TEXT")) as blocks:
            yield from map(_with_common_escapes, blocks)

    def read_binary(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        return self._read(sql, params, "BINARY")

    def _read(self, sql: str, params: Sequence[Any], form: str) -> Generator[Block]:
        with self.connection.cursor() as cursor, self.connection.wrap_database_errors:
            statement = f"COPY ({self._with_params(*prepared(sql, params))}) TO STDOUT (FORMAT {form})"
            read = _read_psycopg3 if is_psycopg3 else _read_psycopg2
            with contextlib.closing(read(cursor, statement)) as blocks:
                yield from map(partial(Block, 0), blocks)
            yield Block(cursor.cursor.rowcount, b"")  # only the server's own number is sure in any form

    def _with_params(self, sql: str, params: Sequence[Any] | None) -> str:
        """Write the parameters into a statement, for COPY takes none."""
        if params is None:
            return sql
        with self.connection.cursor() as cursor:
            if is_psycopg3:
                from psycopg import ClientCursor

                return ClientCursor(self.connection.connection).mogrify(sql, params)
            query: bytes = cursor.cursor.mogrify(sql, params)
            return query.decode()


def _with_common_escapes(block: Block) -> Block:
    if UNCOMMON.search(block.data):  # 20 times as fast as three searches by ``in``
        return Block(block.rows, ESCAPE.sub(lambda found: UNESCAPED.get(found[1], found[0]), block.data))
    return block


def _read_psycopg3(cursor: Any, statement: str) -> Generator[bytes]:
    parts: list[bytes] = []
    length = 0
    with cursor.cursor.copy(statement) as rows:
        try:
            for row in rows:
                parts.append(bytes(row))
                length += len(row)
                if length >= BLOCK_BYTES:
                    del row
                    yield _taken(parts)
                    length = 0
            if parts:
                yield _taken(parts)
        except BaseException:
            # Read to the end: the driver would cancel the query, and that would end the source's snapshot.
            with contextlib.suppress(Exception):
                for _ in rows:
                    pass
            raise


def _taken(parts: list[bytes]) -> bytes:
    """Join parts, of which nothing else is kept: they may be large."""
    whole = b"".join(parts)
    parts.clear()
    return whole


class _Blocks:
    """What psycopg2 writes its lines to: blocks, each given once the one before is done with.

    They are dropped when nobody takes them any more.
    """

    def __init__(self) -> None:
        self._given: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._done_with = threading.Semaphore(0)
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
            self._given.put(whole)
            del whole
            self._done_with.acquire()

    def end(self) -> None:
        """Tell whoever takes the blocks that there are no more."""
        self._given.put(None)

    def take(self) -> Generator[bytes]:
        """Give the blocks up to the end; one that is closed before waits for it."""
        try:
            while (block := self._given.get()) is not None:
                yield block
                del block
                self._done_with.release()
        except BaseException:
            self._is_abandoned = True
            self._done_with.release()
            while self._given.get() is not None:
                pass
            raise


def _read_psycopg2(cursor: Any, statement: str) -> Generator[bytes]:
    # psycopg2 only writes to a file, so a thread lets it write what this one takes. An error in the file, or an end
    # before the last row, would end the query, and with it the source's snapshot.
    blocks = _Blocks()
    failures: list[BaseException] = []

    def fill() -> None:
        try:
            cursor.cursor.copy_expert(statement, blocks)
            blocks.flush()
        except BaseException as error:
            failures.append(error)
        finally:
            blocks.end()

    thread = threading.Thread(target=fill, name="copy-out")
    thread.start()
    try:
        yield from blocks.take()
    finally:
        thread.join()
    if failures:
        raise failures[0]
