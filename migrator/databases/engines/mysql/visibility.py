"""MySQL and MariaDB: views, tables with a history, temporary tables, and rights on columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from django.db import DatabaseError

from ..base.visibility import TABLE, VERSIONED_TABLE, VIEW, Visibility, VisibleTable

KINDS: Mapping[str, str] = {"VIEW": VIEW, "SYSTEM VIEW": VIEW, "SYSTEM VERSIONED": VERSIONED_TABLE}

# SHOW FULL TABLES does not tell tables with a history from others.
KINDS_SQL = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE()"

# Of columns on which the user has no right at all the catalogue says nothing.
RIGHTS_SQL = """
SELECT table_name, column_name, privileges FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name IN ({marks})
"""
# What tells that this session may have made temporary tables, which the catalogue does not list.
MADE_SQL = "SHOW SESSION STATUS WHERE Variable_name IN ('Com_create_table', 'Com_create_temporary_table')"


class MySQLVisibility(Visibility):
    """What MySQL lets a user see: nothing at all of what it has no rights on (MySQL's manual, INFORMATION_SCHEMA)."""

    hides_tables_without_rights = True

    def look(self, tables: Collection[str]) -> dict[str, VisibleTable]:
        fold = str.lower if self.connection.features.ignores_table_name_case else str
        kinds = {fold(name): kind for name, kind in self.fetch_all(KINDS_SQL)}
        names = {table: fold(self.stored_name(table)) for table in tables}
        found = {
            table: VisibleTable(name, KINDS.get(kinds[name], TABLE)) for table, name in names.items() if name in kinds
        }
        rights = self._rights([name for table, name in names.items() if table in found], fold)
        has_made_tables = any(int(count) for _, count in self.fetch_all(MADE_SQL))
        return {
            table: VisibleTable(
                seen.identity,
                seen.kind,
                can_be_counted=any("select" in of_column for of_column in rights[names[table]].values()),
                unreadable=_without("select", rights[names[table]]),
                unwritable=_without("insert", rights[names[table]]),
                takes_rows=seen.kind != VIEW or self._is_updatable(table),
                is_temporary=has_made_tables and seen.kind == TABLE and self._is_temporary(table),
            )
            for table, seen in found.items()
        }

    def _rights(self, tables: Collection[str], fold: Callable[[str], str]) -> Mapping[str, Mapping[str, list[str]]]:
        rights: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        if tables:
            sql = RIGHTS_SQL.format(marks=", ".join(["%s"] * len(tables)))
            for table, column, privileges in self.fetch_all(sql, list(tables)):
                rights[fold(table)][column] = str(privileges).split(",")
        return rights

    def _is_temporary(self, table: str) -> bool:
        with suppress(DatabaseError):  # a right may be missing, which a user has on temporary tables of its own
            return str(self.fetch_all(f"SHOW CREATE TABLE {self.quote(table)}")[0][1]).startswith("CREATE TEMPORARY")
        return False

    def _is_updatable(self, view: str) -> bool:
        sql = "SELECT is_updatable FROM information_schema.views WHERE table_schema = DATABASE() AND table_name = %s"
        return bool(self.fetch_value(sql, [view]) != "NO")


def _without(right: str, columns: Mapping[str, list[str]]) -> frozenset[str]:
    return frozenset(name for name, rights in columns.items() if right not in rights)
