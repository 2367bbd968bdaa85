"""MySQL and MariaDB: rows as lines of text, each made of its columns by CONCAT."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from django.conf import settings

from ...tables import Column, Kind, StoredColumn
from ..base.digests import local_times_agree
from ..base.lines import ESCAPES, Block, LineField, Lines, TextFormat, Unrendered, escaped
from ..base.session import FIRST_FETCH, Row, next_fetch, prepared
from .values import MySQLValues

FORMS: Mapping[Kind, TextFormat] = {
    Kind.INTEGER: TextFormat.INTEGER,
    Kind.BOOLEAN: TextFormat.BOOLEAN,
    Kind.FLOAT: TextFormat.FLOAT,
    Kind.DECIMAL: TextFormat.DECIMAL,
    Kind.TEXT: TextFormat.TEXT,
    Kind.JSON: TextFormat.JSON,
    Kind.BINARY: TextFormat.BINARY,
    Kind.DATE: TextFormat.DATE,
    Kind.TIME: TextFormat.TIME,
    Kind.DATETIME: TextFormat.DATETIME,
    Kind.DURATION: TextFormat.MICROSECONDS,
    Kind.UUID: TextFormat.UUID,
    Kind.ADDRESS: TextFormat.ADDRESS_TEXT,
}
NULL, TAB, NEWLINE, BINARY, MARK = b"\\N", b"\t", b"\n", b"\\\\x", b"\\h"
# In characters where a column has no more, else in bytes. No escaped field begins like the mark of longer ones.
LONGEST_REPLACED = 1000
AS_THEY_ARE = (TextFormat.INTEGER, TextFormat.DECIMAL, TextFormat.MICROSECONDS, TextFormat.DATE, TextFormat.DATETIME)
MARKED = re.compile(rb"\\h")
LONG = re.compile(rb"(?<![^\t\n])\\h([0-9A-F]*)")


class MySQLLines(Lines):
    """Lines by CONCAT, which is NULL where one of its parts is, or where it is more than the server may send."""

    def text_format(self, column: Column, stored: StoredColumn) -> TextFormat | None:
        if column.kind is Kind.DATETIME and not self._has_common_times():
            return None
        if column.kind is Kind.UUID and stored.type != "uuid" and self._writes_dashes(stored):
            return None
        return FORMS.get(column.kind)

    def _writes_dashes(self, stored: StoredColumn) -> bool:
        return MySQLValues(self.connection).has_dashes(stored)

    def _has_common_times(self) -> bool:
        return local_times_agree(self.connection, uses_time_zones=settings.USE_TZ)

    def field(self, form: TextFormat, column: Column, stored: StoredColumn) -> LineField | None:
        name = self.quote(column.name)
        text, doubt = self._text(form, name, stored), None
        if form is TextFormat.DATETIME and not self._has_common_times():
            return None
        if form is TextFormat.ADDRESS:
            doubt = f"({text}) IS NULL"
        if text is None:
            return None
        return LineField(
            f"CASE WHEN {name} IS NULL THEN {_literal(NULL)} ELSE {text} END" if stored.nullable else text, doubt
        )

    def _text(self, form: TextFormat, name: str, stored: StoredColumn) -> str | None:
        as_text = f"CAST({name} AS CHAR)"
        match form:
            case (
                TextFormat.INTEGER
                | TextFormat.DECIMAL
                | TextFormat.MICROSECONDS
                | TextFormat.DATE
                | TextFormat.DATETIME
            ):
                return name  # CONCAT makes the same text of it as CAST does, in less time
            case TextFormat.BOOLEAN:
                return f"CASE WHEN {name} IN (0, 1) THEN {as_text} END"
            case TextFormat.FLOAT:
                # Whoever reads numbers rightly makes the same of it, for the server does.
                return f"CASE WHEN {as_text} + 0e0 = {name} THEN {as_text} END"
            case TextFormat.TEXT | TextFormat.JSON | TextFormat.ADDRESS_TEXT:
                return _escaped(name, stored.max_length)
            case TextFormat.BINARY:
                return f"CONCAT({_literal(BINARY)}, HEX({name}))"
            case TextFormat.TIME:
                return f"CASE WHEN {name} BETWEEN '00:00:00' AND '23:59:59.999999' THEN {as_text} END"
            case TextFormat.SPAN:
                return _span(name)
            case TextFormat.UUID if stored.type == "uuid":
                return f"LOWER(HEX(CAST({name} AS BINARY(16))))"
            case TextFormat.UUID:
                digits = f"LOWER(REPLACE({as_text}, '-', ''))"
                return f"CASE WHEN LENGTH({digits}) = 32 AND UNHEX({digits}) IS NOT NULL THEN {digits} END"
            case TextFormat.ADDRESS:
                # Only IPv4: Python and the server do not write all others alike.
                known = f"CAST(INET_NTOA(INET_ATON({name})) AS BINARY) = CAST({name} AS BINARY)"
                return f"CASE WHEN {known} THEN {as_text} END"
        return None

    def selected(self, fields: Sequence[LineField]) -> str:
        parts = f", {_literal(TAB)}, ".join(field.sql for field in fields)
        return f"CAST(CONCAT({parts}, {_literal(NEWLINE)}) AS BINARY)"

    def read(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        from MySQLdb.cursors import SSCursor

        size = FIRST_FETCH
        with (
            self.connection.wrap_database_errors,
            contextlib.closing(self.connection.connection.cursor(SSCursor)) as cursor,
        ):
            cursor.execute(*prepared(sql, params))
            while rows := cursor.fetchmany(size):
                size = next_fetch(rows, size)
                yield _block(rows)


def _block(rows: Sequence[Row]) -> Block:
    try:
        block = b"".join([line for (line,) in rows])
    except TypeError:
        raise Unrendered from None
    if MARKED.search(block):
        block = LONG.sub(_unfolded, block)
    block.decode()  # the server lets some bytes pass that are no text
    return Block(len(rows), block)


def _unfolded(found: re.Match[bytes]) -> bytes:
    return escaped(bytes.fromhex(found[1].decode()))


def _escaped(name: str, longest: int | None) -> str:
    """Escape a text; one that may be long is given in hexadecimal digits behind a mark.

    The server moves all that follows for each character that it replaces, so a long text could take minutes.
    """
    text = f"CONVERT({name} USING utf8mb4)"
    short = f"{text} COLLATE utf8mb4_bin"  # with any other collation it goes from character to character
    for character, escape in ESCAPES:
        short = f"REPLACE({short}, {_literal(character)}, {_literal(escape)})"
    if longest is not None and longest <= LONGEST_REPLACED:
        return short
    folded = f"CONCAT({_literal(MARK)}, HEX({text}))"
    return f"CASE WHEN LENGTH({name}) > {LONGEST_REPLACED} THEN {folded} ELSE {short} END"


def _literal(data: bytes) -> str:
    """Write bytes in hexadecimal, which means the same whatever the session's sql_mode says of backslashes."""
    return f"x'{data.hex()}'"


def _span(name: str) -> str:
    day, second = 86_400_000_000, 1_000_000
    rest = f"MOD(MOD({name}, {day}) + {day}, {day})"
    days = f"({name} DIV {day} - (MOD({name}, {day}) < 0))"
    return f"CONCAT({days}, ' days ', {rest} DIV {second}, '.', LPAD({rest} MOD {second}, 6, '0'), ' seconds')"
