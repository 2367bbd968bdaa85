"""SQLite: views, and temporary tables, which hide tables from one connection."""

from __future__ import annotations

from collections.abc import Collection

from ..base.visible_tables import TABLE, VIEW, Visibility, VisibleTable

# A view accepts rows only through an INSTEAD OF trigger (sqlite.org/lang_createview.html).
LOOK_SQL = """
SELECT name, type, type = 'table' OR EXISTS (
    SELECT 1 FROM sqlite_master t WHERE t.type = 'trigger' AND t.tbl_name = m.name COLLATE NOCASE
    AND t.sql LIKE '%%INSTEAD OF INSERT%%')
FROM sqlite_master m WHERE type IN ('table', 'view')
"""
# SQLite looks names up in the temporary schema first (sqlite.org/lang_naming.html).
TEMPORARY_SQL = "SELECT name, type FROM sqlite_temp_master WHERE type IN ('table', 'view')"


class SQLiteVisibility(Visibility):
    """Which tables of a SQLite file a session sees."""

    def visible_tables(self, tables: Collection[str]) -> dict[str, VisibleTable]:
        known = {name.casefold(): (kind, takes_rows) for name, kind, takes_rows in self.fetch_all(LOOK_SQL)}
        temporary = {name.casefold(): kind for name, kind in self.fetch_all(TEMPORARY_SQL)}
        found = {}
        for table in tables:
            name = self.stored_name(table).casefold()
            if name in temporary:
                found[table] = VisibleTable(table, _kind(temporary[name]), takes_rows=False, is_temporary=True)
            elif name in known:
                found[table] = VisibleTable(table, _kind(known[name][0]), takes_rows=bool(known[name][1]))
        return found


def _kind(kind: str) -> str:
    return VIEW if kind == "view" else TABLE
