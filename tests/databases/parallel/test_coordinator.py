"""Several processes copy what one would have copied, of one moment of the source, and say so when they cannot."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connections
from django.db.models import QuerySet, Sum

from migrator.console.report_text import to_text
from migrator.databases.api import batch_migrate, batch_migrate_models
from migrator.databases.engines.mysql import snapshots
from migrator.databases.engines.mysql.engine import MySQL
from migrator.databases.journal.records import Chunk, ChunkState
from migrator.databases.reports.plan import plan_report
from migrator.errors import DataRejected, Interrupted, UsageError
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.side_by_side import (
    CHUNK,
    MODELS,
    ROWS,
    SERVER_PAIRS,
    Heard,
    InWorkers,
    assert_equal,
    fill,
    move,
    saying,
    until,
)
from tests.databases.snapshots import differences, insert_rows, snapshot, tables
from tests.management.running import forbid_unasked
from tests.servers.catalogue import OWN
from tests.servers.databases import PAIRS, Pair, is_mysql
from tests.servers.mysql import LOCKING_USER
from tests.servers.mysql import MySQL as MySQLServer
from tests.testapp import rows
from tests.testapp.models import Article, BigIntegerValue, IntegerValue, Ring, Tag, TextValue

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from tests.manage import Finished
    from tests.servers.databases import FreshDatabases

BETWEEN_POSTGRESQL, TO_MYSQL, FROM_MYSQL, BETWEEN_MYSQL = SERVER_PAIRS
MAY_NOT_LOCK = (
    "mysql_a: only 1 process will copy: several readers need a common snapshot, and its user may not lock out writers "
    "for it (privilege {})."
)
between_servers = pytest.mark.parametrize("pair", SERVER_PAIRS, ids=str, indirect=True)


@pytest.fixture
def filled(pair: Pair) -> Pair:
    fill(pair.source)
    return pair


@between_servers
def test_copies_what_one_process_would_have_copied(pair: Pair, tmp_path: Path) -> None:
    rows.fill(pair.source)
    fill_more = [{"id": n, "name": f"tag {n}"} for n in range(1001, 1101)]
    insert_rows(Tag, pair.source, fill_more)
    before, heard = definitions(pair.dest), Heard()
    worked = InWorkers(tmp_path, saying("UPDATE migrator_chunk"), lambda: note(tmp_path), times=10_000)
    with worked.on(pair.dest):
        outcome = move(pair, heard, labels=["testapp", "testapp.Legacy"], chunk_size=7)
    assert outcome.exit_code == 0, outcome.verification
    assert outcome.plan.jobs == 3
    of = tables("testapp")
    assert differences(snapshot(pair.source, of), snapshot(pair.dest, of)) == []
    assert definitions(pair.dest) == before
    assert {t.table.name: outcome.row_counts[t.table.name].rows_written for t in outcome.plan.tables} == {
        t.table.name: t.source_rows for t in outcome.plan.tables
    }
    assert len(workers_noted(tmp_path)) == 3
    assert len(heard.with_words(" row")) >= len(outcome.plan.tables)
    assert multiprocessing.active_children() == []
    QuerySet(Tag, using=pair.dest).create(name="the counter is above the largest key")


def note(directory: Path) -> None:
    (directory / f"worker-{os.getpid()}").touch()


def workers_noted(directory: Path) -> list[Path]:
    return list(directory.glob("worker-*"))


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, TO_MYSQL, BETWEEN_MYSQL], ids=str, indirect=True)
def test_adds_rows_whose_foreign_keys_bind_at_once(pair: Pair) -> None:
    fill(pair.source)
    pairs = [(article, tag) for article in range(1, ROWS + 1) for tag in range(1, 11)]  # more than of either parent
    empty(pair.source, Article.tags.through)
    insert_rows(
        Article.tags.through,
        pair.source,
        [{"id": n, "article_id": article, "tag_id": tag} for n, (article, tag) in enumerate(pairs, 1)],
    )
    insert_rows(Ring, pair.source, [{"id": n, "name": "r", "following_id": n % ROWS + 1} for n in range(1, ROWS + 1)])
    insert_rows(Tag, pair.dest, [{"id": 1000, "name": "here"}])
    models = ["testapp.Article", "testapp.Tag", "testapp.TreeNode", "testapp.Ring"]
    outcome = batch_migrate_models(
        models=models, source=pair.source, dest=pair.dest, filters=["id__gt=0"], chunk_size=CHUNK, jobs=3
    )
    assert outcome.exit_code == 0, outcome.verification
    assert outcome.plan.jobs == 3
    assert QuerySet(Tag, using=pair.dest).filter(pk=1000).delete()[0] == 1
    of = (*MODELS, Ring)
    assert differences(snapshot(pair.source, of), snapshot(pair.dest, of)) == []


def empty(alias: str, model: Any) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"DELETE FROM {model._meta.db_table}")


# -- one moment of the source -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, FROM_MYSQL], ids=str, indirect=True)
def test_transfers_between_two_tables_keep_their_sum(pair: Pair) -> None:
    assert_transfers_keep_their_sum(pair)


def assert_transfers_keep_their_sum(pair: Pair) -> None:
    """Each takes from one table and gives to another in one transaction, so that a mixture would be seen."""
    numbers = range(1, ROWS + 1)
    for model in (IntegerValue, BigIntegerValue):
        insert_rows(model, pair.source, [{"id": n, "label": f"row {n}", "value": 1000} for n in numbers])
    with transfers(pair.source) as count:
        labels = [IntegerValue._meta.label, BigIntegerValue._meta.label]
        outcome = move(pair, labels=labels, jobs=4)
        during = count[0]
    assert (outcome.exit_code, outcome.plan.jobs) == (0, 4)
    assert during > 3
    assert total(pair.dest) == total(pair.source) == 2 * ROWS * 1000


def total(alias: str) -> int:
    return sum(QuerySet(m, using=alias).aggregate(sum=Sum("value"))["sum"] for m in (IntegerValue, BigIntegerValue))


@contextmanager
def transfers(alias: str) -> Iterator[list[int]]:
    """Have another session move amounts about, and count how often it did."""
    finished, started, count = threading.Event(), threading.Event(), [0]

    def transfer() -> None:
        chosen = random.Random(7)  # noqa: S311
        with another_session(alias) as other:
            while not finished.is_set():
                amount, giver, taker = chosen.randrange(100), chosen.randint(1, ROWS), chosen.randint(1, ROWS)
                other.set_autocommit(False)
                with other.cursor() as cursor:
                    cursor.execute(f"UPDATE testapp_integervalue SET value = value - {amount} WHERE id = {giver}")
                    cursor.execute(f"UPDATE testapp_bigintegervalue SET value = value + {amount} WHERE id = {taker}")
                other.commit()
                other.set_autocommit(True)
                count[0] += 1
                started.set()

    thread = threading.Thread(target=transfer)
    thread.start()
    try:
        assert started.wait(20)
        yield count
    finally:
        finished.set()
        thread.join()


@contextmanager
def another_session(alias: str) -> Iterator[BaseDatabaseWrapper]:
    connection = connections[alias].copy()
    connection.inc_thread_sharing()
    try:
        yield connection
    finally:
        connection.close()


@pytest.mark.parametrize("pair", [FROM_MYSQL], ids=str, indirect=True)
def test_readers_begin_only_when_no_transaction_has_written(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What such a transaction commits between two readers' beginnings, one would see and the other would not."""
    if is_mysql(filled.source):
        pytest.skip("MySQL shows whether one has committed")
    monkeypatch.setattr(snapshots, "LOCK_SECONDS", 1)
    with another_session(filled.source) as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("UPDATE testapp_tag SET name = 'not committed' WHERE id = 1")
        outcome = move(filled)
        other.rollback()
    assert outcome.plan.jobs == 1
    assert said(outcome) == [
        "mysql_a: only 1 process will copy: several readers need a common snapshot, and for 1 s other sessions "
        "wrote without a pause."
    ]
    assert_equal(filled)


@pytest.mark.parametrize("commits", [2, 10_000])
@pytest.mark.parametrize("pair", [FROM_MYSQL], ids=str, indirect=True)
def test_readers_begin_again_after_a_commit_between_their_beginnings(
    filled: Pair, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    """Where the user may not lock the server, the executed transactions show it."""
    if not is_mysql(filled.source):
        pytest.skip("only MySQL shows it")
    if commits > 2:
        monkeypatch.setattr(snapshots, "LOCK_SECONDS", 1)
    begin, begun, executed = snapshots.begin_snapshot, [], []

    def begin_before_a_commit(session: Any) -> None:
        with other.cursor() as cursor:
            cursor.execute("SELECT @@GLOBAL.gtid_executed")
            executed.append(cursor.fetchone()[0])
            begin(session)
            begun.append(session)
            if len(begun) <= commits:
                cursor.execute("UPDATE testapp_tag SET name = %s WHERE id < 50", [f"of commit {len(begun)}"])

    monkeypatch.setattr(snapshots, "begin_snapshot", begin_before_a_commit)
    with another_session(filled.source) as other:
        outcome = move(filled)
    if commits == 2:
        assert outcome.plan.jobs == 3
        # The run's own session, three readers and the second session of the checks begin at each attempt. Tests in
        # other processes commit, too: each attempt has a reason, and no commit is between the beginnings of the last.
        attempts = [(begun[n : n + 5], executed[n : n + 5]) for n in range(0, len(begun), 5)]
        assert len(attempts) >= 2
        assert all(len(set(map(id, sessions))) == 5 for sessions, _ in attempts)
        assert all(seen[0] != later[0] for (_, seen), (_, later) in pairwise(attempts))
        assert len(set(attempts[-1][1])) == 1
        assert_equal(filled)
    else:
        assert said(outcome) == [MAY_NOT_LOCK.format("FLUSH_TABLES or RELOAD")]
    names = QuerySet(Tag, using=filled.dest).filter(id__lt=50).values_list("name", flat=True)
    assert len(set(names)) == 1


@pytest.mark.parametrize("pair", [FROM_MYSQL], ids=str, indirect=True)
def test_readers_of_a_user_that_may_lock_the_server_begin_at_the_first_try(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_mysql(pair.source):
        pytest.skip("only MySQL is locked as a whole")
    if MySQLServer.variable not in os.environ.get(OWN, ""):
        pytest.skip("only a server that was started for the tests has that user")
    connections[pair.source].close()
    monkeypatch.setitem(connections[pair.source].settings_dict, "USER", LOCKING_USER)
    monkeypatch.delattr(snapshots, "_begin_between_commits")
    assert_transfers_keep_their_sum(pair)
    connections[pair.source].close()


@pytest.mark.parametrize("pair", [FROM_MYSQL], ids=str, indirect=True)
def test_says_which_right_is_missing(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = MySQL.execute

    def refuse(self: MySQL, sql: str, *args: Any) -> None:
        if sql.startswith("LOCK TABLES"):
            raise OperationalError(1044, "Access denied for user 'somebody' to database 'shop'")
        execute(self, sql, *args)

    # The tests' user has no right to lock MySQL as a whole.
    monkeypatch.setattr(MySQL, "execute", refuse)
    monkeypatch.setattr(snapshots, "_logs_commits", lambda session: False)
    outcome = move(filled)
    assert (outcome.exit_code, outcome.plan.jobs) == (0, 1)
    right = "FLUSH_TABLES or RELOAD" if is_mysql(filled.source) else "LOCK TABLES"
    assert said(outcome) == [MAY_NOT_LOCK.format(right)]
    assert_equal(filled)


def said(outcome: Any) -> list[str]:
    return [str(finding) for finding in outcome.plan.findings if "process" in finding.text]


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[3]], ids=str, indirect=True)
def test_says_that_sqlite_is_for_one_process(filled: Pair) -> None:
    outcome = move(filled, dry_run=True)
    assert outcome.plan.jobs == 1
    reasons = {
        "sqlite-to-postgresql": (
            "sqlite_a: only 1 process will copy: the snapshot of a SQLite session cannot be shared."
        ),
        "postgresql-to-sqlite": "sqlite_b: only 1 process will copy: SQLite lets only one session write at a time.",
    }
    assert said(outcome) == [reasons[str(filled)]]
    assert reasons[str(filled)] in to_text(plan_report(outcome.plan))


def test_a_dry_run_locks_nothing_and_says_how_many_processes(databases: FreshDatabases) -> None:
    databases.fresh(*BETWEEN_POSTGRESQL, *BETWEEN_MYSQL)
    outcome = move(BETWEEN_POSTGRESQL, dry_run=True)
    assert "3 copy in parallel, all from one snapshot of the source" in to_text(plan_report(outcome.plan))
    with another_session("mysql_a") as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("INSERT INTO testapp_tag (name) VALUES ('not committed')")
        outcome = move(FROM_MYSQL, dry_run=True)
        other.rollback()
    assert said(outcome) == [
        "mysql_a: only a real run finds out how many processes can read it, because that locks out writers for a "
        "moment."
    ]


# -- rows in the way, signals, and going on ---------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [FROM_MYSQL], ids=str, indirect=True)
def test_sets_rows_aside_whole_whichever_process_finds_them(pair: Pair, tmp_path: Path) -> None:
    wide = "\0" + "wide " * 8_000
    insert_rows(
        TextValue, pair.source, [{"id": n, "label": f"{n}", "value": wide if n % 2 else "x"} for n in range(1, 101)]
    )
    path = tmp_path / "rejects.jsonl"
    outcome = move(pair, labels=["testapp.TextValue"], on_error="skip", rejects=path)
    assert (outcome.exit_code, outcome.rows_rejected, outcome.plan.jobs) == (4, 50, 3)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(int(line["pk"]) for line in found) == list(range(1, 101, 2))
    assert {line["row"]["value"] for line in found} == {wide}
    assert QuerySet(TextValue, using=pair.dest).count() == 50


@pytest.mark.parametrize("pair", [FROM_MYSQL], ids=str, indirect=True)
def test_a_row_in_the_way_ends_the_run_with_its_name(pair: Pair) -> None:
    connections[pair.source].close()
    insert_rows(TextValue, pair.source, [{"id": n, "label": f"{n}", "value": "x"} for n in range(1, 31)])
    forbid_unasked(pair.dest, "testapp_textvalue", "label", "17")
    with pytest.raises(DataRejected) as caught:
        move(pair, labels=["testapp.TextValue"])
    assert "testapp.TextValue with primary key 17" in str(caught.value)
    assert "resume=True" in str(caught.value)
    assert multiprocessing.active_children() == []


@between_servers
def test_a_signal_lets_chunks_end_and_any_number_of_processes_goes_on(filled: Pair, tmp_path: Path) -> None:
    before = definitions(filled.dest)
    stop = InWorkers(tmp_path, saying("UPDATE migrator_chunk"), lambda: os.kill(os.getppid(), signal.SIGTERM))
    with stop.on(filled.dest), pytest.raises(Interrupted) as caught:
        move(filled)
    assert stop.done == 1
    assert caught.value.exit_code == 143
    assert "resume=True" in str(caught.value)
    done = QuerySet(Chunk, using=filled.dest).filter(state=ChunkState.DONE)
    written = sum(done.values_list("rows_written", flat=True))
    assert 0 < written < 4 * ROWS
    assert f"{written} rows are committed" in str(caught.value)
    assert sum(QuerySet(model, using=filled.dest).count() for model in MODELS) == written
    result = move(filled, jobs=2, resume=True)
    assert (result.exit_code, result.rows_before, result.rows_written) == (0, written, 4 * ROWS - written)
    assert_equal(filled)
    assert definitions(filled.dest) == before


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, BETWEEN_MYSQL], ids=str, indirect=True)
def test_a_second_signal_ends_it_at_once(filled: Pair, tmp_path: Path) -> None:
    def stop_twice() -> None:
        for _ in range(2):
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(0.5)
        time.sleep(60)

    with (
        InWorkers(tmp_path, saying("UPDATE migrator_chunk"), stop_twice).on(filled.dest),
        pytest.raises(Interrupted) as caught,
    ):
        move(filled)
    assert caught.value.exit_code == 130
    assert "at once" in str(caught.value)
    assert until(lambda: multiprocessing.active_children() == [])
    assert move(filled, jobs=1, resume=True).exit_code == 0
    assert_equal(filled)


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL], ids=str, indirect=True)
def test_signals_are_for_the_parent_alone(filled: Pair, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to all of them."""

    def signal_itself() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)

    heard = Heard()
    with InWorkers(tmp_path, saying("UPDATE migrator_chunk"), signal_itself, times=5).on(filled.dest):
        assert move(filled, heard).exit_code == 0
    assert heard.with_words("killed") == []
    assert_equal(filled)


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, BETWEEN_MYSQL], ids=str, indirect=True)
def test_the_command_warns_of_nothing(filled: Pair, run_manage: Callable[..., Finished]) -> None:
    """In a process of its own, in which every warning is an error."""
    connections.close_all()
    words = ["batch_migrate", "--source", filled.source, "--dest", filled.dest, "testapp", "--no-input", "--jobs", "2"]
    finished = run_manage(*words, "--chunk-size", "7")
    assert finished.code == 0, finished.err
    assert "  processes  2 copy in parallel, " in finished.out
    assert " with 2 processes\n" in finished.out
    assert "Warning" not in finished.err
    assert_equal(filled)


# -- what cannot be meant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"jobs": 0}, "jobs is 0; it has to be a number of processes from 1 to 64."),
        ({"jobs": 65}, "jobs is 65; it has to be a number of processes from 1 to 64."),
        ({"executor": "celery", "forecast": True}, "--forecast and --executor exclude each other"),
    ],
)
def test_refuses_numbers_that_cannot_be_meant(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        batch_migrate(source="default", dest="sqlite_b", **options)
    assert text in str(caught.value)
