"""Whatever fails while a source is followed: the destination has the state of one moment, and can be completed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from unittest import mock

import pytest
from django.db import connections

from migrator.databases.engines.postgresql.change_feed import SlotFeed
from migrator.databases.engines.postgresql.engine import PostgreSQL as Engine
from migrator.databases.following import changed_rows, rounds
from migrator.databases.following.changed_keys import ChangedKeys
from migrator.databases.following.follow import Follower
from migrator.databases.following.rounds import Rounds
from migrator.errors import MigratorError
from tests.databases.copying.test_retry import Heard
from tests.scenarios.faults.proxy import cut_after, cut_before, through_proxy
from tests.scenarios.following.conftest import PrivatePostgreSQL
from tests.scenarios.following.scripted import (
    PRIVATE,
    Statements,
    configured,
    execute,
    follow,
    followed_of,
    read,
    wait_until,
)
from tests.scenarios.following.writers import held
from tests.servers.base import Server
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import AutoKey, Pointer

pytestmark = pytest.mark.postgresql

A, B = "postgresql_a", "postgresql_b"
PAIR = Pair(A, B)
LABELS = ["testapp.AutoKey", "testapp.Pointer"]
# In one transaction: a row that is new, one that refers to it, one that is changed, and one that is gone.
CHANGES = (
    "BEGIN; INSERT INTO testapp_autokey (id, label) VALUES ({n}, 'new'); "
    "UPDATE testapp_pointer SET to_auto_id = {n} WHERE id = 1; "
    "UPDATE testapp_autokey SET label = 'round {n}' WHERE id = 2; "
    "DELETE FROM testapp_autokey WHERE id = {n} - 97; COMMIT"
)


@pytest.fixture
def _filled(databases: FreshDatabases) -> None:
    databases.fresh(A, B)
    execute(
        A,
        "INSERT INTO testapp_autokey (id, label) SELECT n, 'old' FROM generate_series(1, 20) n",
        "INSERT INTO testapp_pointer (id, to_auto_id) VALUES (1, 1)",
    )


def changes(number: int) -> Callable[[], None]:
    """Return a step that makes the changes of a number from 100 on."""
    return partial(execute, A, CHANGES.format(n=number))


def state(alias: str) -> tuple[Any, Any]:
    found = held(alias, AutoKey), held(alias, Pointer)
    connections[alias].close()
    return found


def slots() -> list[tuple[Any, ...]]:
    return read(A, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")


def assert_followed_on() -> None:
    """Assert that the same command with ``--update`` completes what was interrupted."""
    connections.close_all()
    followed_of(follow(PAIR, LABELS, changes(110), update=True))
    assert state(A) == state(B)
    assert ("2", "round 110") in state(B)[0]


# -- this process ----------------------------------------------------------------------------------------------------

STEPS: dict[str, tuple[Any, str]] = {
    "before the snapshot": (Engine, "renew_snapshot"),
    "before the position": (SlotFeed, "moment"),
    "before the keys are read": (ChangedKeys, "read"),
    "before the rows are compared": (changed_rows, "compare_keys"),
    "before the rows are written": (rounds, "apply_updates"),
    "before the last row is written": (Engine, "bind_now"),
    "after the commit": (Rounds, "_read_back"),
    "in the quiet time": (Follower, "_wait_quietly"),
}


@pytest.mark.slow
@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_is_killed_leaves_no_slot_and_the_state_of_a_round(step: str) -> None:
    states = [state(A)]
    owner, name = STEPS[step]
    is_due: list[bool] = []

    def kill(*args: Any, **options: Any) -> Any:
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(*args, **options)

    usual = getattr(owner, name)
    connections.close_all()
    child = os.fork()
    if child == 0:
        with suppress(BaseException), mock.patch.object(owner, name, kill):
            follow(PAIR, LABELS, changes(100), lambda: (changes(101)(), is_due.append(True)))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    execute(A, "SELECT 1")
    wait_until(lambda: not slots())
    found = state(B)
    assert found != states[0]
    labels = dict(found[0])
    rounds_of = {label for label in labels.values() if label.startswith("round")}
    assert rounds_of == ({"round 101"} if step in ("after the commit", "in the quiet time") else {"round 100"})
    assert found[1][0][1] == rounds_of.pop().removeprefix("round ")
    assert_followed_on()


# -- sessions --------------------------------------------------------------------------------------------------------


@contextmanager
def once(owner: Any, name: str, action: Callable[[Any], None], is_due: list[bool]) -> Iterator[None]:
    """Do something before a function of the run is called, once it is due."""
    usual = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        if is_due:
            is_due.clear()
            action(args[0])
        return usual(*args, **options)

    with mock.patch.object(owner, name, call):
        yield


def end_session(alias: str, engine: Any) -> None:
    read(alias, f"SELECT pg_terminate_backend({engine.connection.connection.info.backend_pid}, 5000)")


WHO: dict[str, Callable[[Rounds], None]] = {
    "feed": lambda rounds: end_session(A, rounds._tracker.feed._session),  # type: ignore[attr-defined]
    "source": lambda rounds: end_session(A, rounds._source),
    "destination": lambda rounds: end_session(B, rounds._dest),
}


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("moment", ["_refuse_changed_schema", "_apply", "_read_back"])
@pytest.mark.parametrize("who", WHO)
def test_a_session_that_ends_in_a_round_is_made_again(who: str, moment: str) -> None:
    is_due: list[bool] = []
    heard = Heard()
    with once(Rounds, moment, WHO[who], is_due), mock.patch.object(rounds, "PAUSE_SECONDS", 0.05):
        found = followed_of(
            follow(PAIR, LABELS, lambda: (changes(100)(), is_due.append(True)), changes(101), heard=heard)
        )
    assert not is_due
    assert len(found.lost_feeds) == (who == "feed")
    assert state(A) == state(B)
    assert ("2", "round 101") in state(B)[0]
    assert slots() == []


@pytest.mark.usefixtures("_filled")
def test_between_rounds_the_source_is_not_locked() -> None:
    """A migration that waited for a lock would keep the whole site waiting behind it."""
    alone = "LOCK TABLE testapp_autokey IN ACCESS EXCLUSIVE MODE"
    lock = f"DO $$ BEGIN SET LOCAL lock_timeout = '1s'; {alone}; END $$"
    followed_of(follow(PAIR, LABELS, lambda: execute(A, lock), changes(100)))
    assert state(A) == state(B)


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("action", [cut_before, cut_after])
def test_a_link_to_the_destination_that_is_cut_at_the_commit(action: Any) -> None:
    with through_proxy(B, [b"round 100", b"COMMIT"], action) as proxy:
        found = followed_of(follow(PAIR, LABELS, changes(100), changes(101)))
        assert proxy.has_acted.is_set()
    assert found.lost_feeds == []
    assert state(A) == state(B)


class Nurse(Heard):
    """Brings the server back when the run has found it down."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self.has_helped = False

    def message(self, text: str) -> None:
        super().message(text)
        if "Trying again" in text and not self.has_helped:
            self.has_helped = True
            self._server.start_again()


@pytest.mark.slow
def test_a_server_that_crashes_and_comes_back(private: Pair, private_server: PrivatePostgreSQL) -> None:
    def crash() -> None:
        execute(PRIVATE, "UPDATE testapp_autokey SET label = 'before' WHERE id = 1", "CHECKPOINT")
        private_server.crash()

    nurse = Nurse(private_server)
    found = followed_of(
        follow(
            private,
            ["testapp.AutoKey"],
            crash,
            lambda: execute(PRIVATE, "UPDATE testapp_autokey SET label = 'after' WHERE id = 2"),
            heard=nurse,
        )
    )
    assert nurse.has_helped
    assert len(found.lost_feeds) == 1
    assert held(private.source, AutoKey) == held(private.dest, AutoKey)
    assert {"before", "after"} < {label for _, label in held(private.dest, AutoKey)}


@pytest.mark.slow
def test_a_server_that_is_gone_while_a_new_feed_begins(private: Pair, private_server: PrivatePostgreSQL) -> None:
    def lose() -> None:
        execute(PRIVATE, "UPDATE testapp_autokey SET label = 'before' WHERE id = 1", "CHECKPOINT")
        read(PRIVATE, "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots")
        is_due.append(True)

    is_due: list[bool] = []
    nurse = Nurse(private_server)
    with once(Rounds, "_begin_again", lambda rounds: private_server.crash(), is_due):
        found = followed_of(follow(private, ["testapp.AutoKey"], lose, heard=nurse))
    assert nurse.has_helped
    assert len(found.lost_feeds) == 1
    assert ("1", "before") in held(private.dest, AutoKey)


@pytest.mark.slow
def test_a_server_that_does_not_keep_its_log_for_the_feed(private: Pair) -> None:
    switch = ["SELECT pg_logical_emit_message(false, 'a', 'b')", "SELECT pg_switch_wal()"] * 4
    heard = Heard()
    with configured(max_slot_wal_keep_size="1MB"):
        found = followed_of(
            follow(
                private,
                ["testapp.AutoKey"],
                lambda: execute(
                    PRIVATE, "UPDATE testapp_autokey SET label = 'lost' WHERE id = 1", *switch, "CHECKPOINT"
                ),
                lambda: execute(PRIVATE, "UPDATE testapp_autokey SET label = 'kept' WHERE id = 2"),
                heard=heard,
            )
        )
    assert len(found.lost_feeds) == 1
    assert held(private.source, AutoKey) == held(private.dest, AutoKey)
    assert {"lost", "kept"} < {label for _, label in held(private.dest, AutoKey)}


@pytest.mark.usefixtures("_filled")
def test_a_lock_that_waits_for_the_run_does_not_keep_a_new_feed_from_beginning() -> None:
    """The transaction that waits has begun to write, and a feed begins when those have ended."""
    alter = Statements(A, "BEGIN; UPDATE testapp_pointer SET to_auto_id = 7; LOCK TABLE testapp_autokey; COMMIT")
    is_due: list[bool] = []

    def lose() -> None:
        end = "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
        read(A, f"{end} WHERE database = current_database()")
        is_due.append(True)

    with once(Engine, "open_change_feed", lambda engine: alter(), is_due):
        found = followed_of(follow(PAIR, LABELS, lose, alter))
    assert len(found.lost_feeds) == 1
    assert state(A) == state(B)


# -- people ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_filled")
def test_writers_that_were_not_stopped_are_named_by_what_they_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(100, 110))
    monkeypatch.setattr(Follower, "_wait_quietly", lambda self: changes(next(numbers))())
    result = follow(PAIR, LABELS)
    assert result.followed is not None
    assert result.exit_code == 3
    assert {label: sorted(keys) for label, keys in result.followed.late.items()} == {
        "testapp.AutoKey": ["102", "2", "5"],
        "testapp.Pointer": ["1"],
    }
    assert ("2", "round 101") in state(B)[0]


@pytest.mark.usefixtures("_filled")
def test_requests_that_were_still_being_served_are_in_another_last_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([changes(100), lambda: None])
    monkeypatch.setattr(Follower, "_wait_quietly", lambda self: next(steps)())
    found = followed_of(follow(PAIR, LABELS))
    assert found.late == {}
    assert state(A) == state(B)


def test_the_keys_of_sessions_are_shown_as_digests(databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch) -> None:
    databases.fresh(A, B)
    secret = "s3cret" * 5
    monkeypatch.setattr(
        Follower,
        "_wait_quietly",
        lambda self: execute(
            A,
            f"INSERT INTO django_session VALUES ('{secret}', 'data', now()) ON CONFLICT (session_key)"
            " DO UPDATE SET session_data = 'other'",
        ),
    )
    result = follow(PAIR, ["sessions"])
    assert result.followed is not None
    ((key,),) = result.followed.late.values()
    assert key.startswith("sha256:")
    assert secret not in repr(result.followed)


@pytest.mark.usefixtures("_filled")
def test_what_somebody_else_wrote_to_the_destination_is_found_and_not_repaired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prove = Follower._prove

    def write_before(self: Follower) -> bool:
        execute(B, "UPDATE testapp_autokey SET label = 'stranger' WHERE id = 5")
        return prove(self)

    monkeypatch.setattr(Follower, "_prove", write_before)
    result = follow(PAIR, LABELS)
    assert result.exit_code == 3
    assert result.followed is not None
    assert result.followed.proven_at is None
    assert result.verification is not None
    assert not result.verification.is_clean
    assert ("5", "stranger") in state(B)[0]


@pytest.mark.usefixtures("_filled")
def test_a_row_that_the_destination_rejects_ends_it_with_the_state_of_the_last_round() -> None:
    execute(B, "ALTER TABLE testapp_autokey ADD CONSTRAINT own CHECK (label <> 'round 101')")
    before: list[Any] = []
    with pytest.raises(MigratorError) as raised:
        follow(PAIR, LABELS, changes(100), lambda: (before.append(state(A)), changes(101)()))
    assert "own" in str(raised.value)
    assert "--update --follow" in str(raised.value)
    assert state(B) == before[0]
