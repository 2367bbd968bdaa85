"""`verify_counts` as people run it: exact counts, counters and references, and an exit code to rely on."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import Model, QuerySet

from migrator.console.reports import WRITTEN_BY
from tests.databases.snapshots import insert_rows
from tests.manage import Finished, run_manage
from tests.management.running import (
    another_alias,
    collecting_unopened_connections,
    entry_of,
    error_in,
    execute,
    facts,
    nothing_changes,
    run,
)
from tests.servers.base import PASSWORD
from tests.servers.databases import ENGINES, Pair
from tests.testapp.models import Article, Chapter, Empty, Hidden, Place, Restaurant, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
TO_EACH_ENGINE = [Pair("postgresql_a", "sqlite_b"), Pair("sqlite_a", "postgresql_b"), Pair("postgresql_a", "mysql_b")]
to_each_engine = pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)


@pytest.fixture
def sqlite(databases: FreshDatabases) -> Pair:
    """Give two fresh SQLite databases, for what no engine makes a difference to."""
    databases.fresh(*SQLITE)
    return SQLITE


def words(pair: Pair, *more: str | Path) -> list[str | Path]:
    return ["verify_counts", "--source", pair.source, "--dest", pair.dest, "-v", "2", *more]


def compare(pair: Pair, *more: str | Path) -> Finished:
    with nothing_changes(*pair):
        return run(*words(pair, *more))


def rows_of(model: type[Model], alias: str) -> QuerySet[Any, Any]:
    return QuerySet(model, using=alias)


def tags(alias: str, count: int) -> None:
    insert_rows(Tag, alias, [{"id": number, "name": f"tag {number}"} for number in range(1, count + 1)])


def lines_of(finished: Finished, *labels: str) -> list[list[str]]:
    """Return the cells of the table's lines for these models."""
    cells = [line.split() for line in finished.out.splitlines()]
    return [line for line in cells if line and line[0] in labels]


@to_each_engine
def test_equal_databases_are_equal(pair: Pair) -> None:
    for alias in pair:
        tags(alias, 3)
        insert_rows(Article, alias, [{"name": "one"}])
        insert_rows(Article.tags.through, alias, [{"article_id": 1, "tag_id": 2}])
    if connections[pair.dest].vendor == "postgresql":
        reset_counters(pair.dest, Tag, Article, Article.tags.through)
    finished = compare(pair, "testapp.Article", "testapp.Tag")
    assert (finished.code, error_in(finished)) == (0, ""), finished
    found = facts(finished.out)
    assert found["from"].startswith(f"{pair.source!r}: ")
    assert found["to"].startswith(f"{pair.dest!r}: ")
    lines = finished.out.splitlines()
    head = lines.index("Rows on both sides") + 1
    assert lines[head].split() == ["model", "source", "destination", "difference", "status"]
    assert lines_of(finished, "testapp.Tag", "testapp.Article", "testapp.Article_tags", "total") == [
        ["testapp.Article", "1", "1", "0", "equal"],
        ["testapp.Article_tags", "1", "1", "0", "equal"],
        ["testapp.Tag", "3", "3", "0", "equal"],
        ["total", "5", "5", "0"],
    ]
    count = len([line for line in lines if line.startswith("  testapp.")])
    assert lines[0] == f"EQUAL  No difference in the row counts of {count} tables."
    labels, ends = "testapp.Article testapp.Tag", f"--source {pair.source} --dest {pair.dest}"
    assert lines[-1] == f"Next: python manage.py verify_counts {labels} {ends} --mode full"
    assert (found["row counts"], found["keys"], found["values"]) == (
        f"match in {count} tables",
        "sequences are ahead of the largest keys; every foreign key has a matching row",
        "not compared (--mode full compares them)",
    )


def reset_counters(alias: str, *models: type[Model]) -> None:
    for model in models:
        table = model._meta.db_table
        execute(alias, f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT MAX(id) FROM {table}))")


def test_compares_the_whole_project_unless_told_otherwise(sqlite: Pair) -> None:
    finished = compare(sqlite)
    assert finished.code == 0
    labels = {line.split()[0] for line in finished.out.splitlines() if line.endswith(" equal")}
    assert {"auth.User", "auth.User_groups", "contenttypes.ContentType", "testapp.Tag", "sessions.Session"} <= labels
    assert not {"testapp.LoudPlace", "testapp.SwappedUser", "testapp.Legacy"} & labels
    without = compare(sqlite, "-e", "sessions", "-e", "testapp.Tag")
    others = {line.split()[0] for line in without.out.splitlines() if line.endswith(" equal")}
    assert labels - others == {"sessions.Session", "testapp.Tag"}


@to_each_engine
@pytest.mark.parametrize(("there", "difference"), [(2, "-1"), (4, "1")])
def test_a_row_too_few_or_too_many_is_a_difference(pair: Pair, there: int, difference: str) -> None:
    tags(pair.source, 3)
    tags(pair.dest, there)
    if connections[pair.dest].vendor == "postgresql":
        reset_counters(pair.dest, Tag)
    finished = compare(pair, "testapp.Tag", "testapp.Empty")
    assert (finished.code, error_in(finished)) == (3, "")
    assert finished.out.startswith("DIFFERENT  Differences were found in 1 of 2 tables.\n")
    assert lines_of(finished, "testapp.Tag", "testapp.Empty") == [
        ["testapp.Empty", "0", "0", "0", "equal"],
        ["testapp.Tag", "3", str(there), difference, "different"],
    ]
    assert facts(finished.out)["row counts"] == "differ in 1 of 2 tables"


def test_counts_that_cancel_each_other_out_are_differences(sqlite: Pair) -> None:
    tags(sqlite.source, 3)
    insert_rows(Empty, sqlite.dest, [{"name": "x"}] * 3)
    finished = compare(sqlite, "testapp.Tag", "testapp.Empty")
    assert finished.code == 3
    assert facts(finished.out)["row counts"] == "differ in 2 of 2 tables"
    assert lines_of(finished, "total") == [["total", "3", "3", "0"]]


def test_counts_rows_that_managers_hide(sqlite: Pair) -> None:
    insert_rows(Hidden, sqlite.source, [{"name": "hidden", "deleted": True}])
    finished = compare(sqlite, "testapp.Hidden")
    assert finished.code == 3
    assert lines_of(finished, "testapp.Hidden") == [["testapp.Hidden", "1", "0", "-1", "different"]]


def test_counts_many_to_many_tables_with_their_model(sqlite: Pair) -> None:
    for alias in sqlite:
        tags(alias, 2)
        insert_rows(Article, alias, [{"name": "one"}])
    insert_rows(Article.tags.through, sqlite.source, [{"article_id": 1, "tag_id": 1}])
    finished = compare(sqlite, "testapp.Article")
    assert finished.code == 3
    assert lines_of(finished, "testapp.Article_tags") == [["testapp.Article_tags", "1", "0", "-1", "different"]]


def test_counts_the_tables_of_parents_with_their_model(sqlite: Pair) -> None:
    insert_rows(Place, sqlite.source, [{"name": "one"}])
    insert_rows(Restaurant, sqlite.source, [{"place_ptr_id": 1, "seats": 3}])
    finished = compare(sqlite, "testapp.Restaurant")
    assert finished.code == 3
    assert [line[0] for line in lines_of(finished, "testapp.Place", "testapp.Restaurant")] == [
        "testapp.Place", "testapp.Restaurant",
    ]  # fmt: skip


@to_each_engine
@pytest.mark.parametrize("side", ["source", "dest"])
def test_a_missing_table_is_a_difference(pair: Pair, side: str) -> None:
    execute(getattr(pair, side), "DROP TABLE testapp_empty")
    finished = compare(pair, "testapp.Empty", "testapp.Tag")
    assert finished.code == 3
    counts = ["-", "0"] if side == "source" else ["0", "-"]
    assert lines_of(finished, "testapp.Empty") == [["testapp.Empty", *counts, "-", "missing"]]


@pytest.mark.postgresql
def test_a_counter_behind_its_table_is_a_difference(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    for alias in pair:
        tags(alias, 3)
    finished = compare(pair, "testapp.Tag")
    assert finished.code == 3
    assert lines_of(finished, "testapp.Tag") == [["testapp.Tag", "3", "3", "0", "equal"]]
    expected = "Sequence out of sync: testapp_tag.id: the next key would be 1, and 3 is taken."
    assert expected in finished.out.splitlines()
    assert facts(finished.out)["sequences"] == "1 out of sync"
    reset_counters(pair.dest, Tag)
    assert compare(pair, "testapp.Tag").code == 0


@to_each_engine
def test_an_orphan_is_a_difference(pair: Pair) -> None:
    for alias in pair:
        tags(alias, 2)
        insert_rows(Chapter, alias, [{"id": n, "title": "t", "tag_id": n, "_order": 0} for n in (1, 2)])
    if connections[pair.dest].vendor == "postgresql":
        reset_counters(pair.dest, Tag, Chapter)
    assert compare(pair, "testapp.Chapter", "testapp.Tag").code == 0
    point_at_nothing(pair.dest)
    finished = compare(pair, "testapp.Chapter", "testapp.Tag")
    assert finished.code == 3
    (line,) = (line for line in finished.out.splitlines() if line.startswith("Orphans: "))
    for part in ("testapp.Chapter", "tag_id", "primary key 2"):
        assert part in line
    assert facts(finished.out)["row counts"] == "match in 2 tables"
    assert facts(finished.out)["foreign keys"] == "1 row without a matching row"


def point_at_nothing(alias: str) -> None:
    """Let one chapter point at a tag that is not there, whatever foreign keys say."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            made = connection.introspection.get_constraints(cursor, "testapp_chapter")
            name = next(name for name, constraint in made.items() if constraint["foreign_key"])
            cursor.execute(f'ALTER TABLE testapp_chapter DROP CONSTRAINT "{name}"')
        elif connection.vendor == "mysql":
            cursor.execute("SET SESSION foreign_key_checks = 0")
        else:
            cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.execute("UPDATE testapp_chapter SET tag_id = 404 WHERE id = 2")
    connection.close()


def test_json_is_one_document_on_standard_output(sqlite: Pair) -> None:
    tags(sqlite.source, 2)
    finished = compare(sqlite, "testapp.Tag", "testapp.Empty", "--format", "json")
    document = json.loads(finished.out)
    assert finished.code == document["exit_code"] == 3
    assert document["models"] == [
        {"label": "testapp.Empty", "table": "testapp_empty", "source_rows": 0, "dest_rows": 0, "status": "equal"},
        {"label": "testapp.Tag", "table": "testapp_tag", "source_rows": 2, "dest_rows": 0, "status": "different"},
    ]
    assert (document["source"]["alias"], document["dest"]["alias"]) == sqlite
    assert document["late_counters"] == document["dangling"] == []
    assert facts(finished.err)["row counts"] == "differ in 1 of 2 tables"
    assert "DIFFERENT  Differences were found in 1 of 2 tables.\n" in finished.err


def test_json_lines_are_one_a_table_and_a_summary(sqlite: Pair, tmp_path: Path) -> None:
    tags(sqlite.source, 2)
    finished = compare(
        sqlite, "testapp.Tag", "testapp.Empty", "--format", "jsonl", "--report", tmp_path / "report.jsonl"
    )

    empty, tag, summary = map(json.loads, finished.out.splitlines())
    assert (empty["part"], empty["label"], empty["status"]) == ("models", "testapp.Empty", "equal")
    assert (tag["label"], tag["source_rows"], tag["dest_rows"]) == ("testapp.Tag", 2, 0)
    assert (summary["part"], summary["exit_code"], summary["dangling"]) == ("summary", 3, [])
    assert (tmp_path / "report.jsonl").read_text() == finished.out
    assert facts(finished.err)["row counts"] == "differ in 1 of 2 tables"


def test_a_refusal_is_a_json_line_too(sqlite: Pair) -> None:
    finished = compare(sqlite, "nowhere.Tag", "--format", "jsonl")
    (line,) = map(json.loads, finished.out.splitlines())
    assert (line["part"], line["exit_code"], finished.code) == ("summary", 2, 2)
    assert "nowhere" in line["error"]


def test_json_of_a_real_process_is_alone_on_standard_output(sqlite: Pair) -> None:
    tags(sqlite.source, 2)
    finished = run_manage(*map(str, words(sqlite, "testapp.Tag", "--format", "json")))
    assert finished.code == json.loads(finished.out)["exit_code"] == 3
    assert "Traceback" not in finished.err


def test_says_nothing_at_verbosity_0_but_that_it_differs(sqlite: Pair) -> None:
    assert compare(sqlite, "testapp.Tag", "-v", "0") == (0, "", "")
    tags(sqlite.source, 2)
    assert compare(sqlite, "testapp.Tag", "-v", "0") == (
        3,
        "",
        "CommandError: Differences were found in 1 of 1 table.\n",
    )


def test_reports_to_a_file_even_where_it_differs(sqlite: Pair, tmp_path: Path) -> None:
    tags(sqlite.source, 2)
    for form in ("json", "html", "txt"):
        file = tmp_path / f"report.{form}"
        assert compare(sqlite, "testapp.Tag", "--report", file).code == 3
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert PASSWORD not in file.read_text()
    assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == 3
    assert "Differences were found in 1 of 1 table." in (tmp_path / "report.html").read_text()
    text = (tmp_path / "report.txt").read_text()
    assert text.startswith("DIFFERENT  Differences were found in 1 of 1 table.\n")
    assert "  testapp.Tag       2            0          -2  different\n" in text
    assert text.endswith(f"\n\n{WRITTEN_BY}\n")


def test_refuses_a_report_through_a_link(sqlite: Pair, tmp_path: Path) -> None:
    (tmp_path / "report").symlink_to(tmp_path / "victim")
    finished = compare(sqlite, "testapp.Tag", "--report", tmp_path / "report")
    assert (finished.code, finished.out) == (2, "")
    assert not (tmp_path / "victim").exists()


@to_each_engine
def test_finds_nothing_after_a_move(pair: Pair) -> None:
    tags(pair.source, 3)
    insert_rows(Chapter, pair.source, [{"title": "t", "tag_id": 2, "_order": 0}])
    moved = run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input")
    assert moved.code == 0, moved.err
    finished = compare(pair)
    assert (finished.code, error_in(finished)) == (0, "")
    assert rows_of(Chapter, pair.dest).count() == 1


# -- a database that cannot be read -----------------------------------------------------------------------------------


def ends_in_one_line(finished: Finished, alias: str, reason: str) -> None:
    """Assert that the command says in one line which database stopped it, and why."""
    assert (finished.code, finished.out) == (1, "")
    assert re.fullmatch(rf"CommandError: .*\b{alias}\b.*{re.escape(reason)}.*\n", finished.err), finished.err


@to_each_engine
def test_a_table_of_other_columns_is_told_in_one_line(pair: Pair) -> None:
    """As of a project's older release: the query for orphans asks for a column that is not there."""
    key = "integer" if connections[pair.dest].vendor == "sqlite" else "bigint"
    execute(pair.dest, "DROP TABLE testapp_chapter", f"CREATE TABLE testapp_chapter (id {key} NOT NULL PRIMARY KEY)")
    ends_in_one_line(compare(pair, "testapp.Chapter", "testapp.Tag"), pair.dest, "tag_id")


@pytest.mark.postgresql
def test_a_table_that_may_not_be_read_is_told_in_one_line(databases: FreshDatabases) -> None:
    pair = Pair("postgresql_a", "sqlite_b")
    databases.fresh(*pair)
    tags(pair.source, 2)
    # A role that every server has, and that may read none of the tables.
    options = {**entry_of(pair.source)["OPTIONS"], "assume_role": "pg_database_owner"}
    with another_alias("reader", **entry_of(pair.source, OPTIONS=options)):
        for source, dest in (("reader", pair.dest), (pair.dest, "reader")):
            with nothing_changes(*pair):
                finished = run(*words(Pair(source, dest), "testapp.Tag"))
            ends_in_one_line(finished, "reader", "may not read 1 table: testapp_tag")


def test_a_locked_file_is_told_in_one_line(sqlite: Pair) -> None:
    tags(sqlite.source, 2)
    entry = entry_of(sqlite.source)
    connections.close_all()
    with (
        collecting_unopened_connections(),
        closing(sqlite3.connect(entry["NAME"], isolation_level=None)) as writer,
        another_alias("busy", **{**entry, "OPTIONS": {"timeout": 0.1}}),
    ):
        writer.execute("BEGIN EXCLUSIVE")
        for source, dest in (("busy", sqlite.dest), (sqlite.dest, "busy")):
            finished = run(*words(Pair(source, dest), "testapp.Tag"))
            assert (finished.code, finished.out) == (1, "")
            assert "database is locked" in finished.err
            assert finished.err.count("\n") == 1, finished.err
            assert finished.err.startswith("CommandError: ")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", ["count", "full"])
def test_refuses_to_compare_a_database_with_itself(databases: FreshDatabases, engine: str, mode: str) -> None:
    alias = f"{engine}_a"
    databases.fresh(alias)
    tags(alias, 3)
    entry = entry_of(alias)
    with another_alias("twin", **entry):
        finished = compare(Pair(alias, "twin"), "--mode", mode)
    assert finished.code == 1
    assert f"'{alias}' and 'twin' are the same database (" in finished.err
    assert finished.err.endswith("), so a comparison would prove nothing. Correct DATABASES.\n")
