"""Rows that the destination cannot hold are named, kept whole in a private file, and everything else is copied."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.api import RunResult, batch_migrate
from migrator.errors import DataRejected, MigratorError, UsageError
from tests.databases.snapshots import insert_rows, snapshot
from tests.management.running import error_in, forbid_unasked, nothing_changes, run
from tests.servers.databases import Pair
from tests.testapp.models import (
    Article,
    Chapter,
    CharValue,
    DateTimeValue,
    DateValue,
    IntegerValue,
    Tag,
    TextKey,
    TextValue,
    TreeNode,
    UniqueCode,
)

if TYPE_CHECKING:
    from tests.manage import Finished
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.driver

# Destinations that know what a column can hold, from a source that does not.
STRICT_PAIRS = [Pair("sqlite_a", "postgresql_b"), Pair("sqlite_a", "mysql_b"), Pair("sqlite_a", "mysql_files")]
MODELS = (Tag, Article, Article.tags.through, Chapter, TreeNode)
LABELS = ["testapp.Tag", "testapp.Article", "testapp.Chapter", "testapp.TreeNode"]
ROWS = 30
LONG = "long " * 30
BAD = (7, 8, 23)


def fill(alias: str) -> None:
    numbers = range(1, ROWS + 1)
    insert_rows(Tag, alias, [{"id": n, "name": LONG if n in BAD else f"tag {n}"} for n in numbers])
    insert_rows(Article, alias, [{"id": n, "name": f"article {n}"} for n in numbers])
    insert_rows(Article.tags.through, alias, [{"id": n, "article_id": n, "tag_id": n} for n in numbers])
    insert_rows(Chapter, alias, [{"id": n, "title": "x", "tag_id": n, "_order": 0} for n in numbers])
    # Three levels: the child of a rejected row has a child.
    nodes: list[dict[str, Any]] = [{"id": n, "name": f"{n}", "parent_id": None} for n in numbers]
    nodes[9]["name"], nodes[10]["parent_id"], nodes[11]["parent_id"] = LONG, 10, 11
    insert_rows(TreeNode, alias, nodes)


@pytest.fixture(params=STRICT_PAIRS, ids=str)
def filled(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    pair: Pair = request.param
    databases.fresh(*pair)
    fill(pair.source)
    return pair


def move(pair: Pair, path: Path | None, **options: Any) -> RunResult:
    arguments: dict[str, Any] = {"labels": LABELS, "chunk_size": 6, "on_error": "skip", "rejects": path} | options
    return batch_migrate(source=pair.source, dest=pair.dest, **arguments)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rejected(path: Path) -> list[tuple[str, str, str]]:
    return sorted((line["model"], line["pk"], line["field"]) for line in lines_of(path))


EXPECTED = sorted(
    [
        *(("testapp.Tag", str(n), "name") for n in BAD),
        *(("testapp.Article_tags", str(n), "tag_id") for n in BAD),
        *(("testapp.Chapter", str(n), "tag_id") for n in BAD),
        ("testapp.TreeNode", "10", "name"),
        ("testapp.TreeNode", "11", "parent_id"),
        ("testapp.TreeNode", "12", "parent_id"),
    ]
)


def assert_everything_else_is_there(pair: Pair) -> None:
    source, dest = snapshot(pair.source, MODELS), snapshot(pair.dest, MODELS)
    for label, key, _ in EXPECTED:
        del source[label][key]
    assert dest == source


def test_copies_all_other_rows_and_rejects_children_with_their_parents(filled: Pair, tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    outcome = move(filled, path)
    assert outcome.exit_code == 4
    assert outcome.rows_rejected == len(EXPECTED)
    assert rejected(path) == EXPECTED
    assert_everything_else_is_there(filled)
    assert {table: tally.rows_rejected for table, tally in outcome.row_counts.items() if tally.rows_rejected} == {
        "testapp_tag": 3, "testapp_article_tags": 3, "testapp_chapter": 3, "testapp_treenode": 3,
    }  # fmt: skip
    assert outcome.verification is not None
    assert outcome.verification.is_clean


def test_the_file_holds_the_whole_row_and_is_its_owners_alone(filled: Pair, tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    move(filled, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    line = next(line for line in lines_of(path) if line["model"] == "testapp.Tag" and line["pk"] == "7")
    assert line["row"] == {"id": 7, "name": LONG}
    assert line["field"] == "name"
    assert line["table"] == "testapp_tag"
    assert line["reason"]
    assert line["advice"]


@pytest.mark.parametrize(
    ("model", "column", "good", "bad"),
    [
        pytest.param(CharValue, "varchar(20)", "fine", "x" * 21, id="too long"),
        pytest.param(IntegerValue, "integer", 1, 2**40, id="too large"),
    ],
)
def test_stops_at_the_row_and_names_it_unless_told_to_skip(
    filled: Pair, model: Any, column: str, good: Any, bad: Any
) -> None:
    rows = [{"id": n, "label": f"row {n}", "value": bad if n == 46368 else good} for n in (1, 2, 46368, 50000)]
    insert_rows(model, filled.source, rows)
    with pytest.raises(MigratorError) as caught:
        move(filled, None, labels=[model._meta.label], on_error="stop")
    assert model._meta.label in str(caught.value)
    assert "46368" in str(caught.value)
    assert "value" in str(caught.value)
    assert "--on-error skip --rejects FILE" in str(caught.value)


def test_finds_the_row_that_only_the_destination_refuses(filled: Pair, tmp_path: Path) -> None:
    """No question asked before finds it: a check of what the destination alone computes."""
    forbid_unasked(filled.dest, "testapp_article", "name", "article 17", "article 29")
    QuerySet(Tag, using=filled.source).filter(id__in=BAD).update(name="short")
    QuerySet(TreeNode, using=filled.source).filter(id=10).update(name="short")
    with pytest.raises(DataRejected) as caught:
        move(filled, None, on_error="stop")
    assert "testapp.Article with primary key 17" in str(caught.value)
    path = tmp_path / "rejects.jsonl"
    outcome = move(filled, path, resume=True)
    assert outcome.exit_code == 4
    assert rejected(path) == [
        ("testapp.Article", "17", rejected(path)[0][2]),
        ("testapp.Article", "29", rejected(path)[1][2]),
        ("testapp.Article_tags", "17", "article_id"),
        ("testapp.Article_tags", "29", "article_id"),
    ]
    assert QuerySet(Article, using=filled.dest).count() == ROWS - 2


def test_of_two_rows_with_one_unique_value_the_second_is_rejected(databases: FreshDatabases, tmp_path: Path) -> None:
    pair = Pair("postgresql_a", "mysql_b")
    databases.fresh(*pair)
    codes = ("a", "b", "A", "B", "c", "ä")
    insert_rows(UniqueCode, pair.source, [{"id": n, "code": code, "label": "x"} for n, code in enumerate(codes, 1)])
    path = tmp_path / "rejects.jsonl"
    assert move(pair, path, labels=["testapp.UniqueCode"], chunk_size=100).exit_code == 4
    found = list(QuerySet(UniqueCode, using=pair.dest).order_by("id").values_list("code", flat=True))
    assert found == ["a", "b", "c"]
    assert rejected(path) == [("testapp.UniqueCode", str(n), "code") for n in (3, 4, 6)]


def test_text_with_the_nul_character_is_rejected_by_postgresql_alone(databases: FreshDatabases, tmp_path: Path) -> None:
    pair = Pair("mysql_a", "postgresql_b")
    databases.fresh(*pair)
    texts = ("fine", "with \x00 in it", "", None)
    rows = [{"id": n, "label": f"row {n}", "value": text} for n, text in enumerate(texts, 1)]
    insert_rows(TextValue, pair.source, rows)
    path = tmp_path / "rejects.jsonl"
    assert move(pair, path, labels=["testapp.TextValue"]).exit_code == 4
    assert rejected(path) == [("testapp.TextValue", "2", "value")]
    assert lines_of(path)[0]["row"]["value"] == texts[1]


@pytest.mark.sqlite
@pytest.mark.parametrize("chunk_size", [1, 2, 100])
@pytest.mark.parametrize(
    "text", ["41ff42", "64ff", "ff", "eda080"], ids=["first", "middle", "last", "half a character"]
)
@pytest.mark.parametrize("dest", ["postgresql_b", "mysql_b"])
def test_a_row_whose_key_is_no_text_is_set_aside_with_its_bytes(
    databases: FreshDatabases, dest: str, text: str, chunk_size: int, tmp_path: Path
) -> None:
    pair, path = Pair("sqlite_a", dest), tmp_path / "rejects.jsonl"
    databases.fresh(*pair)
    insert_rows(TextKey, pair.source, [{"code": code, "label": code} for code in "bcdef"])
    row = f"CAST(x'{text}' AS TEXT), CAST(x'42ff' AS TEXT)"
    execute(pair.source, f"INSERT INTO testapp_textkey (code, label) VALUES ({row})")
    with pytest.raises(DataRejected, match=rf"testapp\.TextKey with primary key x'{text}', field code, label: "):
        move(pair, None, labels=["testapp.TextKey"], on_error="stop", chunk_size=chunk_size)
    outcome = move(pair, path, labels=["testapp.TextKey"], resume=True, chunk_size=chunk_size, verify="full")
    assert outcome.exit_code == 4
    assert sorted(QuerySet(TextKey, using=dest).values_list("code", flat=True)) == [*"bcdef"]
    assert rejected(path) == [("testapp.TextKey", f"x'{text}'", "code, label")]
    code, label = (base64.b64encode(bytes.fromhex(stored)).decode() for stored in (text, "42ff"))
    assert lines_of(path)[0]["row"] == {"code": {"base64": code}, "label": {"base64": label}}
    assert outcome.verification is not None
    assert [(found.missing, found.status) for found in outcome.verification.contents] == [(1, "equal")]


@pytest.mark.sqlite
def test_a_row_whose_key_its_field_cannot_mean_is_told_of_by_the_comparison(
    databases: FreshDatabases, tmp_path: Path
) -> None:
    pair, path = Pair("sqlite_a", "postgresql_b"), tmp_path / "rejects.jsonl"
    databases.fresh(*pair)
    execute(pair.source, "INSERT INTO testapp_datetimekey VALUES ('soon', 'bad'), ('2026-01-01 12:00:00', 'good')")
    outcome = move(pair, path, labels=["testapp.DateTimeKey"], verify="full")
    assert rejected(path) == [("testapp.DateTimeKey", "soon", "at")]
    assert outcome.verification is not None
    assert [(found.missing, found.status) for found in outcome.verification.contents] == [(1, "equal")]


@pytest.mark.postgresql
@pytest.mark.parametrize("model", [DateValue, DateTimeValue])
@pytest.mark.parametrize("dest", ["sqlite_b", "mysql_b"])
def test_what_the_driver_makes_nothing_of_is_kept_as_its_bytes(
    databases: FreshDatabases, dest: str, model: Any, tmp_path: Path
) -> None:
    pair, path = Pair("postgresql_a", dest), tmp_path / "rejects.jsonl"
    databases.fresh(*pair)
    table, time = model._meta.db_table, " 00:00:00+00" if model is DateTimeValue else ""
    days = (f"2026-01-01{time}", f"0044-03-15{time} BC", f"10000-01-01{time}", "infinity", "-infinity")
    values = ", ".join(f"({n}, 'row {n}', '{day}')" for n, day in enumerate(days, 1))
    execute(pair.source, f"INSERT INTO {table} (id, label, value) VALUES {values}")
    assert move(pair, path, labels=[model._meta.label]).exit_code == 4
    stored = [base64.b64encode(day.encode()).decode() for day in days[1:]]
    assert [line["row"]["value"] for line in lines_of(path)] == [{"base64": text} for text in stored]
    assert [row.pk for row in QuerySet(model, using=dest)] == [1]


def execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


# -- killed ----------------------------------------------------------------------------------------------------------


def killed(pair: Pair, path: Path, *, at: int, before: str) -> None:
    """Kill a run right before its nth statement that has these words."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        count = 0

        def trap(run: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
            nonlocal count
            count += before in str(sql).replace('"', "").replace("`", "")
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return run(sql, params, many, context)

        try:
            with connections[pair.dest].execute_wrapper(trap):
                move(pair, path)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


MOMENTS = {
    "at the record of a chunk with a bad row": (10, "UPDATE migrator_chunk"),
    "after a chunk with a bad row": (12, "UPDATE migrator_chunk"),
    "at the first child": (1, "DELETE FROM testapp_"),
    "between two kinds of children": (4, "DELETE FROM testapp_"),
    "when all is done but the journal": (1, "DROP TABLE migrator_run"),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_no_row_is_listed_twice_after_a_kill(filled: Pair, moment: str, tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    at, before = MOMENTS[moment]
    killed(filled, path, at=at, before=before)
    outcome = move(filled, path, resume=True)
    assert rejected(path) == EXPECTED
    assert_everything_else_is_there(filled)
    assert outcome.exit_code == 4
    assert outcome.rows_rejected == len(EXPECTED)


# -- as a command ------------------------------------------------------------------------------------------------------


def test_the_command_ends_with_4_and_says_how_many(
    databases: FreshDatabases, run_manage: Callable[..., Finished], tmp_path: Path
) -> None:
    pair = STRICT_PAIRS[0]
    databases.fresh(*pair)
    fill(pair.source)
    path = tmp_path / "rejects.jsonl"
    arguments = ("--source", pair.source, "--dest", pair.dest, "--no-input", *LABELS)
    stopped = run_manage("batch_migrate", *arguments)
    assert stopped.code == 1
    assert "Nothing was written." in stopped.err
    assert "Traceback" not in stopped.err
    found = run_manage("batch_migrate", *arguments, "--on-error", "skip", "--rejects", str(path), "--format", "json")
    assert found.code == 4
    assert json.loads(found.out)["exit_code"] == 4
    assert str(len(EXPECTED)) in found.err
    assert rejected(path) == EXPECTED


def test_refuses_to_skip_without_a_file(filled: Pair, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--on-error skip needs --rejects FILE"):
        move(filled, None)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="symbolic link"):
        move(filled, link)
    assert not (tmp_path / "elsewhere").exists()
    assert not QuerySet(Article, using=filled.dest).exists()


# -- before the run ----------------------------------------------------------------------------------------------------


def words(pair: Pair, path: Path, *more: str) -> list[str]:
    ends = ("--source", pair.source, "--dest", pair.dest, "--no-input")
    return ["batch_migrate", *ends, *LABELS, "--on-error", "skip", "--rejects", str(path), *more]


def test_a_dry_run_tells_what_will_be_rejected_and_makes_no_file(filled: Pair, tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    with nothing_changes(*filled):
        finished = run(*words(filled, path, "--dry-run"))
    assert (finished.code, error_in(finished)) == (0, "")
    lines = finished.out.splitlines()
    listed = [line.removeprefix("To be rejected: ") for line in lines if line.startswith("To be rejected: ")]
    assert [line.partition(": ")[0] for line in sorted(listed)] == ["testapp.Tag.name", "testapp.TreeNode.name"]
    by_field = dict(line.split(": ", 1) for line in listed)
    assert by_field["testapp.Tag.name"].startswith("3 values: ")
    assert "(for example primary key 7, 8, 23)" in by_field["testapp.Tag.name"]
    assert "(for example primary key 10)" in by_field["testapp.TreeNode.name"]
    assert LONG.strip() not in finished.out
    assert "DRY RUN  Nothing was written." in lines
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_that_would_stop_still_does(filled: Pair, tmp_path: Path) -> None:
    """What is not about single rows is not to be set aside."""
    path = tmp_path / "rejects.jsonl"
    execute(filled.dest, "ALTER TABLE testapp_tag ADD COLUMN extra integer NOT NULL")
    with nothing_changes(*filled):
        finished = run(*words(filled, path, "--dry-run"))
    assert finished.code == 1
    assert error_in(finished).startswith(
        "CommandError: Nothing was written. 1 problem stops this run:\n  - testapp.Tag: "
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_the_rows_of_another_run_is_not_added_to(filled: Pair, tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    path.write_text('{"model": "of another run"}\n')
    message = f"CommandError: {str(path)!r} holds the rejected rows of another run; name a new file.\n"
    for more in ([], ["--dry-run"]):
        with nothing_changes(*filled):
            finished = run(*words(filled, path, *more))
        assert (finished.code, finished.out, finished.err) == (2, "", message)
    assert path.read_text() == '{"model": "of another run"}\n'
    path.write_text("")
    assert run(*words(filled, path)).code == 4, "an empty file is nobody's"
    assert rejected(path) == EXPECTED


def test_a_resumed_run_adds_to_its_own_file(filled: Pair, tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    killed(filled, path, at=12, before="UPDATE migrator_chunk")
    begun = path.read_text(encoding="utf-8")
    assert begun
    refused = run(*words(filled, path))
    assert refused.code == 2
    assert path.read_text(encoding="utf-8") == begun
    finished = run(*words(filled, path, "--resume"))
    assert finished.code == 4, finished.err
    assert rejected(path) == EXPECTED
