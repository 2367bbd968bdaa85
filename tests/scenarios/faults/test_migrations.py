"""`--migrate`: what the project's own migrations do on the way costs nobody a row, in either database."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import connections
from django.db.backends.utils import truncate_name

from migrator.databases.engines.registry import engine_for
from migrator.databases.journal.checks import holds_unfinished_run
from settings.base import ROOT
from tests.manage import Finished, run_manage
from tests.management.running import contents, execute, facts, nothing_changes
from tests.scenarios.faults.oracle import THREE_PAIRS, assert_unlocked
from tests.servers.databases import Pair

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")

# `default` and `new` (or `old` and `default`) are two of the test's databases, as in any project that moves.
SETTINGS = """
from settings.test import *
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "migrator", *{apps!r}]
MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware"] if "allauth" in INSTALLED_APPS else []
DATABASES = {{{aliases}}}
"""


class Site:
    """A project with apps of its own, run in processes of its own on two databases without a table."""

    def __init__(self, directory: Path, apps: list[str], **aliases: str) -> None:
        self.directory, self._apps = directory, apps
        self._environment = {"PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
        self.uses(**aliases)

    def uses(self, **aliases: str) -> None:
        """Give each alias one of the test's databases."""
        name = f"settings_{'_'.join([f'{alias}_{database}' for alias, database in aliases.items()])}"
        entries = ", ".join(f"{alias!r}: DATABASES[{database!r}]" for alias, database in aliases.items())
        text = SETTINGS.format(apps=self._apps, aliases=entries)
        (self.directory / f"{name}.py").write_text(text)
        self._environment["DJANGO_SETTINGS_MODULE"] = name

    def write(self, **modules: str) -> None:
        """Write modules of the app `shop`: `models`, and migrations by their names."""
        folder = self.directory / "shop"
        (folder / "migrations").mkdir(parents=True, exist_ok=True)
        for package in (folder, folder / "migrations"):
            (package / "__init__.py").touch()
        for name, text in modules.items():
            where = folder if name in ("models", "apps") else folder / "migrations"
            (where / f"{name}.py").write_text(text)

    def manage(self, *words: str) -> Finished:
        connections.close_all()
        return run_manage(*words, env=self._environment)

    def move(self, *words: str, source: str = "default", dest: str = "new") -> Finished:
        ends = ("--source", source, "--dest", dest)
        return self.manage("batch_migrate", *ends, "--migrate", "--no-input", *words)


@pytest.fixture
def make_site(tmp_path: Path, databases: FreshDatabases) -> Callable[..., Site]:
    """Give `make_site(apps, alias=database, …)`, whose databases hold no table."""

    def make(apps: list[str], **aliases: str) -> Site:
        databases.fresh(*aliases.values())
        for alias in aliases.values():
            empty(alias)
        return Site(tmp_path, apps, **aliases)

    return make


def empty(alias: str) -> None:
    """Drop every table."""
    connection = connections[alias]
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            how = " CASCADE" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TABLE {connection.ops.quote_name(table)}{how}")
    connection.close()


def rows(alias: str, sql: str) -> list[tuple[object, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        found = [tuple(row) for row in cursor.fetchall()]
    connections[alias].close()
    return found


# -- data migrations that do not say using() --------------------------------------------------------------------------

ANN = [
    "INSERT INTO auth_user (id, username, password, is_superuser, is_staff, is_active, first_name, last_name, email,"
    " date_joined) VALUES (1, 'ann', 'x', false, false, true, '', '', 'Ann@Example.ORG', '2026-01-01')",
    "INSERT INTO account_emailaddress (id, email, verified, {primary}, user_id)"
    " VALUES (7, 'Ann@Example.ORG', true, true, 1)",
]


@pytest.mark.parametrize(
    ("recipe", "pair"),
    [("default to new", Pair("sqlite_a", "postgresql_b")), ("old to default", Pair("postgresql_a", "mysql_b"))],
    ids=str,
)
def test_django_allauth_changes_nothing_in_the_old_database(
    make_site: Callable[..., Site], pair: Pair, recipe: str
) -> None:
    """Its migration `account.0006` lowers the addresses of `default`, whichever database is migrated."""
    source, _, dest = recipe.split()
    site = make_site(["django.contrib.messages", "allauth", "allauth.account"], default=pair.source, new=pair.dest)
    assert site.manage("migrate", "-v", "0").code == 0
    quoted = connections[pair.source].ops.quote_name("primary")
    execute(pair.source, *(sql.format(primary=quoted) for sql in ANN))
    if source == "old":
        site.uses(old=pair.source, default=pair.dest)
    with nothing_changes(pair.source):
        finished = site.move(source=source, dest=dest)
    assert finished.code == 0, finished.err
    assert "LOST" not in finished.out + finished.err
    for alias in pair:
        assert rows(alias, "SELECT id, email FROM account_emailaddress") == [(7, "Ann@Example.ORG")]
    assert_unlocked(pair.dest)


# -- a call that failed, and the next one -----------------------------------------------------------------------------

MODELS = """
from django.db import models

class Thing(models.Model):
    name = models.CharField(max_length=200)
    extra = models.CharField(max_length=9, default="")

class Part(models.Model):
    thing = models.ForeignKey(Thing, models.CASCADE)
"""
FIRST = """
from django.db import migrations, models
import django.db.models.deletion

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Thing", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=20)),
            ("old", models.CharField(max_length=9)),
        ]),
        migrations.CreateModel("Part", [
            ("id", models.BigAutoField(primary_key=True)),
            ("thing", models.ForeignKey("shop.Thing", django.db.models.deletion.CASCADE)),
        ]),
        migrations.RunPython(lambda apps, editor: apps.get_model("shop", "Thing").objects.create(name="made", old="")),
    ]
"""
SECOND = """
from django.db import migrations

def work(apps, editor):
    {body}

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_first")]
    operations = [migrations.RunPython(work)]
"""
THIRD = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "0002_second")]
    operations = [
        migrations.RemoveField("Thing", "old"),
        migrations.AddField("Thing", "extra", models.CharField(max_length=9, default="")),
        migrations.AlterField("Thing", "name", models.CharField(max_length=200)),
    ]
"""
AFTER = """
from django.apps import AppConfig
from django.db.models.signals import post_migrate

def make_group(using, **more):
    from django.contrib.auth.models import Group
    Group.objects.using(using).get_or_create(name="made by a handler")

class Shop(AppConfig):
    name = "shop"
    def ready(self):
        post_migrate.connect(make_group, sender=self)
"""
NOTHING = """
from django.db import migrations

class Migration(migrations.Migration):
    operations = []
"""
WORKING, FAILING = "pass", "raise ValueError('not today')"
LONG_NAME = "of the source, " * 9


@pytest.fixture(params=THREE_PAIRS, ids=str)
def broken(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> tuple[Site, Pair]:
    """Give a site whose second migration has failed half way to a new database."""
    pair: Pair = request.param
    site = make_site(["shop"], default=pair.source, new=pair.dest)
    site.write(models=MODELS, apps=AFTER)
    site.write(**{"0001_first": FIRST, "0002_second": SECOND.format(body=WORKING), "0003_third": THIRD})
    assert site.manage("migrate", "-v", "0").code == 0
    # It fits into the column once all migrations are applied, and not before.
    execute(pair.source, f"UPDATE shop_thing SET name = '{LONG_NAME}'", "INSERT INTO shop_part (thing_id) VALUES (1)")
    site.write(**{"0002_second": SECOND.format(body=FAILING)})
    failed = site.move()
    assert failed.code == 1
    assert "in shop.0002_second: ValueError: not today. Nothing was copied. Fix it and repeat the command" in failed.err
    return site, pair


def test_the_same_command_goes_on_after_a_migration_that_failed(broken: tuple[Site, Pair]) -> None:
    site, pair = broken
    site.write(**{"0002_second": SECOND.format(body=WORKING)})
    with nothing_changes(pair.source):
        dry = site.move("--dry-run")
        finished = site.move()
    assert dry.code == 0, dry.err
    assert "2 migrations will be applied first: shop.0002_second, shop.0003_third." in dry.out
    assert "that migrations will create or change" in facts(dry.out)["not checked"]
    assert "rows that these create are listed before the copy, and replaced without --replace." in dry.out
    assert finished.code == 0, finished.err
    assert " rows created by your migrations: " in facts(finished.out)["replace"]
    assert "shop.Thing 1" in facts(finished.out)["replace"]
    assert "auth.Group 1" in facts(finished.out)["replace"]
    assert rows(pair.dest, "SELECT name, extra FROM shop_thing") == [(LONG_NAME, "")]
    assert not {"migrator_run", "migrator_chunk"} & set(contents(pair.dest))


REACHING = {
    "apps.get_model('shop', 'Thing').objects.using('old').update(name='changed')": (
        "it writes to 'old'. Only 'default' can be written to. "
    ),
    "__import__('django.db').db.connections['old'].cursor().execute('SELECT * FROM nowhere')": (
        "'old' stopped the run: no such table: nowhere [SQLITE_ERROR]. It reads 'old', which is not the database"
    ),
}


def test_a_migration_that_reaches_for_another_database_is_named(make_site: Callable[..., Site]) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    site = make_site(["shop"], default=pair.source, new=pair.dest)
    site.write(models=MODELS)
    site.write(**{"0001_first": FIRST, "0002_second": SECOND.format(body=WORKING), "0003_third": THIRD})
    assert site.manage("migrate", "-v", "0").code == 0
    site.uses(old=pair.source, default=pair.dest)
    for body, text in REACHING.items():
        site.write(**{"0002_second": SECOND.format(body=body)})
        with nothing_changes(pair.source):
            finished = site.move(source="old", dest="default")
        assert finished.code == 1
        assert f"in shop.0002_second: {text}" in finished.err, finished.err


# What somebody does to the destination between two calls.
OF_A_PERSON = [
    (SQLITE, "INSERT INTO shop_thing (name, old) VALUES ('mine', '')"),
    (Pair("sqlite_a", "postgresql_b"), "UPDATE shop_thing SET name = 'mine'"),
    (SQLITE, "INSERT INTO auth_group (name) VALUES ('mine')"),
]


@pytest.mark.parametrize(
    ("broken", "change"), OF_A_PERSON, ids=["a new row", "a changed row", "another table"], indirect=["broken"]
)
def test_rows_that_a_person_wrote_after_a_failed_migration_are_not_emptied(
    broken: tuple[Site, Pair], change: str
) -> None:
    site, pair = broken
    execute(pair.dest, change)
    site.write(**{"0002_second": SECOND.format(body=WORKING)})
    before = contents(pair.dest)
    refused = site.move()
    assert refused.code == 1
    assert "holds rows that will be LOST: " in refused.err
    assert "Pass --replace new" in refused.err
    assert contents(pair.dest) == before
    connections[pair.dest].close()
    assert site.move("--replace", "new").code == 0
    assert rows(pair.dest, "SELECT name FROM shop_thing") == [(LONG_NAME,)]


@pytest.mark.parametrize("broken", [SQLITE], ids=str, indirect=True)
def test_rows_of_which_no_record_is_left_count_as_a_persons(broken: tuple[Site, Pair]) -> None:
    """As after a process that was killed while it migrated, or after a clean-up, which leaves the rows."""
    site, pair = broken
    assert not holds_unfinished_run(engine_for(connections[pair.dest])), "a record alone keeps nobody from reading it"
    assert site.manage("batch_migrate", "--source", "default", "--dest", "new", "--cleanup", "--no-input").code == 0
    assert not {"migrator_run", "migrator_chunk"} & set(contents(pair.dest))
    site.write(**{"0002_second": SECOND.format(body=WORKING)})
    dry = site.move("--dry-run")
    assert (
        "so rows that these create cannot be distinguished from yours. Replacing them requires --replace new."
        in dry.out
    )
    refused = site.move()
    assert refused.code == 1
    assert "holds rows that will be LOST: " in refused.err
    assert "shop.Thing (1)" in refused.err
    assert "Nothing was written." in refused.err


PLAIN_MODELS = """
from django.db import models

class Thing(models.Model):
    name = models.CharField(max_length=20)
    others = models.ManyToManyField("self")
"""


def test_tables_of_an_app_without_migrations_are_created(make_site: Callable[..., Site]) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    site = make_site(["shop"], default=pair.source, new=pair.dest)
    site.write(models=PLAIN_MODELS)
    (site.directory / "shop/migrations/__init__.py").unlink()
    (site.directory / "shop/migrations").rmdir()
    assert site.manage("migrate", "--run-syncdb", "-v", "0").code == 0
    execute(pair.source, "INSERT INTO shop_thing (id, name) VALUES (1, 'a')")
    with nothing_changes(*pair):
        dry = site.move("--dry-run")
    assert dry.code == 0, dry.err
    assert "; 1 table of apps without migrations will be created first: shop.Thing." in dry.out
    # Something else may have been migrated before.
    assert site.manage("migrate", "--database", "new", "-v", "0").code == 0
    refused = site.manage("batch_migrate", "--source", "default", "--dest", "new", "--no-input")
    assert "of this run: those of shop.Thing, shop.Thing_others. Pass --migrate to create them" in refused.err
    finished = site.move()
    assert finished.code == 0, finished.err
    assert rows(pair.dest, "SELECT id, name FROM shop_thing") == [(1, "a")]


def test_a_table_that_no_migration_creates_is_not_left_to_migrations(make_site: Callable[..., Site]) -> None:
    site = make_site(["shop"], default=SQLITE.source, new=SQLITE.dest)
    site.write(models=PLAIN_MODELS, **{"0001_first": NOTHING})
    assert site.manage("migrate", "-v", "0").code == 0
    created = "CREATE TABLE shop_thing (id integer PRIMARY KEY, name varchar(20))"
    execute(
        SQLITE.source, created, created.replace("thing (", "thing_others (from_thing_id integer, to_thing_id int, ")
    )
    failed = site.move()
    assert failed.code == 1
    assert (
        "of this run: those of shop.Thing, shop.Thing_others. No pending migration creates them: run manage.py m"
        in failed.err
    )


def test_tables_whose_migrations_are_not_recorded_are_not_made_again(make_site: Callable[..., Site]) -> None:
    site = make_site(["shop"], default=SQLITE.source, new=SQLITE.dest)
    site.write(models=PLAIN_MODELS)
    assert site.manage("makemigrations", "shop", "-v", "0").code == 0
    for alias in ("default", "new"):
        assert site.manage("migrate", "--database", alias, "-v", "0").code == 0
    execute(SQLITE.dest, "DELETE FROM django_migrations")
    refused = site.manage("batch_migrate", "--source", "default", "--dest", "new", "--no-input")
    assert refused.code == 1
    (advice,) = re.findall(r"record these migrations with manage.py (migrate --database new --fake);", refused.err)
    assert site.manage(*advice.split()).code == 0
    finished = site.move("--replace", "new")
    assert finished.code == 0, finished.err


def test_handlers_that_failed_after_the_last_migration_run_again(make_site: Callable[..., Site]) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    site = make_site(["shop"], default=pair.source, new=pair.dest)
    site.write(models=PLAIN_MODELS, apps=AFTER)
    assert site.manage("makemigrations", "shop", "-v", "0").code == 0
    assert site.manage("migrate", "-v", "0").code == 0
    site.write(apps=AFTER.replace("Group.objects", "raise ValueError('not yet') #"))
    for _ in range(2):
        failed = site.move()
        assert failed.code == 1
        assert "in a post_migrate handler: ValueError: not yet." in failed.err
        assert "repeat the command: the handlers then run again." in failed.err
    site.write(apps=AFTER)
    with nothing_changes(pair.source):
        assert "the post_migrate handlers will run first, because one of them failed" in site.move("--dry-run").out
        finished = site.move()
    assert finished.code == 0, finished.err
    assert "1 row created by your migrations: auth.Group 1\n" in finished.out
    assert not {"migrator_run", "migrator_chunk"} & set(contents(pair.dest))


def test_tables_of_an_extension_are_nobodys(make_site: Callable[..., Site]) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    site = make_site(["shop"], default=pair.source, new=pair.dest)
    site.write(models=PLAIN_MODELS, apps=AFTER)
    assert site.manage("makemigrations", "shop", "-v", "0").code == 0
    assert site.manage("migrate", "-v", "0").code == 0
    execute(
        pair.dest,
        "CREATE EXTENSION IF NOT EXISTS citext",
        "CREATE TABLE spatial_ref_sys AS SELECT 4326 AS srid",
        "ALTER EXTENSION citext ADD TABLE spatial_ref_sys",
    )
    try:
        finished = site.move()
    finally:
        execute(pair.dest, "ALTER EXTENSION citext DROP TABLE spatial_ref_sys", "DROP TABLE spatial_ref_sys")
    assert finished.code == 0, finished.err
    assert "1 row created by your migrations: auth.Group 1\n" in finished.out


# -- names that Django cuts -------------------------------------------------------------------------------------------

# Its table and that of its many-to-many field have longer names than PostgreSQL and MySQL take; each cuts otherwise.
LONG = "LoadBalancerPoolMemberCertificateProfileAssignmentOfTenant".ljust(60, "s")
LONG_MODELS = f"""
from django.db import models

class Tag(models.Model):
    name = models.CharField(max_length=20)

class {LONG}(models.Model):
    code = models.CharField(max_length=20)
    parent = models.ForeignKey("self", models.CASCADE, null=True)
    tags = models.ManyToManyField(Tag)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code"], condition=models.Q(parent=None), name="one_code")
        ]
"""
FILL = f"""
from django.core.management import call_command
call_command("makemigrations", "shop", verbosity=0)
call_command("migrate", verbosity=0)
from shop.models import Tag, {LONG} as Long
first = Long.objects.create(code="a")
Long.objects.create(code="b", parent=first).tags.add(Tag.objects.create(name="one"))
"""
LOOK = f"""
from shop.models import {LONG} as Long
print([(one.code, one.parent and one.parent.code, [tag.name for tag in one.tags.all()]) for one in Long.objects.all()])
Long.objects.create(code="c").tags.add(Long.objects.get(code="b").tags.get())
"""
SEEN = "[('a', None, []), ('b', 'a', ['one'])]\n"


@pytest.fixture
def make_long_site(make_site: Callable[..., Site]) -> Callable[[Pair], Site]:
    """Give `make_long_site(pair)`: a site on the pair's source with rows under long names."""

    def make(pair: Pair) -> Site:
        site = make_site(["shop"], default=pair.source, new=pair.dest)
        site.write(models=LONG_MODELS)
        assert site.manage("shell", "--no-imports", "-v", "0", "-c", FILL) == (0, "", "")
        return site

    return make


@pytest.mark.parametrize(
    ("recipe", "pair"),
    [
        ("default to new", Pair("sqlite_a", "postgresql_b")),
        ("old to default", Pair("postgresql_a", "mysql_b")),
        ("default to new", Pair("mysql_a", "sqlite_b")),
    ],
    ids=str,
)
def test_the_site_finds_tables_whose_names_its_engine_cuts(
    make_long_site: Callable[[Pair], Site], pair: Pair, recipe: str
) -> None:
    source, _, dest = recipe.split()
    site = make_long_site(pair)
    if source == "old":
        site.uses(old=pair.source, default=pair.dest)
    with nothing_changes(pair.source):
        finished = site.move("--verify", "full", source=source, dest=dest)
    assert finished.code == 0, finished.err
    assert "no model describes" not in finished.out
    if source == "old":
        compared = site.manage("verify_counts", "--source", source, "--dest", dest, "--mode", "full")
        assert compared.code == 0, compared.out
    site.uses(default=pair.dest)
    assert site.manage("shell", "--no-imports", "-v", "0", "-c", LOOK) == (0, SEEN, "")


def test_a_table_that_the_site_would_not_find_stops_the_run(make_long_site: Callable[[Pair], Site]) -> None:
    """Django's own `migrate` takes the names from the engine of `default`, and PostgreSQL cuts what is too long."""
    pair = Pair("sqlite_a", "postgresql_b")
    site = make_long_site(pair)
    assert site.move().code == 0
    whole = f"shop_{LONG.lower()}"
    execute(pair.dest, f'ALTER TABLE "{truncate_name(whole, 63)}" RENAME TO "{whole}"')
    with nothing_changes(*pair):
        refused = site.move("--replace", "new")
    assert refused.code == 1
    (advice,) = re.findall(r"the site will use .*? Rename it: (ALTER TABLE .*)\.$", refused.err, re.MULTILINE)
    execute(pair.dest, advice)
    finished = site.move("--replace", "new")
    assert finished.code == 0, finished.err
    assert rows(pair.dest, f"SELECT code FROM {truncate_name(whole, 63)} ORDER BY id") == [("a",), ("b",)]
