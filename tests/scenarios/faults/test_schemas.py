"""Tables of PostgreSQL's schemas: two schemas of one database are two places, and a model may name its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, models
from django.db.models import QuerySet

from migrator.databases.engines.registry import engine_for
from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import RunState
from tests.databases.snapshots import insert_rows
from tests.management.running import another_alias, entry_of, execute, facts, nothing_changes, run
from tests.scenarios.faults.oracle import assert_ended, try_lock
from tests.servers.databases import FreshDatabases
from tests.testapp.models import Tag

pytestmark = pytest.mark.postgresql

ONE, TWO = "one", "two"


def schema_of(alias: str, *path: str) -> dict[str, Any]:
    entry = entry_of(alias)
    return {**entry, "OPTIONS": {**entry["OPTIONS"], "options": f"-c search_path={','.join(path)}"}}


@contextmanager
def two_schemas(alias: str = "postgresql_a") -> Iterator[None]:
    """Give each of two aliases a schema of one database, with the tables of the run and all that it looks at."""
    tables = ("testapp_tag", "django_content_type", "auth_permission", "django_migrations")
    copies = [f"CREATE TABLE {schema}.{t} (LIKE public.{t} INCLUDING ALL)" for schema in (ONE, TWO) for t in tables]
    execute(alias, *(f"CREATE SCHEMA {schema}" for schema in (ONE, TWO)), *copies)
    execute(alias, *(f"INSERT INTO {s}.django_migrations SELECT * FROM django_migrations" for s in (ONE, TWO)))
    with ExitStack() as stack:
        for schema in (ONE, TWO):
            stack.enter_context(another_alias(schema, **schema_of(alias, schema)))
        yield


def tags(alias: str, name: str, rows: int = 3) -> None:
    insert_rows(Tag, alias, [{"id": n, "name": name} for n in range(1, rows + 1)])


def names(alias: str) -> list[str]:
    return list(QuerySet(Tag, using=alias).order_by("id").values_list("name", flat=True))


def move(source: str, dest: str, *more: str) -> Any:
    return run("batch_migrate", "--source", source, "--dest", dest, "--no-input", "testapp.Tag", *more)


def test_two_schemas_of_one_database_are_two_places(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    with two_schemas():
        tags(ONE, "of one")
        for more in (["--verify", "full"], ["--replace", TWO, "--jobs", "2"], ["--update"]):
            finished = move(ONE, TWO, *more)
            assert_ended(finished, 0)
            assert facts(finished.out)["schemas"] == "'one': one; 'two': two"
            assert names(TWO) == ["of one"] * 3
        assert_ended(run("verify_counts", "--source", ONE, "--dest", TWO, "testapp.Tag", "--mode", "full"), 0)
        # What is in one of them stands in nobody's way in the other.
        journal = Journal(ONE)
        journal.set_state(journal.begin({}, [], empties=False), RunState.COPYING)
        assert Journal(TWO).current() is None
        assert_ended(move(ONE, TWO, "--replace", TWO), 1, "one: it holds an unfinished run")
        assert_ended(move(TWO, ONE, "--replace", ONE), 1, "holds an unfinished run")
        assert_ended(run("batch_migrate", "--source", TWO, "--dest", ONE, "--cleanup", "--no-input"), 0)
        assert_ended(move(TWO, ONE, "--replace", ONE), 0)


def test_one_table_reached_by_two_paths_is_one_table(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    with two_schemas(), another_alias("public", **schema_of("postgresql_a", "nowhere", "public", ONE)):
        tags("public", "here")
        for source, dest in (("public", "postgresql_a"), ("postgresql_a", "public")):
            with nothing_changes("postgresql_a"):
                for finished in (
                    move(source, dest, "--replace", dest),
                    run("verify_counts", "--source", source, "--dest", dest, "testapp.Tag"),
                ):
                    assert_ended(finished, 1, "are the same database", "Correct DATABASES.")
        with another_alias("mixed", **schema_of("postgresql_a", ONE, "public")):
            finished = run("batch_migrate", "--source", "mixed", "--dest", "public", "testapp.Tag", "testapp.Empty")
            assert_ended(finished, 1, "are the same database", ", and see the same tables there (testapp_empty).")


def test_a_run_keeps_others_off_every_schema_that_it_writes_to(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    with two_schemas(), another_alias("mixed", **schema_of("postgresql_a", TWO, "public")):
        engine = engine_for(connections["mixed"])
        engine.connect()
        engine.claim(["testapp_tag", "testapp_empty"])  # the one in a schema of its own, the other in the usual one
        assert engine.lock()
        assert (try_lock(ONE), try_lock(TWO), try_lock("postgresql_a")) == (True, False, False)
        engine.unlock()
        assert (try_lock(TWO), try_lock("postgresql_a")) == (True, True)


def test_the_plan_says_which_tables_are_in_which_schema(databases: FreshDatabases, tmp_path: Path) -> None:
    """Where the first schema of a path lacks a table, that of the next one is emptied and filled."""
    databases.fresh("postgresql_a", "sqlite_a")
    tags("sqlite_a", "new")
    with two_schemas(), another_alias("mixed", **schema_of("postgresql_a", TWO, "public")):
        ends = ("--source", "sqlite_a", "--dest", "mixed", "--no-input", "--dry-run", "-v", "2")
        finished = run("batch_migrate", *ends, "testapp.Tag", "testapp.Empty", "--report", tmp_path / "plan.json")
        assert_ended(finished, 0)
        assert "two.testapp_tag" in finished.out
        assert "public.testapp_empty" in finished.out
        assert "Note: mixed: its tables are in 2 schemas: " in finished.out
        document = json.loads(run("batch_migrate", *ends, "testapp.Tag", "--format", "json").out)
        table = document["plan"]["tables"][0]
        assert (table["source_schema"], table["dest_schema"]) == (None, TWO)


@contextmanager
def models_of_another_schema(*aliases: str) -> Iterator[dict[str, Any]]:
    """Make models with their tables in the schema `other`, and one in the usual schema that points there."""

    def model(class_name: str, table: str, **fields: Any) -> Any:
        meta = type("Meta", (), {"app_label": "testapp", "db_table": table})
        return type(class_name, (models.Model,), {"__module__": "tests.testapp.models", "Meta": meta, **fields})

    made: dict[str, Any] = {}
    try:
        made["thing"] = model("Thing", 'other"."thing', name=models.CharField(max_length=20, db_index=True))
        made["shelf"] = model("Shelf", 'other"."shelf', things=models.ManyToManyField(made["thing"]))
        made["box"] = model("Box", "testapp_box", shelf=models.ForeignKey(made["shelf"], models.CASCADE))
        for alias in aliases:
            execute(alias, "CREATE SCHEMA other")
            with connections[alias].schema_editor() as editor:
                for one in made.values():
                    editor.create_model(one)
            connections[alias].close()
        yield made
    finally:
        for name in (*made, "shelf_things"):
            apps.all_models["testapp"].pop(name, None)
        apps.clear_cache()


def test_a_model_that_names_its_schema_is_moved_as_any_other(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a", "postgresql_b")
    with models_of_another_schema("postgresql_a", "postgresql_b") as made:
        through = made["shelf"].things.through
        insert_rows(made["thing"], "postgresql_a", [{"id": n, "name": f"thing {n}"} for n in range(1, 6)])
        insert_rows(made["shelf"], "postgresql_a", [{"id": n} for n in range(1, 4)])
        insert_rows(through, "postgresql_a", [{"id": n, "shelf_id": n, "thing_id": n + 1} for n in range(1, 4)])
        insert_rows(made["box"], "postgresql_a", [{"id": n, "shelf_id": n} for n in range(1, 4)])
        ends = ("--source", "postgresql_a", "--dest", "postgresql_b")
        # Where it is only pointed at, its rows have to be there.
        finished = run("batch_migrate", *ends, "--no-input", "testapp.Box")
        assert_ended(finished, 1, "Copy the rows of testapp.Shelf too.")
        labels = ("testapp.Thing", "testapp.Shelf", "testapp.Box")
        for more in ([], ["--replace", "postgresql_b", "--jobs", "2"], ["--update"]):
            finished = run("batch_migrate", *ends, "--no-input", *labels, "--verify", "full", "-v", "2", *more)
            assert_ended(finished, 0)
        assert "other.shelf_things" in finished.out
        assert_ended(run("verify_counts", *ends, *labels, "--mode", "full"), 0)
        assert_ended(
            run("batch_migrate", *ends, "--no-input", "testapp.Box", "--replace", "postgresql_b", "--verify", "full"), 0
        )
        assert made["shelf"].things.through._base_manager.using("postgresql_b").count() == 3


def test_a_key_to_a_table_that_both_schemas_share_stays_on(databases: FreshDatabases) -> None:
    """To drop it would lock that table, which the run's own session of the source reads: it would wait for itself."""
    databases.fresh("postgresql_a")
    with two_schemas(), models_of_another_schema("postgresql_a") as made:
        for schema in (ONE, TWO):
            execute(
                "postgresql_a",
                f"CREATE TABLE {schema}.testapp_box (LIKE testapp_box INCLUDING ALL)",
                f"ALTER TABLE {schema}.testapp_box ADD CONSTRAINT k FOREIGN KEY (shelf_id) REFERENCES other.shelf",
            )
        insert_rows(made["shelf"], "postgresql_a", [{"id": 1}])
        insert_rows(made["box"], ONE, [{"id": 1, "shelf_id": 1}])
        ends = ("--source", ONE, "--dest", TWO, "--no-input", "testapp.Box")
        for more in (["--verify", "full"], ["--replace", TWO, "--jobs", "2"]):
            assert_ended(run("batch_migrate", *ends, *more), 0)
