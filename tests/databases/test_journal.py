"""The journal: what it keeps commits with the rows it tells of, and it is gone when nobody needs it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.db.models import QuerySet
from django.test import override_settings

from migrator.databases.api import batch_migrate
from migrator.databases.chunks import Bounds
from migrator.databases.engines.base.catalogue import DeferredObject
from migrator.databases.engines.registry import engine_for
from migrator.databases.journal.checks import DamagedJournal
from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import AFTERWARDS, Chunk, ChunkState, Outcome, Run, RunState
from migrator.errors import MigratorError, Refused
from tests.databases.snapshots import insert_rows, recorded_chunks
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Article, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

# Each engine once as source and once as destination.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]
TABLES = {"migrator_run", "migrator_chunk"}
ITEM = DeferredObject(
    "ta`b\"l'e", "index", "odd %s 'näme'", "DROP INDEX x", "CREATE INDEX \"x\" ON t (a) WHERE b = '%'\n"
)
BOUNDS = [Bounds(None, (1, "ä'\"%s")), Bounds((1, "ä'\"%s"), (2, "")), Bounds((2, ""), None)]


def journal_tables(alias: str) -> set[str]:
    return TABLES & set(connections[alias].introspection.table_names())


def begun(alias: str) -> tuple[Journal, Run]:
    journal = Journal(alias)
    return journal, journal.begin({"source": "'x': %s", "tables": {"t": 1}}, [ITEM], empties=True)


def test_there_is_none_before_a_run(alias: str) -> None:
    journal = Journal(alias)
    assert journal.current() is None
    assert journal_tables(alias) == set()


def test_gives_back_what_was_recorded(alias: str) -> None:
    journal, run = begun(alias)
    found = journal.current()
    assert found is not None
    assert found.pk == run.pk
    assert found.recorded_identity() == {"source": "'x': %s", "tables": {"t": 1}}
    assert found.dropped_objects() == [ITEM]
    assert found.empties
    assert found.state == RunState.PREPARING
    assert (found.host, found.pid) == (socket.gethostname(), os.getpid())
    assert f"process {os.getpid()} on {socket.gethostname()}, started 20" in found.holder()


def test_keeps_one_run_and_forgets_the_chunks_of_the_last(alias: str) -> None:
    journal, first = begun(alias)
    journal.add_chunks("t", BOUNDS)
    _, second = begun(alias)
    assert first.pk != second.pk or connections[alias].vendor == "sqlite"
    assert QuerySet(Run, using=alias).count() == 1
    assert recorded_chunks(alias, "t") == []


def test_gives_the_chunks_of_a_table_in_their_order(alias: str) -> None:
    journal, _ = begun(alias)
    journal.add_chunks("t", BOUNDS)
    assert [chunk.bounds() for chunk in recorded_chunks(alias, "t")] == BOUNDS
    assert [chunk.number for chunk in recorded_chunks(alias, "t")] == [0, 1, 2]
    assert recorded_chunks(alias, "T2") == []
    journal.forget("t")
    assert recorded_chunks(alias, "t") == []


def test_takes_more_chunks_than_fit_into_one_statement(alias: str) -> None:
    journal, _ = begun(alias)
    many = [Bounds((n,), (n + 1,)) for n in range(1_234)]
    journal.add_chunks("t", many)
    assert [chunk.bounds() for page in journal.chunks("t", ChunkState.PENDING) for chunk in page] == many
    assert journal.pending_numbers("t") == [range(len(many))]
    QuerySet(Chunk, using=alias).filter(number__in=(0, 700, 701)).update(state=ChunkState.DONE)
    assert journal.pending_numbers("t") == [range(1, 700), range(702, len(many))]
    assert [chunk.number for page in journal.chunks("t", ChunkState.DONE) for chunk in page] == [0, 700, 701]


def test_holds_a_chunk_of_a_table_once(alias: str) -> None:
    journal, _ = begun(alias)
    journal.add_chunks("t", BOUNDS)
    with pytest.raises(IntegrityError), transaction.atomic(using=alias):
        journal.add_chunks("t", BOUNDS[:1])
    journal.add_chunks("T", BOUNDS)  # another table, whatever the database's collation takes for the same
    assert [chunk.bounds() for chunk in recorded_chunks(alias, "t")] == BOUNDS
    journal.forget("T")
    assert len(recorded_chunks(alias, "t")) == 3


def test_adds_up_what_was_rejected_after_the_last_chunk(alias: str) -> None:
    journal, _ = begun(alias)
    for rows in (2, 3):
        journal.record_rejected_afterwards("t", rows)
    (chunk,) = recorded_chunks(alias, "t")
    assert (chunk.number, chunk.state, chunk.rows_written, chunk.rows_rejected) == (AFTERWARDS, ChunkState.DONE, -5, 5)


def test_what_happened_to_a_chunk_whose_record_is_gone_is_not_committed(alias: str) -> None:
    journal, _ = begun(alias)
    journal.add_chunks("t", BOUNDS)
    chunk = journal.chunk("t", 0)
    journal.forget("t")
    with pytest.raises(DamagedJournal, match="a record in migrator_chunk is gone"):
        journal.save(chunk)


def test_a_table_of_chunks_that_an_older_version_kept_is_made_again(alias: str) -> None:
    journal, run = begun(alias)
    journal.end(run, rows_rejected=0, is_kept=True, outcome=Outcome(0, "count"))
    with connections[alias].cursor() as cursor:
        cursor.execute("CREATE TABLE old_chunks AS SELECT * FROM migrator_chunk")
        cursor.execute("DROP TABLE migrator_chunk")
        cursor.execute("ALTER TABLE old_chunks RENAME TO migrator_chunk")
    test_holds_a_chunk_of_a_table_once(alias)


def test_records_no_chunk_where_cutting_fails(alias: str) -> None:
    journal, _ = begun(alias)

    def broken() -> Iterator[Bounds]:
        yield from BOUNDS
        raise RuntimeError

    with pytest.raises(RuntimeError):
        journal.add_chunks("t", broken())
    assert recorded_chunks(alias, "t") == []


def test_a_record_belongs_to_the_callers_transaction(alias: str) -> None:
    journal, _ = begun(alias)
    journal.add_chunks("t", BOUNDS)
    chunk = journal.chunk("t", 1)
    chunk.state, chunk.rows_read = ChunkState.DONE, 5
    transaction.set_autocommit(False, using=alias)
    journal.save(chunk)
    transaction.rollback(using=alias)
    transaction.set_autocommit(True, using=alias)
    assert not journal.is_done("t", 1)
    with transaction.atomic(using=alias):
        journal.save(chunk)
    assert journal.is_done("t", 1)
    assert [each.rows_read for each in recorded_chunks(alias, "t")] == [0, 5, 0]


def test_knows_who_took_the_run_over(alias: str) -> None:
    journal, run = begun(alias)
    QuerySet(Run, using=alias).update(pid=1, host="elsewhere")
    journal.take_over(run)
    journal.set_state(run, RunState.COPYING)
    found = journal.current()
    assert found is not None
    assert (found.host, found.pid, found.state) == (socket.gethostname(), os.getpid(), RunState.COPYING)


def test_leaves_nothing_when_it_is_dropped(alias: str) -> None:
    journal, _ = begun(alias)
    assert journal_tables(alias) == TABLES
    journal.drop()
    assert journal_tables(alias) == set()
    assert journal.current() is None


@override_settings(SECRET_KEY="a key of then")
def test_reads_the_record_that_a_release_without_formats_wrote() -> None:
    run = Run(
        identity='{"adds rows": false, "destination": "\'b\' (db)", "tables": {"t": {"key": ["id"]}}}',
        empties=True,
        taken_off='[{"table": "t", "kind": "index", "name": "i", "take_off": "DROP INDEX i", '
        '"put_back": "CREATE INDEX i ON t (a)"}]\n'
        "signed:9224a5dc343593a3caf2e33019032c59064fa3146e05e1fc6edcf98789336a1d",
    )
    assert run.is_signed
    assert run.dropped_objects() == [DeferredObject("t", "index", "i", "DROP INDEX i", "CREATE INDEX i ON t (a)")]
    assert run.recorded_identity()["tables"] == {"t": {"key": ["id"]}}
    assert run.written_in.is_ours
    assert run.planned_rows() == {}
    run.empties = False
    assert not run.is_signed


# -- in a run ----------------------------------------------------------------------------------------------------------


def fill(alias: str) -> None:
    insert_rows(Tag, alias, [{"id": n, "name": f"tag {n}"} for n in range(1, 21)])


def move(pair: Pair, **options: Any) -> int:
    arguments: dict[str, Any] = {"labels": ["testapp.Tag"], "chunk_size": 5} | options
    return batch_migrate(source=pair.source, dest=pair.dest, **arguments).exit_code


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_is_gone_after_a_finished_run_unless_it_is_to_be_kept(pair: Pair) -> None:
    fill(pair.source)
    assert move(pair) == 0
    assert journal_tables(pair.dest) == set()
    assert move(pair, replace=pair.dest, keep_journal=True) == 0
    chunks = QuerySet(Chunk, using=pair.dest)
    assert [(c.state, c.rows_read, c.rows_written) for c in chunks.order_by("number")] == [("done", 5, 5)] * 4


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_journal_that_was_kept_is_in_nobodys_way(pair: Pair) -> None:
    fill(pair.source)
    assert move(pair, keep_journal=True) == 0
    assert move(pair, replace=pair.dest, labels=["testapp.Tag", "testapp.Ring"]) == 0
    assert journal_tables(pair.dest) == set()


def test_is_in_the_destination_alone(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    fill(pair.source)
    assert move(pair, keep_journal=True) == 0
    assert journal_tables(pair.source) == set()


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_dry_run_makes_none(pair: Pair) -> None:
    fill(pair.source)
    assert move(pair, dry_run=True) == 0
    assert journal_tables(pair.dest) == set()
    assert not QuerySet(Tag, using=pair.dest).exists()


@contextmanager
def another_run(alias: str) -> Iterator[None]:
    """Hold what a run holds, in a session of its own."""
    connection = connections[alias].copy()
    engine = engine_for(connection)
    assert engine.lock()
    try:
        yield
    finally:
        engine.unlock()
        connection.close()


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_second_run_into_the_same_database_is_refused(pair: Pair) -> None:
    fill(pair.source)
    with another_run(pair.dest):
        for options in ({}, {"resume": True}, {"cleanup": True}):
            with pytest.raises(Refused, match=f"Another run is writing to '{pair.dest}'"):
                move(pair, **options)
    assert journal_tables(pair.dest) == set()
    assert not QuerySet(Tag, using=pair.dest).exists()
    assert move(pair) == 0


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_the_refusal_names_the_process_that_runs(pair: Pair) -> None:
    fill(pair.source)
    begun(pair.dest)
    with another_run(pair.dest), pytest.raises(Refused, match=f"process {os.getpid()} on "):
        move(pair)


@pytest.mark.parametrize("pair", [PAIRS[4], PAIRS[8]], ids=str, indirect=True)
def test_a_run_into_another_database_of_the_server_is_none_of_its_business(pair: Pair) -> None:
    fill(pair.source)
    with another_run(pair.source):
        assert move(pair) == 0


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_failed_run_gives_its_lock_back(pair: Pair) -> None:
    insert_rows(Article, pair.dest, [{"name": "of somebody"}])
    with pytest.raises(MigratorError):
        move(pair, labels=["testapp.Article"])
    with another_run(pair.dest):
        pass
