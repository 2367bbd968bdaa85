"""SQLite: views."""

from __future__ import annotations

from collections.abc import Collection

from ..base.visibility import TABLE, VIEW, Seen, Visibility

# A view takes rows through an INSTEAD OF trigger alone (sqlite.org/lang_createview.html).
LOOK_SQL = """
SELECT name, type, type = 'table' OR EXISTS (
    SELECT 1 FROM sqlite_master t WHERE t.type = 'trigger' AND t.tbl_name = m.name COLLATE NOCASE
    AND t.sql LIKE '%%INSTEAD OF INSERT%%')
FROM sqlite_master m WHERE type IN ('table', 'view')
"""


class SQLiteVisibility(Visibility):
    """What a SQLite file shows."""

    def look(self, tables: Collection[str]) -> dict[str, Seen]:
        known = {name.casefold(): (kind, takes) for name, kind, takes in self.fetch_all(LOOK_SQL)}
        names = {table: self.stored_name(table).casefold() for table in tables}
        return {
            table: Seen(table, VIEW if known[name][0] == "view" else TABLE, takes_rows=bool(known[name][1]))
            for table, name in names.items()
            if name in known
        }
