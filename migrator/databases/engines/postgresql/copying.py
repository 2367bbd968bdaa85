"""PostgreSQL's COPY: its text format, and the two drivers' ways to send it."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from ...tables import Kind
from ..base.session import Row

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


def copy_in(connection: BaseDatabaseWrapper, statement: str, blocks: Iterable[bytes]) -> tuple[int, int]:
    """Run ``COPY … FROM STDIN`` with these blocks, and return the rows and bytes that went."""
    counted = _Counted(blocks)
    with connection.cursor() as cursor, connection.wrap_database_errors:
        if is_psycopg3:
            with cursor.cursor.copy(statement) as copy:
                for block in counted:
                    copy.write(block)
                    del block  # it may be large, and so may the next
        else:
            try:
                cursor.cursor.copy_expert(statement, counted)
            except Exception:
                # The driver puts an error of its own in the place of one that was raised by the blocks.
                if counted.error is not None:
                    raise counted.error from None
                raise
        return cursor.cursor.rowcount, counted.size


class _Counted:
    """Blocks, to be iterated over by one driver and read like a file by the other, and their size so far."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self.size = 0
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.size += len(block)
            yield block
            del block

    def read(self, size: int = -1) -> bytes:
        try:
            block = next(self._blocks, b"")
        except BaseException as error:
            self.error = error
            raise
        self.size += len(block)
        return block
