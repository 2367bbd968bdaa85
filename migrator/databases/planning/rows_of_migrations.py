"""Rows that the project's migrations create in an empty database, as opposed to anyone's data.

After migrations in a database without data, a fingerprint of each table that has rows is recorded there. As long as the
fingerprint matches, all rows of the table are known to come from migrations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import DatabaseError

from ..engines.base.engine import Engine
from ..engines.registry import engine_for
from ..findings import Finding
from ..journal.records import ALL_TABLES as JOURNAL_TABLES
from ..tables import table_of
from .natural_keys import MADE_BY_MIGRATE, made_by_migrate

# The row count, and the sum of the digests of the rows, which does not depend on their order.
Fingerprint = list[Any]
IGNORED = ("django_migrations", *JOURNAL_TABLES)
FETCHED_AT_ONCE = 500


@dataclass(frozen=True)
class Migrated:
    """What a command has migrated in the destination before its run, in words, and notes about it."""

    what: str = ""
    notes: tuple[Finding, ...] = ()


class Made:
    """The recorded fingerprints of rows that migrations created, by table name."""

    def __init__(self, recorded: Mapping[str, Fingerprint]) -> None:
        self._recorded = recorded

    def tables(self, engine: Engine, rows: Mapping[str, int]) -> frozenset[str]:
        """Return the tables that still hold exactly the recorded rows; ``rows`` has the row count by table name."""
        alike = [name for name, count in rows.items() if count and self._recorded.get(name, [None])[0] == count]
        if not alike:
            return frozenset()
        with _plain_session(engine) as session:
            return frozenset(name for name in alike if fingerprint(session, name) == self._recorded[name])


NOT_MIGRATED, NOTHING_MADE = Migrated(), Made({})


def holds_rows_of_others(engine: Engine, made: Made) -> bool:
    """Whether any table has rows that neither Django's own ``migrate`` nor a recorded migration created.

    Also true if this cannot be determined, for example because this user may not read a table.
    """
    try:
        filled = _filled(engine)
        return bool(filled.keys() - made.tables(engine, filled))
    except DatabaseError:
        return True


def fingerprints(engine: Engine) -> dict[str, Fingerprint]:
    """Return the fingerprints of all tables with rows that Django's own ``migrate`` did not create, by table name."""
    with _plain_session(engine) as session:
        return {name: fingerprint(session, name) for name in _filled(engine)}


def _filled(engine: Engine) -> dict[str, int]:
    """Return the row counts of the tables that have rows, except those that Django's own ``migrate`` filled."""
    names = [name for name in engine.catalogue.table_names() if name not in IGNORED]
    filled = {name: count for name, count in engine.counts(names).items() if count}
    for label in MADE_BY_MIGRATE:
        if apps.is_installed(f"django.contrib.{label.partition('.')[0]}"):
            table = table_of(apps.get_model(label))
            if table.name in filled and made_by_migrate(engine, table, filled[table.name]):
                del filled[table.name]
    return filled


def fingerprint(session: Engine, table: str) -> Fingerprint:
    """Read a table's rows; return their fingerprint."""
    count = total = 0
    with session.connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {session.identifier(table)}")
        while rows := cursor.fetchmany(FETCHED_AT_ONCE):
            count += len(rows)
            for row in rows:
                plain = tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
                total += int.from_bytes(hashlib.sha256(repr(plain).encode(errors="surrogatepass")).digest())
    return [count, f"{total % 2**256:064x}"]


@contextmanager
def _plain_session(engine: Engine) -> Iterator[Engine]:
    """Open a session without a run's settings, so that :func:`fingerprint` always reads the same values."""
    session = engine_for(engine.connection.copy())
    try:
        yield session
    finally:
        session.connection.close()
