"""MySQL and MariaDB: views, system-versioned and temporary tables, and privileges on columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

from django.db import DatabaseError

from ..base.visible_tables import TABLE, VERSIONED_TABLE, VIEW, Visibility, VisibleTable
from .catalogue_rows import fetch_by_table, folding

KINDS: Mapping[str, str] = {"VIEW": VIEW, "SYSTEM VIEW": VIEW, "SYSTEM VERSIONED": VERSIONED_TABLE}

# SHOW FULL TABLES does not distinguish system-versioned tables.
KINDS_SQL = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE()"

# The catalogue leaves out columns on which the user has no privilege (MySQL manual, "INFORMATION_SCHEMA Tables").
RIGHTS_SQL = """
SELECT table_name, column_name, privileges FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name IN ({marks})
"""
# Whether this session may have created temporary tables, which the catalogue does not list.
CREATED_SQL = "SHOW SESSION STATUS WHERE Variable_name IN ('Com_create_table', 'Com_create_temporary_table')"


class MySQLVisibility(Visibility):
    """What MySQL shows a user: only objects on which it has privileges (MySQL manual, "INFORMATION_SCHEMA Tables")."""

    def visible_tables(self, tables: Collection[str]) -> dict[str, VisibleTable]:
        fold = folding(self)
        kinds = {fold(name): kind for name, kind in self.fetch_all(KINDS_SQL)}
        names = {table: fold(self.stored_name(table)) for table in tables}
        found = {
            table: VisibleTable(name, KINDS.get(kinds[name], TABLE)) for table, name in names.items() if name in kinds
        }
        rights = self._rights(found)
        has_created_tables = any(int(count) for _, count in self.fetch_all(CREATED_SQL))
        return {
            table: VisibleTable(
                seen.identity,
                seen.kind,
                can_be_counted=any("select" in of_column for of_column in rights[table].values()),
                unreadable=_without("select", rights[table]),
                unwritable=_without("insert", rights[table]),
                takes_rows=seen.kind != VIEW or self._is_updatable(table),
                is_temporary=has_created_tables and seen.kind == TABLE and self._is_temporary(table),
            )
            for table, seen in found.items()
        }

    def _rights(self, tables: Collection[str]) -> Mapping[str, Mapping[str, list[str]]]:
        """Return the privileges on columns, by table and by column."""
        rows = fetch_by_table(self, RIGHTS_SQL, tables)
        return {table: {column: str(privileges).split(",") for column, privileges in rows[table]} for table in tables}

    def _is_temporary(self, table: str) -> bool:
        with suppress(DatabaseError):  # it may lack a privilege that it has on its own temporary tables
            return str(self.fetch_all(f"SHOW CREATE TABLE {self.quote(table)}")[0][1]).startswith("CREATE TEMPORARY")
        return False

    def _is_updatable(self, view: str) -> bool:
        sql = "SELECT is_updatable FROM information_schema.views WHERE table_schema = DATABASE() AND table_name = %s"
        return bool(self.fetch_value(sql, [view]) != "NO")


def _without(right: str, columns: Mapping[str, list[str]]) -> frozenset[str]:
    return frozenset(name for name, rights in columns.items() if right not in rights)
