"""SQLite: the text forms of dates, times and UUIDs: those that Django stores, and others that it can read."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime, parse_time

from ...tables import Kind
from ..base.values import Convert, Unstorable

FINER_THAN_MICROSECONDS = re.compile(r"\.\d{6}\d*[1-9]")


def _canonical(function: str, size: int) -> str:
    """Return the condition for texts of ``size`` bytes that a function of SQLite returns unchanged.

    A fraction of six digits may follow.
    """
    whole = f"substr({{0}}, 1, {size})"
    fraction = f"substr({{0}}, {size + 1}) GLOB '.{6 * '[0-9]'}'"
    return (
        # Most functions stop at a NUL character (sqlite.org/nulinstr.html); the length of the bytes does not.
        f"CASE length(CAST({{0}} AS BLOB)) WHEN {size} THEN {function}({{0}}, '+0 days') IS {{0}} "
        f"WHEN {size + 7} THEN {function}({whole}, '+0 days') IS {whole} AND {fraction} ELSE false END"
    )


# Conditions for the formats that Django stores, which only a text can meet; Django also reads some others, which other
# programs may have written. With a modifier ('+0 days'), SQLite normalizes February 30 to March and 24:00 to the next
# day (sqlite.org/lang_datefunc.html). Its calendar is wrong in the year 300. The unary + keeps a column of numeric
# affinity from being compared as a number (sqlite.org/datatype3.html, section 4.2).
CANONICAL: Mapping[Kind, str] = {
    Kind.DATE: "date({0}, '+0 days') IS {0} AND +{0} >= '1000'",
    Kind.TIME: _canonical("time", len("00:00:00")),
    Kind.DATETIME: f"{_canonical('datetime', len('0001-01-01 00:00:00'))} AND +{{0}} >= '1000'",
    Kind.UUID: f"typeof({{0}}) = 'text' AND length(CAST({{0}} AS BLOB)) = 32 AND {{0}} GLOB '{32 * '[0-9a-f]'}'",
}


def _unreadable(name: str, is_canonical: str) -> str:
    """Return the condition for texts that are neither canonical nor readable by Django's own parser."""
    return f"NOT (({is_canonical}) OR migrator_reads('{name}', CAST({{0}} AS BLOB)))"


CONDITIONS: Mapping[Kind, tuple[str, str]] = {
    Kind.BOOLEAN: ("{0} NOT IN (0, 1)", "neither 0 nor 1"),
    Kind.DATE: (_unreadable("date", CANONICAL[Kind.DATE]), "not a date"),
    Kind.DATETIME: (_unreadable("datetime", CANONICAL[Kind.DATETIME]), "not a date and time to the microsecond"),
    Kind.TIME: (_unreadable("time", CANONICAL[Kind.TIME]), "not a time to the microsecond"),
    Kind.UUID: (_unreadable("uuid", CANONICAL[Kind.UUID]), "not a UUID"),
    Kind.JSON: ("NOT json_valid({0})", "not valid JSON (which has no NaN and no Infinity)"),
}


def _uuid(value: Any) -> uuid.UUID:
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise Unstorable(type(value).__name__, "not a UUID", "Correct the value.") from None


def _parsed(parse: Callable[[str], Any], name: str) -> Convert:
    def load(value: Any) -> Any:
        try:
            parsed = parse(value) if isinstance(value, str) else None
        except ValueError:
            parsed = None
        if parsed is None:
            raise Unstorable(type(value).__name__, f"not a {name}", "Correct the value.")
        if FINER_THAN_MICROSECONDS.search(value):
            raise Unstorable("text", f"a {name} finer than microseconds", "Truncate its fraction to six digits.")
        return parsed

    return load


LOADERS: Mapping[str, Convert] = {
    "date": _parsed(parse_date, "date"),
    "time": _parsed(parse_time, "time"),
    "datetime": _parsed(parse_datetime, "date and time"),
    "uuid": _uuid,
}


def is_readable(encoding: str, kind: str, stored: bytes | None) -> bool:
    """Whether a stored text can be read, decided by the function that will read it; SQL calls this."""
    if stored is None:
        return True
    try:
        LOADERS[kind](stored.decode(encoding))
    except (Unstorable, UnicodeDecodeError):
        return False
    return True
