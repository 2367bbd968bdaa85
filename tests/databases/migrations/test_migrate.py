"""`--migrate`: the project's migrations make the destination's tables, and write to no other database meanwhile."""

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

pytestmark = pytest.mark.slow

FROM_EACH_ENGINE = [Pair("postgresql_a", "mysql_b"), Pair("mysql_a", "sqlite_b"), Pair("sqlite_a", "postgresql_b")]
from_each_engine = pytest.mark.parametrize("pair", FROM_EACH_ENGINE, ids=str, indirect=True)
SQLITE = Pair("sqlite_a", "sqlite_b")

# `default` is the database that the site runs on, as in any project.
SETTINGS = """
from settings.test import *
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sites", "migrator", "shelf"]
MIDDLEWARE = []
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

    def migrate_and_move(self, dest: str, *words: str, source: str = "default") -> Finished:
        return self.manage(
            "batch_migrate", "--source", source, "--dest", dest, "--migrate", "--no-input", "shelf", *words
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


# -- the destination is `default`, and no other database can be written to ------------------------------------------


@from_each_engine
def test_what_a_migration_writes_to_default_goes_to_the_destination(
    pair: Pair, make_project: Callable[[str], Project]
) -> None:
    project = make_project(pair.source)
    project.fill_by(TO_DEFAULT)
    with nothing_changes(pair.source):
        finished = project.migrate_and_move(pair.dest)
    assert finished.code == 0, finished.err
    assert "Applying 3 migrations to " in finished.err
    assert "1 row created by your migrations: shelf.Book 1\n" in finished.out
    assert books(pair.dest) == ["first"]


THE_SAME = """from threading import Thread; from django.db import transaction; from django.conf import settings
    from django.contrib.contenttypes.models import ContentType
    here = schema_editor.connection
    assert connections['default'] is connections['sqlite_b'] is here and connection.settings_dict == here.settings_dict
    assert here.alias == 'default' and settings.DATABASES['default']['NAME'] == here.settings_dict['NAME']
    assert 'sqlite_b' in str(here.settings_dict['NAME'])
    assert not Book.objects.exists() and not ContentType.objects.filter(app_label='shelf').exists()
    with transaction.atomic():
        Book.objects.create(name='never')
        transaction.set_rollback(True)
    found = []
    thread = Thread(target=lambda: found.append(connection.settings_dict['NAME']))
    thread.start(); thread.join()
    assert found == [here.settings_dict['NAME']], found"""


def test_whatever_leads_to_default_leads_to_the_destination(
    databases: FreshDatabases, make_project: Callable[[str], Project]
) -> None:
    databases.fresh(*SQLITE)
    project = make_project(SQLITE.source)
    project.fill_by(THE_SAME)
    finished = project.migrate_and_move(SQLITE.dest)
    assert finished.code == 0, finished.err


# Each is tried by one migration, and has to be refused.
WRITES = {
    "many at once": "Book.objects.using(old).bulk_create([Book(name='a'), Book(name='b')])",
    "a change": "Book.objects.using(old).update(name='changed')",
    "a removal": "Book.objects.using(old).all().delete()",
    "an instance": "Book(name='second').save(using=old)",
    "unless it is there": "Book.objects.using(old).get_or_create(name='second')",
    "a statement": "connections[old].cursor().execute('  insert into shelf_book (name) values (1)')",
    "many statements": (
        "connections[old].cursor().executemany('INSERT INTO shelf_book (name) VALUES (%s)', [('a',), ('b',)])"
    ),
    "a table": "connections[old].cursor().execute('CREATE TABLE shelf_more (id integer)')",
    "past Django": "connections[old].connection.cursor().execute('DELETE FROM shelf_book')",
    "in a thread": "in_thread(lambda: Book.objects.using(old).update(name='changed'))",
    "a copied connection": "connections[old].copy().cursor().execute('DELETE FROM shelf_book')",
}
TRIED = """from concurrent.futures import ThreadPoolExecutor
    old, done = {old!r}, []
    def in_thread(call):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(call).result()
    for number, write in enumerate([{writes}]):
        try:
            write()
        except Exception:
            continue
        done.append(number)
    raise ValueError(f'went through: {{done}}')"""


@pytest.mark.parametrize("source", ["sqlite_a", "postgresql_a", "mysql_a"])
def test_no_way_of_writing_reaches_the_source(
    databases: FreshDatabases, make_project: Callable[[str], Project], source: str
) -> None:
    databases.fresh(source, "sqlite_b")
    project = make_project(source)
    project.run_on("sqlite_b")
    writes = ", ".join(f"lambda: {write}" for write in WRITES.values())
    project.fill_by(TRIED.format(old=source, writes=writes))
    with nothing_changes(source):
        message = failure(project.migrate_and_move("default", source=source))
    assert "Migrating 'default' failed after 1 of 3 migrations, in shelf.0002_fill: " in message
    assert "ValueError: went through: []. " in message
    assert f"It tried to write to {source!r}, which is not the database being migrated." in message
    assert " reads " not in message


@from_each_engine
def test_a_migration_that_writes_elsewhere_is_named(pair: Pair, make_project: Callable[[str], Project]) -> None:
    project = make_project(pair.source)
    project.run_on(pair.dest)
    project.fill_by(f"Book.objects.using({pair.source!r}).create(name='second')")
    with nothing_changes(pair.source):
        message = failure(project.migrate_and_move("default", source=pair.source))
    assert "Migrating 'default' failed after 1 of 3 migrations, in shelf.0002_fill: " in message
    assert f"it writes to {pair.source!r}. Only 'default' can be written to. " in message
    assert "Nothing was copied." in message
    connections[pair.dest].close()
    assert books(pair.dest) == []


def test_a_third_database_is_out_of_reach_too(
    databases: FreshDatabases, make_project: Callable[[str], Project]
) -> None:
    databases.fresh(*SQLITE, "postgresql_a")
    project = make_project(SQLITE.source)
    project.fill_by("connections['postgresql_a'].cursor().execute('UPDATE django_site SET name = 1')")
    with nothing_changes(SQLITE.source, "postgresql_a"):
        message = failure(project.migrate_and_move(SQLITE.dest))
    assert "it writes to 'postgresql_a'. Only 'sqlite_b' (now also the alias 'default') can be written to." in message


def test_a_write_that_a_migration_survives_is_noted(
    databases: FreshDatabases, make_project: Callable[[str], Project]
) -> None:
    databases.fresh(*SQLITE, "postgresql_a")
    project = make_project(SQLITE.source)
    project.fill_by(
        "import contextlib\n    with contextlib.suppress(Exception):\n"
        "        connections['postgresql_a'].cursor().execute('UPDATE django_site SET name = 1')"
    )
    with nothing_changes("postgresql_a"):
        finished = project.migrate_and_move(SQLITE.dest)
    assert finished.code == 0, finished.err
    assert (
        "Note: sqlite_b: shelf.0002_fill tried to write to 'postgresql_a', which was rejected, and continued. "
        "Check what it has left undone." in finished.out
    )


def test_a_migration_may_read_elsewhere_and_is_named(
    databases: FreshDatabases, make_project: Callable[[str], Project]
) -> None:
    databases.fresh(*SQLITE, "postgresql_a")
    project = make_project(SQLITE.source)
    body = "cursor = connections['postgresql_a'].cursor(); cursor.execute('SELECT name FROM {table}')"
    project.fill_by(body.format(table="nowhere"))
    message = failure(project.migrate_and_move(SQLITE.dest))
    assert "in shelf.0002_fill: 'postgresql_a' stopped the run: relation \"nowhere\" does not exist" in message
    assert "It reads 'postgresql_a', which is not the database being migrated." in message
    project.fill_by(body.format(table="django_site"))
    finished = project.migrate_and_move(SQLITE.dest)
    assert finished.code == 0, finished.err
    assert "Note: sqlite_b: shelf.0002_fill read 'postgresql_a' while it was applied." in finished.out


ROUTED = """
class Router:
    def allow_migrate(self, db, app_label, **hints):
        return db != 'default' if app_label == 'shelf' else None
"""


def test_a_router_that_tells_the_aliases_apart_decides_as_ever(
    databases: FreshDatabases, make_project: Callable[[str], Project], tmp_path: Path
) -> None:
    """The tables that it wants in the destination are made there, though it keeps them off `default`."""
    databases.fresh("sqlite_b", "postgresql_a")
    project = make_project("postgresql_a")
    project.run_on("sqlite_b")
    (tmp_path / "routed.py").write_text(ROUTED)
    with (tmp_path / "settings_on_sqlite_b.py").open("a") as settings:
        settings.write("DATABASES['archive'] = DATABASES['sqlite_a']\nDATABASE_ROUTERS = ['routed.Router']\n")
    databases.fresh("sqlite_a")
    finished = project.migrate_and_move("archive", source="postgresql_a")
    assert finished.code == 0, finished.err
    assert books("sqlite_a") == ["first"]


def test_only_until_the_destination_is_migrated(
    databases: FreshDatabases, make_project: Callable[[str], Project]
) -> None:
    """The function leaves the caller's connections as they were, also after it has failed."""
    databases.fresh(*SQLITE)
    project = make_project(SQLITE.source)
    for body, code in (("raise ValueError", 1), (TO_DEFAULT, 0)):
        project.fill_by(body)
        call = (
            "from django.db import connection; from migrator.databases.api import batch_migrate\n"
            "from migrator.errors import MigratorError; import sys\n"
            f"try:\n  batch_migrate(source='default', dest='{SQLITE.dest}', labels=['shelf'], migrate=True)\n"
            "except MigratorError as error:\n  code = error.exit_code\nelse:\n  code = 0\n"
            "connection.cursor().execute(\"INSERT INTO shelf_book (name) VALUES ('later')\")\n"
            "sys.exit(code)"
        )
        finished = project.manage("shell", "--no-imports", "-v", "0", "-c", call)
        assert finished.code == code, finished.err
    assert books(SQLITE.source) == ["first", "later", "later"]
    assert books(SQLITE.dest) == ["first", "later"]


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


def assert_not_migrated(finished: Finished, dest: str, text: str) -> None:
    """Assert that a run was refused, and that the destination has but the one migration that it had."""
    assert finished.code == 1, finished
    assert text in finished.err
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
    assert_not_migrated(finished, pair.dest, "default: 1 migration is not applied: shelf.0003_last.")
