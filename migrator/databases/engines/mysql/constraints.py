"""MySQL and MariaDB: unique indexes and checks, as their catalogue describes them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

from ...tables import StoredColumn
from ..base.characters import Ranges, ranges_of
from ..base.constraints import NUMBER, PROBE, Check, Constraints, UniqueIndex
from .catalogue_rows import Rows, folding, group_by_table
from .portable_sql import MySQLTranslation

# An expression, which only MySQL has in indexes, has no column name. The query reads all tables, because MariaDB takes
# two names in a list for one if they differ in case alone; see fetch_by_table().
UNIQUE_SQL = """
SELECT table_name, index_name, column_name, sub_part, {expression} FROM information_schema.statistics
WHERE table_schema = DATABASE() AND non_unique = 0 ORDER BY table_name, index_name, seq_in_index
"""
MARIADB_CHECKS_SQL = """
SELECT table_name, constraint_name, check_clause FROM information_schema.check_constraints
WHERE constraint_schema = DATABASE() ORDER BY table_name, constraint_name
"""
MYSQL_CHECKS_SQL = """
SELECT t.table_name, t.constraint_name, c.check_clause
FROM information_schema.table_constraints t
JOIN information_schema.check_constraints c
  ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name
WHERE t.table_schema = DATABASE() AND t.constraint_type = 'CHECK' AND t.enforced = 'YES'
ORDER BY t.table_name, t.constraint_name
"""
# Single-byte character sets. MySQL's latin1 is Windows code page 1252, with control characters for the bytes that 1252
# leaves undefined (MySQL manual, "West European Character Sets").
CHARACTERS: Mapping[str, Ranges] = {
    "latin1": ranges_of("cp1252", 0x81, 0x8D, 0x8F, 0x90, 0x9D),
    "ascii": ranges_of("ascii"),
    "latin2": ranges_of("iso8859-2"),
    "latin5": ranges_of("iso8859-9"),
    "latin7": ranges_of("iso8859-13"),
    "cp1250": ranges_of("cp1250"),
    "cp1251": ranges_of("cp1251"),
    "cp1256": ranges_of("cp1256"),
    "cp1257": ranges_of("cp1257"),
    "greek": ranges_of("iso8859-7"),
    "hebrew": ranges_of("iso8859-8"),
    "koi8r": ranges_of("koi8-r"),
    "koi8u": ranges_of("koi8-u"),
}
CHARACTER_SETS_SQL = f"""
SELECT table_name, column_name, character_set_name FROM information_schema.columns
WHERE table_schema = DATABASE() AND character_set_name IN ({", ".join(f"'{name}'" for name in CHARACTERS)})
"""
FIRST_WITH_CHECKS = (8, 0, 16)  # MySQL manual, "CHECK Constraints"
FIRST_WITH_EXPRESSIONS = (8, 0, 13)  # MySQL manual, "CREATE INDEX Statement", "Functional Key Parts"


class _Part(NamedTuple):
    """A part of an index: a column, or its first ``length`` characters or bytes, or an expression."""

    column: str | None
    length: int | None
    expression: str | None


class MySQLConstraints(Constraints):
    """The constraints of tables in MySQL and MariaDB."""

    translation_class = MySQLTranslation

    def unique_indexes(self, tables: Collection[str]) -> dict[str, list[UniqueIndex]]:
        connection = self.connection
        is_mariadb, version = connection.mysql_is_mariadb, connection.mysql_version  # type: ignore[attr-defined]
        has_expressions = not is_mariadb and version >= FIRST_WITH_EXPRESSIONS
        sql = UNIQUE_SQL.format(expression="expression" if has_expressions else "NULL")
        found: dict[str, list[UniqueIndex]] = {}
        for table, rows in self._rows(sql, tables).items():
            parts: defaultdict[str, list[_Part]] = defaultdict(list)
            for index, *part in rows:
                parts[index].append(_Part(*part))
            found[table] = [self._unique_index(name, of_index) for name, of_index in parts.items()]
        return found

    def _unique_index(self, name: str, parts: list[_Part]) -> UniqueIndex:
        columns = tuple(part.column if part.length is None else None for part in parts)
        expressions = [self._sql_of(part) for part in parts]
        if None in expressions:
            return UniqueIndex(name, columns)
        known = tuple(filter(None, expressions))
        return UniqueIndex(name, columns, definition=", ".join(known), expressions=known)

    def _sql_of(self, part: _Part) -> str | None:
        """Return the SQL of a part of an index; ``None`` if there is none."""
        if part.column is not None:
            column = self.identifier(part.column)
            return column if part.length is None else f"LEFT({column}, {part.length})"
        # No query can have that type (MySQL manual, "CREATE INDEX Statement", "Multi-Valued Indexes").
        is_array = part.expression is None or part.expression.endswith(" array)")
        return None if is_array else _unescaped(str(part.expression))

    def characters(self, table: str, column: str) -> tuple[str, Ranges] | None:
        name = self._character_sets.get((folding(self)(table), column))
        return None if name is None else (name, CHARACTERS[name])

    @cached_property
    def _character_sets(self) -> dict[tuple[str, str], str]:
        fold = folding(self)
        return {(fold(table), column): name for table, column, name in self.fetch_all(CHARACTER_SETS_SQL)}

    def checks(self, tables: Collection[str]) -> dict[str, list[Check]]:
        connection = self.connection
        is_mariadb, version = connection.mysql_is_mariadb, connection.mysql_version  # type: ignore[attr-defined]
        if not is_mariadb and version < FIRST_WITH_CHECKS:
            return {table: [] for table in tables}
        rows = self._rows(MARIADB_CHECKS_SQL if is_mariadb else MYSQL_CHECKS_SQL, tables)
        # MariaDB can be kept from checking rows (its manual, check_constraint_checks); MySQL can't.
        return {
            table: [
                Check(name, clause if is_mariadb else _unescaped(clause), is_validated=not is_mariadb)
                for name, clause in of_table
            ]
            for table, of_table in rows.items()
        }

    @contextmanager
    def probe(self, table: str, columns: Collection[StoredColumn]) -> Iterator[None]:
        names = "".join(f", {self.quote(column.name)}" for column in columns)
        # With sql_require_primary_key, no table can be created without one (MySQL manual, "Server System Variables").
        self.execute(
            f"CREATE TEMPORARY TABLE {PROBE} (PRIMARY KEY ({NUMBER})) "
            f"SELECT 0 AS {NUMBER}{names} FROM {self.quote(table)} LIMIT 0"
        )
        try:
            yield
        finally:
            self.execute(f"DROP TEMPORARY TABLE {PROBE}")

    def _rows(self, sql: str, tables: Collection[str]) -> Rows:
        return group_by_table(self, self.fetch_all(sql) if tables else (), tables)


def _unescaped(clause: str) -> str:
    """Return a MySQL clause as it was declared: the catalogue has a backslash before each quote and each backslash."""
    return re.sub(r"\\(.)", r"\1", clause)
