"""PostgreSQL: what is dropped or disabled while rows are loaded, and recreated exactly afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...tables import Table
from ..base.catalogue import (
    FOREIGN_KEY,
    INDEX,
    TRIGGER,
    UNIQUE_KEY,
    Catalogue,
    DeferredObject,
    EntryLimit,
    Obstacle,
)
from . import index_obstacles

# Without what the catalogue's own definition would not recreate exactly: a tablespace, a statistics target, ...
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
# Without the copies of a key in the partitions of its table, which come and go with it.
CASCADING_SQL = """
SELECT c.conrelid::regclass::text, quote_ident(c.conname), pg_get_constraintdef(c.oid), c.conname,
       quote_literal(obj_description(c.oid, 'pg_constraint')),
       c.conparentid = 0 AND pg_has_role(t.relowner, 'USAGE') AND has_table_privilege(c.confrelid, 'REFERENCES')
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid LEFT JOIN pg_constraint p ON p.oid = c.conparentid
WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') AND p.confrelid IS DISTINCT FROM c.confrelid
  AND c.confrelid = ANY(SELECT to_regclass(n) FROM unnest(%s::text[]) n)
ORDER BY 1, 2
"""
# Without keys that anything else depends on (a view that groups by it, a foreign key that stays), keys of published
# tables (logical replication needs them as replica identity), and keys that forbid more than those of other databases.
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
# With those of a partitioned table's partitions; its own come first, because a change to them reaches the copies.
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
# Those that are there, by their numbers. A trigger that somebody dropped meanwhile must not be looked for again.
EXISTING_SQL = f"""
SELECT n.number
FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS n(relation, kind, name, number)
WHERE CASE n.kind
    WHEN '{TRIGGER}' THEN NOT EXISTS (
        SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass(n.relation) AND tgname = n.name AND tgenabled = 'D'
    )
    WHEN '{INDEX}' THEN EXISTS (
        SELECT 1 FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = to_regclass(n.relation) AND x.relname = n.name
    )
    ELSE EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(n.relation) AND conname = n.name)
END
"""
# By pg_trigger.tgenabled (PostgreSQL manual, "pg_trigger"). "R" fires only for rows that replication writes.
ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"}
FIRING = ("O", "A")
LOCKED = re.compile(rf"(?:^ALTER TABLE |\) REFERENCES )({index_obstacles.TABLE})")


@dataclass(frozen=True)
class _Trigger:
    """A trigger of a table, or of one of its partitions: ``owner`` is then that partition."""

    table: str
    owner: str
    name: str
    quoted: str
    state: str
    is_on_table: bool
    # Created by PostgreSQL for a partition, as a copy of its parent's.
    is_copy: bool
    is_on_partitioned: bool
    may_be_switched: bool

    def switched(self) -> DeferredObject:
        """Return the statements that disable the trigger and restore the state that it has now."""
        disable = f"ALTER TABLE {self.owner} DISABLE TRIGGER {self.quoted}"
        enable = f"ALTER TABLE {self.owner} {ENABLE[self.state]} TRIGGER {self.quoted}"
        return DeferredObject(self.table, TRIGGER, self.name, disable, enable)


class DeferredObjects(Catalogue):
    """Triggers, foreign keys, indexes and keys of PostgreSQL's tables."""

    def triggers(self, tables: Sequence[str]) -> list[tuple[str, str]]:
        return [
            (trigger.table, trigger.name)
            for trigger in self._triggers(tables)
            if trigger.state in FIRING and (trigger.is_on_table or not trigger.is_copy)
        ]

    def deferrable_triggers(self, tables: Sequence[str]) -> list[DeferredObject]:
        # Triggers of partitioned tables stay enabled: their partitions have copies of them.
        return [
            trigger.switched()
            for trigger in self._triggers(tables)
            if trigger.state in FIRING
            and trigger.is_on_table
            and not (trigger.is_copy or trigger.is_on_partitioned)
            and trigger.may_be_switched
        ]

    def silenceable_triggers(self, tables: Sequence[str]) -> list[DeferredObject]:
        # A copy in a partition has a state of its own, and loses it when the state of its parent changes.
        return [
            trigger.switched()
            for trigger in self._triggers(tables)
            if trigger.may_be_switched and (trigger.state in FIRING or trigger.is_copy)
        ]

    def _triggers(self, tables: Sequence[str]) -> list[_Trigger]:
        rows = self.fetch_all(TRIGGERS_SQL, (self.identifiers(tables),))
        return [_Trigger(tables[number - 1], *row) for number, *row in rows]

    def tables_not_owned(self, tables: Sequence[str]) -> list[str]:
        rows = self.fetch_all(
            "SELECT n FROM unnest(%s::text[]) n JOIN pg_class t ON t.oid = to_regclass(n) "
            "WHERE NOT pg_has_role(t.relowner, 'USAGE') ORDER BY n",
            (self.identifiers(tables),),
        )
        return [str(row[0]) for row in rows]

    def deferrable(self, tables: Sequence[str], with_indexes: Collection[str]) -> list[DeferredObject]:
        foreign_keys = self.fetch_all(FOREIGN_KEYS_SQL, (self.identifiers(tables),))
        items = [_constraint(tables[number - 1], FOREIGN_KEY, *row) for number, *row in foreign_keys]
        indexed = [table for table in tables if table in with_indexes]
        for number, name, definition, plain, comment in self.fetch_all(INDEXES_SQL, (self.identifiers(indexed),)):
            create_sql = definition if comment is None else f"{definition}; COMMENT ON INDEX {name} IS {comment}"
            items.append(DeferredObject(indexed[number - 1], INDEX, plain, f"DROP INDEX IF EXISTS {name}", create_sql))
        return items

    def cascading(self, tables: Sequence[str]) -> dict[str, DeferredObject | None]:
        return {
            f"{owner}.{name}": _constraint(owner, FOREIGN_KEY, owner, name, *more) if can_be_recreated else None
            for owner, name, *more, can_be_recreated in self.fetch_all(CASCADING_SQL, (self.identifiers(tables),))
        }

    def deferrable_keys(self, table: Table, others: Sequence[Table]) -> dict[DeferredObject, frozenset[str]]:
        names = self.identifiers(other.name for other in (table, *others))
        found = {}
        for *row, index_comment, index, columns in self.fetch_all(KEYS_SQL, (names[0], names)):
            item = _constraint(table.name, UNIQUE_KEY, *row)
            if index_comment is not None:
                item = replace(item, create_sql=f"{item.create_sql}; COMMENT ON INDEX {index} IS {index_comment}")
            found[item] = frozenset(columns)
        return found

    def key_columns(self, item: DeferredObject) -> tuple[str, ...]:
        return index_obstacles.key_columns(item)

    def locked_tables(self, item: DeferredObject) -> frozenset[str]:
        # ADD FOREIGN KEY locks both tables (PostgreSQL manual, ALTER TABLE, "SHARE ROW EXCLUSIVE").
        return frozenset(LOCKED.findall(item.create_sql))

    def recreate_unvalidated(self, item: DeferredObject) -> bool:
        if item.kind != FOREIGN_KEY:
            return False
        self.execute(index_obstacles.without_check(item).replace("%", "%%"))
        return True

    def check_statement(self, item: DeferredObject) -> str:
        return f"ALTER TABLE {self.identifier(item.table)} VALIDATE CONSTRAINT {self.identifier(item.name)}"

    def entry_limits(self, tables: Sequence[str]) -> Mapping[str, Sequence[EntryLimit]]:
        return index_obstacles.entry_limits(self, tables)

    def accepts_entries(self, limit: EntryLimit, fill: Callable[[str], None]) -> bool:
        return index_obstacles.accepts(self, limit.table, limit.definition, fill)

    def event_triggers(self) -> list[str]:
        rows = self.fetch_all("SELECT evtname FROM pg_event_trigger WHERE evtenabled IN ('O', 'A') ORDER BY 1")
        return [str(row[0]) for row in rows]

    def find_obstacles(self, item: DeferredObject, key: Sequence[str], limit: int) -> list[Obstacle] | None:
        return index_obstacles.find_obstacles(self, item, key, limit)

    def can_index(self, item: DeferredObject, where: str, params: Sequence[Any]) -> bool:
        return index_obstacles.can_index(self, item, where, params)

    def drop(self, items: Sequence[DeferredObject]) -> None:
        self._execute_together([item.drop_sql for item in items])  # they have IF EXISTS themselves

    def recreate(self, items: Sequence[DeferredObject]) -> None:
        self._execute_together([item.create_sql for item in self._missing(items)])

    def _execute_together(self, statements: Sequence[str]) -> None:
        # In one text they are one transaction (PostgreSQL manual, "Multiple Statements in a Simple Query").
        if statements:
            self.execute("; ".join(statements).replace("%", "%%"))

    def existing(self, items: Sequence[DeferredObject]) -> set[DeferredObject]:
        if not items:
            return set()
        tables = self.identifiers(item.table for item in items)
        params = tables, [item.kind for item in items], [item.name for item in items]
        return {items[number - 1] for (number,) in self.fetch_all(EXISTING_SQL, params)}


def _constraint(
    table: str, kind: str, owner: str, name: str, definition: str, plain: str, comment: str | None
) -> DeferredObject:
    """Describe a constraint; ``owner`` and ``name`` are as SQL has them, ``plain`` and ``table`` without quotes."""
    drop_sql = f"ALTER TABLE {owner} DROP CONSTRAINT IF EXISTS {name}"
    create_sql = f"ALTER TABLE {owner} ADD CONSTRAINT {name} {definition}"
    if comment is not None:
        create_sql += f"; COMMENT ON CONSTRAINT {name} ON {owner} IS {comment}"
    return DeferredObject(table, kind, plain, drop_sql, create_sql)
