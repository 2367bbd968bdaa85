"""`verify_counts` knows what a move knew: ids that both sides have of their own, and rows that were rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.models import F, QuerySet

from tests.databases.snapshots import insert_rows, unchecked
from tests.manage import Finished
from tests.management.running import execute, nothing_changes, run
from tests.scenarios.faults.oracle import assert_ended
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Chapter, CharValue, Comment, Tag, TreeNode, UUIDKey

SOME_PAIRS = [PAIRS[0], PAIRS[1], PAIRS[2], PAIRS[4], PAIRS[6]]
some_pairs = pytest.mark.parametrize("pair", SOME_PAIRS, ids=str, indirect=True)


def ends(pair: Pair) -> tuple[str, ...]:
    return ("--source", pair.source, "--dest", pair.dest, "--no-input")


def compare(pair: Pair, *more: str | Path) -> Finished:
    with nothing_changes(*pair):
        return run("verify_counts", *ends(pair), *more)


def of(model: Any, alias: str) -> QuerySet[Any, Any]:
    return QuerySet(model, using=alias)


def shift_ids(alias: str) -> None:
    """Give the content types and permissions ids that others have in a fresh destination, as years of migrations do."""
    with unchecked(connections[alias]):
        for step in (1000, -997):  # in two steps, so that none is taken meanwhile
            for model, columns in ((ContentType, ["id"]), (Permission, ["id", "content_type_id"])):
                of(model, alias).update(**{column: F(column) + step for column in columns})


def fill(alias: str) -> None:
    types = list(of(ContentType, alias).order_by("id").values_list("id", flat=True))
    permissions = list(of(Permission, alias).order_by("id").values_list("id", flat=True))
    numbers = range(1, 9)
    insert_rows(Comment, alias, [{"id": n, "text": "t", "content_type_id": types[n], "object_id": n} for n in numbers])
    insert_rows(Group, alias, [{"id": n, "name": f"g{n}"} for n in numbers])
    insert_rows(
        Group.permissions.through, alias,
        [{"id": n, "group_id": n, "permission_id": permissions[n]} for n in numbers],
    )  # fmt: skip


@some_pairs
def test_ids_that_a_move_translates_are_no_differences(pair: Pair) -> None:
    shift_ids(pair.source)
    fill(pair.source)
    labels = ["testapp.Comment", "auth.Group"]
    assert_ended(run("batch_migrate", *ends(pair), *labels, "--verify", "full"), 0)
    for more in ([], ["--mode", "full"], ["--mode", "sample", "--sample", "2"]):
        assert_ended(compare(pair, *labels, *more), 0)
        # The rows themselves, whatever their ids.
        assert_ended(compare(pair, "contenttypes", "auth", "testapp.Comment", "-e", "auth.User", *more), 0)
    assert_ended(run("batch_migrate", *ends(pair), *labels, "--update", "--dry-run"), 0)


@some_pairs
def test_an_id_that_means_another_row_is_a_difference(pair: Pair) -> None:
    shift_ids(pair.source)
    fill(pair.source)
    labels = ["testapp.Comment", "auth.Group"]
    assert_ended(run("batch_migrate", *ends(pair), *labels), 0)
    own, other = (of(Comment, alias).get(pk=3).content_type_id for alias in pair)
    assert own != other
    with unchecked(connections[pair.dest]):
        of(Comment, pair.dest).filter(pk=3).update(content_type_id=own)  # the source's number
        of(Comment, pair.dest).filter(pk=4).update(content_type_id=other)
        lost = of(Permission, pair.dest).get(codename="add_chapter", content_type__app_label="testapp")
        of(Permission, pair.dest).filter(pk=lost.pk).delete()
        of(ContentType, pair.dest).filter(model="fragile").update(model="mended")
    finished = compare(pair, "testapp.Comment", "auth.Permission", "contenttypes", "--mode", "full", "-v", "2")
    assert_ended(finished, 3, "Differences were found in ")
    lines = finished.out.splitlines()
    assert {line for line in lines if line.startswith("testapp.Comment ")} == {
        "testapp.Comment 3: changed: content_type_id",
        "testapp.Comment 4: changed: content_type_id",
    }
    gone = of(Permission, pair.source).get(codename="add_chapter", content_type__app_label="testapp")
    assert f"auth.Permission {gone.pk}: missing" in lines
    fragile = of(ContentType, pair.source).get(model="fragile")
    mended = of(ContentType, pair.dest).get(model="mended")
    assert {line for line in lines if line.startswith("contenttypes.ContentType ")} >= {
        f"contenttypes.ContentType {fragile.pk}: missing",
        f"contenttypes.ContentType {mended.pk}: extra",
    }


@pytest.fixture
def rejected(pair: Pair, tmp_path: Path) -> Path:
    """Make a move that rejects rows, and those that point at them."""
    with unchecked(connections[pair.source]):
        insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in range(1, 6)])
        insert_rows(Chapter, pair.source, [{"id": n, "title": "t", "tag_id": 3 + n, "_order": 0} for n in range(1, 6)])
        insert_rows(TreeNode, pair.source, [{"id": n, "name": "n", "parent_id": n + 1} for n in range(1, 5)])
        insert_rows(UUIDKey, pair.source, [{"id": f"{n:032x}", "label": "l"} for n in range(1, 4)])
        insert_rows(CharValue, pair.source, [{"id": n, "label": f"{n}", "value": "v"} for n in range(1, 4)])
    execute(pair.source, "UPDATE testapp_charvalue SET value = 'much longer than twenty characters' WHERE id = 2")
    execute(pair.source, "UPDATE testapp_uuidkey SET label = 'a' WHERE label = 'l'")
    file = tmp_path / "rejects.jsonl"
    finished = run("batch_migrate", *ends(pair), *LABELS, "--on-error", "skip", "--rejects", file)
    assert_ended(finished, 4)
    return file


LABELS = ("testapp.Tag", "testapp.Chapter", "testapp.TreeNode", "testapp.CharValue", "testapp.UUIDKey")
FROM_SQLITE = [Pair("sqlite_a", "sqlite_b"), Pair("sqlite_a", "postgresql_b"), Pair("sqlite_a", "mysql_b")]
from_sqlite = pytest.mark.parametrize("pair", FROM_SQLITE, ids=str, indirect=True)


@from_sqlite
def test_rows_of_the_reject_file_are_no_differences(pair: Pair, rejected: Path) -> None:
    listed = len(rejected.read_text().splitlines())
    assert listed == 3 + 4 + (pair.dest != "sqlite_b")  # SQLite takes a longer text
    assert_ended(compare(pair, *LABELS), 3)
    for more in ([], ["--mode", "full"], ["--mode", "sample", "--sample", "1"]):
        finished = compare(pair, *LABELS, "--rejects", rejected, *more)
        assert_ended(finished, 0)
        assert f"{listed} rows of {rejected} are not in the destination, as the run left them." in finished.out
    document = json.loads(compare(pair, *LABELS, "--rejects", rejected, "--format", "json").out)
    assert {model["label"]: (model.get("rejected"), model["status"]) for model in document["models"]}[
        "testapp.Chapter"
    ] == (3, "rejected")


@from_sqlite
def test_only_the_rows_of_the_file_are_excused(pair: Pair, rejected: Path) -> None:
    of(Tag, pair.dest).filter(pk=1).delete()
    insert_rows(Tag, pair.source, [{"id": 4004, "name": "later"}])
    finished = compare(pair, *LABELS, "--rejects", rejected, "--mode", "full")
    assert_ended(finished, 3)
    assert {line for line in finished.out.splitlines() if line.startswith("testapp.")} == {
        "testapp.Tag 1: missing", "testapp.Tag 4004: missing",
    }  # fmt: skip


@from_sqlite
def test_a_rejected_row_that_is_in_the_destination_is_said(pair: Pair, rejected: Path) -> None:
    execute(pair.source, "UPDATE testapp_treenode SET parent_id = 1", "DELETE FROM testapp_chapter WHERE id = 4")
    insert_rows(TreeNode, pair.dest, [{"id": n, "name": "n", "parent_id": 1} for n in range(1, 5)])
    finished = compare(pair, *LABELS, "--rejects", rejected, "--mode", "full")
    assert_ended(finished, 0)
    assert "testapp.TreeNode: rejected, but in the destination now: primary key 1, 2, 3, 4." in finished.out
    assert "testapp.Chapter: 1 rejected row is not in the source." in finished.out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"table": "testapp_tag", "row": {"id": 77, "name": "x"}}', "none of its 1 row is there"),
        ('{"table": "testapp_tag", "row": {"code": "x"}}', "testapp.Tag has another primary key"),
        ('{"table": "elsewhere", "row": {"id": 1}}', "line 1 names a table that none of its models has"),
        ('{"session": "x"}', "line 1 of "),
        ("no JSON", "line 1 of "),
        (None, "does not exist"),
    ],
)
def test_a_file_of_other_databases_is_refused(databases: Any, tmp_path: Path, content: str | None, reason: str) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": 1, "name": "one"}])
    file = tmp_path / "rejects.jsonl"
    if content is not None:
        file.write_text(f"{content}\n")
    assert_ended(compare(pair, "testapp.Tag", "--rejects", file), 2, reason)


@pytest.mark.parametrize("side", ["source", "dest"])
@pytest.mark.parametrize("mode", ["count", "sample", "full"])
def test_a_table_that_is_missing_altogether_is_named(databases: Any, side: str, mode: str) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    alias = getattr(pair, side)
    execute(alias, "DROP TABLE testapp_chapter")
    finished = compare(pair, "testapp.Chapter", "testapp.Tag", "--mode", mode)
    assert_ended(finished, 3)
    assert finished.out.count(f"testapp.Chapter: '{alias}' has no table 'testapp_chapter'.") == 1
    assert "lacks" not in finished.out
