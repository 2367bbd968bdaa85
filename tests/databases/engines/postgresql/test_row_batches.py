"""A query of PostgreSQL goes on while its rows are worked with: the rows are the same, and so is the session after."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, OperationalError, connections
from django.db.backends.postgresql.psycopg_any import is_psycopg3
from django.db.models import QuerySet

from migrator.databases.api import batch_migrate
from migrator.databases.engines.base.errors import Severity
from migrator.databases.engines.postgresql import row_batches
from migrator.databases.engines.postgresql.engine import PostgreSQL
from tests.databases.edge_values import EDGES
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.scenarios.test_values import held_exactly, labelled
from tests.servers.databases import Pair
from tests.testapp.models import Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = [pytest.mark.postgresql, pytest.mark.driver]

PAIR = Pair("postgresql_a", "sqlite_b")
SMALL = "SELECT n, 'x' FROM generate_series(1, %s) AS n"
BROKEN = "SELECT n, 1 / (n - 700) FROM generate_series(1, %s) AS n"
SLOW = "SELECT n, pg_sleep(0.06) FROM generate_series(1, %s) AS n"
GROWING = "SELECT n, repeat('x', CASE WHEN n > 600 THEN 200000 END) FROM generate_series(1, %s) AS n"


@pytest.fixture(params=["as the driver can", "by a cursor"])
def source(
    request: pytest.FixtureRequest, databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PostgreSQL]:
    """Give the source in a snapshot, when the first rows of a table have been read."""
    if request.param == "by a cursor":
        monkeypatch.setattr(row_batches, "_can_stream_batches", lambda: False)
    databases.fresh(*PAIR)
    insert_rows(Tag, PAIR.source, [{"id": 1, "name": "before"}])
    engine = PostgreSQL(connections[PAIR.source])
    engine.open_source()
    assert [len(rows) for rows in engine.stream_table("t", SMALL, [1000])][:4] == [1, 8, 64, 500]
    yield engine
    engine.close()


def has_chunked_rows() -> bool:
    """Whether the driver comes with libpq 17, the first with that mode; psycopg 3.2.1's package has libpq 16."""
    if not is_psycopg3:
        return False
    from psycopg import pq

    return pq.version() >= 170_000


def test_is_used_where_the_driver_has_it() -> None:
    assert row_batches._can_stream_batches() == has_chunked_rows()


def test_is_not_used_where_the_driver_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", ModuleType("psycopg"))
    assert not row_batches._can_stream_batches()


def test_gives_all_rows_in_their_order(source: PostgreSQL) -> None:
    batches = list(source.stream_table("t", SMALL, [1234]))
    assert [row for rows in batches for row in rows] == [(n, "x") for n in range(1, 1235)]
    assert max(map(len, batches)) == 500
    assert list(source.stream_table("t", SMALL, [0])) == []


def test_stays_in_its_snapshot_where_it_is_left_early(source: PostgreSQL) -> None:
    with closing(source.stream_table("t", SMALL, [1_000_000])) as batches:
        next(batches)
    insert_later()
    assert source.fetch_value("SELECT name FROM testapp_tag") == "before"
    assert sum(len(rows) for rows in source.stream_table("t", SMALL, [600])) == 600


def test_lines_stay_in_their_snapshot_where_they_are_left_early(source: PostgreSQL) -> None:
    with closing(source.lines.read(SMALL, [1_000_000])) as blocks:
        assert next(blocks).data.startswith(b"1\tx\n2\tx\n")
    insert_later()
    assert source.fetch_value("SELECT name FROM testapp_tag") == "before"
    assert sum(block.rows for block in source.lines.read(SMALL, [600])) == 600


@pytest.mark.parametrize("form", ["read", "read_binary"])
def test_lines_end_with_their_number(source: PostgreSQL, form: str) -> None:
    blocks = list(getattr(source.lines, form)(SLOW, [5]))
    assert [block.rows for block in blocks if block.rows] == [5]
    assert blocks[-1] == (5, b"")
    text = b"".join(block.data for block in blocks)
    assert text == b"".join(b"%d\t\n" % n for n in range(1, 6)) if form == "read" else text.startswith(b"PGCOPY\n")
    assert [block.rows for block in getattr(source.lines, form)(SMALL, [0])][-1] == 0


def test_lines_come_in_blocks(source: PostgreSQL) -> None:
    sizes = [len(block.data) for block in source.lines.read(GROWING, [1000])]
    assert sum(sizes) > 400 * 200_000
    assert max(sizes) <= 128 * 1024 + 200_010


@pytest.mark.parametrize("sql", [BROKEN, "SELECT %s FROM nowhere"])
def test_lines_tell_where_a_row_fails(source: PostgreSQL, sql: str) -> None:
    with pytest.raises(DatabaseError, match=r"division by zero|nowhere") as caught:
        list(source.lines.read(sql, [100_000]))
    assert source.severity(caught.value) is (Severity.DATA if sql == BROKEN else Severity.FATAL)
    assert_goes_on_in_its_snapshot(source)


def test_lines_whose_session_is_ended(source: PostgreSQL) -> None:
    ticket = source.fetch_value("SELECT pg_backend_pid()")
    other = connections[PAIR.source].copy()
    try:
        with pytest.raises(OperationalError) as caught:  # noqa: PT012
            for _ in source.lines.read(SMALL, [3_000_000]):
                with other.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(%s)", [ticket])
    finally:
        other.close()
    assert source.severity(caught.value) is Severity.RETRY


def assert_goes_on_in_its_snapshot(source: PostgreSQL) -> None:
    """Check that a session whose statement failed reads the same snapshot as before."""
    insert_later()
    source.recover()
    assert source.fetch_all("SELECT name FROM testapp_tag") == [("before",)]


def insert_later() -> None:
    """Insert a row in another session."""
    other = connections[PAIR.source].copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("INSERT INTO testapp_tag (id, name) VALUES (2, 'later')")
    finally:
        other.close()


def test_tells_where_a_row_fails(source: PostgreSQL) -> None:
    read: list[Any] = []
    with pytest.raises(DatabaseError, match="division by zero"):  # noqa: PT012
        for rows in source.stream_table("t", BROKEN, [1000]):
            read.extend(rows)
    assert len(read) < 700
    assert_goes_on_in_its_snapshot(source)


def test_takes_fewer_rows_at_once_when_they_grow(source: PostgreSQL) -> None:
    assert sum(len(rows) for rows in source.stream_table("t", GROWING, [1000])) == 1000
    later = source.stream_table("t", "SELECT repeat('x', 200000) FROM generate_series(1, %s)", [100])
    assert max(len(rows) for rows in later) <= 4 * 1024 * 1024 // 200_000


@pytest.mark.parametrize(("length", "kind"), [(1, ""), (1, "PARTITION BY RANGE (n)"), (1500, "")])
def test_narrow_rows_are_read_many_at_once_from_the_first(source: PostgreSQL, length: int, kind: str) -> None:
    other = connections[PAIR.source].copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(f"CREATE TABLE plain (n integer, t text) {kind}")
            if kind:
                cursor.execute("CREATE TABLE part PARTITION OF plain FOR VALUES FROM (0) TO (1000)")
            cursor.execute("INSERT INTO plain SELECT n, repeat('x', %s) FROM generate_series(1, 700) AS n", [length])
            cursor.execute("ANALYZE plain")
            source.close()
            source.open_source()  # in a snapshot that has the table
            sizes = [len(rows) for rows in source.stream_table("plain", "SELECT * FROM plain ORDER BY n", [])]
            source.close()
            cursor.execute("DROP TABLE plain")
    finally:
        other.close()
    is_streamed = length == 1 and row_batches._can_stream_batches()
    assert sizes == ([500, 200] if is_streamed else [1, 8, 64, 500, 127])


def test_later_chunks_bring_what_the_first_brings(databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every edge value of every type of field is read the same way, whichever chunk it is in."""
    databases.fresh(*PAIR)
    for model, edges in EDGES.items():
        insert_rows(model, PAIR.source, labelled([edge for edge in edges if held_exactly(edge, *PAIR.engines)]))
    streamed: list[str] = []
    usual = PostgreSQL._stream_batches

    def stream_batches(engine: PostgreSQL, sql: str, params: Any, size: int) -> Generator[list[Any]]:
        streamed.append(sql)
        return usual(engine, sql, params, size)

    monkeypatch.setattr(PostgreSQL, "_stream_batches", stream_batches)
    labels = [model._meta.label for model in EDGES]
    assert batch_migrate(source=PAIR.source, dest=PAIR.dest, labels=labels, chunk_size=1).exit_code == 0
    assert bool(streamed) == has_chunked_rows()
    assert differences(snapshot(PAIR.source, [*EDGES]), snapshot(PAIR.dest, [*EDGES])) == []
    assert all(QuerySet(model, using=PAIR.dest).count() > 1 for model in EDGES)
