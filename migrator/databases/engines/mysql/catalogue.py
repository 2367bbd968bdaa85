"""MySQL and MariaDB: tables as their catalogue describes them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db import DatabaseError

from ...tables import StoredColumn, Table
from ..base.catalogue import FOREIGN_KEY, INDEX, Catalogue, DeferredObject, KeySequence, TableSize
from ..base.constraints import PROBE
from ..base.session import Row
from .catalogue_rows import fetch_by_table
from .values import BLOBS, TEXTS, integer_range

COLUMNS_SQL = """
SELECT table_name, column_name, data_type, column_type, is_nullable, column_default, extra, character_maximum_length,
       character_octet_length, numeric_precision, numeric_scale, datetime_precision, collation_name,
       character_set_name, generation_expression
FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name IN ({marks})
ORDER BY ordinal_position
"""
SIZES_SQL = """
SELECT table_name, data_length FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name IN ({marks}) AND data_length IS NOT NULL
"""
# Of a table: the names of its indexes, and of its foreign keys.
NAMES_SQL = {
    INDEX: "SELECT DISTINCT index_name FROM information_schema.statistics "
    "WHERE table_schema = DATABASE() AND table_name = %s",
    FOREIGN_KEY: "SELECT constraint_name FROM information_schema.table_constraints "
    "WHERE table_schema = DATABASE() AND table_name = %s AND constraint_type = 'FOREIGN KEY'",
}
TABLE_LINE = re.compile(r"^\s+(?P<rest>(?:(?P<index>KEY)|CONSTRAINT) `(?P<name>(?:[^`]|``)+)` (?P<what>.*?)),?$")
LABEL = re.compile(r"'((?:[^']|'')*)'")
# Collations for which spaces at the end of a text count: MariaDB's have "nopad" in their names, and MySQL's pad nothing
# from version 9.0.0 of the Unicode Collation Algorithm on (MySQL manual, "Unicode Character Sets").
NO_PAD = re.compile(r"nopad|_0900_|^binary$")


class MySQLCatalogue(Catalogue):
    """The catalogue of MySQL and MariaDB."""

    def stored_tables(self, tables: Collection[str]) -> dict[str, dict[str, StoredColumn]]:
        rows = fetch_by_table(self, COLUMNS_SQL, tables)
        return {table: {row[0]: _stored_column(row) for row in rows[table]} for table in tables}

    def table_sizes(self, tables: Sequence[Table]) -> dict[str, TableSize]:
        self._distrust_statistics()
        found = fetch_by_table(self, SIZES_SQL, [table.name for table in tables])
        return {name: TableSize(int(rows[0][0])) for name, rows in found.items() if rows}

    def triggers(self, tables: Sequence[str]) -> list[tuple[str, str]]:
        rows = self.fetch_all(
            "SELECT event_object_table, trigger_name FROM information_schema.triggers "
            "WHERE trigger_schema = DATABASE() AND event_manipulation IN ('INSERT', 'DELETE') ORDER BY 1, 2"
        )
        return [(table, name) for table, name in rows if table in set(tables)]

    def deferrable(self, tables: Sequence[str], with_indexes: Collection[str]) -> list[DeferredObject]:
        return [item for table in tables if table in with_indexes for item in self._deferrable(table)]

    def _deferrable(self, table: str) -> list[DeferredObject]:
        owner = self.identifier(table)
        definition = self.fetch_all(f"SHOW CREATE TABLE {self.quote(table)}")[0][1]
        found = [match for line in definition.split("\n") if (match := TABLE_LINE.match(line))]
        keys = [match for match in found if match["index"]]
        foreign = [match for match in found if match["what"].startswith("FOREIGN KEY")]
        # Foreign keys are dropped first: an index that one of them needs can't be (error 1553, ER_DROP_INDEX_FK).
        return [
            DeferredObject(
                table,
                kind,
                match["name"].replace("``", "`"),
                f"ALTER TABLE {owner} DROP {kind.upper()} `{match['name']}`",
                f"ADD {match['rest']}",
            )
            for kind, matches in ((FOREIGN_KEY, foreign), (INDEX, keys))
            for match in matches
        ]

    def unique_columns(self, table: str) -> list[Row]:
        # An index may hold prefixes of texts: if no two prefixes are equal, no two texts are.
        return self.fetch_all(
            "SELECT index_name, column_name FROM information_schema.statistics "
            "WHERE table_schema = DATABASE() AND table_name = %s AND non_unique = 0",
            (self.stored_name(table),),
        )

    def is_indexed(self, table: str, column: str) -> bool:
        found = self.fetch_value(
            "SELECT t.table_type <> 'BASE TABLE' OR EXISTS (SELECT 1 FROM information_schema.statistics s "
            "WHERE s.table_schema = t.table_schema AND s.table_name = t.table_name AND s.seq_in_index = 1 "
            "AND s.column_name = %s) FROM information_schema.tables t "
            "WHERE t.table_schema = DATABASE() AND t.table_name = %s",
            (column, self.stored_name(table)),
        )
        return found is None or bool(found)

    def drop(self, items: Sequence[DeferredObject]) -> None:
        existing = self.existing(items)
        for (table, kind), group in groupby((i for i in items if i in existing), key=attrgetter("table", "kind")):
            changes = ", ".join(f"DROP {kind.upper()} `{item.name.replace('`', '``')}`" for item in group)
            self.execute(f"ALTER TABLE {self.quote(table)} {changes.replace('%', '%%')}")

    def recreate(self, items: Sequence[DeferredObject]) -> None:
        # One ALTER per table and kind: each ALTER reads the whole table. Indexes first: foreign keys need them. With
        # foreign_key_checks = 0, the rows are not checked (MySQL manual, "FOREIGN KEY Constraints").
        missing = self._missing(items)
        for kind in (INDEX, FOREIGN_KEY):
            of_kind = sorted((item for item in missing if item.kind == kind), key=attrgetter("table"))
            for table, group in groupby(of_kind, key=attrgetter("table")):
                changes = ", ".join(item.create_sql.replace("%", "%%") for item in group)
                self.execute(f"ALTER TABLE {self.quote(table)} {changes}")

    def statement(self, item: DeferredObject) -> str:
        return f"ALTER TABLE {self.identifier(item.table)} {item.create_sql}"

    def can_index(self, item: DeferredObject, where: str, params: Sequence[Any]) -> bool:
        table = self.quote(item.table)
        columns = [column for column in self.stored_columns(item.table).values() if not column.is_generated]
        names = ", ".join(self.quote(column.name) for column in columns)
        self.execute(f"CREATE TEMPORARY TABLE {PROBE} LIKE {table}")
        try:
            self.execute(f"INSERT INTO {PROBE} ({names}) SELECT {names} FROM {table}{where}", params)
            try:
                self.execute(f"ALTER TABLE {PROBE} {item.create_sql.replace('%', '%%')}")
            except DatabaseError:
                return False
            return True
        finally:
            self.execute(f"DROP TEMPORARY TABLE {PROBE}")

    def existing(self, items: Sequence[DeferredObject]) -> set[DeferredObject]:
        found = set()
        for table, kind in dict.fromkeys((item.table, item.kind) for item in items):
            names = {name.lower() for (name,) in self.fetch_all(NAMES_SQL[kind], (table,))}
            found |= {i for i in items if (i.table, i.kind) == (table, kind) and i.name.lower() in names}
        return found

    def sequences(self, tables: Sequence[Table]) -> list[KeySequence]:
        found = super().sequences(tables)
        behind = [sequence.table for sequence in found if sequence.is_behind]
        stored = self.stored_tables(behind) if behind else {}
        return [
            _exhausted(sequence) if sequence.is_behind and _is_largest(sequence, stored[sequence.table]) else sequence
            for sequence in found
        ]

    def next_keys(self, tables: Sequence[Table]) -> dict[str, int]:
        found = self._current("auto_increment", [table.name for table in tables if len(table.key) == 1])
        return {table: value for table, value in found.items() if value is not None}

    def reset_sequences(self, tables: Sequence[Table], next_keys: Mapping[str, int], *, may_lower: bool) -> None:
        # Rows that were written with their keys have advanced them already (MySQL manual, "Using AUTO_INCREMENT").
        found = self._current("auto_increment", list(next_keys))
        for table, next_key in next_keys.items():
            if next_key > (found[table] or next_key):
                self.execute(f"ALTER TABLE {self.quote(table)} AUTO_INCREMENT = {next_key}")

    def _current(self, column: str, tables: Collection[str]) -> dict[str, int | None]:
        """Return a column of ``information_schema.tables`` by table, and not from MySQL's cache of such statistics."""
        self._distrust_statistics()
        sql = (
            f"SELECT table_name, {column} FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name IN ({marks})"
        )
        rows = fetch_by_table(self, sql, tables)
        values = {table: rows[table][0][0] if rows[table] else None for table in tables}
        return {table: None if value is None else int(value) for table, value in values.items()}

    def _distrust_statistics(self) -> None:
        """Make ``information_schema.tables`` ask for the statistics of a table, which MySQL otherwise keeps for a day.

        MySQL manual, "The INFORMATION_SCHEMA TABLES Table".
        """
        if not self.connection.mysql_is_mariadb:  # type: ignore[attr-defined]
            self.execute("SET SESSION information_schema_stats_expiry = 0")


def _is_largest(sequence: KeySequence, stored: Mapping[str, StoredColumn]) -> bool:
    """Whether a table has the largest key that its column can hold."""
    limits = integer_range(stored[sequence.column])
    return limits is not None and sequence.largest == limits[1]


def _exhausted(sequence: KeySequence) -> KeySequence:
    """Return a sequence past its last key, which MySQL, and MariaDB for its largest type, report as the next one."""
    return replace(sequence, next_value=(sequence.largest or 0) + 1)


def _stored_column(row: Row) -> StoredColumn:
    (name, data_type, declared, nullable, default, extra, length, octets, precision, scale, fraction, collation,
     charset, expression) = row  # fmt: skip
    data_type = data_type.lower()
    is_text = data_type in ("char", "varchar")
    is_sized = data_type in (*TEXTS, *BLOBS) and octets is not None and octets < 2**32 - 1
    return StoredColumn(
        name,
        data_type,
        declared,
        nullable == "YES",
        has_default=default is not None or "auto_increment" in extra.lower(),
        is_generated=bool(expression),
        max_length=int(length) if is_text and length is not None else None,
        max_bytes=int(octets) if is_sized else None,
        precision=int(precision) if precision is not None else None if fraction is None else int(fraction),
        scale=int(scale) if scale is not None else None,
        is_unsigned="unsigned" in declared.lower(),
        ignores_case=bool(collation) and collation.endswith("_ci"),
        ignores_spaces=bool(collation) and not NO_PAD.search(collation),
        is_three_byte_utf8=charset in ("utf8", "utf8mb3", "ucs2"),
        labels=tuple(label.replace("''", "'") for label in LABEL.findall(declared))
        if data_type in ("enum", "set")
        else (),
    )
