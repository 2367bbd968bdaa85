"""MySQL and MariaDB: the values of columns."""

from __future__ import annotations

import datetime
import sys
import uuid
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from django.conf import settings

from ...tables import Column, Kind, StoredColumn
from ..base.characters import Ranges
from ..base.json_text import FEWEST_DIGITS, wide_whole_number_pattern
from ..base.limits import (
    DOUBLE_WHOLE,
    declared_limits,
    duration_limit,
    integer_limit,
    label_limit,
    plain_limit,
    single_precision_limit,
    unix_time,
    whole_number_limits,
)
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
from .text_forms import text_forms, utf8_bytes

# \u0000 as a hexadecimal literal, which no setting of sql_mode for backslashes changes.
NUL_ESCAPE = "x'5c7530303030'"
BITS: Mapping[str, int] = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
BLOBS = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
# A JSON string; the possessive quantifiers keep the server from backtracking for each character.
STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# The deepest nesting of a document (MySQL Server Error Message Reference, ER_JSON_DOCUMENT_TOO_DEEP).
MOST_LEVELS = 100
# The digits of a float that the server returns (C's FLT_DIG).
SHOWN = 6
UUID_LENGTH = 36
STORES: Mapping[Kind, tuple[str, ...]] = {
    Kind.INTEGER: tuple(BITS),
    Kind.BOOLEAN: tuple(BITS),
    Kind.FLOAT: ("double",),
    Kind.DECIMAL: ("decimal",),
    Kind.TEXT: TEXTS,
    Kind.JSON: ("json", *TEXTS),
    Kind.BINARY: BLOBS,
    Kind.DATE: ("date",),
    Kind.TIME: ("time",),
    Kind.DATETIME: ("datetime", "timestamp"),
    Kind.DURATION: tuple(BITS),
    Kind.UUID: ("char", "varchar", "uuid"),
    Kind.ADDRESS: TEXTS,
}
STORAGE: Mapping[str, str] = {
    **dict.fromkeys(TEXTS, "text"),
    **dict.fromkeys(BLOBS, "binary"),
    **dict.fromkeys(BITS, "integer"),
}
# NaN and infinity do not exist here.
BEYOND_LIMIT: Mapping[LimitName, str] = {
    LimitName.LONGER_THAN: "CHAR_LENGTH({column}) > {0}",
    LimitName.LARGER_THAN: "LENGTH({column}) > {0}",
    LimitName.FILLED_UP_TO: "CHAR_LENGTH({column}) < {0}",
    LimitName.SHORTER_THAN: "LENGTH({column}) < {0}",
    LimitName.OUTSIDE: "{column} NOT BETWEEN {0} AND {1}",
    LimitName.FOUR_BYTE_CHARACTER: "CONVERT(CONVERT({column} USING utf8mb3) USING utf8mb4) <> {column}",
    LimitName.MORE_DIGITS_THAN: "LENGTH(TRIM(BOTH '0' FROM REPLACE(ABS({column}), '.', ''))) > {0}",
    LimitName.MORE_WHOLE_DIGITS_THAN: "ABS({column}) >= POW(10, {0})",
    LimitName.MORE_DECIMALS_THAN: "{column} <> ROUND({column}, {0})",
    LimitName.SPACE_AT_END: "{column} LIKE '%% '",
    LimitName.HIGH_VERSION: (
        "SUBSTR(REPLACE({column}, '-', ''), 13, 1) >= '8' "
        "AND SUBSTR(REPLACE({column}, '-', ''), 17, 2) BETWEEN '01' AND '80'"
    ),
    LimitName.SINGLE_PRECISION: "CAST(CAST({column} AS FLOAT) AS CHAR) + 0e0 <> {column}",
}
# The limits that a column's own type keeps.
KEPT: Mapping[str, tuple[LimitName, ...]] = {
    "char": (LimitName.SPACE_AT_END,),
    "uuid": (LimitName.HIGH_VERSION,),
    "timestamp": (LimitName.OUTSIDE_UNIX_TIME,),
    "json": (LimitName.WIDE_WHOLE_NUMBER, LimitName.NUL_CHARACTER),
}


def integer_range(stored: StoredColumn) -> tuple[int, int] | None:
    """Return the smallest and largest integer of a column's type; ``None`` if it isn't an integer type."""
    bits = BITS.get(stored.type)
    if bits is None:
        return None
    return (0, 2**bits - 1) if stored.is_unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def product(connection: Any) -> str:
    """Return the server's product: MariaDB has the same driver."""
    return "MariaDB" if connection.mysql_is_mariadb else "MySQL"


class MySQLValues(Values):
    """Values of MySQL and MariaDB."""

    proven_types = STORES
    families = STORAGE
    conditions = BEYOND_LIMIT

    def stores(self, kind: Kind, stored: StoredColumn) -> bool:
        is_rounded = stored.type == "double" and stored.scale is not None  # double(10, 3)
        return not is_rounded and super().stores(kind, stored)

    def read_expression(self, column: Column, stored: StoredColumn) -> str:
        if column.kind in (Kind.DATE, Kind.DATETIME, Kind.TIME):
            # The driver returns None for a zero date, as for NULL.
            return f"CAST({self.quote(column.name)} AS CHAR)"
        return self.quote(column.name)

    def text_form(self, column: Column, stored: StoredColumn) -> str | None:
        return text_forms(self, column, stored).stored

    def as_text(self, name: str) -> str:
        return f"CAST({self.quote(name)} AS CHAR)"

    def is_bits(self, stored: StoredColumn) -> bool:
        return stored.type == "bit"

    def has_characters_outside(self, column: str, ranges: Ranges) -> str | None:
        listed = "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges)
        pattern = f"(?-i)[^{listed}]".encode().hex()
        return f"CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin REGEXP _utf8mb4 x'{pattern}'"

    def size(self, name: str, stored: StoredColumn) -> str:
        return f"LENGTH({self.quote(name)})"

    def exact_text(self, name: str, stored: StoredColumn) -> str:
        # Other binary collations ignore trailing spaces (MySQL manual, "Unicode Character Sets", NO PAD).
        is_mariadb = self.connection.mysql_is_mariadb  # type: ignore[attr-defined]
        collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        return f"CONVERT({self.quote(name)} USING utf8mb4) COLLATE {collation}"

    def stored_bytes(self, expression: str) -> str:
        return f"CAST({expression} AS BINARY)"

    def loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        match column.kind:
            case Kind.BOOLEAN:
                return _boolean
            case Kind.DATE:
                return _parsed(datetime.date.fromisoformat, "date")
            case Kind.TIME:
                return _parsed(datetime.time.fromisoformat, "time of day")
            case Kind.DATETIME:
                return _parsed(self._datetime_loader(), "date and time")
            case Kind.DURATION:
                return _duration
            case Kind.UUID:
                return _parsed(uuid.UUID, "UUID")
        return None

    def _datetime_loader(self) -> Callable[[str], datetime.datetime]:
        zone = self.connection.timezone if settings.USE_TZ else None
        return lambda text: datetime.datetime.fromisoformat(text).replace(tzinfo=zone)

    def dumper(self, column: Column, stored: StoredColumn) -> Convert | None:
        match column.kind:
            case Kind.DATETIME:
                return datetime_dumper(self.connection.timezone)
            case Kind.DURATION:
                return microseconds
            case Kind.UUID:
                return str if self.has_dashes(stored) else attrgetter("hex")
        return None

    def has_dashes(self, stored: StoredColumn) -> bool:
        """Whether Django writes, and looks for, the UUIDs of a column with dashes.

        It does so if the server has a type for them, whatever the column's own type (Django source,
        ``UUIDField.get_db_prep_value``). A column of fewer than 36 characters stores the digits alone.
        """
        is_native = bool(self.connection.features.has_native_uuid_field)
        return stored.type == "uuid" or (is_native and (stored.max_length or 0) >= UUID_LENGTH)

    def limits(self, column: Column, stored: StoredColumn) -> list[Limit]:
        limits = declared_limits(column.kind, stored)
        name = product(self.connection)
        if column.kind is Kind.INTEGER:
            limits.append(integer_limit(self.connection, column, self.integer_range(stored) or BIGINT, stored.declared))
        elif column.kind is Kind.DURATION:
            limits.append(duration_limit(self.integer_range(stored) or BIGINT))
        elif column.kind in (Kind.FLOAT, Kind.DECIMAL):
            limits.append(plain_limit(LimitName.NOT_A_NUMBER, f"{name} has no NaN"))
            if column.kind is Kind.FLOAT:
                limits.append(plain_limit(LimitName.INFINITE, f"{name} has no infinity"))
        elif stored.type == "uuid":
            reason = f"{name}'s uuid rejects a value whose 7th byte is 80 or above and whose 9th is from 01 to 80"
            limits.append(plain_limit(LimitName.HIGH_VERSION, reason))
        elif column.kind is Kind.TEXT and stored.type == "char":
            reason = f"ends with spaces, which {stored.declared} strips"
            advice = "Remove them in the source, or make the column a varchar in the destination."
            limits.append(Limit(LimitName.SPACE_AT_END, (), reason, advice))
        if stored.is_three_byte_utf8:
            reason = "a character of four bytes (in UTF-8), which the column's character set does not have"
            advice = "Convert the table to utf8mb4 in the destination."
            limits.append(Limit(LimitName.FOUR_BYTE_CHARACTER, (), reason, advice))
        return [*limits, *self._limits_of_type(column.kind, stored)]

    def _limits_of_type(self, kind: Kind, stored: StoredColumn) -> list[Limit]:
        """Describe the limits of a type other than Django's own, and of the server's own JSON type."""
        match kind, stored.type:
            case Kind.INTEGER, "decimal" | "double":
                held = DOUBLE_WHOLE if stored.type == "double" else None
                return [*whole_number_limits(stored, held), *_negative(stored, BIGINT[1])]
            case Kind.DECIMAL, "decimal":
                return _negative(stored, 10 ** ((stored.precision or 0) - (stored.scale or 0)))
            case Kind.FLOAT, "float":
                return [single_precision_limit(stored, SHOWN), *_negative(stored, sys.float_info.max)]
            case Kind.FLOAT, "double":
                return _negative(stored, sys.float_info.max)
            case Kind.TEXT, "enum" | "set":
                return [label_limit(stored, is_set=stored.type == "set")]
            case Kind.BINARY, "binary":
                reason = f"shorter than the {stored.max_bytes} bytes to which {stored.declared} pads it with zeros"
                return [plain_limit(LimitName.SHORTER_THAN, reason, stored.max_bytes or 0)]
            case Kind.DATETIME, "timestamp":
                reason = f"{stored.declared} only holds instants from 1970 to 03:14:07 UTC on 19 January 2038"
                return [plain_limit(LimitName.OUTSIDE_UNIX_TIME, reason)]
            case Kind.JSON, "json":
                return [
                    plain_limit(
                        LimitName.WIDE_WHOLE_NUMBER,
                        "an integer beyond 64 bits, which MySQL's JSON type converts to floating point",
                    ),
                    plain_limit(LimitName.DEEPER_THAN, f"a document of more than {MOST_LEVELS} levels", MOST_LEVELS),
                    plain_limit(
                        LimitName.NUL_CHARACTER, "the NUL character, at which MySQL's JSON type truncates a document"
                    ),
                ]
        return []

    def integer_range(self, stored: StoredColumn) -> tuple[int, int] | None:
        return integer_range(stored)

    def condition(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        arguments = limit.arguments
        if limit.name in KEPT.get(stored.type, ()):
            return None
        match limit.name:
            case LimitName.NUL_CHARACTER:
                return f"LOCATE(x'00', {utf8_bytes(column)}) > 0"
            case LimitName.NUL_ESCAPE:
                return (
                    f"LOCATE({NUL_ESCAPE}, {utf8_bytes(column)}) > 0 "
                    f"AND LOCATE({NUL_ESCAPE}, REPLACE({utf8_bytes(column)}, x'5c5c', '')) > 0"
                )
            case LimitName.FOUR_BYTE_CHARACTER if stored.is_three_byte_utf8:
                return None
            case LimitName.FRACTIONAL_SECONDS if stored.type in BITS:
                return f"{column} %% {10 ** (6 - arguments[0])} <> 0"
            case LimitName.FRACTIONAL_SECONDS:
                return f"MICROSECOND({column}) %% {10 ** (6 - arguments[0])} <> 0"
            case LimitName.NOT_AMONG:
                known = ", ".join(f"x'{text.encode().hex()}'" for text in arguments)
                return f"{utf8_bytes(column)} NOT IN ({known})"
            case LimitName.NOT_SOME_OF:
                own = utf8_bytes(column)
                found = [
                    f"IF(FIND_IN_SET(x'{t.encode().hex()}', {own}), x'{(',' + t).encode().hex()}', '')"
                    for t in arguments
                ]
                return f"{own} <> '' AND CONCAT({', '.join(found)}) <> CONCAT(',', {own})"
            case LimitName.OUTSIDE_UNIX_TIME:
                return f"{column} NOT BETWEEN {' AND '.join(unix_time(self.connection))}"
            case LimitName.WIDE_WHOLE_NUMBER:
                text = f"CONVERT({column} USING utf8mb4)"
                bare = f"REGEXP_REPLACE({text}, {_hex(STRING)}, '')"
                is_long = f"{text} REGEXP '[0-9]{{{FEWEST_DIGITS}}}'"
                return f"{is_long} AND {bare} REGEXP {_hex(wide_whole_number_pattern())}"
        return super().condition(limit, column, stored)

    def source_checks(self, column: Column, stored: StoredColumn) -> list[SourceCheck]:
        name = self.quote(column.name)
        if column.kind in (Kind.DATE, Kind.DATETIME):
            zero = f"YEAR({name}) = 0 OR MONTH({name}) = 0 OR DAYOFMONTH({name}) = 0"
            # Adding days to an invalid date yields NULL or another date.
            is_none = f"COALESCE(DATE_ADD({name}, INTERVAL 0 DAY) <> {name}, TRUE)"
            return [
                SourceCheck(
                    zero,
                    "a zero date, which Django reads as NULL",
                    "Set these values to NULL or to a real date in the source.",
                    is_none,
                ),
                SourceCheck(
                    f"NOT ({zero}) AND {is_none}",
                    "a day that its month does not have",
                    "Set these values to a real date in the source.",
                    is_none,
                ),
            ]
        if column.kind is Kind.BOOLEAN:
            return [
                SourceCheck(
                    f"{name} NOT IN (0, 1)", "neither 0 nor 1 in a boolean column", "Set these values to 0 or 1."
                )
            ]
        if column.kind is Kind.TIME:
            return [
                SourceCheck(
                    f"{name} NOT BETWEEN '00:00:00' AND '23:59:59.999999'",
                    "not a time of day: MySQL's TIME also holds durations",
                    "Set these values to a time from 00:00 to 23:59:59.999999.",
                )
            ]
        return []


def _negative(stored: StoredColumn, most: float) -> list[Limit]:
    """Describe an unsigned type, whose other limits allow nothing above ``most``."""
    reason = f"negative, which {stored.declared} cannot hold"
    return [plain_limit(LimitName.OUTSIDE, reason, 0, most)] if stored.is_unsigned else []


def _hex(text: str) -> str:
    """Write a text as a hexadecimal literal, which no setting of sql_mode for backslashes changes."""
    return f"_utf8mb4 x'{text.encode().hex()}'"


def _boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise Unstorable("integer", "neither 0 nor 1 in a boolean column", "Set it to 0 or 1.")
    return bool(value)


def _duration(value: int) -> datetime.timedelta:
    return datetime.timedelta(microseconds=value)


def _parsed(parse: Callable[[str], Any], name: str) -> Convert:
    def load(value: Any) -> Any:
        try:
            return parse(value)
        except (ValueError, TypeError):
            raise Unstorable("text", f"not a valid {name}", "Correct the value.") from None

    return load
