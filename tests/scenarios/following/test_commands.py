"""The command that follows: how it is ended, what it refuses, and what it leaves."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.db import connections

from migrator.databases.engines.postgresql.engine import PostgreSQL as Engine
from tests.manage import Finished, run_manage, start_manage
from tests.management.running import another_alias, at_terminal, entry_of, error_in, run
from tests.scenarios.following.conftest import PrivatePostgreSQL
from tests.scenarios.following.scripted import PRIVATE, execute, follow, followed_of, read, wait_until
from tests.scenarios.following.writers import held
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import AutoKey

pytestmark = pytest.mark.postgresql

A, B = "postgresql_a", "postgresql_b"
WORDS = ("batch_migrate", "--source", A, "--dest", B, "testapp.AutoKey", "--no-input", "--follow")
INVITED = "Stop everything that writes to the source"


@pytest.fixture
def _filled(databases: FreshDatabases) -> None:
    databases.fresh(A, B)
    execute(A, "INSERT INTO testapp_autokey (id, label) SELECT n, 'old' FROM generate_series(1, 9) n")
    connections.close_all()


def slots() -> list[tuple[Any, ...]]:
    return read(A, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")


def followed_until(number: int, *more: str) -> Finished:
    """Start a command, change the source while it is followed, and send the command a signal."""
    with start_manage(*WORDS, *more) as process:
        assert process.stderr
        said = ""
        while INVITED not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        assert slots()
        execute(A, "UPDATE testapp_autokey SET label = 'new' WHERE id = 1")
        wait_until(lambda: ("1", "new") in held_apart(B))
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
        return Finished(process.wait(), out, said + err)


def held_apart(alias: str) -> list[tuple[str, ...]]:
    return [tuple(map(str, row)) for row in read(alias, "SELECT id, label FROM testapp_autokey ORDER BY id")]


@pytest.mark.usefixtures("_filled")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_state_of_the_last_round(number: signal.Signals) -> None:
    finished = followed_until(number)
    assert finished.code == 128 + number
    assert "'postgresql_b' has the state of its source as of" in finished.err
    assert "--update --follow" in finished.err
    assert "Traceback" not in finished.err
    assert held_apart(A) == held_apart(B)
    assert slots() == []


@pytest.mark.usefixtures("_filled")
def test_another_signal_asks_for_the_last_pass() -> None:
    finished = followed_until(signal.SIGUSR1)
    assert finished.code == 0, finished
    assert re.search(r"kill -USR1 \d+", finished.err)
    assert held_apart(A) == held_apart(B)
    assert slots() == []


@pytest.mark.usefixtures("_filled")
def test_enter_at_the_terminal_asks_for_the_last_pass() -> None:
    words = [word for word in WORDS if word != "--no-input"]
    finished = at_terminal(*words, answers=[("?", "y\n"), ("press ENTER", "\n")])
    assert finished.code == 0, finished
    assert held_apart(A) == held_apart(B)


@pytest.mark.usefixtures("_filled")
def test_a_quiet_source_asks_for_the_last_pass() -> None:
    finished = run(*WORDS, "--until-quiet", "1")
    assert finished.code == 0, finished
    assert "The last pass begins 1 s later." in finished.err
    assert held_apart(A) == held_apart(B)


@pytest.mark.usefixtures("_filled")
def test_a_dry_run_makes_no_slot() -> None:
    with mock.patch.object(Engine, "open_change_feed", side_effect=AssertionError):
        finished = run(*WORDS, "--dry-run")
    assert finished.code == 0, finished
    assert held_apart(B) == []


@pytest.mark.usefixtures("_filled")
def test_another_run_waits_for_its_end() -> None:
    others: list[Finished] = []
    update = [word for word in WORDS if word != "--follow"]
    followed_of(follow(Pair(A, B), ["testapp.AutoKey"], lambda: others.append(run_manage(*update, "--update"))))
    (other,) = others
    assert other.code == 1
    assert "Another run is writing to 'postgresql_b'" in other.err


@pytest.mark.usefixtures("_filled")
def test_several_processes_copy_before_it() -> None:
    found = followed_of(
        follow(
            Pair(A, B),
            ["testapp.AutoKey", "testapp.TextKey"],
            lambda: execute(A, "UPDATE testapp_autokey SET label = 'new'"),
            jobs=2,
        )
    )
    assert (found.rows, found.lost_feeds) == (9, [])
    assert held_apart(A) == held_apart(B)


@pytest.mark.usefixtures("_filled")
def test_tables_are_created_before_it(tmp_path: Path) -> None:
    with another_alias("empty", ENGINE="django.db.backends.sqlite3", NAME=str(tmp_path / "empty.sqlite3")):
        found = followed_of(
            follow(
                Pair(A, "empty"),
                ["testapp.AutoKey"],
                lambda: execute(A, "UPDATE testapp_autokey SET label = 'new' WHERE id = 3"),
                migrate=True,
            )
        )
        assert found.rows == 1
        assert held(A, AutoKey) == held("empty", AutoKey)
    assert slots() == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["--follow", "--on-error", "skip", "--rejects", "rejects.jsonl"],
            "--follow and --on-error skip exclude each other",
        ),
        (["--follow", "--resume"], "--follow and --resume exclude each other"),
        (["--until-quiet", "3"], "--until-quiet requires --follow."),
        (["--follow", "--until-quiet", "0"], "until-quiet"),
    ],
)
def test_options_that_exclude_each_other(more: Sequence[str], said: str) -> None:
    finished = run(*WORDS[:-1], *more)
    assert finished.code == 2, finished
    assert said in finished.err


# -- refusals --------------------------------------------------------------------------------------------------------


def refused(*ends: str) -> str:
    """Return why a source is not followed; nothing is written."""
    source, dest = ends
    words = ("batch_migrate", "--source", source, "--dest", dest, "testapp.AutoKey", "--no-input", "--follow")
    for more in ([], ["--dry-run"]):
        finished = run(*words, *more)
        assert finished.code in (1, 3), finished
    said = " ".join((finished.out + finished.err).split())
    assert "Traceback" not in said
    return said


def test_a_source_without_a_feed_is_refused(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", B)
    said = refused("sqlite_a", B)
    assert "SQLite does not report which rows change" in said
    assert "--update" in said


@contextmanager
def restarted(server: PrivatePostgreSQL, *options: str) -> Iterator[None]:
    """Have the server run with other options for a while."""
    server.stop_for_now()
    server.options = options
    server.start_again()
    try:
        yield
    finally:
        server.stop_for_now()
        server.options = ()
        server.start_again()


@pytest.mark.slow
def test_a_server_with_another_log_or_without_a_free_slot_is_refused(
    private: Pair, private_server: PrivatePostgreSQL
) -> None:
    with restarted(private_server, "-c", "wal_level=replica"):
        said = refused(*private)
    assert "wal_level is 'replica', and --follow needs 'logical'" in said
    assert "ALTER SYSTEM SET wal_level = 'logical'" in said
    with restarted(private_server, "-c", "max_replication_slots=1"):
        execute(PRIVATE, "SELECT pg_create_physical_replication_slot('taken')")
        said = refused(*private)
        execute(PRIVATE, "SELECT pg_drop_replication_slot('taken')")
    assert "all 1 of its replication slots are in use (max_replication_slots)" in said
    (private_server.directory / "data" / "standby.signal").touch()
    with restarted(private_server, "-c", "hot_standby=on"):
        said = refused(*private)
        (private_server.directory / "data" / "standby.signal").unlink()
    assert "it is a standby" in said


@pytest.mark.usefixtures("private_server")
def test_a_role_that_may_not_read_changes_is_refused(private: Pair) -> None:
    password = connections[PRIVATE].settings_dict["PASSWORD"]
    execute(
        PRIVATE,
        f"CREATE ROLE reader LOGIN PASSWORD '{password}'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader",
    )
    with another_alias("reader", **entry_of(PRIVATE, USER="reader")):
        said = refused("reader", private.dest)
    execute(PRIVATE, "DROP OWNED BY reader", "DROP ROLE reader")
    assert "its user reader may not read changes" in said
    assert "ALTER ROLE reader REPLICATION;" in said


@pytest.mark.usefixtures("_filled")
def test_transactions_that_do_not_end_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.databases.engines.postgresql.change_feed.OPEN_TRANSACTIONS_SECONDS", 1.0)
    other = connections[A].copy()
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute("SET application_name = 'long one'")
        cursor.execute("UPDATE testapp_autokey SET label = 'open' WHERE id = 1")
        finished = run(*WORDS)
    other.rollback()
    other.close()
    assert finished.code == 1
    said = error_in(finished)
    assert "some are still open after 1 s" in said
    assert "(long one)" in said
    assert "Nothing was written." in said
    assert held_apart(B) == []
    wait_until(lambda: not slots())
