"""MySQL and MariaDB: queries of the catalogue for several tables, whose names may differ in case alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from ..base.session import DatabaseSession, Row

# By table, by its name in the run.
Rows = dict[str, list[Row]]


def folding(session: DatabaseSession) -> Callable[[str], str]:
    """Return the function that makes equal names of tables equal (MySQL manual, "Identifier Case Sensitivity")."""
    return str.lower if session.connection.features.ignores_table_name_case else str


def group_by_table(session: DatabaseSession, rows: Iterable[Sequence[Any]], tables: Collection[str]) -> Rows:
    """Return rows by table, each without its first value, which is the name of its table in the database."""
    fold = folding(session)
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for name, *row in rows:
        found[fold(name)].append(tuple(row))
    return {table: found[fold(session.stored_name(table))] for table in tables}


def fetch_by_table(session: DatabaseSession, sql: str, tables: Collection[str]) -> Rows:
    """Run a query with ``{marks}`` in place of tables' names; return its rows as :func:`group_by_table` does."""
    if not tables:
        return {}
    found = group_by_table(session, _fetch(session, sql, [session.stored_name(table) for table in tables]), tables)
    # INFORMATION_SCHEMA compares names with a collation that ignores case (MySQL manual, "Using Collation in
    # INFORMATION_SCHEMA Searches"): MariaDB returns one of two tables whose names in a list differ in case alone.
    for table in tables if len(tables) > 1 else ():
        if not found[table]:
            found |= group_by_table(session, _fetch(session, sql, [session.stored_name(table)]), [table])
    return found


def _fetch(session: DatabaseSession, sql: str, names: Sequence[str]) -> list[Row]:
    return session.fetch_all(sql.format(marks=", ".join(["%s"] * len(names))), names)
