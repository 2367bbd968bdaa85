"""SQLite: column types, of which only the affinity matters (sqlite.org/datatype3.html)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...tables import Kind, StoredColumn
from ..base.types import Types
from .affinity import Affinity, affinity
from .values import STORES

NUMBERS = (Affinity.INTEGER, Affinity.NUMERIC)
TEXTS = (Affinity.TEXT, Affinity.BLOB)
# The converters that Django registers with sqlite3, by the first word of a column's declared type (Django,
# db/backends/sqlite3/base.py; the module splits declared types at spaces and parentheses).
CONVERTED: Mapping[str, Kind] = {
    "bool": Kind.BOOLEAN,
    "date": Kind.DATE,
    "time": Kind.TIME,
    "datetime": Kind.DATETIME,
    "timestamp": Kind.DATETIME,
}
# The affinities that store the values of a kind unchanged. A numeric one converts the text '007' to 7, and the text one
# converts numbers to texts (sqlite.org/datatype3.html, section 3).
HOLD: Mapping[Kind, tuple[Affinity, ...]] = {
    **dict.fromkeys((Kind.INTEGER, Kind.BOOLEAN, Kind.DURATION), (*NUMBERS, Affinity.BLOB)),
    **dict.fromkeys((Kind.FLOAT, Kind.DECIMAL), (*NUMBERS, Affinity.REAL)),
    **dict.fromkeys((Kind.TEXT, Kind.JSON, Kind.UUID, Kind.ADDRESS), TEXTS),
    # No date or time looks like a number, and a BLOB is never converted.
    **dict.fromkeys((Kind.DATE, Kind.TIME, Kind.DATETIME, Kind.BINARY), tuple(Affinity)),
}


class SQLiteTypes(Types):
    """The types of SQLite."""

    def declared(self, db_types: Collection[str]) -> Mapping[str, str]:
        return {db_type: db_type for db_type in db_types}

    def is_declared(self, declared: str, stored: StoredColumn) -> bool:
        is_alike = affinity(declared.partition("(")[0]) is affinity(stored.type)
        return is_alike and _converted(declared) is _converted(stored.declared)

    def holds(self, kind: Kind, stored: StoredColumn) -> bool:
        if _converted(stored.declared) not in (None, kind):
            return False
        return stored.type in STORES.get(kind, ()) or affinity(stored.type) in HOLD.get(kind, ())

    def widens(self, declared: str, stored: StoredColumn) -> bool:
        if _converted(declared) is not _converted(stored.declared):
            return False
        return (affinity(declared.partition("(")[0]) in TEXTS) is (affinity(stored.type) in TEXTS)


def _converted(declared: str) -> Kind | None:
    words = declared.partition("(")[0].lower().split()
    return CONVERTED.get(words[0]) if words else None
