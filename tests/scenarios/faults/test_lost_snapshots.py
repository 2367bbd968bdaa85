"""Rows are read in the run's one snapshot or not at all, whatever the project's code does to the connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.db import close_old_connections, connections
from django.db.models import QuerySet

from migrator.console.progress import Progress, Task
from migrator.databases.api import batch_migrate
from migrator.databases.comparison import verify_counts
from migrator.databases.endpoints import open_engine
from migrator.databases.engines.base.errors import SnapshotLost
from migrator.databases.run_options import Console
from tests.databases.snapshots import insert_rows
from tests.scenarios.faults.oracle import THREE_PAIRS
from tests.servers.databases import FreshDatabases, Pair, engine_of
from tests.testapp.models import Tag

pytestmark = pytest.mark.driver

FIRST, LATER = "first", "later"


class Meddling(Progress):
    """Does something to the source's connection once some rows are there; a later moment of the source begins then."""

    def __init__(self, alias: str, meddle: Callable[[Any], None]) -> None:
        self._alias, self._meddle, self._is_done = alias, meddle, False

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        yield self

    def advance(self, count: int) -> None:
        if self._is_done or not count:
            return
        self._is_done = True
        connection = connections[self._alias]
        with closing(connection.copy()) as writer, writer.cursor() as cursor:
            cursor.execute("UPDATE testapp_tag SET name = %s", [LATER])
        self._meddle(connection)


def tags(alias: str) -> None:
    insert_rows(Tag, alias, [{"id": n, "name": FIRST} for n in range(1, 41)])


def names(alias: str) -> set[str]:
    return set(QuerySet(Tag, using=alias).values_list("name", flat=True))


def move(pair: Pair, meddle: Callable[[Any], None], **options: Any) -> Any:
    console = Console(progress=Meddling(pair.source, meddle))
    return batch_migrate(
        source=pair.source, dest=pair.dest, labels=["testapp.Tag"], chunk_size=10, console=console, **options
    )


@pytest.fixture
def source(pair: Pair) -> str:
    """Fill the source, and let it be written to while it is read."""
    if engine_of(pair.source) == "sqlite":
        with connections[pair.source].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
    tags(pair.source)
    connections.close_all()
    return pair.source


to_each_engine = pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
MEDDLING: dict[str, Callable[[Any], None]] = {
    "closed": lambda connection: connection.close(),
    "ended": lambda connection: connection.rollback(),
}


@to_each_engine
@pytest.mark.parametrize("how", MEDDLING)
def test_a_connection_that_other_code_replaces_stops_the_run(pair: Pair, source: str, how: str) -> None:
    with pytest.raises(SnapshotLost, match="code outside of this run"):
        move(pair, MEDDLING[how])
    assert names(pair.dest) == {FIRST}
    connections.close_all()
    assert move(pair, lambda connection: None, resume=True).exit_code == 0
    assert names(pair.dest) == {LATER}


@pytest.mark.parametrize("alias", ["sqlite_a", "postgresql_a", "mysql_a"])
def test_a_session_is_closed_when_no_thread_can_be_reading_from_it(alias: str, databases: FreshDatabases) -> None:
    """SQLite's driver crashes if that happens in the middle of a statement."""
    databases.fresh(alias)
    engine, connection = open_engine(alias), connections[alias]
    engine.open_source(["testapp_tag"])
    session: Any = connection.connection
    connection.close()
    with closing(session.cursor()) as cursor:
        cursor.execute("SELECT count(*) FROM testapp_tag")
        assert cursor.fetchone()[0] == 0
    with pytest.raises(SnapshotLost, match="closed the connection"):
        engine.count("testapp_tag")
    engine.close()
    assert connection.connection is None


@to_each_engine
def test_what_django_does_after_a_request_ends_no_run(pair: Pair, source: str) -> None:
    """It closes connections whose autocommit is off, and by default all others, too."""
    assert move(pair, lambda connection: close_old_connections()).exit_code == 0
    assert names(pair.dest) == {FIRST}
    connections.close_all()
    # And may do so again afterwards.
    connections[source].ensure_connection()
    close_old_connections()
    assert connections[source].connection is None
    assert names(source) == {LATER}


@to_each_engine
def test_a_connection_that_is_replaced_stops_an_update_before_it_writes(pair: Pair, source: str) -> None:
    assert move(pair, lambda connection: None).exit_code == 0  # and changes every row afterwards
    assert names(pair.dest) == {FIRST}
    connections.close_all()
    insert_rows(Tag, source, [{"id": n, "name": FIRST} for n in range(41, 61)])
    with pytest.raises(SnapshotLost):
        move(pair, MEDDLING["closed"], update=True)
    assert (names(pair.dest), QuerySet(Tag, using=pair.dest).count()) == ({FIRST}, 40)


@to_each_engine
@pytest.mark.parametrize("is_source", [True, False], ids=["source", "destination"])
def test_a_connection_that_is_replaced_stops_a_comparison(pair: Pair, source: str, is_source: bool) -> None:
    """Its rows are then other ones than those that were counted."""
    other = pair.dest
    if engine_of(other) == "sqlite":
        with connections[other].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
    tags(other)
    ends = {"source": source, "dest": other} if is_source else {"source": other, "dest": source}
    role = "source" if is_source else "destination"
    with pytest.raises(SnapshotLost, match=f"The connection to the {role} {source!r} is lost"):
        verify_counts(
            **ends,
            labels=["testapp.Tag"],
            mode="full",
            chunk_size=10,
            progress=Meddling(source, MEDDLING["closed"]),
        )
