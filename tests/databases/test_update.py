"""The second pass of a move: the destination follows the source, and rows that are equal are not touched."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import Model, QuerySet

from migrator.databases import run as move
from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.chunks import Bounds
from migrator.databases.copying.chunk import ChunkCopier
from migrator.databases.update import Update
from migrator.errors import DataRejected, Interrupted, Refused, UsageError
from tests.databases.edge_values import EDGES
from tests.databases.planning.test_transports import check_no_values
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.manage import start_code
from tests.management.running import as_another_role, contents, execute, facts, run
from tests.pairs import in_turn
from tests.scenarios.test_structures import LABELS, assert_equal_apps
from tests.scenarios.test_values import held_exactly, labelled
from tests.servers.databases import PAIRS, Pair
from tests.testapp import rows
from tests.testapp.models import Article, CharValue, Place, Restaurant, Tag, TextKey, TreeNode

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

# Each engine once as source and once as destination.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]
three_pairs = pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)


def copy(pair: Pair, *labels: str, **options: Any) -> RunResult:
    outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=labels, **options)
    assert outcome.exit_code == 0, outcome.verification
    return outcome


def follow(pair: Pair, *labels: str, **options: Any) -> dict[str, tuple[int, int, int]]:
    """Run the second pass; return what was inserted, rewritten and deleted in the tables where anything was."""
    outcome = copy(pair, *labels, update=True, verify="full", **options)
    assert outcome.updates is not None
    return changes_of(outcome)


def changes_of(outcome: RunResult) -> dict[str, tuple[int, int, int]]:
    found: dict[str, Update] = dict(outcome.updates or {})
    return {name: (u.inserted, u.rewritten, u.deleted) for name, u in found.items() if u.changes}


def of(model: type[Model], alias: str) -> QuerySet[Any, Any]:
    return QuerySet(model, using=alias)


@in_turn
def test_writes_nothing_where_nothing_changed(pair: Pair) -> None:
    rows.fill(pair.source)
    copy(pair, *LABELS)
    before = contents(pair.dest)
    assert follow(pair, *LABELS, chunk_size=3) == {}
    assert contents(pair.dest) == before


def test_says_that_nothing_changed(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": n, "name": f"tag {n}"} for n in range(1, 4)])
    words = ["batch_migrate", "--source", "sqlite_a", "--dest", "sqlite_b", "testapp.Tag", "--no-input"]
    assert run(*words).code == 0
    finished = run(*words, "--update")
    assert finished.code == 0, finished
    assert "\nEQUAL  The destination was already equal to the source: no row was written.\n" in finished.out
    assert "not compared" not in finished.out
    assert "Next: " not in finished.out
    document = json.loads(run(*words, "--update", "--format", "json").out)
    assert [{name: row[name] for name in row if name != "seconds"} for row in document["updates"]] == [
        {
            "label": "testapp.Tag", "table": "testapp_tag",
            "compared": 3, "inserted": 0, "rewritten": 0, "deleted": 0,
        }
    ]  # fmt: skip


@in_turn
def test_follows_the_source_in_every_structure(pair: Pair) -> None:
    """Between two passes all rows of the source become others: deleted, changed and new, with all their relations."""
    rows.fill(pair.dest)
    for model in (Tag, Article):  # what the destination has and the source has not
        insert_rows(model, pair.dest, [{"id": 9_000 + n, "name": f"gone {n}"} for n in range(5)])
    insert_rows(
        Article.tags.through,
        pair.dest,
        [{"id": 9_000 + n, "article_id": 9_000 + n, "tag_id": 9_004 - n} for n in range(5)],
    )
    insert_rows(TreeNode, pair.dest, [{"id": 9_001, "name": "a", "parent_id": 9_002}, {"id": 9_002, "name": "b"}])
    insert_rows(Place, pair.dest, [{"id": 9_000, "name": "gone"}])
    insert_rows(Restaurant, pair.dest, [{"place_ptr_id": 9_000, "seats": 1}])
    rows.fill(pair.source)
    insert_rows(Place, pair.source, [{"id": 9_000, "name": "a place of another kind"}])
    insert_rows(Tag, pair.source, [{"id": 8_000, "name": "new"}])
    follow(pair, *LABELS, chunk_size=4)
    assert_equal_apps(pair, "testapp")
    assert follow(pair, *LABELS) == {}


@in_turn
def test_follows_values_of_every_type(pair: Pair) -> None:
    labels = [model._meta.label for model in EDGES]
    for model, edges in EDGES.items():
        insert_rows(model, pair.source, labelled([edge for edge in edges if held_exactly(edge, *pair.engines)]))
    copy(pair, *labels)
    quote = connections[pair.dest].ops.quote_name
    execute(
        pair.dest,
        *(
            f"UPDATE {name} SET value = (SELECT other.value FROM (SELECT id, value FROM {name}) other "
            f"WHERE other.id = {name}.id + 1) WHERE id < (SELECT top FROM (SELECT MAX(id) AS top FROM {name}) largest)"
            for name in (quote(model._meta.db_table) for model in EDGES)
        ),
    )
    assert follow(pair, *labels).keys() == {model._meta.db_table for model in EDGES}
    assert differences(snapshot(pair.source, EDGES), snapshot(pair.dest, EDGES)) == []


@in_turn
def test_exchanges_unique_values(pair: Pair) -> None:
    """Each new value is the old one of another row, so no row could be rewritten by itself."""
    count = 600
    numbers = range(1, count + 1)
    insert_rows(CharValue, pair.source, [{"id": n, "label": str(n % count), "value": "v"} for n in numbers])
    insert_rows(CharValue, pair.dest, [{"id": n, "label": str((n + 1) % count), "value": "v"} for n in numbers])
    assert follow(pair, "testapp.CharValue") == {"testapp_charvalue": (0, count, 0)}


@three_pairs
def test_gives_a_deleted_row_s_unique_value_to_a_new_one(pair: Pair) -> None:
    insert_rows(CharValue, pair.dest, [{"id": 1, "label": "the one", "value": "old"}])
    insert_rows(CharValue, pair.source, [{"id": 2, "label": "the one", "value": "new"}])
    assert follow(pair, "testapp.CharValue") == {"testapp_charvalue": (1, 0, 1)}


@three_pairs
def test_replaces_rows_whose_keys_only_a_collation_calls_equal(pair: Pair) -> None:
    insert_rows(TextKey, pair.source, [{"code": "key", "label": "one"}])
    insert_rows(TextKey, pair.dest, [{"code": "KEY", "label": "one"}])
    copy(pair, "testapp.TextKey", update=True, verify="full")
    assert [*of(TextKey, pair.dest).values_list("code", flat=True)] == ["key"]


def test_touches_only_the_rows_that_differ(databases: FreshDatabases) -> None:
    """Whoever listens to the destination's table hears of these rows alone."""
    databases.fresh("postgresql_a", "sqlite_b")
    insert_rows(Tag, "postgresql_a", [{"id": n, "name": f"tag {n}"} for n in range(1, 101)])
    pair = Pair("postgresql_a", "sqlite_b")
    copy(pair, "testapp.Tag")
    execute(
        "postgresql_a", "UPDATE testapp_tag SET name = 'other' WHERE id = 40", "DELETE FROM testapp_tag WHERE id = 50"
    )
    execute(
        "sqlite_b",
        "CREATE TABLE heard (what TEXT, id INTEGER)",
        "CREATE TRIGGER heard_in AFTER INSERT ON testapp_tag BEGIN INSERT INTO heard VALUES ('in', NEW.id); END",
        "CREATE TRIGGER heard_out AFTER DELETE ON testapp_tag BEGIN INSERT INTO heard VALUES ('out', OLD.id); END",
    )
    assert follow(pair, "testapp.Tag", chunk_size=7) == {"testapp_tag": (0, 1, 1)}
    with connections["sqlite_b"].cursor() as cursor:
        cursor.execute("SELECT what, id FROM heard ORDER BY id, what")
        assert cursor.fetchall() == [("in", 40), ("out", 40), ("out", 50)]


@three_pairs
def test_the_next_new_row_gets_a_free_key(pair: Pair) -> None:
    insert_rows(Tag, pair.source, [{"id": 1, "name": "one"}])
    copy(pair, "testapp.Tag")
    insert_rows(Tag, pair.source, [{"id": 70, "name": "seventy"}])
    follow(pair, "testapp.Tag")
    assert Tag.objects.using(pair.dest).create(name="next").pk == 71


@three_pairs
def test_is_all_or_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.fill(pair.source)
    copy(pair, *LABELS)
    execute(pair.source, "UPDATE testapp_tag SET name = 'changed'", "UPDATE testapp_place SET name = 'changed'")
    insert_rows(Article, pair.source, [{"id": 777, "name": "new"}])
    before = contents(pair.dest)
    calls: list[str] = []
    copy_range = ChunkCopier.copy_range

    def fail_at_last(copier: ChunkCopier, bounds: Bounds) -> Any:
        calls.append(copier.route.table.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return copy_range(copier, bounds)

    monkeypatch.setattr(ChunkCopier, "copy_range", fail_at_last)
    with pytest.raises(KeyboardInterrupt):
        follow(pair, *LABELS)
    connections.close_all()
    assert len(calls) == 3
    assert contents(pair.dest) == before
    monkeypatch.undo()
    follow(pair, *LABELS)
    assert_equal_apps(pair, "testapp")


def test_does_not_say_that_nothing_was_written_when_it_was(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": 1, "name": "one"}])
    monkeypatch.setattr(move, "reset_sequences", lambda plan: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match=r"^Stopped\. The update is complete\.") as caught:
        batch_migrate(source="sqlite_a", dest="sqlite_b", labels=["testapp.Tag"], update=True)
    assert caught.value.exit_code == 130
    assert of(Tag, "sqlite_b").count() == 1


KILLED = """
import os, signal, sys
import django
django.setup()
from migrator.databases import run as move
from migrator.databases.api import batch_migrate
from migrator.databases.copying.chunk import ChunkCopier

left = int(sys.argv[3])
real = ChunkCopier.copy_range

def counted(*arguments, **options):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

ChunkCopier.copy_range = counted
batch_migrate(source=sys.argv[1], dest=sys.argv[2], labels=["testapp.Tag", "testapp.Article"], update=True)
"""


@three_pairs
def test_a_killed_update_is_simply_run_again(pair: Pair, tmp_path: Path) -> None:
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in range(1, 2001)])
    insert_rows(Article, pair.source, [{"id": n, "name": f"article {n}"} for n in range(1, 11)])
    insert_rows(Tag, pair.dest, [{"id": n, "name": f"old {n}"} for n in range(500, 2501)])
    before = contents(pair.dest)
    connections.close_all()
    for steps in (0, 3, 8):
        with start_code(KILLED, *pair, str(steps), directory=tmp_path) as killed:
            assert killed.wait(120) == -9
        assert settled(lambda: contents(pair.dest) == before)
    assert follow(pair, "testapp.Tag", "testapp.Article")["testapp_tag"] == (499, 1501, 500)


def settled(condition: Callable[[], bool]) -> bool:
    """Wait until a server has noticed that its client is gone."""
    for _ in range(100):
        if condition():
            return True
        connections.close_all()
        time.sleep(0.1)
    return False


def test_names_the_row_that_the_destination_cannot_hold(databases: FreshDatabases, monkeypatch: Any) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(CharValue, pair.source, [{"id": n, "label": str(n), "value": "v"} for n in range(1, 6)])
    copy(pair, "testapp.CharValue")
    execute(pair.source, "UPDATE testapp_charvalue SET value = 'much longer than twenty characters' WHERE id = 3")
    execute(pair.source, "UPDATE testapp_charvalue SET value = 'w' WHERE id = 4")
    with pytest.raises(Refused, match="longer than the 20 characters"):
        follow(pair, "testapp.CharValue")
    monkeypatch.setattr("migrator.databases.planning.content_checks.check_values", check_no_values)
    with pytest.raises(DataRejected, match=r"testapp\.CharValue.*\b3\b"):
        follow(pair, "testapp.CharValue")
    assert set(of(CharValue, pair.dest).values_list("value", flat=True)) == {"v"}


def test_a_trial_shows_what_would_change_and_writes_nothing(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": n, "name": f"tag {n}"} for n in range(1, 6)])
    insert_rows(Tag, "sqlite_b", [{"id": n, "name": f"tag {n % 4}"} for n in range(3, 8)])
    before = contents("sqlite_b")
    finished = run(
        "batch_migrate", "--source", "sqlite_a", "--dest", "sqlite_b", "testapp.Tag", "--update", "--dry-run"
    )
    assert finished.code == 5, finished
    assert [line.split()[:5] for line in finished.out.splitlines() if line.startswith("  testapp.Tag")] == [
        ["testapp.Tag", "5", "2", "2", "2"]
    ]
    assert facts(finished.out)["compared"] == "5 rows of 1 table, by all their values"
    assert re.fullmatch(r"about \S+ s to compare, as now, plus what it writes", facts(finished.out)["next pass"])
    verdict = "Nothing was written. 6 rows would change: 2 inserted, 2 rewritten, 2 deleted."
    assert f"\nDRY RUN  {verdict}\n" in finished.out
    assert contents("sqlite_b") == before


@pytest.mark.parametrize(
    "options", [{"replace": "sqlite_b"}, {"resume": True}, {"cleanup": True}, {"keep_indexes": True}], ids=str
)
def test_excludes_what_belongs_to_other_runs(databases: FreshDatabases, options: dict[str, Any]) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    (name,) = options
    with pytest.raises(UsageError, match=rf"^--update and --{name.replace('_', '-')} exclude each other: "):
        batch_migrate(source="sqlite_a", dest="sqlite_b", labels=["testapp.Tag"], update=True, **options)


def test_refuses_an_empty_source(databases: FreshDatabases) -> None:
    """Ends that were swapped would delete everything."""
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_b", [{"id": 1, "name": "one"}])
    with pytest.raises(Refused, match="Did you swap --source and --dest"):
        batch_migrate(source="sqlite_a", dest="sqlite_b", labels=["testapp.Tag"], update=True)
    assert of(Tag, "sqlite_b").count() == 1


TREE = "ALTER TABLE testapp_treenode"


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
@pytest.mark.parametrize("pair", [Pair("sqlite_a", "postgresql_b")], ids=str, indirect=True)
def test_children_of_rewritten_rows_stay_as_they_are(pair: Pair, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Foreign keys like those of Django's DB_CASCADE and DB_SET_NULL would delete or change them."""
    insert_rows(TreeNode, pair.source, [{"id": n, "name": str(n), "parent_id": n - 1 or None} for n in range(1, 6)])
    copy(pair, "testapp.TreeNode")
    ((name, deferrable),) = foreign_keys(pair.dest, "testapp_treenode")
    acting = deferrable.replace(" DEFERRABLE", f" ON DELETE {action} DEFERRABLE")
    execute(
        pair.dest,
        f"{TREE} DROP CONSTRAINT {name}",
        f'{TREE} ADD CONSTRAINT "follows 5%" {acting}',
        "COMMENT ON CONSTRAINT \"follows 5%\" ON testapp_treenode IS '50% sure'",
    )
    execute(
        pair.source,
        "UPDATE testapp_treenode SET name = 'new' WHERE id = 2",
        "DELETE FROM testapp_treenode WHERE id = 5",
    )
    before = contents(pair.dest)
    with monkeypatch.context() as patch:
        patch.setattr(ChunkCopier, "copy_range", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted, match="Nothing was written"):
            follow(pair, "testapp.TreeNode")
    assert contents(pair.dest) == before
    assert follow(pair, "testapp.TreeNode") == {"testapp_treenode": (0, 1, 1)}
    assert foreign_keys(pair.dest, "testapp_treenode") == [("follows 5%", acting)]
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conname = 'follows 5%'")
        assert cursor.fetchone() == ("50% sure",)


def foreign_keys(alias: str, table: str) -> list[tuple[str, str]]:
    """Return the names and definitions of a table's foreign keys."""
    sql = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'"
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, (table,))
        return [*cursor.fetchall()]


@pytest.mark.postgresql
def test_refuses_foreign_keys_of_others_that_would_delete_more(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "postgresql_b")
    execute(
        "postgresql_b",
        "CREATE TABLE follower (tag_id bigint CONSTRAINT follows REFERENCES testapp_tag ON DELETE CASCADE)",
    )
    rights = [f"{right} ON ALL TABLES IN SCHEMA public" for right in ("SELECT", "INSERT", "DELETE")]
    refused = pytest.raises(Refused, match=r"cannot drop and recreate them: follower\.follows")
    with as_another_role("postgresql_b", *rights) as role, refused:
        batch_migrate(source="sqlite_a", dest=role, labels=["testapp.Tag"], update=True)


def test_asks_before_it_writes(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": 1, "name": "one"}])
    finished = run("batch_migrate", "--source", "sqlite_a", "--dest", "sqlite_b", "testapp.Tag", "--update")
    assert finished.code == 1
    assert "--no-input" in finished.err
    assert of(Tag, "sqlite_b").count() == 0
