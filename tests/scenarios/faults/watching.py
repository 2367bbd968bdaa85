"""Triggers that count every row that was ever committed to a table, so that a row copied twice cannot hide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from tests.management.running import execute
from tests.servers.databases import engine_of

ON = {
    "sqlite": ("CREATE TRIGGER see AFTER INSERT ON {table} BEGIN INSERT INTO seen VALUES (new.id); END",),
    "postgresql": (
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO seen VALUES (new.id); RETURN NULL; END $$",
        "CREATE TRIGGER see AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION see()",
    ),
    "mysql": ("CREATE TRIGGER see AFTER INSERT ON {table} FOR EACH ROW INSERT INTO seen VALUES (new.id)",),
}
OFF = {
    "sqlite": ("DROP TRIGGER see",),
    "postgresql": ("DROP TRIGGER see ON {table}", "DROP FUNCTION see()"),
    "mysql": ("DROP TRIGGER see",),
}


@contextmanager
def watched(alias: str, table: str) -> Iterator[None]:
    """Count the rows that are committed to a table from now on."""
    engine = engine_of(alias)
    execute(alias, "CREATE TABLE seen (id bigint)", *(sql.format(table=table) for sql in ON[engine]))
    try:
        yield
    finally:
        execute(alias, *(sql.format(table=table) for sql in OFF[engine]), "DROP TABLE seen")


def forget(alias: str) -> None:
    """Begin to count anew."""
    execute(alias, "DELETE FROM seen")


def committed(alias: str) -> int:
    """Return how many rows were committed."""
    return _ask(alias, "count(*)")


def copied_again(alias: str) -> int:
    """Return how many of them were there already."""
    return _ask(alias, "count(*) - count(DISTINCT id)")


def _ask(alias: str, what: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {what} FROM seen")
        (number,) = cursor.fetchone()
    return int(number)
