"""MySQL and MariaDB: the bulk load by INSERT."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from ...tables import Kind
from ..base.engine import Engine
from ..base.loading import Target, TextWriter, Writer
from ..base.session import Row
from ..base.values import (
    Unstorable,
    microseconds,
)
from .errors import Warned

STATEMENT_BYTES = 1024 * 1024
# A row of literals is at most so many times longer than its line.
MOST_GROWTH = 8


class Inserts:
    """INSERT statements of many rows for one table."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._engine, self._connection = engine, engine.connection
        names = ", ".join(engine.identifier(target.name) for target in targets)
        self._head = f"INSERT INTO {engine.identifier(table)} ({names}) VALUES\n".encode()

    @cached_property
    def packet(self) -> int:
        """The largest statement that the server accepts, in bytes."""
        return int(self._engine.fetch_value("SELECT @@max_allowed_packet"))

    def send(self, *rows: bytes) -> tuple[int, int]:
        """Insert rows that are written as SQL, in pieces; return how many rows were inserted, and their size."""
        statement = b"".join((self._head, *rows))  # joined at once: a row may be large
        if len(statement) >= self.packet:
            raise Unstorable(
                "row",
                f"its {len(statement):,} bytes are more than the server's max_allowed_packet of {self.packet:,}",
                "Raise max_allowed_packet on the server.",
            )
        driver: Any = self._connection.connection
        with self._connection.wrap_database_errors, contextlib.closing(driver.cursor()) as cursor:
            taken: int = cursor.execute(statement)
            if driver.warning_count():
                cursor.execute("SHOW WARNINGS")
                level, code, message = cursor.fetchone()
                raise Warned(code, f"{level}: {message}")
        return taken, len(statement)


class InsertWriter(Writer):
    """Inserts rows of Python values."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._engine = engine
        self._inserts = Inserts(engine, table, targets)
        self._placeholders = [target.placeholder for target in targets]
        self._most = min(STATEMENT_BYTES, self._inserts.packet // 2)

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
        return self._inserts.send(b"(", b"),\n(".join(part), b")")[1]


class LineInserter(TextWriter):
    """Inserts lines, whose fields become string literals: the server also reads a number from its text."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._inserts = Inserts(engine, table, targets)
        self._most = min(STATEMENT_BYTES, self._inserts.packet // MOST_GROWTH)

    @staticmethod
    def takes(targets: Sequence[Target]) -> bool:
        """Whether every column's field, put between quotes, is a literal of its value."""
        return all(target.kind is not Kind.BINARY and target.placeholder is None for target in targets)

    def write(self, lines: Iterable[bytes]) -> tuple[int, int]:
        rows = size = 0
        for text in _whole_lines(lines, self._most):
            literals = _as_literals(text)
            del text  # it may be large
            taken, sent = self._inserts.send(literals)
            rows += taken
            size += sent
        return rows, size


def _whole_lines(blocks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Cut blocks between lines, into pieces of at most so many bytes, unless a single line is longer."""
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size < most:
            continue
        text, start = b"".join(parts), 0
        parts.clear()
        while len(text) - start >= most:
            end = text.rfind(b"\n", start, start + most) + 1 or text.find(b"\n", start + most) + 1
            if not end:
                break
            yield text[start:end]
            start = end
        size = len(text) - start
        if size:  # join() copies a large part if there is another, even an empty one
            parts.append(text[start:])
    if size:
        yield b"".join(parts)


def _as_literals(lines: bytes) -> bytes:
    """Write lines as rows of literals, with the same escapes; ``\\N`` after an opening quote is NULL.

    A text that begins with a backslash has two of them there.
    """
    if not lines.endswith(b"\n"):
        raise ValueError("the last line has no end")
    fields = lines.removesuffix(b"\n").replace(b"'", b"\\'").replace(b"\t", b"','").replace(b"\n", b"'),\n('")
    return (b"('%s')" % fields).replace(b"'\\N'", b"NULL")


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
    reason = f"its field returns a value of the class {cls.__name__}, which has no SQL literal"
    raise Unstorable(cls.__name__, reason, "Exclude its model with --exclude.")


def _wrapped(placeholder: str, rendered: bytes) -> bytes:
    return placeholder.encode().replace(b"%s", rendered).replace(b"%%", b"%")
