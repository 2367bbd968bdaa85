"""SQLite: rows as lines of text, rendered by SQL, and by functions of ours if SQL is not exact."""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from django.conf import settings

from ...tables import Column, StoredColumn
from ..base.server_lines import Block, LineField, Lines, TextFormat, Unrendered, escaped
from ..base.session import FIRST_FETCH, Row, next_fetch, prepared
from ..base.values import Unstorable
from .date_formats import LOADERS
from .decimals import decimal_loader
from .text_forms import text_forms
from .values import CLASSES

# The marks between fields, at the end of lines, for NULL and for an invalid field, until all texts are escaped at once:
# bytes that no UTF-8 has (RFC 3629). If they are stored as values, their number or the decoding of the rest reveals
# that; the mark for NULL is random in every process.
BETWEEN, END, NULL, NONE = b"\xff", b"\xfe", b"\xfd" + secrets.token_hex(8).encode(), b"\xfc"
FORMAT = b"%s"
# In fields. By default a function takes at most 127 arguments (sqlite.org/limits.html).
MOST_PRINTED = 100


class SQLiteLines(Lines):
    """Lines joined from the texts of their fields. A row with an invalid field has no line."""

    def prepare(self) -> None:
        own = self.connection.connection
        own.create_function("migrator_field", 2, _render, deterministic=True)
        own.create_function("migrator_float_field", 1, repr, deterministic=True)
        own.create_function("migrator_decimal_field", 3, _decimal, deterministic=True)

    def field(self, form: TextFormat, column: Column, stored: StoredColumn) -> LineField | None:
        if self.fetch_value("PRAGMA encoding") != "UTF-8":  # in another, BETWEEN and the others are other bytes
            return None
        text = text_forms(self, column).lines.get(form)
        if text is None:
            return None
        name, usual = self.quote(column.name), text.cheaper or text
        null = f"CASE WHEN {name} IS NULL THEN {_literal(NULL)}"
        any_value = f"{null} WHEN typeof({name}) IN ({CLASSES[column.kind]}) THEN {text.sql} END"
        cheaper = LineField(f"{null} ELSE {usual.sql} END" if stored.nullable else usual.sql, usual.unsafe_when)
        return LineField(any_value, cheaper=cheaper, may_have_nul=text.may_have_nul)

    def selected(self, fields: Sequence[LineField]) -> str:
        if any(field.may_have_nul for field in fields):
            return ", ".join(f"CAST({field.sql} AS TEXT)" for field in fields)
        return ", ".join(_printed(fields[at : at + MOST_PRINTED]) for at in range(0, len(fields), MOST_PRINTED))

    def read(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        size, printed = FIRST_FETCH, sql.count((FORMAT + BETWEEN).hex())
        with self.connection.cursor() as cursor:
            cursor.execute(*prepared(sql, params))
            while rows := self._fetch(cursor, size):
                size = next_fetch(rows, size)
                yield _block(rows, printed)

    def _fetch(self, cursor: Any, size: int) -> list[Row]:
        """Fetch texts as stored, which avoids decoding and encoding them one by one."""
        own = self.connection.connection
        usual, own.text_factory = own.text_factory, bytes
        try:
            rows: list[Row] = cursor.fetchmany(size)
            return rows
        finally:
            own.text_factory = usual


def _literal(data: bytes) -> str:
    return f"CAST(x'{data.hex()}' AS TEXT)"


def _printed(fields: Sequence[LineField]) -> str:
    """Join many texts, in less time than it takes to fetch each; printf() would cut them at a NUL character."""
    form = BETWEEN.join([FORMAT] * len(fields))
    return f"printf({_literal(form)}, {', '.join(f'ifnull({field.sql}, {_literal(NONE)})' for field in fields)})"


def _block(rows: list[Row], printed: int) -> Block:
    """Join rows to one block, and release them before it is loaded: they may be large.

    ``printed``: how many separators each row already has between its fields.
    """
    try:
        return Block(len(rows), _lines(rows, len(rows) * (printed + len(rows[0]) - 1)))
    except (TypeError, UnicodeDecodeError):
        raise Unrendered from None
    finally:
        rows.clear()


def _lines(rows: list[Row], between: int) -> bytes:
    joined = END.join(map(BETWEEN.join, rows)) + END
    if joined.count(BETWEEN) != between or joined.count(END) != len(rows) or NONE in joined:
        raise Unrendered
    lines = escaped(joined).replace(BETWEEN, b"\t").replace(END, b"\n").replace(NULL, b"\\N")
    lines.decode()  # SQLite accepts bytes that are not UTF-8
    return lines


# -- values that SQL alone does not render exactly ----------------------------------------------------------------


def _instant(value: str) -> str | None:
    parsed = LOADERS["datetime"](value)
    if parsed.tzinfo is None:
        return str(parsed.isoformat(" "))
    if not settings.USE_TZ:
        return None
    return str(parsed.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(" "))


def _address(value: str) -> str | None:
    return value if str(ipaddress.ip_address(value)) == value or "." in value else None


RENDERERS: Mapping[str, Callable[[Any], str | None]] = {
    "date": lambda value: str(LOADERS["date"](value)),
    "time": lambda value: str(LOADERS["time"](value)),
    "datetime": _instant,
    "uuid": lambda value: str(LOADERS["uuid"](value).hex),
    "address": _address,
}


def _render(form: str, value: Any) -> str | None:
    """Render a value; ``None`` for one that has to be converted with its row, so that an error can name the row."""
    try:
        return RENDERERS[form](value)
    except (ValueError, OverflowError):
        return None


def _decimal(value: Any, digits: int, places: int) -> str | None:
    try:
        return f"{decimal_loader(digits, places)(value):f}"
    except Unstorable:
        return None
