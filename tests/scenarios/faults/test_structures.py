"""Tables of every shape arrive as they were, whatever the destination would do to them: nobody's code changes a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.api import Console, batch_migrate
from migrator.databases.journal.records import Chunk
from migrator.errors import DataRejected
from tests.databases.snapshots import differences, insert_rows, snapshot, tables, unchecked
from tests.manage import Finished
from tests.management.running import another_alias, entry_of, execute, run
from tests.scenarios.faults.oracle import THREE_PAIRS, assert_ended, journal_tables
from tests.scenarios.test_structures import comments, shift_content_types
from tests.servers.databases import PAIRS, Pair, engine_of
from tests.testapp import models, rows

to_each_engine = pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)


def move(pair: Pair, *more: str) -> Finished:
    return run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", "--verify", "full", *more)


def rows_of(model: Any, alias: str) -> QuerySet[Any, Any]:
    return QuerySet(model, using=alias)


@to_each_engine
def test_every_shape_arrives(pair: Pair) -> None:
    """Circles, inheritance, through tables, composite keys, unmanaged tables, managers that hide rows, auto_now,
    signals that raise; and generic relations, where the destination has other ids for its content types.
    """
    shift_content_types(pair.dest, 500)
    rows.fill(pair.source)
    finished = move(pair, "testapp", "testapp.Legacy", "--chunk-size", "3")
    assert_ended(finished, 0)
    theirs = [model for model in tables("testapp") if model is not models.Comment]
    assert differences(snapshot(pair.source, theirs), snapshot(pair.dest, theirs)) == []
    assert comments(pair.dest) == comments(pair.source) != []
    assert journal_tables(pair.dest) == set()


TRIGGERS = {
    "sqlite": (
        "CREATE TRIGGER own AFTER INSERT ON testapp_tag BEGIN INSERT INTO testapp_empty (name) VALUES (new.name); END",
    ),
    "postgresql": (
        "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO testapp_empty (name) VALUES (new.name); RETURN NULL; END $$",
        "CREATE TRIGGER own AFTER INSERT ON testapp_tag FOR EACH ROW EXECUTE FUNCTION own()",
    ),
    "mysql": (
        "CREATE TRIGGER own AFTER INSERT ON testapp_tag FOR EACH ROW"
        " INSERT INTO testapp_empty (name) VALUES (new.name)",
    ),
}
NO_TRIGGERS = {
    "sqlite": ("DROP TRIGGER own",),
    "postgresql": ("DROP TRIGGER own ON testapp_tag", "DROP FUNCTION own()"),
    "mysql": ("DROP TRIGGER own",),
}


@to_each_engine
def test_triggers_of_the_destination_are_told_of_before_they_fire(pair: Pair) -> None:
    execute(pair.dest, *TRIGGERS[pair.engines[1]])
    try:
        insert_rows(models.Tag, pair.source, [{"id": 1, "name": "one"}])
        finished = move(pair, "testapp.Tag")
        assert_ended(finished, 0)
        is_off = pair.engines[1] == "postgresql"
        text = (
            "are disabled while rows are loaded, so"
            if is_off
            else "fire for every row that is loaded: testapp_tag.own."
        )
        assert f"Note: {pair.dest}: triggers there {text} " in finished.out
        assert rows_of(models.Empty, pair.dest).exists() is not is_off
        assert list(rows_of(models.Tag, pair.dest).values_list("id", "name")) == [(1, "one")]
    finally:
        execute(pair.dest, *NO_TRIGGERS[pair.engines[1]])


def move_and_alter(pair: Pair, model: Any, column: str) -> str:
    """Let a column of the destination change after every check was made, and return what the run said of it."""

    def alter(plan: Any) -> None:
        execute("mysql_b", f"ALTER TABLE {model._meta.db_table} MODIFY value {column} NULL")

    with pytest.raises(DataRejected) as stopped:
        batch_migrate(
            source=pair.source, dest=pair.dest, labels=[model._meta.label], chunk_size=2, console=Console(alter)
        )
    return str(stopped.value)


@pytest.mark.mysql
def test_a_lax_server_is_held_to_strictness(databases: Any) -> None:
    databases.fresh("sqlite_a", "mysql_b")
    bad = {"id": 46368, "label": "bad", "value": "overlong"}
    insert_rows(models.CharValue, "sqlite_a", [{"id": 1, "label": "good", "value": "fits"}, bad])
    entry = entry_of("mysql_b")
    lax = {**entry["OPTIONS"], "init_command": "SET SESSION sql_mode = ''"}
    with another_alias("lax", **{**entry, "OPTIONS": lax}):
        said = move_and_alter(Pair("sqlite_a", "lax"), models.CharValue, "varchar(5)")
        assert "testapp.CharValue with primary key 46368, field value" in said
        assert "[1406]" in said
        assert not rows_of(models.CharValue, "mysql_b").exists()
        execute("lax", "INSERT INTO testapp_charvalue VALUES (1, 'proof', 'overlong')")
    assert rows_of(models.CharValue, "mysql_b").get().value == "overl", "or this server was not lax"


@pytest.mark.mysql
def test_a_warning_of_the_server_rolls_its_chunk_back(databases: Any) -> None:
    """Even a strict server rounds a number, and calls it a note."""
    databases.fresh("sqlite_a", "mysql_b")
    values = {1: "1.20", 2: "1.30", 3: "1.40", 4: "1.25", 5: "1.50"}
    of = [{"id": key, "label": f"row {key}", "value": Decimal(value)} for key, value in values.items()]
    insert_rows(models.MoneyDecimalValue, "sqlite_a", of)
    said = move_and_alter(Pair("sqlite_a", "mysql_b"), models.MoneyDecimalValue, "decimal(9, 1)")
    assert "testapp.MoneyDecimalValue with primary key 4" in said
    assert "Data truncated" in said
    assert list(rows_of(models.MoneyDecimalValue, "mysql_b").order_by("id").values_list("id", flat=True)) == [1, 2]


@contextmanager
def without_checks(alias: str) -> Iterator[None]:
    """Let rows in that point nowhere, as some tool may have done that switched checks off."""
    if engine_of(alias) == "postgresql":
        execute(alias, "ALTER TABLE testapp_chapter DROP CONSTRAINT " + foreign_key(alias))
        yield
    else:
        with unchecked(connections[alias]):
            yield


def foreign_key(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        found = connections[alias].introspection.get_constraints(cursor, "testapp_chapter")
    return next(name for name, constraint in found.items() if constraint["foreign_key"])


@to_each_engine
def test_orphans_are_named_and_set_aside(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "rejects.jsonl"
    insert_rows(models.Tag, pair.source, [{"id": 1, "name": "one"}])
    with without_checks(pair.source):
        insert_rows(
            models.Chapter, pair.source,
            [{"id": n, "title": "x", "tag_id": tag, "_order": 0} for n, tag in ((1, 1), (46368, 777))],
        )  # fmt: skip
    labels = ("testapp.Tag", "testapp.Chapter")
    assert_ended(move(pair, *labels), 1, "testapp.Chapter", "46368", "tag_id", "--on-error skip")
    assert not rows_of(models.Tag, pair.dest).exists()
    assert_ended(move(pair, *labels, "--on-error", "skip", "--rejects", str(file)), 4)
    assert list(rows_of(models.Chapter, pair.dest).values_list("id", flat=True)) == [1]
    [line] = [json.loads(text) for text in file.read_text().splitlines()]
    assert (line["model"], line["pk"], line["field"]) == ("testapp.Chapter", "46368", "tag_id")


@pytest.mark.parametrize("pair", PAIRS, ids=str, indirect=True)
def test_a_table_without_a_key_of_its_own_loses_no_twin(pair: Pair) -> None:
    """Django is told that one column is the key of this table, and the database knows of none."""
    for alias in pair:
        execute(
            alias,
            "DROP TABLE legacy_stock",
            "CREATE TABLE legacy_stock (code varchar(20) NOT NULL, amount integer)",
        )
    stock = [("A-1", 1), ("A-1", 1), ("A-1", 2), ("A-2", 5), ("A-3", 6)]
    execute(pair.source, *(f"INSERT INTO legacy_stock VALUES ('{code}', {amount})" for code, amount in stock))
    finished = run(
        "batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", "--chunk-size", "2",
        "testapp.Legacy",
    )  # fmt: skip
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("SELECT code, amount FROM legacy_stock ORDER BY code, amount")
        found = list(cursor.fetchall())
    if finished.code == 0:
        assert found == stock
    else:
        assert_ended(finished, 1, "Nothing was written.", "testapp.Legacy.code: unique texts")
        assert found == []


KEYS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "gaps": (
        models.BigAutoKey,
        [{"id": key, "label": "x"} for key in (*range(1, 60), *range(10**12, 10**12 + 60), 2**63 - 1, -(2**62))],
    ),
    "ever wider": (models.BigAutoKey, [{"id": 2**n, "label": "x"} for n in range(62)]),
    "tenants": (
        models.CompositeKey,
        [
            {"tenant": tenant, "number": number, "label": "x"}
            for tenant, size in (("a", 1), ("b", 90), ("c", 3))
            for number in range(size)
        ],
    ),
}


@pytest.mark.parametrize("keys", KEYS)
@to_each_engine
def test_chunks_stay_small_however_keys_are_spread(pair: Pair, keys: str) -> None:
    model, given = KEYS[keys]
    insert_rows(model, pair.source, given)
    assert_ended(move(pair, model._meta.label, "--chunk-size", "10", "--keep-journal"), 0)
    sizes = list(rows_of(Chunk, pair.dest).values_list("rows_read", flat=True))
    assert sum(sizes) == len(given)
    assert max(sizes) < 20, sizes
    assert len(sizes) <= len(given) / 10 + 2, sizes
