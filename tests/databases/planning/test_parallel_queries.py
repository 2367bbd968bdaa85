"""Queries run in two sessions: both see the same rows, and if the second one fails, the first runs the query."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, OperationalError, connections

from migrator.conf import load
from migrator.databases.endpoints import open_endpoints
from migrator.databases.engines.base.engine import Engine
from migrator.databases.engines.registry import engine_for
from migrator.databases.engines.sqlite import engine as engine_of_sqlite
from migrator.databases.engines.sqlite.engine import SQLite
from migrator.databases.engines.sqlite.session_process import HelperProcess
from migrator.databases.planning import parallel_queries
from migrator.databases.planning.parallel_queries import ParallelQueries
from migrator.databases.planning.plan_request import PlanRequest
from migrator.databases.planning.preflight import make_plan
from migrator.databases.planning.selection import select
from tests.databases.planning.test_preflight import foreign_keys_off
from tests.databases.planning.test_transports import insert_all_dirt
from tests.databases.side_by_side import fill, move, until
from tests.databases.snapshots import insert_rows
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Chapter, Tag, TreeNode

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.driver

POSTGRESQL = pytest.param("postgresql_a", marks=pytest.mark.postgresql, id="postgresql")
MYSQL = pytest.param("mysql_a", marks=pytest.mark.mysql, id="mysql")
SQLITE = pytest.param("sqlite_a", id="sqlite")
ELSEWHERE = pytest.param(("sqlite_a", "elsewhere"), id="sqlite-elsewhere")
each_place = pytest.mark.parametrize("is_elsewhere", [False, True], ids=["here", "elsewhere"])
NAMES = "SELECT name FROM testapp_tag ORDER BY id"


@pytest.fixture(params=[POSTGRESQL, SQLITE, ELSEWHERE])
def source(
    request: pytest.FixtureRequest, databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """Return the session of a source that holds one row."""
    alias, is_elsewhere = (request.param, False) if isinstance(request.param, str) else (request.param[0], True)
    parallel_sessions_of_sqlite(monkeypatch, is_elsewhere=is_elsewhere)
    databases.fresh(alias)
    insert_rows(Tag, alias, [{"id": 1, "name": "before"}])
    with opened(alias) as engine:
        yield engine


def parallel_sessions_of_sqlite(monkeypatch: pytest.MonkeyPatch, *, is_elsewhere: bool) -> None:
    """Open them in this process or in another, as different builds of SQLite would."""
    monkeypatch.setattr(SQLite, "_has_own_memory", lambda engine: not is_elsewhere)
    monkeypatch.setattr(engine_of_sqlite, "WORTH_A_PROCESS", 0)


@contextmanager
def opened(alias: str, readers: int = 0) -> Iterator[Engine]:
    engine = engine_for(connections[alias])
    engine.check_address(must_exist=True)
    engine.open_source(readers=readers)
    try:
        yield engine
    finally:
        engine.close()


def insert_elsewhere(alias: str) -> None:
    other = connections[alias].copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("INSERT INTO testapp_tag (id, name) VALUES (2, 'later')")
    finally:
        other.close()


def answers_of_both(asked: ParallelQueries, question: Callable[[Engine], Any]) -> dict[str, Any]:
    """Run a query in each session, neither before the other has begun; return the answers by the threads' names."""
    both = threading.Barrier(2, timeout=20)

    def answer(engine: Engine) -> tuple[str, Any]:
        both.wait()
        return threading.current_thread().name, question(engine)

    given = [asked.ask(answer), asked.ask(answer)]
    return dict(future.result() for future in given)


def test_both_sessions_see_the_same_rows(source: Engine) -> None:
    with ParallelQueries(source, 10_001) as asked:
        found = answers_of_both(asked, lambda engine: (id(engine), engine.fetch_all(NAMES)))
    assert set(found) == {"MainThread", "second session"}
    assert found["MainThread"][0] == id(source) != found["second session"][0]
    assert found["MainThread"][1] == found["second session"][1] == [("before",)]
    assert source.fetch_all(NAMES) == [("before",)]


def test_the_second_session_can_begin_while_the_first_is_busy(source: Engine) -> None:
    begun = threading.Event()

    def answer(engine: Engine) -> str:
        begun.set()
        return threading.current_thread().name

    with ParallelQueries(source, 10_001) as asked:
        answers = [asked.ask(answer)]
        asked.begin()
        assert begun.wait(20)
        answers.append(asked.ask(answer))
        assert next(future.result() for future in answers) == "second session"


def test_what_is_about_the_most_rows_is_asked_first(source: Engine) -> None:
    """Otherwise one session would be left with it while the other has nothing more to do."""
    put: list[int] = []
    with ParallelQueries(source) as asked:
        given = [asked.ask(lambda engine, rows=rows: put.append(rows), rows) for rows in (3, 100, 0, 20)]  # type: ignore[misc]
        given[0].result()
    assert put == [100, 20, 3, 0]


@pytest.mark.postgresql
def test_the_second_session_of_postgresql_sees_no_later_rows(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    with opened("postgresql_a") as source:
        insert_elsewhere("postgresql_a")
        with ParallelQueries(source, 10_001) as asked:
            found = answers_of_both(asked, lambda engine: engine.fetch_all(NAMES))
        assert found == {"MainThread": [], "second session": []}


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_file_that_was_written_meanwhile_has_no_second_session(
    databases: FreshDatabases, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only in WAL mode can others write while the source is read."""
    parallel_sessions_of_sqlite(monkeypatch, is_elsewhere=False)
    databases.fresh("sqlite_a")
    with connections["sqlite_a"].cursor() as cursor:
        cursor.execute(f"PRAGMA journal_mode = {mode}")
    connections["sqlite_a"].close()
    with opened("sqlite_a") as source:
        if mode == "wal":
            insert_elsewhere("sqlite_a")
            assert source.open_parallel_session() is None
        else:
            with pytest.raises(OperationalError, match="locked"):
                insert_elsewhere("sqlite_a")
            with closing(found := source.open_parallel_session()):  # type: ignore[type-var]
                assert found is not None
                assert found.fetch_all(NAMES) == []
        assert source.fetch_all(NAMES) == []


def test_a_process_does_not_answer_for_a_file_that_was_written_meanwhile(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    parallel_sessions_of_sqlite(monkeypatch, is_elsewhere=True)
    databases.fresh("sqlite_a")
    with connections["sqlite_a"].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = wal")
    connections["sqlite_a"].close()
    with opened("sqlite_a") as source:
        insert_elsewhere("sqlite_a")
        with closing(found := source.open_parallel_session()):  # type: ignore[type-var]
            assert found is not None
            with pytest.raises(DatabaseError, match="has changed since the snapshot"):
                found.fetch_all(NAMES)
        assert source.fetch_all(NAMES) == []


def test_a_process_ends_with_the_one_that_began_it(databases: FreshDatabases) -> None:
    """Also while it runs a query, during which it would otherwise keep a lock on the file."""
    databases.fresh("sqlite_a")
    name = str(connections["sqlite_a"].settings_dict["NAME"])
    with closing(HelperProcess(name, keeps_snapshot=True)) as elsewhere:
        elsewhere.wait()
        process = elsewhere._process
        forever = "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n FROM n) SELECT COUNT(*) FROM n"
        elsewhere._pipe.send((forever, ()))
        assert process.poll() is None
        elsewhere._pipe.close()
        assert process.wait(20) == 0


def test_a_small_file_is_not_worth_a_process(databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SQLite, "_has_own_memory", lambda engine: False)
    databases.fresh("sqlite_a")
    with opened("sqlite_a") as source:
        assert source.open_parallel_session() is None


@each_place
def test_a_file_in_wal_mode_can_be_written_when_both_sessions_read(
    databases: FreshDatabases, is_elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parallel_sessions_of_sqlite(monkeypatch, is_elsewhere=is_elsewhere)
    databases.fresh("sqlite_a")
    with connections["sqlite_a"].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = wal")
    connections["sqlite_a"].close()
    with opened("sqlite_a") as source, closing(found := source.open_parallel_session()):  # type: ignore[type-var]
        assert found is not None
        assert found.fetch_all(NAMES) == []
        insert_elsewhere("sqlite_a")
        assert found.fetch_all(NAMES) == source.fetch_all(NAMES) == []


@pytest.mark.parametrize("statement", ["DELETE FROM testapp_tag", "INSERT INTO testapp_tag (id, name) VALUES (9, 'x')"])
@pytest.mark.parametrize("source", [POSTGRESQL, MYSQL, SQLITE, ELSEWHERE], indirect=True)
def test_the_second_session_writes_nothing(source: Engine, statement: str) -> None:
    second = source.open_parallel_session()
    assert second is not None
    with closing(second), pytest.raises(DatabaseError, match=r"(?i)read[- ]?only"):
        second.execute(statement)


@pytest.mark.mysql
def test_the_second_session_of_mysql_is_asked_only_what_may_be_later(databases: FreshDatabases) -> None:
    databases.fresh("mysql_a")
    with opened("mysql_a") as source, ParallelQueries(source, 10_001) as asked:
        insert_elsewhere("mysql_a")
        second_began = threading.Event()

        def in_the_snapshot(engine: Engine) -> list[Any]:
            assert engine is source
            assert second_began.wait(20)
            return engine.fetch_all(NAMES)

        def at_any_time(engine: Engine) -> str:
            second_began.set()
            return f"{threading.current_thread().name}: {engine.fetch_all(NAMES)}"

        exact = [asked.ask(in_the_snapshot) for _ in range(2)]
        later = asked.ask(at_any_time, may_be_later=lambda answer: True)
        assert [future.result() for future in exact] == [[], []]
        assert later.result() == "second session: [('later',)]"


@pytest.mark.mysql
def test_the_second_session_of_a_mysql_with_several_readers_sees_the_same_rows(
    databases: FreshDatabases,
) -> None:
    """Their snapshots began together, while no transaction could commit."""
    databases.fresh("mysql_a")
    with opened("mysql_a", readers=2) as source, ParallelQueries(source, 10_001) as asked:
        insert_elsewhere("mysql_a")
        assert asked.parts(10_001) == 2
        rows = answers_of_both(asked, lambda engine: engine.fetch_all(NAMES))
        assert rows == {"MainThread": [], "second session": []}
        assert source.readers == 2


@pytest.mark.postgresql
def test_as_many_sessions_as_processes_divide_a_table(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    with opened("postgresql_a") as source, ParallelQueries(source, 10_001, sessions=3) as asked:
        insert_elsewhere("postgresql_a")
        assert asked.parts(10_001) == 3
        all_began = threading.Barrier(3)

        def answer(engine: Engine) -> tuple[int, list[Any]]:
            all_began.wait(20)
            return id(engine), engine.fetch_all(NAMES)

        found = [asked.ask(answer) for _ in range(3)]
        sessions = {future.result()[0] for future in found}
        assert len(sessions) == 3
        assert [future.result()[1] for future in found] == [[], [], []]


@pytest.mark.mysql
def test_an_answer_of_a_later_moment_that_will_not_do_is_asked_for_again(databases: FreshDatabases) -> None:
    databases.fresh("mysql_a")
    with opened("mysql_a") as source, ParallelQueries(source, 10_001) as asked:
        insert_elsewhere("mysql_a")
        tried: list[str] = []

        def answer(engine: Engine) -> list[Any]:
            tried.append(threading.current_thread().name)
            return engine.fetch_all(NAMES)

        waits = asked.ask(lambda engine: until(lambda: "second session" in tried))
        found = asked.ask(answer, may_be_later=lambda rows: not rows)
        assert waits.result()
        assert found.result() == []
        assert tried == ["second session", "MainThread"]


@pytest.mark.parametrize(
    "alias",
    [pytest.param("mysql_b", marks=pytest.mark.mysql), pytest.param("postgresql_b", marks=pytest.mark.postgresql)],
)
def test_two_sessions_of_a_destination_see_what_is_committed(databases: FreshDatabases, alias: str) -> None:
    databases.fresh(alias)
    dest = engine_for(connections[alias])
    dest.open_destination()
    insert_rows(Tag, alias, [{"id": 1, "name": "copied"}])
    with closing(dest), ParallelQueries(dest, 10_001) as asked:
        found = answers_of_both(asked, lambda engine: engine.fetch_all(NAMES))
    assert [list(rows) for rows in found.values()] == [[("copied",)], [("copied",)]]


# -- the first one alone -----------------------------------------------------------------------------------------------


def test_a_small_table_is_not_worth_a_second_session(source: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(source), "open_parallel_session", lambda engine: pytest.fail("another session was opened"))
    with ParallelQueries(source, 10_000) as asked:
        given = [asked.ask(lambda engine: engine.fetch_all(NAMES)) for _ in range(3)]
        assert [future.result() for future in given] == [[("before",)]] * 3


def test_what_the_second_session_fails_at_is_asked_in_the_first(source: Engine) -> None:
    tried: list[str] = []
    second_failed = threading.Event()

    def answer(number: int, engine: Engine) -> int:
        tried.append(threading.current_thread().name)
        if engine is not source:
            second_failed.set()
            raise OperationalError("the link was lost")
        assert second_failed.wait(20)
        return number

    with ParallelQueries(source, 10_001) as asked:
        given = [asked.ask(partial(answer, number)) for number in range(5)]
        assert [future.result() for future in given] == [0, 1, 2, 3, 4]
    assert sorted(tried) == ["MainThread"] * 5 + ["second session"]


def test_a_question_that_fails_in_both_sessions_tells_why(source: Engine) -> None:
    with pytest.raises(DatabaseError, match="missing_table"), ParallelQueries(source, 10_001) as asked:  # noqa: PT012
        given = [asked.ask(lambda engine: engine.fetch_all("SELECT * FROM missing_table")) for _ in range(2)]
        given[0].result()


def test_a_session_that_is_left_at_work_is_closed_in_the_end(source: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_queries, "END_SECONDS", 0.01)
    seen: list[Engine] = []
    is_at_work, may_end = threading.Event(), threading.Event()

    def answer(engine: Engine) -> None:
        if engine is source:
            assert is_at_work.wait(20)
            raise OperationalError("the link was lost")
        seen.append(engine)
        is_at_work.set()
        assert may_end.wait(20)

    with pytest.raises(OperationalError, match="lost"), ParallelQueries(source, 10_001) as asked:  # noqa: PT012
        given = [asked.ask(answer) for _ in range(3)]
        given[0].result()
    (second,) = seen
    assert second.connection.connection is not None
    may_end.set()
    assert until(lambda: second.connection.connection is None)


def test_a_run_goes_on_where_no_second_session_can_be_opened(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    fill(pair.source)
    refused: list[Engine] = []

    def open_parallel_session(engine: Engine) -> None:
        refused.append(engine)
        raise OperationalError("too many connections")

    monkeypatch.setattr(SQLite, "open_parallel_session", open_parallel_session)
    monkeypatch.setattr(parallel_queries, "HELPED_ROWS", 1)
    assert move(pair, jobs=1).exit_code == 0
    assert refused


# -- what a plan finds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "is_elsewhere"),
    [*((PAIRS[number], False) for number in (1, 2, 5, 7)), (PAIRS[1], True), (PAIRS[2], True)],
    ids=str,
    indirect=["pair"],
)
def test_two_sessions_find_what_one_finds(pair: Pair, is_elsewhere: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that do not fit, and an orphan, are reported with the same texts in the same order."""
    parallel_sessions_of_sqlite(monkeypatch, is_elsewhere=is_elsewhere)
    labels = [model._meta.label for model in insert_all_dirt(pair.source)] + ["testapp.Chapter", "testapp.Tag"]
    with foreign_keys_off(pair.source):
        insert_rows(Chapter, pair.source, [{"id": 7, "title": "lost", "tag_id": 404, "_order": 0}])
    insert_rows(TreeNode, pair.source, [{"id": 7, "name": "root", "parent_id": None}])  # one more query
    labels.append("testapp.TreeNode")
    asked: list[str] = []
    usual = Engine.fetch_all

    def fetch_all(engine: Engine, sql: str, params: Any = ()) -> list[Any]:
        asked.append(threading.current_thread().name)
        return usual(engine, sql, params)

    monkeypatch.setattr(Engine, "fetch_all", fetch_all)
    one = findings(pair, labels)
    assert set(asked) == {"MainThread"}
    monkeypatch.setattr(parallel_queries, "HELPED_ROWS", 0)
    assert findings(pair, labels) == one
    assert set(asked) == {"MainThread", "second session"}
    assert len(one) > 5
    assert "no matching row" in one[-1]


def findings(pair: Pair, labels: list[str]) -> list[str]:
    with open_endpoints(pair.source, pair.dest, load()) as ends:
        plan = make_plan(ends, select(source=pair.source, dest=pair.dest, labels=labels), PlanRequest())
        return [str(finding) for finding in plan.findings]


def test_a_question_that_failed_fails_for_all_who_want_its_answer(databases: FreshDatabases) -> None:
    """Also if the error was raised while another answer was needed."""
    databases.fresh("sqlite_a")
    with opened("sqlite_a") as engine, ParallelQueries(engine) as session:
        good = session.ask(lambda asked: asked.fetch_value("SELECT 1"))
        bad = session.ask(lambda asked: asked.fetch_value("SELECT missing"), rows=10)
        for answer in (good, bad):
            with pytest.raises(OperationalError, match="no such column"):
                answer.result()
