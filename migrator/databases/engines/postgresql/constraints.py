"""PostgreSQL: its own description of constraints."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

from django.db import transaction

from ...tables import StoredColumn
from ..base.characters import Ranges, ranges_of
from ..base.constraints import NUMBER, PROBE, Check, Constraints, Exclusion, ExclusionPart, UniqueIndex
from .portable_sql import PostgreSQLTranslation

# Whether the index covers every row that a query over the table returns: it does not cover rows of child tables.
COVERS_CHILDREN = """
NOT EXISTS (SELECT 1 FROM pg_inherits h JOIN pg_class t ON t.oid = h.inhparent
                   WHERE h.inhparent = i.indrelid AND t.relkind = 'r')
""".strip()
# Including the indexes of deferred constraints. ``indnullsnotdistinct`` exists since PostgreSQL 15.
UNIQUE_SQL = f"""
SELECT n.number, x.relname,
       ARRAY(SELECT a.attname::text
             FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(attnum, position)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.position),
       pg_get_expr(i.indpred, i.indrelid),
       NOT COALESCE((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*'),
       {COVERS_CHILDREN},
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnkeyatts) k ORDER BY k)
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_index i ON i.indrelid = to_regclass(n.name) JOIN pg_class x ON x.oid = i.indexrelid
WHERE i.indisunique AND i.indisvalid AND NOT i.indisexclusion
ORDER BY n.number, x.relname
"""
# Bounds only of ranges over types without a collation. Temporal keys (PostgreSQL 18) are exclusion constraints, too.
EXCLUSIONS_SQL = f"""
SELECT n.number, c.conname, pg_get_expr(i.indpred, i.indrelid), {COVERS_CHILDREN},
       pg_get_indexdef(i.indexrelid, k.position::int, false),
       format('OPERATOR(%%I.%%s)', s.nspname, o.oprname), o.oprcanhash, COALESCE(r.rngcollation = 0, false)
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_constraint c ON c.conrelid = to_regclass(n.name) JOIN pg_index i ON i.indexrelid = c.conindid
CROSS JOIN unnest(c.conexclop) WITH ORDINALITY AS k(operator, position)
JOIN pg_operator o ON o.oid = k.operator JOIN pg_namespace s ON s.oid = o.oprnamespace
JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = k.position
LEFT JOIN pg_range r ON r.rngtypid = a.atttypid AND o.oprcode = 'range_overlaps'::regproc
ORDER BY n.number, c.conname, k.position
"""
CHECKS_SQL = """
SELECT n.number, c.conname, pg_get_expr(c.conbin, c.conrelid), c.convalidated,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey))
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_constraint c ON c.conrelid = to_regclass(n.name) AND c.contype = 'c'
ORDER BY n.number, c.conname
"""
# A domain over another domain has the checks of both.
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
# The conditions of the partitions at the lowest level. A table with a single level accepts every row if it has a
# default partition, or partitions for all remainders of a hash.
PARTITIONS_SQL = """
SELECT n.number, l.condition
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_partitioned_table p ON p.partrelid = to_regclass(n.name)
CROSS JOIN LATERAL (
    SELECT bool_or(c.relkind = 'p') AS has_levels,
           sum(1.0 / substring(pg_get_expr(c.relpartbound, c.oid) FROM 'modulus (\\d+)')::integer) AS share
    FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE h.inhparent = p.partrelid
) below
LEFT JOIN LATERAL (
    SELECT pg_get_partition_constraintdef(t.relid) AS condition FROM pg_partition_tree(p.partrelid) t WHERE t.isleaf
           AND t.relid <> p.partrelid
) l ON true
WHERE below.has_levels OR (p.partdefid = 0 AND COALESCE(round(below.share, 6), 0) <> 1)
ORDER BY n.number
"""
# Single-byte server encodings, and Python's names for them (PostgreSQL manual, "Supported Character Sets"). SQL_ASCII
# is not one of them: the server accepts every byte.
CODECS: Mapping[str, str] = {
    **{f"LATIN{n}": f"iso8859-{part}" for n, part in enumerate((1, 2, 3, 4, 9, 10, 13, 14, 15, 16), start=1)},
    **{f"ISO_8859_{part}": f"iso8859-{part}" for part in (5, 6, 7, 8)},
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)},
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
}
# The name of the value in a domain's check (PostgreSQL manual, CREATE DOMAIN).
DOMAINS_VALUE = re.compile(r"\bVALUE\b(?=(?:[^']*'[^']*')*[^']*$)")


class PostgreSQLConstraints(Constraints):
    """The constraints of tables in PostgreSQL."""

    translation_class = PostgreSQLTranslation

    def unique_indexes(self, tables: Collection[str]) -> dict[str, list[UniqueIndex]]:
        names = list(tables)
        found: dict[str, list[UniqueIndex]] = {name: [] for name in names}
        for number, name, columns, *more, expressions in self.fetch_all(UNIQUE_SQL, (self.identifiers(names),)):
            index = UniqueIndex(name, tuple(columns), *more)
            found[names[number - 1]].append(replace(index, expressions=tuple(expressions)))
        return found

    def characters(self, table: str, column: str) -> tuple[str, Ranges] | None:
        return self._characters  # the whole database has one encoding

    @cached_property
    def _characters(self) -> tuple[str, Ranges] | None:
        name = str(self.fetch_value("SELECT current_setting('server_encoding')"))
        codec = CODECS.get(name)
        return None if codec is None else (name, ranges_of(codec))

    def checks(self, tables: Collection[str]) -> dict[str, list[Check]]:
        names = list(tables)
        found: dict[str, list[Check]] = {name: [] for name in names}
        for number, name, expression, is_validated, columns in self.fetch_all(CHECKS_SQL, (self.identifiers(names),)):
            found[names[number - 1]].append(Check(name, expression, tuple(columns), is_validated))
        for number, column, name, expression, is_validated in self.fetch_all(DOMAINS_SQL, (self.identifiers(names),)):
            own = DOMAINS_VALUE.sub(self.identifier(column).replace("\\", r"\\"), expression)
            found[names[number - 1]].append(Check(name, own, (column,), is_validated))
        places: defaultdict[int, list[str]] = defaultdict(list)
        for number, expression in self.fetch_all(PARTITIONS_SQL, (self.identifiers(names),)):
            places[number].append(expression or "false")
        for number, expressions in places.items():
            every = " OR ".join(f"({expression})" for expression in expressions)
            found[names[number - 1]].append(Check("of its partitions", every, is_partitioning=True))
        return found

    def exclusions(self, tables: Collection[str]) -> dict[str, list[Exclusion]]:
        names = list(tables)
        parts: defaultdict[tuple[int, str, str | None, bool], list[ExclusionPart]] = defaultdict(list)
        for number, name, predicate, covers, *part in self.fetch_all(EXCLUSIONS_SQL, (self.identifiers(names),)):
            expression, operator, is_equality, is_range = part
            low, high, is_closed = (f"{name}({expression})" for name in ("lower", "upper", "upper_inc"))
            bounds = (low, high, is_closed) if is_range else None
            parts[number, name, predicate, covers].append(ExclusionPart(expression, operator, is_equality, bounds))
        found: dict[str, list[Exclusion]] = {name: [] for name in names}
        for (number, name, predicate, covers), own in parts.items():
            # An empty range overlaps none.
            tests = [f"NOT isempty({part.expression})" for part in own if part.bounds]
            condition = " AND ".join([*([f"({predicate})"] if predicate else []), *tests]) or None
            found[names[number - 1]].append(Exclusion(name, tuple(own), condition, covers))
        return found

    @contextmanager
    def probe(self, table: str, columns: Collection[StoredColumn]) -> Iterator[None]:
        names = "".join(f", {self._without_domain(column)}" for column in columns)
        made = f"CREATE TEMPORARY TABLE {PROBE} ON COMMIT DROP AS SELECT 0 AS {NUMBER}{names}"
        with transaction.atomic(using=self.alias):
            self.execute(f"{made} FROM {self.quote(table)} WITH NO DATA")
            yield
            transaction.set_rollback(True, using=self.alias)

    def _without_domain(self, column: StoredColumn) -> str:
        """Select a column as the base type of its domain, whose checks would reject rows."""
        name = self.quote(column.name)
        if column.domain is None:
            return name
        return f"CAST({name} AS {column.declared.replace('%', '%%')}) AS {name}"
