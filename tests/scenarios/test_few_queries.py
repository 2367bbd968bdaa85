"""Many small tables cost few statements, for each takes a way to the server and back; what is asked stays exact."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.api import batch_migrate, batch_migrate_models
from migrator.databases.chunks import Bounds
from migrator.databases.engines.base import reading, session
from migrator.databases.engines.registry import engine_for
from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import ChunkState
from migrator.databases.tables import table_of
from tests.databases.snapshots import insert_rows, recorded_chunks, unchecked
from tests.scenarios.test_resume import Trap, in_a_process_of_its_own, wait_until_free
from tests.servers.databases import ENGINES, PAIRS, Pair
from tests.testapp.models import Article, AutoKey, Chapter, CharValue, Empty, OddNames, SmallAutoKey, Tag, TreeNode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers.databases import FreshDatabases

# Each engine once as source and once as destination, and PostgreSQL twice.
FOUR_PAIRS = [PAIRS[1], PAIRS[4], PAIRS[5], PAIRS[6]]
# For each of the tables of the test project, of which nearly all are empty. Foreign keys take most of them.
MOST_STATEMENTS = 3


class Statements:
    """Counts and keeps what is executed over some connections."""

    def __init__(self, *aliases: str) -> None:
        self.texts: list[str] = []
        self._aliases = aliases
        self._stack = ExitStack()

    def __enter__(self) -> Statements:
        for alias in self._aliases:
            connections[alias].ensure_connection()
            self._stack.enter_context(connections[alias].execute_wrapper(self._execute))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _execute(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        self.texts.append(sql)
        return execute(sql, *rest)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 7])
def test_queries_that_go_together_give_their_own_rows_in_order(
    alias: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ASKED_AT_ONCE", 3)
    engine = engine_for(connections[alias])
    asked: list[session.Query] = [
        (f"SELECT '%%s {n}' AS a, %s AS b", (f"given {n}",)) if n % 2 else (f"SELECT '100 %% {n}' AS a, 'x' AS b", ())
        for n in range(number)
    ]
    with Statements(alias) as statements:
        found = engine.fetch_each(asked)
    assert found == [(f"%s {n}", f"given {n}") if n % 2 else (f"100 % {n}", "x") for n in range(number)]
    assert len(statements.texts) == (number + 2) // 3


def test_tables_are_counted_exactly_whether_few_rows_or_many(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "COUNTED_TOGETHER", 5)
    expected = {Tag: 4, Article: 5, CharValue: 6, AutoKey: 9, Empty: 0, OddNames: 0}
    for model, rows in expected.items():
        names = {"label": "x"} if model in (CharValue, AutoKey) else {"name": "x"}
        insert_rows(model, alias, [{"id": n, **{k: f"{v} {n}" for k, v in names.items()}} for n in range(rows)])
    engine = engine_for(connections[alias])
    with Statements(alias) as statements:
        assert engine.counts([model._meta.db_table for model in expected]) == {
            model._meta.db_table: rows for model, rows in expected.items()
        }
    assert len(statements.texts) == 3  # all of them, and those with more than 5 rows
    assert engine.counts([]) == {}


def test_tables_that_are_not_there_have_no_columns_and_others_their_own(alias: str) -> None:
    catalogue = engine_for(connections[alias]).catalogue
    tables = [model._meta.db_table for model in (Tag, OddNames, OddNames.tags.through)]
    found = catalogue.stored_tables([*tables, "not there", "odd % name", tables[0].upper() + "x"])
    assert [list(found[table]) for table in tables] == [
        [column.name for column in table_of(model).columns] for model in (Tag, OddNames, OddNames.tags.through)
    ]
    assert [found[name] for name in ("not there", "odd % name", tables[0].upper() + "x")] == [{}, {}, {}]
    assert catalogue.stored_tables([]) == {}


@pytest.mark.parametrize("ignores_case", [False, True])
@pytest.mark.mysql
def test_names_that_differ_in_case_are_those_of_two_tables_unless_the_server_takes_them_for_one(
    databases: FreshDatabases, ignores_case: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.fresh("mysql_a")
    connection = connections["mysql_a"]
    monkeypatch.setitem(connection.features.__dict__, "ignores_table_name_case", ignores_case)
    engine = engine_for(connection)
    if not ignores_case:
        engine.execute("CREATE TABLE tESTAPP_tag (other INT)")
    found = engine.catalogue.stored_tables(["testapp_tag", "tESTAPP_tag", "TESTAPP_TAG"])
    own = ["id", "name"]
    assert [list(columns) for columns in found.values()] == ([own] * 3 if ignores_case else [own, ["other"], []])


@pytest.mark.parametrize("pair", FOUR_PAIRS, ids=str, indirect=True)
def test_empty_tables_cost_next_to_nothing(pair: Pair) -> None:
    insert_rows(Tag, pair.source, [{"id": 1, "name": "a"}])
    with Statements(pair.source, pair.dest) as statements:
        outcome = batch_migrate(source=pair.source, dest=pair.dest, replace=pair.dest)
    assert outcome.exit_code == 0
    tables = len(outcome.plan.tables)
    assert tables > 80
    sent = [text for text in statements.texts if not text.startswith("PRAGMA")]  # which ask a file and no server
    assert len(sent) < MOST_STATEMENTS * tables


@pytest.mark.parametrize("pair", FOUR_PAIRS, ids=str, indirect=True)
def test_an_empty_table_is_recorded_as_done_with_all_its_keys(pair: Pair) -> None:
    insert_rows(Tag, pair.source, [{"id": 1, "name": "a"}])
    labels = ["testapp.Tag", "testapp.AutoKey"]
    outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=labels, keep_journal=True)
    assert outcome.exit_code == 0
    journal = Journal(pair.dest)
    (chunk,) = recorded_chunks(pair.dest, AutoKey._meta.db_table)
    assert (chunk.state, chunk.rows_read, chunk.bounds().lower, chunk.bounds().upper) == (
        ChunkState.DONE,
        0,
        None,
        None,
    )
    assert journal.is_complete([Tag._meta.db_table, AutoKey._meta.db_table])


@pytest.mark.parametrize("model", [AutoKey, CharValue], ids=str)
@pytest.mark.parametrize("pair", FOUR_PAIRS, ids=str, indirect=True)
def test_rows_that_come_into_an_empty_table_before_the_run_goes_on_are_copied(pair: Pair, model: Any) -> None:
    insert_rows(Tag, pair.source, [{"id": n, "name": f"x {n}"} for n in range(1, 10)])
    arguments: dict[str, Any] = {"labels": ["testapp.Tag", model._meta.label], "chunk_size": 3}

    def run() -> None:
        with connections[pair.dest].execute_wrapper(Trap(2, "UPDATE .migrator_chunk")):
            batch_migrate(source=pair.source, dest=pair.dest, **arguments)

    assert in_a_process_of_its_own(run) == -signal.SIGKILL
    wait_until_free(pair)
    (chunk,) = recorded_chunks(pair.dest, model._meta.db_table)
    assert chunk.state == ChunkState.DONE
    insert_rows(model, pair.source, [{"id": n, "label": f"x {n}"} for n in range(1, 5)])
    outcome = batch_migrate(source=pair.source, dest=pair.dest, resume=True, **arguments)
    assert outcome.exit_code == 0
    assert QuerySet(model, using=pair.dest).count() == 4


def test_tables_of_one_chunk_are_recorded_once_and_those_that_are_cut_stay_as_they_are(alias: str) -> None:
    journal = Journal(alias)
    journal.begin({}, [], empties=False)
    first = journal.add_whole({"a": False, "b": True})
    assert {name: [chunk.state for chunk in chunks] for name, chunks in first.items()} == {
        "a": ["pending"],
        "b": [ChunkState.DONE],
    }
    journal.add_chunks("d", [Bounds(None, (3,)), Bounds((3,), None)])
    journal.add_chunks("e", [Bounds(None, None)])
    journal.record_rejected_afterwards("e", 1)
    again = journal.add_whole({"a": True, "b": False, "c %s": False, "d": False, "e": False})
    assert sorted(again) == ["a", "b", "c %s"]
    assert [chunk.state for chunk in recorded_chunks(alias, "a") + recorded_chunks(alias, "b")] == [
        "pending",
        ChunkState.DONE,
    ]
    assert [chunk.pk for chunk in recorded_chunks(alias, "c %s")] == [chunk.pk for chunk in again["c %s"]]
    journal.drop()


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[4], PAIRS[6]], ids=str, indirect=True)
def test_indexes_stay_on_where_few_rows_come(pair: Pair) -> None:
    insert_rows(TreeNode, pair.source, [{"id": n, "name": "x", "parent_id": None} for n in range(1, 1_001)])
    insert_rows(Tag, pair.source, [{"id": 1, "name": "x"}])
    insert_rows(Article, pair.source, [{"id": n, "name": "x"} for n in range(1, 1_000)])
    rows = [{"id": n, "article_id": n, "tag_id": 1} for n in range(1, 1_000)]
    insert_rows(Article.tags.through, pair.source, rows)
    plan = batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp"], dry_run=True).plan
    assert {item.table for item in plan.deferred if item.kind == "index"} == {TreeNode._meta.db_table}


@pytest.mark.postgresql
def test_a_sequence_of_two_tables_goes_on_above_the_keys_of_both(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "postgresql_b")
    insert_rows(AutoKey, "sqlite_a", [{"id": 70, "label": "x"}])
    insert_rows(Tag, "sqlite_a", [{"id": 5, "name": "x"}])
    with connections["postgresql_b"].cursor() as cursor:
        for model in (AutoKey, Tag):
            table = model._meta.db_table
            cursor.execute(f"ALTER TABLE {table} ALTER id DROP IDENTITY IF EXISTS")
            cursor.execute("CREATE SEQUENCE IF NOT EXISTS common")
            cursor.execute(f"ALTER TABLE {table} ALTER id SET DEFAULT nextval('common'::regclass)")
    for labels in (["testapp.AutoKey", "testapp.Tag"], ["testapp.Tag", "testapp.AutoKey"]):
        outcome = batch_migrate(source="sqlite_a", dest="postgresql_b", labels=labels, replace="postgresql_b")
        assert outcome.exit_code == 0
        with connections["postgresql_b"].cursor() as cursor:
            cursor.execute("SELECT nextval('common')")
            assert cursor.fetchone() == (71,)


def test_counters_of_many_tables_are_those_of_each(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ASKED_AT_ONCE", 2)
    insert_rows(AutoKey, alias, [{"id": 7, "label": "x"}])
    insert_rows(SmallAutoKey, alias, [{"id": 5, "label": "x"}])
    tables = [table_of(model) for model in apps.get_app_config("testapp").get_models(include_auto_created=True)]
    catalogue = engine_for(connections[alias]).catalogue
    catalogue.reset_sequences(tables, {}, may_lower=True)
    together = catalogue.sequences(tables)
    assert together == [counter for table in tables for counter in catalogue.sequences([table])]
    found = {counter.table: (counter.next_value, counter.largest) for counter in together}
    assert found[AutoKey._meta.db_table] == (8, 7)
    assert found[SmallAutoKey._meta.db_table] == (6, 5)
    assert QuerySet(AutoKey, using=alias).count() == 1


@pytest.mark.parametrize("adds_rows", [False, True])
@pytest.mark.parametrize("pair", [Pair("sqlite_a", f"{engine}_b") for engine in ENGINES], ids=str, indirect=True)
def test_rows_without_a_parent_are_rejected_many_at_once(pair: Pair, adds_rows: bool, tmp_path: Path) -> None:
    with unchecked(connections[pair.source]):
        insert_rows(Tag, pair.source, [{"id": 1, "name": "a"}])
        rows = [{"id": n, "title": "t", "tag_id": 1 if n % 11 == 0 else 2, "_order": 0} for n in range(1, 3301)]
        insert_rows(Chapter, pair.source, rows)
    rejects, labels = tmp_path / "rejects", ["testapp.Tag", "testapp.Chapter"]
    call = partial(batch_migrate_models, models=labels) if adds_rows else partial(batch_migrate, labels=labels)
    with Statements(pair.dest) as statements:
        outcome = call(source=pair.source, dest=pair.dest, on_error="skip", rejects=rejects)
    assert outcome.exit_code == 4
    assert len(rejects.read_text().splitlines()) == outcome.rows_rejected == 3000
    assert {*QuerySet(Chapter, using=pair.dest).values_list("pk", flat=True)} == {*range(11, 3301, 11)}
    assert len(statements.texts) < 500
