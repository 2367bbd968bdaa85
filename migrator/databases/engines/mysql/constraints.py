"""MySQL and MariaDB: their own description of what tables refuse."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

from ...tables import StoredColumn
from ..base.characters import Ranges, ranges_of
from ..base.constraints import NUMBER, PROBE, Check, Constraints, UniqueIndex
from ..base.session import Row

# Of an expression, which only MySQL has in indexes, there is no name. All tables are asked about at once: MariaDB takes
# names in a list that differ in case for one.
UNIQUE_SQL = """
SELECT table_name, index_name, column_name, sub_part FROM information_schema.statistics
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
# Character sets of one byte for each character. Their latin1 is Windows' page 1252, whose gaps are filled with control
# characters (MySQL's manual, "West European Character Sets").
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
FIRST_WITH_CHECKS = (8, 0, 16)


class MySQLConstraints(Constraints):
    """What tables of MySQL and MariaDB refuse."""

    # LENGTH counts bytes here.
    character_length = "CHAR_LENGTH"
    character_lengths = frozenset(("CHAR_LENGTH", "CHARACTER_LENGTH"))

    def unique_indexes(self, tables: Collection[str]) -> dict[str, list[UniqueIndex]]:
        found: dict[str, list[UniqueIndex]] = {}
        for table, rows in self._by_table(UNIQUE_SQL, tables).items():
            parts: defaultdict[str, list[tuple[str | None, int | None]]] = defaultdict(list)
            for index, column, length in rows:
                parts[index].append((column, length))
            found[table] = [self._unique_index(name, columns) for name, columns in parts.items()]
        return found

    def _unique_index(self, name: str, parts: list[tuple[str | None, int | None]]) -> UniqueIndex:
        """Describe an index of columns, of some of which it may have only so many characters, or bytes."""
        columns = tuple(column if length is None else None for column, length in parts)
        if any(column is None for column, _ in parts):
            return UniqueIndex(name, columns)
        expressions = [
            self.identifier(str(column)) if length is None else f"LEFT({self.identifier(str(column))}, {length})"
            for column, length in parts
        ]
        return UniqueIndex(name, columns, definition=", ".join(expressions), expressions=tuple(expressions))

    def characters(self, table: str, column: str) -> tuple[str, Ranges] | None:
        fold = str.lower if self.connection.features.ignores_table_name_case else str
        name = self._character_sets.get((fold(table), column))
        return None if name is None else (name, CHARACTERS[name])

    @cached_property
    def _character_sets(self) -> dict[tuple[str, str], str]:
        fold = str.lower if self.connection.features.ignores_table_name_case else str
        return {(fold(table), column): name for table, column, name in self.fetch_all(CHARACTER_SETS_SQL)}

    def checks(self, tables: Collection[str]) -> dict[str, list[Check]]:
        connection = self.connection
        is_mariadb, version = connection.mysql_is_mariadb, connection.mysql_version  # type: ignore[attr-defined]
        if not is_mariadb and version < FIRST_WITH_CHECKS:
            return {table: [] for table in tables}
        rows = self._by_table(MARIADB_CHECKS_SQL if is_mariadb else MYSQL_CHECKS_SQL, tables)
        # MySQL can't be kept from checking a row but MariaDB can: SET check_constraint_checks = 0.
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
        self.execute(f"CREATE TEMPORARY TABLE {PROBE} SELECT 0 AS {NUMBER}{names} FROM {self.quote(table)} LIMIT 0")
        try:
            yield
        finally:
            self.execute(f"DROP TEMPORARY TABLE {PROBE}")

    def _by_table(self, sql: str, tables: Collection[str]) -> dict[str, list[Row]]:
        """Return the rows of a query by the table that each begins with, without that."""
        fold = str.lower if self.connection.features.ignores_table_name_case else str
        found: defaultdict[str, list[Row]] = defaultdict(list)
        for table, *row in self.fetch_all(sql) if tables else ():
            found[fold(table)].append(tuple(row))
        return {table: found[fold(self.stored_name(table))] for table in tables}


def _unescaped(clause: str) -> str:
    r"""Return a clause of MySQL as it was written: its quotes are kept as ``\'``."""
    return clause.replace("\\'", "'")
