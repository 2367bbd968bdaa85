"""MySQL and MariaDB: the primary keys of the rows in a binary log, as texts that the server casts to the column's type.

A value that is not certainly understood has no text; then any row of its table may have changed.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..base.change_feed import KeyText
from ..base.session import DatabaseSession
from .values import BITS, BLOBS, TEXTS

# Python's names for character sets that are the same; MySQL's latin1 has five characters more.
CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "ascii": "ascii", "latin1": "cp1252"}
UUID_BYTES = 16
# In place of a value that the log does not have, because it need not.
ABSENT = object()

COLUMNS_SQL = """
SELECT column_name, ordinal_position - 1, data_type, column_type, character_set_name
FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""


@dataclass(frozen=True)
class LoggedColumn:
    """A column, and its position in the rows of the log."""

    name: str
    position: int
    type: str
    is_unsigned: bool
    charset: str | None


def columns_of(session: DatabaseSession, schema: str, table: str) -> dict[str, LoggedColumn]:
    """Return a table's columns by their names."""
    return {
        name: LoggedColumn(name, int(position), str(kind).lower(), "unsigned" in str(declared).lower(), charset)
        for name, position, kind, declared, charset in session.fetch_all(COLUMNS_SQL, (schema, table))
    }


def key_of(columns: Sequence[LoggedColumn], row: Sequence[Any]) -> KeyText | None:
    """Return the key of a row, or ``None`` if it is not certainly understood."""
    texts = [_text(column, row[column.position]) for column in columns]
    return None if None in texts else tuple(text for text in texts if text is not None)


def _text(column: LoggedColumn, value: Any) -> str | bytes | None:
    kind = column.type
    match value:
        case int() if kind in BITS:
            is_below = value < 0 and column.is_unsigned
            return str(value + (1 << BITS[kind]) if is_below else value)
        case Decimal() if kind == "decimal":
            return f"{value:f}"
        case dt.datetime() if kind == "datetime":
            return value.isoformat(" ")
        case dt.date() if kind == "date":
            return value.isoformat()
        case bytes() if kind in TEXTS:
            return _decoded(value, column.charset)
        case bytes() if kind in BLOBS:
            return value
        case bytes() if kind == "uuid" and len(value) <= UUID_BYTES:
            return str(uuid.UUID(bytes=value.ljust(UUID_BYTES, b"\0")))
    return None


def _decoded(value: bytes, charset: str | None) -> str | None:
    try:
        return value.decode(CODECS[charset or ""])
    except (KeyError, UnicodeDecodeError):
        return None


def has_uuid(columns: Sequence[LoggedColumn]) -> bool:
    """Whether a key has a UUID: tables that an old MariaDB made have its parts in another order.

    See MariaDB source, plugin/type_uuid/sql_type_uuid.h.
    """
    return any(column.type == "uuid" for column in columns)


def merged(before: Sequence[Any], after: Sequence[Any]) -> list[Any]:
    """Return a row after its change: with ``binlog_row_image`` MINIMAL, the log has only what has changed."""
    return [old if new is ABSENT else new for old, new in zip(before, after, strict=True)]


def has_changed(columns: Sequence[LoggedColumn], before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Whether any of these columns may have got another value."""
    return any(after[column.position] not in (ABSENT, before[column.position]) for column in columns)
