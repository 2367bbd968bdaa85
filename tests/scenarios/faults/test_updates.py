"""The second pass of a move: what stops it is named by its row and constraint, and a dry run says what it would do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db.models import QuerySet

from tests.databases.snapshots import insert_rows
from tests.management.running import execute, nothing_changes, run
from tests.scenarios.faults.oracle import assert_ended
from tests.servers.databases import Pair
from tests.testapp.models import Chapter, CharValue, Constrained, Pointer, Tag, UniqueCode

TO_EACH = [Pair("sqlite_a", "postgresql_b"), Pair("sqlite_a", "mysql_b"), Pair("postgresql_a", "sqlite_b")]
to_each_engine = pytest.mark.parametrize("pair", TO_EACH, ids=str, indirect=True)


def words(pair: Pair, *more: str) -> tuple[str, ...]:
    return ("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", *more)


def update(pair: Pair, *more: str) -> Any:
    """Run the second pass, which never advises what it refuses."""
    finished = run(*words(pair, "--update", *more))
    assert "--on-error" not in finished.err + finished.out
    assert "--replace" not in finished.err + finished.out
    return finished


def drop_unique_index(pair: Pair, table: str, column: str) -> None:
    """Let the source hold a value twice."""
    if pair.engines[0] == "postgresql":
        name = f"(SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'u')"
        execute(
            pair.source,
            f"DO $$ BEGIN EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %%I', {name}); END $$".replace("%%", "%"),
        )
        return
    execute(
        pair.source,
        f"CREATE TABLE other AS SELECT * FROM {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE other RENAME TO {table}",
    )


@to_each_engine
def test_a_unique_value_that_two_rows_have_is_told_with_both(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    insert_rows(CharValue, pair.source, [{"id": n, "label": f"l{n}", "value": "v"} for n in range(1, 6)])
    # A parent that is rewritten later, with a child that stays: nothing of this is what is in the way.
    insert_rows(UniqueCode, pair.source, [{"id": 1, "code": "c", "label": "old"}])
    insert_rows(Pointer, pair.source, [{"id": 1, "to_code_id": "c"}])
    labels = ["testapp.CharValue", "testapp.UniqueCode", "testapp.Pointer", "testapp.AutoKey", "testapp.BigAutoKey"]
    labels += ["testapp.UUIDKey", "testapp.TextKey"]
    assert_ended(run(*words(pair, *labels)), 0)
    drop_unique_index(pair, "testapp_charvalue", "label")
    execute(
        pair.source,
        "UPDATE testapp_uniquecode SET label = 'new'",
        "UPDATE testapp_charvalue SET value = 'w' WHERE id = 1",
        "UPDATE testapp_charvalue SET label = 'l2' WHERE id = 4",
    )
    # Where a query finds the pair beforehand, this is what is left to do if it did not.
    monkeypatch.setattr("migrator.databases.planning.preflight.refuse", lambda plan: None)
    monkeypatch.setattr("migrator.databases.run.refuse", lambda plan: None)
    with nothing_changes(pair.dest):
        finished = update(pair, *labels)
    assert_ended(finished, 1, "testapp.CharValue with primary key 4, field label", "Nothing was written.")
    assert "the row with primary key 2 already has it" in finished.err


@to_each_engine
def test_a_check_that_a_row_breaks_is_named_with_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"code": "c", "serial": 1, "low": 1, "high": 2, "mail": "a@example.org"}
    insert_rows(Constrained, pair.source, [{**row, "id": 1}])
    assert_ended(run(*words(pair, "testapp.Constrained")), 0)
    if pair.engines[0] == "postgresql":
        execute(pair.source, "ALTER TABLE testapp_constrained DROP CONSTRAINT testapp_constrained_low_high")
    else:
        drop_unique_index(pair, "testapp_constrained", "code")
    execute(pair.source, "UPDATE testapp_constrained SET low = 9")
    monkeypatch.setattr("migrator.databases.run.refuse", lambda plan: None)
    with nothing_changes(pair.dest):
        finished = update(pair, "testapp.Constrained")
    assert "field testapp_constrained_low_high" not in finished.err
    assert_ended(
        finished, 1, "testapp.Constrained with primary key 1", "testapp_constrained_low_high", "Nothing was written."
    )


@pytest.mark.postgresql
def test_a_foreign_key_that_is_checked_at_once_is_named_with_the_row(databases: Any) -> None:
    """As another tool makes them: the row that is rewritten has to go first, and its children hold it."""
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in range(1, 5)])
    insert_rows(Chapter, pair.source, [{"id": 1, "title": "t", "tag_id": 3, "_order": 0}])
    assert_ended(run(*words(pair, "testapp.Tag", "testapp.Chapter")), 0)
    execute(
        pair.dest, "ALTER TABLE testapp_chapter ADD CONSTRAINT at_once FOREIGN KEY (tag_id) REFERENCES testapp_tag (id)"
    )
    execute(pair.source, "UPDATE testapp_tag SET name = 'other'")
    with nothing_changes(pair.dest):
        finished = update(pair, "testapp.Tag", "testapp.Chapter")
    assert_ended(
        finished, 1, "testapp.Tag with primary key 3 cannot be deleted or rewritten", "at_once",
        "DEFERRABLE INITIALLY DEFERRED", "Nothing was written.",
    )  # fmt: skip


REFUSING = {
    "mysql": "CREATE TRIGGER own BEFORE DELETE ON testapp_tag FOR EACH ROW "
    "IF OLD.id = 2 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'append-only'; END IF",
    "sqlite": "CREATE TRIGGER own BEFORE DELETE ON testapp_tag WHEN OLD.id = 2 BEGIN "
    "SELECT RAISE(ABORT, 'append-only'); END",
}


@pytest.mark.parametrize(
    "pair", [Pair("sqlite_a", "mysql_b"), Pair("postgresql_a", "sqlite_b")], ids=str, indirect=True
)
def test_a_trigger_that_protects_a_row_is_named_with_it(pair: Pair) -> None:
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in range(1, 4)])
    assert_ended(run(*words(pair, "testapp.Tag")), 0)
    execute(pair.dest, REFUSING[pair.engines[1]])
    execute(pair.source, "UPDATE testapp_tag SET name = 'other'")
    try:
        with nothing_changes(pair.dest):
            finished = update(pair, "testapp.Tag")
    finally:
        execute(pair.dest, "DROP TRIGGER own")
    assert_ended(
        finished, 1, "testapp.Tag with primary key 2 cannot be deleted or rewritten: append-only", "(own): disable",
        "Nothing was written.",
    )  # fmt: skip


@pytest.mark.parametrize("pair", [*TO_EACH[:2], Pair("sqlite_a", "sqlite_b")], ids=str, indirect=True)
def test_what_is_found_beforehand_advises_nothing_that_it_refuses(pair: Pair) -> None:
    insert_rows(Chapter, pair.source, [{"id": 1, "title": "t", "tag_id": 404, "_order": 0}])
    with nothing_changes(*pair):
        finished = update(pair, "testapp.Chapter", "testapp.Tag")
    assert_ended(finished, 1, "Nothing was written. ", "no matching row of testapp.Tag", "--exclude")


@to_each_engine
def test_a_dry_run_says_what_an_update_would_write(pair: Pair) -> None:
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in range(1, 6)])
    insert_rows(Tag, pair.dest, [{"id": n, "name": f"tag {n % 4}"} for n in range(3, 8)])
    with nothing_changes(*pair):
        finished = update(pair, "testapp.Tag", "--dry-run")
        as_json = json.loads(update(pair, "testapp.Tag", "--dry-run", "--format", "json").out)
    assert_ended(finished, 5, "Nothing was written. 6 rows would change: 2 inserted, 2 rewritten, 2 deleted.")
    assert "What an update would write\n" in finished.out
    assert "Updated" not in finished.out
    assert (as_json["dry_run"], as_json["exit_code"]) == (True, 5)
    (counts,) = as_json["updates"]
    assert {name: counts[name] for name in counts if name.startswith("to_be_")} == {
        "to_be_inserted": 2, "to_be_rewritten": 2, "to_be_deleted": 2,
    }  # fmt: skip
    assert "inserted" not in counts
    assert update(pair, "testapp.Tag").code == 0
    finished = update(pair, "testapp.Tag", "--dry-run")
    assert_ended(finished, 0)
    assert "Nothing was written, and nothing would be: the destination equals the source." in finished.out
    assert QuerySet(Tag, using=pair.dest).count() == 5
