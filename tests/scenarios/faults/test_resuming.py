"""What a run may go on with, and what it is refused: another source, other options, other columns, another run."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.journal.records import Run
from tests.databases.test_run_lock import paused_run
from tests.databases.test_run_lock import second as second_run
from tests.management.running import contents, execute, run
from tests.scenarios.faults.amounts import IS_WHOLE
from tests.scenarios.faults.oracle import THREE_PAIRS, Oracle, assert_ended, fill, move, wait_until_unlocked, words
from tests.scenarios.test_resume import (
    CHUNK_RECORDED,
    DAMAGES,
    Trap,
    in_a_process_of_its_own,
    of_format_9,
    record_otherwise,
)
from tests.servers.databases import PAIRS, Pair

to_each_engine = pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
on_sqlite = pytest.mark.parametrize("pair", PAIRS[:1], ids=str, indirect=True)


@pytest.fixture
def unfinished(pair: Pair, oracle: Oracle) -> Pair:
    """A run that was killed at the record of a chunk in the middle."""

    def killed() -> None:
        with connections[pair.dest].execute_wrapper(Trap(9, CHUNK_RECORDED)):
            move(pair)

    assert in_a_process_of_its_own(killed) == -signal.SIGKILL
    wait_until_unlocked(pair.dest)
    return pair


@contextmanager
def writing_nothing(alias: str) -> Iterator[None]:
    """Hear every statement, and assert that none could have changed the database."""
    said: list[str] = []

    def listen(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        said.append(str(sql).lstrip())
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(listen):
        yield
    assert [sql for sql in said if re.match("INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|TRUNCATE", sql)] == []


@to_each_engine
def test_after_success_there_is_nothing_to_do(pair: Pair, oracle: Oracle) -> None:
    assert run(*words(pair)).code == 0
    with writing_nothing(pair.dest):
        finished = run(*words(pair, "--resume"))
    assert_ended(finished, 0)
    assert f"No unfinished run in '{pair.dest}': nothing to resume." in finished.out
    oracle.assert_complete()


@to_each_engine
def test_an_unfinished_run_is_not_begun_anew(unfinished: Pair, oracle: Oracle) -> None:
    before = contents(unfinished.dest)
    for more in ([], ["--replace", unfinished.dest]):
        assert_ended(
            run(*words(unfinished, *more)), 1,
            f"'{unfinished.dest}' holds an unfinished run (process ", "--resume", "--cleanup",
        )  # fmt: skip
    assert contents(unfinished.dest) == before
    oracle.assert_goes_on()


def changed(pair: Pair, what: str) -> tuple[str, ...]:
    """Give the call that would go on with something else."""
    match what:
        case "options":
            return words(pair, "--resume", "--keep-indexes")
        case "tables":
            return (*words(pair, "--resume"), "testapp.Ring")
        case "source":
            return tuple("default" if word == pair.source else word for word in words(pair, "--resume"))
    # As after the field was made another type: the run had read it otherwise.
    recorded = QuerySet(Run, using=pair.dest).get()
    identity = json.loads(recorded.identity)
    identity["tables"]["testapp_rating"]["columns"][-1][1] = "text"
    QuerySet(Run, using=pair.dest).update(identity=json.dumps(identity, sort_keys=True))
    return words(pair, "--resume")


DIFFERENCES = {
    "options": "keeps indexes",
    "tables": "table 'testapp_ring' is new",
    "source": "plan was different: source",
    "columns": "the columns or rows of table 'testapp_rating'",
}


@pytest.mark.parametrize("what", DIFFERENCES)
@on_sqlite
def test_something_else_is_refused_and_the_difference_named(
    unfinished: Pair, oracle: Oracle, what: str, databases: Any
) -> None:
    databases.fresh("default")
    fill("default")
    call = changed(unfinished, what)
    before = contents(unfinished.dest)
    assert_ended(run(*call), 1, "because its plan was different", DIFFERENCES[what], "--cleanup")
    assert contents(unfinished.dest) == before


@on_sqlite
def test_another_destination_has_nothing_to_go_on_with(unfinished: Pair, oracle: Oracle, databases: Any) -> None:
    databases.fresh("default")
    elsewhere = ["default" if word == unfinished.dest else word for word in words(unfinished, "--resume")]
    finished = run(*elsewhere)
    assert_ended(finished, 3, "No unfinished run in 'default': nothing to resume. It is NOT a copy of the source:")
    oracle.assert_goes_on()


@to_each_engine
def test_a_second_run_ends_at_once_and_does_not_disturb_the_first(pair: Pair, tmp_path: Path) -> None:
    with paused_run(pair, tmp_path) as first:
        for more in ([], ["--resume"], ["--replace", pair.dest]):
            who = f"Another run is writing to '{pair.dest}' (process {first.pid} on "
            assert_ended(second_run(pair, *more), 1, who, ", started ")
        connections.close_all()
        first.communicate("\n" * 10, timeout=60)
        assert first.returncode == 0
    assert_ended(run("verify_counts", "--source", pair.source, "--dest", pair.dest, "testapp.Tag", "--mode", "full"), 0)


@to_each_engine
def test_a_killed_run_keeps_nobody_out(pair: Pair, tmp_path: Path) -> None:
    with paused_run(pair, tmp_path) as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    wait_until_unlocked(pair.dest)
    assert_ended(second_run(pair, "--resume", "--chunk-size", "2"), 0)
    assert_ended(run("verify_counts", "--source", pair.source, "--dest", pair.dest, "testapp.Tag", "--mode", "full"), 0)


SOME_DAMAGES = ("no table of chunks", "half an identity", "no run", "a committed chunk missing", "a chunk twice")


@pytest.mark.parametrize("damage", DAMAGES if IS_WHOLE else SOME_DAMAGES)
@on_sqlite
def test_a_damaged_journal_is_not_guessed_at(unfinished: Pair, oracle: Oracle, damage: str) -> None:
    """It says so and how to start over, or is complete in spite of the damage: nothing in between."""
    DAMAGES[damage](unfinished.dest)
    connections.close_all()
    finished = run(*words(unfinished, "--resume"))
    if finished.code == 0:
        oracle.assert_complete()
        return
    if finished.code == 3:  # no trace of a run was left: to begin anew, its rows stand in the way
        finished = run(*words(unfinished))
    assert_ended(finished, 1, f"--replace {unfinished.dest}")


@on_sqlite
def test_a_run_in_another_format_is_refused_and_its_release_named(unfinished: Pair, oracle: Oracle) -> None:
    """Only a release that reads the format resumes it, whichever release recorded it."""
    record_otherwise(unfinished.dest, of_format_9)
    connections.close_all()
    with writing_nothing(unfinished.dest):
        refused = run(*words(unfinished, "--resume"))
    assert_ended(
        refused, 1, "Resume the run with migrator 9.1 (pip install django-bulk-migrator==9.1), or pass --cleanup"
    )
    record_otherwise(unfinished.dest, lambda identity: identity.update(journal={"format": 1, "release": "0.0.7"}))
    oracle.assert_goes_on()


@on_sqlite
def test_a_table_of_others_that_is_called_like_the_journal_is_not_touched(pair: Pair) -> None:
    """Every command says what is in its way, and what to do about it."""
    execute(pair.dest, "CREATE TABLE migrator_run (id integer, what text)")
    execute(pair.dest, "INSERT INTO migrator_run VALUES (1, 'of others')")
    before = contents(pair.dest)
    for more in ([], ["--dry-run"], ["--resume"], ["--cleanup"], ["--update"], ["--replace", pair.dest]):
        finished = run(*words(pair, *more))
        assert_ended(finished, 1, "its tables have other columns", "rename them if they are not migrator's")
    assert contents(pair.dest) == before
    execute(pair.dest, "DROP TABLE migrator_run")
