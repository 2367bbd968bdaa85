"""MySQL and MariaDB: rows as lines of text, each built of its columns by CONCAT."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from ...tables import Column, Kind, StoredColumn
from ..base.digests import local_times_agree
from ..base.server_lines import FORMATS, Block, LineField, Lines, TextFormat, Unrendered, escaped
from ..base.session import Row, batches
from .text_forms import literal, text_forms
from .values import MySQLValues

ACCEPTED: Mapping[Kind, TextFormat] = {
    **FORMATS,
    Kind.DURATION: TextFormat.MICROSECONDS,
    Kind.ADDRESS: TextFormat.ADDRESS_TEXT,
}
NULL, TAB, NEWLINE = b"\\N", b"\t", b"\n"
# The mark of a long text, text_forms.LONG: anywhere, and at the beginning of a field.
MARKED = re.compile(rb"\\h")
LONG_FIELD = re.compile(rb"(?<![^\t\n])\\h([0-9A-F]*)")


class MySQLLines(Lines):
    """Lines by CONCAT, which is NULL if one of its parts is, or if it exceeds ``max_allowed_packet``."""

    def text_format(self, column: Column, stored: StoredColumn) -> TextFormat | None:
        if column.kind is Kind.DATETIME and not local_times_agree(self.connection, uses_time_zones=settings.USE_TZ):
            return None
        if column.kind is Kind.UUID and stored.type != "uuid" and MySQLValues(self.connection).has_dashes(stored):
            return None
        return ACCEPTED.get(column.kind)

    def field(self, form: TextFormat, column: Column, stored: StoredColumn) -> LineField | None:
        field = text_forms(self, column, stored).lines.get(form)
        if field is None or not stored.nullable:
            return field
        is_null = f"CASE WHEN {self.quote(column.name)} IS NULL THEN {literal(NULL)}"
        return replace(field, sql=f"{is_null} ELSE {field.sql} END")

    def selected(self, fields: Sequence[LineField]) -> str:
        parts = f", {literal(TAB)}, ".join(field.sql for field in fields)
        return f"CAST(CONCAT({parts}, {literal(NEWLINE)}) AS BINARY)"

    def read(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        with unbuffered_cursor(self.connection) as cursor:
            yield from map(_block, batches(cursor, sql, params))


@contextlib.contextmanager
def unbuffered_cursor(connection: BaseDatabaseWrapper) -> Iterator[Any]:
    """Open the driver's cursor that leaves rows on the server until they are fetched."""
    from MySQLdb.cursors import SSCursor

    with connection.wrap_database_errors, contextlib.closing(connection.connection.cursor(SSCursor)) as cursor:
        yield cursor


def _block(rows: Sequence[Row]) -> Block:
    try:
        block = b"".join([line for (line,) in rows])
    except TypeError:
        raise Unrendered from None
    if MARKED.search(block):
        block = LONG_FIELD.sub(_unfolded, block)
    block.decode()  # the server lets some bytes pass that are not UTF-8
    return Block(len(rows), block)


def _unfolded(found: re.Match[bytes]) -> bytes:
    return escaped(bytes.fromhex(found[1].decode()))
