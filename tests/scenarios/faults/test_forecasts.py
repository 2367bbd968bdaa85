"""A dry run with `--on-error skip` counts what a run then rejects: bad rows, and all that point at one of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from tests.databases.snapshots import insert_rows, unchecked
from tests.management.running import execute, nothing_changes, run
from tests.scenarios.faults.oracle import assert_ended
from tests.servers.databases import Pair
from tests.testapp.models import (
    Article,
    Chapter,
    Pizzeria,
    Place,
    Player,
    Pointer,
    Rating,
    Restaurant,
    Tag,
    Team,
    TreeNode,
    UniqueCode,
)

LABELS = (
    "testapp.Tag", "testapp.Article", "testapp.Rating", "testapp.Chapter", "testapp.Pizzeria", "testapp.TreeNode",
    "testapp.Team", "testapp.Player",
)  # fmt: skip
POINTERS = ("UniqueCode", "Pointer", "AutoKey", "BigAutoKey", "UUIDKey", "TextKey")
TOO_LONG = "much too long " * 9
MANY = 1300  # more than fit into one question

FROM_SQLITE = [Pair("sqlite_a", "postgresql_b"), Pair("sqlite_a", "mysql_b")]
from_sqlite = pytest.mark.parametrize("pair", FROM_SQLITE, ids=str, indirect=True)


def forecast(command: str, *words: str) -> tuple[dict[str, int], str]:
    """Make the dry run; return how many rows of each table it says will be rejected, and what it said."""
    finished = run(command, *words, "--dry-run", "--on-error", "skip", "--rejects", "unused")
    assert_ended(finished, 0)
    document = json.loads(
        run(command, *words, "--dry-run", "--on-error", "skip", "--rejects", "unused", "--format", "json").out
    )
    tables = {table["table"]: table["to_be_rejected"] for table in document["plan"]["tables"]}
    return {name: count for name, count in tables.items() if count}, finished.out


def rejected(command: str, *words: str, file: Path) -> dict[str, int]:
    """Make the run; return how many rows of each table it has rejected."""
    finished = run(command, *words, "--on-error", "skip", "--rejects", str(file))
    assert finished.code in (3, 4), finished.err  # a key that is taken is that of another row, which is a difference
    return dict(Counter(json.loads(line)["table"] for line in file.read_text().splitlines()))


def words(pair: Pair, *labels: str) -> tuple[str, ...]:
    return ("--source", pair.source, "--dest", pair.dest, "--no-input", *labels)


def fill(alias: str) -> None:
    """Put a few bad rows below many others: over several levels, in a table that points at itself, and in a circle."""
    with unchecked(connections[alias]):
        insert_rows(Tag, alias, [{"id": n, "name": TOO_LONG if n in (3, 9) else f"tag {n}"} for n in range(1, 12)])
        insert_rows(Chapter, alias, [{"title": "t", "tag_id": n % 11 + 1, "_order": 0} for n in range(MANY)])
        insert_rows(Article, alias, [{"id": n, "name": TOO_LONG if n == 2 else f"{n}"} for n in range(1, 30)])
        insert_rows(Article.tags.through, alias, [{"article_id": n, "tag_id": n % 11 + 1} for n in range(1, 30)])
        cites = [{"from_article_id": n, "to_article_id": n % 29 + 1} for n in range(1, 30)]
        insert_rows(Article.cites.through, alias, cites)
        insert_rows(Rating, alias, [{"article_id": n, "tag_id": 11, "stars": 1} for n in range(1, 30)])
        # A chain, of which a row in the middle is bad; a row that points at itself; an orphan with a child.
        nodes = [{"id": n, "name": "n", "parent_id": n - 1 or None} for n in range(1, 20)]
        nodes[9]["name"] = TOO_LONG
        nodes += [{"id": n, "name": "n", "parent_id": 19} for n in range(100, 100 + MANY)]
        nodes += [{"id": 5000, "name": TOO_LONG, "parent_id": 5000}, {"id": 5001, "name": "n", "parent_id": 404_000}]
        insert_rows(TreeNode, alias, [*nodes, {"id": 5002, "name": "n", "parent_id": 5001}])
        places = [{"id": n, "name": TOO_LONG if n == 5 else f"{n}"} for n in range(1, 9)]
        insert_rows(Place, alias, places)
        insert_rows(Restaurant, alias, [{"place_ptr_id": n, "seats": n} for n in range(1, 9)])
        insert_rows(Pizzeria, alias, [{"restaurant_ptr_id": n} for n in (4, 5, 6)])
        # Each team's captain plays in the next team: one bad team takes all with it.
        insert_rows(Team, alias, [{"id": n, "name": TOO_LONG if n == 7 else "t", "captain_id": n} for n in range(1, 9)])
        insert_rows(Player, alias, [{"id": n, "name": "p", "team_id": n % 8 + 1} for n in range(1, 9)])


@from_sqlite
def test_all_rows_that_point_at_a_bad_one_are_counted(pair: Pair, tmp_path: Path) -> None:
    fill(pair.source)
    with nothing_changes(*pair):
        expected, said = forecast("batch_migrate", *words(pair, *LABELS))
    found = rejected("batch_migrate", *words(pair, *LABELS), file=tmp_path / "rejects.jsonl")
    assert expected == found
    assert found["testapp_treenode"] == 10 + MANY + 3
    assert (found["testapp_pizzeria"], found["testapp_team"], found["testapp_player"]) == (1, 8, 8)
    assert f"  {sum(found.values()):,} rows, including rows that refer to rejected ones: testapp." in said


@pytest.mark.parametrize("pair", [*FROM_SQLITE, Pair("postgresql_a", "mysql_b")], ids=str, indirect=True)
def test_what_is_left_of_a_repeated_value_is_what_rows_can_point_at(pair: Pair, tmp_path: Path) -> None:
    """Of texts that differ in case only, the first one is kept, unless it is bad itself."""
    is_folding = pair.engines[1] == "mysql"
    codes = ["one", "ONE", "two", "Two", "TWO", "three"]
    if pair.engines[0] == "sqlite":
        execute(pair.source, "CREATE TABLE o AS SELECT * FROM testapp_uniquecode", "DROP TABLE testapp_uniquecode")
        execute(pair.source, "ALTER TABLE o RENAME TO testapp_uniquecode")
        codes += ["one", "three"]
    with unchecked(connections[pair.source]):
        insert_rows(
            UniqueCode, pair.source,
            [{"id": n, "code": c, "label": TOO_LONG if n == 3 and pair.engines[0] == "sqlite" else "l"}
             for n, c in enumerate(codes, 1)],
        )  # fmt: skip
        insert_rows(Pointer, pair.source, [{"id": n, "to_code_id": c} for n, c in enumerate(codes, 1)])
    labels = [f"testapp.{name}" for name in POINTERS]
    expected, _ = forecast("batch_migrate", *words(pair, *labels))
    found = rejected("batch_migrate", *words(pair, *labels), file=tmp_path / "rejects.jsonl")
    assert expected["testapp_uniquecode"] == found["testapp_uniquecode"]
    if not is_folding:  # there, what points at a rejected row is taken to point at the one that is kept
        assert expected == found


@pytest.mark.parametrize("pair", [*FROM_SQLITE, Pair("sqlite_a", "sqlite_b")], ids=str, indirect=True)
def test_rows_that_are_added_may_point_at_those_that_are_there(pair: Pair, tmp_path: Path) -> None:
    with unchecked(connections[pair.source]):
        insert_rows(Tag, pair.source, [{"id": n, "name": TOO_LONG if n == 3 else f"tag {n}"} for n in range(1, 9)])
        rows = [{"id": n, "title": "t", "tag_id": (n - 1) % 9 + 1, "_order": 0} for n in range(1, 1200)]
        insert_rows(Chapter, pair.source, rows)  # those of tag 9 are orphans
    insert_rows(Tag, pair.dest, [{"id": 5, "name": "of the destination"}])
    insert_rows(Chapter, pair.dest, [{"id": 14, "title": "of the destination", "tag_id": 5, "_order": 0}])
    labels = ("testapp.Tag", "testapp.Chapter")
    expected, _ = forecast("batch_migrate_models", *words(pair, *labels))
    found = rejected("batch_migrate_models", *words(pair, *labels), file=tmp_path / "rejects.jsonl")
    assert expected == found
    assert found["testapp_tag"] == (1 if pair.dest == "sqlite_b" else 2)


@pytest.mark.parametrize("jobs", ["1", "2"])
@from_sqlite
def test_rows_of_a_circle_that_are_added_follow_a_rejected_one(pair: Pair, jobs: str, tmp_path: Path) -> None:
    with unchecked(connections[pair.source]):
        nodes = [{"id": n, "name": TOO_LONG if n == 9 else "n", "parent_id": n - 1 or None} for n in range(1, 20)]
        insert_rows(TreeNode, pair.source, nodes)
        teams = [
            {"id": n, "name": TOO_LONG if n == 3 else "t", "captain_id": n + 1 if n < 5 else None} for n in range(1, 9)
        ]
        insert_rows(Team, pair.source, teams)
        insert_rows(Player, pair.source, [{"id": n, "name": "p", "team_id": n} for n in range(1, 9)])
    more = words(pair, "testapp.TreeNode", "testapp.Team", "testapp.Player", "--jobs", jobs)
    expected, _ = forecast("batch_migrate_models", *more)
    found = rejected("batch_migrate_models", *more, file=tmp_path / "rejects.jsonl")
    assert expected == found
    assert found == {"testapp_treenode": 11, "testapp_team": 3, "testapp_player": 3}


@pytest.mark.parametrize("pair", [Pair("sqlite_a", "mysql_b"), Pair("sqlite_a", "sqlite_b")], ids=str, indirect=True)
def test_rows_of_the_destination_s_own_are_never_rejected(pair: Pair, tmp_path: Path) -> None:
    """Not even where they point at nothing, as in a database that does not enforce its foreign keys."""
    own = [{"id": n, "title": "own", "tag_id": 999, "_order": 0} for n in (2, 77)]
    with unchecked(connections[pair.source]), unchecked(connections[pair.dest]):
        insert_rows(Chapter, pair.dest, own)
        insert_rows(Tag, pair.source, [{"id": 1, "name": "t"}])
        rows = [{"id": n, "title": "t", "tag_id": 1 if n < 3 else 404, "_order": 0} for n in (1, 2, 3)]
        insert_rows(Chapter, pair.source, rows)
    found = rejected(
        "batch_migrate_models", *words(pair, "testapp.Tag", "testapp.Chapter"), file=tmp_path / "rejects.jsonl"
    )
    assert found == {"testapp_chapter": 2}  # a key that is taken, and an orphan
    there = QuerySet(Chapter, using=pair.dest).order_by("id").values_list("id", "title")
    assert list(there) == [(1, "t"), (2, "own"), (77, "own")]


def test_parents_that_a_filter_leaves_out_are_told_of(databases: Any) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in range(1, 1400)])
    insert_rows(
        Chapter, pair.source, [{"id": 1400 - n, "title": "t", "tag_id": n, "_order": 0} for n in range(1, 1400)]
    )
    more = ("testapp.Tag", "testapp.Chapter", "--filter", "id__lte=10")
    finished = run("batch_migrate_models", *words(pair, *more))
    assert_ended(
        finished, 1, "The filter leaves those rows of testapp.Tag out. Copy testapp.Chapter in a command of its own, "
        "with that filter through its field: --filter tag__LOOKUP=VALUE, or pass --with-parents.",
    )  # fmt: skip
    finished = run("batch_migrate_models", *words(pair, "testapp.Chapter"))
    assert_ended(
        finished,
        1,
        "1,399 rows have no matching row of testapp.Tag for tag_id",
        "rows of testapp.Tag too, or pass --with-parents.",
    )
