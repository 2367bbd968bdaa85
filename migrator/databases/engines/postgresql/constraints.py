"""PostgreSQL: its own description of what tables refuse."""

from __future__ import annotations

import re
from collections.abc import Collection

from ..base.constraints import Check, Constraints, UniqueIndex

# Constraints whose entries are deferred have indexes like all others. ``indnullsnotdistinct`` came with PostgreSQL 15.
UNIQUE_SQL = """
SELECT n.number, x.relname,
       ARRAY(SELECT a.attname::text
             FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(attnum, position)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.position),
       pg_get_expr(i.indpred, i.indrelid),
       NOT COALESCE((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*'),
       NOT EXISTS (SELECT 1 FROM pg_inherits h JOIN pg_class t ON t.oid = h.inhparent
                   WHERE h.inhparent = i.indrelid AND t.relkind = 'r')
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_index i ON i.indrelid = to_regclass(n.name) JOIN pg_class x ON x.oid = i.indexrelid
WHERE i.indisunique AND i.indisvalid
ORDER BY n.number, x.relname
"""
CHECKS_SQL = """
SELECT n.number, c.conname, pg_get_expr(c.conbin, c.conrelid), c.convalidated,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey))
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_constraint c ON c.conrelid = to_regclass(n.name) AND c.contype = 'c'
ORDER BY n.number, c.conname
"""
# A domain may be one over another domain, and has the checks of both.
DOMAINS_SQL = """
WITH RECURSIVE bases AS (
    SELECT n.number, a.attname::text AS attname, a.atttypid AS type
    FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
    JOIN pg_attribute a ON a.attrelid = to_regclass(n.name) AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.number, b.attname, t.typbasetype FROM bases b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
)
SELECT b.number, b.attname, c.conname, pg_get_expr(c.conbin, 0), c.convalidated
FROM bases b JOIN pg_constraint c ON c.contypid = b.type AND c.contype = 'c'
ORDER BY b.number, b.attname, c.conname
"""
# How a domain's check calls the value.
DOMAINS_VALUE = re.compile(r"\bVALUE\b(?=(?:[^']*'[^']*')*[^']*$)")


class PostgreSQLConstraints(Constraints):
    """What tables of PostgreSQL refuse."""

    def unique_indexes(self, tables: Collection[str]) -> dict[str, list[UniqueIndex]]:
        names = list(tables)
        found: dict[str, list[UniqueIndex]] = {name: [] for name in names}
        for number, name, columns, *more in self.fetch_all(UNIQUE_SQL, (self._identifiers(names),)):
            found[names[number - 1]].append(UniqueIndex(name, tuple(columns), *more))
        return found

    def checks(self, tables: Collection[str]) -> dict[str, list[Check]]:
        names = list(tables)
        found: dict[str, list[Check]] = {name: [] for name in names}
        for number, name, expression, is_validated, columns in self.fetch_all(CHECKS_SQL, (self._identifiers(names),)):
            found[names[number - 1]].append(Check(name, expression, tuple(columns), is_validated))
        for number, column, name, expression, is_validated in self.fetch_all(DOMAINS_SQL, (self._identifiers(names),)):
            own = DOMAINS_VALUE.sub(self.identifier(column).replace("\\", r"\\"), expression)
            found[names[number - 1]].append(Check(name, own, (column,), is_validated))
        return found

    def _identifiers(self, names: Collection[str]) -> list[str]:
        return [self.identifier(name) for name in names]
