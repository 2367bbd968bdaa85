"""Several processes find the differences that one would have found, and bring them up to date."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.comparison import Comparison, verify_counts
from migrator.databases.parallel import comparing
from migrator.databases.result import RunResult
from migrator.databases.run import RunExecutor
from migrator.databases.verification.table_comparison import TableComparison
from migrator.errors import MigratorError, UsageError
from migrator.processes.workers import Pool
from tests.databases.side_by_side import LABELS, MODELS, SERVER_PAIRS, Heard, fill, move
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Article, Tag, TreeNode, UUIDKey

side_by_side = pytest.mark.parametrize("pair", SERVER_PAIRS, ids=str, indirect=True)
from_both = pytest.mark.parametrize("pair", [SERVER_PAIRS[0], SERVER_PAIRS[2]], ids=str, indirect=True)
WITH_UUID = [*LABELS, "testapp.UUIDKey"]
KEYS = [uuid.UUID(int=number * 2**120) for number in range(1, 41)]


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let several processes compare few rows, and list those that begin."""
    numbers: list[int] = []
    start = Pool.start

    def noted(pool: Pool, number: int) -> None:
        numbers.append(number)
        start(pool, number)

    monkeypatch.setattr(comparing, "HELPED_ROWS", 0)
    monkeypatch.setattr(Pool, "start", noted)
    return numbers


def fill_all(alias: str) -> None:
    fill(alias)
    insert_rows(UUIDKey, alias, [{"id": key, "label": f"{number}"} for number, key in enumerate(KEYS)])


def change(alias: str) -> None:
    """Change rows of four tables in a destination, delete some, and add others."""
    QuerySet(Tag, using=alias).filter(pk__in=(3, 41)).update(name="changed")
    QuerySet(Article.tags.through, using=alias).filter(pk__in=(7, 8)).delete()
    QuerySet(TreeNode, using=alias).filter(pk=60).update(name="another")
    QuerySet(UUIDKey, using=alias).filter(pk=KEYS[0]).delete()
    QuerySet(UUIDKey, using=alias).filter(pk=KEYS[9]).update(label="changed")
    insert_rows(Tag, alias, [{"id": 1000, "name": "extra"}])


@contextmanager
def changed_before_the_comparison(monkeypatch: pytest.MonkeyPatch, alias: str) -> Iterator[None]:
    """Change the destination after the copy, before its values are compared."""
    verify = RunExecutor._verify

    def change_and_verify(executor: RunExecutor, plan: Any) -> Any:
        change(alias)
        return verify(executor, plan)

    with monkeypatch.context() as patched:
        patched.setattr(RunExecutor, "_verify", change_and_verify)
        yield


def found_in(outcome: RunResult | Comparison) -> dict[str, Any]:
    assert outcome.verification is not None
    return {
        one.label: (
            one.status, one.method, one.checked, one.missing, one.extra, one.changed,
            sorted((each.kind, each.key, each.fields) for each in one.differences),
        )
        for one in outcome.verification.contents
    }  # fmt: skip


@side_by_side
def test_finds_what_one_process_finds(pair: Pair, started: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    fill_all(pair.source)
    with changed_before_the_comparison(monkeypatch, pair.dest):
        by_three = move(pair, labels=WITH_UUID, jobs=3, verify="full")
        assert started == [0, 1, 2, 0, 1, 2]  # to copy, and to compare
        by_one = move(pair, labels=WITH_UUID, jobs=1, verify="full", replace=pair.dest)
    assert by_three.exit_code == by_one.exit_code == 3
    assert found_in(by_three) == found_in(by_one)
    assert found_in(by_three)["testapp.Tag"][3:6] == (0, 1, 2)
    assert found_in(by_three)["testapp.UUIDKey"][3:6] == (1, 0, 1)


@side_by_side
@pytest.mark.parametrize("sent", [1_000, 1], ids=["few differ", "many differ"])
def test_an_update_compares_in_several_processes(
    pair: Pair, started: list[int], monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    """The command itself finds the rows that differ in a range where too many do."""
    monkeypatch.setattr(comparing, "MOST_SENT", sent)
    fill_all(pair.source)
    assert move(pair, labels=WITH_UUID, jobs=1).exit_code == 0
    change(pair.dest)
    outcome = move(pair, labels=WITH_UUID, jobs=3, update=True, verify="full")
    assert outcome.exit_code == 0, outcome.verification
    assert started == [0, 1, 2, 0, 1, 2]  # to find the differences, and to verify
    models = (*MODELS, UUIDKey)
    assert differences(snapshot(pair.source, models), snapshot(pair.dest, models)) == []
    updates = {name: (one.compared, one.changes) for name, one in (outcome.updates or {}).items() if one.changes}
    assert updates == {
        "testapp_tag": (60, 3),
        "testapp_article_tags": (60, 2),
        "testapp_treenode": (60, 1),
        "testapp_uuidkey": (40, 2),
    }


@from_both
def test_compares_the_snapshot_while_the_source_changes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_all(pair.source)
    compare = comparing.ValuesOfTables.by

    def change_alone() -> None:
        change(pair.source)
        connections[pair.source].close()

    def change_and_compare(values: Any, *arguments: Any) -> Any:
        thread = threading.Thread(target=change_alone)  # which has connections of its own
        thread.start()
        thread.join()
        return compare(values, *arguments)

    monkeypatch.setattr(comparing.ValuesOfTables, "by", change_and_compare)
    assert move(pair, labels=WITH_UUID, jobs=2, verify="full").exit_code == 0
    assert QuerySet(Tag, using=pair.source).filter(name="changed").exists()


@from_both
def test_the_command_compares_what_killed_processes_have_left(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_all(pair.source)
    compare, parent = TableComparison.compare, os.getpid()

    def killed_at_first(comparison: TableComparison, bounds: Any, *arguments: Any) -> None:
        if os.getpid() != parent and comparison.begin().label == "testapp.Article":
            os.kill(os.getpid(), signal.SIGKILL)
        compare(comparison, bounds, *arguments)

    monkeypatch.setattr(TableComparison, "compare", killed_at_first)
    heard = Heard()
    with changed_before_the_comparison(monkeypatch, pair.dest):
        outcome = move(pair, heard, labels=WITH_UUID, jobs=2, verify="full")
    assert [text for text in heard.messages if "fewer" in text] == ["  One process fewer, which was killed."] * 2
    assert outcome.exit_code == 3
    assert found_in(outcome)["testapp.Tag"][3:6] == (0, 1, 2)
    assert found_in(outcome)["testapp.Article"][:3] == ("equal", "checksum", 60)


@from_both
def test_an_error_in_one_process_ends_the_comparison(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_all(pair.source)
    parent = os.getpid()

    def fails(comparison: TableComparison, *arguments: Any) -> None:
        assert os.getpid() != parent
        raise MigratorError("a value cannot be compared")

    monkeypatch.setattr(TableComparison, "compare", fails)
    with pytest.raises(MigratorError, match="a value cannot be compared"):
        move(pair, labels=WITH_UUID, jobs=2, verify="full")


@from_both
def test_a_difference_that_cannot_be_sent_is_found_by_the_command(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values of a field of the project's own may be anything."""
    fill_all(pair.source)
    note = TableComparison._note

    def with_a_function(comparison: TableComparison, found: Any, difference: Any) -> None:
        values: dict[str, tuple[Callable[[], None], None]] = {"name": (lambda: None, None)}
        object.__setattr__(difference, "values", values)
        note(comparison, found, difference)

    monkeypatch.setattr(TableComparison, "_note", with_a_function)
    heard = Heard()
    with changed_before_the_comparison(monkeypatch, pair.dest):
        outcome = move(pair, heard, labels=WITH_UUID, jobs=2, verify="full")
    assert heard.with_words("values of 'testapp_")
    assert outcome.exit_code == 3
    assert found_in(outcome)["testapp.Tag"][3:6] == (0, 1, 2)


# -- without a run ----------------------------------------------------------------------------------------------------


def compared(pair: Pair, jobs: int) -> Comparison:
    return verify_counts(source=pair.source, dest=pair.dest, labels=WITH_UUID, mode="full", jobs=jobs, chunk_size=5)


@side_by_side
def test_a_comparison_finds_what_one_process_finds(pair: Pair, started: list[int]) -> None:
    fill_all(pair.source)
    assert move(pair, labels=WITH_UUID, jobs=1).exit_code == 0
    change(pair.dest)
    by_three = compared(pair, 3)
    assert started == [0, 1, 2]
    assert not by_three.notes
    assert found_in(by_three) == found_in(compared(pair, 1))
    assert found_in(by_three)["testapp.Tag"][3:6] == (0, 1, 2)
    assert found_in(by_three)["testapp.UUIDKey"][3:6] == (1, 0, 1)


@from_both
def test_a_comparison_reads_both_sides_at_one_moment(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_all(pair.source)
    assert move(pair, labels=WITH_UUID, jobs=1).exit_code == 0
    compare = comparing.ValuesOfTables.by

    def change_both() -> None:
        for alias in (pair.source, pair.dest):
            QuerySet(Tag, using=alias).filter(pk=5).update(name=f"changed in {alias}")
            connections[alias].close()

    def change_and_compare(values: Any, *arguments: Any) -> Any:
        thread = threading.Thread(target=change_both)
        thread.start()
        thread.join()
        return compare(values, *arguments)

    monkeypatch.setattr(comparing.ValuesOfTables, "by", change_and_compare)
    assert compared(pair, 2).exit_code == 0
    monkeypatch.undo()
    assert compared(pair, 2).exit_code == 3


@pytest.mark.parametrize("pair", [PAIRS[3]], ids=str, indirect=True)
def test_one_process_compares_a_file_and_that_is_noted(pair: Pair, started: list[int]) -> None:
    fill_all(pair.source)
    assert move(pair, labels=WITH_UUID, jobs=1).exit_code == 0
    found = compared(pair, 3)
    assert found.exit_code == 0
    assert started == []
    (note,) = found.notes
    assert str(note).startswith(f"{pair.dest}: only 1 process compared: the snapshot of a SQLite session cannot be")


def test_a_comparison_refuses_a_number_of_processes_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="jobs is 65; it has to be a number of processes from 1 to 64"):
        verify_counts(source="default", dest="sqlite_b", mode="full", jobs=65)
