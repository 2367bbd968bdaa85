"""SQLite: tables as its catalogue describes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import DatabaseError, transaction

from ...tables import StoredColumn, Table
from ..base.catalogue import INDEX, Catalogue, DeferredObject, TableSize
from ..base.session import Row

# The sorter of CREATE INDEX holds PRAGMA cache_size in memory (sqlite.org/src, vdbesort.c); negative means KiB. With 32
# MiB, sorting took a third longer than with these 2 MiB.
SORTED_AT_ONCE = -2000
SAMPLED_ROWS = 100


class SQLiteCatalogue(Catalogue):
    """The catalogue of SQLite."""

    def stored_tables(self, tables: Collection[str]) -> dict[str, dict[str, StoredColumn]]:
        return {table: self._stored_columns(table) for table in tables}

    def _stored_columns(self, table: str) -> dict[str, StoredColumn]:
        rows = self.fetch_all(f"PRAGMA table_xinfo({self.quote(table)})")
        return {
            name: StoredColumn(
                name,
                declared.lower().split("(")[0].strip(),
                declared,
                nullable=not required,
                has_default=default is not None or bool(key),
                is_generated=hidden in (2, 3),
            )
            for _, name, declared, required, default, key, hidden in rows
        }

    def table_sizes(self, tables: Sequence[Table]) -> dict[str, TableSize]:
        queries = [(self._sample_sql(table), ()) for table in tables if table.columns]
        names = [table.name for table in tables if table.columns]
        found = zip(names, self.fetch_each(queries), strict=True)
        return {name: TableSize(int(size), rows) for name, (rows, size) in found if rows}

    def _sample_sql(self, table: Table) -> str:
        """Build the query for the number and the bytes of some rows, of which the header has one a value.

        The last rows of a table are often larger than its first.
        """
        lengths = " + ".join(f"coalesce(length({self.quote(column.name)}), 0) + 1" for column in table.columns)
        rows = f"SELECT * FROM {self.quote(table.name)}"
        samples = [f"SELECT * FROM ({rows} LIMIT {SAMPLED_ROWS})"]
        if table.key:
            last = ", ".join(f"{self.quote(name)} DESC" for name in table.key)
            samples.append(f"SELECT * FROM ({rows} ORDER BY {last} LIMIT {SAMPLED_ROWS})")
        return f"SELECT count(*), coalesce(sum({lengths}), 0) FROM ({' UNION ALL '.join(samples)})"

    def triggers(self, tables: Sequence[str]) -> list[tuple[str, str]]:
        rows = self.fetch_all("SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger' ORDER BY 1, 2")
        return [(table, name) for table, name in rows if table in set(tables)]

    def deferrable(self, tables: Sequence[str], with_indexes: Collection[str]) -> list[DeferredObject]:
        return [item for table in tables if table in with_indexes for item in self._deferrable(table)]

    def _deferrable(self, table: str) -> list[DeferredObject]:
        rows = self.fetch_all(
            "SELECT m.name, m.sql FROM sqlite_master m JOIN pragma_index_list(%s) l ON l.name = m.name "
            "WHERE m.type = 'index' AND m.sql IS NOT NULL AND l.\"unique\" = 0 ORDER BY m.name",
            (table,),
        )
        drops = [(name, f"DROP INDEX {_quoted(name)}", sql) for name, sql in rows]
        return [DeferredObject(table, INDEX, *drop) for drop in drops]

    def recreate(self, items: Sequence[DeferredObject]) -> None:
        usual = self.fetch_value("PRAGMA cache_size")
        self.execute(f"PRAGMA cache_size = {SORTED_AT_ONCE}")
        try:
            super().recreate(items)
        finally:
            self.execute(f"PRAGMA cache_size = {usual}")

    def can_index(self, item: DeferredObject, where: str, params: Sequence[Any]) -> bool:
        table = self.quote(item.table)
        with transaction.atomic(using=self.alias):
            # A temporary table shadows the table of the same name, for CREATE INDEX, too (sqlite.org/lang_naming.html).
            self.execute(f"CREATE TEMPORARY TABLE {table} AS SELECT * FROM main.{table}{where}", params)
            try:
                self.execute(item.create_sql.replace("%", "%%"))
                is_created = True
            except DatabaseError:
                is_created = False
            transaction.set_rollback(True, using=self.alias)
        return is_created

    def unique_columns(self, table: str) -> list[Row]:
        return self.fetch_all(
            "SELECT 'primary key', name FROM pragma_table_info(%s) WHERE pk > 0 UNION ALL "
            "SELECT 'index ' || l.name, i.name FROM pragma_index_list(%s) l JOIN pragma_index_info(l.name) i "
            'WHERE l."unique" = 1 AND l.partial = 0',
            (self.stored_name(table),) * 2,
        )

    def is_indexed(self, table: str, column: str) -> bool:
        name = self.stored_name(table)
        found = self.fetch_all(
            "SELECT 1 FROM pragma_table_info(%s) WHERE pk = 1 AND name = %s COLLATE NOCASE UNION ALL "
            "SELECT 1 FROM pragma_index_list(%s) l JOIN pragma_index_info(l.name) i "
            "WHERE l.partial = 0 AND i.seqno = 0 AND i.name = %s COLLATE NOCASE UNION ALL "
            "SELECT 1 FROM sqlite_master WHERE type = 'view' AND name = %s COLLATE NOCASE",
            (name, column, name, column, name),
        )
        return bool(found)

    def existing(self, items: Sequence[DeferredObject]) -> set[DeferredObject]:
        # Index names are unique in the whole file, so an index of another table may have this name by now.
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = %s AND tbl_name = %s COLLATE NOCASE"
        return {item for item in items if self.fetch_all(sql, (item.name, item.table))}

    def next_keys(self, tables: Sequence[Table]) -> dict[str, int]:
        last = self._last_keys()
        counted = {table.name: last.get(self.stored_name(table.name)) for table in tables if len(table.key) == 1}
        return {table: key + 1 for table, key in counted.items() if key is not None}

    def _last_keys(self) -> dict[str, int]:
        if not self.fetch_all("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"):
            return {}
        return dict(self.fetch_all("SELECT name, seq FROM sqlite_sequence"))

    def reset_sequences(self, tables: Sequence[Table], next_keys: Mapping[str, int], *, may_lower: bool) -> None:
        # Rows that were written with their keys have advanced them already (sqlite.org/autoinc.html).
        last = self._last_keys()
        behind = {table: key - 1 for table, key in next_keys.items() if last.get(table, 0) < key - 1}
        counted = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%%AUTOINCREMENT%%'"
        for (table,) in self.fetch_all(counted) if behind else ():
            if table in last and table in behind:
                self.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", (behind[table], table))
            elif table in behind:
                self.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", (table, behind[table]))


def _quoted(name: str) -> str:
    # Not Django's quote_name(), which does not double quotes within a name.
    return '"' + name.replace('"', '""') + '"'
