"""A run that is killed at any moment goes on, and ends as if nothing had happened: nothing lost, nothing doubled."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.console.progress import Progress
from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.engines.registry import engine_for
from migrator.databases.journal import signing
from migrator.databases.journal.records import Chunk, Run
from migrator.databases.parallel import comparing
from migrator.databases.planning import deferred_objects
from migrator.databases.run_options import Console
from migrator.databases.verification import committed_rows
from migrator.errors import MigratorError, Refused
from migrator.processes.workers import Pool
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.snapshots import Snapshot, differences, insert_rows, snapshot
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Article, Constrained, Pizzeria, Place, Restaurant, Tag, TreeNode, UUIDKey

if TYPE_CHECKING:
    from tests.manage import Finished
    from tests.servers.databases import FreshDatabases

pytestmark = [pytest.mark.usefixtures("few_rows_are_many"), pytest.mark.slow]

# Each engine once as source and once as destination.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]
SQLITE = Pair("sqlite_a", "sqlite_b")
MODELS = [Tag, Article, Article.tags.through, TreeNode, Constrained, Place, Restaurant, Pizzeria]
LABELS = ["testapp.Article", "testapp.Tag", "testapp.TreeNode", "testapp.Constrained", "testapp.Pizzeria"]
ROWS = 20
PARTS = 3  # of a run, each with moments of its own
JOURNAL = {"migrator_run", "migrator_chunk"}


def fill(alias: str) -> None:
    numbers = range(1, ROWS + 1)
    insert_rows(Tag, alias, [{"id": n * n - 5, "name": f"tag {n}"} for n in numbers])
    insert_rows(Article, alias, [{"id": n, "name": f"article {n}"} for n in numbers])
    insert_rows(
        Article.tags.through, alias, [{"article_id": n, "tag_id": m * m - 5} for n in numbers for m in (n, 1) if m != n]
    )
    insert_rows(TreeNode, alias, [{"id": n, "name": f"node {n}", "parent_id": ROWS + 1 - n} for n in numbers])
    insert_rows(
        Constrained, alias,
        [{"id": -n, "code": f"c{n}", "serial": n, "low": -n, "high": n, "mail": f"{n}@example.org"} for n in numbers],
    )  # fmt: skip
    insert_rows(Place, alias, [{"id": n, "name": f"place {n}"} for n in numbers])
    insert_rows(Restaurant, alias, [{"place_ptr_id": n, "seats": n} for n in numbers if n % 2])
    insert_rows(Pizzeria, alias, [{"restaurant_ptr_id": n} for n in numbers if n % 4 == 1])


@pytest.fixture
def filled(pair: Pair) -> Pair:
    fill(pair.source)
    return pair


def rows_of(model: Any, alias: str) -> QuerySet[Any, Any]:
    return QuerySet(model, using=alias)


def move(pair: Pair, **options: Any) -> RunResult:
    arguments = {"labels": LABELS, "chunk_size": 6} | options
    return batch_migrate(source=pair.source, dest=pair.dest, **arguments)


def state(alias: str) -> tuple[Snapshot, list[str]]:
    """Tell all that a run may change and has to leave as it should be."""
    return snapshot(alias, MODELS), definitions(alias)


def journal_tables(alias: str) -> set[str]:
    return JOURNAL & set(connections[alias].introspection.table_names())


def next_keys_are_free(alias: str) -> None:
    """Insert a row into every table the way the application would, by the database's own counter."""
    for model, values in ((Tag, {"name": "new"}), (Article, {"name": "new"}), (TreeNode, {"name": "new"})):
        new = model(**values)
        new.save(using=alias, force_insert=True)
        assert new.pk > ROWS


# -- killed ----------------------------------------------------------------------------------------------------------


class Trap:
    """Kills this process at the nth statement (of those that match) to a database, before it or after its answer."""

    def __init__(self, at: int, matches: str = "", *, is_after: bool = False) -> None:
        self.count, self._at, self._matches, self._is_after = 0, at, re.compile(matches), is_after

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += bool(self._matches.search(str(sql)))
        if self.count == self._at and not self._is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = execute(sql, params, many, context)
        if self.count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def in_a_process_of_its_own(action: Callable[[], Any]) -> int:
    """Run an action in a copy of this process, and return how that ended (negative: by this signal)."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def killed(pair: Pair, trap: Trap, **options: Any) -> int:
    def run() -> None:
        with connections[pair.dest].execute_wrapper(trap):
            move(pair, **options)

    code = in_a_process_of_its_own(run)
    wait_until_free(pair)
    return code


def cut_off(pair: Pair, *, at: int = 1, before: str, **options: Any) -> None:
    """Kill a run right before the nth statement that matches."""
    assert killed(pair, Trap(at, before), **options) == -signal.SIGKILL
    assert journal_tables(pair.dest) == JOURNAL


def statements_of_a_run(pair: Pair) -> tuple[int, int]:
    """Count the destination's statements of a whole run, and of those that come before its first write."""
    connection = connections[pair.dest]
    counter, first_write = Trap(0), 0

    def find_first_write(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal first_write
        if not first_write and sql.startswith("CREATE TABLE"):
            first_write = counter.count
        return execute(sql, params, many, context)

    with connection.execute_wrapper(counter), connection.execute_wrapper(find_first_write):
        assert move(pair).exit_code == 0
    return counter.count, first_write


def wait_until_free(pair: Pair) -> None:
    """Wait until the server has noticed that the killed process is gone, so that its lock is free."""
    engine = engine_for(connections[pair.dest])
    deadline = time.monotonic() + 10
    while not engine.lock():
        assert time.monotonic() < deadline, "the killed run's lock was never given back"
        time.sleep(0.01)
    engine.unlock()
    engine.close()


def assert_complete(pair: Pair, before: list[str]) -> None:
    assert differences(snapshot(pair.source, MODELS), snapshot(pair.dest, MODELS)) == []
    assert definitions(pair.dest) == before
    assert journal_tables(pair.dest) == set()
    next_keys_are_free(pair.dest)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_goes_on_wherever_it_was_killed(filled: Pair, part: int, databases: FreshDatabases) -> None:
    """Kill the run at moments spread over all that it says to the destination, and once more while it goes on."""
    before = definitions(filled.dest)
    total, first_write = statements_of_a_run(filled)
    chosen = random.Random(part)  # noqa: S311
    length = (total - first_write) // PARTS + 1
    for _ in range(2):
        databases.fresh(filled.dest)
        at = first_write + part * length + chosen.randrange(length)
        is_after = chosen.random() < 0.5
        assert killed(filled, Trap(at, is_after=is_after)) in (-signal.SIGKILL, 0)
        if journal_tables(filled.dest) == JOURNAL:
            again = chosen.randrange(total)
            assert killed(filled, Trap(again, is_after=is_after), resume=True) in (-signal.SIGKILL, 0)
        try:
            if move(filled, resume=True).exit_code == 3:  # killed before there was anything to go on with
                assert not rows_of(Tag, filled.dest).exists()
                assert move(filled).exit_code == 0
            assert_complete(filled, before)
        except BaseException as error:
            error.add_note(f"killed at statement {at} of {total}, {'after' if is_after else 'before'} it")
            raise


CHUNK_RECORDED = "UPDATE .migrator_chunk."
PUT_BACK = {
    "sqlite": '^CREATE INDEX "',
    "postgresql": "^CREATE INDEX|ADD CONSTRAINT",
    "mysql": "^ALTER TABLE .* ADD (KEY|CONSTRAINT)",
}
STAGES = {
    "before the first chunk": "INSERT INTO .migrator_chunk.",
    "between a chunk's rows and its record": CHUNK_RECORDED,
    "before the first object is back": None,
    "before the journal is dropped": "DROP TABLE .migrator_run.",
    "while the journal is dropped": "DROP TABLE .migrator_chunk.",
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_goes_on_after_a_kill(filled: Pair, stage: str) -> None:
    before = definitions(filled.dest)
    pattern = STAGES[stage] or PUT_BACK[filled.engines[1]]
    assert killed(filled, Trap(2 if "object" in stage else 1, pattern)) == -signal.SIGKILL
    outcome = move(filled, resume=True)
    assert outcome.exit_code == 0
    assert_complete(filled, before)


def test_a_kill_while_objects_are_off_leaves_them_off_and_known(filled: Pair) -> None:
    """Or the tests above would not show that they come back."""
    before = definitions(filled.dest)
    cut_off(filled, before=CHUNK_RECORDED, at=4)
    missing = set(before) - set(definitions(filled.dest))
    assert len(missing) >= 4
    run = QuerySet(Run, using=filled.dest).get()
    assert {item.name for item in run.dropped_objects() if any(item.name in line for line in missing)}


def test_copies_no_committed_chunk_again(databases: FreshDatabases) -> None:
    databases.fresh(*SQLITE)
    fill(SQLITE.source)
    with connections[SQLITE.dest].cursor() as cursor:
        cursor.execute("CREATE TABLE seen (id integer, rounds integer)")
        cursor.execute("CREATE TRIGGER see AFTER INSERT ON testapp_tag BEGIN INSERT INTO seen VALUES (new.id, 1); END")
    cut_off(SQLITE, before=CHUNK_RECORDED, at=7)
    assert move(SQLITE, resume=True).exit_code == 0
    with connections[SQLITE.dest].cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT id) FROM seen")
        assert cursor.fetchone() == (ROWS, ROWS)


# -- the source changed in between -----------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[str], Any]] = {
    "a row updated": lambda alias: rows_of(Article, alias).filter(id=3).update(name="changed"),
    "a row updated to the empty text": lambda alias: rows_of(Article, alias).filter(id=4).update(name=""),
    "a row added below": lambda alias: insert_rows(Article, alias, [{"id": -7, "name": "new"}]),
    "a row added above": lambda alias: insert_rows(Article, alias, [{"id": 700, "name": "new"}]),
    "a row deleted": lambda alias: rows_of(Place, alias).filter(id=2).delete(),
    "a deleted row replaced": lambda alias: (
        rows_of(Place, alias).filter(id=2).delete(),
        insert_rows(Place, alias, [{"id": 900, "name": "new"}]),
    ),
    "a key changed": lambda alias: rows_of(Place, alias).filter(id=2).update(id=902),
    "two unique values exchanged": lambda alias: exchange(alias),
    "all rows deleted": lambda alias: [
        rows_of(model, alias)._raw_delete(alias) for model in (Pizzeria, Restaurant, Place)
    ],
}


def exchange(alias: str) -> None:
    """Exchange two values of a unique column between rows of different chunks."""
    for key, mail in ((-1, "kept@example.org"), (-20, "1@example.org"), (-1, "20@example.org")):
        rows_of(Constrained, alias).filter(id=key).update(mail=mail)


@pytest.mark.parametrize(
    ("pair", "change"),
    [
        *((THREE_PAIRS[0], change) for change in CHANGES),
        *((pair, change) for pair in THREE_PAIRS[1:] for change in ("a row updated", "a deleted row replaced")),
    ],
    ids=str,
    indirect=["pair"],
)
def test_ends_with_the_source_as_it_is_when_it_goes_on(filled: Pair, change: str) -> None:
    """What is committed already is compared with the source again."""
    before = definitions(filled.dest)
    cut_off(filled, before=CHUNK_RECORDED, at=25)
    assert rows_of(Article, filled.dest).count() == rows_of(Place, filled.dest).count() == ROWS
    CHANGES[change](filled.source)
    assert move(filled, resume=True).exit_code == 0
    assert_complete(filled, before)


@pytest.mark.parametrize(
    ("pair", "change"),
    [*zip(THREE_PAIRS, ("a row updated", "a row added above", "a row deleted"), strict=True)],
    ids=str,
    indirect=["pair"],
)
def test_a_change_is_seen_even_when_only_finishing_was_left(filled: Pair, change: str) -> None:
    before = definitions(filled.dest)
    cut_off(filled, before=PUT_BACK[filled.engines[1]])
    CHANGES[change](filled.source)
    assert move(filled, resume=True).exit_code == 0
    assert_complete(filled, before)


def test_a_row_changed_in_the_destination_is_corrected(filled: Pair) -> None:
    before = definitions(filled.dest)
    cut_off(filled, before=CHUNK_RECORDED, at=12)
    rows_of(Article, filled.dest).filter(id=3).update(name="meddled with")
    rows_of(Article, filled.dest).filter(id=9).delete()
    assert move(filled, resume=True).exit_code == 0
    assert_complete(filled, before)


class Spoken(Console):
    """Keeps the messages of a run."""

    def __init__(self) -> None:
        self.said: list[str] = []
        said = self.said

        class Keeping(Progress):
            def message(self, text: str) -> None:
                said.append(text)

        super().__init__(progress=Keeping())


def refuse_to_read_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> Iterator[Any]:
        raise AssertionError("rows were read")

    for name in ("differing_rows", "merged_rows"):
        monkeypatch.setattr(committed_rows, name, refuse)


@pytest.mark.parametrize("change", ["updated", "deleted", "added"])
@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_only_chunks_that_differ_are_copied_again(filled: Pair, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All others are proven by checksums, and no value is read."""
    before = definitions(filled.dest)
    cut_off(filled, before=CHUNK_RECORDED, at=25)
    assert rows_of(Place, filled.dest).count() == ROWS
    {
        "updated": lambda: rows_of(Place, filled.source).filter(id=9).update(name="changed"),
        "deleted": lambda: rows_of(Place, filled.source).filter(id=10)._raw_delete(filled.source),
        "added": lambda: (
            rows_of(Place, filled.source).filter(id=20)._raw_delete(filled.source),
            insert_rows(Place, filled.source, [{"id": 20, "name": "another"}, {"id": 21, "name": "new"}]),
        ),
    }[change]()
    refuse_to_read_rows(monkeypatch)
    console = Spoken()
    assert move(filled, resume=True, console=console).exit_code == 0
    again = [line.strip() for line in console.said if "again." in line]
    assert again == ["testapp.Place: 1 chunk changed since the interruption and will be copied again."]
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_rows_with_keys_of_any_type_are_proven_by_checksums(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The databases may sort such keys differently, so one checksum of all rows proves that nothing has changed."""
    insert_rows(UUIDKey, pair.source, [{"id": UUID(int=n**9), "label": f"row {n}"} for n in range(40)])
    cut_off(pair, before=CHUNK_RECORDED, at=5, labels=["testapp.UUIDKey"])
    with monkeypatch.context() as context:
        refuse_to_read_rows(context)
        cut_off(pair, before=CHUNK_RECORDED, labels=["testapp.UUIDKey"], resume=True)
    rows_of(UUIDKey, pair.source).filter(label="row 3").update(label="changed")
    rows_of(UUIDKey, pair.source).filter(label="row 39").update(label="changed")
    assert move(pair, labels=["testapp.UUIDKey"], resume=True).exit_code == 0
    assert differences(snapshot(pair.source, [UUIDKey]), snapshot(pair.dest, [UUIDKey])) == []


def test_only_the_key_that_finds_rows_is_recreated_before_they_are_compared(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others would slow down the rest of the copy, and are recreated after it."""
    pair = Pair("postgresql_a", "postgresql_b")
    databases.fresh(*pair)
    monkeypatch.setattr(deferred_objects, "FEWEST_ROWS", 5)
    monkeypatch.setattr(committed_rows, "SPAN_ROWS", 6)
    fill(pair.source)
    before = definitions(pair.dest)
    cut_off(pair, before=CHUNK_RECORDED, at=3, labels=["testapp.Constrained"])
    said: list[str] = []

    def listen(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        found = re.search(r"ADD CONSTRAINT \S+ (PRIMARY KEY|UNIQUE)|(string_agg|UPDATE .migrator_chunk)", sql)
        if found and (found[1] or found[2]) not in said:
            said.append(found[1] or found[2])
        return execute(sql, params, many, context)

    with connections[pair.dest].execute_wrapper(listen):
        assert move(pair, labels=["testapp.Constrained"], resume=True).exit_code == 0
    assert said == ["PRIMARY KEY", "string_agg", 'UPDATE "migrator_chunk', "UNIQUE"]
    assert definitions(pair.dest) == before


# -- compared by several processes ------------------------------------------------------------------------------------

IN_PARALLEL = [pair for pair in PAIRS if "sqlite" not in pair.engines]


@pytest.fixture
def shared_recheck(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let several processes compare few rows, and list those that begin."""
    started: list[int] = []
    start = Pool.start

    def noted(pool: Pool, number: int) -> None:
        started.append(number)
        start(pool, number)

    monkeypatch.setattr(comparing, "HELPED_ROWS", 0)
    monkeypatch.setattr(committed_rows, "SPAN_ROWS", 6)
    monkeypatch.setattr(Pool, "start", noted)
    return started


@pytest.mark.parametrize("pair", IN_PARALLEL, ids=str, indirect=True)
def test_several_processes_compare_what_is_committed(filled: Pair, shared_recheck: list[int]) -> None:
    before = definitions(filled.dest)
    cut_off(filled, before=CHUNK_RECORDED, at=25)
    for change in ("a row updated", "a row deleted", "two unique values exchanged"):
        CHANGES[change](filled.source)
    assert move(filled, resume=True, jobs=2).exit_code == 0
    assert shared_recheck == [0, 1, 0, 1]  # to compare, and to copy
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", IN_PARALLEL, ids=str, indirect=True)
def test_the_others_compare_what_a_killed_process_has_left(
    filled: Pair, shared_recheck: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = definitions(filled.dest)
    cut_off(filled, before=CHUNK_RECORDED, at=25)
    CHANGES["a row updated"](filled.source)
    compare, parent = committed_rows.CommittedRows.changes, os.getpid()

    def killed_at_first(committed: Any, span: Any) -> Any:
        if os.getpid() != parent and (span.table, span.first) == ("testapp_article", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return compare(committed, span)

    monkeypatch.setattr(committed_rows.CommittedRows, "changes", killed_at_first)
    console = Spoken()
    assert move(filled, resume=True, jobs=2, console=console).exit_code == 0
    assert [line for line in console.said if "fewer" in line] == ["  One process fewer, which was killed."] * 2
    assert_complete(filled, before)


def test_an_error_in_one_process_ends_the_run(
    databases: FreshDatabases, shared_recheck: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair("postgresql_a", "postgresql_b")
    databases.fresh(*pair)
    fill(pair.source)
    before = definitions(pair.dest)
    cut_off(pair, before=CHUNK_RECORDED, at=25)

    def fail(committed: Any, span: Any) -> Any:
        raise MigratorError("It failed.")

    with monkeypatch.context() as context:
        context.setattr(committed_rows.CommittedRows, "changes", fail)
        with pytest.raises(MigratorError, match="It failed"):
            move(pair, resume=True, jobs=2)
    assert move(pair, resume=True, jobs=2).exit_code == 0
    assert_complete(pair, before)


def test_trusts_committed_chunks_when_told_to(databases: FreshDatabases) -> None:
    databases.fresh(*SQLITE)
    fill(SQLITE.source)
    cut_off(SQLITE, before=CHUNK_RECORDED, at=7)
    rows_of(Article, SQLITE.source).update(name="changed")
    rows_of(TreeNode, SQLITE.source).update(name="changed")
    assert move(SQLITE, resume=True, trust_done=True).exit_code == 0
    assert not rows_of(Article, SQLITE.dest).filter(name="changed").exists()
    assert rows_of(TreeNode, SQLITE.dest).filter(name="changed").count() == ROWS


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture
def unfinished(databases: FreshDatabases) -> Pair:
    """A run between two SQLite files that was killed half way through the first table."""
    databases.fresh(*SQLITE)
    fill(SQLITE.source)
    cut_off(SQLITE, before=CHUNK_RECORDED, at=3)
    return SQLITE


def assert_refused(pair: Pair, *parts: str, **options: Any) -> None:
    found = state(pair.dest), journal_rows(pair.dest)
    with pytest.raises(Refused) as caught:
        move(pair, **options)
    for part in parts:
        assert part in str(caught.value)
    assert (state(pair.dest), journal_rows(pair.dest)) == found


def journal_rows(alias: str) -> list[Any]:
    return [list(rows_of(model, alias).order_by("pk").values()) for model in (Run, Chunk)]


def test_refuses_to_begin_anew_over_an_unfinished_run(unfinished: Pair) -> None:
    assert_refused(unfinished, "'sqlite_b' holds an unfinished run", "--resume", "--cleanup")
    assert_refused(unfinished, "'sqlite_b' holds an unfinished run", replace="sqlite_b")


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"labels": [*LABELS, "testapp.Ring"]}, "table 'testapp_ring' is new"),
        ({"labels": LABELS[1:]}, "table 'testapp_article' is gone"),
        ({"keep_indexes": True}, "keeps indexes"),
    ],
    ids=str,
)
def test_refuses_to_go_on_with_something_else(unfinished: Pair, options: dict[str, Any], difference: str) -> None:
    assert_refused(unfinished, "plan was different", difference, "--cleanup", resume=True, **options)


def test_refuses_to_go_on_with_other_columns(unfinished: Pair) -> None:
    run = rows_of(Run, unfinished.dest).get()
    rows_of(Run, unfinished.dest).update(identity=run.identity.replace('"seats"', '"chairs"'))
    assert_refused(unfinished, "the columns or rows of table 'testapp_restaurant'", resume=True)


def test_refuses_to_go_on_from_another_source(unfinished: Pair, databases: FreshDatabases) -> None:
    databases.fresh("default")
    fill("default")
    assert_refused(Pair("default", "sqlite_b"), "plan was different: source", resume=True)


def test_goes_on_with_another_chunk_size(unfinished: Pair) -> None:
    """It says how rows are grouped, and not which rows there are."""
    assert move(unfinished, resume=True, chunk_size=1000).exit_code == 0
    assert differences(snapshot(unfinished.source, MODELS), snapshot(unfinished.dest, MODELS)) == []


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_has_nothing_to_go_on_with_after_success(filled: Pair) -> None:
    assert move(filled).exit_code == 0
    found = state(filled.dest)
    said: list[str] = []

    def listen(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        said.append(str(sql))
        return execute(sql, params, many, context)

    with connections[filled.dest].execute_wrapper(listen):
        outcome = move(filled, resume=True)
    assert outcome.exit_code == 0
    assert outcome.remark == f"No unfinished run in {filled.dest!r}: nothing to resume."
    assert state(filled.dest) == found
    writes = ("INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "TRUNCATE")
    assert [sql for sql in said if sql.lstrip().upper().startswith(writes)] == []


# -- given up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["copying", "putting back"])
@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_giving_up_puts_back_what_was_taken_off(filled: Pair, moment: str) -> None:
    before = definitions(filled.dest)
    if moment == "copying":
        # After all parents, so that the foreign keys can come back.
        cut_off(filled, before=CHUNK_RECORDED, at=25)
    else:
        cut_off(filled, before=PUT_BACK[filled.engines[1]], at=2)
    assert definitions(filled.dest) != before
    outcome = move(filled, cleanup=True)
    assert outcome.exit_code == 0
    assert "abandoned" in str(outcome.remark)
    assert definitions(filled.dest) == before
    assert journal_tables(filled.dest) == set()
    assert rows_of(Article, filled.dest).count() == ROWS
    assert move(filled, replace=filled.dest).exit_code == 0
    assert_complete(filled, before)


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_giving_up_recreates_foreign_keys_unchecked_where_parents_are_missing(filled: Pair) -> None:
    """Half of a circle is there: that is said, and everything else is back."""
    before = definitions(filled.dest)
    cut_off(filled, before=CHUNK_RECORDED, at=19)
    assert 0 < rows_of(TreeNode, filled.dest).count() < ROWS
    missing_before = set(before) - set(definitions(filled.dest))
    assert missing_before
    outcome = move(filled, cleanup=True)
    assert journal_tables(filled.dest) == set()
    if filled.engines[1] == "sqlite":  # whose foreign keys stay on, and are not enforced meanwhile
        assert (outcome.exit_code, definitions(filled.dest)) == (0, before)
        return
    assert outcome.exit_code == 4
    assert {(item.table, item.kind, item.is_unchecked) for item in outcome.not_recreated} == {
        ("testapp_treenode", "foreign key", True)
    }
    assert {line for line in set(before) - set(definitions(filled.dest)) if "treenode" not in line} == set()


def test_there_is_nothing_to_give_up_without_a_run(databases: FreshDatabases) -> None:
    databases.fresh(*SQLITE)
    assert move(SQLITE, cleanup=True).remark == "No unfinished run in 'sqlite_b': nothing to clean up."


# -- a damaged journal -------------------------------------------------------------------------------------------------

DAMAGES: dict[str, Callable[[str], Any]] = {
    "no table of chunks": lambda alias: execute(alias, "DROP TABLE migrator_chunk"),
    "a column missing": lambda alias: execute(alias, "ALTER TABLE migrator_chunk DROP COLUMN rows_read"),
    "no identity": lambda alias: rows_of(Run, alias).update(identity=""),
    "half an identity": lambda alias: rows_of(Run, alias).update(identity='{"source": "x", "tab'),
    "no list of objects": lambda alias: rows_of(Run, alias).update(taken_off="[{"),
    "an unknown object": lambda alias: rows_of(Run, alias).update(taken_off='[{"what": 1}]'),
    "an unknown state": lambda alias: rows_of(Run, alias).update(state="??"),
    "no run": lambda alias: rows_of(Run, alias).all().delete(),
    "no chunks": lambda alias: chunks_of_articles(alias).delete(),
    "a committed chunk missing": lambda alias: chunks_of_articles(alias).filter(number=1).delete(),
    "a chunk to come missing": lambda alias: chunks_of_articles(alias).filter(number=2).delete(),
    "the last chunk missing": lambda alias: chunks_of_articles(alias).filter(number=3).delete(),
    "a chunk twice": lambda alias: number_twice(alias),
    "a bound nobody can read": lambda alias: chunks_of_articles(alias).filter(number=2).update(lower="[["),
    "a bound of an unknown class": lambda alias: chunks_of_articles(alias).filter(number=2).update(lower='[["x", 1]]'),
}


def chunks_of_articles(alias: str) -> QuerySet[Any, Any]:
    return rows_of(Chunk, alias).filter(table="testapp_article")


def number_twice(alias: str) -> None:
    """Give two chunks one number, in a table without a constraint against that, as older versions made it."""
    execute(alias, "CREATE TABLE old_chunks AS SELECT * FROM migrator_chunk")
    execute(alias, "DROP TABLE migrator_chunk")
    execute(alias, "ALTER TABLE old_chunks RENAME TO migrator_chunk")
    chunks_of_articles(alias).filter(number=3).update(number=2)


def execute(alias: str, sql: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("damage", DAMAGES)
def test_does_not_guess_what_a_damaged_journal_meant(unfinished: Pair, damage: str) -> None:
    """Nothing is lost or doubled in silence: it stops and says so, or ends as a clean run does."""
    DAMAGES[damage](unfinished.dest)
    try:
        outcome = move(unfinished, resume=True)
    except MigratorError as error:
        message = str(error)
    else:
        assert (outcome.exit_code, differences(*(snapshot(alias, MODELS) for alias in unfinished))) == (0, [])
        return
    assert "journal" in message or "unfinished run" in message, message
    assert "--cleanup" in message or "--replace" in message, message


# -- the format of the journal -----------------------------------------------------------------------------------------


def record_otherwise(alias: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the identity of the recorded run, and sign it again."""
    run = rows_of(Run, alias).get()
    identity = json.loads(run.identity)
    change(identity)
    run.identity, run.taken_off = json.dumps(identity, sort_keys=True), signing.text_of(run.taken_off)
    run.sign()
    rows_of(Run, alias).update(identity=run.identity, taken_off=run.taken_off)


def test_resumes_a_run_of_another_release_in_the_same_format(unfinished: Pair) -> None:
    record_otherwise(unfinished.dest, lambda identity: identity["journal"].update(release="0.0.7"))
    assert move(unfinished, resume=True).exit_code == 0
    assert differences(*(snapshot(alias, MODELS) for alias in unfinished)) == []


def of_format_9(identity: dict[str, Any]) -> None:
    identity["journal"] = {"format": 9, "release": "9.1"}


@pytest.mark.parametrize("state_then", ["copying", "a state to come"])
def test_refuses_a_run_in_another_format_and_abandons_it(unfinished: Pair, state_then: str) -> None:
    record_otherwise(unfinished.dest, of_format_9)
    rows_of(Run, unfinished.dest).update(state=state_then)
    chunks_of_articles(unfinished.dest).filter(number=1).update(lower="a key to come")
    assert_refused(
        unfinished,
        "migrator 9.1 recorded the unfinished run in 'sqlite_b' in format 9",
        "which reads format 1. Nothing was written.",
        "Resume the run with migrator 9.1 (pip install django-bulk-migrator==9.1), or pass --cleanup",
        resume=True,
    )
    assert_refused(unfinished, "'sqlite_b' holds an unfinished run", "--resume", "--cleanup")
    outcome = move(unfinished, cleanup=True)
    assert (outcome.exit_code, outcome.not_recreated) == (0, ())
    assert journal_tables(unfinished.dest) == set()


def test_refuses_to_abandon_a_run_whose_objects_only_another_release_can_read(unfinished: Pair) -> None:
    record_otherwise(unfinished.dest, of_format_9)
    rows_of(Run, unfinished.dest).update(taken_off='[{"what": 1}]')
    for options in ({"resume": True}, {"cleanup": True}, {}):
        assert_refused(
            unfinished, "Complete or abandon the run with migrator 9.1 (pip", "django-bulk-migrator==9.1)", **options
        )


# -- as a command ------------------------------------------------------------------------------------------------------

COMMAND = ("--no-input", "--chunk-size", "1", *LABELS)


def fill_more(alias: str) -> None:
    """Add rows, so that a run in chunks of one row takes long enough to be met in the middle."""
    insert_rows(Article, alias, [{"id": n, "name": f"article {n}"} for n in range(100, 1000)])


def wait_for_chunks(pair: Pair, process: subprocess.Popen[str], number: int) -> None:
    deadline = time.monotonic() + 60
    while done_chunks(pair.dest) < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def done_chunks(alias: str) -> int:
    if (
        connections[alias].vendor == "sqlite"
    ):  # a connection of its own for each question, so that it is in nobody's way
        with closing(sqlite3.connect(connections[alias].settings_dict["NAME"], timeout=5)) as connection:
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            query = "SELECT count(*) FROM migrator_chunk WHERE state = 'done'"
            return connection.execute(query).fetchone()[0] if names >= JOURNAL else 0
    return rows_of(Chunk, alias).filter(state="done").count() if journal_tables(alias) == JOURNAL else 0


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_the_command_goes_on_after_kill_9(
    filled: Pair, start_manage: Callable[..., Any], run_manage: Callable[..., Finished]
) -> None:
    before = definitions(filled.dest)
    fill_more(filled.source)
    ends = ("--source", filled.source, "--dest", filled.dest)
    for number, extra in ((20, ()), (250, ("--resume",))):
        with start_manage("batch_migrate", *ends, *COMMAND, *extra) as process:
            wait_for_chunks(filled, process, number)
            process.kill()
        wait_until_free(filled)
        assert done_chunks(filled.dest) >= number
    refused = run_manage("batch_migrate", *ends, *COMMAND)
    assert refused.code == 1
    assert "--resume" in refused.err
    finished = run_manage("batch_migrate", *ends, *COMMAND, "--resume")
    assert finished.code == 0, finished.err
    assert differences(snapshot(filled.source, MODELS), snapshot(filled.dest, MODELS)) == []
    assert definitions(filled.dest) == before
    nothing = run_manage("batch_migrate", *ends, *COMMAND, "--resume")
    assert nothing.code == 0
    assert "nothing to resume" in nothing.out


@pytest.mark.parametrize(
    ("pair", "number", "code"),
    [
        (THREE_PAIRS[0], signal.SIGINT, 130),
        (THREE_PAIRS[1], signal.SIGTERM, 143),
        (THREE_PAIRS[2], signal.SIGHUP, 129),
    ],
    ids=str,
    indirect=["pair"],
)
def test_a_signal_ends_the_command_between_two_chunks(
    filled: Pair, start_manage: Callable[..., Any], number: int, code: int
) -> None:
    before = definitions(filled.dest)
    fill_more(filled.source)
    ends = ("--source", filled.source, "--dest", filled.dest)
    with start_manage("batch_migrate", *ends, *COMMAND) as process:
        wait_for_chunks(filled, process, 10)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert "Traceback" not in out + err
    assert "Stopped after the chunk that was being copied." in err
    [line] = re.findall(r"^Resume:\n +(.*)$", err, re.MULTILINE)
    assert line.endswith(f"{' '.join(['batch_migrate', *ends, *COMMAND])} --resume")
    assert done_chunks(filled.dest) < 920
    assert move(filled, chunk_size=1, resume=True).exit_code == 0
    assert differences(snapshot(filled.source, MODELS), snapshot(filled.dest, MODELS)) == []
    assert definitions(filled.dest) == before


def test_a_second_signal_ends_the_command_at_once(databases: FreshDatabases, start_manage: Callable[..., Any]) -> None:
    """The chunk that waits for somebody's lock is rolled back."""
    databases.fresh(*SQLITE)
    fill(SQLITE.source)
    fill_more(SQLITE.source)
    ends = ("--source", SQLITE.source, "--dest", SQLITE.dest)
    with start_manage("batch_migrate", *ends, *COMMAND) as process:
        wait_for_chunks(SQLITE, process, 10)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert "--resume" in err
    assert move(SQLITE, chunk_size=1, resume=True).exit_code == 0
    assert differences(snapshot(SQLITE.source, MODELS), snapshot(SQLITE.dest, MODELS)) == []


@pytest.mark.parametrize("pair", THREE_PAIRS[:2], ids=str, indirect=True)
def test_a_second_signal_does_not_wait_for_anybodys_lock(filled: Pair, start_manage: Callable[..., Any]) -> None:
    before = definitions(filled.dest)
    fill_more(filled.source)
    ends = ("--source", filled.source, "--dest", filled.dest)
    with start_manage("batch_migrate", *ends, *COMMAND) as process:
        wait_for_chunks(filled, process, 10)
        with holding_a_lock(filled.dest):
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            started = time.monotonic()
            out, err = process.communicate(timeout=10)
            assert time.monotonic() - started < 5
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    wait_until_free(filled)
    assert move(filled, chunk_size=1, resume=True).exit_code == 0
    assert differences(snapshot(filled.source, MODELS), snapshot(filled.dest, MODELS)) == []
    assert definitions(filled.dest) == before


@contextmanager
def holding_a_lock(alias: str) -> Iterator[None]:
    """Keep every writer of articles waiting."""
    other = connections[alias].copy()
    try:
        with other.cursor() as cursor:
            if other.vendor == "mysql":
                cursor.execute("LOCK TABLES testapp_article READ")
            else:
                other.set_autocommit(False)
                cursor.execute("LOCK TABLE testapp_article IN SHARE MODE")
            yield
    finally:
        other.close()
