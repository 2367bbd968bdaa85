"""Rows that a session does not see, or sees as rows of another table: found before the first write, or noted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import QuerySet

from migrator.conf import load
from migrator.databases.endpoints import open_endpoints
from migrator.databases.engines.mysql import visible_tables as mysql_visibility
from migrator.databases.engines.mysql.visible_tables import RIGHTS_SQL
from migrator.databases.engines.registry import engine_for
from tests.databases.snapshots import insert_rows
from tests.manage import Finished
from tests.management.running import another_alias, as_another_role, entry_of, execute, nothing_changes, run
from tests.scenarios.faults.oracle import assert_ended
from tests.servers.databases import FreshDatabases, is_mysql
from tests.testapp.models import Tag

READING = "SELECT ON ALL TABLES IN SCHEMA public"
FILLING = ("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public", "ALL ON ALL SEQUENCES IN SCHEMA public")


def tags(alias: str, rows: int = 10) -> None:
    insert_rows(Tag, alias, [{"id": n, "name": f"tag {n}"} for n in range(1, rows + 1)])


def count(alias: str) -> int:
    return QuerySet(Tag, using=alias).count()


def move(source: str, dest: str, *more: str) -> Finished:
    return run("batch_migrate", "--source", source, "--dest", dest, "--no-input", "testapp.Tag", *more)


def commands(source: str, dest: str, rejects: Path) -> Iterator[Finished]:
    """Run everything that reads a source, and a comparison in both directions."""
    skip = ["--on-error", "skip", "--rejects", str(rejects)]
    for more in (["--dry-run"], ["--verify", "full"], skip, ["--update"], ["--resume"]):
        yield move(source, dest, *more)
    ends = ("--source", source, "--dest", dest)
    yield run("batch_migrate_models", *ends, "--no-input", "testapp.Tag", "--filter", "id__gt=2")
    yield run("verify_counts", *ends, "testapp.Tag")
    yield run("verify_counts", "--source", dest, "--dest", source, "testapp.Tag", "--mode", "full")


@contextmanager
def policy(alias: str, *, forced: bool = False) -> Iterator[None]:
    """Let every other row be seen, and that by the owner, too, where it is ``forced``."""
    force = "FORCE" if forced else "NO FORCE"
    execute(
        alias,
        "CREATE POLICY every_other ON testapp_tag USING (id % 2 = 0)",
        "ALTER TABLE testapp_tag ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE testapp_tag {force} ROW LEVEL SECURITY",
    )
    try:
        yield
    finally:
        execute(
            alias,
            "DROP POLICY every_other ON testapp_tag",
            "ALTER TABLE testapp_tag DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE testapp_tag NO FORCE ROW LEVEL SECURITY",
        )


@pytest.mark.postgresql
@pytest.mark.parametrize("dest", ["postgresql_b", "sqlite_b"])
def test_rows_that_a_policy_hides_stop_every_command(databases: FreshDatabases, tmp_path: Path, dest: str) -> None:
    """The destination holds all rows already: an update that saw half of them would delete the others."""
    databases.fresh("postgresql_a", dest)
    tags("postgresql_a")
    tags(dest)
    with policy("postgresql_a"), as_another_role("postgresql_a", READING) as reader, nothing_changes(dest):
        for finished in commands(reader, dest, tmp_path / "rejects"):
            assert_ended(finished, 1, "row-level security may hide rows", "testapp_tag", "BYPASSRLS")
            assert "'pg_database_owner'" in finished.err
    with policy("postgresql_a"):  # the owner sees all rows of a policy that is not forced
        assert_ended(move("postgresql_a", dest, "--replace", dest, "--verify", "full"), 0)
    assert count(dest) == 10


@pytest.mark.postgresql
def test_a_policy_of_the_destination_stops_a_run_before_its_first_write(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "postgresql_b")
    tags("sqlite_a")
    role = as_another_role("postgresql_b", *FILLING)
    with policy("postgresql_b", forced=True), role as loader, nothing_changes("postgresql_b"):
        ends = ("--source", "sqlite_a", "--dest", loader)
        for finished in (
            move("sqlite_a", loader),
            move("sqlite_a", loader, "--update"),
            run("batch_migrate_models", *ends, "--no-input", "testapp.Tag"),
            run("verify_counts", *ends, "testapp.Tag"),
        ):
            assert_ended(finished, 1, "loader: row-level security may hide rows", "testapp_tag")


@pytest.mark.postgresql
def test_no_session_of_a_run_is_filtered(databases: FreshDatabases) -> None:
    """Where a policy comes up that the plan did not see, the server raises in place of hiding rows."""
    databases.fresh("postgresql_a", "postgresql_b")
    with open_endpoints("postgresql_a", "postgresql_b", load(), ["testapp_tag"], jobs=2) as ends:
        for engine in (ends.source, ends.dest):
            twin = engine.open_parallel_session()
            assert twin is not None
            with closing(twin):
                assert {one.fetch_value("SHOW row_security") for one in (engine, twin)} == {"off"}


@pytest.mark.postgresql
def test_columns_and_tables_without_the_right_to_read_them_stop_a_run(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a", "sqlite_b")
    tags("postgresql_a")
    revoke = "REVOKE SELECT ON testapp_tag FROM pg_database_owner"
    with as_another_role("postgresql_a", READING) as reader, nothing_changes("sqlite_b"):
        execute("postgresql_a", revoke)
        for finished in (move(reader, "sqlite_b"), run("verify_counts", "--source", reader, "--dest", "sqlite_b")):
            assert_ended(finished, 1, "may not read 1 table: testapp_tag", "grant SELECT")
        execute("postgresql_a", "GRANT SELECT (id) ON testapp_tag TO pg_database_owner")
        for finished in (
            move(reader, "sqlite_b"),
            run("verify_counts", "--source", reader, "--dest", "sqlite_b", "testapp.Tag", "--mode", "full"),
        ):
            assert_ended(finished, 1, "may not read columns of 1 table: testapp_tag (name)", "grant SELECT")
        # A count needs no column in particular.
        assert_ended(run("verify_counts", "--source", reader, "--dest", "sqlite_b", "testapp.Tag"), 3)
        execute("postgresql_a", "REVOKE SELECT (id) ON testapp_tag FROM pg_database_owner")


VIEW = (
    "ALTER TABLE testapp_tag RENAME TO testapp_tag_all",
    "CREATE VIEW testapp_tag AS SELECT id, name FROM testapp_tag_all WHERE id > 4",
)


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_a_view_in_the_place_of_a_table_is_noted_in_a_source_and_refused_in_a_destination(
    databases: FreshDatabases, engine: str
) -> None:
    source, dest = f"{engine}_a", f"{engine}_b"
    databases.fresh(source, "default", dest)
    tags(source)
    execute(source, *VIEW)
    finished = move(source, "default", "--verify", "full")
    assert_ended(finished, 0)
    assert f"Note: {source}: views: only the rows that they show are read: testapp_tag" in finished.out
    assert count("default") == 6
    compared = run("verify_counts", "--source", source, "--dest", "default", "testapp.Tag")
    assert_ended(compared, 0)
    assert f"Note: {source}: views: " in compared.out
    execute(dest, *VIEW)
    execute(dest, "INSERT INTO testapp_tag_all (id, name) VALUES (5, 'five')")
    with nothing_changes(dest):
        finished = move("default", dest, "--replace", dest)
        assert_ended(finished, 1, "testapp_tag is a view there", "--exclude")


@pytest.mark.postgresql
def test_rows_of_child_tables_are_never_emptied_with_their_parent(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a", "postgresql_b")
    child = "CREATE TABLE old_tags (reason text) INHERITS (testapp_tag)"
    tags("postgresql_a")
    for alias in ("postgresql_a", "postgresql_b"):
        execute(alias, child, "INSERT INTO old_tags (id, name) VALUES (100, 'child')")
    with nothing_changes("postgresql_b"):
        for more in (["--replace", "postgresql_b"], ["--update"]):
            finished = move("postgresql_a", "postgresql_b", *more)
            assert_ended(finished, 1, "old_tags: 1 row", "NO INHERIT", "Nothing was written.")
    execute("postgresql_b", "ALTER TABLE old_tags NO INHERIT testapp_tag")
    finished = move("postgresql_a", "postgresql_b", "--replace", "postgresql_b", "--verify", "full")
    assert_ended(finished, 0)
    assert "rows of child tables (INHERITS) are read as rows of their parent" in finished.out
    assert "testapp_tag (old_tags: 1 row)" in " ".join(finished.out.split())
    assert count("postgresql_b") == 11
    with connections["postgresql_b"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM old_tags")
        assert cursor.fetchone() == (1,)


@pytest.mark.postgresql
def test_a_key_that_a_child_table_has_once_more_is_found_before_the_first_write(databases: FreshDatabases) -> None:
    """No unique index of a parent holds for the rows of its children."""
    databases.fresh("postgresql_a", "sqlite_b")
    tags("postgresql_a", 3)
    execute("postgresql_a", "CREATE TABLE old_tags () INHERITS (testapp_tag)")
    assert engine_for(connections["postgresql_a"]).catalogue.unique_keys("testapp_tag") == set()
    execute("postgresql_a", "INSERT INTO old_tags (id, name) VALUES (2, 'child')")
    with nothing_changes("sqlite_b"):
        assert_ended(move("postgresql_a", "sqlite_b"), 1, "Nothing was written.", "testapp.Tag.id")


@pytest.mark.postgresql
def test_an_empty_child_table_of_the_destination_is_left_alone(databases: FreshDatabases) -> None:
    """It is as good as none, and rows that come into it after the plan are nobody's to empty."""
    databases.fresh("sqlite_a", "postgresql_b")
    tags("sqlite_a")
    tags("postgresql_b", 3)
    execute("postgresql_b", "CREATE TABLE old_tags () INHERITS (testapp_tag)")
    with open_endpoints("sqlite_a", "postgresql_b", load(), ["testapp_tag"]) as ends:
        ends.dest.execute("INSERT INTO old_tags (id, name) VALUES (100, 'child')")
        for empty in (lambda: ends.dest.empty(["testapp_tag"]), lambda: ends.dest.delete_rows("testapp_tag")):
            empty()
            assert ends.dest.count("testapp_tag") == 1
        ends.dest.execute("DELETE FROM old_tags")
    tags("postgresql_b", 3)
    assert_ended(move("sqlite_a", "postgresql_b", "--replace", "postgresql_b", "--verify", "full"), 0)


@pytest.mark.postgresql
def test_partitions_are_a_part_of_their_table(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a", "postgresql_b")
    for alias in ("postgresql_a", "postgresql_b"):
        execute(
            alias,
            "DROP TABLE testapp_tag CASCADE",
            "CREATE TABLE testapp_tag (id bigint PRIMARY KEY, name varchar(80) NOT NULL) PARTITION BY RANGE (id)",
            "CREATE TABLE tag_1 PARTITION OF testapp_tag FOR VALUES FROM (0) TO (5)",
            "CREATE TABLE tag_2 PARTITION OF testapp_tag DEFAULT",
        )
        tags(alias, 7)
    tags_there = ("--replace", "postgresql_b", "--verify", "full")
    # A partitioned table has no sequence here, which is all that a comparison finds.
    finished = move("postgresql_a", "postgresql_b", *tags_there)
    assert_ended(finished, 3)
    assert "INHERITS" not in finished.out
    assert "testapp_tag.id: no sequence belongs to the column" in finished.out
    assert count("postgresql_b") == 7


@pytest.mark.mysql
def test_a_table_with_a_history_is_copied_as_it_is_now(databases: FreshDatabases) -> None:
    """MariaDB can neither truncate it, nor does it list it among plain tables."""
    databases.fresh("mysql_a", "mysql_b")
    for alias, rows in (("mysql_a", 10), ("mysql_b", 3)):
        tags(alias, rows)
        if is_mysql(alias):
            pytest.skip("MySQL has no such tables")
        execute(alias, "ALTER TABLE testapp_tag ADD SYSTEM VERSIONING")
    execute("mysql_a", "DELETE FROM testapp_tag WHERE id > 7")
    for more in (["--replace", "mysql_b"], ["--replace", "mysql_b", "--jobs", "2"], ["--update"]):
        finished = move("mysql_a", "mysql_b", "--verify", "full", *more)
        assert_ended(finished, 0)
        assert "system-versioned tables: only current rows are read, not their history: testapp_tag" in finished.out
        assert count("mysql_b") == 7


@pytest.mark.mysql
def test_a_table_that_a_user_has_no_rights_on_may_be_there(databases: FreshDatabases) -> None:
    databases.fresh("mysql_a", "sqlite_b")
    execute("mysql_a", "SET foreign_key_checks = 0", "DROP TABLE testapp_tag")
    finished = move("mysql_a", "sqlite_b")
    assert_ended(finished, 1, "has no table 'testapp_tag'", "grant this user rights on all of it")


@pytest.mark.mysql
def test_columns_of_mysql_without_a_right_stop_a_run(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.fresh("mysql_a", "sqlite_b")
    tags("mysql_a")
    # The user of the tests may make no other one, so that only the catalogue can be made to say so.
    for right, lacking in (("select", "insert"), ("insert", "select")):
        of_column = f"IF(column_name = 'name', '{right}', privileges)"
        monkeypatch.setattr(mysql_visibility, "RIGHTS_SQL", RIGHTS_SQL.replace("privileges", of_column))
        source, dest = ("mysql_a", "sqlite_b") if lacking == "select" else ("sqlite_b", "mysql_a")
        said = "may not read columns" if lacking == "select" else "may not insert into columns"
        assert_ended(move(source, dest), 1, f"{said} of 1 table: testapp_tag (name)", f"grant {lacking.upper()}")


TEMPORARY = {
    "postgresql": "CREATE TEMP VIEW testapp_tag AS SELECT * FROM public.testapp_tag WHERE id < 3",
    "mysql": "CREATE TEMPORARY TABLE testapp_tag (id bigint PRIMARY KEY, name varchar(80))",
    "sqlite": "CREATE TEMP VIEW testapp_tag AS SELECT * FROM main.testapp_tag WHERE id < 3",
}


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_a_temporary_table_that_hides_another_stops_every_command(
    databases: FreshDatabases, tmp_path: Path, engine: str
) -> None:
    """An update would delete from the destination what it does not see in the source."""
    databases.fresh(f"{engine}_a", "default")
    for alias in (f"{engine}_a", "default"):
        tags(alias)

    def hide(connection: BaseDatabaseWrapper, **_: object) -> None:
        if connection.alias == "hiding":
            with connection.cursor() as cursor:
                cursor.execute(TEMPORARY[engine])

    connection_created.connect(hide)
    try:
        with another_alias("hiding", **entry_of(f"{engine}_a")), nothing_changes("default"):
            for finished in commands("hiding", "default", tmp_path / "rejects"):
                assert_ended(finished, 1, "hiding: temporary tables or views of this connection hide 1 table: testapp_")
    finally:
        connection_created.disconnect(hide)


@pytest.mark.mysql
@pytest.mark.parametrize("variable", ["sql_select_limit = 3", "system_versioning_asof = '2000-01-01 00:00:00'"])
def test_no_variable_of_a_session_hides_rows(databases: FreshDatabases, variable: str) -> None:
    databases.fresh("mysql_a", "sqlite_b")
    tags("mysql_a")
    if "versioning" in variable:
        if is_mysql("mysql_a"):
            pytest.skip("MySQL has no such tables")
        execute("mysql_a", "ALTER TABLE testapp_tag ADD SYSTEM VERSIONING")
    entry = entry_of("mysql_a")
    options = {**entry["OPTIONS"], "init_command": f"SET SESSION {variable}"}
    with another_alias("limited", **{**entry, "OPTIONS": options}) as limited:
        for more in ([], ["--replace", "sqlite_b", "--jobs", "2"], ["--update"]):
            assert_ended(move(limited, "sqlite_b", *more), 0)
            assert count("sqlite_b") == 10
        connections[limited].close()


@pytest.mark.postgresql
def test_a_rule_in_place_of_deletions_stops_a_run_that_would_delete(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "postgresql_b")
    tags("sqlite_a")
    execute("postgresql_b", "CREATE RULE keep AS ON DELETE TO testapp_tag DO INSTEAD NOTHING")
    assert_ended(move("sqlite_a", "postgresql_b"), 0)  # nothing is there to delete
    disable = 'ALTER TABLE "testapp_tag" DISABLE RULE keep'
    with nothing_changes("postgresql_b"):
        for more in (["--replace", "postgresql_b"], ["--update"]):
            assert_ended(move("sqlite_a", "postgresql_b", *more), 1, "instead of deletions", disable)
    execute("postgresql_b", disable)
    assert_ended(move("sqlite_a", "postgresql_b", "--replace", "postgresql_b", "--verify", "full"), 0)


@pytest.mark.postgresql
def test_materialized_views_over_tables_of_a_run_are_noted_in_the_order_of_their_refresh(
    databases: FreshDatabases,
) -> None:
    databases.fresh("sqlite_a", "postgresql_a")
    tags("sqlite_a")
    execute(
        "postgresql_a",
        'CREATE MATERIALIZED VIEW "Tags" AS SELECT id, name FROM testapp_tag',
        'CREATE VIEW tag_names AS SELECT name FROM "Tags"',
        "CREATE MATERIALIZED VIEW a_last AS SELECT count(*) FROM tag_names",
        "CREATE MATERIALIZED VIEW of_others AS SELECT count(*) FROM testapp_treenode",
    )
    noted = (
        'postgresql_a: the run does not refresh 2 materialized views over its tables: "Tags", a_last. Do that after '
        'the run: REFRESH MATERIALIZED VIEW "Tags"; REFRESH MATERIALIZED VIEW a_last.'
    )
    try:
        for more in ((), ("--update",)):
            moved = move("sqlite_a", "postgresql_a", *more)
            assert_ended(moved, 0)
            assert noted in " ".join((moved.out + moved.err).split())
            QuerySet(Tag, using="sqlite_a").filter(id=1).update(name="changed")
    finally:
        execute("postgresql_a", 'DROP MATERIALIZED VIEW "Tags" CASCADE', "DROP MATERIALIZED VIEW of_others")
