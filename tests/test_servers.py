"""The ground other tests stand on: the right servers, without rights we promise not to need, always fresh."""

import os
from collections.abc import Callable

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.contrib.sites.models import Site
from django.db import connections

from tests.manage import Finished
from tests.servers.databases import FreshDatabases, Pair, is_mysql


def rows_of(alias: str) -> dict[str, int]:
    counts = {
        model._meta.label: model._base_manager.using(alias).count()
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and not model._meta.swapped
    }
    return {label: count for label, count in counts.items() if count}


def new_user_key(alias: str) -> int:
    return User.objects.using(alias).create(username="someone").pk


def test_each_pair_is_two_databases(pair: Pair) -> None:
    User.objects.using(pair.source).create(username="only in the source")

    assert User.objects.using(pair.source).count() == 1
    assert User.objects.using(pair.dest).count() == 0
    assert [connections[alias].vendor for alias in pair] == list(pair.engines)


def test_fresh_puts_back_rows_and_counters(alias: str, databases: FreshDatabases) -> None:
    made_by_migrate = rows_of(alias)
    first_key = new_user_key(alias)
    Permission.objects.using(alias).get(codename="add_user").delete()
    Site.objects.using(alias).update(name="changed")

    databases.fresh(alias)

    assert rows_of(alias) == made_by_migrate
    assert Site.objects.using(alias).get().name == "example.com"
    assert new_user_key(alias) == first_key


def test_fresh_puts_back_a_counter_whose_row_is_gone(alias: str, databases: FreshDatabases) -> None:
    first_key = new_user_key(alias)
    User.objects.using(alias).all().delete()

    databases.fresh(alias)

    assert new_user_key(alias) == first_key


@pytest.mark.parametrize(
    "damage",
    [
        "CREATE TABLE left_over (id int)",
        "DROP TABLE django_admin_log",
        "CREATE INDEX more ON auth_user (email)",
    ],
)
def test_fresh_puts_back_the_schema(damage: str, alias: str, databases: FreshDatabases) -> None:
    def tables() -> list[str]:
        with connections[alias].cursor() as cursor:
            return sorted(connections[alias].introspection.table_names(cursor))

    def indexes() -> set[str]:
        with connections[alias].cursor() as cursor:
            return set(connections[alias].introspection.get_constraints(cursor, "auth_user"))

    before = tables(), indexes(), rows_of(alias)
    with connections[alias].cursor() as cursor:
        cursor.execute(damage)

    databases.fresh(alias)

    assert (tables(), indexes(), rows_of(alias)) == before


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_fresh_does_not_wait_for_a_lock_left_behind(engine: str, alias: str, databases: FreshDatabases) -> None:
    left_behind = connections[alias].copy()
    left_behind.set_autocommit(False)
    with left_behind.cursor() as cursor:
        cursor.execute("INSERT INTO django_site (domain, name) VALUES ('a', 'b')")
        cursor.execute("DELETE FROM auth_permission")

    databases.fresh(alias)

    assert Permission.objects.using(alias).exists()
    left_behind.close()


@pytest.mark.postgresql
def test_postgresql_lets_nobody_be_superuser(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    with connections["postgresql_a"].cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (False, True, False)  # --follow needs the second


@pytest.mark.mysql
def test_mysql_gives_no_right_beyond_the_tests_databases(databases: FreshDatabases) -> None:
    databases.fresh("mysql_a")
    with connections["mysql_a"].cursor() as cursor:
        cursor.execute("SHOW GRANTS")
        everywhere = [grant for (grant,) in cursor.fetchall() if " ON *.* " in grant]
    monitor = "REPLICATION CLIENT" if is_mysql("mysql_a") else "BINLOG MONITOR"
    # To follow changes.
    assert [grant.partition(" ON ")[0] for grant in everywhere] == [f"GRANT REPLICATION SLAVE, {monitor}"]


@pytest.mark.postgresql
def test_postgresql_driver_is_the_one_asked_for(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    connections["postgresql_a"].ensure_connection()
    driver = type(connections["postgresql_a"].connection).__module__.partition(".")[0]
    assert driver == {"2": "psycopg2", "3": "psycopg"}[os.environ.get("MIGRATOR_TEST_PSYCOPG", "3")]


def test_a_process_of_its_own_sees_the_same_databases(alias: str, run_manage: Callable[..., Finished]) -> None:
    User.objects.using(alias).create(username="seen from outside")
    script = (
        "from django.contrib.auth.models import User; from django.db import connections;"
        f"print(*User.objects.using({alias!r}).values_list('username', flat=True));"
        f"print(connections[{alias!r}].Database.__name__)"
    )
    driver = connections[alias].Database.__name__  # type: ignore[attr-defined]

    assert run_manage("shell", "--no-imports", "-c", script) == (0, f"seen from outside\n{driver}\n", "")
