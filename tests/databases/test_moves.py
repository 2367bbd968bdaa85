"""A move of the settings has its databases and tables, and no pass can use others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import run_checks
from django.db.models import QuerySet
from django.test import override_settings

from tests.databases.snapshots import insert_rows
from tests.management.running import nothing_changes, run
from tests.servers.databases import Pair
from tests.testapp.models import Empty, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
MOVE = {
    "source": "sqlite_a",
    "dest": "sqlite_b",
    "labels": ["testapp.Tag", "testapp.Empty"],
    "exclude": ["testapp.Empty"],
}
MOVES = {"to-new": MOVE, "back": {"source": "sqlite_b", "dest": "sqlite_a"}}


@pytest.fixture
def sqlite(databases: FreshDatabases) -> Pair:
    databases.fresh(*SQLITE)
    insert_rows(Tag, SQLITE.source, [{"id": 1, "name": "one"}])
    insert_rows(Empty, SQLITE.source, [{"id": 1, "name": "one"}])
    return SQLITE


@override_settings(MIGRATOR={"MOVES": MOVES})
def test_all_passes_of_a_move_use_its_databases_and_tables(sqlite: Pair) -> None:
    assert run("migrator_doctor", "--move", "to-new").code == 0
    first = run("batch_migrate", "--move", "to-new", "--no-input")
    assert first.code == 0, first.err
    QuerySet(Tag, using=sqlite.source).update(name="two")
    assert run("verify_counts", "--move", "to-new", "--mode", "full").code == 3
    assert run("batch_migrate", "--no-input", "--update", "--move", "to-new", "--source", "sqlite_a").code == 0
    assert run("verify_counts", "--move", "to-new", "--mode", "full").code == 0
    assert QuerySet(Tag, using=sqlite.dest).get().name == "two"
    assert not QuerySet(Empty, using=sqlite.dest).exists()


@pytest.mark.parametrize("command", ["batch_migrate", "verify_counts", "migrator_doctor"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--dest", "default"],
            "--dest contradicts --move: it is 'default', and MIGRATOR['MOVES']['to-new'] has 'sqlite_b'.",
        ),
        (
            ["-e", "auth"],
            "--exclude contradicts --move: it is auth, and MIGRATOR['MOVES']['to-new'] has testapp.Empty.",
        ),
        (["auth"], "app_label[.Model] contradicts --move: it is auth, and "),
    ],
    ids=["dest", "exclude", "labels"],
)
def test_refuses_what_contradicts_the_move(command: str, words: list[str], message: str) -> None:
    with override_settings(MIGRATOR={"MOVES": MOVES}):
        finished = run(command, "--move", "to-new", *words)
    assert finished.code == 2
    assert finished.err.startswith(f"CommandError: {message}")


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        (MOVES, "MIGRATOR['MOVES'] has no move 'to-nwe'. Did you mean 'to-new'? Its moves are back, to-new."),
        ({}, "MIGRATOR['MOVES'] has no move 'to-nwe'. It is empty."),
    ],
)
def test_refuses_a_move_that_there_is_not(sqlite: Pair, moves: Any, message: str) -> None:
    with override_settings(MIGRATOR={"MOVES": moves}), nothing_changes(*sqlite):
        finished = run("batch_migrate", "--move", "to-nwe")
    assert (finished.code, finished.err) == (2, f"CommandError: {message}\n")


def test_databases_are_still_required_without_a_move() -> None:
    finished = run("batch_migrate", "--dry-run")
    assert finished.code == 2
    assert finished.err.endswith("the following arguments are required: --source, --dest\n")


@pytest.mark.parametrize(
    ("moves", "id", "found"),
    [
        ([], None, None),
        (["to-new"], "migrator.E008", "MIGRATOR['MOVES'] is list, not a dictionary."),
        ({"a": "default"}, "migrator.E008", "MIGRATOR['MOVES']['a'] is str, not a dictionary."),
        ({"a": {"source": "default"}}, "migrator.E008", "MIGRATOR['MOVES']['a'] lacks 'dest'."),
        ({"a": {**MOVE, "jobs": 2}}, "migrator.E008", "MIGRATOR['MOVES']['a'] has the unknown key 'jobs'"),
        ({"a": {**MOVE, "exclude": "auth"}}, "migrator.E008", "MIGRATOR['MOVES']['a']['exclude'] is not a list"),
        ({"a": {**MOVE, "dest": "nowhere"}}, "migrator.E009", "MIGRATOR['MOVES']['a'] names 'nowhere', which is not"),
        (
            {"a": {**MOVE, "dest": "sqlite_a"}},
            "migrator.E009",
            "MIGRATOR['MOVES']['a'] has 'sqlite_a' as its source and",
        ),
        ({"a": {**MOVE, "dest": "default"}}, "migrator.E009", "MIGRATOR['MOVES']['a'] has the protected database"),
        (
            {"a": {**MOVE, "labels": ["testapp.Tga"]}},
            "migrator.E010",
            "MIGRATOR['MOVES']['a']: 'testapp.Tga' is not an",
        ),
        (MOVES, None, None),
    ],
)
def test_system_checks_find_mistakes(moves: Any, id: str | None, found: str | None) -> None:
    with override_settings(MIGRATOR={"MOVES": moves, "PROTECTED": ["default"]}):
        messages = run_checks(tags=["migrator"])
    assert [message.id for message in messages] == [id] * bool(id)
    assert all(message.msg.startswith(found or "") for message in messages)
