"""Rows that the project's migrations put into an empty database: how they are told from rows of a person.

When migrations have ended in a database that held nobody's rows before, a fingerprint of each filled table is recorded
there. As long as a table still has the same rows, they are known to be the migrations' own.
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
from ..journal.records import TABLES as JOURNAL_TABLES
from ..tables import table_of
from .natural_keys import MADE_BY_MIGRATE, made_by_migrate

# By table name: the number of rows, and the sum of a digest of each, which does not depend on their order.
Fingerprint = list[Any]
NOT_LOOKED_AT = ("django_migrations", *JOURNAL_TABLES)
FETCHED_AT_ONCE = 500


@dataclass(frozen=True)
class Migrated:
    """What a command has migrated in the destination before its run, in words, and what else to say of it."""

    what: str = ""
    notes: tuple[Finding, ...] = ()


class Made:
    """What was recorded of rows that migrations made."""

    def __init__(self, recorded: Mapping[str, Fingerprint]) -> None:
        self._recorded = recorded

    def tables(self, engine: Engine, rows: Mapping[str, int]) -> frozenset[str]:
        """Return those of the tables, given with their numbers of rows, that still hold just what was recorded."""
        alike = [name for name, count in rows.items() if count and self._recorded.get(name, [None])[0] == count]
        if not alike:
            return frozenset()
        with _plain_session(engine) as session:
            return frozenset(name for name in alike if fingerprint(session, name) == self._recorded[name])


NOT_MIGRATED, NOTHING_MADE = Migrated(), Made({})


def holds_rows_of_others(engine: Engine, made: Made) -> bool:
    """Tell whether any table of a database has rows which are neither Django's own nor those that were recorded.

    Where that cannot be found out, as in a table that this user may not read, it may have such rows.
    """
    try:
        filled = _filled(engine)
        return bool(filled.keys() - made.tables(engine, filled))
    except DatabaseError:
        return True


def fingerprints(engine: Engine) -> dict[str, Fingerprint]:
    """Take the fingerprint of every table that has rows other than those of Django's own ``migrate``."""
    with _plain_session(engine) as session:
        return {name: fingerprint(session, name) for name in _filled(engine)}


def _filled(engine: Engine) -> dict[str, int]:
    """Count the rows of all tables that have any, except those that hold what Django's own ``migrate`` made."""
    names = [name for name in engine.catalogue.table_names() if name not in NOT_LOOKED_AT]
    filled = {name: count for name, count in engine.counts(names).items() if count}
    for label in MADE_BY_MIGRATE:
        if apps.is_installed(f"django.contrib.{label.partition('.')[0]}"):
            table = table_of(apps.get_model(label))
            if table.name in filled and made_by_migrate(engine, table, filled[table.name]):
                del filled[table.name]
    return filled


def fingerprint(session: Engine, table: str) -> Fingerprint:
    """Read a table's rows and return their number and their digest."""
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
    """Open a session without a run's settings, so that values always look the same to :func:`fingerprint`."""
    session = engine_for(engine.connection.copy())
    try:
        yield session
    finally:
        session.connection.close()
