"""PostgreSQL: its own description of tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import AutoField

from ...tables import Reference, StoredColumn, Table
from ..base.catalogue import (
    FOREIGN_KEY,
    INDEX,
    TRIGGER,
    UNIQUE_KEY,
    Catalogue,
    DeferredObject,
    EntryLimit,
    KeySequence,
    Obstacle,
)
from ..base.session import Row
from . import obstacles

# Of a partitioned table all partitions, too: by itself it takes no room.
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
POINTING_SQL = """
SELECT n.number, c.conrelid::regclass::text, quote_ident(a.attname)
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_constraint c ON c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = to_regclass(n.name)
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.conrelid <> ALL(SELECT to_regclass(o) FROM unnest(%s::text[]) o WHERE to_regclass(o) IS NOT NULL)
ORDER BY 2, 3
"""
# Left on: whatever the catalogue's own definition would not bring back whole (a tablespace, a statistics target, …).
FOREIGN_KEYS_SQL = """
SELECT n.number, conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(c.oid), conname,
       quote_literal(obj_description(c.oid, 'pg_constraint'))
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_constraint c ON c.conrelid = to_regclass(n.name)
JOIN pg_class t ON t.oid = c.conrelid
WHERE c.contype = 'f' AND c.conparentid = 0 AND pg_has_role(t.relowner, 'USAGE')
ORDER BY n.number, conname
"""
INDEXES_SQL = """
SELECT n.number, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), x.relname,
       quote_literal(obj_description(x.oid, 'pg_class'))
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_index i ON i.indrelid = to_regclass(n.name)
JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relkind = 'r' AND i.indisvalid
  AND NOT i.indisunique AND NOT i.indisprimary AND NOT i.indisexclusion AND NOT i.indisclustered
  AND NOT i.indisreplident AND x.reltablespace = 0 AND pg_has_role(t.relowner, 'USAGE')
  AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid)
  AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = x.oid AND a.attstattarget > 0)
  AND NOT EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid = x.oid)
ORDER BY n.number, x.relname
"""
# Left on: what anything else depends on (a view that groups by it, a foreign key that stays, …), what is published, and
# what forbids more than other databases do.
KEYS_SQL = """
SELECT c.conrelid::regclass::text, quote_ident(c.conname), pg_get_constraintdef(c.oid), c.conname,
       quote_literal(obj_description(c.oid, 'pg_constraint')), quote_literal(obj_description(x.oid, 'pg_class')),
       x.oid::regclass::text,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY(c.conkey))
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_index i ON i.indexrelid = c.conindid
JOIN pg_class x ON x.oid = i.indexrelid
WHERE c.conrelid = to_regclass(%s) AND c.contype IN ('p', 'u') AND t.relkind = 'r' AND i.indisvalid
  AND NOT i.indisclustered AND NOT i.indisreplident AND x.reltablespace = 0 AND x.reloptions IS NULL
  AND pg_has_role(t.relowner, 'USAGE') AND pg_get_constraintdef(c.oid) NOT LIKE 'UNIQUE NULLS NOT DISTINCT %%'
  AND NOT EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid IN (x.oid, t.oid) OR h.inhparent = t.oid)
  AND NOT EXISTS (SELECT 1 FROM pg_publication_tables p
                  WHERE p.schemaname = t.relnamespace::regnamespace::name AND p.tablename = t.relname)
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.refclassid = 'pg_constraint'::regclass AND d.refobjid = c.oid
                  AND NOT (d.classid = 'pg_class'::regclass AND d.objid = x.oid))
  AND NOT EXISTS (
    SELECT 1 FROM pg_depend d
    LEFT JOIN pg_constraint f ON f.oid = d.objid AND d.classid = 'pg_constraint'::regclass AND f.contype = 'f'
      AND f.conparentid = 0 AND f.conrelid = ANY(SELECT to_regclass(n) FROM unnest(%s::text[]) n)
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = x.oid AND f.oid IS NULL
  )
ORDER BY c.contype, c.conname
"""
# Of a partitioned table those of its partitions, too; its own first, for a change to those reaches their copies.
TRIGGERS_SQL = """
SELECT n.number, t.tgrelid::regclass::text, t.tgname, quote_ident(t.tgname), t.tgenabled::text,
       c.oid = to_regclass(n.name), t.tgparentid <> 0, c.relkind = 'p', pg_has_role(c.relowner, 'USAGE')
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
CROSS JOIN LATERAL (
    SELECT to_regclass(n.name)::oid AS relid UNION SELECT relid::oid FROM pg_partition_tree(to_regclass(n.name))
) r
JOIN pg_class c ON c.oid = r.relid JOIN pg_trigger t ON t.tgrelid = c.oid
WHERE NOT t.tgisinternal
ORDER BY n.number, c.oid <> to_regclass(n.name), t.tgname, 2
"""
# By their state in the catalogue; replica ones fire for rows that replication writes, and for no others.
ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"}
FIRING = ("O", "A")
# An index holds for no rows of child tables, which are read as rows of their parent.
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
SEQUENCES_SQL = """
SELECT COALESCE(
    pg_get_serial_sequence(n.name, n.keyed),
    (SELECT replace(substring(pg_get_expr(d.adbin, d.adrelid) FROM 'nextval\\(''(.*)''::regclass\\)'), '''''', '''')
     FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
     WHERE a.attrelid = to_regclass(n.name) AND a.attname = n.keyed)
)
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS n(name, keyed, number)
ORDER BY n.number
"""

# Of a sequence that was never used, or that this role may not read, there is none.
LAST_VALUE = (
    "SELECT CASE WHEN has_sequence_privilege(seqrelid, 'SELECT, USAGE') THEN pg_sequence_last_value(seqrelid) END "
    "FROM pg_sequence WHERE seqrelid = %s::regclass"
)
INCREMENT = "SELECT greatest(seqincrement, 1) FROM pg_sequence WHERE seqrelid = %s::regclass"
# Tables that an extension has brought with it, such as PostGIS' spatial_ref_sys, whose rows are its own.
EXTENSIONS_SQL = """
SELECT c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      AND pg_table_is_visible(c.oid)
"""
MOST = "SELECT seqmax FROM pg_sequence WHERE seqrelid = %s::regclass"
TOUCHED = re.compile(rf"(?:^ALTER TABLE |\) REFERENCES )({obstacles.TABLE})")


@dataclass(frozen=True)
class _Trigger:
    """A trigger of a table, or of one of its partitions: then ``owner`` is that partition."""

    table: str
    owner: str
    name: str
    quoted: str
    state: str
    is_on_table: bool
    # Made by PostgreSQL for a partition, after one of its parent.
    is_copy: bool
    is_on_partitioned: bool
    may_be_switched: bool

    def switched(self) -> DeferredObject:
        """Return the statements that disable the trigger and give it back the state it has now."""
        disable = f"ALTER TABLE {self.owner} DISABLE TRIGGER {self.quoted}"
        enable = f"ALTER TABLE {self.owner} {ENABLE[self.state]} TRIGGER {self.quoted}"
        return DeferredObject(self.table, TRIGGER, self.name, disable, enable)


class PostgreSQLCatalogue(Catalogue):
    """The catalogue of PostgreSQL."""

    def stored_tables(self, tables: Collection[str]) -> dict[str, dict[str, StoredColumn]]:
        names = list(tables)
        found: dict[str, dict[str, StoredColumn]] = {name: {} for name in names}
        for number, *row in self.fetch_all(COLUMNS_SQL, (self._identifiers(names),)):
            found[names[number - 1]][row[0]] = _stored_column(row)
        return found

    def _identifiers(self, names: Iterable[str]) -> list[str]:
        return [self.identifier(name) for name in names]

    def table_names(self) -> list[str]:
        of_extensions = {name for (name,) in self.fetch_all(EXTENSIONS_SQL)}
        return [name for name in super().table_names() if name not in of_extensions]

    def table_bytes(self, table: str) -> int:
        sql = f"SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint FROM pg_class WHERE {WITH_PARTITIONS}"
        return int(self.fetch_value(sql, (self.identifier(table),) * 2))

    def row_size(self, table: str) -> int | None:
        """Tell about how many bytes a row takes, as far as the server keeps count of the rows."""
        # A partitioned table counts the rows of its partitions once more.
        size: int | None = self.fetch_value(
            "SELECT (sum(pg_table_size(oid)) / nullif(sum(greatest(reltuples, 0)), 0))::bigint FROM pg_class "
            f"WHERE relkind = 'r' AND {WITH_PARTITIONS}",
            (self.identifier(table),) * 2,
        )
        return size

    def triggers(self, tables: Sequence[str]) -> list[tuple[str, str]]:
        return [
            (trigger.table, trigger.name)
            for trigger in self._triggers(tables)
            if trigger.state in FIRING and (trigger.is_on_table or not trigger.is_copy)
        ]

    def deferrable_triggers(self, tables: Sequence[str]) -> list[DeferredObject]:
        # Left on: those of partitioned tables, which partitions have once more.
        return [
            trigger.switched()
            for trigger in self._triggers(tables)
            if trigger.state in FIRING
            and trigger.is_on_table
            and not (trigger.is_copy or trigger.is_on_partitioned)
            and trigger.may_be_switched
        ]

    def silenceable_triggers(self, tables: Sequence[str]) -> list[DeferredObject]:
        # A copy in a partition has a state of its own, and loses it when that of its parent changes.
        return [
            trigger.switched()
            for trigger in self._triggers(tables)
            if trigger.may_be_switched and (trigger.state in FIRING or trigger.is_copy)
        ]

    def _triggers(self, tables: Sequence[str]) -> list[_Trigger]:
        rows = self.fetch_all(TRIGGERS_SQL, (self._identifiers(tables),))
        return [_Trigger(tables[number - 1], *row) for number, *row in rows]

    def tables_not_owned(self, tables: Sequence[str]) -> list[str]:
        rows = self.fetch_all(
            "SELECT n FROM unnest(%s::text[]) n JOIN pg_class t ON t.oid = to_regclass(n) "
            "WHERE NOT pg_has_role(t.relowner, 'USAGE') ORDER BY n",
            ([self.identifier(table) for table in tables],),
        )
        return [str(row[0]) for row in rows]

    def cascading(self, tables: Sequence[str]) -> list[str]:
        rows = self.fetch_all(
            "SELECT conrelid::regclass::text || '.' || conname FROM pg_constraint WHERE contype = 'f' "
            "AND confdeltype IN ('c', 'n', 'd') AND confrelid = ANY(SELECT to_regclass(n) FROM unnest(%s::text[]) n) "
            "ORDER BY 1",
            ([self.identifier(table) for table in tables],),
        )
        return [str(row[0]) for row in rows]

    def foreign_keys_into(self, tables: Collection[str], but: Collection[str]) -> list[tuple[str, str, str]]:
        names = list(tables)
        rows = self.fetch_all(POINTING_SQL, (self._identifiers(names), self._identifiers(but)))  # of all schemas
        return [
            (owner.replace("%", "%%"), column.replace("%", "%%"), names[number - 1]) for number, owner, column in rows
        ]

    def deferrable(self, tables: Sequence[str], with_indexes: Collection[str]) -> list[DeferredObject]:
        items = []
        for number, owner, name, definition, plain, comment in self.fetch_all(
            FOREIGN_KEYS_SQL, (self._identifiers(tables),)
        ):
            drop_sql = f"ALTER TABLE {owner} DROP CONSTRAINT IF EXISTS {name}"
            create_sql = f"ALTER TABLE {owner} ADD CONSTRAINT {name} {definition}"
            if comment is not None:
                create_sql += f"; COMMENT ON CONSTRAINT {name} ON {owner} IS {comment}"
            items.append(DeferredObject(tables[number - 1], FOREIGN_KEY, plain, drop_sql, create_sql))
        indexed = [table for table in tables if table in with_indexes]
        for number, name, definition, plain, comment in self.fetch_all(INDEXES_SQL, (self._identifiers(indexed),)):
            create_sql = definition if comment is None else f"{definition}; COMMENT ON INDEX {name} IS {comment}"
            items.append(DeferredObject(indexed[number - 1], INDEX, plain, f"DROP INDEX IF EXISTS {name}", create_sql))
        return items

    def unique_columns(self, table: str) -> list[Row]:
        return self.fetch_all(UNIQUE_SQL, (self.identifier(table),))

    def deferrable_keys(self, table: Table, others: Sequence[Table]) -> dict[DeferredObject, frozenset[str]]:
        names = [self.identifier(other.name) for other in (table, *others)]
        found = {}
        for owner, name, definition, plain, comment, index_comment, index, columns in self.fetch_all(
            KEYS_SQL, (names[0], names)
        ):
            create_sql = f"ALTER TABLE {owner} ADD CONSTRAINT {name} {definition}"
            if comment is not None:
                create_sql += f"; COMMENT ON CONSTRAINT {name} ON {owner} IS {comment}"
            if index_comment is not None:
                create_sql += f"; COMMENT ON INDEX {index} IS {index_comment}"
            drop_sql = f"ALTER TABLE {owner} DROP CONSTRAINT IF EXISTS {name}"
            item = DeferredObject(table.name, UNIQUE_KEY, plain, drop_sql, create_sql)
            found[item] = frozenset(columns)
        return found

    def locked_tables(self, item: DeferredObject) -> frozenset[str]:
        # Each locks its own table and the one that it refers to.
        return frozenset(TOUCHED.findall(item.create_sql))

    def recreate_unvalidated(self, item: DeferredObject) -> bool:
        if item.kind != FOREIGN_KEY:
            return False
        self.execute(obstacles.without_check(item).replace("%", "%%"))
        return True

    def check_statement(self, item: DeferredObject) -> str:
        return f"ALTER TABLE {self.identifier(item.table)} VALIDATE CONSTRAINT {self.identifier(item.name)}"

    def entry_limits(self, tables: Sequence[str]) -> Mapping[str, Sequence[EntryLimit]]:
        return obstacles.entry_limits(self, tables)

    def accepts_entries(self, limit: EntryLimit, fill: Callable[[str], None]) -> bool:
        return obstacles.takes(self, limit.table, limit.definition, fill)

    def event_triggers(self) -> list[str]:
        rows = self.fetch_all("SELECT evtname FROM pg_event_trigger WHERE evtenabled IN ('O', 'A') ORDER BY 1")
        return [str(row[0]) for row in rows]

    def find_obstacles(self, item: DeferredObject, key: Sequence[str], limit: int) -> list[Obstacle] | None:
        return obstacles.find_obstacles(self, item, key, limit)

    def can_index(self, item: DeferredObject, where: str, params: Sequence[Any]) -> bool:
        return obstacles.can_index(self, item, where, params)

    def drop(self, item: DeferredObject) -> None:
        self.execute(item.drop_sql.replace("%", "%%"))  # it says so itself: if it exists

    def exists(self, item: DeferredObject) -> bool:
        table = self.identifier(item.table)
        if item.kind == TRIGGER:  # one that was dropped meanwhile is off for ever
            sql = (
                "SELECT NOT EXISTS (SELECT 1 FROM pg_trigger "
                "WHERE tgrelid = to_regclass(%s) AND tgname = %s AND tgenabled = 'D')"
            )
        elif item.kind == INDEX:
            sql = (
                "SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid "
                "WHERE i.indrelid = to_regclass(%s) AND x.relname = %s)"
            )
        else:
            sql = "SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(%s) AND conname = %s)"
        return bool(self.fetch_value(sql, (table, item.name)))

    def enforced(self, references: Sequence[tuple[str, Reference]]) -> list[bool]:
        names = (
            self._identifiers(table for table, _ in references),
            self._identifiers(reference.target_table for _, reference in references),
            [reference.column for _, reference in references],
            [reference.target_column for _, reference in references],
        )
        return [bool(row[0]) for row in self.fetch_all(ENFORCED_SQL, names)]

    def sequences(self, tables: Sequence[Table]) -> list[KeySequence]:
        keys, sequences = self._sequence_names(tables)
        largest = self.largest(keys)
        known = [sequence for sequence in sequences if sequence is not None]
        select = "SELECT s.last_value, CASE WHEN s.is_called THEN p.seqincrement ELSE 0 END"
        values = self.fetch_each(
            [
                (
                    f"{select} FROM {sequence.replace('%', '%%')} s, pg_sequence p WHERE p.seqrelid = %s::regclass",
                    [sequence],
                )
                for sequence in known
            ]
        )
        next_values = {sequence: sum(row) for sequence, row in zip(known, values, strict=True)}
        return [
            KeySequence(*key, next_values[sequence], last)
            if sequence is not None
            else KeySequence(*key, None, last, "no sequence belongs to the column")
            for key, sequence, last in zip(keys, sequences, largest, strict=True)
        ]

    def _sequence_names(self, tables: Sequence[Table]) -> tuple[list[tuple[str, str]], list[str | None]]:
        """Give the table and column of each generated key, and the names of their sequences as SQL has them."""
        keys = [
            (table.name, column.name)
            for table in tables
            for column in table.columns
            if isinstance(column.field, AutoField)
            and column.name in table.key
            and not any(ref.column == column.name for ref in table.references)
        ]
        names = [self.identifier(table) for table, _ in keys], [column for _, column in keys]
        return keys, [row[0] for row in self.fetch_all(SEQUENCES_SQL, names)]

    def next_keys(self, tables: Sequence[Table]) -> dict[str, int]:
        keys, sequences = self._sequence_names(tables)
        known = [
            (table, sequence) for (table, _), sequence in zip(keys, sequences, strict=True) if sequence is not None
        ]
        # As a numeric, for what comes after the largest bigint is none.
        after = f"SELECT ({LAST_VALUE})::numeric + ({INCREMENT})"
        rows = self.fetch_each([(after, [sequence] * 2) for _, sequence in known])
        return {table: int(row[0]) for (table, _), row in zip(known, rows, strict=True) if row[0] is not None}

    def reset_sequences(self, tables: Sequence[Table], next_keys: Mapping[str, int], *, may_lower: bool) -> None:
        largest: defaultdict[str, list[str]] = defaultdict(list)  # by sequence, for tables may have one in common
        for (table, column), sequence in zip(*self._sequence_names(tables), strict=True):
            if sequence is not None:
                largest[sequence].append(f"SELECT max({self.quote(column)})::bigint AS one FROM {self.quote(table)}")
                if table in next_keys:
                    largest[sequence].append(f"SELECT {next_keys[table] - 1}")
        # A sequence starts at 1: keys of zero and below never come from it.
        # One of a smaller type than its column ends before the largest key, and verification says so.
        set_value = (
            f"SELECT setval(%s, LEAST(GREATEST(COALESCE(max(one), 1), 1), ({MOST})), COALESCE(max(one), 0) >= 1)"
        )
        queries = []
        for sequence, sources in largest.items():
            own = [] if may_lower else [LAST_VALUE]
            params = [sequence] * (2 + len(own))
            queries.append((f"{set_value} FROM ({' UNION ALL '.join([*sources, *own])}) each_one", params))
        self.fetch_each(queries)

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
        # The fields that it is restricted to, and the digits of a second (PostgreSQL's utils/timestamp.h).
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
