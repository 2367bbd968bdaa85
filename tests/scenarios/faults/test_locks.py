"""Locks of somebody else: waited for and tried again, and named where they are never given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.test import override_settings

from migrator.databases.api import Console
from tests.databases.copying.test_retry import At, Heard, another_session
from tests.management.running import run
from tests.scenarios.faults.oracle import THREE_PAIRS, TO_SERVERS, Oracle, assert_ended, move, words

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

SECONDS_TO_ANSWER = 20
RECORDED = "UPDATE migrator_chunk"
# What the destination's user has set for all sessions, so that no test waits long for the end of its patience.
IMPATIENT = {
    "postgresql": ("options", "-c lock_timeout=300"),
    "mysql": ("init_command", "SET SESSION innodb_lock_wait_timeout = 1, SESSION lock_wait_timeout = 1"),
    "sqlite": ("timeout", 0.3),
}
LOCKS = {
    "postgresql": "LOCK TABLE testapp_treenode IN ACCESS EXCLUSIVE MODE",
    # A row that is not committed holds its key.
    "mysql": "INSERT INTO testapp_treenode (id, name) VALUES (15, 'not committed')",
    "sqlite": "UPDATE testapp_treenode SET name = name",
}
LOCKS_AGAINST_CHANGES = LOCKS | {"mysql": "SELECT 1 FROM testapp_treenode"}
SAID = {
    "postgresql": "canceling statement due to lock timeout",
    "mysql": "Lock wait timeout exceeded; try restarting transaction",
    "sqlite": "database is locked",
}


@pytest.fixture
def impatient(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    name, value = IMPATIENT[oracle.pair.engines[1]]
    monkeypatch.setitem(connections[oracle.pair.dest].settings_dict["OPTIONS"], name, value)
    connections[oracle.pair.dest].close()
    return oracle


class Somebody:
    """Another session, which takes a lock and releases it on request."""

    def __init__(self, connection: Any, locks: Mapping[str, str]) -> None:
        self._connection, self._lock = connection, locks[connection.vendor]
        self.number: int | None = None

    def hold(self) -> None:
        self._connection.set_autocommit(False)
        with self._connection.cursor() as cursor:
            cursor.execute(self._lock)
            cursor.fetchall() if cursor.description else None
        if self._connection.vendor != "sqlite":
            self.number = number_of(self._connection)

    def let_go(self) -> None:
        self._connection.rollback()
        self._connection.set_autocommit(True)


class Heeded(Heard):
    """Somebody listens to the run, and goes when it says that it waits."""

    def __init__(self, somebody: Somebody) -> None:
        super().__init__()
        self._somebody = somebody

    def message(self, text: str) -> None:
        super().message(text)
        if "trying again" in text:
            self._somebody.let_go()


def number_of(connection: BaseDatabaseWrapper) -> int:
    """Tell the server's number for a session."""
    session: Any = connection.connection
    number: int = session.info.backend_pid if connection.vendor == "postgresql" else session.thread_id()
    return number


def first_lock(alias: str, action: Callable[[], None]) -> At:
    """Act before the first chunk is recorded, or, where one lock is the whole file's, before a later one is begun."""
    return At(6, "BEGIN", action) if connections[alias].vendor == "sqlite" else At(1, RECORDED, action)


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_lock_is_waited_for_until_it_is_let_go(impatient: Oracle) -> None:
    """Its holder goes when the run has said that it waits."""
    dest, engine = impatient.pair.dest, impatient.pair.engines[1]
    with another_session(dest) as connection:
        somebody = Somebody(connection, LOCKS)
        heard = Heeded(somebody)
        with connections[dest].execute_wrapper(first_lock(dest, somebody.hold)):
            outcome = move(impatient.pair, console=Console(progress=heard))
    assert outcome.exit_code == 0
    assert [text for text in heard.messages if SAID[engine] in text and "trying again" in text]
    impatient.assert_complete()


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_lock_that_is_never_let_go_ends_the_run_and_its_holder_is_named(impatient: Oracle) -> None:
    dest, engine = impatient.pair.dest, impatient.pair.engines[1]
    with another_session(dest) as connection:
        somebody = Somebody(connection, LOCKS)
        with (
            override_settings(MIGRATOR={"RETRY_FOR": 0.5}),
            connections[dest].execute_wrapper(first_lock(dest, somebody.hold)),
        ):
            finished = run(*words(impatient.pair))
        somebody.let_go()
    assert_ended(finished, 1, SAID[engine], "for 0.5 s (MIGRATOR['RETRY_FOR'])", "--resume", "--cleanup")
    if somebody.number is not None:
        assert f"session {somebody.number} of 'migrator_test' from 127.0.0.1" in finished.err
    impatient.assert_goes_on()


@pytest.mark.postgresql
@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--update"]], ids=str)
def test_a_lock_that_is_held_before_the_first_write_is_reported_with_its_holder(
    databases: Any, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    pair = TO_SERVERS[0]
    databases.fresh(*pair)
    monkeypatch.setattr("migrator.databases.engines.postgresql.engine.LOCK_WAIT_SECONDS", 1)
    with another_session(pair.dest) as connection:
        connection.cursor().execute("SET application_name = 'nightly report'")
        somebody = Somebody(connection, LOCKS)
        somebody.hold()
        finished = run(*words(pair, *more))
        somebody.let_go()
    assert_ended(finished, 1, SAID["postgresql"], f"session {somebody.number} of ", "(nightly report)")
    assert finished.err.rstrip().endswith("Run the command again.")
    assert_ended(run(*words(pair, *more)), 0)


@pytest.mark.parametrize("pair", TO_SERVERS, ids=str, indirect=True)
def test_objects_come_back_after_a_lock_of_somebody_else(impatient: Oracle) -> None:
    """And the index or foreign key that had to wait is there once."""
    dest, engine = impatient.pair.dest, impatient.pair.engines[1]
    with another_session(dest) as connection:
        somebody = Somebody(connection, LOCKS_AGAINST_CHANGES)
        heard = Heeded(somebody)
        first_object = {"postgresql": "CREATE INDEX testapp_", "mysql": "ADD KEY"}[engine]
        with connections[dest].execute_wrapper(At(1, first_object, somebody.hold)):
            outcome = move(impatient.pair, console=Console(progress=heard))
    assert outcome.exit_code == 0
    assert [text for text in heard.messages if SAID[engine] in text and "trying again" in text]
    impatient.assert_complete()


# -- the victim of a deadlock ------------------------------------------------------------------------------------------


def wait_for(alias: str, query: str, *, times: int = 1) -> None:
    """Wait until a query has a row, several times in a row."""
    seen, deadline = 0, time.monotonic() + SECONDS_TO_ANSWER
    with another_session(alias) as watching, watching.cursor() as cursor:
        while seen < times:
            assert time.monotonic() < deadline, query
            cursor.execute(query)
            seen = seen + 1 if cursor.fetchall() else 0
            time.sleep(0.05)


@contextmanager
def rival_in_postgresql(alias: str) -> Iterator[None]:
    """Wait for a row of the run's until nobody looks for a deadlock any more, and only then let the run wait too.

    The session that begins to wait last looks for a deadlock, a second later, and is the victim.
    """
    with another_session(alias) as other:
        number = 0

        def wait_for_the_run() -> None:
            try:
                with other.cursor() as cursor:
                    cursor.execute("INSERT INTO testapp_tag (id, name) VALUES (2, 'rival')")
            finally:
                other.rollback()

        thread = threading.Thread(target=wait_for_the_run)

        def begin(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
            if not number and RECORDED.split()[1] in str(sql) and "UPDATE" in str(sql) and "testapp_tag" in params:
                rival()
            return execute(sql, params, many, context)

        def rival() -> None:
            nonlocal number
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute("LOCK TABLE migrator_chunk IN SHARE MODE")
            number = number_of(other)
            thread.start()
            wait_for(
                alias,
                f"SELECT 1 FROM pg_stat_activity WHERE pid = {number} AND wait_event_type = 'Lock' "
                "AND query_start < clock_timestamp() - 2 * current_setting('deadlock_timeout')::interval",
            )

        with connections[alias].execute_wrapper(begin):
            yield
        thread.join()


@contextmanager
def rival_in_mysql(alias: str) -> Iterator[None]:
    """Hold a row that the run wants and want one that it has, with more to lose: the victim has changed less."""
    waiting = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'INSERT INTO `testapp_tag` %VALUES\n%'"
    with another_session(alias) as other:

        def hold() -> None:
            other.set_autocommit(False)
            with other.cursor() as cursor:
                rows = ", ".join(f"({number}, 'rival')" for number in (12, *range(1000, 2000)))
                cursor.execute(f"INSERT INTO testapp_tag (id, name) VALUES {rows}")
            thread.start()

        def want() -> None:
            try:
                wait_for(alias, waiting, times=3)
                with other.cursor() as cursor:
                    cursor.execute("INSERT INTO testapp_tag (id, name) VALUES (2, 'rival')")
            finally:
                other.rollback()

        thread = threading.Thread(target=want)
        with connections[alias].execute_wrapper(At(1, "INSERT INTO migrator_chunk", hold)):
            yield
        thread.join()


RIVALS = {
    "postgresql": (rival_in_postgresql, "deadlock detected"),
    "mysql": (rival_in_mysql, "Deadlock found when trying to get lock; try restarting transaction"),
}


@pytest.mark.parametrize("pair", TO_SERVERS, ids=str, indirect=True)
def test_the_victim_of_a_deadlock_tries_again(oracle: Oracle) -> None:
    rival, said = RIVALS[oracle.pair.engines[1]]
    heard = Heard()
    with rival(oracle.pair.dest):
        outcome = move(oracle.pair, console=Console(progress=heard))
    assert outcome.exit_code == 0
    assert [text for text in heard.messages if said in text and "trying again" in text]
    oracle.assert_complete()
