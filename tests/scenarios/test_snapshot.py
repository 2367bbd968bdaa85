"""The destination shows the source at one moment, whatever is written to it while the run goes on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections, transaction
from django.db.models import F, QuerySet, Sum

from migrator.databases.api import RunResult, batch_migrate
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import BigIntegerValue, IntegerValue, Tag

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.driver

MODELS = (Tag, IntegerValue, BigIntegerValue)
# Each engine as source and as destination, and SQLite to SQLite, which has a way of its own.
SOME_PAIRS = [PAIRS[0], PAIRS[1], PAIRS[4], PAIRS[5], PAIRS[6]]
ROWS = 40


@pytest.fixture(params=SOME_PAIRS, ids=str)
def filled(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    pair: Pair = request.param
    databases.fresh(*pair)
    if connections[pair.source].vendor == "sqlite":
        execute(connections[pair.source], "PRAGMA journal_mode = WAL")
    fill(pair.source)
    return pair


def fill(alias: str) -> None:
    insert_rows(Tag, alias, [{"id": n, "name": f"tag {n}"} for n in range(1, ROWS + 1)])
    for model in (IntegerValue, BigIntegerValue):
        insert_rows(model, alias, [{"id": n, "label": f"row {n}", "value": 1000} for n in range(1, ROWS + 1)])


def execute(connection: BaseDatabaseWrapper, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def move(pair: Pair) -> RunResult:
    labels = [model._meta.label for model in MODELS]
    return batch_migrate(source=pair.source, dest=pair.dest, labels=labels, chunk_size=5)


@contextmanager
def a_session_of_its_own(alias: str) -> Iterator[BaseDatabaseWrapper]:
    connection = connections[alias].copy()
    connection.inc_thread_sharing()
    try:
        yield connection
    finally:
        connection.close()


def test_what_is_written_during_the_run_does_not_appear(filled: Pair) -> None:
    before = snapshot(filled.source, MODELS)
    chunks = 0

    def write(run: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        nonlocal chunks
        if str(sql).startswith("UPDATE") and "migrator_chunk" in str(sql):
            chunks += 1
            with a_session_of_its_own(filled.source) as other:
                execute(
                    other,
                    f"INSERT INTO testapp_tag (id, name) VALUES ({-chunks}, 'late'), ({1000 + chunks}, 'late')",
                    f"DELETE FROM testapp_tag WHERE id = {ROWS + 1 - chunks}",
                    f"UPDATE testapp_integervalue SET value = value + 1, label = '{chunks}' WHERE id = {chunks}",
                    "UPDATE testapp_bigintegervalue SET value = value + 1",
                )
        return run(sql, params, many, context)

    with connections[filled.dest].execute_wrapper(write):
        outcome = move(filled)
    assert chunks == 3 * ROWS / 5
    assert outcome.exit_code == 0
    assert differences(before, snapshot(filled.dest, MODELS)) == []
    assert len(differences(before, snapshot(filled.source, MODELS))) > ROWS


@pytest.mark.mysql
def test_what_comes_to_a_table_outside_of_the_snapshot_is_missed_in_the_end(databases: FreshDatabases) -> None:
    """It was counted before the copy, and is counted again after it."""
    pair = Pair("mysql_a", "sqlite_b")
    databases.fresh(*pair)
    tables = ["testapp_integervalue", "testapp_bigintegervalue"]
    execute(connections[pair.source], f"ALTER TABLE {tables[0]} ENGINE = MyISAM")
    fill(pair.source)
    late = 0

    def write(run: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        nonlocal late
        if str(sql).startswith("UPDATE") and "migrator_chunk" in str(sql) and tables[0] in params:
            late += 1
            with a_session_of_its_own(pair.source) as other:
                execute(other, *(f"INSERT INTO {table} VALUES ({-late}, 'late {late}', 1)" for table in tables))
        return run(sql, params, many, context)

    with connections[pair.dest].execute_wrapper(write):
        outcome = move(pair)
    assert outcome.exit_code == 3
    assert outcome.verification is not None
    assert [count.table for count in outcome.verification.differing] == tables[:1]


def test_transfers_between_two_tables_keep_their_sum(filled: Pair) -> None:
    """Each takes from one table and gives to another in one transaction, so that a mixture would be seen."""
    finished = threading.Event()
    started = threading.Event()
    transfers = 0

    def transfer() -> None:
        nonlocal transfers
        chosen = random.Random(7)  # noqa: S311
        with a_session_of_its_own(filled.source) as other:
            while not finished.is_set():
                amount, giver, taker = chosen.randrange(100), chosen.randint(1, ROWS), chosen.randint(1, ROWS)
                other.set_autocommit(False)
                execute(
                    other,
                    f"UPDATE testapp_integervalue SET value = value - {amount} WHERE id = {giver}",
                    f"UPDATE testapp_bigintegervalue SET value = value + {amount} WHERE id = {taker}",
                )
                other.commit()
                other.set_autocommit(True)
                transfers += 1
                started.set()

    thread = threading.Thread(target=transfer)
    thread.start()
    try:
        assert started.wait(10)
        outcome = move(filled)
        during = transfers
    finally:
        finished.set()
        thread.join()
    assert outcome.exit_code == 0
    assert during > 3
    assert total(filled.dest) == total(filled.source) == 2 * ROWS * 1000


def total(alias: str) -> int:
    return sum(QuerySet(m, using=alias).aggregate(sum=Sum("value"))["sum"] for m in (IntegerValue, BigIntegerValue))


def test_the_source_cannot_be_written_through_the_run(filled: Pair) -> None:
    """Whatever a run asks of its source, the database itself refuses to write."""
    refused: list[str] = []

    def write(run: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        # When nothing is read: no other thread may be in that session.
        if not refused and str(sql).startswith("UPDATE") and "migrator_run" in str(sql):
            refused.append("")
            try:
                with connections[filled.source].cursor() as cursor:
                    cursor.execute("SAVEPOINT before_it") if connections[filled.source].vendor == "postgresql" else None
                    cursor.execute("UPDATE testapp_tag SET name = 'changed'")
            except Exception as error:
                refused[0] = str(error)
                if connections[filled.source].vendor == "postgresql":
                    with connections[filled.source].cursor() as cursor:
                        cursor.execute("ROLLBACK TO SAVEPOINT before_it")
        return run(sql, params, many, context)

    with connections[filled.dest].execute_wrapper(write):
        assert move(filled).exit_code == 0
    [reason] = refused
    assert "read-only" in reason or "readonly" in reason or "READ ONLY" in reason
    assert not QuerySet(Tag, using=filled.source).filter(name="changed").exists()


def test_the_sources_session_is_as_before_afterwards(filled: Pair) -> None:
    assert move(filled).exit_code == 0
    QuerySet(Tag, using=filled.source).update(name=F("name"))
    with transaction.atomic(using=filled.dest):
        QuerySet(Tag, using=filled.dest).update(name=F("name"))


def test_says_that_writers_wait_where_sqlite_has_no_snapshot(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    outcome = move(pair)
    notes = [str(finding) for finding in outcome.plan.findings if not finding.stops]
    assert [note for note in notes if "not in WAL mode" in note]
    databases.fresh(*pair)
    execute(connections[pair.source], "PRAGMA journal_mode = WAL")
    assert not [str(finding) for finding in move(pair).plan.findings if "WAL" in str(finding)]
