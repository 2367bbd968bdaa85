"""A fault that passes is waited for, and a lost link is made again; nothing is lost or doubled by it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from migrator.console.progress import Progress
from migrator.databases.api import Console, RunResult, batch_migrate
from migrator.databases.copying import chunk
from migrator.databases.journal import journal
from migrator.errors import MigratorError
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.servers.databases import FILE_PAIRS, PAIRS, Pair
from tests.testapp.models import Article, Tag, TreeNode

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.driver

MODELS = (Tag, Article, Article.tags.through, TreeNode)
LABELS = ["testapp.Tag", "testapp.Article", "testapp.TreeNode"]
TO_SERVERS = [*(pair for pair in PAIRS if pair.engines[1] != "sqlite"), *FILE_PAIRS]
FROM_SERVERS = [pair for pair in PAIRS if pair.engines[0] != "sqlite"]
ROWS = 20


def fill(alias: str) -> None:
    insert_rows(Tag, alias, [{"id": n, "name": f"tag {n}"} for n in range(1, ROWS + 1)])
    insert_rows(Article, alias, [{"id": n, "name": f"article {n}"} for n in range(1, ROWS + 1)])
    insert_rows(Article.tags.through, alias, [{"article_id": n, "tag_id": n} for n in range(1, ROWS + 1)])
    insert_rows(TreeNode, alias, [{"id": n, "name": f"{n}", "parent_id": ROWS + 1 - n} for n in range(1, ROWS + 1)])


@pytest.fixture
def filled(pair: Pair) -> Pair:
    fill(pair.source)
    return pair


class Heard(Progress):
    """Keep what is said to the person watching."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.has_retried = threading.Event()

    def message(self, text: str) -> None:
        self.messages.append(text)
        if "trying again" in text:
            self.has_retried.set()


def move(pair: Pair, heard: Heard | None = None, **options: Any) -> RunResult:
    console = Console(progress=heard or Heard())
    return batch_migrate(source=pair.source, dest=pair.dest, labels=LABELS, chunk_size=4, console=console, **options)


def assert_complete(pair: Pair, before: list[str]) -> None:
    assert differences(snapshot(pair.source, MODELS), snapshot(pair.dest, MODELS)) == []
    assert definitions(pair.dest) == before


@contextmanager
def another_session(alias: str) -> Iterator[BaseDatabaseWrapper]:
    connection = connections[alias].copy()
    connection.inc_thread_sharing()
    try:
        yield connection
    finally:
        connection.close()


def end_session(alias: str) -> None:
    """End the run's session as an administrator would."""
    run = connections[alias].connection
    with another_session(alias) as other, other.cursor() as cursor:
        if other.vendor == "postgresql":
            number = run.info.backend_pid
            cursor.execute("SELECT pg_terminate_backend(%s)", [number])
            gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        else:
            number = thread_of(run)
            cursor.execute(f"KILL {number}")
            gone = "SELECT count(*) FROM information_schema.processlist WHERE id = %s"
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            cursor.execute(gone, [number])
            if cursor.fetchone() == (0,):
                return


def thread_of(run: Any) -> int:
    """Give the server's number for a session, which a thread may be reading in just now."""
    for _ in range(1_000):
        with suppress(run.ProgrammingError):
            return int(run.thread_id())
        time.sleep(0.001)
    raise AssertionError("the session is never free")


class At:
    """Acts once, right before (or after) the nth statement that has these words."""

    def __init__(self, number: int, words: str, action: Callable[[], Any], *, is_after: bool = False) -> None:
        self._left, self._words, self._action, self._is_after = number, words, action, is_after

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        is_now = False
        if self._words in str(sql).replace('"', "").replace("`", ""):
            self._left -= 1
            is_now = self._left == 0
        if is_now and not self._is_after:
            self._action()
        result = execute(sql, params, many, context)
        if is_now and self._is_after:
            self._action()
        return result


@pytest.mark.parametrize("is_after", [False, True], ids=["before the record", "before the commit"])
@pytest.mark.parametrize("pair", TO_SERVERS, ids=str, indirect=True)
def test_a_lost_session_of_the_destination_is_made_again(filled: Pair, is_after: bool) -> None:
    before, heard = definitions(filled.dest), Heard()
    trap = At(7, "UPDATE migrator_chunk", lambda: end_session(filled.dest), is_after=is_after)
    with connections[filled.dest].execute_wrapper(trap):
        outcome = move(filled, heard)
    assert outcome.exit_code == 0
    assert sum(tally.rows_written for tally in outcome.row_counts.values()) == 4 * ROWS
    assert [text for text in heard.messages if "trying again" in text]
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[2]], ids=str, indirect=True)
def test_a_chunk_whose_commit_was_not_answered_is_counted_once(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before, connection = definitions(filled.dest), connections[filled.dest]
    commit, losses = connection._commit, []

    def lose_the_answer() -> None:
        commit()
        if losses == ["soon"]:
            losses[:] = ["now"]
            end_session(filled.dest)
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")

    monkeypatch.setattr(connection, "_commit", lose_the_answer)
    with connection.execute_wrapper(At(7, "UPDATE migrator_chunk", lambda: losses.append("soon"))):
        outcome = move(filled)
    assert losses == ["now"]
    assert outcome.exit_code == 0
    assert sum(tally.rows_written for tally in outcome.row_counts.values()) == 4 * ROWS
    assert_complete(filled, before)


@pytest.mark.parametrize("words", ["SELECT migrator_chunk", "INSERT INTO migrator_chunk", "UPDATE migrator_run"])
@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[2]], ids=str, indirect=True)
def test_a_session_lost_between_chunks_ends_with_the_way_on_or_is_made_again(filled: Pair, words: str) -> None:
    before = definitions(filled.dest)
    with connections[filled.dest].execute_wrapper(At(2, words, lambda: end_session(filled.dest))):
        try:
            move(filled)
        except MigratorError as error:
            message = str(error)
            assert_says_how_to_go_on(message)
            assert move(filled, resume=True).exit_code == 0
    assert_complete(filled, before)


def assert_says_how_to_go_on(message: str) -> None:
    assert "resume" in message
    assert "cleanup" in message


@pytest.mark.parametrize("pair", [PAIRS[1]], ids=str, indirect=True)
def test_a_lock_of_somebody_else_is_waited_for(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    options = connections[filled.dest].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "options", "-c lock_timeout=150")
    before, heard = definitions(filled.dest), Heard()
    lock = "LOCK TABLE testapp_treenode IN EXCLUSIVE MODE"
    with (
        somebody_holding(filled.dest, lock, heard) as hold,
        connections[filled.dest].execute_wrapper(At(2, "UPDATE migrator_chunk", hold)),
    ):
        assert move(filled, heard).exit_code == 0
    assert [text for text in heard.messages if "lock timeout" in text and "trying again" in text]
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", [PAIRS[2]], ids=str, indirect=True)
def test_a_row_that_somebody_else_holds_is_waited_for(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    options = connections[filled.dest].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "init_command", "SET SESSION innodb_lock_wait_timeout = 1")
    before, heard = definitions(filled.dest), Heard()
    insert = "INSERT INTO testapp_article (id, name) VALUES (15, 'not committed')"
    with (
        somebody_holding(filled.dest, insert, heard) as hold,
        connections[filled.dest].execute_wrapper(At(2, "UPDATE migrator_chunk", hold)),
    ):
        assert move(filled, heard).exit_code == 0
    assert [text for text in heard.messages if "Lock wait timeout" in text and "trying again" in text]
    assert_complete(filled, before)


@contextmanager
def somebody_holding(alias: str, statement: str, heard: Heard) -> Iterator[Callable[[], None]]:
    """Give what lets another session hold a lock until the run tries again."""
    with another_session(alias) as other:

        def release() -> None:
            heard.has_retried.wait(20)
            other.rollback()

        thread = threading.Thread(target=release)

        def hold() -> None:
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute(statement)
            thread.start()

        yield hold
        thread.join()


@pytest.mark.parametrize("timeout", [0.05, 5.0])
def test_a_sqlite_file_locked_for_a_second_is_waited_for(
    databases: FreshDatabases, timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair("postgresql_a", "sqlite_b")
    databases.fresh(*pair)
    fill(pair.source)
    monkeypatch.setitem(connections[pair.dest].settings_dict["OPTIONS"], "timeout", timeout)
    before, heard, file = definitions(pair.dest), Heard(), connections[pair.dest].settings_dict["NAME"]
    connections[pair.dest].close()
    locked = threading.Event()

    def lock() -> None:
        with closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked.set()
            time.sleep(1)
            other.execute("ROLLBACK")

    thread = threading.Thread(target=lock)

    def hold() -> None:
        thread.start()
        locked.wait(5)

    with connections[pair.dest].execute_wrapper(At(6, "BEGIN", hold)):
        assert move(pair, heard).exit_code == 0
    thread.join()
    assert bool([text for text in heard.messages if "trying again" in text]) is (timeout < 1)
    assert_complete(pair, before)


@pytest.mark.parametrize("pair", [PAIRS[4], PAIRS[7], *FILE_PAIRS[1:]], ids=str, indirect=True)
def test_a_lost_session_of_the_destination_between_two_chunks_leaves_the_source_alone(
    filled: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread is reading in the source's session then."""
    monkeypatch.setattr(chunk, "PREFETCH_BYTES", 1)
    monkeypatch.setattr(journal, "HEARTBEAT_SECONDS", -1)
    before, heard = definitions(filled.dest), Heard()
    trap = At(3, "SET heartbeat", lambda: end_session(filled.dest))
    with connections[filled.dest].execute_wrapper(trap):
        assert move(filled, heard).exit_code == 0
    assert [text for text in heard.messages if "trying again" in text]
    assert_complete(filled, before)


@pytest.mark.parametrize("number", [1, 6])
@pytest.mark.parametrize("pair", FROM_SERVERS, ids=str, indirect=True)
def test_a_lost_session_of_the_source_ends_the_run_and_it_can_go_on(filled: Pair, number: int) -> None:
    """Its snapshot is gone, so nothing may be read from a new one without looking at all that is there."""
    before, started = definitions(filled.dest), time.monotonic()
    trap = At(number, "UPDATE migrator_chunk", lambda: end_session(filled.source))
    with (
        connections[filled.dest].execute_wrapper(trap),
        pytest.raises(MigratorError) as caught,
    ):
        move(filled)
    assert time.monotonic() - started < 8
    message = str(caught.value)
    assert repr(filled.source) in message.partition("rows are committed")[0]
    assert f"{filled.dest!r} stopped" not in message
    assert_says_how_to_go_on(message)
    assert move(filled, resume=True).exit_code == 0
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[2]], ids=str, indirect=True)
def test_a_fault_that_needs_a_person_ends_the_run_at_once(filled: Pair) -> None:
    """A full disk, in the words of the server, raised by a trigger."""
    before = definitions(filled.dest)
    execute(filled.dest, *FULL_DISK[filled.engines[1]])
    started = time.monotonic()
    with pytest.raises(MigratorError) as caught:
        move(filled, keep_triggers=True)
    assert time.monotonic() - started < 5
    assert "disk is full" in str(caught.value)
    assert_says_how_to_go_on(str(caught.value))
    execute(filled.dest, *SPACE_AGAIN[filled.engines[1]])
    assert move(filled, resume=True, keep_triggers=True).exit_code == 0
    assert_complete(filled, before)


FULL_DISK = {
    "postgresql": (
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'disk is full' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON testapp_tag FOR EACH ROW WHEN (NEW.id > 10)"
        " EXECUTE FUNCTION full_disk()",
    ),
    "mysql": (
        "CREATE TRIGGER full_disk BEFORE INSERT ON testapp_tag FOR EACH ROW IF NEW.id > 10 THEN"
        " SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'disk is full'; END IF",
    ),
}
SPACE_AGAIN = {
    "postgresql": ("DROP TRIGGER full_disk ON testapp_tag", "DROP FUNCTION full_disk"),
    "mysql": ("DROP TRIGGER full_disk",),
}


def execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
