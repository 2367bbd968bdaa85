"""SQLite: what a column's declared type makes of values (sqlite.org/datatype3.html, section 3.1)."""

from __future__ import annotations

import enum


class Affinity(enum.Enum):
    """What SQLite tries to store a value as."""

    INTEGER = "integer"
    TEXT = "text"
    BLOB = "blob"  # leaves every value as it is
    REAL = "real"
    NUMERIC = "numeric"  # makes a number of a text that looks like one


def affinity(declared: str) -> Affinity:
    """Return the affinity of a column of this type; the first of SQLite's rules that fits decides."""
    upper = declared.upper()
    if "INT" in upper:
        return Affinity.INTEGER
    if any(part in upper for part in ("CHAR", "CLOB", "TEXT")):
        return Affinity.TEXT
    if "BLOB" in upper or not upper:
        return Affinity.BLOB
    if any(part in upper for part in ("REAL", "FLOA", "DOUB")):
        return Affinity.REAL
    return Affinity.NUMERIC
