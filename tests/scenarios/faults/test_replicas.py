"""A replica as the source: of any other destination as good as its primary, and never of its primary itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connections

from settings.base import database_from_url
from tests.databases.copying.test_retry import At
from tests.management.running import another_alias, nothing_changes, run
from tests.scenarios.faults.oracle import MODELS, Oracle, assert_ended, count_rows, fill, words
from tests.servers.base import DATABASE_PREFIX, PASSWORD, USER, Server
from tests.servers.databases import FreshDatabases, Pair
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.process import free_port
from tests.servers.process import run as run_program

NAME = f"{DATABASE_PREFIX}followed"
SECONDS_TO_FOLLOW = 30
# Debian's MariaDB brings it along.
GALERA = Path("/usr/lib/galera/libgalera_smm.so")

AnyServer = TypeVar("AnyServer", bound=Server)


class PrimaryPostgreSQL(PostgreSQL):
    """Lets the user of the tests follow it."""

    def prepare(self) -> None:
        super().prepare()
        single_user: list[str | Path] = [self.program, "--single", "-D", "data", "postgres"]
        run_program(single_user, self.directory, self.user, stdin=f"ALTER ROLE {USER} REPLICATION")

    def command(self) -> list[str | Path]:
        # It would end sessions of an impatient standby at any time.
        return [*super().command(), "-c", "autovacuum=off"]


class StandbyPostgreSQL(PostgreSQL):
    """Begins as a copy of its primary's files."""

    def __init__(self, primary: Server) -> None:
        super().__init__()
        self._primary = primary

    def prepare(self) -> None:
        self._primary.stop_for_now()
        run_program(["cp", "-a", self._primary.directory / "data", "data"], self.directory, self.user)
        run_program(["touch", "data/standby.signal"], self.directory, self.user)
        self._primary.start_again()

    def command(self) -> list[str | Path]:
        primary = f"host=127.0.0.1 port={self._primary.port} user={USER} password={PASSWORD}"
        return [*super().command(), "-c", f"primary_conninfo={primary}"]

    def become_a_primary(self, connection: Any) -> None:
        del connection
        program = self.program.resolve().with_name("pg_ctl")
        run_program([program, "promote", "--wait", "-D", "data"], self.directory, self.user)


class ImpatientPostgreSQL(StandbyPostgreSQL):
    """Waits for nobody who keeps it from following its primary."""

    def command(self) -> list[str | Path]:
        return [*super().command(), "-c", "max_standby_streaming_delay=0"]


class PrimaryMariaDB(MariaDB):
    """Lets the user of the tests follow it."""

    number = 11

    def prepare(self) -> None:
        super().prepare()
        self.add(f"GRANT REPLICATION SLAVE, REPLICATION SLAVE ADMIN ON *.* TO '{USER}'@'127.0.0.1'")

    def add(self, statement: str) -> None:
        """Have a statement run by every start."""
        with (self.directory / "start.sql").open("a") as file:
            file.write(f"{statement};\n")

    def command(self) -> list[str | Path]:
        return [*super().command(), "--log-bin=binlog", f"--server-id={self.number}", "--log-slave-updates"]


class ReplicaMariaDB(PrimaryMariaDB):
    """Begins with nothing and repeats what its primary has done."""

    number = 12

    def __init__(self, primary: Server) -> None:
        super().__init__()
        self._primary = primary

    def prepare(self) -> None:
        super().prepare()
        self.add(
            f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {self._primary.port}, "
            f"MASTER_USER = '{USER}', MASTER_PASSWORD = '{PASSWORD}', MASTER_USE_GTID = slave_pos"
        )
        self.add("START SLAVE")

    def command(self) -> list[str | Path]:
        return [*super().command(), "--read-only"]

    def become_a_primary(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("STOP SLAVE")


class NodeMariaDB(MariaDB):
    """A node of a Galera cluster: the first, or one that joins another."""

    def __init__(self, joins: NodeMariaDB | None = None) -> None:
        super().__init__()
        self._joins = joins
        self.cluster_port, self._transfer_port, self._late_transfer_port = free_port(), free_port(), free_port()

    def command(self) -> list[str | Path]:
        own = f"127.0.0.1:{self.cluster_port}"
        options = {
            "wsrep-on": "ON",
            "wsrep-provider": str(GALERA),
            "wsrep-provider-options": f"base_host=127.0.0.1;base_port={self.cluster_port};gmcast.listen_addr=tcp://{own};"
            f"ist.recv_addr=127.0.0.1:{self._late_transfer_port}",
            "wsrep-cluster-address": f"gcomm://127.0.0.1:{self._joins.cluster_port}" if self._joins else "gcomm://",
            "wsrep-node-address": "127.0.0.1",
            "wsrep-node-incoming-address": f"127.0.0.1:{self.port}",
            "wsrep-sst-receive-address": f"127.0.0.1:{self._transfer_port}",
            "binlog-format": "ROW",
        }
        return [*super().command(), *(f"--{name}={value}" for name, value in options.items())]


Replica = StandbyPostgreSQL | ReplicaMariaDB
Servers = tuple[type[Server], type[StandbyPostgreSQL] | type[ReplicaMariaDB]]
SERVERS: dict[str, Servers] = {
    "postgresql": (PrimaryPostgreSQL, StandbyPostgreSQL),
    "mysql": (PrimaryMariaDB, ReplicaMariaDB),
}
IMPATIENT: dict[str, Servers] = {"impatient": (PrimaryPostgreSQL, ImpatientPostgreSQL)}


@pytest.fixture(params=SERVERS)
def replica(request: pytest.FixtureRequest, databases: FreshDatabases) -> Iterator[Replica]:
    """Start a primary with rows, and its replica: databases by the names of `primary` and `replica`."""
    of_primary, of_replica = (SERVERS | IMPATIENT)[request.param]
    if of_primary.find() is None:
        do_without(of_primary.name)
    with started(of_primary(), "primary") as primary:
        make_tables("primary")
        with started(of_replica(primary), "replica") as replica:
            fill("primary")
            wait_until_it_follows()
            yield replica


def do_without(server: str) -> None:
    """Skip a test whose server is not here, or fail it where all have to be."""
    reason = f"there is no {server} to start here"
    if os.environ.get("MIGRATOR_TEST_REQUIRE") == "all":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def started(server: AnyServer, alias: str) -> Iterator[AnyServer]:
    """Start a server and give its database a name; stop it in the end."""
    try:
        server.start()
        with another_alias(alias, **database_from_url(server.address()) | {"NAME": NAME}):
            yield server
    finally:
        server.stop()


def make_tables(alias: str) -> None:
    with connections[alias]._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {NAME}")
    call_command("migrate", database=alias, run_syncdb=True, interactive=False, verbosity=0)
    connections[alias].close()


def wait_until_it_follows() -> None:
    """Wait until the replica has all rows of its primary."""
    wait_until(lambda: counts("primary") == counts("replica"))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_TO_FOLLOW
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_any(cursor: Any, sql: str) -> bool:
    cursor.execute(sql)
    return bool(cursor.fetchone()[0])


def counts(alias: str) -> list[int] | None:
    try:
        return [count_rows(model, alias) for model in MODELS]
    except DatabaseError:  # the database is not there yet
        connections[alias].close()
        return None


@pytest.mark.usefixtures("replica")
def test_is_not_moved_to_its_primary() -> None:
    for more in (["--dry-run"], ["--replace", "primary"], ["--replace", "primary", "--jobs", "2"]):
        with nothing_changes("primary", "replica"):
            finished = run(*words(Pair("replica", "primary"), *more))
        assert_ended(finished, 1, "'replica' is a replica of 'primary'", "Nothing was written.", "another destination")


@pytest.mark.usefixtures("replica")
def test_is_the_source_of_a_move(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_b")
    pair = Pair("replica", "postgresql_b")
    oracle = Oracle(pair)
    assert_ended(run(*words(pair, "--jobs", "2", "--verify", "full")), 0)
    oracle.assert_complete()


@pytest.mark.postgresql
@pytest.mark.parametrize("replica", IMPATIENT, indirect=True)
@pytest.mark.usefixtures("replica")
def test_ends_a_run_that_keeps_it_from_following(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_b")
    oracle = Oracle(Pair("replica", "sqlite_b"))

    def make_a_conflict() -> None:
        with connections["primary"].cursor() as cursor:
            cursor.execute("UPDATE testapp_tag SET name = 'another ' || id")
            cursor.execute("VACUUM FULL testapp_tag")
            cursor.execute("SELECT pg_current_wal_lsn()")
            written = cursor.fetchone()[0]
        other = connections["replica"].copy()
        try:
            with other.cursor() as cursor:
                wait_until(lambda: is_any(cursor, f"SELECT pg_last_wal_replay_lsn() >= '{written}'"))
        finally:
            other.close()

    said = run(*words(oracle.pair, "--dry-run"))
    assert_ended(said, 0)
    assert "Note: replica: It is a standby: " in said.out
    assert "it waits for 0 (max_standby_streaming_delay)" in " ".join(said.out.split())
    with connections["sqlite_b"].execute_wrapper(At(5, "migrator_chunk", make_a_conflict)):
        ended = run(*words(oracle.pair))
    assert_ended(
        ended, 1, "The connection to the source 'replica' is lost, and its snapshot with it.", "--resume", "--cleanup"
    )
    oracle.assert_goes_on()


@pytest.mark.usefixtures("replica")
def test_is_moved_to_another_server_that_looks_like_its_primary() -> None:
    of_primary, _ = SERVERS[connections["replica"].vendor]
    with started(of_primary(), "stranger"):
        make_tables("stranger")
        oracle = Oracle(Pair("replica", "stranger"))
        assert_ended(run(*words(oracle.pair)), 0)
        oracle.assert_complete()


@pytest.mark.usefixtures("replica")
def test_is_not_written_to(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a")
    fill("sqlite_a")
    why = "the server is read-only" if connections["replica"].vendor == "mysql" else "the server is a standby"
    assert_ended(run(*words(Pair("sqlite_a", "replica"))), 1, why, "Nothing was written.")


def test_may_be_moved_to_what_it_followed_once(replica: Replica) -> None:
    oracle = Oracle(Pair("replica", "primary"))
    replica.become_a_primary(connections["replica"])
    call_command("flush", database="primary", interactive=False, verbosity=0)
    assert_ended(run(*words(oracle.pair)), 0)
    oracle.assert_complete()


@pytest.mark.mysql
def test_a_cluster_is_one_database_whichever_node_is_asked(databases: FreshDatabases) -> None:
    if MariaDB.find() is None or not GALERA.exists():
        do_without("MariaDB with Galera")
    databases.fresh("sqlite_a")
    fill("sqlite_a")
    with started(NodeMariaDB(), "node") as first:
        make_tables("node")
        with started(NodeMariaDB(first), "other_node"):
            oracle = Oracle(Pair("sqlite_a", "node"))
            assert_ended(run(*words(oracle.pair)), 0)
            oracle.assert_complete()
            wait_until(lambda: counts("node") == counts("other_node"))
            with nothing_changes("node", "other_node"):
                finished = run(*words(Pair("node", "other_node"), "--replace", "other_node"))
                assert_ended(finished, 1, "'node' and 'other_node' are the same database", "Nothing was written.")
