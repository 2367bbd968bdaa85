"""Chunks that workers of an executor copy are there once, as in the snapshot, whatever becomes of the messages."""

from __future__ import annotations

import dataclasses
import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.copying.chunk import ChunkCopier
from migrator.databases.copying.rejects import RejectFile
from migrator.databases.engines.base.engine import Engine
from migrator.databases.engines.registry import engine_for
from migrator.databases.executors import briefing, dispatcher, run_session, worker
from migrator.databases.executors.run_session import RunSession
from migrator.databases.executors.worker import carry_out
from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import ALL_TABLES
from migrator.databases.parallel import comparing
from migrator.databases.result import RunResult
from migrator.databases.run import RunExecutor
from migrator.errors import DataRejected, MigratorError, Refused, UsageError
from tests.databases.executors import pools
from tests.databases.side_by_side import Heard, assert_equal, fill, move, until
from tests.databases.snapshots import insert_rows
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Article, Tag, TextValue, TreeNode, UUIDKey

FROM_SQLITE, TO_SQLITE, BETWEEN_POSTGRESQL, TO_MYSQL, FROM_MYSQL = PAIRS[1], PAIRS[3], PAIRS[4], PAIRS[5], PAIRS[7]
BETWEEN_MYSQL = PAIRS[8]
from_servers = pytest.mark.parametrize(
    "pair", [BETWEEN_POSTGRESQL, TO_MYSQL, FROM_MYSQL, BETWEEN_MYSQL], ids=str, indirect=True
)
from_both = pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, FROM_MYSQL], ids=str, indirect=True)
from_postgresql = pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, TO_MYSQL], ids=str, indirect=True)
between_postgresql = pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL], ids=str, indirect=True)


pytestmark = pytest.mark.usefixtures("executors", "soon", "ended")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the messages that the executor `watched` delivers."""
    delivered: list[dict[str, Any]] = []
    monkeypatch.setattr(pools, "watch", delivered.append)
    return delivered


def move_by(pair: Pair, executor: str, heard: Heard | None = None, **options: Any) -> RunResult:
    return move(pair, heard, **{"executor": executor, "jobs": 1, "verify": "full"} | options)


def left_behind(alias: str) -> set[str]:
    return set(engine_for(connections[alias]).visibility.created_here(ALL_TABLES))


def worker_locks(alias: str) -> set[int]:
    return engine_for(connections[alias]).workers()


@from_servers
@pytest.mark.parametrize("executor", ["two_threads", "doubling", "dropping"])
def test_copies_every_row_once(pair: Pair, executor: str) -> None:
    fill(pair.source)
    heard = Heard()
    outcome = move_by(pair, executor, heard)
    assert outcome.exit_code == 0, outcome.verification
    assert_equal(pair)
    assert heard.with_words("joined")
    assert sum(counts.rows_written for counts in outcome.row_counts.values()) == 4 * 60
    assert not left_behind(pair.dest)
    assert not worker_locks(pair.dest)


@between_postgresql
def test_dask_copies_every_row_once(pair: Pair) -> None:
    fill(pair.source)
    heard = Heard()
    try:
        outcome = move_by(pair, "dask", heard)
    finally:
        pools.clients.pop().close()
    assert outcome.exit_code == 0, outcome.verification
    assert_equal(pair)
    assert heard.with_words("joined")


@pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, TO_MYSQL, FROM_MYSQL], ids=str, indirect=True)
@pytest.mark.parametrize("seed", range(2))
def test_copies_every_row_once_whatever_is_delivered_or_dies(
    pair: Pair, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages are lost and doubled; sessions of workers end before the commit, after it, and between two chunks."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    fill(pair.source)
    monkeypatch.setattr(pools, "seed", seed)
    record, carry_out = ChunkCopier._record, RunSession.carry_out

    def end_sessions(dest: Engine) -> None:
        if chance.random() < 0.2:
            end_session(dest)

    def record_and_die(copier: ChunkCopier, *arguments: Any) -> None:
        record(copier, *arguments)
        if threading.current_thread().name == "migrator":
            end_sessions(copier.route.dest)

    def carry_out_and_die(session: RunSession, message: Any) -> bool:
        can_do_more = carry_out(session, message)
        end_sessions(session._load.endpoints.dest)
        return can_do_more

    monkeypatch.setattr(ChunkCopier, "_record", record_and_die)
    monkeypatch.setattr(RunSession, "carry_out", carry_out_and_die)
    outcome = move_by(pair, "chaotic")
    assert outcome.exit_code == 0, outcome.verification
    assert_equal(pair)
    assert sum(counts.rows_written for counts in outcome.row_counts.values()) == 4 * 60


def end_session(dest: Engine) -> None:
    """End the session of an engine, as an administrator would."""
    own = dest.session_identity()
    assert own is not None
    another = engine_for(connections[dest.alias].copy())
    try:
        another.end_session(own)
    finally:
        another.connection.close()


@between_postgresql
def test_completes_without_any_worker(pair: Pair) -> None:
    fill(pair.source)
    heard = Heard()
    assert move_by(pair, "losing_everything", heard).exit_code == 0
    assert_equal(pair)
    assert heard.with_words("No worker has taken a chunk")
    assert not heard.with_words("joined")


@from_both
def test_reads_the_snapshot_though_connections_are_closed_around_each_message(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pair.source)
    changed: list[str] = []

    def change_once() -> None:
        if not changed:
            changed.append(pair.source)
            QuerySet(Tag, using=pair.source).update(name="changed")

    monkeypatch.setattr(pools, "before_each_chunk", change_once)
    outcome = move_by(pair, "closing", verify="none")
    assert outcome.exit_code == 0
    assert not QuerySet(Tag, using=pair.dest).filter(name="changed").exists()
    assert QuerySet(Tag, using=pair.source).filter(name="changed").exists()


@between_postgresql
def test_a_message_of_a_run_that_is_over_opens_nothing(pair: Pair, messages: list[dict[str, Any]]) -> None:
    fill(pair.source)
    move_by(pair, "watched")
    assert messages
    carry_out(messages[-1])
    assert not worker_locks(pair.dest)
    assert move_by(pair, "two_threads", replace=pair.dest).exit_code == 0


@between_postgresql
@pytest.mark.usefixtures("compared")
def test_messages_have_names_and_numbers_only(pair: Pair, messages: list[dict[str, Any]]) -> None:
    fill(pair.source)
    move_by(pair, "watched")
    about = ("kind", "run", "source", "dest", "table")
    kinds = {message["kind"]: set(message) for message in messages}
    assert kinds == {"ChunkMessage": {*about, "chunk"}, "CompareMessage": {*about, "range", "with_generated"}}
    assert {message["table"] for message in messages} <= set(connections[pair.source].introspection.table_names())
    assert {(message["source"], message["dest"]) for message in messages} == {(pair.source, pair.dest)}


@between_postgresql
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OWN_VERSIONS", {"migrator": "0.0.1"}, "it has migrator 0.0.1, and the command has "),
        ("_digest", lambda plan: "other", "its models, or the tables that it finds in the two databases, differ"),
    ],
)
def test_a_worker_with_other_code_takes_no_part(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, words: str
) -> None:
    fill(pair.source)
    own = getattr(briefing, name)

    def elsewhere(*arguments: Any) -> Any:
        is_worker = threading.current_thread().name == "migrator"
        return value(*arguments) if is_worker else own(*arguments)

    if callable(own):
        monkeypatch.setattr(briefing, name, elsewhere)
    else:
        monkeypatch.setattr(briefing, name, value)
        monkeypatch.setattr(briefing.Briefing, "of", in_own_versions(briefing.Briefing.of, own))
    heard = Heard()
    assert move_by(pair, "two_threads", heard).exit_code == 0
    assert_equal(pair)
    assert len(heard.with_words("cannot take part")) == 1
    assert heard.with_words(words)
    assert not heard.with_words("joined")


def in_own_versions(of: Callable[..., Any], versions: dict[str, str]) -> Callable[..., Any]:
    return lambda *arguments: dataclasses.replace(of(*arguments), versions=versions)


@between_postgresql
def test_a_worker_whose_pool_shares_threads_takes_no_part(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)
    monkeypatch.setattr(worker, "_why_impossible", lambda: "its pool is gevent")
    heard = Heard()
    assert move_by(pair, "two_threads", heard).exit_code == 0
    assert_equal(pair)
    assert heard.with_words("cannot take part: its pool is gevent")


@between_postgresql
def test_a_worker_more_than_the_most_takes_no_part(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)
    monkeypatch.setattr(run_session, "MOST_WORKERS", run_session.MOST_PROCESSES + 1)
    heard = Heard()
    assert move_by(pair, "two_threads", heard).exit_code == 0
    assert_equal(pair)
    assert heard.with_words("1 worker joined")
    assert not heard.with_words("2 workers joined")
    assert heard.with_words("take part already, which is the most")


@between_postgresql
def test_a_worker_that_loses_its_session_in_a_chunk_costs_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)
    ended = []

    def end_own_session(session: Any, message: Any) -> None:
        if not ended:
            ended.append(message.chunk)
            dest: Engine = session._load.endpoints.dest
            end_session(dest)
        copy(session, message)

    copy = RunSession._copy
    monkeypatch.setattr(RunSession, "_copy", end_own_session)
    outcome = move_by(pair, "two_threads")
    assert outcome.exit_code == 0, outcome.verification
    assert ended
    assert_equal(pair)


@between_postgresql
def test_the_chunk_of_a_silent_worker_is_given_to_someone_else(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that loses its network keeps the chunk's record locked: its session is ended first."""
    fill(pair.source)
    monkeypatch.setattr(run_session, "ALIVE_SECONDS", 60.0)
    silent, claim = threading.Event(), Journal.claim

    def claim_and_hang(journal: Journal, chunk: Any) -> Any:
        found = claim(journal, chunk)
        if not journal._waits and not silent.is_set():
            silent.set()
            time.sleep(4)
        return found

    monkeypatch.setattr(Journal, "claim", claim_and_hang)
    heard = Heard()
    outcome = move_by(pair, "two_threads", heard)
    assert outcome.exit_code == 0, outcome.verification
    assert silent.is_set()
    assert_equal(pair)
    assert heard.with_words("A worker on another host was lost while it copied testapp.")


@between_postgresql
def test_a_chunk_that_takes_long_stays_with_the_worker_that_copies_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if its message was delivered to another worker, too."""
    fill(pair.source)
    monkeypatch.setattr(run_session, "ALIVE_SECONDS", 0.2)
    claimed, claim = threading.Event(), Journal.claim

    def claim_and_take_long(journal: Journal, chunk: Any) -> Any:
        found = claim(journal, chunk)
        if not journal._waits and not claimed.is_set():
            claimed.set()
            time.sleep(3 * dispatcher.LEASE_SECONDS)
        return found

    monkeypatch.setattr(Journal, "claim", claim_and_take_long)
    heard = Heard()
    outcome = move_by(pair, "doubling", heard)
    assert outcome.exit_code == 0, outcome.verification
    assert claimed.is_set()
    assert not heard.with_words("was lost")
    assert_equal(pair)


@from_postgresql
def test_rejected_rows_are_committed_with_their_chunk_and_written_to_the_file(pair: Pair, tmp_path: Path) -> None:
    insert_rows(TextValue, pair.source, [{"id": n, "label": f"label {n}", "value": "x" * 90} for n in range(1, 41)])
    shorten(pair.dest)
    path = tmp_path / "rejects.jsonl"
    QuerySet(TextValue, using=pair.source).filter(id__in=(3, 17, 38)).update(value="y" * 150)
    outcome = move_by(pair, "two_threads", labels=["testapp.TextValue"], on_error="skip", rejects=path, verify="count")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(int(line["pk"]) for line in lines) == [3, 17, 38]
    assert outcome.exit_code == 4
    assert QuerySet(TextValue, using=pair.dest).count() == 37


@between_postgresql
def test_rejected_rows_outlive_the_command_that_was_to_write_them(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_rows(TextValue, pair.source, [{"id": n, "label": f"label {n}", "value": "y" * 150} for n in range(1, 21)])
    shorten(pair.dest)
    path = tmp_path / "rejects.jsonl"
    options: dict[str, Any] = {
        "labels": ["testapp.TextValue"], "on_error": "skip", "rejects": path, "verify": "count",
    }  # fmt: skip

    def fail(rejects: RejectFile, line: str) -> None:
        raise MigratorError("The command ends here.")

    monkeypatch.setattr(RejectFile, "keep", fail)
    with pytest.raises(MigratorError, match="The command ends here"):
        move_by(pair, "two_threads", **options)
    monkeypatch.undo()
    outcome = move_by(pair, "two_threads", resume=True, **options)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(int(line["pk"]) for line in lines) == list(range(1, 21))
    assert outcome.exit_code == 4
    assert not QuerySet(TextValue, using=pair.dest).exists()


def shorten(alias: str) -> None:
    """Make the column of texts too narrow for some of them."""
    table, column = TextValue._meta.db_table, TextValue._meta.get_field("value").column
    statement = {
        "postgresql": f'ALTER TABLE "{table}" ALTER COLUMN "{column}" TYPE varchar(100)',
        "mysql": f"ALTER TABLE `{table}` MODIFY `{column}` varchar(100)",
    }[connections[alias].vendor]
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (TO_SQLITE, "SQLite lets only one session write at a time"),
        (FROM_SQLITE, "no session of another host can read a snapshot of SQLite"),
    ],
    ids=str,
    indirect=["pair"],
)
def test_refuses_what_no_worker_can_do(pair: Pair, words: str) -> None:
    fill(pair.source)
    with pytest.raises(Refused, match=words) as refused:
        move_by(pair, "two_threads")
    assert "Use --jobs in place of --executor" in str(refused.value)
    assert not QuerySet(Tag, using=pair.dest).exists()


@between_postgresql
def test_an_executor_that_is_not_in_the_settings_is_named(pair: Pair) -> None:
    with pytest.raises(UsageError, match=r"MIGRATOR\['EXECUTORS'\] has no 'two_thread'. Did you mean 'two_threads'"):
        move_by(pair, "two_thread")


@between_postgresql
def test_workers_stop_at_a_row_that_the_destination_cannot_store(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.source)

    def reject(session: Any, message: Any) -> None:
        raise DataRejected("a row cannot be stored", steps=["Mend it."])

    monkeypatch.setattr(RunSession, "_copy", reject)
    with pytest.raises(DataRejected, match="a row cannot be stored") as rejected:
        move_by(pair, "two_threads", chunk_size=2)
    assert "Mend it." in str(rejected.value)
    assert not worker_locks(pair.dest)
    monkeypatch.undo()
    assert move_by(pair, "two_threads", resume=True, chunk_size=2).exit_code == 0
    assert_equal(pair)


# -- comparing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Have few rows compared by workers, and list the ranges that they compare."""
    ranges: list[tuple[str, int]] = []
    compare = RunSession._compare

    def noted(session: RunSession, message: Any) -> None:
        ranges.append(message.part)
        compare(session, message)

    monkeypatch.setattr(comparing, "HELPED_ROWS", 0)
    monkeypatch.setattr(RunSession, "_compare", noted)
    return ranges


def change(alias: str) -> None:
    """Change, delete and add rows in a destination."""
    QuerySet(Tag, using=alias).filter(pk__in=(3, 41)).update(name="changed")
    QuerySet(Article.tags.through, using=alias).filter(pk__in=(7, 8)).delete()
    QuerySet(UUIDKey, using=alias).filter(label="4").update(label="changed")
    insert_rows(Tag, alias, [{"id": 1000, "name": "extra"}])


@from_servers
@pytest.mark.parametrize("executor", ["two_threads", "chaotic"])
def test_workers_compare_as_well(
    pair: Pair, executor: str, compared: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pair.source)
    insert_rows(UUIDKey, pair.source, [{"id": uuid.UUID(int=n), "label": f"{n}"} for n in range(1, 9)])
    verify, labels = RunExecutor._verify, ["testapp.Tag", "testapp.Article", "testapp.TreeNode", "testapp.UUIDKey"]

    def change_and_verify(run: RunExecutor, plan: Any) -> Any:
        change(pair.dest)
        return verify(run, plan)

    monkeypatch.setattr(RunExecutor, "_verify", change_and_verify)
    outcome = move_by(pair, executor, labels=labels)
    assert outcome.exit_code == 3
    assert outcome.verification is not None
    found = {one.label: one for one in outcome.verification.contents}
    counts = {label: (one.checked, one.missing, one.extra, one.changed) for label, one in found.items()}
    assert counts["testapp.Tag"] == (60, 0, 1, 2)
    assert counts["testapp.Article_tags"] == (60, 2, 0, 0)
    assert counts["testapp.UUIDKey"] == (8, 0, 0, 1)
    assert counts["testapp.TreeNode"] == (60, 0, 0, 0)
    assert {tuple(map(str, each.key)) for each in found["testapp.Tag"].differences} == {("3",), ("41",), ("1000",)}
    assert compared
    assert {number < 0 for _, number in compared} == {True}
    assert not left_behind(pair.dest)
    assert until(lambda: not worker_locks(pair.dest))


@from_servers
def test_workers_compare_for_an_update(pair: Pair, compared: list[tuple[str, int]]) -> None:
    fill(pair.source)
    assert move(pair, jobs=1).exit_code == 0
    change(pair.dest)
    QuerySet(TreeNode, using=pair.source).filter(pk=7).update(name="later")
    outcome = move_by(pair, "two_threads", update=True)
    assert outcome.exit_code == 0, outcome.verification
    assert_equal(pair)
    assert compared
    assert not left_behind(pair.dest)
    assert until(lambda: not worker_locks(pair.dest))


@between_postgresql
def test_a_dry_run_of_an_update_asks_no_worker(pair: Pair, compared: list[tuple[str, int]]) -> None:
    fill(pair.source)
    assert move(pair, jobs=1).exit_code == 0
    change(pair.dest)
    outcome = move_by(pair, "two_threads", update=True, dry_run=True)
    assert {name for name, one in (outcome.updates or {}).items() if one.changes} == {
        "testapp_tag", "testapp_article_tags",
    }  # fmt: skip
    assert not compared
    assert not left_behind(pair.dest)
