"""A run can always be ended: what keeps an index or key from being recreated is named, rejected or listed."""

from __future__ import annotations

import json
import random
import sqlite3
import string
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.db.models import QuerySet
from django.test import override_settings

from migrator.databases.copying import finish
from migrator.databases.copying.recreation_failures import reject_obstacles
from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import Run
from tests.databases.copying.test_retry import execute
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.snapshots import insert_rows
from tests.management.running import another_alias, contents, run
from tests.scenarios.faults.oracle import assert_ended, count_rows, journal_tables
from tests.servers.databases import PAIRS, Pair
from tests.servers.mysql import LOCKING_USER
from tests.testapp.models import TextValue, TreeNode

LONG = "".join(random.Random(1).choices(string.printable, k=2_000))  # noqa: S311
TO_POSTGRESQL, TO_MYSQL, TO_SQLITE = (PAIRS[position] for position in (1, 2, 0))


def command(pair: Pair, *more: str) -> tuple[str, ...]:
    ends = ("--source", pair.source, "--dest", pair.dest)
    return ("batch_migrate", *ends, "--no-input", "--chunk-size", "40", *more, "testapp.TextValue", "testapp.TreeNode")


def fill(alias: str, **values: str) -> None:
    """Put texts into the source, some of them given by their keys."""
    texts = {n: f"{n}" for n in range(1, 101)} | {int(key.strip("_")): value for key, value in values.items()}
    insert_rows(TextValue, alias, [{"id": n, "label": f"row {n}", "value": text} for n, text in texts.items()])


def execute_once_deleted_rows_are_gone(alias: str, statement: str) -> None:
    """Execute it again for some seconds: PostgreSQL indexes deleted rows that another session, as autovacuum, sees."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return execute(alias, statement)
        except DatabaseError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


# By destination, an index that does not take the text of row 77, and what its server says then.
OBSTACLES: dict[str, tuple[Pair, str, str, str]] = {
    # What is found before the first write is about values, and not about what an expression makes of them.
    "an entry too large": (TO_POSTGRESQL, "CREATE INDEX x ON testapp_textvalue ((value || value))", LONG, "index row"),
    "an expression of PostgreSQL": (
        TO_POSTGRESQL, "CREATE INDEX x ON testapp_textvalue ((value::integer)) WHERE id > 2", "none", "invalid input",
    ),
    "a virtual column of MySQL": (
        TO_MYSQL, "ALTER TABLE testapp_textvalue ADD twice int AS (CAST(value AS int) * 30) VIRTUAL, ADD KEY x (twice)",
        "2000000000", "ut of range",
    ),
    "an expression of SQLite": (
        TO_SQLITE, "CREATE INDEX x ON testapp_textvalue (json_extract(value, '$.a'))", "none", "malformed JSON",
    ),
}  # fmt: skip
each_obstacle = pytest.mark.parametrize("obstacle", OBSTACLES)


@pytest.fixture
def hindered(obstacle: str, databases: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Pair, str, list[str]]:
    """Give a destination with such an index, what is said of it, and how its tables were defined before."""
    pair, sql, text, said = OBSTACLES[obstacle]
    databases.fresh(*pair)
    if pair is TO_MYSQL:
        # For a log of rows, the server computes a virtual column at once, and not when it is indexed.
        given = connections[pair.dest].settings_dict
        monkeypatch.setitem(given, "USER", LOCKING_USER)
        monkeypatch.setitem(given, "OPTIONS", given["OPTIONS"] | {"init_command": "SET sql_log_bin = 0"})
        connections[pair.dest].close()
    fill(pair.source, _77=text)
    execute_once_deleted_rows_are_gone(pair.dest, sql)
    return pair, said, definitions(pair.dest)


@each_obstacle
def test_a_row_that_an_index_does_not_take_is_named_and_the_run_goes_on_once_it_is_right(
    hindered: tuple[Pair, str, list[str]],
) -> None:
    pair, said, before = hindered
    row = "testapp.TextValue with primary key 77"
    assert_ended(run(*command(pair)), 1, "index 'x' of testapp.TextValue", said, row, "--resume", "--cleanup")
    assert_ended(run(*command(pair, "--resume")), 1, row)
    QuerySet(TextValue, using=pair.source).filter(pk=77).update(value="77")
    assert_ended(run(*command(pair, "--resume")), 0)
    assert definitions(pair.dest) == before


@pytest.mark.parametrize("obstacle", ["an entry too large"])
def test_a_resumed_run_waits_for_sessions_that_still_see_the_row_it_has_deleted(
    hindered: tuple[Pair, str, list[str]],
) -> None:
    pair, said, before = hindered
    assert_ended(run(*command(pair)), 1, "index 'x' of testapp.TextValue", said)
    QuerySet(TextValue, using=pair.source).filter(pk=77).update(value="77")
    with another_alias("reader", **connections[pair.dest].settings_dict):
        reader = connections["reader"]
        execute("reader", "BEGIN ISOLATION LEVEL REPEATABLE READ")
        execute("reader", "SELECT 1")
        reader.inc_thread_sharing()
        timer = threading.Timer(1.5, reader.close)
        timer.start()
        assert_ended(run(*command(pair, "--resume")), 0)
        timer.join()
        reader.dec_thread_sharing()
    assert definitions(pair.dest) == before


@each_obstacle
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_such_a_row_is_rejected_with_skip(hindered: tuple[Pair, str, list[str]], jobs: str, tmp_path: Path) -> None:
    pair, _, before = hindered
    rejects = tmp_path / "rejects.jsonl"
    assert_ended(run(*command(pair, "--on-error", "skip", "--rejects", str(rejects), "--jobs", jobs)), 4)
    (line,) = map(json.loads, rejects.read_text().splitlines())
    assert (line["pk"], line["kind"], line["table"]) == ("77", "index", "testapp_textvalue")
    assert line["row"]["label"] == "row 77"
    assert definitions(pair.dest) == before
    assert count_rows(TextValue, pair.dest) == 99
    assert journal_tables(pair.dest) == set()


@pytest.mark.parametrize("obstacle", ["an expression of PostgreSQL"])
def test_a_rejected_row_that_another_transaction_still_sees_is_waited_for(
    hindered: tuple[Pair, str, list[str]], tmp_path: Path
) -> None:
    """PostgreSQL indexes it until then, as while its own ANALYZE looks at the table."""
    pair, _, before = hindered
    other = connections[pair.dest].copy()
    other.inc_thread_sharing()
    seen: list[int] = []

    def end_soon(*given: Any) -> Any:
        if not seen:
            with other.cursor() as cursor:
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SELECT count(*) FROM testapp_textvalue")
                seen.append(cursor.fetchone()[0])
            threading.Timer(2.0, other.close).start()
        return reject_obstacles(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "reject_obstacles", end_soon)
        words = command(pair, "--on-error", "skip", "--rejects", str(tmp_path / "rejects.jsonl"))
        assert_ended(run(*words), 4)
    assert seen == [100]
    assert definitions(pair.dest) == before
    assert count_rows(TextValue, pair.dest) == 99


@each_obstacle
def test_cleanup_lists_the_index_with_its_statement_and_ends_the_run(hindered: tuple[Pair, str, list[str]]) -> None:
    pair, said, before = hindered
    assert run(*command(pair)).code == 1
    finished = run(*command(pair, "--cleanup", "--format", "json"))
    assert_ended(finished, 4)
    (item,) = json.loads(finished.out)["not_recreated"]
    assert (item["name"], item["kind"], item["table"]) == ("x", "index", "testapp_textvalue")
    assert any("primary key 77" in row for row in item["rows"])
    assert said in item["reason"]
    assert journal_tables(pair.dest) == set()
    execute(pair.dest, "DELETE FROM testapp_textvalue WHERE id = 77")
    execute_once_deleted_rows_are_gone(pair.dest, item["statement"].replace("%", "%%"))
    assert definitions(pair.dest) == before
    QuerySet(TextValue, using=pair.source).filter(pk=77).update(value="77")
    assert_ended(run(*command(pair, "--replace", pair.dest)), 0)


GONE = {
    "its server does not answer": {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": "1"},
    "its file was deleted": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/gone.sqlite3"},
    "DATABASES lacks it": None,
}


@pytest.mark.parametrize("why", GONE)
@pytest.mark.parametrize("pair", [TO_POSTGRESQL, TO_MYSQL, TO_SQLITE], ids=str, indirect=True)
def test_a_run_whose_source_is_gone_is_ended(pair: Pair, why: str) -> None:
    fill(pair.source)
    before = definitions(pair.dest)
    die_after_the_last_row(pair)
    assert definitions(pair.dest) != before
    with ExitStack() as stack:
        if (entry := GONE[why]) is not None:
            stack.enter_context(another_alias("gone", **entry))
        gone = Pair("gone", pair.dest)
        found = contents(pair.dest)
        assert_ended(run(*command(gone, "--cleanup", "--dry-run")), 0)
        assert (contents(pair.dest), definitions(pair.dest) != before) == (found, True)
        finished = run(*command(gone, "--cleanup", "--migrate"))
    assert_ended(finished, 0)
    assert "The run is abandoned" in finished.out
    assert definitions(pair.dest) == before
    assert journal_tables(pair.dest) == set()
    assert count_rows(TextValue, pair.dest) == 100
    assert_ended(run(*command(pair, "--replace", pair.dest)), 0)


def die_after_the_last_row(pair: Pair, *words: str) -> None:
    """Let a run die before it recreates the first object."""
    moments = ["finishing"]

    def fail(run_it: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        result = run_it(sql, params, many, context)
        if moments and moments[0] in map(str, params or ()):
            moments.clear()
            raise RuntimeError
        return result

    with connections[pair.dest].execute_wrapper(fail), pytest.raises(RuntimeError):
        run(*(words or command(pair)))


# -- foreign keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [TO_POSTGRESQL, TO_MYSQL], ids=str, indirect=True)
def test_foreign_keys_whose_parents_are_missing_come_back_for_new_rows(pair: Pair) -> None:
    """As after a run that was killed with children copied and their parents not."""
    fill(pair.source)
    insert_rows(TreeNode, pair.source, [{"id": n, "name": f"node {n}", "parent_id": 11 - n} for n in range(1, 11)])
    spoil: list[str] = ["DELETE FROM testapp_treenode WHERE id IN (1, 2)"]
    stop = "CREATE INDEX" if pair is TO_POSTGRESQL else "ADD CONSTRAINT"

    said: list[str] = []

    def fail(run_it: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        said.extend(str(param) for param in params or ())
        if spoil and stop in str(sql) and "finishing" in said:
            execute(pair.dest, spoil.pop())
            raise RuntimeError
        return run_it(sql, params, many, context)

    with connections[pair.dest].execute_wrapper(fail), pytest.raises(RuntimeError):
        run(*command(pair))
    assert journal_tables(pair.dest)
    finished = run(*command(pair, "--cleanup"))
    assert_ended(finished, 4)
    assert "was recreated without a check of the rows" in finished.out
    assert "primary key 9, 10" in finished.out.replace("\n", " ") or "primary key 9, field parent_id" in finished.out
    assert journal_tables(pair.dest) == set()
    with pytest.raises(Exception, match=r"(?i)foreign key constraint"):
        execute(pair.dest, "INSERT INTO testapp_treenode (id, name, parent_id) VALUES (50, 'lost', 999)")
    connections[pair.dest].close()


# -- whatever else forbids it -----------------------------------------------------------------------------------------


def test_an_index_that_needs_what_is_gone_keeps_no_run_from_ending(databases: Any) -> None:
    """As after DROP EXTENSION; a function that raises stopped the run before."""
    databases.fresh(*TO_POSTGRESQL)
    fill(TO_POSTGRESQL.source, _77="none")
    function = "CREATE FUNCTION weight(text) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1::integer'"
    execute(TO_POSTGRESQL.dest, function, "CREATE INDEX x ON testapp_textvalue (weight(value))")
    assert_ended(run(*command(TO_POSTGRESQL)), 1, "primary key 77")
    execute(TO_POSTGRESQL.dest, "DROP FUNCTION weight")
    stopped = run(*command(TO_POSTGRESQL, "--resume"))
    assert_ended(stopped, 1, "index 'x' of testapp.TextValue: function weight", "does not exist", "--cleanup")
    assert "In the destination, correct the objects that are missing or in the way, and pass --resume." in stopped.err
    finished = run(*command(TO_POSTGRESQL, "--cleanup"))
    assert_ended(finished, 4)
    assert "Recreate it with: CREATE INDEX x ON public.testapp_textvalue USING btree (weight(value))" in finished.out
    assert journal_tables(TO_POSTGRESQL.dest) == set()


# By destination, what somebody else does once the last row is there, the object that is not as before, and the reason.
MEANWHILE: dict[str, tuple[Pair, tuple[str, ...], str, str]] = {
    "a referenced table is dropped": (
        TO_MYSQL, ("SET foreign_key_checks = 0", "DROP TABLE testapp_tag"), "testapp_rating_tag", "doesn't exist",
    ),
    "another table has an index of the name": (
        Pair("postgresql_a", "sqlite_b"), ("CREATE INDEX testapp_treenode_parent_id_{} ON testapp_tag (name)",),
        "testapp_treenode_parent_id", "already exists",
    ),
    "a table has the name of an index": (
        TO_POSTGRESQL, ("CREATE TABLE testapp_treenode_parent_id_{} (id integer)",), "testapp_treenode_parent_id",
        "already exists",
    ),
    "a column is dropped": (
        TO_POSTGRESQL, ("ALTER TABLE testapp_treenode DROP COLUMN parent_id",), "testapp_treenode_parent_id",
        "does not exist",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_somebody_does_meanwhile_keeps_no_run_from_ending(what: str, databases: Any) -> None:
    pair, statements, name, reason = MEANWHILE[what]
    databases.fresh(*pair)
    fill(pair.source)
    insert_rows(TreeNode, pair.source, [{"id": 1, "name": "root", "parent_id": None}])
    with connections[pair.dest].cursor() as cursor:
        found = connections[pair.dest].introspection.get_constraints(cursor, "testapp_treenode")
    suffix = next(name for name in found if name.startswith("testapp_treenode_parent_id_")).split("_")[4]
    words = (*command(pair), "testapp.Rating", "testapp.Tag")
    die_after_the_last_row(pair, *words)
    execute(pair.dest, *(statement.format(suffix) for statement in statements))
    finished = run(*words, "--cleanup", "--format", "json")
    assert_ended(finished, 4)
    listed = json.loads(finished.out)["not_recreated"]
    assert [item["name"] for item in listed if item["name"].startswith(name) and reason in item["reason"]]
    assert journal_tables(pair.dest) == set()
    assert "nothing to clean up" in run(*words, "--cleanup").out


def test_a_table_that_is_dropped_meanwhile_is_not_looked_for_in_the_source(databases: Any) -> None:
    """SQLite has attached the source's file, where there is a table of that name."""
    pair = TO_SQLITE
    databases.fresh(*pair)
    fill(pair.source)

    def drop(run_it: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        result = run_it(sql, params, many, context)
        if "finishing" in map(str, params or ()):
            with sqlite3.connect(connections[pair.dest].settings_dict["NAME"]) as other:
                other.execute("DROP TABLE testapp_textvalue")
            other.close()
        return result

    with connections[pair.dest].execute_wrapper(drop):
        assert_ended(run(*command(pair)), 1, "no such table: testapp_textvalue", "--cleanup")


# -- whose SQL it is --------------------------------------------------------------------------------------------------

EVIL = "DROP TABLE testapp_tag"


@pytest.fixture
def forged(databases: Any) -> Pair:
    """Give a destination with a run in its journal that somebody else has written."""
    pair = TO_POSTGRESQL
    databases.fresh(*pair)
    fill(pair.source)
    execute(pair.dest, "CREATE INDEX x ON testapp_textvalue ((value::integer))")
    QuerySet(TextValue, using=pair.source).filter(pk=77).update(value="none")
    assert run(*command(pair)).code == 1
    recorded = QuerySet(Run, using=pair.dest).get()
    forgery = json.dumps([{**item.as_json(), "put_back": EVIL} for item in recorded.dropped_objects()])
    QuerySet(Run, using=pair.dest).update(taken_off=forgery + recorded.taken_off[recorded.taken_off.index("\n") :])
    return pair


def test_sql_that_somebody_else_has_put_into_the_journal_is_listed_and_not_executed(forged: Pair) -> None:
    refused = run(*command(forged, "--resume"))
    assert_ended(refused, 1, "is not signed with this project's SECRET_KEY", "SECRET_KEY_FALLBACKS", "--cleanup")
    finished = run(*command(forged, "--cleanup"))
    assert_ended(finished, 4)
    assert EVIL in finished.out
    assert "testapp_tag" in connections[forged.dest].introspection.table_names()
    assert journal_tables(forged.dest) == set()


def test_a_run_is_resumed_with_the_key_it_was_signed_with(databases: Any) -> None:
    pair = TO_SQLITE
    databases.fresh(*pair)
    fill(pair.source, _77="none")
    execute(pair.dest, "CREATE INDEX x ON testapp_textvalue (json_extract(value, '$.a'))")
    assert run(*command(pair)).code == 1
    QuerySet(TextValue, using=pair.source).filter(pk=77).update(value="77")
    with override_settings(SECRET_KEY="another"):
        assert_ended(run(*command(pair, "--resume")), 1, "is not signed")
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=["only for tests"]):
        assert_ended(run(*command(pair, "--resume")), 0)
    assert Journal(pair.dest).current() is None
