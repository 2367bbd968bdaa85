"""SQLite: rows as lines of text, each made of its columns by SQL, with functions of ours where SQL is not exact."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from django.conf import settings

from ...tables import Column, StoredColumn
from ..base.digests import local_times_agree
from ..base.lines import Form, LineField, Lines, Unrendered
from ..base.session import FIRST_FETCH, Row, next_fetch, prepared
from ..base.values import Unstorable
from .notations import LOADERS, USUAL
from .values import CLASSES, DIGITS, decimal_loader, declared_digits

ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))
# In characters or bytes.
LONGEST_IN_SQL = 10_000
LONGEST = 4 * 1024 * 1024


class SQLiteLines(Lines):
    """Lines by ``||``, which is NULL where one of its parts is."""

    def prepare(self) -> None:
        own = self.connection.connection
        own.create_function("migrator_field", 2, _render, deterministic=True)
        own.create_function("migrator_decimal_field", 3, _decimal, deterministic=True)

    def field(self, form: Form, column: Column, stored: StoredColumn) -> LineField | None:
        if form is Form.DATETIME and not local_times_agree(self.connection, uses_time_zones=settings.USE_TZ):
            return None
        name = self.quote(column.name)
        text = self._text(form, column, name)
        if text is None:
            return None
        classes = CLASSES[column.kind]
        return LineField(f"CASE WHEN {name} IS NULL THEN '\\N' WHEN typeof({name}) IN ({classes}) THEN {text} END")

    def _text(self, form: Form, column: Column, name: str) -> str | None:
        match form:
            case Form.INTEGER | Form.MICROSECONDS:
                return name
            case Form.BOOLEAN:
                return f"CASE WHEN {name} IN (0, 1) THEN {name} END"
            case Form.DECIMAL:
                return _decimal_text(name, *declared_digits(column))
            case Form.TEXT | Form.JSON | Form.ADDRESS_TEXT:
                return _unless_long("text", name, _escaped(name))
            case Form.BINARY:
                return _unless_long("binary", name, f"'\\\\x' || hex({name})")
            case Form.SPAN:
                return _span(name)
            case Form.DATE | Form.TIME | Form.DATETIME | Form.UUID:
                is_usual = USUAL[column.kind].format(name)
                return f"CASE WHEN {is_usual} THEN {name} ELSE migrator_field('{form.name.lower()}', {name}) END"
            case Form.FLOAT | Form.ADDRESS:
                return f"migrator_field('{form.name.lower()}', {name})"
        return None

    def selected(self, fields: Sequence[str]) -> str:
        return "(" + ") || '\t' || (".join(fields) + ") || '\n'"

    def read(self, sql: str, params: Sequence[Any]) -> Generator[bytes]:
        size = FIRST_FETCH
        with self.connection.cursor() as cursor:
            cursor.execute(*prepared(sql, params))
            while rows := cursor.fetchmany(size):
                size = next_fetch(rows, size)
                yield _block(rows)


def _block(rows: list[Row]) -> bytes:
    """Make one block of rows, which are forgotten before it is loaded: they may be large."""
    try:
        return "".join([line for (line,) in rows]).encode()
    except TypeError:
        raise Unrendered from None
    finally:
        rows.clear()


def _unless_long(form: str, name: str, text: str) -> str:
    """Leave long values to our own function, for SQLite keeps what each step makes of them until the last row.

    Very long ones would still be in memory too often, so their rows are looked at one by one.
    """
    ours = f"WHEN length({name}) <= {LONGEST} THEN migrator_field('{form}', {name})"
    return f"CASE WHEN length({name}) <= {LONGEST_IN_SQL} THEN {text} {ours} END"


def _escaped(text: str) -> str:
    for character, escape in ESCAPES:
        text = f"replace({text}, '{character}', '{escape}')"
    return text


def _decimal_text(name: str, digits: int, places: int) -> str:
    """Spell a number with its decimals, if that is without doubt the one that is meant.

    Texts of at most 15 digits are so far apart that only one can be read as this number or as its neighbours.
    """
    spelled = f"printf('%%.{places}f', {name})"
    exact = f"migrator_decimal_field({name}, {digits}, {places})"
    whole = min(digits, DIGITS) - places
    if whole < 0:
        return exact
    is_exact = f"abs({name}) < 1e{whole} AND CAST({spelled} AS REAL) = {name}"
    return f"CASE WHEN {is_exact} THEN {spelled} ELSE {exact} END"


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


def _text(value: str) -> str:
    for character, escape in ESCAPES:
        value = value.replace(character, escape)
    return value


RENDERERS: Mapping[str, Callable[[Any], str | None]] = {
    "text": _text,
    "binary": lambda value: "\\\\x" + value.hex(),
    "float": lambda value: repr(float(value)),
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
