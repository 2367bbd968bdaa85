"""A destination whose server is shut down or crashes in the middle of a run, and comes back, or does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections
from django.test import override_settings

from migrator.databases.api import Console
from settings.base import database_from_url
from tests.databases.copying.test_retry import At, Heard
from tests.management.running import another_alias, run
from tests.scenarios.faults.oracle import Oracle, assert_ended, fill, move, words
from tests.servers.base import DATABASE_PREFIX, Server
from tests.servers.databases import FreshDatabases, Pair
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.process import STARTING_TAKES_AT_MOST

ALIAS = "private"


class DurableMariaDB(MariaDB):
    """Writes each commit down before it is answered, as servers do unless they are told otherwise."""

    def command(self) -> list[str | Path]:
        return [*super().command(), "--innodb-flush-log-at-trx-commit=1"]


SERVERS = {"postgresql": PostgreSQL, "mysql": DurableMariaDB}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Start a server that nobody else uses, with the project's tables; it takes some seconds."""
    if SERVERS[request.param].find() is None:
        pytest.skip(f"there is no {request.param} to start here")
    server = SERVERS[request.param]()
    entry = database_from_url(server.address()) | {"NAME": f"{DATABASE_PREFIX}private"}
    server.start()
    entry["PORT"] = str(server.port)
    try:
        with another_alias(ALIAS, **entry):
            with connections[ALIAS]._nodb_cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {entry['NAME']}")
            call_command("migrate", database=ALIAS, run_syncdb=True, interactive=False, verbosity=0)
            yield server
    finally:
        server.stop()


@pytest.fixture
def oracle(server: Server, databases: FreshDatabases) -> Oracle:
    databases.fresh("sqlite_a")
    fill("sqlite_a")
    return Oracle(Pair("sqlite_a", ALIAS))


def wait_until_open() -> None:
    """Wait until the server has put itself in order and lets sessions in."""
    deadline = time.monotonic() + STARTING_TAKES_AT_MOST
    while True:
        try:
            connections[ALIAS].ensure_connection()
        except OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            connections[ALIAS].close()
            return


class Nurse(Heard):
    """Brings the server back when the run has met it down."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def message(self, text: str) -> None:
        super().message(text)
        if len([text for text in self.messages if "trying again" in text]) == 2:
            self._server.start_again()


WAYS: dict[str, Callable[[Server], None]] = {"is shut down": Server.stop_for_now, "crashes": Server.crash}
MOMENTS = {
    "in a chunk": {"postgresql": "UPDATE migrator_chunk", "mysql": "UPDATE migrator_chunk"},
    "in the finish": {"postgresql": "CREATE INDEX", "mysql": "ADD KEY"},
}


@pytest.mark.parametrize(("way", "moment"), [("is shut down", "in the finish"), ("crashes", "in a chunk")])
def test_waits_for_a_server_that_comes_back_and_goes_on(oracle: Oracle, server: Server, way: str, moment: str) -> None:
    nurse, words_then = Nurse(server), MOMENTS[moment][connections[ALIAS].vendor]
    with connections[ALIAS].execute_wrapper(At(5, words_then, lambda: WAYS[way](server))):
        outcome = move(oracle.pair, replace=ALIAS, console=Console(progress=nurse))
    assert outcome.exit_code == 0
    assert [text for text in nurse.messages if "trying again" in text]
    oracle.assert_complete()


def test_stops_where_a_server_does_not_come_back_in_time(oracle: Oracle, server: Server) -> None:
    trap = At(5, "UPDATE migrator_chunk", server.stop_for_now)
    with override_settings(MIGRATOR={"RETRY_FOR": 1}), connections[ALIAS].execute_wrapper(trap):
        finished = run(*words(oracle.pair, "--replace", ALIAS))
    server.start_again()
    assert_ended(finished, 1, "for 1 s (MIGRATOR['RETRY_FOR'])", "rows are committed in", "--resume", "--cleanup")
    wait_until_open()
    oracle.assert_goes_on()
