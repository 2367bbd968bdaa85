"""MySQL and MariaDB: views and tables with a history."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..base.visibility import TABLE, VERSIONED_TABLE, VIEW, Seen, Visibility

KINDS: Mapping[str, str] = {"VIEW": VIEW, "SYSTEM VIEW": VIEW, "SYSTEM VERSIONED": VERSIONED_TABLE}

# SHOW FULL TABLES does not tell tables with a history from others.
KINDS_SQL = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE()"


class MySQLVisibility(Visibility):
    """What MySQL lets a user see: nothing at all of what it has no rights on (MySQL's manual, INFORMATION_SCHEMA)."""

    hides_tables_without_rights = True

    def look(self, tables: Collection[str]) -> dict[str, Seen]:
        fold = str.lower if self.connection.features.ignores_table_name_case else str
        kinds = {fold(name): kind for name, kind in self.fetch_all(KINDS_SQL)}
        names = {table: fold(self.stored_name(table)) for table in tables}
        found = {table: Seen(name, KINDS.get(kinds[name], TABLE)) for table, name in names.items() if name in kinds}
        return {
            table: Seen(seen.identity, seen.kind, takes_rows=self._is_updatable(table)) if seen.kind == VIEW else seen
            for table, seen in found.items()
        }

    def _is_updatable(self, view: str) -> bool:
        sql = "SELECT is_updatable FROM information_schema.views WHERE table_schema = DATABASE() AND table_name = %s"
        return bool(self.fetch_value(sql, [view]) != "NO")
