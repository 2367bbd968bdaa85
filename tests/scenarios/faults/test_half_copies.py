"""A database that a run was stopped in is the source of nothing until that run has come to its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import RunState
from tests.databases.snapshots import insert_rows
from tests.manage import Finished
from tests.management.running import nothing_changes, run
from tests.scenarios.faults.oracle import THREE_PAIRS, assert_ended
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import Tag

UNFINISHED = "it holds an unfinished run"


def commands(source: str, dest: str) -> Iterator[Finished]:
    """Run everything that would believe a source."""
    ends = ("--source", source, "--dest", dest)
    for more in (["--dry-run"], [], ["--update"], ["--replace", dest, "--keep-journal"]):
        yield run("batch_migrate", *ends, "--no-input", "testapp.Tag", *more)
    yield run("batch_migrate_models", *ends, "--no-input", "testapp.Tag")
    yield run("verify_counts", *ends, "testapp.Tag")


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_half_filled_database_is_no_source(pair: Pair) -> None:
    """The two hold the same rows, so that nothing but the journal tells."""
    half, other = pair
    for alias in pair:
        insert_rows(Tag, alias, [{"id": 1, "name": "one"}])
    journal = Journal(half)
    run_there = journal.begin({}, [], empties=False)
    journal.set_state(run_there, RunState.COPYING)
    connections.close_all()
    with nothing_changes(other):
        for finished in commands(half, other):
            assert_ended(finished, 1, f"{half}: {UNFINISHED}", "--resume", "--cleanup")
    # As the one that is compared with, it is only said of it.
    compared = run("verify_counts", "--source", other, "--dest", half, "testapp.Tag")
    assert compared.code in (0, 3), compared.err  # the key that was inserted has not moved every sequence
    assert f"Note: {half}: {UNFINISHED}" in compared.out
    assert_ended(run("batch_migrate", "--source", other, "--dest", half, "--cleanup", "--no-input"), 0)
    onward = ("--source", half, "--dest", other, "--replace", other)
    assert_ended(run("batch_migrate", *onward, "--no-input", "testapp.Tag"), 0)


@pytest.mark.postgresql
def test_the_journal_that_a_finished_run_has_kept_stands_in_nobodys_way(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "postgresql_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": 1, "name": "one"}])
    ends = ("--source", "sqlite_a", "--dest", "postgresql_a", "--no-input", "testapp.Tag")
    assert_ended(run("batch_migrate", *ends, "--keep-journal"), 0)
    assert "migrator_run" in connections["postgresql_a"].introspection.table_names()
    onward = ("--source", "postgresql_a", "--dest", "sqlite_b", "testapp.Tag")
    assert_ended(run("batch_migrate", *onward, "--no-input"), 0)
    assert_ended(run("verify_counts", *onward), 0)
    assert QuerySet(Tag, using="sqlite_b").count() == 1


@pytest.mark.parametrize("half", ["sqlite_a", pytest.param("postgresql_a", marks=pytest.mark.postgresql)])
def test_sessions_are_not_copied_from_a_half_filled_database(databases: FreshDatabases, half: str) -> None:
    databases.fresh(half, "sqlite_b")
    journal = Journal(half)
    journal.set_state(journal.begin({}, [], empties=False), RunState.COPYING)
    connections.close_all()
    copied = run("copy_sessions_db_to_db", "--source", half, "--dest", "sqlite_b", "--no-input")
    assert_ended(copied, 1, f"'{half}': {UNFINISHED}", "--cleanup", "Nothing was written.")
    journal.drop()
    connections.close_all()
