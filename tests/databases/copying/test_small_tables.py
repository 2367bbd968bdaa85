"""Small tables are copied together, and end as if each had been copied by itself, whatever befalls one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, Error, connections

from migrator.console.progress import Progress, Task
from migrator.databases.api import Console, RunResult, batch_migrate
from migrator.databases.copying import drops, recreation_order, small_tables
from migrator.databases.copying.drops import drop_objects
from migrator.databases.copying.small_tables import SharedTransactions
from migrator.databases.engines.base.catalogue import FOREIGN_KEY
from migrator.databases.journal.records import ChunkState
from migrator.errors import DataRejected, MigratorError
from tests.databases.copying.test_rejects import lines_of
from tests.databases.copying.test_retry import (
    LABELS,
    MODELS,
    ROWS,
    TO_SERVERS,
    At,
    Heard,
    another_session,
    assert_complete,
    end_session,
    fill,
)
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.snapshots import differences, insert_rows, recorded_chunks, snapshot
from tests.management.running import run
from tests.pairs import in_turn
from tests.scenarios.test_few_queries import Statements
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Tag

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = "UPDATE migrator_chunk"
LONG = "long " * 30


@pytest.fixture
def filled(pair: Pair) -> Pair:
    fill(pair.source)
    return pair


class Counted(Progress):
    """Keep the rows of each task that came to its end."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        of_task = SimpleNamespace(rows=done)
        yield SimpleNamespace(advance=lambda count: setattr(of_task, "rows", of_task.rows + count))
        assert of_task.rows == total
        self.rows[label] = of_task.rows


def move(pair: Pair, progress: Progress | None = None, **options: Any) -> RunResult:
    console = Console(progress=progress or Progress())
    return batch_migrate(source=pair.source, dest=pair.dest, console=console, **{"labels": LABELS} | options)


def plain(statements: Statements, words: str) -> list[str]:
    texts = [text.replace('"', "").replace("`", "") for text in statements.texts]
    return [text for text in texts if words in text]


@in_turn
def test_small_tables_are_recorded_once_for_all_and_shown_one_by_one(filled: Pair) -> None:
    before, shown = definitions(filled.dest), Counted()
    with Statements(filled.dest) as statements:
        outcome = move(filled, shown, keep_journal=True)
    assert outcome.exit_code == 0
    assert len(plain(statements, RECORDED)) == 1
    assert {outcome.row_counts[model._meta.db_table].rows_written for model in MODELS} == {ROWS}
    assert {label: shown.rows[label] for label in LABELS} == dict.fromkeys(LABELS, ROWS)
    for model in MODELS:
        (chunk,) = recorded_chunks(filled.dest, model._meta.db_table)
        assert (chunk.state, chunk.rows_read, chunk.rows_written) == (ChunkState.DONE, ROWS, ROWS)
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", [PAIRS[4]], ids=str, indirect=True)
def test_objects_of_small_tables_are_dropped_and_recreated_in_few_statements(filled: Pair) -> None:
    before = definitions(filled.dest)
    with Statements(filled.dest) as statements:
        outcome = move(filled, labels=())
    keys = [item.name for item in outcome.plan.deferred if item.kind == FOREIGN_KEY]
    for words, together in (("DROP CONSTRAINT", drops.TOGETHER), ("ADD CONSTRAINT", recreation_order.TOGETHER)):
        texts = plain(statements, words)
        assert sum(text.count(words) for text in texts) == len(keys)
        assert len(texts) == math.ceil(len(keys) / together)
    (text,) = plain(statements, "ANALYZE ")
    assert all(model._meta.db_table in text for model in MODELS)
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", [PAIRS[4]], ids=str, indirect=True)
def test_an_abandoned_run_recreates_each_key_by_itself(filled: Pair) -> None:
    """How many rows the tables have is not known then, and a large one would keep the others locked."""
    before = definitions(filled.dest)

    def fail() -> None:
        raise DatabaseError

    with (
        connections[filled.dest].execute_wrapper(At(2, "UPDATE migrator_run", fail)),
        pytest.raises(MigratorError, match="80 rows are committed"),
    ):
        move(filled)
    assert definitions(filled.dest) != before
    with Statements(filled.dest) as statements:
        run("batch_migrate", "--source", filled.source, "--dest", filled.dest, "--no-input", "--cleanup", *LABELS)
    texts = plain(statements, "ADD CONSTRAINT")
    assert len(texts) > 5
    assert {text.count("ADD CONSTRAINT") for text in texts} == {1}
    assert_complete(filled, before)


@pytest.mark.parametrize("is_after", [False, True], ids=["before the record", "before the commit"])
@pytest.mark.parametrize("pair", TO_SERVERS, ids=str, indirect=True)
def test_tables_whose_transaction_was_lost_are_copied_one_by_one(filled: Pair, is_after: bool) -> None:
    before, heard = definitions(filled.dest), Heard()
    trap = At(1, RECORDED, lambda: end_session(filled.dest), is_after=is_after)
    with connections[filled.dest].execute_wrapper(trap), Statements(filled.dest) as statements:
        outcome = move(filled, heard)
    assert outcome.exit_code == 0
    assert len([text for text in heard.messages if "trying again" in text]) == 1
    assert len(plain(statements, RECORDED)) == 1 + len(MODELS)
    assert sum(counts.rows_written for counts in outcome.row_counts.values()) == len(MODELS) * ROWS
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[2]], ids=str, indirect=True)
def test_tables_whose_commit_was_not_answered_are_counted_once(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before, connection = definitions(filled.dest), connections[filled.dest]
    commit, losses = connection._commit, list[str]()

    def lose_the_answer() -> None:
        commit()
        if losses == ["soon"]:
            losses[:] = ["now"]
            end_session(filled.dest)
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")

    monkeypatch.setattr(connection, "_commit", lose_the_answer)
    with connection.execute_wrapper(At(1, RECORDED, lambda: losses.append("soon"))):
        outcome = move(filled)
    assert losses == ["now"]
    assert outcome.exit_code == 0
    assert {outcome.row_counts[model._meta.db_table].rows_written for model in MODELS} == {ROWS}
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[2]], ids=str, indirect=True)
def test_a_table_that_a_lingering_session_still_commits_is_not_copied_again(filled: Pair) -> None:
    before = definitions(filled.dest)

    def commit() -> None:
        table = "`table`" if filled.engines[1] == "mysql" else '"table"'
        with another_session(filled.dest) as other, other.cursor() as cursor:
            rows = ", ".join(f"({n}, 'tag {n}')" for n in range(1, ROWS + 1))
            cursor.execute(f"INSERT INTO testapp_tag (id, name) VALUES {rows}")
            cursor.execute(
                f"UPDATE migrator_chunk SET state = 'done', rows_read = {ROWS}, rows_written = {ROWS} "
                f"WHERE {table} = 'testapp_tag'"
            )

    with connections[filled.dest].execute_wrapper(At(1, "FOR UPDATE", commit)), Statements(filled.dest) as statements:
        outcome = move(filled)
    assert outcome.exit_code == 0
    assert len(plain(statements, RECORDED)) == 1
    assert {outcome.row_counts[model._meta.db_table].rows_written for model in MODELS} == {ROWS}
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[2]], ids=str, indirect=True)
def test_of_tables_with_a_bad_row_only_that_row_is_rejected(filled: Pair, tmp_path: Path) -> None:
    insert_rows(Tag, filled.source, [{"id": 77, "name": LONG}])
    path = tmp_path / "rejects"
    outcome = move(filled, on_error="skip", rejects=path)
    assert outcome.exit_code == 4
    assert [(line["model"], line["pk"], line["chunk"]) for line in lines_of(path)] == [("testapp.Tag", "77", 0)]
    source, dest = snapshot(filled.source, MODELS), snapshot(filled.dest, MODELS)
    del source["testapp.Tag"]["77"]
    assert differences(source, dest) == []


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[2]], ids=str, indirect=True)
def test_a_row_that_only_its_copy_finds_stops_the_run_with_its_name(filled: Pair) -> None:
    refusing = {
        "postgresql": "CREATE TRIGGER refuse BEFORE INSERT ON testapp_tag FOR EACH ROW WHEN (NEW.id = 7) "
        "EXECUTE FUNCTION refuse()",
        "mysql": "CREATE TRIGGER refuse BEFORE INSERT ON testapp_tag FOR EACH ROW IF NEW.id = 7 THEN "
        "SIGNAL SQLSTATE '22001' SET MYSQL_ERRNO = 1406, MESSAGE_TEXT = 'not this one'; END IF",
    }
    with connections[filled.dest].cursor() as cursor:
        if filled.engines[1] == "postgresql":
            cursor.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '22001'; END $$"
            )
        cursor.execute(refusing[filled.engines[1]])
    with pytest.raises(DataRejected, match=r"testapp\.Tag with primary key 7.*not this one"):
        move(filled, keep_triggers=True)
    with connections[filled.dest].cursor() as cursor:
        cursor.execute(f"DROP TRIGGER refuse{' ON testapp_tag' if filled.engines[1] == 'postgresql' else ''}")
    assert move(filled, resume=True, keep_triggers=True).exit_code == 0
    assert differences(snapshot(filled.source, MODELS), snapshot(filled.dest, MODELS)) == []


# -- which tables ------------------------------------------------------------------------------------------------------


def planned(name: str, rows: int = 10, **route: Any) -> Any:
    source = SimpleNamespace(outside_snapshot={"changing"})
    usual = {"binds_late": False, "disables_triggers": False, "source": source}
    return SimpleNamespace(table=SimpleNamespace(name=name), source_rows=rows, route=SimpleNamespace(**usual | route))


def shared(width: float | None = None, most_rows: int = 100) -> SharedTransactions:
    plan: Any = SimpleNamespace(row_bytes=lambda table: width)
    return SharedTransactions(plan, most_rows)


def batches(*groups: Any, small: str, done: str = "") -> list[str]:
    found = shared().batches(groups, set(small), set(done))
    return ["".join(table.table.name for table in batch) for batch in found]


def test_a_transaction_is_bounded_in_tables_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    ten = [planned(f"t{n}") for n in range(10)]
    assert shared().can_hold(ten)
    assert not shared(most_rows=99).can_hold(ten)
    assert not shared(width=small_tables.MOST_BYTES / 99).can_hold(ten)
    monkeypatch.setattr(small_tables, "MOST_TABLES", 9)
    assert not shared().can_hold(ten)


@pytest.mark.parametrize("route", [{"binds_late": True}, {"disables_triggers": True}], ids=str)
def test_a_table_that_locks_others_out_or_has_to_be_committed_with_them_shares_none(route: dict[str, bool]) -> None:
    assert not shared().can_hold([planned("a", **route)])


def test_a_table_that_changes_during_the_run_shares_none() -> None:
    assert not shared().can_hold([planned("changing")])


def test_small_tables_go_together_and_keep_their_order() -> None:
    ring = [planned("x", binds_late=True), planned("y", binds_late=True)]
    groups = [[planned("L", 500)], [planned("a")], [planned("b"), planned("c")], [planned("M")], [planned("d")],
              [planned("e", 70)], [planned("f", 40)], ring, [planned("g")]]  # fmt: skip
    assert batches(*groups, small="abcdefgxy") == ["L", "abc", "M", "de", "f", "xy", "g"]


def test_tables_without_rows_do_not_part_others() -> None:
    ring = [planned("x", binds_late=True), planned("y", binds_late=True)]
    groups = [[planned("a")], [planned("z", 0)], [planned("b")], ring]
    assert batches(*groups, small="abzx", done="zx") == ["z", "ab", "xy"]
    assert batches(*groups, small="", done="ab") == ["a", "z", "b", "xy"]


# -- what is dropped before --------------------------------------------------------------------------------------------


class OneByOne:
    """A catalogue that drops some objects only alone, and a run that knows nothing of transient errors."""

    def __init__(self, stubborn: str) -> None:
        self.catalogue, self._stubborn = self, stubborn
        self.dropped: list[str] = []

    def drop(self, items: list[str]) -> None:
        if len(items) > 1 and self._stubborn in items:
            raise Error("not together")
        self.dropped.append("".join(items))

    def run(self, action: Any) -> Any:
        return action()


def test_objects_that_cannot_be_dropped_together_are_dropped_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "TOGETHER", 3)
    dest: Any = OneByOne("e")
    items: Any = list("abcdefgh")
    drop_objects(dest, items, dest)
    assert dest.dropped == ["abc", "d", "e", "f", "gh"]
