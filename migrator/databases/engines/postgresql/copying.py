"""PostgreSQL's COPY: its text format, and the two drivers' ways to send and receive it."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import io
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, BinaryIO

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from ...tables import Kind
from ..base.session import Row

BLOCK_BYTES = 1024 * 1024
NULL = "\\N"

Render = Callable[[Any], str]


class Unrenderable(TypeError):
    """A value whose class only the driver's own adaptation knows; such rows go by INSERT."""


def escape(text: str) -> str:
    """Escape a text as COPY's text format asks (PostgreSQL manual, COPY, "Text Format")."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text:
        text = text.replace("\n", "\\n")
    if "\r" in text:
        text = text.replace("\r", "\\r")
    if "\t" in text:
        text = text.replace("\t", "\\t")
    return text


def _interval(value: datetime.timedelta) -> str:
    return f"{value.days} days {value.seconds}.{value.microseconds:06d} seconds"


def _bytea(value: bytes | memoryview) -> str:
    return "\\\\x" + value.hex()


def _datetime(value: datetime.datetime) -> str:
    return value.isoformat(" ")


RENDERERS: Mapping[Kind, Render] = {
    Kind.INTEGER: str,
    Kind.BOOLEAN: {True: "t", False: "f"}.__getitem__,
    Kind.FLOAT: repr,
    Kind.DECIMAL: str,
    Kind.TEXT: escape,
    Kind.JSON: escape,
    Kind.ADDRESS: escape,
    Kind.BINARY: _bytea,
    Kind.DATE: datetime.date.isoformat,
    Kind.TIME: datetime.time.isoformat,
    Kind.DATETIME: _datetime,
    Kind.DURATION: _interval,
    Kind.UUID: str,
}

BY_CLASS: Mapping[type, Render] = {
    bool: RENDERERS[Kind.BOOLEAN],
    int: str,
    float: repr,
    decimal.Decimal: str,
    str: escape,
    bytes: _bytea,
    memoryview: _bytea,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.datetime: _datetime,
    datetime.timedelta: _interval,
    uuid.UUID: str,
}


def render_any(value: Any) -> str:
    """Render a value that a field prepared, by its class.

    Raises :exc:`Unrenderable` for a class that is none of the plain ones.
    """
    for cls in type(value).__mro__:
        if cls in BY_CLASS:
            return BY_CLASS[cls](value)
    raise Unrenderable(type(value).__name__)


def render_rows(rows: Sequence[Row], renderers: Sequence[Render]) -> bytes:
    """Render rows as lines of COPY's text format, column by column."""
    columns = [
        [NULL if value is None else render(value) for value in column]
        for render, column in zip(renderers, zip(*rows, strict=True), strict=True)
    ]
    lines = map("\t".join, zip(*columns, strict=True)) if columns else repeat("", len(rows))
    return ("\n".join(lines) + "\n").encode()


def copy_in(connection: BaseDatabaseWrapper, statement: str, data: bytes) -> None:
    """Run ``COPY … FROM STDIN`` with these bytes."""
    with connection.cursor() as cursor, connection.wrap_database_errors:
        if is_psycopg3:
            with cursor.cursor.copy(statement) as copy:
                copy.write(data)
        else:
            cursor.cursor.copy_expert(statement, io.BytesIO(data), BLOCK_BYTES)


def pipe(
    source: BaseDatabaseWrapper,
    select: str,
    params: Sequence[Any] | None,
    dest: BaseDatabaseWrapper,
    statement: str,
) -> tuple[int, int]:
    """Send ``COPY (select) TO STDOUT`` of one connection into ``COPY … FROM STDIN`` of another, unseen.

    Returns the rows and bytes that went.
    """
    with source.cursor() as reader, dest.cursor() as writer:
        query = reader.cursor.mogrify(select, params)
        query = query.decode() if isinstance(query, bytes) else query
        copy_out = f"COPY ({query}) TO STDOUT"
        size = (_pipe_psycopg3 if is_psycopg3 else _pipe_psycopg2)(source, reader, copy_out, dest, writer, statement)
        return writer.cursor.rowcount, size


def _pipe_psycopg3(
    source: BaseDatabaseWrapper, reader: Any, copy_out: str, dest: BaseDatabaseWrapper, writer: Any, copy_in: str
) -> int:
    size = 0
    with source.wrap_database_errors, reader.cursor.copy(copy_out) as blocks:
        try:
            with dest.wrap_database_errors, writer.cursor.copy(copy_in) as sink:
                for block in _joined(blocks):
                    size += len(block)
                    sink.write(block)
        except BaseException:
            # Read to the end: the driver would cancel the query, and that would end the source's snapshot.
            for _ in blocks:
                pass
            raise
    return size


def _joined(blocks: Any) -> Iterator[bytes]:
    """Join the driver's one block a row into larger ones, to save a call each."""
    parts: list[bytes] = []
    length = 0
    for block in blocks:
        parts.append(bytes(block))
        length += len(block)
        if length >= BLOCK_BYTES:
            yield b"".join(parts)
            parts, length = [], 0
    if parts:
        yield b"".join(parts)


class _Sink:
    """The writing end of a pipe. When nobody reads any more it takes the rest and drops it.

    An error here would end the query, and with it the source's snapshot; the reading side's own error is raised.
    """

    def __init__(self, descriptor: int) -> None:
        self._file: BinaryIO | None = os.fdopen(descriptor, "wb", BLOCK_BYTES)

    def write(self, data: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(data)
        except BrokenPipeError:
            self.close()

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with contextlib.suppress(BrokenPipeError):
                file.close()


class _Measured:
    """The reading end of a pipe, counting what goes through."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.size += len(data)
        return data


def _pipe_psycopg2(
    source: BaseDatabaseWrapper, reader: Any, copy_out: str, dest: BaseDatabaseWrapper, writer: Any, copy_in: str
) -> int:
    # psycopg2 only reads from and writes to files, so a thread fills a pipe while this one empties it.
    read_end, write_end = os.pipe()
    failures: list[BaseException] = []

    def fill() -> None:
        try:
            with contextlib.closing(_Sink(write_end)) as sink, source.wrap_database_errors:
                reader.cursor.copy_expert(copy_out, sink)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=fill, name="copy-out")
    with os.fdopen(read_end, "rb", BLOCK_BYTES) as file:
        measured = _Measured(file)
        thread.start()
        try:
            with dest.wrap_database_errors:
                writer.cursor.copy_expert(copy_in, measured, BLOCK_BYTES)
        finally:
            file.close()
            thread.join()
    if failures:
        raise failures[0]
    return measured.size
