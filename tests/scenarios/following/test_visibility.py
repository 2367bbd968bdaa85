"""What a PostgreSQL source has decoded, and what its snapshots see, are not the same: neither may be lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import connections

from migrator.databases.engines.postgresql.change_feed import SlotFeed
from migrator.databases.engines.postgresql.engine import PostgreSQL as Engine
from migrator.databases.following.tracker import ChangeTracker
from tests.scenarios.following.scripted import (
    PATIENCE_SECONDS,
    configured,
    execute,
    follow,
    followed_of,
    meanwhile,
    read,
    session,
    wait_until,
)
from tests.scenarios.following.writers import held
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import AutoKey, TreeNode

pytestmark = pytest.mark.postgresql

A, B, C = "postgresql_a", "postgresql_b", "sqlite_b"
FILL = "INSERT INTO testapp_autokey (id, label) SELECT n, 'old' FROM generate_series(1, 5) n"
# Sessions whose commit waits for a standby.
WAITING = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
def pair(private: Pair) -> Iterator[Pair]:
    """Have sessions with ``synchronous_commit`` wait for a standby, which never answers."""
    with configured(synchronous_standby_names="nobody"):
        yield private


class Waiting:
    """A transaction that is committed and not visible, until :meth:`let_go`."""

    def __init__(self, alias: str, *statements: str) -> None:
        self._alias = alias
        self._thread = threading.Thread(target=execute, args=(alias, "SET synchronous_commit = on", *statements))

    def begin(self) -> None:
        self._thread.start()
        wait_until(lambda: read(self._alias, f"SELECT 1 {WAITING}"))

    def let_go(self) -> None:
        while self._thread.is_alive():
            read(self._alias, f"SELECT pg_cancel_backend(pid) {WAITING}")
            self._thread.join(0.05)


class Open:
    """A transaction that has written, for the server's idea of it, and is open."""

    def __init__(self, alias: str) -> None:
        self._alias, self._connection = alias, connections[alias].copy()
        self._connection.set_autocommit(False)
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()::text")
            (self._number,) = cursor.fetchone()

    def is_waited_for(self) -> bool:
        return bool(read(self._alias, f"SELECT 1 FROM pg_locks WHERE transactionid = '{self._number}' AND NOT granted"))

    def commit(self) -> None:
        self._connection.commit()
        self._connection.close()


def labels_in(alias: str) -> set[str]:
    return {label for _, label in held(alias, AutoKey)}


def test_a_change_that_is_decoded_before_it_is_visible_waits_for_a_later_round(pair: Pair) -> None:
    waiting = Waiting(pair.source, "UPDATE testapp_autokey SET label = 'new'")
    seen: list[set[str]] = []
    followed = followed_of(
        follow(
            pair,
            ["testapp.AutoKey"],
            waiting.begin,
            lambda: seen.append(labels_in(C)),
            lambda: (seen.append(labels_in(C)), waiting.let_go()),
            lambda: seen.append(labels_in(C)),
        )
    )
    assert seen == [{"old"}, {"old"}, {"new"}]
    assert (followed.changes, followed.keys, followed.carried) == (5, 5, 10)
    assert followed.lost_feeds == []


def test_a_change_that_is_not_visible_after_the_last_pass_is_late(pair: Pair) -> None:
    waiting = Waiting(pair.source, "UPDATE testapp_autokey SET label = 'late' WHERE id = 2")
    try:
        result = follow(pair, ["testapp.AutoKey"], waiting.begin)
    finally:
        waiting.let_go()
    assert result.followed is not None
    assert (result.exit_code, result.followed.late) == (3, {"testapp.AutoKey": ["2"]})


def test_a_transaction_that_is_open_after_the_last_pass_is_late(databases: FreshDatabases) -> None:
    """Nothing is known of its changes before it commits, which may be after the site has been switched."""
    databases.fresh(A, C)
    execute(A, FILL)
    with ExitStack() as stack:

        def begin() -> None:
            stack.enter_context(session(A)).execute("UPDATE testapp_autokey SET label = 'open' WHERE id = 2")

        result = follow(Pair(A, C), ["testapp.AutoKey"], begin)
        assert result.followed is not None
        assert (result.exit_code, result.followed.late) == (3, {"testapp.AutoKey": []})


def test_a_change_that_becomes_visible_while_the_feed_begins_is_copied(pair: Pair) -> None:
    """It is written before the changes begin that the feed tells, and no snapshot sees it when they do."""
    alias, is_open = pair.source, threading.Event()
    waiting = Waiting(alias, "UPDATE testapp_autokey SET label = 'new' WHERE id = 3")

    def overlap() -> None:
        """Have two transactions open one after the other: the slot begins in between, and is ready after both."""
        first = Open(alias)
        is_open.set()
        wait_until(first.is_waited_for)
        second = Open(alias)
        first.commit()
        wait_until(second.is_waited_for)
        waiting.begin()
        second.commit()
        wait_until(lambda: read(alias, "SELECT 1 FROM pg_replication_slots WHERE confirmed_flush_lsn IS NOT NULL"))
        time.sleep(0.5)
        waiting.let_go()

    with meanwhile(overlap):
        assert is_open.wait(PATIENCE_SECONDS)
        followed = followed_of(follow(pair, ["testapp.AutoKey"]))
    assert followed.lost_feeds == []
    assert labels_in(C) == {"old", "new"}


def test_commits_that_are_not_on_disk_yet_are_in_the_round_that_sees_them(databases: FreshDatabases) -> None:
    """The server does not wait for the disk before it answers, and decodes only what is there."""
    databases.fresh(A, C)
    execute(A, FILL)
    seen: list[set[str]] = []

    def update() -> None:
        statements = [f"UPDATE testapp_autokey SET label = 'new {n}'" for n in range(200)]
        execute(A, "SET synchronous_commit = off", *statements)

    followed = followed_of(
        follow(Pair(A, C), ["testapp.AutoKey"], update, lambda: seen.append(labels_in(C)), verify="none")
    )
    assert seen == [{"new 199"}]
    assert (followed.changes, followed.keys) == (1000, 5)


def test_the_keys_of_a_round_are_read_after_its_snapshot(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it, a row of the snapshot could refer to a parent whose key is not among them."""
    databases.fresh(A, B)
    execute(A, "INSERT INTO testapp_treenode (id, name) VALUES (1, 'child')")
    parents = iter(range(10, 1000))

    def move() -> None:
        """Change the child in each transaction, and let it refer to a parent that is new."""
        new = next(parents)
        with session(A) as cursor:
            cursor.execute(f"INSERT INTO testapp_treenode (id, name) VALUES ({new}, 'parent')")
            cursor.execute(f"UPDATE testapp_treenode SET parent_id = {new} WHERE id = 1")

    def followed_by_a_move(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            result = function(*args, **options)
            if is_following:
                move()
            return result

        return call

    is_following: list[bool] = []
    monkeypatch.setattr(Engine, "renew_snapshot", followed_by_a_move(Engine.renew_snapshot))
    monkeypatch.setattr(SlotFeed, "moment", followed_by_a_move(SlotFeed.moment))
    monkeypatch.setattr(ChangeTracker, "read", followed_by_a_move(ChangeTracker.read))
    followed = followed_of(
        follow(
            Pair(A, B),
            ["testapp.TreeNode"],
            lambda: is_following.append(True),
            lambda: None,
            lambda: None,
            is_following.clear,
        )
    )
    assert followed.lost_feeds == []
    assert len(held(B, TreeNode)) == 10
    assert held(A, TreeNode) == held(B, TreeNode)
