"""Processes that copy side by side die, alone or with their parent, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.endpoints import open_engine
from migrator.databases.journal.records import Chunk, ChunkState
from migrator.errors import MigratorError
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.side_by_side import (
    CHUNK,
    LABELS,
    MODELS,
    ROWS,
    SERVER_PAIRS,
    Heard,
    InWorkers,
    assert_equal,
    fill,
    move,
    saying,
    until,
)
from tests.management.running import run
from tests.servers.databases import Pair
from tests.testapp.models import Tag

if TYPE_CHECKING:
    import subprocess

    from django.db.backends.base.base import BaseDatabaseWrapper

BETWEEN_POSTGRESQL, TO_MYSQL, FROM_MYSQL, BETWEEN_MYSQL = SERVER_PAIRS
between_servers = pytest.mark.parametrize("pair", SERVER_PAIRS, ids=str, indirect=True)


@pytest.fixture
def filled(pair: Pair) -> Pair:
    fill(pair.source)
    return pair


def die() -> None:
    """End this process as the system ends one that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def another_session(alias: str) -> Iterator[BaseDatabaseWrapper]:
    connection = connections[alias].copy()
    connection.inc_thread_sharing()
    try:
        yield connection
    finally:
        connection.close()


# -- a worker dies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@between_servers
def test_what_a_killed_worker_was_at_is_done_by_another(filled: Pair, seed: int, tmp_path: Path) -> None:
    """At any statement, from the first of its session to the last index."""
    before, heard = definitions(filled.dest), Heard()
    chance = random.Random(seed)  # noqa: S311
    killed = InWorkers(tmp_path, lambda sql, params: chance.random() < 0.04, die, times=2)
    with killed.on(filled.dest):
        outcome = move(filled, heard)
    assert outcome.exit_code == 0, outcome.verification
    assert len(heard.with_words("A process was killed")) == killed.done
    assert sum(tally.rows_written for tally in outcome.row_counts.values()) == 4 * ROWS
    assert_equal(filled)
    assert definitions(filled.dest) == before
    assert multiprocessing.active_children() == []


@between_servers
def test_a_worker_that_died_before_its_commit_leaves_nothing(filled: Pair, tmp_path: Path) -> None:
    heard = Heard()
    with InWorkers(tmp_path, saying("UPDATE migrator_chunk"), die, times=2).on(filled.dest):
        assert move(filled, heard).exit_code == 0
    assert len(heard.with_words("A process was killed while it copied testapp.")) == 2
    assert_equal(filled)


@between_servers
def test_small_tables_with_which_a_worker_died_are_copied_one_by_one(filled: Pair, tmp_path: Path) -> None:
    heard = Heard()
    with InWorkers(tmp_path, saying("UPDATE migrator_chunk"), die).on(filled.dest):
        outcome = move(filled, heard, chunk_size=None, jobs=2)
    assert outcome.exit_code == 0
    (death,) = heard.with_words("A process was killed while it copied ")
    assert all(label in death for label in (*LABELS, "testapp.Article_tags"))
    assert sum(tally.rows_written for tally in outcome.row_counts.values()) == 4 * ROWS
    assert_equal(filled)


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, FROM_MYSQL], ids=str, indirect=True)
def test_the_run_stops_at_a_chunk_that_kills_whoever_copies_it(filled: Pair, tmp_path: Path) -> None:
    deadly = '[["int", 10]]'
    killed = InWorkers(
        tmp_path, lambda sql, params: "UPDATE migrator_chunk" in sql and lower_of(params) == deadly, die, times=3
    )
    with killed.on(filled.dest), pytest.raises(MigratorError) as caught:
        move(filled, labels=["testapp.Tag"], jobs=4)
    assert caught.value.exit_code == 1
    message = str(caught.value)
    assert "3 processes were killed while it copied testapp.Tag, primary keys above 10 up to 15" in message
    assert "resume=True" in message
    assert move(filled, labels=["testapp.Tag"], resume=True).exit_code == 0
    assert QuerySet(Tag, using=filled.dest).count() == ROWS


def lower_of(params: Any) -> Any:
    """Return a chunk's lower bound among the values of its record."""
    return next(value for value in params if isinstance(value, str) and value.startswith("[["))


@pytest.mark.parametrize("pair", [FROM_MYSQL, BETWEEN_MYSQL], ids=str, indirect=True)
def test_the_parent_copies_itself_when_nobody_else_can_read_its_snapshot(filled: Pair, tmp_path: Path) -> None:
    """What a dead worker read from cannot be had again there."""
    heard = Heard()
    with InWorkers(tmp_path, saying("UPDATE migrator_chunk"), die, times=3).on(filled.dest):
        outcome = move(filled, heard)
    assert outcome.exit_code == 0, outcome.verification
    assert len(heard.with_words("A process was killed")) == 3
    assert_equal(filled)


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, TO_MYSQL], ids=str, indirect=True)
def test_a_worker_whose_source_is_lost_finds_the_snapshot_again(filled: Pair, tmp_path: Path) -> None:
    heard, source = Heard(), connections[filled.source]

    def lose_source() -> None:
        with another_session(filled.source) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [source.connection.info.backend_pid])
        with another_session(filled.source) as other, other.cursor() as cursor:
            cursor.execute("UPDATE testapp_tag SET name = name || ' late'")

    names = dict(QuerySet(Tag, using=filled.source).values_list("pk", "name"))
    with InWorkers(tmp_path, saying("FOR UPDATE"), lose_source).on(filled.dest):
        outcome = move(filled, heard)
    assert outcome.exit_code == 0, outcome.verification
    assert len(heard.with_words("its snapshot was joined again")) == 1
    assert dict(QuerySet(Tag, using=filled.dest).values_list("pk", "name")) == names


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL], ids=str, indirect=True)
def test_snapshots_are_never_mixed_when_the_one_that_was_shared_is_gone(filled: Pair, tmp_path: Path) -> None:
    holder = connections[filled.source]

    def lose_holder_and_die() -> None:
        with another_session(filled.source) as other, other.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND pid = %s",
                [numbers[0]],
            )
        die()

    numbers: list[int] = []

    def remember(execute: Callable[..., Any], sql: Any, *args: Any) -> Any:
        if not numbers and "pg_export_snapshot" in str(sql):
            numbers.append(holder.connection.info.backend_pid)
        return execute(sql, *args)

    with (
        holder.execute_wrapper(remember),
        InWorkers(tmp_path, saying("UPDATE migrator_chunk"), lose_holder_and_die).on(filled.dest),
        pytest.raises(MigratorError) as caught,
    ):
        move(filled)
    assert f"The connection to the source {filled.source!r} is lost, and its snapshot with it." in str(caught.value)
    assert "resume=True" in str(caught.value)
    assert move(filled, resume=True).exit_code == 0
    assert_equal(filled)


# -- a server session outlives its process ----------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, BETWEEN_MYSQL], ids=str, indirect=True)
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_chunk_that_a_lingering_session_still_commits_is_not_copied_again(
    filled: Pair, jobs: int, tmp_path: Path
) -> None:
    """Somebody has copied a chunk, and commits it only after the run has begun with it."""
    assert interrupted(filled, tmp_path)
    pending = QuerySet(Chunk, using=filled.dest).exclude(state=ChunkState.DONE).filter(table="testapp_tag").first()
    assert pending is not None
    bounds = pending.bounds()
    rows = QuerySet(Tag, using=filled.source).filter(pk__gt=bounds.lower[0] if bounds.lower else 0)
    names = list(rows.order_by("pk")[:CHUNK].values_list("pk", "name"))
    with another_session(filled.dest) as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM migrator_chunk WHERE id = %s FOR UPDATE", [pending.pk])
            cursor.executemany("INSERT INTO testapp_tag (id, name) VALUES (%s, %s)", names)
            cursor.execute(
                "UPDATE migrator_chunk SET state = 'done', rows_read = %s, rows_written = %s WHERE id = %s",
                [CHUNK, CHUNK, pending.pk],
            )
        commit = threading.Timer(1.5, other.commit)
        commit.start()
        outcome = move(filled, jobs=jobs, resume=True, trust_done=True)
        commit.join()
    assert outcome.exit_code == 0, outcome.verification
    assert sum(counts.rows_committed for counts in outcome.row_counts.values()) == 4 * ROWS
    assert_equal(filled)


def interrupted(pair: Pair, directory: Path) -> bool:
    """Leave a run that was cut off after some chunks; tell whether that went well."""
    stop = InWorkers(directory, saying("UPDATE migrator_chunk"), lambda: os.kill(os.getppid(), signal.SIGTERM))
    with stop.on(pair.dest), pytest.raises(MigratorError):
        move(pair)
    return stop.done == 1


# -- the parent dies --------------------------------------------------------------------------------------------------


def children_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


TABLES = [model._meta.db_table for model in MODELS]
HOLD = {
    "postgresql": f"LOCK TABLE {', '.join(TABLES)} IN EXCLUSIVE MODE",
    "mysql": f"LOCK TABLES {', '.join(f'{table} READ' for table in TABLES)}",
}
RELEASE = {"postgresql": "ROLLBACK", "mysql": "UNLOCK TABLES"}


@between_servers
def test_workers_end_with_their_parent_and_keep_the_next_run_away_until_then(
    pair: Pair, start_manage: Callable[..., Any]
) -> None:
    fill(pair.source, 1_500)
    before, engine = definitions(pair.dest), pair.engines[1]
    words = ["batch_migrate", "--source", pair.source, "--dest", pair.dest, *LABELS]
    options = ["--no-input", "--jobs", "3", "--chunk-size", str(CHUNK)]
    connections.close_all()
    with another_session(pair.dest) as other:
        with start_manage(*words, *options) as process:
            assert until(lambda: has_begun(pair.dest) or process.poll() is not None)
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute(HOLD[engine])
            time.sleep(1)  # until each of them waits for one of these tables
            workers = children_of(process)
            process.kill()
            process.wait()
        assert len(workers) == 3
        assert until(lambda: not any(map(is_alive, workers)), 10)
        with other.cursor() as cursor:
            cursor.execute(RELEASE[engine])
    connections.close_all()
    assert until(lambda: not held(pair.dest))
    resumed = run(*words, *options, "--resume")
    assert resumed.code == 0, resumed.err
    assert_equal(pair)
    assert definitions(pair.dest) == before


def has_begun(alias: str) -> bool:
    """Tell whether a run has copied a chunk."""
    if Chunk._meta.db_table not in connections[alias].introspection.table_names():
        return False
    return QuerySet(Chunk, using=alias).filter(state=ChunkState.DONE).exists()


def held(alias: str) -> bool:
    """Tell whether a run, or a worker of one, still holds the destination."""
    engine = open_engine(alias)
    if not engine.lock():
        return True
    engine.unlock()
    return bool(engine.workers())


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, BETWEEN_MYSQL], ids=str, indirect=True)
def test_a_run_keeps_away_while_a_worker_of_a_dead_one_may_still_commit(filled: Pair) -> None:
    with another_session(filled.dest) as other:
        lingering = type(open_engine(filled.dest))(other)
        lingering.worker = 2
        assert lingering.lock()
        assert open_engine(filled.dest).workers() == {2}
        with pytest.raises(MigratorError, match="Another run is writing"):
            move(filled)
    assert until(lambda: not held(filled.dest))
    assert move(filled).exit_code == 0


# -- the server takes no more sessions --------------------------------------------------------------------------------


@pytest.mark.parametrize("free", [3, 2, 1])
@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, FROM_MYSQL], ids=str, indirect=True)
def test_goes_on_with_as_many_processes_as_the_server_lets_in(filled: Pair, free: int) -> None:
    """One session is the run's own, so that one that is free leaves none for a worker."""
    heard, name = Heard(), connections[filled.dest].settings_dict["NAME"]
    connections.close_all()
    limit(filled.dest, f"ALTER DATABASE {name} CONNECTION LIMIT {sessions(filled.dest) + free}")
    try:
        outcome = move(filled, heard, jobs=4)
    finally:
        limit(filled.dest, f"ALTER DATABASE {name} CONNECTION LIMIT -1")
    assert outcome.exit_code == 0, outcome.verification
    assert len(heard.with_words("One process fewer: 'postgresql_b' accepts no more sessions: ")) == 4 - (free - 1)
    assert [text for text in heard.messages if "too many connections" in text]
    assert {planned.table.name for planned in outcome.plan.tables} == set(outcome.row_counts)
    assert_equal(filled)


def limit(alias: str, statement: str) -> None:
    with connections[alias]._nodb_cursor() as cursor:
        cursor.execute(statement)


def sessions(alias: str) -> int:
    with connections[alias]._nodb_cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
            [connections[alias].settings_dict["NAME"]],
        )
        return int(cursor.fetchone()[0])
