"""PostgreSQL: its bulk load by ``COPY … FROM STDIN``, which both drivers send in their own way."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from ...tables import Kind
from ..base.engine import Engine
from ..base.loading import Target, TextWriter, Writer
from ..base.python_lines import Render, escape, hexadecimal, render_rows
from ..base.session import Row

# Parameters of one INSERT: the protocol counts them in 16 bits (PostgreSQL manual, "Message Formats", Bind).
MOST_PARAMETERS = 60_000
MOST_INSERTED_ROWS = 500


class Unrenderable(TypeError):
    """A value whose class only the driver's own adaptation knows; such rows go by INSERT."""


def _interval(value: datetime.timedelta) -> str:
    return f"{value.days} days {value.seconds}.{value.microseconds:06d} seconds"


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
    Kind.BINARY: hexadecimal,
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
    bytes: hexadecimal,
    memoryview: hexadecimal,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.datetime: _datetime,
    datetime.timedelta: _interval,
    uuid.UUID: str,
}


def _render_any(value: Any) -> str:
    """Render a value that a field prepared, by its class.

    Raises :exc:`Unrenderable` for a class that isn't one of the plain ones.
    """
    for cls in type(value).__mro__:
        if cls in BY_CLASS:
            return BY_CLASS[cls](value)
    raise Unrenderable(type(value).__name__)


class CopyWriter(Writer):
    """Loads rows by COPY; by INSERT if a field wraps its parameter in SQL or the driver must adapt a value."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._engine = engine
        self._copy = _copy_statement(engine, table, targets)
        self._renderers = [RENDERERS.get(target.kind, _render_any) for target in targets]
        names = ", ".join(engine.quote(target.name) for target in targets)
        self._insert = f"INSERT INTO {engine.quote(table)} ({names}) OVERRIDING SYSTEM VALUE VALUES "
        self._values = f"({', '.join(target.placeholder or '%s' for target in targets)})"
        self._must_insert = any(target.placeholder for target in targets)

    def write(self, rows: Sequence[Row]) -> int:
        if not self._must_insert:
            try:
                data = render_rows(rows, self._renderers)
            except Unrenderable:
                return self._write_by_insert(rows)
            return _copy_from(self._engine.connection, self._copy, [data])[1]
        return self._write_by_insert(rows)

    def _write_by_insert(self, rows: Sequence[Row]) -> int:
        page = max(1, min(MOST_INSERTED_ROWS, MOST_PARAMETERS // len(rows[0])))
        for start in range(0, len(rows), page):
            part = rows[start : start + page]
            values = ", ".join([self._values] * len(part))
            self._engine.execute(self._insert + values, [value for row in part for value in row])
        return sum(len(str(value)) for row in rows for value in row)


class CopyTextWriter(TextWriter):
    """Loads lines, or rows in the binary form, by one COPY."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target], form: str = "TEXT") -> None:
        self._engine = engine
        self._copy = f"{_copy_statement(engine, table, targets)} (FORMAT {form})"

    def write(self, lines: Iterable[bytes]) -> tuple[int, int]:
        return _copy_from(self._engine.connection, self._copy, lines)


def _copy_statement(engine: Engine, table: str, targets: Sequence[Target]) -> str:
    """Build the COPY that loads a table; it takes no parameters, so ``%`` isn't doubled in it."""
    names = ", ".join(engine.identifiers(target.name for target in targets))
    return f"COPY {engine.identifier(table)} ({names}) FROM STDIN"


def _copy_from(connection: BaseDatabaseWrapper, statement: str, blocks: Iterable[bytes]) -> tuple[int, int]:
    """Run ``COPY … FROM STDIN`` with these blocks; return the rows and bytes that were sent."""
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
                # psycopg2 replaces an error that the blocks raise by one of its own.
                if counted.error is not None:
                    raise counted.error from None
                raise
        return cursor.cursor.rowcount, counted.size


class _Counted:
    """Blocks that psycopg iterates over and psycopg2 reads like a file, and their size so far."""

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
