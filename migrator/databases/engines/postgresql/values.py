"""PostgreSQL: the values of columns."""

from __future__ import annotations

import datetime
import ipaddress
import re
import zoneinfo
from collections.abc import Mapping

from django.conf import settings
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from ...tables import Column, Kind, StoredColumn
from ..base.characters import Ranges
from ..base.json_text import FEWEST_DIGITS, wide_whole_number_pattern
from ..base.limits import (
    DOUBLE_WHOLE,
    MOST_SINGLE_DIGITS,
    SINGLE_WHOLE,
    UNIX_TIME,
    declared_limits,
    fraction_limit,
    integer_limit,
    label_limit,
    plain_limit,
    single_precision_limit,
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
)
from .text_forms import text_forms

INTEGERS: Mapping[str, tuple[int, int]] = {
    "int2": (-(2**15), 2**15 - 1),
    "int4": (-(2**31), 2**31 - 1),
    "int8": BIGINT,
}
STORES: Mapping[Kind, tuple[str, ...]] = {
    Kind.INTEGER: tuple(INTEGERS),
    Kind.BOOLEAN: ("bool",),
    Kind.FLOAT: ("float8", "float4"),
    Kind.DECIMAL: ("numeric",),
    Kind.TEXT: ("varchar", "text"),
    Kind.JSON: ("jsonb", "json", "text", "varchar"),
    Kind.BINARY: ("bytea",),
    Kind.DATE: ("date",),
    Kind.TIME: ("time",),
    Kind.DATETIME: ("timestamptz",),
    Kind.DURATION: ("interval",),
    Kind.UUID: ("uuid",),
    Kind.ADDRESS: ("inet",),
}
WHOLE_NUMBERS: Mapping[str, tuple[int, int]] = {"float4": SINGLE_WHOLE, "float8": DOUBLE_WHOLE}
# A JSON string. A backslash in a literal is literal (standard_conforming_strings, which Django relies on).
STRING = r'"([^"\\]|\\.)*"'
STORAGE: Mapping[str, str] = {
    "varchar": "text",
    "text": "text",
    "bytea": "binary",
    **dict.fromkeys(INTEGERS, "integer"),
}
# No text here holds the NUL character.
BEYOND_LIMIT: Mapping[LimitName, str] = {
    LimitName.OUTSIDE: "{column} NOT BETWEEN {0} AND {1}",
    LimitName.FOUR_BYTE_CHARACTER: r"{column} ~ '[\U00010000-\U0010FFFF]'",
    LimitName.NOT_A_NUMBER: "{column} = 'NaN'",
    LimitName.INFINITE: "{column} IN ('Infinity', '-Infinity')",
    LimitName.MORE_DIGITS_THAN: "length(trim(both '0' from translate({column}::text, '-.', ''))) > {0}",
    LimitName.MORE_WHOLE_DIGITS_THAN: "abs({column}) >= 1e{0}::numeric",
    LimitName.MORE_DECIMALS_THAN: "{column} <> 'NaN' AND {column} <> round({column}, {0})",
    LimitName.SPACE_AT_END: "right({column}::text, 1) COLLATE \"C\" = ' '",
    LimitName.HIGH_VERSION: (
        "substr({column}::text COLLATE \"C\", 15, 1) >= '8' "
        "AND substr({column}::text COLLATE \"C\", 20, 2) BETWEEN '01' AND '80'"
    ),
    LimitName.FILLED_UP_TO: "char_length({column}::text) < {0}",
    LimitName.SHORTER_THAN: "octet_length({column}) < {0}",
    LimitName.OUTSIDE_UNIX_TIME: "{{column}} NOT BETWEEN '{}' AND '{}'".format(*UNIX_TIME),
}

SPAN = re.compile(r"(?:(-?\d+) days?)? ?(?:([-+]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?)?")
WITH_MONTHS = "an interval with months, whose length in days is not fixed"
SPAN_ADVICE = "Rewrite these values in days and seconds."

# Valid UTF-8, if each byte is a character to the server (RFC 3629, section 4).
TAIL = r"[\u0080-\u00bf]"
UTF_8 = (
    r"^(?:[\u0001-\u007f]"
    rf"|[\u00c2-\u00df]{TAIL}"
    rf"|\u00e0[\u00a0-\u00bf]{TAIL}|[\u00e1-\u00ec\u00ee\u00ef]{TAIL}{{2}}|\u00ed[\u0080-\u009f]{TAIL}"
    rf"|\u00f0[\u0090-\u00bf]{TAIL}{{2}}|[\u00f1-\u00f3]{TAIL}{{3}}|\u00f4[\u0080-\u008f]{TAIL}{{2}}"
    r")*$"
)


class PostgreSQLValues(Values):
    """Values of PostgreSQL."""

    proven_types = STORES
    families = STORAGE
    conditions = BEYOND_LIMIT

    def read_expression(self, column: Column, stored: StoredColumn) -> str:
        name = self.quote(column.name)
        if column.kind in (Kind.DATE, Kind.DATETIME) and not is_psycopg3:
            # psycopg2 reads infinity as the first or last date of Python, and fails for dates beyond these.
            return f"CASE WHEN NOT isfinite({name}) THEN '10000-01-01' ELSE {name} END"
        if column.kind is Kind.DURATION:
            return f"{name}::text"  # the drivers convert a month to 30 days
        if column.kind is Kind.JSON and stored.type == "json":
            return f"{name}::text"  # Django registers no loader for json, so the driver would parse the document
        return name

    def raw_expression(self, column: Column) -> str:
        return f"{self.quote(column.name)}::text"

    def text_form(self, column: Column, stored: StoredColumn) -> str | None:
        return text_forms(self, column).stored

    def _stores_any_bytes(self) -> bool:
        """Whether the server stores texts without checking their encoding (manual, "Character Set Support")."""
        return bool(self.connection.connection.info.parameter_status("server_encoding") == "SQL_ASCII")

    def stored_bytes(self, expression: str) -> str:
        return f"convert_to({expression}::text, getdatabaseencoding())"

    def folded(self, name: str, case: bool, spaces: bool) -> str:
        return f'{super().folded(name, case, spaces)} COLLATE "C"'  # comparing bytes is fastest

    def ascii_lower(self, text: str) -> str:
        return f'LOWER(({text}) COLLATE "C")'

    def has_characters_outside(self, column: str, ranges: Ranges) -> str | None:
        if self.fetch_value("SELECT current_setting('server_encoding')") != "UTF8":
            return None  # escapes in its regular expressions are other characters
        listed = "".join(f"\\U{max(low, 1):08X}-\\U{high:08X}" for low, high in ranges)
        return f"{column} ~ '[^{listed}]'"

    def size(self, name: str, stored: StoredColumn) -> str:
        is_plain = stored.type in ("text", "varchar", "bpchar", "bytea")
        return f"octet_length({self.quote(name)})" if is_plain else super().size(name, stored)

    def exact_text(self, name: str, stored: StoredColumn) -> str:
        own = self.quote(name)
        return (
            f'{own}::text COLLATE "default"' if stored.ignores_case else own
        )  # the database's default collation is deterministic

    def loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        if column.kind is Kind.ADDRESS:
            return column.field.get_prep_value  # inet prints addresses in its own way; this is Django's
        if column.kind is Kind.DURATION:
            return _span
        return bytes if column.kind is Kind.BINARY else None

    def key_loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        return None if column.kind is Kind.DURATION else super().key_loader(column, stored)

    def dumper(self, column: Column, stored: StoredColumn) -> Convert | None:
        if column.kind is Kind.ADDRESS:
            return _address
        if column.kind is Kind.DATETIME and not settings.USE_TZ and self.connection.timezone_name != "UTC":
            return _existing_local_time(zoneinfo.ZoneInfo(self.connection.timezone_name))
        return None

    def limits(self, column: Column, stored: StoredColumn) -> list[Limit]:
        limits = declared_limits(column.kind, stored)
        if column.kind is Kind.TEXT:
            reason = "PostgreSQL's text cannot hold the NUL character"
            limits.append(plain_limit(LimitName.NUL_CHARACTER, reason))
        elif column.kind is Kind.JSON and stored.type == "jsonb":
            limits.append(plain_limit(LimitName.NUL_ESCAPE, "PostgreSQL's jsonb cannot hold the NUL character"))
        elif column.kind is Kind.INTEGER and stored.type in INTEGERS:
            limits.append(integer_limit(self.connection, column, INTEGERS[stored.type], stored.declared))
        elif column.kind is Kind.DURATION and stored.precision is not None:
            limits.append(fraction_limit(stored, stored.precision))
        return [*limits, *_limits_of_type(column.kind, stored)]

    def integer_range(self, stored: StoredColumn) -> tuple[int, int] | None:
        return INTEGERS.get(stored.type)

    def condition(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        arguments = limit.arguments
        match limit.name:
            case LimitName.LONGER_THAN:
                text = f"host({column})" if stored.type == "inet" else f"{column}::text"
                return f"char_length({text}) > {arguments[0]}"
            case LimitName.LARGER_THAN:
                data = column if stored.type == "bytea" else f"{column}::text"
                return f"octet_length({data}) > {arguments[0]}"
            case LimitName.OUTSIDE if stored.type == "interval":
                return f"extract(epoch from {column}) * 1000000 NOT BETWEEN {arguments[0]} AND {arguments[1]}"
            case LimitName.FRACTIONAL_SECONDS:
                return f"{column} <> {column}::{stored.type}({arguments[0]})"
            case LimitName.NOT_AMONG:
                return f'{column}::text COLLATE "C" NOT IN ({", ".join(map(_literal, arguments))})'
            case LimitName.NOT_SOME_OF:
                own = f'{column}::text COLLATE "C"'
                texts = [_literal(f",{text}") for text in arguments]
                found = [f"CASE WHEN strpos(',' || {own} || ',', {t} || ',') > 0 THEN {t} ELSE '' END" for t in texts]
                return f"{own} <> '' AND {' || '.join(found)} <> ',' || {own}"
            case LimitName.SINGLE_PRECISION:
                return _loses_digits(column, arguments[0])
            case LimitName.WIDE_WHOLE_NUMBER:
                bare = f"regexp_replace({column}::text, '{STRING}', '\"\"', 'g')"
                is_long = f"{column}::text ~ '[0-9]{{{FEWEST_DIGITS}}}'"
                return f"{is_long} AND {bare} ~ '{wide_whole_number_pattern()}'"
            case LimitName.DEEPER_THAN if stored.type == "jsonb":
                path = f'strict $.**{{{arguments[0]} to last}} ? (@.type() == "object" || @.type() == "array")'
                return f"jsonb_path_exists({column}, '{path}')"
        return super().condition(limit, column, stored)

    def source_checks(self, column: Column, stored: StoredColumn) -> list[SourceCheck]:
        name = self.quote(column.name)
        if column.kind is Kind.TEXT and self._stores_any_bytes():
            return [SourceCheck(f"{name} !~ '{UTF_8}'", "a text that is not valid UTF-8", "Correct it in the source.")]
        if column.kind in (Kind.DATE, Kind.DATETIME):
            return [
                SourceCheck(
                    f"NOT ({name} >= '0001-01-01' AND {name} < '9999-12-31'::date + 1)",
                    "a date that Python cannot hold: infinite, or outside of the years 1 to 9999",
                    "Set these values to a date that the application can read, or to NULL.",
                )
            ]
        if column.kind is Kind.DURATION:
            return [
                SourceCheck(
                    f"extract(year from {name}) <> 0 OR extract(month from {name}) <> 0",
                    WITH_MONTHS,
                    SPAN_ADVICE,
                )
            ]
        if column.kind is Kind.TIME:
            return [
                SourceCheck(
                    f"{name} = '24:00:00'", "the time 24:00, which Python cannot hold", "Set these values to 00:00."
                )
            ]
        if column.kind is Kind.ADDRESS:
            return [
                SourceCheck(
                    f"masklen({name}) <> CASE family({name}) WHEN 4 THEN 32 ELSE 128 END",
                    "a network instead of a single address",
                    "Remove the network mask, or keep the column in PostgreSQL.",
                )
            ]
        return []


def _limits_of_type(kind: Kind, stored: StoredColumn) -> list[Limit]:
    """Describe the limits of a type that isn't the one of the kind, but holds some of its values."""
    if kind is Kind.INTEGER and stored.type not in INTEGERS:
        return whole_number_limits(stored, WHOLE_NUMBERS.get(stored.type))
    if kind is Kind.FLOAT and stored.type == "float4":
        return [single_precision_limit(stored, MOST_SINGLE_DIGITS)]
    if kind is Kind.TEXT and stored.is_padded and stored.max_length is not None:
        reason = f"shorter than {stored.declared}, which pads it with spaces that Django reads"
        advice = f"Change the column's type there to varchar({stored.max_length})."
        return [Limit(LimitName.FILLED_UP_TO, (stored.max_length,), reason, advice)]
    if kind is Kind.TEXT and stored.labels:
        return [label_limit(stored)]
    return []


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"


def _loses_digits(column: str, digits: int) -> str:
    """Return the condition for numbers that change in single precision; outside of its range a cast fails."""
    read = f"{column}::float4::text::float8"
    if digits < MOST_SINGLE_DIGITS:
        read = f"round({column}::numeric, {digits - 1} - floor(log(abs({column}::numeric)))::int)::float8"
    return (
        f"CASE WHEN {column} = 0 OR {column} IN ('NaN', 'Infinity', '-Infinity') THEN false "
        f"WHEN abs({column}) NOT BETWEEN 1.2e-38 AND 3.4e38 THEN true ELSE {read} <> {column} END"
    )


def _span(text: str) -> datetime.timedelta:
    """Read an interval as PostgreSQL prints it by ``IntervalStyle = postgres`` (manual, 8.5.5).

    Raises :exc:`Unstorable` for an interval whose length isn't fixed, or that is longer than Python holds.
    """
    if (found := SPAN.fullmatch(text)) is None:
        raise Unstorable("interval", WITH_MONTHS, SPAN_ADVICE)
    days, sign, hours, minutes, seconds, fraction = found.groups(default="")
    try:
        time = datetime.timedelta(
            0, int(seconds or 0), int(fraction.ljust(6, "0")), 0, int(minutes or 0), int(hours or 0)
        )
        return datetime.timedelta(int(days or 0)) + (-time if sign == "-" else time)
    except OverflowError:
        raise Unstorable("interval", "longer than Python's timedelta", SPAN_ADVICE) from None


def _address(value: str) -> str:
    """Reject a text that the database would read as another address, or not at all."""
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        raise Unstorable("text", "not an IP address", "Correct the value.") from None
    if str(parsed) != value and "." not in value:
        raise Unstorable("IP address", f"it would be stored as {parsed}", "Store that form in the source.")
    return value


def _existing_local_time(zone: datetime.tzinfo) -> Convert:
    def check(value: datetime.datetime) -> datetime.datetime:
        try:
            there_and_back = value.replace(tzinfo=zone).astimezone(datetime.UTC).astimezone(zone)
        except OverflowError:  # at the ends of the calendar, where no clock goes forward
            return value
        if there_and_back.replace(tzinfo=None) != value:
            raise Unstorable(
                "date and time",
                f"the local time does not exist in {zone}: the clocks went forward",
                "Correct the value, or set TIME_ZONE = 'UTC'.",
            )
        return value

    return check
