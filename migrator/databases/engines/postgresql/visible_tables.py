"""PostgreSQL: row-level security, rights, inheritance, schemas and event triggers."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..base.visible_tables import FOREIGN_TABLE, STORED_VIEW, TABLE, VIEW, Child, Visibility, VisibleTable

KINDS: Mapping[str, str] = {"r": TABLE, "p": TABLE, "v": VIEW, "m": STORED_VIEW, "f": FOREIGN_TABLE}
# COPY loads a view only through an INSTEAD OF trigger (PostgreSQL manual, COPY, "Notes"): 69 are tgtype's bits of ROW,
# INSERT and INSTEAD OF (source, src/include/catalog/pg_trigger.h).
LOOK_SQL = """
SELECT n.number, c.oid, c.relkind::text, s.nspname, row_security_active(c.oid),
       has_any_column_privilege(c.oid, 'SELECT'),
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
             AND NOT a.attisdropped AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT')),
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
             AND NOT a.attisdropped AND NOT has_column_privilege(c.oid, a.attnum, 'INSERT')),
       c.relkind IN ('r', 'p', 'f') OR c.relkind = 'v' AND EXISTS (
           SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgtype::integer & 69 = 69),
       c.relkind IN ('r', 'f') AND EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhparent = c.oid),
       s.oid = pg_my_temp_schema(),
       ARRAY(SELECT quote_ident(r.rulename) FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '4'
             AND r.ev_enabled IN ('O', 'A') ORDER BY 1)
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_class c ON c.oid = to_regclass(n.name) JOIN pg_namespace s ON s.oid = c.relnamespace
"""
# A query over a table includes all that inherit from it, and needs rights on the table alone (manual, "Inheritance").
CHILDREN_SQL = """
WITH RECURSIVE below(oid) AS (
    SELECT inhrelid FROM pg_inherits WHERE inhparent = %s
    UNION SELECT h.inhrelid FROM below b JOIN pg_inherits h ON h.inhparent = b.oid
)
SELECT oid, oid::regclass::text FROM below ORDER BY 2
"""
# A view depends on what its rule reads (manual, "pg_depend"; "Views and the Rule System").
STORED_VIEWS_SQL = """
WITH RECURSIVE reading(oid, depth) AS (
    SELECT to_regclass(n), 0 FROM unnest(%s::text[]) n
    UNION
    SELECT r.ev_class, b.depth + 1 FROM reading b
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = b.oid
                     AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> b.oid
    JOIN pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
)
SELECT c.oid::regclass::text FROM reading JOIN pg_class c USING (oid) WHERE c.relkind = 'm'
GROUP BY c.oid ORDER BY max(depth), 1
"""
# Tags of the commands by which indexes, keys and triggers are dropped, disabled and created again.
EVENT_TRIGGERS_SQL = """
SELECT quote_ident(evtname), p.proname FROM pg_event_trigger JOIN pg_proc p ON p.oid = evtfoid
WHERE evtenabled IN ('O', 'A') AND evtevent <> 'login'
  AND (evttags IS NULL OR evttags && ARRAY['ALTER TABLE', 'CREATE INDEX', 'DROP INDEX', 'COMMENT', 'CREATE TABLE',
                                           'DROP TABLE'])
ORDER BY evtname
"""
CALLED = re.compile(r"^PL/pgSQL function (?:[^\s(]+\.)?([^\s(.]+)\(", re.MULTILINE)


class PostgreSQLVisibility(Visibility):
    """What a role of PostgreSQL sees."""

    def visible_tables(self, tables: Collection[str]) -> dict[str, VisibleTable]:
        names, found = list(tables), {}
        for number, *row in self.fetch_all(LOOK_SQL, (self.identifiers(names),)):
            oid, kind, schema, hides, counted, unreadable, unwritable, takes, has_children, is_temporary, rules = row
            name = names[number - 1]
            children = self._children(name, oid) if has_children and counted and not hides else ()
            found[name] = VisibleTable(
                oid,
                KINDS.get(kind, kind),
                schema,
                hides,
                counted,
                frozenset(unreadable),
                frozenset(unwritable),
                takes,
                children,
                is_temporary,
                tuple(rules),
            )
        return found

    def _children(self, parent: str, identity: int) -> tuple[Child, ...]:
        sql = f"SELECT c.tableoid, count(*) FROM {self.quote(parent)} c GROUP BY 1"
        rows = {oid: int(count) for oid, count in self.fetch_all(sql)}
        return tuple(Child(name, oid, rows.get(oid, 0)) for oid, name in self.fetch_all(CHILDREN_SQL, (identity,)))

    def partitioned(self, tables: Collection[str]) -> set[str]:
        """Return those of these tables whose rows are in partitions."""
        names = list(tables)
        rows = self.fetch_all(
            "SELECT n.number FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number) "
            "JOIN pg_class c ON c.oid = to_regclass(n.name) WHERE c.relkind = 'p'",
            (self.identifiers(names),),
        )
        return {names[number - 1] for (number,) in rows}

    def user(self) -> str:
        return str(self.fetch_value("SELECT current_user"))

    def new_tables_schema(self) -> str | None:
        schema: Any = self.fetch_value("SELECT current_schema()")
        return None if schema is None else str(schema)

    def created_here(self, names: Collection[str]) -> set[str]:
        rows = self.fetch_all(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace "
            "WHERE s.nspname = current_schema() AND c.relname = ANY(%s) AND c.relkind IN ('r', 'p')",
            (list(names),),
        )
        return {str(name) for (name,) in rows}

    def keys_to_others(self, tables: Sequence[str]) -> set[tuple[str, str]]:
        names = self.identifiers(tables)
        rows = self.fetch_all(
            "SELECT n.number, c.conname FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number) "
            "JOIN pg_constraint c ON c.conrelid = to_regclass(n.name) AND c.contype = 'f' "
            "WHERE c.confrelid <> ALL("
            "SELECT to_regclass(o) FROM unnest(%s::text[]) o WHERE to_regclass(o) IS NOT NULL)",
            (names, names),
        )
        return {(tables[number - 1], str(name)) for number, name in rows}

    def stored_views(self, tables: Collection[str]) -> Sequence[str]:
        return [str(name) for (name,) in self.fetch_all(STORED_VIEWS_SQL, (self.identifiers(list(tables)),))]

    def schema_change_triggers(self) -> Sequence[str]:
        return [str(name) for name, _ in self.fetch_all(EVENT_TRIGGERS_SQL)]

    def event_trigger_in(self, context: str) -> str | None:
        """Return the event trigger whose function raised an error, given the error's context."""
        raised_in = set(CALLED.findall(context))
        triggers = self.fetch_all(EVENT_TRIGGERS_SQL) if raised_in else ()
        return next((str(name) for name, function in triggers if function in raised_in), None)
