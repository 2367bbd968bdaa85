"""SQLite: how dates, times and UUIDs are written there: as Django writes them, or as other programs may have."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime, parse_time

from ...tables import Kind
from ..base.values import Convert, Unstorable

FINER_THAN_MICROSECONDS = re.compile(r"\.\d{6}\d*[1-9]")


def _same(function: str, size: int) -> str:
    """Give the condition for texts of so many bytes that a function of SQLite writes alike, and a fraction or none."""
    whole = f"substr({{0}}, 1, {size})"
    fraction = f"substr({{0}}, {size + 1}) GLOB '.{6 * '[0-9]'}'"
    return (
        # Most functions take a text to end at a NUL character, but this length goes on.
        f"CASE length(CAST({{0}} AS BLOB)) WHEN {size} THEN {function}({{0}}, '+0 days') IS {{0}} "
        f"WHEN {size + 7} THEN {function}({whole}, '+0 days') IS {whole} AND {fraction} ELSE false END"
    )


# Conditions for the notations that Django stores, in which nothing but a text can be; other programs may have written
# others that it reads. SQLite moves February 30 into March, and 24:00 to another day, where it has to reckon with them
# ('+0 days'). Its calendar errs in the year 300; without its sign a column would be compared as a number, if it can.
USUAL: Mapping[Kind, str] = {
    Kind.DATE: "date({0}, '+0 days') IS {0} AND +{0} >= '1000'",
    Kind.TIME: _same("time", len("00:00:00")),
    Kind.DATETIME: f"{_same('datetime', len('0001-01-01 00:00:00'))} AND +{{0}} >= '1000'",
    Kind.UUID: f"typeof({{0}}) = 'text' AND length(CAST({{0}} AS BLOB)) = 32 AND {{0}} GLOB '{32 * '[0-9a-f]'}'",
}


def _unread(name: str, is_usual: str) -> str:
    """Give the condition for texts that our own function has to read, for it cannot, or they are not usual ones."""
    return f"NOT (({is_usual}) OR migrator_reads('{name}', CAST({{0}} AS BLOB)))"


CONDITIONS: Mapping[Kind, tuple[str, str]] = {
    Kind.BOOLEAN: ("{0} NOT IN (0, 1)", "neither 0 nor 1"),
    Kind.DATE: (_unread("date", USUAL[Kind.DATE]), "no date"),
    Kind.DATETIME: (_unread("datetime", USUAL[Kind.DATETIME]), "no date and time to the microsecond"),
    Kind.TIME: (_unread("time", USUAL[Kind.TIME]), "no time to the microsecond"),
    Kind.UUID: (_unread("uuid", USUAL[Kind.UUID]), "no UUID"),
    Kind.JSON: ("NOT json_valid({0})", "no valid JSON (which has no NaN and no Infinity)"),
}


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


def reads(encoding: str, kind: str, stored: bytes | None) -> bool:
    """Tell SQLite itself whether a stored text can be read: by the very function that will read it."""
    if stored is None:
        return True
    try:
        LOADERS[kind](stored.decode(encoding))
    except (Unstorable, UnicodeDecodeError):
        return False
    return True
