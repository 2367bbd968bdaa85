"""MySQL and MariaDB: the SQL that writes values as text.

In a line, ``CONCAT`` makes the same text of a number or a date as ``CAST`` does, in less time.
"""

from __future__ import annotations

from django.conf import settings

from ...tables import Column, Kind, StoredColumn
from ..base.digests import local_times_agree
from ..base.server_lines import ESCAPES, LineField, TextFormat
from ..base.session import DatabaseSession
from ..base.text_forms import TextForms

DATE, TIME = "%%Y-%%m-%%d", "%%H:%%i:%%s.%%f"
# The field of bytes begins with a backslash and an x; LONG stands before the hexadecimal digits of a long text. No
# escaped field begins like LONG.
BINARY, LONG = b"\\\\x", b"\\h"
# In characters if a column holds no more, otherwise in bytes.
LONGEST_REPLACED = 1000
DAY, SECOND = 86_400_000_000, 1_000_000  # in microseconds


def text_forms(session: DatabaseSession, column: Column, stored: StoredColumn) -> TextForms:
    """Return the expressions for one column."""
    name = session.quote(column.name)
    text = f"CAST({name} AS CHAR)"
    match column.kind:
        case Kind.INTEGER:
            return TextForms(text, lines={TextFormat.INTEGER: LineField(name)})
        case Kind.BOOLEAN:
            digit = LineField(f"CASE WHEN {name} IN (0, 1) THEN {text} END")
            return TextForms(text, stored=name, lines={TextFormat.BOOLEAN: digit})
        case Kind.FLOAT:
            # If the server reads the same number again, every correct reader does.
            exact = LineField(f"CASE WHEN {text} + 0e0 = {name} THEN {text} END")
            return TextForms(text, lines={TextFormat.FLOAT: exact})
        case Kind.DECIMAL:
            trimmed = f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"
            lines = {TextFormat.DECIMAL: LineField(name)}
            return TextForms(trimmed if stored.scale else text, stored=text, lines=lines)
        case Kind.TEXT:
            return TextForms(characters=name, lines={TextFormat.TEXT: _escaped(name, stored.max_length)})
        case Kind.JSON:
            return TextForms(lines={TextFormat.JSON: _escaped(name, stored.max_length)})
        case Kind.BINARY:
            field = LineField(f"CONCAT({literal(BINARY)}, HEX({name}))")
            return TextForms(characters=f"LOWER(HEX({name}))", lines={TextFormat.BINARY: field})
        case Kind.DATE:
            return TextForms(f"DATE_FORMAT({name}, '{DATE}')", stored=text, lines={TextFormat.DATE: LineField(name)})
        case Kind.TIME:
            time, is_time = f"TIME_FORMAT({name}, '{TIME}')", f"{name} BETWEEN '00:00:00' AND '23:59:59.999999'"
            lines = {TextFormat.TIME: LineField(f"CASE WHEN {is_time} THEN {text} END")}
            return TextForms(time, stored=_as_django_writes(time), lines=lines)
        case Kind.DATETIME if local_times_agree(session.connection, uses_time_zones=settings.USE_TZ):
            moment = f"DATE_FORMAT({name}, '{DATE} {TIME}')"
            lines = {TextFormat.DATETIME: LineField(name)}
            return TextForms(moment, stored=_as_django_writes(moment), lines=lines)
        case Kind.DURATION:
            lines = {TextFormat.MICROSECONDS: LineField(name), TextFormat.SPAN: _span(name)}
            return TextForms(text, stored=name, lines=lines)
        case Kind.UUID:
            return _uuid(name, text, is_native=stored.type == "uuid")
        case Kind.ADDRESS:
            # IPv4 only: Python and the server write some IPv6 addresses differently.
            known = f"CAST(INET_NTOA(INET_ATON({name})) AS BINARY) = CAST({name} AS BINARY)"
            address = f"CASE WHEN {known} THEN {text} END"
            lines = {
                TextFormat.ADDRESS: LineField(address, f"({address}) IS NULL"),
                TextFormat.ADDRESS_TEXT: _escaped(name, stored.max_length),
            }
            return TextForms(text, lines=lines)
    return TextForms()


def utf8_bytes(text: str) -> str:
    """Return the SQL for a text's bytes in UTF-8, which no collation compares and no search reads by character."""
    return f"CAST(CONVERT({text} USING utf8mb4) AS BINARY)"


def literal(data: bytes) -> str:
    """Write bytes as a hexadecimal literal, which no setting of ``sql_mode`` for backslashes changes."""
    return f"x'{data.hex()}'"


def _as_django_writes(text: str) -> str:
    """Leave out a fraction of zero, as ``isoformat()`` does."""
    return f"REPLACE({text}, '.000000', '')"


def _uuid(name: str, text: str, *, is_native: bool) -> TextForms:
    digits = f"REPLACE({text}, '-', '')"
    canonical = f"LOWER({digits})"
    if is_native:
        field = LineField(f"LOWER(HEX(CAST({name} AS BINARY(16))))")
        return TextForms(canonical, stored=digits, lines={TextFormat.UUID: field})
    is_uuid = f"LENGTH({canonical}) = 32 AND UNHEX({canonical}) IS NOT NULL"
    return TextForms(canonical, lines={TextFormat.UUID: LineField(f"CASE WHEN {is_uuid} THEN {canonical} END")})


def _escaped(name: str, longest: int | None) -> LineField:
    """Escape a text; one that may be long becomes hexadecimal digits behind a mark.

    REPLACE moves the rest of the text for each character that it replaces, so a long text could take minutes.
    """
    text = f"CONVERT({name} USING utf8mb4)"
    short = f"{text} COLLATE utf8mb4_bin"  # with any other collation, REPLACE compares character by character
    for character, escape in ESCAPES:
        short = f"REPLACE({short}, {literal(character)}, {literal(escape)})"
    if longest is not None and longest <= LONGEST_REPLACED:
        return LineField(short)
    folded = f"CONCAT({literal(LONG)}, HEX({text}))"
    return LineField(f"CASE WHEN LENGTH({name}) > {LONGEST_REPLACED} THEN {folded} ELSE {short} END")


def _span(name: str) -> LineField:
    rest = f"MOD(MOD({name}, {DAY}) + {DAY}, {DAY})"
    days = f"({name} DIV {DAY} - (MOD({name}, {DAY}) < 0))"
    return LineField(
        f"CONCAT({days}, ' days ', {rest} DIV {SECOND}, '.', LPAD({rest} MOD {SECOND}, 6, '0'), ' seconds')"
    )
