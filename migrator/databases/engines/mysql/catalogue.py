"""MySQL and MariaDB: its own description of tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from ...tables import StoredColumn, Table
from ..base.catalogue import FOREIGN_KEY, INDEX, Catalogue, Counter, TakenOff
from ..base.session import Row
from .values import BLOBS, TEXTS

COLUMNS_SQL = """
SELECT column_name, data_type, column_type, is_nullable, column_default, extra, character_maximum_length,
       character_octet_length, numeric_precision, numeric_scale, datetime_precision, collation_name,
       character_set_name, generation_expression
FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = %s
ORDER BY ordinal_position
"""
TABLE_LINE = re.compile(r"^\s+(?P<rest>(?:(?P<index>KEY)|CONSTRAINT) `(?P<name>(?:[^`]|``)+)` (?P<what>.*?)),?$")


class MySQLCatalogue(Catalogue):
    """The catalogue of MySQL and MariaDB."""

    restores_by_table = True

    def stored_columns(self, table: str) -> dict[str, StoredColumn]:
        return {row[0]: _stored_column(row) for row in self.fetch_all(COLUMNS_SQL, (table,))}

    def room(self, table: str) -> int:
        return int(self._told_of(table, "data_length") or 0)

    def triggers(self, tables: Sequence[str]) -> list[str]:
        rows = self.fetch_all(
            "SELECT event_object_table, trigger_name FROM information_schema.triggers "
            "WHERE trigger_schema = DATABASE() AND event_manipulation = 'INSERT' ORDER BY 1, 2"
        )
        return [f"{table}.{name}" for table, name in rows if table in set(tables)]

    def removable(self, table: Table, *, indexes: bool) -> list[TakenOff]:
        if not indexes:
            return []
        owner = self.identifier(table.name)
        definition = self.fetch_all(f"SHOW CREATE TABLE {self.quote(table.name)}")[0][1]
        found = [match for line in definition.split("\n") if (match := TABLE_LINE.match(line))]
        keys = [match for match in found if match["index"]]
        foreign = [match for match in found if match["what"].startswith("FOREIGN KEY")]
        # Put back in this order: a foreign key needs its index, and with checks off it is not looked at again.
        return [
            TakenOff(
                table.name,
                FOREIGN_KEY,
                match["name"].replace("``", "`"),
                f"ALTER TABLE {owner} DROP FOREIGN KEY `{match['name']}`",
                f"ADD {match['rest']}",
            )
            for match in foreign
        ] + [
            TakenOff(
                table.name,
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
            (table,),
        )

    def put_back(self, items: Sequence[TakenOff]) -> None:
        # One ALTER a table: each of its own would read the whole table once more. Indexes first.
        missing = [item for item in items if not self.exists(item)]
        for kind in (INDEX, FOREIGN_KEY):
            of_kind = sorted((item for item in missing if item.kind == kind), key=attrgetter("table"))
            for table, group in groupby(of_kind, key=attrgetter("table")):
                changes = ", ".join(item.put_back.replace("%", "%%") for item in group)
                self.execute(f"ALTER TABLE {self.quote(table)} {changes}")

    def exists(self, item: TakenOff) -> bool:
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

    def counters(self, table: Table) -> list[Counter]:
        value = self._told_of(table.name, "auto_increment")
        return [] if value is None or len(table.key) != 1 else [Counter(table.name, table.key[0], int(value))]

    def _told_of(self, table: str, what: str) -> int | None:
        """Ask for what changes with a table's rows, and have MySQL look instead of remember."""
        if not self.connection.mysql_is_mariadb:  # type: ignore[attr-defined]
            self.execute("SET SESSION information_schema_stats_expiry = 0")
        found: int | None = self.fetch_value(
            f"SELECT {what} FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
            (table,),
        )
        return found


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
        is_three_byte_utf8=charset in ("utf8", "utf8mb3"),
    )
