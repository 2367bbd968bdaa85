"""The command that a report suggests is about the same tables: typed as it is, it finds what the report promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import Group

from migrator.databases import batch_migrate
from migrator.databases.reports.assessment import assess
from tests.databases.snapshots import insert_rows
from tests.management.running import another_alias, entry_of, run
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import Tag

PAIR = Pair("sqlite_a", "sqlite_b")
ENDS = ("--source", PAIR.source, "--dest", PAIR.dest)


@pytest.fixture(autouse=True)
def rows(databases: FreshDatabases) -> None:
    databases.fresh(*PAIR)
    insert_rows(Tag, PAIR.source, [{"id": 1, "name": "one"}])
    insert_rows(Group, PAIR.source, [{"id": 1, "name": "one"}])


def suggested(out: str) -> list[str]:
    """Return the words of the last line, which is what to do next, without the program."""
    start = "Next: python manage.py "
    line = out.splitlines()[-1]
    assert line.startswith(start), out
    return line.removeprefix(start).split()


def test_a_move_of_some_tables_is_compared_in_these() -> None:
    moved = run("batch_migrate", "testapp", "auth", *ENDS, "-e", "auth.Group", "--no-input")
    assert moved.code == 0, moved.err
    words = suggested(moved.out)
    assert run(*words).code == 0, "the table that was left out is not compared"
    assert run("verify_counts", *ENDS).code == 3


def test_a_comparison_of_some_tables_goes_on_with_these() -> None:
    full = suggested(run("verify_counts", Tag._meta.label, *ENDS).out)
    update = suggested(run(*full).out)
    assert run(*update).code == 5
    assert run(*(word for word in update if word != "--dry-run"), "--no-input").code == 0
    assert run("verify_counts", Tag._meta.label, *ENDS, "--mode", "full").code == 0
    assert not Group.objects.using(PAIR.dest).exists()


def test_the_way_back_of_some_tables_leaves_the_others_alone() -> None:
    plan = batch_migrate(source=PAIR.source, dest=PAIR.dest, labels=[Tag._meta.label], dry_run=True).plan
    command = f"python manage.py batch_migrate {Tag._meta.label} --source {PAIR.dest} --dest {PAIR.source} --update"
    assert assess(plan).way_back[-1].endswith(f": {command}")


def test_added_rows_are_not_compared_with_whole_tables() -> None:
    insert_rows(Tag, PAIR.source, [{"id": 2, "name": "two"}])
    added = run("batch_migrate_models", Tag._meta.label, *ENDS, "--filter", "id=2", "--no-input")
    assert added.code == 0, added.err
    assert "Next: " not in added.out


def test_a_checkup_suggests_migrations_where_they_are_missing(tmp_path: Path) -> None:
    assert "--migrate" not in suggested(run("migrator_doctor", *ENDS).out)
    with another_alias("bare", **entry_of("sqlite_b", NAME=str(tmp_path / "bare.sqlite3"))):
        plan = run(*suggested(run("migrator_doctor", "testapp", "--source", PAIR.source, "--dest", "bare").out))
    assert plan.code == 0, plan.err
    assert plan.out.startswith("PLAN  ")
