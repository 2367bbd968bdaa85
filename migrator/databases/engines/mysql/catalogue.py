"""MySQL and MariaDB: its own description of tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db import DatabaseError

from ...tables import StoredColumn, Table
from ..base.catalogue import FOREIGN_KEY, INDEX, Catalogue, Counter, DeferredObject
from ..base.session import Row
from .values import BLOBS, TEXTS, integer_range

COLUMNS_SQL = """
SELECT table_name, column_name, data_type, column_type, is_nullable, column_default, extra, character_maximum_length,
       character_octet_length, numeric_precision, numeric_scale, datetime_precision, collation_name,
       character_set_name, generation_expression
FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name IN ({marks})
ORDER BY ordinal_position
"""
PROBE = "migrator_probe"
TABLE_LINE = re.compile(r"^\s+(?P<rest>(?:(?P<index>KEY)|CONSTRAINT) `(?P<name>(?:[^`]|``)+)` (?P<what>.*?)),?$")
LABEL = re.compile(r"'((?:[^']|'')*)'")
# The collations that tell spaces at the end apart: MariaDB's say so, and MySQL's have done so from version 9.0.0 of the
# Unicode Collation Algorithm on.
NO_PAD = re.compile(r"nopad|_0900_|^binary$")


class MySQLCatalogue(Catalogue):
    """The catalogue of MySQL and MariaDB."""

    restores_by_table = True

    def stored_tables(self, tables: Collection[str]) -> dict[str, dict[str, StoredColumn]]:
        rows = self._told_of_each(COLUMNS_SQL, tables)
        return {table: {row[0]: _stored_column(row) for row in rows[table]} for table in tables}

    def room(self, table: str) -> int:
        return int(self._told_of("data_length", [table])[table] or 0)

    def triggers(self, tables: Sequence[str]) -> list[tuple[str, str]]:
        rows = self.fetch_all(
            "SELECT event_object_table, trigger_name FROM information_schema.triggers "
            "WHERE trigger_schema = DATABASE() AND event_manipulation IN ('INSERT', 'DELETE') ORDER BY 1, 2"
        )
        return [(table, name) for table, name in rows if table in set(tables)]

    def removable(self, tables: Sequence[str], with_indexes: Collection[str]) -> list[DeferredObject]:
        return [item for table in tables if table in with_indexes for item in self._removable(table)]

    def _removable(self, table: str) -> list[DeferredObject]:
        owner = self.identifier(table)
        definition = self.fetch_all(f"SHOW CREATE TABLE {self.quote(table)}")[0][1]
        found = [match for line in definition.split("\n") if (match := TABLE_LINE.match(line))]
        keys = [match for match in found if match["index"]]
        foreign = [match for match in found if match["what"].startswith("FOREIGN KEY")]
        # Put back in this order: a foreign key needs its index, and with checks off it is not looked at again.
        return [
            DeferredObject(
                table,
                FOREIGN_KEY,
                match["name"].replace("``", "`"),
                f"ALTER TABLE {owner} DROP FOREIGN KEY `{match['name']}`",
                f"ADD {match['rest']}",
            )
            for match in foreign
        ] + [
            DeferredObject(
                table,
                INDEX,
                match["name"].replace("``", "`"),
                f"ALTER TABLE {owner} DROP INDEX `{match['name']}`",
                f"ADD {match['rest']}",
            )
            for match in keys
        ]

    def unique_columns(self, table: str) -> list[Row]:
        # An index may hold a part of a text: where no two parts are the same, no two texts are.
        return self.fetch_all(
            "SELECT index_name, column_name FROM information_schema.statistics "
            "WHERE table_schema = DATABASE() AND table_name = %s AND non_unique = 0",
            (self.stored_name(table),),
        )

    def put_back(self, items: Sequence[DeferredObject]) -> None:
        # One ALTER a table: each of its own would read the whole table once more. Indexes first.
        missing = [item for item in items if not self.exists(item)]
        for kind in (INDEX, FOREIGN_KEY):
            of_kind = sorted((item for item in missing if item.kind == kind), key=attrgetter("table"))
            for table, group in groupby(of_kind, key=attrgetter("table")):
                changes = ", ".join(item.put_back.replace("%", "%%") for item in group)
                self.execute(f"ALTER TABLE {self.quote(table)} {changes}")

    def statement(self, item: DeferredObject) -> str:
        return f"ALTER TABLE {self.identifier(item.table)} {item.put_back}"

    def can_index(self, item: DeferredObject, where: str, params: Sequence[Any]) -> bool:
        table = self.quote(item.table)
        columns = [column for column in self.stored_columns(item.table).values() if not column.is_generated]
        names = ", ".join(self.quote(column.name) for column in columns)
        self.execute(f"CREATE TEMPORARY TABLE {PROBE} LIKE {table}")
        try:
            self.execute(f"INSERT INTO {PROBE} ({names}) SELECT {names} FROM {table}{where}", params)
            try:
                self.execute(f"ALTER TABLE {PROBE} {item.put_back.replace('%', '%%')}")
            except DatabaseError:
                return False
            return True
        finally:
            self.execute(f"DROP TEMPORARY TABLE {PROBE}")

    def exists(self, item: DeferredObject) -> bool:
        if item.kind == INDEX:
            sql = (
                "SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() "
                "AND table_name = %s AND index_name = %s LIMIT 1"
            )
        else:
            sql = (
                "SELECT 1 FROM information_schema.table_constraints WHERE table_schema = DATABASE() "
                "AND table_name = %s AND constraint_name = %s AND constraint_type = 'FOREIGN KEY'"
            )
        return bool(self.fetch_all(sql, (item.table, item.name)))

    def counters(self, tables: Sequence[Table]) -> list[Counter]:
        told = self.next_keys(tables)
        keys = [(table.name, table.key[0]) for table in tables if table.name in told and len(table.key) == 1]
        found = [Counter(*key, told[key[0]], largest) for key, largest in zip(keys, self.largest(keys), strict=True)]
        late = [counter.table for counter in found if counter.is_late]
        stored = self.stored_tables(late) if late else {}
        return [
            _exhausted(counter) if counter.is_late and _is_largest(counter, stored[counter.table]) else counter
            for counter in found
        ]

    def next_keys(self, tables: Sequence[Table]) -> dict[str, int]:
        told = self._told_of("auto_increment", [table.name for table in tables if len(table.key) == 1])
        return {table: value for table, value in told.items() if value is not None}

    def reset_counters(self, tables: Sequence[Table], next_keys: Mapping[str, int], *, may_lower: bool) -> None:
        # Every key that is written has taken them along already.
        told = self._told_of("auto_increment", list(next_keys))
        for table, next_key in next_keys.items():
            if next_key > (told[table] or next_key):
                self.execute(f"ALTER TABLE {self.quote(table)} AUTO_INCREMENT = {next_key}")

    def _told_of(self, what: str, tables: Collection[str]) -> dict[str, int | None]:
        """Ask for what changes with tables' rows, and have MySQL look instead of remember."""
        if not self.connection.mysql_is_mariadb:  # type: ignore[attr-defined]
            self.execute("SET SESSION information_schema_stats_expiry = 0")
        sql = (
            f"SELECT table_name, {what} FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name IN ({marks})"
        )
        rows = self._told_of_each(sql, tables)
        values = {table: rows[table][0][0] if rows[table] else None for table in tables}
        return {table: None if value is None else int(value) for table, value in values.items()}

    def _told_of_each(self, sql: str, tables: Collection[str]) -> dict[str, list[Row]]:
        """Put a query about tables by their names; it gives rows that begin with the name of their table."""
        fold = str.lower if self.connection.features.ignores_table_name_case else str
        stored = {table: self.stored_name(table) for table in tables}
        found: defaultdict[str, list[Row]] = defaultdict(list)
        for table, *row in self._told_by_name(sql, list(stored.values())) if tables else ():
            found[fold(table)].append(tuple(row))
        # MariaDB takes names in a list that differ in case for one, even where they are those of two tables.
        for table in stored.values() if len(tables) > 1 else ():
            if fold(table) not in found:
                rows = self._told_by_name(sql, [table])
                found[fold(table)] = [row[1:] for row in rows if fold(row[0]) == fold(table)]
        return {table: found[fold(name)] for table, name in stored.items()}

    def _told_by_name(self, sql: str, tables: Sequence[str]) -> list[Row]:
        return self.fetch_all(sql.format(marks=", ".join(["%s"] * len(tables))), tables)


def _is_largest(counter: Counter, stored: Mapping[str, StoredColumn]) -> bool:
    """Whether a table has the largest key that its column holds."""
    held = integer_range(stored[counter.column])
    return held is not None and counter.largest == held[1]


def _exhausted(counter: Counter) -> Counter:
    """Return a counter that has given its last key: MySQL, and MariaDB of the largest type, say that it comes again."""
    return replace(counter, next_value=(counter.largest or 0) + 1)


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
