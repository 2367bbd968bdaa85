"""PostgreSQL: its own description of tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ...tables import Reference, StoredColumn, Table
from ..base.catalogue import TableSize
from ..base.session import Row
from .deferred_objects import DeferredObjects
from .sequences import Sequences

# Also all partitions of a partitioned table, which has no storage of its own.
WITH_PARTITIONS = "(oid = to_regclass(%s) OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%s))))"
COLUMNS_SQL = """
SELECT n.number, a.attname, t.typname, format_type(t.oid, b.mod), NOT a.attnotnull,
       a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', b.mod,
       t.typname = 'citext' OR COALESCE(NOT c.collisdeterministic, false),
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
       CASE WHEN t.oid <> a.atttypid THEN format_type(a.atttypid, a.atttypmod) END
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_attribute a ON a.attrelid = to_regclass(n.name)
CROSS JOIN LATERAL (
    WITH RECURSIVE below(oid, mod) AS (
        SELECT a.atttypid, a.atttypmod
        UNION ALL
        SELECT d.typbasetype, d.typtypmod FROM below JOIN pg_type d ON d.oid = below.oid AND d.typtype = 'd'
    )
    SELECT below.oid, below.mod FROM below JOIN pg_type d ON d.oid = below.oid AND d.typtype <> 'd'
) b
JOIN pg_type t ON t.oid = b.oid
LEFT JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attnum > 0 AND NOT a.attisdropped
ORDER BY n.number, a.attnum
"""
KEYS_INTO_SQL = """
SELECT n.number, c.conrelid::regclass::text, quote_ident(a.attname)
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_constraint c ON c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = to_regclass(n.name)
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.conrelid <> ALL(SELECT to_regclass(o) FROM unnest(%s::text[]) o WHERE to_regclass(o) IS NOT NULL)
ORDER BY 2, 3
"""
SIZES_SQL = f"""
SELECT n.number, s.bytes
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
CROSS JOIN LATERAL (
    SELECT sum(pg_table_size(oid))::bigint AS bytes FROM pg_class WHERE {WITH_PARTITIONS.replace("%s", "n.name")}
) s
WHERE s.bytes IS NOT NULL
"""
INDEXED_SQL = """
SELECT c.relkind <> 'r' OR EXISTS (
    SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
    WHERE i.indrelid = c.oid AND a.attname = %s AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'
)
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""
# An index does not hold for the rows of child tables, which queries return as rows of their parent.
UNIQUE_SQL = """
SELECT i.indexrelid, a.attname
FROM pg_index i CROSS JOIN unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k(attnum)
LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
  AND NOT EXISTS (SELECT 1 FROM pg_inherits h JOIN pg_class t ON t.oid = h.inhparent
                  WHERE h.inhparent = i.indrelid AND t.relkind = 'r')
"""
ENFORCED_SQL = """
SELECT EXISTS (
    SELECT 1 FROM pg_constraint c
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
    JOIN pg_attribute b ON b.attrelid = c.confrelid AND c.confkey = ARRAY[b.attnum]
    WHERE c.contype = 'f' AND c.convalidated
      AND c.conrelid = to_regclass(n.name) AND c.confrelid = to_regclass(n.target)
      AND a.attname = n.own AND b.attname = n.others
      AND NOT EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgconstraint = c.oid AND t.tgenabled <> 'O')
)
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS n(name, target, own, others, number)
ORDER BY n.number
"""
# Tables that belong to an extension, such as PostGIS' spatial_ref_sys.
EXTENSIONS_SQL = """
SELECT c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      AND pg_table_is_visible(c.oid)
"""


class PostgreSQLCatalogue(DeferredObjects, Sequences):
    """The catalogue of PostgreSQL."""

    def stored_tables(self, tables: Collection[str]) -> dict[str, dict[str, StoredColumn]]:
        names = list(tables)
        found: dict[str, dict[str, StoredColumn]] = {name: {} for name in names}
        for number, *row in self.fetch_all(COLUMNS_SQL, (self.identifiers(names),)):
            found[names[number - 1]][row[0]] = _stored_column(row)
        return found

    def table_names(self) -> list[str]:
        of_extensions = {name for (name,) in self.fetch_all(EXTENSIONS_SQL)}
        return [name for name in super().table_names() if name not in of_extensions]

    def table_sizes(self, tables: Sequence[Table]) -> dict[str, TableSize]:
        names = [table.name for table in tables]
        rows = self.fetch_all(SIZES_SQL, (self.identifiers(names),))
        return {names[number - 1]: TableSize(size) for number, size in rows}

    def row_size(self, table: str) -> int | None:
        """Return about how many bytes a row takes, if the server has counted the rows (``pg_class.reltuples``)."""
        # The row count of a partitioned table includes those of its partitions, which are also counted themselves.
        size: int | None = self.fetch_value(
            "SELECT (sum(pg_table_size(oid)) / nullif(sum(greatest(reltuples, 0)), 0))::bigint FROM pg_class "
            f"WHERE relkind = 'r' AND {WITH_PARTITIONS}",
            (self.identifier(table),) * 2,
        )
        return size

    def foreign_keys_into(self, tables: Collection[str], but: Collection[str]) -> list[tuple[str, str, str]]:
        names = list(tables)
        rows = self.fetch_all(KEYS_INTO_SQL, (self.identifiers(names), self.identifiers(but)))
        return [
            (owner.replace("%", "%%"), column.replace("%", "%%"), names[number - 1]) for number, owner, column in rows
        ]

    def unique_columns(self, table: str) -> list[Row]:
        return self.fetch_all(UNIQUE_SQL, (self.identifier(table),))

    def is_indexed(self, table: str, column: str) -> bool:
        return self.fetch_value(INDEXED_SQL, (column, self.identifier(table))) is not False

    def enforced(self, references: Sequence[tuple[str, Reference]]) -> list[bool]:
        names = (
            self.identifiers(table for table, _ in references),
            self.identifiers(reference.target_table for _, reference in references),
            [reference.column for _, reference in references],
            [reference.target_column for _, reference in references],
        )
        return [bool(row[0]) for row in self.fetch_all(ENFORCED_SQL, names)]

    def refresh_statistics(self, tables: Sequence[str]) -> None:
        self.execute(f"ANALYZE {', '.join(self.quote(table) for table in tables)}")


def _stored_column(row: Sequence[Any]) -> StoredColumn:
    name, type_name, declared, nullable, has_default, is_generated, modifier, ignores_case, labels, domain = row
    length = precision = scale = None
    if type_name in ("varchar", "bpchar") and modifier > 4:
        length = modifier - 4
    elif type_name == "numeric" and modifier > 4:
        precision, scale = ((modifier - 4) >> 16) & 0xFFFF, (((modifier - 4) & 0x7FF) ^ 0x400) - 0x400
    elif type_name in ("timestamptz", "timestamp", "time") and 0 <= modifier < 6:
        precision = modifier
    elif type_name == "interval" and modifier >= 0:
        # Its restriction to fields, and its fractional digits (PostgreSQL source, src/include/utils/timestamp.h).
        fields, digits = modifier >> 16, modifier & 0xFFFF
        precision = digits if digits < 6 else None
        type_name = type_name if fields == 0x7FFF else declared
    return StoredColumn(
        name,
        type_name,
        declared,
        nullable,
        has_default,
        is_generated,
        length,
        None,
        precision,
        scale,
        ignores_case=ignores_case,
        is_padded=type_name == "bpchar",
        labels=tuple(labels),
        domain=domain,
    )
