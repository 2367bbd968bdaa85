"""SQLite: values."""

from __future__ import annotations

import datetime
import decimal
import functools
import re
import uuid
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from django.conf import settings
from django.utils.dateparse import parse_date, parse_datetime, parse_time

from ...tables import Column, Kind, StoredColumn
from ..base.values import (
    BIGINT,
    Convert,
    Limit,
    LimitName,
    Suspicion,
    Unstorable,
    Values,
    datetime_dumper,
    duration_limit,
    integer_limit,
    microseconds,
)

DIGITS = 15  # of a decimal, which SQLite keeps as a double (Django's converter rounds to as many)
INTEGERS = ("integer", "bigint", "smallint", "integer unsigned", "bigint unsigned", "smallint unsigned", "int")
STORES: Mapping[Kind, tuple[str, ...]] = {
    Kind.INTEGER: INTEGERS,
    Kind.BOOLEAN: ("bool",),
    Kind.FLOAT: ("real",),
    Kind.DECIMAL: ("decimal",),
    Kind.TEXT: ("varchar", "text"),
    Kind.JSON: ("text",),
    Kind.BINARY: ("blob",),
    Kind.DATE: ("date",),
    Kind.TIME: ("time",),
    Kind.DATETIME: ("datetime",),
    Kind.DURATION: ("bigint",),
    Kind.UUID: ("char",),
    Kind.ADDRESS: ("char",),
}
STORAGE: Mapping[str, str] = {
    "varchar": "text",
    "text": "text",
    "blob": "binary",
    **dict.fromkeys(INTEGERS, "integer"),
}
# What SQLite stores a value of each kind as (typeof()), and conditions for values that are none of the kind.
CLASSES: Mapping[Kind, str] = {
    Kind.INTEGER: "'integer'",
    Kind.BOOLEAN: "'integer'",
    Kind.FLOAT: "'real', 'integer'",
    Kind.DECIMAL: "'real', 'integer'",
    Kind.BINARY: "'blob'",
    Kind.DURATION: "'integer'",
    **dict.fromkeys((Kind.TEXT, Kind.JSON, Kind.DATE, Kind.TIME, Kind.DATETIME, Kind.UUID, Kind.ADDRESS), "'text'"),
}
# Conditions for the notations that Django stores; other programs may have written others that it reads.
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_TIME = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
_FRACTION = "." + 6 * "[0-9]"
USUAL: Mapping[Kind, str] = {
    Kind.DATE: f"{{0}} GLOB '{_DATE}'",
    Kind.TIME: f"({{0}} GLOB '{_TIME}' OR {{0}} GLOB '{_TIME}{_FRACTION}') AND {{0}} < '24'",
    Kind.DATETIME: (
        f"({{0}} GLOB '{_DATE} {_TIME}{_FRACTION}' OR {{0}} GLOB '{_DATE} {_TIME}') AND substr({{0}}, 12, 2) < '24'"
    ),
    Kind.UUID: "length({0}) = 32 AND NOT {0} GLOB '*[^0-9a-f]*'",
}
# SQLite moves February 30 into March where it has to reckon with it; its calendar errs in the year 300.
EXISTS = "date(substr({0}, 1, 10), '+0 days') = substr({0}, 1, 10) AND {0} >= '1000'"


def _unread(name: str, is_usual: str) -> str:
    """Give the condition for texts that our own function has to read, for it cannot, or they are not usual ones."""
    return f"NOT (({is_usual}) OR migrator_reads('{name}', CAST({{0}} AS BLOB)))"


CONDITIONS: Mapping[Kind, tuple[str, str]] = {
    Kind.BOOLEAN: ("{0} NOT IN (0, 1)", "neither 0 nor 1"),
    Kind.DATE: (_unread("date", f"{USUAL[Kind.DATE]} AND {EXISTS}"), "no date"),
    Kind.DATETIME: (
        _unread("datetime", f"{USUAL[Kind.DATETIME]} AND {EXISTS}"),
        "no date and time to the microsecond",
    ),
    Kind.TIME: (_unread("time", USUAL[Kind.TIME]), "no time to the microsecond"),
    Kind.UUID: (_unread("uuid", USUAL[Kind.UUID]), "no UUID"),
    Kind.JSON: ("NOT json_valid({0})", "no valid JSON (which has no NaN and no Infinity)"),
}
FINER_THAN_MICROSECONDS = re.compile(r"\.\d{6}\d*[1-9]")


class SQLiteValues(Values):
    """Values of SQLite."""

    is_raw_exact = True

    def stores(self, kind: Kind, stored: StoredColumn) -> bool:
        return stored.type in STORES.get(kind, ())

    def storage(self, stored: StoredColumn) -> str:
        return STORAGE.get(stored.type, stored.declared)

    def read_expression(self, column: Column, stored: StoredColumn) -> str:
        # An expression has no declared type, so that none of Django's converters, which hide bad values, sees it.
        return f"+{self.quote(column.name)}"

    def raw_expression(self, column: Column) -> str:
        return f"+{self.quote(column.name)}"

    def loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        match column.kind:
            case Kind.INTEGER:
                return _only(int, "integer")
            case Kind.BOOLEAN:
                return _boolean
            case Kind.FLOAT:
                return _float
            case Kind.DECIMAL:
                return decimal_loader(*declared_digits(column))
            case Kind.BINARY:
                return _only(bytes, "bytes")
            case Kind.DURATION:
                return _duration
            case Kind.DATE:
                return LOADERS["date"]
            case Kind.TIME:
                return LOADERS["time"]
            case Kind.DATETIME:
                return self._datetime_loader()
            case Kind.UUID:
                return _uuid
        return _only(str, "text")

    def _datetime_loader(self) -> Convert:
        parse = LOADERS["datetime"]
        zone = self.connection.timezone
        if not settings.USE_TZ:
            return parse

        def load(value: Any) -> datetime.datetime:
            parsed: datetime.datetime = parse(value)
            return parsed.replace(tzinfo=zone) if parsed.tzinfo is None else parsed

        return load

    def dumper(self, column: Column, stored: StoredColumn) -> Convert | None:
        match column.kind:
            case Kind.DECIMAL:
                return "{:f}".format
            case Kind.DATE:
                return datetime.date.isoformat
            case Kind.TIME:
                return datetime.time.isoformat
            case Kind.DATETIME:
                return datetime_dumper(self.connection.timezone)
            case Kind.DURATION:
                return microseconds
            case Kind.UUID:
                return attrgetter("hex")
        return None

    def limits(self, column: Column, stored: StoredColumn) -> list[Limit]:
        kind = column.kind
        if kind is Kind.INTEGER:
            return [integer_limit(self.connection, column, BIGINT, stored.declared)]
        if kind is Kind.DURATION:
            return [duration_limit()]
        if kind is Kind.FLOAT:
            return [
                Limit(
                    LimitName.NOT_A_NUMBER, (), "SQLite stores NaN as NULL", "Set these values to NULL in the source."
                )
            ]
        if kind is Kind.DECIMAL:
            return [
                Limit(
                    LimitName.MORE_DIGITS_THAN,
                    (DIGITS,),
                    f"SQLite keeps decimals as floating point, exact to {DIGITS} significant digits",
                    "Round these values, or move to an engine with exact decimals.",
                ),
                Limit(
                    LimitName.NOT_A_NUMBER, (), "SQLite has no decimal NaN", "Set these values to NULL in the source."
                ),
            ]
        return []

    def integer_range(self, stored: StoredColumn) -> tuple[int, int] | None:
        return BIGINT

    def condition(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        arguments = limit.arguments
        match limit.name:
            case LimitName.LONGER_THAN:
                # length() of a text ends at a NUL character.
                return f"length(replace({column}, char(0), ' ')) > {arguments[0]}"
            case LimitName.LARGER_THAN:
                return f"length(CAST({column} AS BLOB)) > {arguments[0]}"
            case LimitName.OUTSIDE:
                return f"typeof({column}) = 'integer' AND {column} NOT BETWEEN {arguments[0]} AND {arguments[1]}"
            case LimitName.NUL_CHARACTER:
                return f"instr(CAST({column} AS BLOB), x'00') > 0"
            case LimitName.NUL_ESCAPE:
                return f"instr(replace({column}, '\\\\', ''), '\\u0000') > 0"
            case LimitName.FOUR_BYTE_CHARACTER:
                return f"{column} REGEXP '[\U00010000-\U0010ffff]'"
            case LimitName.INFINITE:
                return f"typeof({column}) = 'real' AND abs({column}) > 1.7976931348623157e308"
            case LimitName.MORE_WHOLE_DIGITS_THAN:
                return f"typeof({column}) IN ('real', 'integer') AND abs({column}) >= 1e{arguments[0]}"
            case LimitName.FRACTIONAL_SECONDS:
                fraction = f"substr({column}, instr({column}, '.') + {1 + arguments[0]})"
                return f"{column} GLOB '*.*' AND {fraction} GLOB '*[1-9]*'"
        return None

    def suspicions(self, column: Column, stored: StoredColumn) -> list[Suspicion]:
        classes = CLASSES.get(column.kind)
        if classes is None:
            return []
        name = self.quote(column.name)
        condition, reason = CONDITIONS.get(column.kind, ("false", f"stored as something else than {column.kind}"))
        found = [
            Suspicion(
                f"typeof({name}) NOT IN ({classes}) OR {condition.format(name)}",
                reason,
                f"Correct these values: SQLite stores anything in any column, and this field means {column.kind}.",
            )
        ]
        if column.kind is Kind.DECIMAL:
            _, places = declared_digits(column)
            found.append(
                Suspicion(
                    f"abs({name} - round({name}, {places})) > abs({name}) * 1e-14",
                    f"more than the field's {places} decimals, which Django would read rounded",
                    f"Round them in the source: UPDATE … SET {column.name} = round({column.name}, {places}).",
                )
            )
        return found


def _only(cls: type, name: str) -> Convert:
    def load(value: Any) -> Any:
        if type(value) is not cls:
            raise Unstorable(type(value).__name__, f"SQLite holds it where {name} belongs", "Correct the value.")
        return value

    return load


def _boolean(value: Any) -> bool:
    if type(value) is not int or value not in (0, 1):
        raise Unstorable(type(value).__name__, "neither 0 nor 1 in a boolean column", "Set it to 0 or 1.")
    return value == 1


def _float(value: Any) -> float:
    if not isinstance(value, float | int):
        raise Unstorable(type(value).__name__, "SQLite holds it where a number belongs", "Correct the value.")
    return float(value)


def declared_digits(column: Column) -> tuple[int, int]:
    """Return the digits of a decimal field, and how many of them are decimals."""
    field: Any = column.field
    return field.max_digits, field.decimal_places


@functools.cache
def decimal_loader(digits: int, places: int) -> Convert:
    """Give what makes of a number the decimal that a field of so many digits means by it."""
    create = decimal.Context(prec=DIGITS).create_decimal_from_float
    context, step = decimal.Context(prec=digits), decimal.Decimal(1).scaleb(-places)

    def load(value: Any) -> decimal.Decimal:
        if not isinstance(value, float | int):
            raise Unstorable(type(value).__name__, "SQLite holds it where a number belongs", "Correct the value.")
        exact = create(value)
        try:
            quantized = exact.quantize(step, context=context)
        except decimal.InvalidOperation:
            reason = f"too large for {digits} digits with {places} decimals"
            raise Unstorable("number", reason, "Correct the value.") from None
        if quantized != exact:
            raise Unstorable("number", f"more than the field's {places} decimals", "Round it.")
        return quantized

    return load


def _duration(value: Any) -> datetime.timedelta:
    if type(value) is not int:
        raise Unstorable(type(value).__name__, "SQLite holds it where microseconds belong", "Correct the value.")
    return datetime.timedelta(microseconds=value)


def _uuid(value: Any) -> uuid.UUID:
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise Unstorable(type(value).__name__, "no UUID", "Correct the value.") from None


def _parsed(parse: Callable[[str], Any], name: str) -> Convert:
    def load(value: Any) -> Any:
        try:
            parsed = parse(value) if isinstance(value, str) else None
        except ValueError:
            parsed = None
        if parsed is None:
            raise Unstorable(type(value).__name__, f"no {name}", "Correct the value.")
        if FINER_THAN_MICROSECONDS.search(value):
            raise Unstorable("text", f"a {name} finer than microseconds", "Cut its fraction to six digits.")
        return parsed

    return load


LOADERS: Mapping[str, Convert] = {
    "date": _parsed(parse_date, "date"),
    "time": _parsed(parse_time, "time"),
    "datetime": _parsed(parse_datetime, "date and time"),
    "uuid": _uuid,
}


def reads(kind: str, stored: bytes | None) -> bool:
    """Tell SQLite itself whether a stored text can be read: by the very function that will read it."""
    if stored is None:
        return True
    try:
        LOADERS[kind](stored.decode())
    except (Unstorable, UnicodeDecodeError):
        return False
    return True
