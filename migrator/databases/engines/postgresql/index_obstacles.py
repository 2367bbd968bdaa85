"""PostgreSQL: rows that prevent an index or a key from being recreated, and foreign keys that are not validated."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import DatabaseError, transaction

from ..base.catalogue import FOREIGN_KEY, UNIQUE_KEY, DeferredObject, EntryLimit, Obstacle
from ..base.session import DatabaseSession

# As pg_get_constraintdef() and pg_get_indexdef() print definitions.
NAME = r'(?:"(?:[^"]|"")+"|[^\s".(),]+)'
TABLE = rf"{NAME}(?:\.{NAME})?"
COLUMNS = rf"\(({NAME}(?:, {NAME})*)\)"
UNIQUE = re.compile(rf"^ALTER TABLE {TABLE} ADD CONSTRAINT {NAME} (?:PRIMARY KEY|UNIQUE) {COLUMNS}")
FOREIGN = re.compile(rf"^ALTER TABLE {TABLE} ADD CONSTRAINT {NAME} FOREIGN KEY {COLUMNS} REFERENCES ({TABLE}){COLUMNS}")
INDEXED = re.compile(rf"^CREATE (?:UNIQUE )?INDEX {NAME} ON (?:ONLY )?{TABLE} (?=USING )")
COMMENT = re.compile(rf"; COMMENT ON (?:INDEX {TABLE}|CONSTRAINT {NAME} ON {TABLE}) IS E?'(?:[^']|'')*'$")
# Indexes with columns whose declared length allows more than an entry holds. An entry is at most a third of a page
# without its headers (PostgreSQL source, src/include/access/nbtree.h, BTMaxItemSize). The product is a bigint because
# the server may compute it before it tests the type, and an interval's modifier is close to the largest integer.
LIMITED_SQL = """
SELECT n.number, x.relname, pg_get_indexdef(i.indexrelid), l.most, ARRAY(
    SELECT a.attname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND (t.typcategory = 'S' OR t.typname IN ('bytea', 'jsonb'))
      AND (a.atttypmod < 4 OR (a.atttypmod - 4)::bigint * pg_encoding_max_length(d.encoding) > l.most)
      AND (a.attnum = ANY(i.indkey) OR EXISTS (
        SELECT 1 FROM pg_depend p WHERE p.classid = 'pg_class'::regclass AND p.objid = i.indexrelid
          AND p.refclassid = 'pg_class'::regclass AND p.refobjid = i.indrelid AND p.refobjsubid = a.attnum)))
FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
JOIN pg_index i ON i.indrelid = to_regclass(n.name) AND i.indisvalid
JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
JOIN pg_database d ON d.datname = current_database(),
LATERAL (SELECT current_setting('block_size')::integer / 3 - 26 AS most) l
ORDER BY n.number, x.relname
"""
PROBE = "migrator_probe"
LOCATION = "ctid = %s::tid"  # its physical location distinguishes a row from one with the same values


def without_check(item: DeferredObject) -> str:
    """Return the statement that recreates a foreign key without checking the rows that are there."""
    definition = COMMENT.sub("", item.create_sql)
    return f"{definition} NOT VALID{item.create_sql[len(definition) :]}"


def key_columns(item: DeferredObject) -> tuple[str, ...]:
    """Return the columns of a unique key."""
    found = UNIQUE.match(item.create_sql)
    names = re.findall(NAME, found[1]) if found else []
    return tuple(name[1:-1].replace('""', '"') if name.startswith('"') else name for name in names)


def find_obstacles(
    session: DatabaseSession, item: DeferredObject, key: Sequence[str], limit: int
) -> list[Obstacle] | None:
    """Find the rows that prevent a key from being recreated; ``None`` for anything but a key."""
    if item.kind == UNIQUE_KEY and (found := UNIQUE.match(item.create_sql)):
        return _duplicates(session, item.table, found[1].replace("%", "%%"), key, limit)
    if item.kind == FOREIGN_KEY and (found := FOREIGN.match(item.create_sql)):
        own, target, others = (part.replace("%", "%%") for part in found.groups())
        return _orphans(session, item.table, own, target, others, key, limit)
    return None


def _duplicates(session: DatabaseSession, table: str, columns: str, key: Sequence[str], limit: int) -> list[Obstacle]:
    """Find rows with the same values in these columns as an earlier row."""
    names = [session.quote(name) for name in key]
    same = f"PARTITION BY {columns} ORDER BY {', '.join([*names, 'ctid'])}"
    found = [
        f"{name} AS own_{number}, first_value({name}) OVER same AS first_{number}" for number, name in _each(names)
    ]
    chosen = [f"own_{number}" for number, _ in _each(names)] + [f"first_{number}" for number, _ in _each(names)]
    rows = session.fetch_all(
        f"SELECT {', '.join(['location', *chosen])} FROM ("
        f"SELECT {', '.join(['ctid::text AS location', *found])}, row_number() OVER same AS number "
        f"FROM {session.quote(table)} WHERE ({columns}) IS NOT NULL WINDOW same AS ({same})) each "
        f"WHERE number > 1 ORDER BY {', '.join(chosen) or 'location'} LIMIT {limit}"
    )
    size = len(key)
    return [Obstacle(row[1 : 1 + size], LOCATION, row[:1], row[1 + size :]) for row in rows]


def _each(names: Sequence[str]) -> list[tuple[int, str]]:
    return list(enumerate(names))


def _orphans(
    session: DatabaseSession, table: str, own: str, target: str, others: str, key: Sequence[str], limit: int
) -> list[Obstacle]:
    """Find rows whose columns ``own`` match the columns ``others`` of no row of the target."""
    pairs = list(zip(re.findall(NAME, own), re.findall(NAME, others), strict=True))
    present = " AND ".join(f"child.{column} IS NOT NULL" for column, _ in pairs)
    equal = " AND ".join(f"parent.{other} = child.{column}" for column, other in pairs)
    names = [f"child.{session.quote(name)}" for name in key]
    rows = session.fetch_all(
        f"SELECT {', '.join(['child.ctid::text', *names])} FROM {session.quote(table)} child WHERE {present} "
        f"AND NOT EXISTS (SELECT 1 FROM {target} parent WHERE {equal}) "
        f"ORDER BY {', '.join([*names, 'child.ctid'])} LIMIT {limit}"
    )
    return [Obstacle(row[1:], LOCATION, row[:1]) for row in rows]


def can_index(session: DatabaseSession, item: DeferredObject, where: str, params: Sequence[Any]) -> bool:
    """Try an index on a copy of some rows, in a transaction that is rolled back."""
    table = session.quote(item.table)

    def fill(probe: str) -> None:
        session.execute(f"INSERT INTO {probe} SELECT * FROM {table}{where}", params)

    return accepts(session, item.table, item.create_sql, fill)


def accepts(session: DatabaseSession, table: str, definition: str, fill: Callable[[str], None]) -> bool:
    """Try an index on an empty copy of a table, which ``fill`` fills, in a transaction that is rolled back."""
    with transaction.atomic(using=session.alias):
        # With the table's own storage and compression, as its indexes use them (PostgreSQL manual, CREATE TABLE, LIKE).
        like = f"LIKE {session.quote(table)} INCLUDING STORAGE INCLUDING COMPRESSION"
        session.execute(f"CREATE TEMPORARY TABLE {PROBE} ({like}) ON COMMIT DROP")
        fill(PROBE)
        try:
            session.execute(INDEXED.sub(f"CREATE INDEX ON {PROBE} ", COMMENT.sub("", definition)).replace("%", "%%"))
            is_right = True
        except DatabaseError:
            is_right = False
        transaction.set_rollback(True, using=session.alias)
    return is_right


def entry_limits(session: DatabaseSession, tables: Sequence[str]) -> Mapping[str, Sequence[EntryLimit]]:
    """List, by table, the indexes with columns that may hold more than an entry does."""
    found: defaultdict[str, list[EntryLimit]] = defaultdict(list)
    names = session.identifiers(tables)
    for number, name, definition, most, columns in session.fetch_all(LIMITED_SQL, (names,)) if tables else ():
        if columns:
            table = tables[number - 1]
            found[table].append(EntryLimit(table, name, definition, frozenset(columns), most))
    return found
