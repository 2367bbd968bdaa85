"""SQLite: how a column's declared type determines its affinity (sqlite.org/datatype3.html, section 3.1)."""

from __future__ import annotations

import enum


class Affinity(enum.Enum):
    """The storage class that SQLite prefers for a column's values."""

    INTEGER = "integer"
    TEXT = "text"
    BLOB = "blob"  # converts nothing
    REAL = "real"
    NUMERIC = "numeric"  # converts a text that looks like a number


def affinity(declared: str) -> Affinity:
    """Return the affinity of a declared type; the first rule that matches decides."""
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
