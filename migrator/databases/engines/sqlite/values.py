"""SQLite: the values of columns, in which any class of value may be stored."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from django.conf import settings

from ...tables import Column, Kind, StoredColumn
from ..base.characters import Ranges
from ..base.digests import local_times_agree
from ..base.json_text import FEWEST_DIGITS
from ..base.limits import duration_limit, integer_limit, plain_limit, unix_time
from ..base.values import (
    BIGINT,
    Convert,
    Limit,
    LimitName,
    SourceCheck,
    Unstorable,
    Values,
    datetime_dumper,
    microseconds,
)
from .affinity import Affinity, affinity
from .date_formats import CANONICAL, CONDITIONS, LOADERS
from .decimals import MORE_DIGITS, decimal_loader, declared_digits, has_more_decimals, is_exact_decimal
from .functions import DIGITS

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
BEYOND_LIMIT: Mapping[LimitName, str] = {
    # length() stops at a NUL character (sqlite.org/nulinstr.html). No text has more characters than bytes.
    LimitName.LONGER_THAN: "length(CAST({column} AS BLOB)) > {0} AND length(replace({column}, char(0), ' ')) > {0}",
    LimitName.LARGER_THAN: "length(CAST({column} AS BLOB)) > {0}",
    LimitName.OUTSIDE: "{column} NOT BETWEEN {0} AND {1} AND typeof({column}) IN ('integer', 'real')",
    LimitName.FOUR_BYTE_CHARACTER: "{column} REGEXP '[\U00010000-\U0010ffff]'",
    LimitName.INFINITE: "typeof({column}) = 'real' AND abs({column}) > 1.7976931348623157e308",
    LimitName.MORE_WHOLE_DIGITS_THAN: (
        "({column} >= 1e{0} OR {column} <= -1e{0}) AND typeof({column}) IN ('real', 'integer')"
    ),
    LimitName.SPACE_AT_END: "{column} LIKE '%% '",
    # From the end: other programs may have written something before the digits.
    LimitName.HIGH_VERSION: (
        "substr(rtrim(replace({column}, '-', ''), '{{}}'), -20, 1) >= '8' "
        "AND substr(rtrim(replace({column}, '-', ''), '{{}}'), -16, 2) BETWEEN '01' AND '80'"
    ),
    LimitName.FILLED_UP_TO: "length(replace({column}, char(0), ' ')) < {0}",
    LimitName.SHORTER_THAN: "length(CAST({column} AS BLOB)) < {0}",
    LimitName.SINGLE_PRECISION: "migrator_is_beyond('single', {column}, {0})",
    LimitName.WIDE_WHOLE_NUMBER: (
        f"{{column}} GLOB '*{'[0-9]' * FEWEST_DIGITS}*' AND migrator_is_beyond('whole numbers', {{column}}, 0)"
    ),
    LimitName.DEEPER_THAN: (
        "2 * length({column}) - length(replace({column}, '[', '')) - length(replace({column}, '{{', '')) > {0} "
        "AND migrator_is_beyond('levels', {column}, {0})"
    ),
}
AS_TEXT = (Kind.BOOLEAN, Kind.DATE, Kind.TIME, Kind.DECIMAL, Kind.DURATION, Kind.UUID)
# The storage class of a value of each kind, as typeof() returns it (sqlite.org/datatype3.html).
CLASSES: Mapping[Kind, str] = {
    Kind.INTEGER: "'integer'",
    Kind.BOOLEAN: "'integer'",
    Kind.FLOAT: "'real', 'integer'",
    Kind.DECIMAL: "'real', 'integer'",
    Kind.BINARY: "'blob'",
    Kind.DURATION: "'integer'",
    **dict.fromkeys((Kind.TEXT, Kind.JSON, Kind.DATE, Kind.TIME, Kind.DATETIME, Kind.UUID, Kind.ADDRESS), "'text'"),
}


class SQLiteValues(Values):
    """Values of SQLite."""

    proven_types = STORES
    families = STORAGE
    conditions = BEYOND_LIMIT

    def read_expression(self, column: Column, stored: StoredColumn) -> str:
        # An expression has no declared type, so that none of Django's converters, which hide bad values, is applied.
        return self.unconverted(self.quote(column.name))

    def unconverted(self, expression: str) -> str:
        return f"+{expression}"

    def raw_expression(self, column: Column) -> str:
        return self.unconverted(self.quote(column.name))

    def accepts_text_form(self, column: Column, stored: StoredColumn) -> bool:
        if column.kind is Kind.DATETIME:
            return local_times_agree(self.connection, uses_time_zones=settings.USE_TZ)
        return column.kind in AS_TEXT

    def has_characters_outside(self, column: str, ranges: Ranges) -> str | None:
        listed = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
        return f"{column} REGEXP '[^{listed}]'"

    def size(self, name: str, stored: StoredColumn) -> str:
        return f"length(CAST({self.quote(name)} AS BLOB))"

    def ascii_lower(self, text: str) -> str:
        return f"LOWER({text})"  # it changes ASCII letters only (sqlite.org/lang_corefunc.html#lower)

    def exact_text(self, name: str, stored: StoredColumn) -> str:
        return f"{self.quote(name)} COLLATE BINARY"

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
                return LOADERS["uuid"]
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
            _, places = declared_digits(column)
            reason = f"more than the field's {places} decimals, to which Django rounds what it reads from SQLite"
            return [
                plain_limit(LimitName.MORE_DECIMALS_THAN, reason, places),
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
            case LimitName.NUL_CHARACTER:
                return nul_condition(column)
            case LimitName.NUL_ESCAPE:
                escape = "'\\u0000'"
                return f"instr({column}, {escape}) > 0 AND instr(replace({column}, '\\\\', ''), {escape}) > 0"
            case LimitName.MORE_DECIMALS_THAN:
                return has_more_decimals(column, arguments[0])
            case LimitName.FRACTIONAL_SECONDS if affinity(stored.type) is Affinity.INTEGER:
                return f"{column} %% {10 ** (6 - arguments[0])} <> 0"
            case LimitName.FRACTIONAL_SECONDS:
                fraction = f"substr({column}, instr({column}, '.') + {1 + arguments[0]})"
                return f"{column} GLOB '*.*' AND {fraction} GLOB '*[1-9]*'"
            case LimitName.NOT_AMONG:
                known = ", ".join(f"CAST(x'{text.encode().hex()}' AS TEXT)" for text in arguments)
                return f"{column} COLLATE BINARY NOT IN ({known})"
            case LimitName.NOT_SOME_OF:
                texts = [f"CAST(x'{(',' + text).encode().hex()}' AS TEXT)" for text in arguments]
                found = [f"CASE WHEN instr(',' || {column} || ',', {t} || ',') THEN {t} ELSE '' END" for t in texts]
                return f"{column} <> '' AND {' || '.join(found)} <> ',' || {column}"
            case LimitName.OUTSIDE_UNIX_TIME:
                return f"{column} NOT BETWEEN {' AND '.join(unix_time(self.connection))}"
        return super().condition(limit, column, stored)

    def source_checks(self, column: Column, stored: StoredColumn) -> list[SourceCheck]:
        classes = CLASSES.get(column.kind)
        if classes is None:
            return []
        name = self.quote(column.name)
        condition, reason = CONDITIONS.get(column.kind, ("", f"not stored as {column.kind}"))
        is_other = f"typeof({name}) NOT IN ({classes})"
        is_usual = usual(column, name)
        rough = None if is_usual is None else f"NOT ({is_usual})"
        found = [
            SourceCheck(
                f"{is_other} OR {condition.format(name)}" if condition else is_other,
                reason,
                f"Correct these values: SQLite accepts any value in any column, and this field expects {column.kind}.",
                rough,
            )
        ]
        if column.kind is Kind.DECIMAL:
            _, places = declared_digits(column)
            found.append(
                SourceCheck(
                    has_more_decimals(name, places),
                    f"more than the field's {places} decimals, which Django would read rounded",
                    f"Save them as Django reads them ({column.field.model.__name__}.objects.bulk_update(rows, "
                    f"[{column.field.name!r}])), or round them: UPDATE … SET {column.name} = round({column.name}, "
                    f"{places}).",
                    rough,
                )
            )
            found.append(
                SourceCheck(
                    f"typeof({name}) = 'integer' AND length(rtrim(ltrim({name}, '-'), '0')) > {DIGITS}",
                    f"{MORE_DIGITS}, which Django would read rounded",
                    f"Round them to {DIGITS} significant digits in the source.",
                    rough,
                )
            )
        return found


def usual(column: Column, name: str) -> str | None:
    """Return the condition for values as Django stores them, which no source check finds; ``None`` without one.

    ``name`` is the quoted one.
    """
    if column.kind is Kind.DECIMAL:
        return is_exact_decimal(name, *declared_digits(column))
    return CANONICAL[column.kind].format(name) if column.kind in CANONICAL else None


def nul_condition(column: str) -> str:
    """Return the condition for texts that hold the NUL character, at which length() stops."""
    return f"instr({column}, char(0)) > 0"


def _only(cls: type, name: str) -> Convert:
    def load(value: Any) -> Any:
        if type(value) is not cls:
            raise Unstorable(type(value).__name__, f"SQLite stores it where {name} is expected", "Correct the value.")
        return value

    return load


def _boolean(value: Any) -> bool:
    if type(value) is not int or value not in (0, 1):
        raise Unstorable(type(value).__name__, "neither 0 nor 1 in a boolean column", "Set it to 0 or 1.")
    return value == 1


def _float(value: Any) -> float:
    if not isinstance(value, float | int):
        raise Unstorable(type(value).__name__, "SQLite stores it where a number is expected", "Correct the value.")
    return float(value)


def _duration(value: Any) -> datetime.timedelta:
    if type(value) is not int:
        raise Unstorable(type(value).__name__, "SQLite stores it where microseconds are expected", "Correct the value.")
    return datetime.timedelta(microseconds=value)
