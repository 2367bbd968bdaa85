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
