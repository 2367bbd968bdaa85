"""MySQL and MariaDB: its bulk load."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.db import DatabaseError

from ..base.engine import Engine
from ..base.loading import Target, Writer
from ..base.session import Row
from ..base.values import (
    Unstorable,
    microseconds,
)

STATEMENT_BYTES = 1024 * 1024


class InsertWriter(Writer):
    """Loads rows by INSERT statements of many rows, each as large as the server takes without effort."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._engine = engine
        names = ", ".join(engine.identifier(target.name) for target in targets)
        self._head = f"INSERT INTO {engine.identifier(table)} ({names}) VALUES\n".encode()
        self._placeholders = [target.placeholder for target in targets]
        self._packet = int(engine.fetch_value("SELECT @@max_allowed_packet"))
        self._most = min(STATEMENT_BYTES, self._packet // 2)

    def write(self, rows: Sequence[Row]) -> int:
        literal = self._engine.connection.connection.string_literal
        columns = [
            [render(value, literal) for value in column]
            if placeholder is None
            else [_wrapped(placeholder, render(value, literal)) for value in column]
            for placeholder, column in zip(self._placeholders, zip(*rows, strict=True), strict=True)
        ]
        sent = 0
        part: list[bytes] = []
        size = 0
        for values in map(b",".join, zip(*columns, strict=True)):
            if part and size + len(values) > self._most:
                sent += self._send(part)
                part, size = [], 0
            part.append(values)
            size += len(values) + 4
        return sent + self._send(part)

    def _send(self, part: list[bytes]) -> int:
        statement = self._head + b"(" + b"),\n(".join(part) + b")"
        if len(statement) >= self._packet:
            raise Unstorable(
                "row",
                f"its {len(statement):,} bytes are more than the server's max_allowed_packet of {self._packet:,}",
                "Raise max_allowed_packet on the server.",
            )
        connection = self._engine.connection
        with connection.wrap_database_errors, contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(statement)
            if connection.connection.warning_count():
                cursor.execute("SHOW WARNINGS")
                level, code, message = cursor.fetchone()
                raise Warned(code, f"{level}: {message}")
        return len(statement)


class Warned(DatabaseError):
    """A warning of the server, which changed a value: as good as an error here."""


def render(value: Any, literal: Callable[[bytes], bytes]) -> bytes:
    """Render a value as an SQL literal, by its class."""
    cls = type(value)
    if value is None:
        return b"NULL"
    if cls is str:
        return literal(value.encode())
    if cls is int:
        return b"%d" % value
    if cls is bool:
        return b"1" if value else b"0"
    if cls is float:
        if not math.isfinite(value):
            raise Unstorable("float", "neither NaN nor infinity can be stored", "Correct the value.")
        # With an exponent it is a floating-point literal; without one a decimal, in which -0.0 loses its sign.
        text = repr(value)
        return (text if "e" in text else text + "e0").encode()
    if cls is decimal.Decimal:
        return f"{value:f}".encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return b"_binary" + literal(bytes(value))
    if isinstance(value, uuid.UUID | datetime.date | datetime.time | datetime.datetime):
        return literal(str(value).encode())
    if isinstance(value, datetime.timedelta):
        return b"%d" % microseconds(value)
    raise Unstorable(cls.__name__, "the field gives a value that has no SQL literal", "Leave the field out.")


def _wrapped(placeholder: str, rendered: bytes) -> bytes:
    return placeholder.encode().replace(b"%s", rendered).replace(b"%%", b"%")
