"""What comes after a table's last row is begun by a second session while others are copied, and depends on nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from migrator.databases.copying import finish, recreation
from migrator.databases.copying.load import Load
from migrator.databases.engines.base.catalogue import Catalogue, DeferredObject
from migrator.databases.engines.registry import engine_for
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.side_by_side import Heard, assert_equal, fill, until
from tests.databases.side_by_side import move as move_by_workers
from tests.databases.snapshots import insert_rows
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import TreeNode

if TYPE_CHECKING:
    from migrator.databases.api import RunResult
    from migrator.databases.planning.plan import TablePlan
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.usefixtures("few_rows_are_many")

to_servers = pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[4], PAIRS[5]], ids=str, indirect=True)


def make_helped(pair: Pair, databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Fill a source, all of whose tables count as large enough for a second session."""
    databases.fresh(*pair)
    fill(pair.source)
    monkeypatch.setattr(recreation, "HELPED_ROWS", 1)
    monkeypatch.setattr(finish, "FEW_ROWS", 0)
    return pair


@pytest.fixture
def filled(pair: Pair, databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch) -> Pair:
    return make_helped(pair, databases, monkeypatch)


def move(pair: Pair, heard: Heard | None = None, **options: Any) -> RunResult:
    """Move the four tables by one process."""
    return move_by_workers(pair, heard, jobs=1, **options)


def is_helper() -> bool:
    return threading.current_thread().name == "finisher"


class Steps:
    """Notes who puts what back; the helper can be given something else to do before its first step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, alias: str, instead: Callable[[Catalogue], Any] | None = None):
        self.by_helper: list[str] = []
        self.by_run: list[str] = []
        self.began = threading.Event()
        cls = type(engine_for(connections[alias]).catalogue)
        usual = cls.recreate

        def put_back(catalogue: Catalogue, items: tuple[DeferredObject, ...]) -> None:
            if is_helper() and not self.began.is_set():
                self.began.set()
                if instead is not None:
                    instead(catalogue)
            usual(catalogue, items)
            (self.by_helper if is_helper() else self.by_run).extend(f"{item.kind} {item.name}" for item in items)

        monkeypatch.setattr(cls, "recreate", put_back)


def before_empty_tables(monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> None:
    """Do something when all rows are copied, and only tables without any are left."""
    usual = Load.copy_table
    waiting = [action]

    def copy_table(load: Load, planned: TablePlan, *rest: Any) -> None:
        if waiting and not planned.source_rows:
            waiting.pop()()
        usual(load, planned, *rest)

    monkeypatch.setattr(Load, "copy_table", copy_table)


def workers(alias: str) -> set[int]:
    return engine_for(connections[alias]).workers()


@to_servers
def test_tables_are_finished_while_others_are_copied(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = definitions(filled.dest)
    steps = Steps(monkeypatch, filled.dest)

    def wait() -> None:
        assert until(lambda: len(steps.by_helper) >= 4)

    before_empty_tables(monkeypatch, wait)
    outcome = move(filled)
    assert outcome.exit_code == 0
    assert_equal(filled)
    assert definitions(filled.dest) == before
    assert not set(steps.by_helper) & set(steps.by_run)
    assert {"testapp_article_tags", "testapp_treenode"} <= {
        name for name, t in outcome.row_counts.items() if t.indexing
    }
    assert workers(filled.dest) == set()


@to_servers
def test_a_mistake_in_the_second_session_is_not_kept_quiet(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch, filled.dest, lambda catalogue: [][1])
    before_empty_tables(monkeypatch, lambda: steps.began.wait(20))
    with pytest.raises(IndexError):
        move(filled)


@to_servers
def test_small_tables_take_no_second_session(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recreation, "HELPED_ROWS", 60)
    steps = Steps(monkeypatch, filled.dest)
    assert move(filled).exit_code == 0
    assert steps.by_helper == []
    assert not steps.began.is_set()


@pytest.mark.parametrize("pair", [PAIRS[0]], ids=str, indirect=True)
def test_sqlite_is_written_to_by_one_session(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(finisher: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(recreation.Recreator, "_help", refuse)
    assert move(filled).exit_code == 0


@pytest.mark.parametrize("pair", [PAIRS[1]], ids=str, indirect=True)
def test_foreign_keys_wait_until_rows_without_parents_are_gone(
    filled: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    before = definitions(filled.dest)
    insert_rows(TreeNode, filled.source, [{"id": 1000, "name": "lost", "parent_id": 5000}])
    steps = Steps(monkeypatch, filled.dest)
    held: list[str] = []

    def wait() -> None:
        assert until(lambda: len(steps.by_helper) >= 3)
        held.extend(steps.by_helper)

    before_empty_tables(monkeypatch, wait)
    outcome = move(filled, on_error="skip", rejects=tmp_path / "rejects.jsonl")
    assert sum(tally.rows_rejected for tally in outcome.row_counts.values()) == 1
    assert not any("foreign key" in name for name in held)
    assert definitions(filled.dest) == before
