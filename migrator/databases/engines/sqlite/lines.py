"""SQLite: rows as lines of text: SQL gives a text for each column, by functions of ours where it is not exact."""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

from django.conf import settings

from ...tables import Column, StoredColumn
from ..base.digests import local_times_agree
from ..base.lines import Block, Form, LineField, Lines, Unrendered, escaped
from ..base.session import FIRST_FETCH, Row, next_fetch, prepared
from ..base.values import Unstorable
from .notations import LOADERS
from .values import CLASSES, decimal_loader, declared_digits, spelled_decimal, usual

# What fields and lines end with until all texts are escaped at once: the first pair that is in no text of a block.
ENDS = (("\x1f", "\x1e"), ("\ufdd1", "\ufdd2"))
# No text can have it: every process draws it anew.
NULL = f"\x1d{secrets.token_hex(8)}"
# In bytes.
LONGEST = 2 * 1024 * 1024


class SQLiteLines(Lines):
    """Lines put together from the texts of their fields. A row with a field that is no text has none."""

    def prepare(self) -> None:
        own = self.connection.connection
        own.create_function("migrator_field", 2, _render, deterministic=True)
        own.create_function("migrator_float_field", 1, repr, deterministic=True)
        own.create_function("migrator_decimal_field", 3, _decimal, deterministic=True)

    def field(self, form: Form, column: Column, stored: StoredColumn) -> LineField | None:
        if form is Form.DATETIME and not local_times_agree(self.connection, uses_time_zones=settings.USE_TZ):
            return None
        name = self.quote(column.name)
        texts = _texts(form, column, name)
        if texts is None:
            return None
        null, text = f"CASE WHEN {name} IS NULL THEN '{NULL}'", texts.cheaper or texts.of_any
        cheaper = LineField(f"{null} ELSE {text} END" if stored.nullable else text, texts.doubt)
        is_right = f"typeof({name}) IN ({CLASSES[column.kind]})"
        return LineField(f"{null} WHEN {is_right} THEN {texts.of_any} END", cheaper=cheaper)

    def selected(self, fields: Sequence[str]) -> str:
        return ", ".join(fields)

    def read(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        size = FIRST_FETCH
        with self.connection.cursor() as cursor:
            cursor.execute(*prepared(sql, params))
            while rows := cursor.fetchmany(size):
                size = next_fetch(rows, size)
                yield _block(rows)


def _block(rows: list[Row]) -> Block:
    """Make one block of rows, which are forgotten before it is loaded: they may be large."""
    try:
        return Block(len(rows), _lines(rows))
    except TypeError:
        raise Unrendered from None
    finally:
        rows.clear()


def _lines(rows: list[Row]) -> bytes:
    for field, line in ENDS:
        text = line.join(map(field.join, rows)) + line
        if text.count(field) == len(rows) * (len(rows[0]) - 1) and text.count(line) == len(rows):
            ended = escaped(text.encode()).replace(field.encode(), b"\t").replace(line.encode(), b"\n")
            return ended.replace(NULL.encode(), b"\\N")
    raise Unrendered


class _Texts(NamedTuple):
    """The SQL for the text of any value of a column's class, and cheaper SQL for values that are in no ``doubt``."""

    of_any: str
    cheaper: str | None = None
    doubt: str | None = None


def _texts(form: Form, column: Column, name: str) -> _Texts | None:
    match form:
        case Form.INTEGER | Form.MICROSECONDS:
            return _Texts(_number(name))
        case Form.BOOLEAN:
            return _Texts(f"CASE WHEN {name} IN (0, 1) THEN {_number(name)} END", _number(name))
        case Form.DECIMAL:
            digits, places = declared_digits(column)
            exact = f"migrator_decimal_field({name}, {digits}, {places})"
            return _where_usual(column, name, spelled_decimal(name, places), exact)
        case Form.TEXT | Form.JSON | Form.ADDRESS_TEXT:
            return _Texts(_unless_long(name, name))
        case Form.BINARY:
            return _Texts(_unless_long(name, f"'\\x' || hex({name})"))
        case Form.SPAN:
            return _Texts(_span(name))
        case Form.DATE | Form.TIME | Form.DATETIME | Form.UUID:
            # An expression has no declared type, so that none of Django's converters sees it.
            return _where_usual(column, name, f"+{name}", f"migrator_field('{form.name.lower()}', {name})")
        case Form.FLOAT:
            return _Texts(f"migrator_float_field({name})")
        case Form.ADDRESS:
            return _Texts(f"migrator_field('address', {name})")
    return None


def _where_usual(column: Column, name: str, text: str, exact: str) -> _Texts:
    is_usual = usual(column, name)
    if is_usual is None:
        return _Texts(exact)
    return _Texts(f"CASE WHEN {is_usual} THEN {text} ELSE {exact} END", text, f"NOT ({is_usual})")


def _number(name: str) -> str:
    return f"CAST({name} AS TEXT)"


def _unless_long(name: str, text: str) -> str:
    """Leave very long values out: they would be in memory too often, so their rows are looked at one by one."""
    return f"CASE WHEN length(CAST({name} AS BLOB)) <= {LONGEST} THEN {text} END"


def _span(name: str) -> str:
    day, second = 86_400_000_000, 1_000_000
    rest = f"(({name} %% {day} + {day}) %% {day})"
    days = f"({name} / {day} - ({name} %% {day} < 0))"
    return f"printf('%%d days %%d.%%06d seconds', {days}, {rest} / {second}, {rest} %% {second})"


# -- values that SQL alone cannot be trusted with -----------------------------------------------------------------


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
    """Spell a value for SQLite; ``None`` for one that has to be looked at where its row is known."""
    try:
        return RENDERERS[form](value)
    except (ValueError, OverflowError):
        return None


def _decimal(value: Any, digits: int, places: int) -> str | None:
    try:
        return f"{decimal_loader(digits, places)(value):f}"
    except Unstorable:
        return None
