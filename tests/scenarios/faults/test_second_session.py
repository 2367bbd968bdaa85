"""The session that finishes tables while others are copied: what ends it, and what its end does to the run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from migrator.databases.engines.registry import engine_for
from migrator.databases.engines.sqlite import engine as engine_of_sqlite
from migrator.databases.engines.sqlite.engine import SQLite
from migrator.databases.engines.sqlite.session_process import HelperProcess
from migrator.databases.planning import parallel_queries
from migrator.errors import MigratorError, Refused
from tests.databases import side_by_side
from tests.databases.copying.test_recreation import Steps, before_empty_tables, make_helped, move, to_servers, workers
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.side_by_side import assert_equal, fill, until
from tests.scenarios.test_resume import in_a_process_of_its_own
from tests.servers.databases import Pair

if TYPE_CHECKING:
    from migrator.databases.engines.base.catalogue import Catalogue
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.driver

SLEEP = {"postgresql": "SELECT pg_sleep({})", "mysql": "SELECT SLEEP({})"}


@pytest.fixture
def filled(pair: Pair, databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch) -> Pair:
    return make_helped(pair, databases, monkeypatch)


def asleep(seconds: int) -> Callable[[Catalogue], None]:
    return lambda catalogue: catalogue.execute(SLEEP[catalogue.connection.vendor].format(seconds))


@to_servers
def test_the_run_does_what_the_second_session_cannot(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = definitions(filled.dest)

    def fail(catalogue: Catalogue) -> None:
        catalogue.execute("SELECT no_such_column")

    steps = Steps(monkeypatch, filled.dest, fail)
    before_empty_tables(monkeypatch, lambda: steps.began.wait(20))
    assert move(filled).exit_code == 0
    assert steps.began.is_set()
    assert (steps.by_helper, len(steps.by_run) > 4) == ([], True)
    assert definitions(filled.dest) == before


@to_servers
def test_the_run_goes_on_where_no_second_session_is_to_be_had(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = definitions(filled.dest)
    engine = engine_for(connections[filled.dest])
    engine.worker = 0
    assert engine.lock()
    steps = Steps(monkeypatch, filled.dest)
    monkeypatch.setattr(type(engine), "workers", lambda engine: set())  # as far as the run can see
    try:
        assert move(filled).exit_code == 0
    finally:
        connections[filled.dest].close()
    assert steps.by_helper == []
    assert definitions(filled.dest) == before


@to_servers
def test_an_error_of_the_run_ends_the_second_session_at_once(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = definitions(filled.dest)

    def fail() -> None:
        assert steps.began.wait(20)
        time.sleep(0.1)  # until the server has the statement
        raise MigratorError("the empty tables are out of order")

    with monkeypatch.context() as patch:
        steps = Steps(patch, filled.dest, asleep(60))
        before_empty_tables(patch, fail)
        started = time.monotonic()
        with pytest.raises(MigratorError, match="out of order"):
            move(filled)
        assert time.monotonic() - started < 20
    assert until(lambda: not workers(filled.dest))
    assert not [thread for thread in threading.enumerate() if thread.name == "finisher"]
    assert move(filled, resume=True).exit_code == 0
    assert_equal(filled)
    assert definitions(filled.dest) == before


@to_servers
def test_nobody_goes_on_with_a_killed_run_while_its_second_session_works(
    filled: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = definitions(filled.dest)

    def run_and_die() -> None:
        steps = Steps(monkeypatch, filled.dest, asleep(4))

        def die() -> None:
            steps.began.wait(20)
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)

        before_empty_tables(monkeypatch, die)
        move(filled)

    assert in_a_process_of_its_own(run_and_die) == -signal.SIGKILL
    with pytest.raises(Refused, match="Another run is writing"):
        move(filled, resume=True)
    assert until(lambda: not workers(filled.dest))
    assert move(filled, resume=True).exit_code == 0
    assert_equal(filled)
    assert definitions(filled.dest) == before


def test_the_run_does_what_a_process_that_is_killed_cannot(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that looks through a SQLite file beside the run."""
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    fill(pair.source)
    monkeypatch.setattr(parallel_queries, "HELPED_ROWS", 1)
    monkeypatch.setattr(engine_of_sqlite, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(SQLite, "_has_own_memory", lambda engine: False)
    killed: list[int] = []
    ask = HelperProcess.fetch_all

    def fetch_all(process: HelperProcess, sql: str, params: Sequence[Any]) -> list[Any]:
        process._process.kill()
        killed.append(process._process.wait(20))
        return ask(process, sql, params)

    monkeypatch.setattr(HelperProcess, "fetch_all", fetch_all)
    assert side_by_side.move(pair, jobs=1).exit_code == 0
    assert killed == [-signal.SIGKILL]
    assert_equal(pair)
