"""`--migrate`: the destination's tables come from the project's migrations, which reach no other database meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import connections

from migrator.databases.engines.registry import engine_for
from settings.base import ROOT
from tests.manage import Finished, run_manage
from tests.management.running import error_in, nothing_changes
from tests.servers.base import PASSWORD
from tests.servers.databases import Pair

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

FROM_EACH_ENGINE = [Pair("postgresql_a", "mysql_b"), Pair("mysql_a", "sqlite_b"), Pair("sqlite_a", "postgresql_b")]
from_each_engine = pytest.mark.parametrize("pair", FROM_EACH_ENGINE, ids=str, indirect=True)
SQLITE = Pair("sqlite_a", "sqlite_b")

# `default` is the database that the site runs on, as in any project.
SETTINGS = """
from settings.test import *
INSTALLED_APPS = [*INSTALLED_APPS, "shelf"]
DATABASES["default"] = DATABASES.pop({default!r})
"""

MODELS = """
from django.db import models

class Book(models.Model):
    name = models.CharField(max_length=40)
"""

INITIAL = """
from django.db import migrations, models

class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            "Book",
            [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=40))],
        ),
    ]
"""

FILLING = """
from django.db import connection, connections, migrations

def fill(apps, schema_editor):
    Book = apps.get_model("shelf", "Book")
    {body}

class Migration(migrations.Migration):
    dependencies = [("shelf", "0001_initial")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
"""

LAST = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("shelf", "0002_fill")]
    operations = [migrations.RunSQL("CREATE INDEX book_by_name ON shelf_book (name)")]
"""

HERE = "using(schema_editor.connection.alias)"
TO_DEFAULT = "Book.objects.create(name='first')"
TO_DESTINATION = f"Book.objects.{HERE}.create(name='first')"


class Project:
    """A project with one app more, whose second migration does what the test gives it to do."""

    def __init__(self, directory: Path, default: str) -> None:
        self._package = directory / "shelf"
        self._environment = {"PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
        (self._package / "migrations").mkdir(parents=True)
        for name in ("__init__.py", "migrations/__init__.py"):
            (self._package / name).touch()
        (self._package / "models.py").write_text(MODELS)
        (self._package / "migrations" / "0001_initial.py").write_text(INITIAL)
        (self._package / "migrations" / "0003_last.py").write_text(LAST)
        self._directory = directory
        self.run_on(default)

    def run_on(self, default: str) -> None:
        """Give the alias `default` to one of the test's databases, which loses its own."""
        name = f"settings_on_{default}"
        (self._directory / f"{name}.py").write_text(SETTINGS.format(default=default))
        self._environment["DJANGO_SETTINGS_MODULE"] = name

    def fill_by(self, body: str) -> None:
        (self._package / "migrations" / "0002_fill.py").write_text(FILLING.format(body=body))

    def manage(self, *words: str) -> Finished:
        connections.close_all()
        finished = run_manage(*words, env=self._environment)
        assert PASSWORD not in finished.out + finished.err
        return finished

    def migrate_and_move(self, dest: str, *words: str) -> Finished:
        return self.manage(
            "batch_migrate", "--source", "default", "--dest", dest, "--migrate", "--no-input", "shelf", *words
        )


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[str], Project]:
    """Give `make_project(default)`: the source has all migrations of the project and one book, and no other."""

    def make(default: str) -> Project:
        project = Project(tmp_path, default)
        project.fill_by(TO_DESTINATION)
        finished = project.manage("migrate", "shelf", "-v", "0")
        assert finished == (0, "", "")
        assert books(default) == ["first"]
        return project

    return make


def books(alias: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT name FROM shelf_book ORDER BY id")
        return [name for (name,) in cursor.fetchall()]


def tables(alias: str) -> set[str]:
    found = set(connections[alias].introspection.table_names())
    connections[alias].close()
    return found


def failure(finished: Finished) -> str:
    """Return the one line with which a run ended while it migrated."""
    assert finished.code == 1, finished
    assert finished.out == ""
    message = error_in(finished)
    assert message.startswith("CommandError: ")
    assert message.count("\n") == 1, message
    return message


# -- no other database can be written to ------------------------------------------------------------------------------


@from_each_engine
def test_a_migration_that_would_write_to_the_source_stops_the_run(
    pair: Pair, make_project: Callable[[str], Project]
) -> None:
    project = make_project(pair.source)
    project.fill_by(TO_DEFAULT)
    with nothing_changes(pair.source):
        message = failure(project.migrate_and_move(pair.dest))
    assert f"Migrating {pair.dest!r} failed after 1 of 3 migrations, in shelf.0002_fill: " in message
    assert "it writes to 'default'" in message
    assert "Make the destination 'default' in DATABASES, or give the migration that alias, and call again." in message
    assert "Nothing was copied." in message
    assert books(pair.dest) == []


WRITES = {
    "many at once": "Book.objects.bulk_create([Book(name='a'), Book(name='b')])",
    "a change": "Book.objects.update(name='changed')",
    "a removal": "Book.objects.all().delete()",
    "an instance": "Book(name='second').save()",
    "unless it is there": "Book.objects.get_or_create(name='second')",
    "another alias by name": "Book.objects.using('default').create(name='second')",
    "a statement": "connections['default'].cursor().execute('  insert into shelf_book (name) values (1)')",
    "many statements": (
        "connection.cursor().executemany('INSERT INTO shelf_book (name) VALUES (%s)', [('a',), ('b',)])"
    ),
    "a table": "connection.cursor().execute('CREATE TABLE shelf_more (id integer)')",
}


@pytest.mark.parametrize("body", WRITES.values(), ids=list(WRITES))
def test_no_way_of_writing_reaches_the_source(
    databases: FreshDatabases, make_project: Callable[[str], Project], body: str
) -> None:
    databases.fresh(*SQLITE)
    project = make_project(SQLITE.source)
    project.fill_by(body)
    with nothing_changes(SQLITE.source):
        message = failure(project.migrate_and_move(SQLITE.dest))
    assert "in shelf.0002_fill: " in message
    assert "it writes to 'default'" in message


def test_a_third_database_is_out_of_reach_too(
    databases: FreshDatabases, make_project: Callable[[str], Project]
) -> None:
    databases.fresh(*SQLITE, "postgresql_a")
    project = make_project(SQLITE.source)
    project.fill_by("connections['postgresql_a'].cursor().execute('UPDATE django_site SET name = 1')")
    with nothing_changes(SQLITE.source, "postgresql_a"):
        assert "it writes to 'postgresql_a'" in failure(project.migrate_and_move(SQLITE.dest))


@from_each_engine
def test_a_migration_may_read_elsewhere(pair: Pair, make_project: Callable[[str], Project]) -> None:
    project = make_project(pair.source)
    project.fill_by("assert Book.objects.get().name == 'first'")
    finished = project.migrate_and_move(pair.dest)
    assert finished.code == 0, finished.err
    assert "Applying 3 migrations to " in finished.err
    assert books(pair.dest) == ["first"]


def test_only_until_the_destination_is_migrated(
    databases: FreshDatabases, make_project: Callable[[str], Project]
) -> None:
    """The function leaves the caller's connections as they were, also after it has failed."""
    databases.fresh(*SQLITE)
    project = make_project(SQLITE.source)
    for body, code in ((TO_DEFAULT, 1), (TO_DESTINATION, 1)):
        project.fill_by(body)
        call = (
            "from django.db import connection; from migrator.databases.copy import batch_migrate\n"
            "from migrator.errors import MigratorError; import sys\n"
            f"try:\n  batch_migrate(source='default', dest='{SQLITE.dest}', labels=['shelf'], migrate=True)\n"
            "except MigratorError as error:\n  code = error.exit_code\n"
            "connection.cursor().execute(\"INSERT INTO shelf_book (name) VALUES ('later')\")\n"
            "sys.exit(code)"
        )
        finished = project.manage("shell", "--no-imports", "-v", "0", "-c", call)
        assert finished.code == code, finished.err
    assert books(SQLITE.source) == ["first", "later", "later"]


# -- the way on -------------------------------------------------------------------------------------------------------


@from_each_engine
def test_the_destination_can_be_default_while_it_is_migrated(
    pair: Pair, make_project: Callable[[str], Project]
) -> None:
    project = make_project(pair.source)
    project.fill_by(TO_DEFAULT)
    failure(project.migrate_and_move(pair.dest))
    project.run_on(pair.dest)
    words = ["batch_migrate", "--source", pair.source, "--dest", "default", "--migrate", "--no-input", "shelf"]
    with nothing_changes(pair.source):
        refused = project.manage(*words)
    # What a migration has put there counts as somebody's own.
    assert refused.code == 1
    assert "holds rows that will be LOST: shelf.Book (1)." in refused.err
    assert "Pass --replace default" in refused.err
    assert books(pair.dest) == ["first"]
    with connections[pair.source].cursor() as cursor:
        cursor.execute("UPDATE shelf_book SET name = 'of the source'")
    finished = project.manage(*words, "--replace", "default")
    assert finished.code == 0, finished.err
    assert "Applying" not in finished.err, "they are applied already"
    assert books(pair.dest) == ["of the source"]


# -- other failures ---------------------------------------------------------------------------------------------------


FAILURES = {
    "an exception": ("raise ValueError('no such shelf\\nand much more')", "ValueError: no such shelf"),
    "without a word": ("raise KeyError", "KeyError"),
    "of the database": ("schema_editor.connection.cursor().execute('SELECT * FROM nowhere')", "nowhere"),
}


@pytest.mark.parametrize(
    ("pair", "failing"),
    [
        *[(pair, "of the database") for pair in FROM_EACH_ENGINE],
        *[(SQLITE, failing) for failing in list(FAILURES)[:-1]],
    ],
    ids=str,
    indirect=["pair"],
)
def test_a_migration_that_fails_is_named_and_can_be_mended(
    pair: Pair, make_project: Callable[[str], Project], failing: str
) -> None:
    project = make_project(pair.source)
    body, reason = FAILURES[failing]
    project.fill_by(body)
    with nothing_changes(pair.source):
        message = failure(project.migrate_and_move(pair.dest))
    assert f"Migrating {pair.dest!r} failed after 1 of 3 migrations, in shelf.0002_fill: " in message
    assert reason in message
    assert "much more" not in message
    assert "Nothing was copied." in message
    assert books(pair.dest) == []
    project.fill_by("pass")
    again = project.migrate_and_move(pair.dest)
    assert again.code == 0, again.err
    assert "Applying 2 migrations to " in again.err
    assert books(pair.dest) == ["first"]


def test_what_failed_is_told_to_programs_too(databases: FreshDatabases, make_project: Callable[[str], Project]) -> None:
    databases.fresh(*SQLITE)
    project = make_project(SQLITE.source)
    project.fill_by("raise ValueError('no such shelf')")
    finished = project.migrate_and_move(SQLITE.dest, "--format", "json")
    document = json.loads(finished.out)
    assert finished.code == document["exit_code"] == 1
    assert "in shelf.0002_fill: ValueError: no such shelf" in document["error"]
    assert document["error"] in finished.err


def test_a_dry_run_applies_none(databases: FreshDatabases, make_project: Callable[[str], Project]) -> None:
    databases.fresh(*SQLITE)
    project = make_project(SQLITE.source)
    project.fill_by(TO_DEFAULT)
    with nothing_changes(*SQLITE):
        finished = project.migrate_and_move(SQLITE.dest, "--dry-run")
    assert finished.code == 0, finished.err
    assert "3 migrations will be applied first: shelf.0001_initial, shelf.0002_fill, shelf.0003_last" in finished.out
    assert "shelf_book" not in tables(SQLITE.dest)


# -- nothing is migrated for a run that is refused --------------------------------------------------------------------


def assert_not_migrated(finished: Finished, dest: str, told: str) -> None:
    """Assert that a run was refused, and that the destination has but the one migration that it had."""
    assert finished.code == 1, finished
    assert told in finished.err
    with connections[dest].cursor() as cursor:
        cursor.execute("SELECT name FROM django_migrations WHERE app = 'shelf'")
        assert list(cursor.fetchall()) == [("0001_initial",)]
    connections[dest].close()


@pytest.fixture(params=FROM_EACH_ENGINE, ids=str)
def begun(
    request: pytest.FixtureRequest, databases: FreshDatabases, make_project: Callable[[str], Project]
) -> tuple[Pair, Project]:
    """Give two databases, and a project that has the one for `default` and lacks two migrations in the other."""
    pair: Pair = request.param
    databases.fresh(*pair)
    project = make_project(pair.source)
    assert project.manage("migrate", "shelf", "0001", "--database", pair.dest, "-v", "0").code == 0
    return pair, project


def test_not_while_another_run_writes_there(begun: tuple[Pair, Project]) -> None:
    pair, project = begun
    other = engine_for(connections[pair.dest].copy())
    other.connect()
    assert other.lock()
    try:
        finished = project.migrate_and_move(pair.dest)
    finally:
        other.unlock()
        other.close()
    assert_not_migrated(finished, pair.dest, f"Another run is writing to '{pair.dest}'")


def test_not_where_rows_would_be_lost(begun: tuple[Pair, Project]) -> None:
    pair, project = begun
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("INSERT INTO shelf_book (id, name) VALUES (7, 'mine')")
    finished = project.migrate_and_move(pair.dest)
    assert_not_migrated(finished, pair.dest, f"Pass --replace {pair.dest} if they may be")
    assert books(pair.dest) == ["mine"]
    assert project.migrate_and_move(pair.dest, "--replace", pair.dest).code == 0
    assert books(pair.dest) == ["first"]


def test_not_where_the_ends_look_swapped(begun: tuple[Pair, Project]) -> None:
    pair, project = begun
    with connections[pair.source].cursor() as cursor:
        cursor.execute("DELETE FROM shelf_book")
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("INSERT INTO shelf_book (id, name) VALUES (7, 'mine')")
    finished = project.migrate_and_move(pair.dest, "--replace", pair.dest)
    assert_not_migrated(finished, pair.dest, "Did you swap --source and --dest?")


def test_not_where_the_source_lacks_one(begun: tuple[Pair, Project]) -> None:
    pair, project = begun
    with connections[pair.source].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'shelf' AND name = '0003_last'")
    connections[pair.source].close()
    finished = project.migrate_and_move(pair.dest)
    assert_not_migrated(finished, pair.dest, "default: 1 migrations are not applied: shelf.0003_last.")
