"""Whether both databases have what the models describe: found out, and said, before the first write."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet
from django.test import override_settings

from tests.databases.snapshots import insert_rows
from tests.manage import Finished
from tests.management.running import another_alias, entry_of, error_in, execute, facts, nothing_changes, run
from tests.servers.databases import ENGINES, Pair
from tests.testapp.models import Chapter, Counted, Empty, Legacy, Rating, Tag, TextKey, UniqueCode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
# Each engine once with something wrong in its database, as source and as destination.
EACH_SIDE = [(Pair(f"{engine}_a", "sqlite_b"), "source") for engine in ENGINES] + [
    (Pair("sqlite_a", f"{engine}_b"), "dest") for engine in ENGINES
]


@pytest.fixture
def sqlite(databases: FreshDatabases) -> Pair:
    """Give two fresh SQLite databases, for what no engine makes a difference to."""
    databases.fresh(*SQLITE)
    return SQLITE


@pytest.fixture(params=EACH_SIDE, ids=lambda param: f"{getattr(param[0], param[1])} as {param[1]}")
def faulty(request: pytest.FixtureRequest, databases: FreshDatabases) -> tuple[Pair, str]:
    """Give two fresh databases and the alias of the one to spoil."""
    pair, side = request.param
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"name": "one"}])
    return pair, getattr(pair, side)


def move(pair: Pair, *words: str) -> Finished:
    return run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", *words)


def refused(pair: Pair, *words: str) -> list[str]:
    """Run, and return the findings for which it was refused before any write."""
    with nothing_changes(*pair):
        finished = move(pair, *words)
        dry = move(pair, "--dry-run", *words)
    assert finished.code == 1
    assert re.fullmatch(
        r"PLAN  (Copy \d+ rows? of \d+ tables?|No table can be copied) from '.*' to '.*'( yet)?\.",
        finished.out.splitlines()[0],
    )
    assert dry.code == 1, "a dry run tells of what would stop the run by its exit code, too"
    assert error_in(dry) == error_in(finished)
    first, *findings = error_in(finished).splitlines()
    assert first.startswith(f"CommandError: Nothing was written. {len(findings)} problem"), finished.err
    assert all(finding.startswith("  - ") for finding in findings), finished.err
    return [finding.removeprefix("  - ") for finding in findings]


def notes(finished: Finished) -> list[str]:
    return [line.removeprefix("Note: ") for line in finished.out.splitlines() if line.startswith("Note: ")]


# -- migrations -----------------------------------------------------------------------------------------------------


def test_refuses_unapplied_migrations(faulty: tuple[Pair, str]) -> None:
    pair, alias = faulty
    execute(alias, "DELETE FROM django_migrations WHERE app = 'testapp' AND name = '0002_legacy'")
    (finding,) = refused(pair)
    assert finding.startswith(f"{alias}: ")
    assert "not applied: testapp.0002_legacy." in finding
    way_on = "Pass --migrate" if alias == pair.dest else f"Run manage.py migrate --database {alias}"
    assert way_on in finding


@pytest.mark.parametrize("side", ["source", "dest"])
def test_notes_that_a_database_is_ahead_of_the_code(sqlite: Pair, side: str) -> None:
    """An older name is one that was squashed, and says nothing."""
    alias = getattr(sqlite, side)
    for name in ("0000_squashed_since", "9999_of_tomorrow"):
        execute(alias, f"INSERT INTO django_migrations (app, name, applied) VALUES ('testapp', '{name}', '2026-01-01')")
    insert_rows(Empty, sqlite.source, [{"name": "one"}])
    finished = move(sqlite, "testapp.Empty")
    assert finished.code == 0, finished.err
    (note,) = [note for note in notes(finished) if "migrations" in note]
    assert note == (
        f"{alias}: migrations were applied there that this code does not have yet: testapp.9999_of_tomorrow. "
        "Columns and tables that they created are not copied. Check out the code that matches that database."
    )


def test_what_squashed_migrations_replace_is_no_newer_code(sqlite: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django records the replaced migrations too, whether their files are still there or not."""
    migration = import_module("tests.testapp.migrations.0001_models").Migration
    monkeypatch.setattr(migration, "replaces", [("testapp", f"99{number}_squashed") for number in range(10, 90)])
    for alias in sqlite:
        for app, name in migration.replaces:
            execute(
                alias, f"INSERT INTO django_migrations (app, name, applied) VALUES ('{app}', '{name}', '2026-01-01')"
            )
    finished = move(sqlite, "testapp.Empty")
    assert finished.code == 0, finished.err
    assert not [note for note in notes(finished) if "migrations" in note]


def test_notes_once_and_shortly_what_both_databases_are_ahead_by(sqlite: Pair) -> None:
    for alias in sqlite:
        for number in range(10, 90):
            name = f"99{number}_new"
            execute(
                alias, f"INSERT INTO django_migrations (app, name, applied) VALUES ('testapp', '{name}', '2026-01-01')"
            )
    finished = move(sqlite, "testapp.Empty")
    assert finished.code == 0, finished.err
    (note,) = [note for note in notes(finished) if "migrations" in note]
    names = ", ".join(f"testapp.99{number}_new" for number in range(10, 15))
    assert note.startswith(
        f"sqlite_a and sqlite_b: migrations were applied there that this code does not have yet: {names} and 75 more. "
    )


def test_tells_of_both_sides_at_once(sqlite: Pair) -> None:
    for alias in sqlite:
        execute(alias, "DELETE FROM django_migrations WHERE app = 'testapp' AND name = '0002_legacy'")
    of_source, of_dest = refused(sqlite)
    assert of_source.startswith("sqlite_a: ")
    assert of_dest.startswith("sqlite_b: ")
    assert "--migrate" in of_dest


def test_migrations_of_other_apps_do_not_matter(sqlite: Pair) -> None:
    insert_rows(Tag, sqlite.source, [{"name": "one"}])
    execute(sqlite.dest, "DELETE FROM django_migrations WHERE app = 'admin'")
    assert move(sqlite, "testapp.Tag").code == 0
    assert refused(sqlite, "admin")


def test_a_database_without_a_record_of_migrations_is_compared_by_its_tables(sqlite: Pair) -> None:
    insert_rows(Tag, sqlite.source, [{"name": "one"}])
    execute(sqlite.source, "DROP TABLE django_migrations")
    finished = move(sqlite, "testapp.Tag")
    assert finished.code == 0, finished.err
    expected = "sqlite_a: it has no table of applied migrations, so only its tables and columns can be compared."
    assert expected in notes(finished)


@pytest.fixture
def bare(sqlite: Pair, tmp_path: Path) -> Any:
    """Give an alias whose database is a file that is not there yet."""
    with another_alias("bare", **entry_of("sqlite_b", NAME=str(tmp_path / "bare.sqlite3"))) as alias:
        insert_rows(Tag, sqlite.source, [{"name": "one"}])
        yield alias


def test_creates_the_tables_of_a_new_destination_when_told_to(sqlite: Pair, bare: str) -> None:
    finished = move(Pair(sqlite.source, bare), "--migrate")
    assert finished.code == 0, finished.err
    assert "Applying " in finished.err
    assert QuerySet(Tag, using=bare).get().name == "one"
    assert run("verify_counts", "--source", sqlite.source, "--dest", bare).code == 0


def test_a_new_destination_without_tables_is_refused_with_the_way_on(sqlite: Pair, bare: str) -> None:
    finished = move(Pair(sqlite.source, bare), "testapp.Tag")
    assert finished.code == 1
    assert error_in(finished).startswith("CommandError: Nothing was written.")
    assert "  - testapp.Tag: 'bare' has no table 'testapp_tag'. " in finished.err
    assert "--migrate" in finished.err
    assert connections[bare].introspection.table_names() == []


def test_a_new_destination_without_tables_is_no_copy_that_needs_no_resuming(sqlite: Pair, bare: str) -> None:
    finished = move(Pair(sqlite.source, bare), "--resume")
    assert finished.code == 1
    assert "Pass --migrate to create them." in finished.err


def test_a_destination_without_any_table_is_one_finding(sqlite: Pair, bare: str) -> None:
    finished = move(Pair(sqlite.source, bare))
    tables = re.search(r"Checking (\d+) tables", finished.err)
    assert tables
    assert error_in(finished) == (
        "CommandError: Nothing was written. 1 problem stops this run:\n"
        f"  - bare: it lacks all {tables[1]} tables of this run. Pass --migrate to create them.\n"
    )
    assert not [note for note in notes(finished) if note.startswith("bare: ")]


def test_a_source_without_any_table_is_one_finding(sqlite: Pair, tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite3"
    path.touch()
    with another_alias("empty", **entry_of("sqlite_a", NAME=str(path))) as alias:
        (finding,) = refused(Pair(alias, sqlite.dest))
    assert finding.startswith("empty: it lacks all ")
    assert finding.endswith("Correct its entry in DATABASES, or swap --source and --dest.")


def test_missing_tables_are_counted_and_the_first_are_named(sqlite: Pair) -> None:
    lacking = [Chapter, Counted, Empty, Rating, TextKey, UniqueCode]
    execute(sqlite.dest, *(f"DROP TABLE {model._meta.db_table}" for model in lacking))
    (finding,) = refused(sqlite)
    assert re.sub(r"of the \d+ tables", "of the N tables", finding) == (
        "sqlite_b: it lacks 6 of the N tables of this run: those of testapp.Chapter, testapp.Counted, "
        "testapp.Empty, testapp.Rating, testapp.TextKey and 1 more. No pending migration creates them: run "
        "manage.py makemigrations, create them yourself, or leave the models out with --exclude."
    )


def test_a_dry_run_that_would_migrate_writes_nothing(sqlite: Pair, bare: str) -> None:
    finished = move(Pair(sqlite.source, bare), "--migrate", "--dry-run", "-v", "2")
    assert (finished.code, error_in(finished)) == (0, "")
    assert connections[bare].introspection.table_names() == []
    assert any(note.startswith("bare: ") and "will be applied first: " in note for note in notes(finished))
    (row,) = (line for line in finished.out.splitlines() if " testapp.Tag " in line)
    assert row.split() == ["-", "testapp.Tag", "testapp_tag", "1", "-", "2", "created", "first"]


def test_does_not_migrate_where_the_run_is_refused_anyway(sqlite: Pair, bare: str) -> None:
    with override_settings(MIGRATOR={"PROTECTED": [bare]}):
        assert move(Pair(sqlite.source, bare), "--migrate").code == 1
    assert run("batch_migrate", "--source", sqlite.source, "--dest", bare, "--migrate").code == 1, "nobody to ask"
    assert connections[bare].introspection.table_names() == []


# -- tables and columns ---------------------------------------------------------------------------------------------


def test_refuses_a_missing_table(faulty: tuple[Pair, str]) -> None:
    pair, alias = faulty
    execute(alias, "DROP TABLE testapp_empty")
    (finding,) = refused(pair)
    assert finding.startswith(f"testapp.Empty: {alias!r} has no table 'testapp_empty'. ")
    assert "--exclude" in finding


def test_goes_on_without_a_missing_table_that_is_excluded(faulty: tuple[Pair, str]) -> None:
    pair, alias = faulty
    execute(alias, "DROP TABLE testapp_empty")
    finished = move(pair, "-e", "testapp.Empty")
    assert finished.code == 0, finished.err
    plan, _, _ = finished.out.partition("DONE  ")
    assert facts(plan)["left out"].startswith("testapp.Empty (excluded)")


def test_refuses_a_missing_column(faulty: tuple[Pair, str]) -> None:
    pair, alias = faulty
    execute(alias, "DROP TABLE testapp_empty", f"CREATE TABLE testapp_empty (id {key_of(alias)})")
    (finding,) = refused(pair)
    assert finding.startswith(f"testapp.Empty: table 'testapp_empty' of {alias!r} lacks the columns name. ")


def test_refuses_a_column_whose_name_is_too_long_for_the_destination(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL cuts it, and two that begin alike would be one."""
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    long = "n" * 70
    for alias in pair:
        execute(alias, f"ALTER TABLE testapp_empty RENAME COLUMN name TO {long}")
    monkeypatch.setattr(Empty._meta.get_field("name"), "column", long)
    (finding,) = refused(pair, "testapp.Empty")
    start = f"testapp.Empty: column names in 'postgresql_b' have at most 63 characters, too few for {long}. "
    assert finding.startswith(start)
    assert finding.endswith("or leave the model out with --exclude testapp.Empty.")


def key_of(alias: str) -> str:
    return {
        "sqlite": "integer NOT NULL PRIMARY KEY AUTOINCREMENT",
        "postgresql": "bigint NOT NULL PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY",
        "mysql": "bigint AUTO_INCREMENT NOT NULL PRIMARY KEY",
    }[connections[alias].vendor]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("column", "is_filled_by_itself"),
    [("integer NOT NULL", False), ("integer", True), ("integer DEFAULT 3 NOT NULL", True)],
)
def test_a_column_that_nobody_fills_stops_the_run_unless_it_fills_itself(
    databases: FreshDatabases, engine: str, column: str, is_filled_by_itself: bool
) -> None:
    pair = Pair("sqlite_a", f"{engine}_b")
    databases.fresh(*pair)
    insert_rows(Empty, pair.source, [{"name": "one"}])
    key = key_of(pair.dest)
    made = f"CREATE TABLE testapp_empty (id {key}, name varchar(80) NOT NULL, extra {column})"
    execute(pair.dest, "DROP TABLE testapp_empty", made)
    if is_filled_by_itself:
        finished = move(pair, "testapp.Empty")
        assert finished.code == 0, finished.err
        assert QuerySet(Empty, using=pair.dest).get().name == "one"
        return
    (finding,) = refused(pair, "testapp.Empty")
    expected = f"columns of {pair.dest!r} require a value that the model does not have: extra. "
    assert finding.startswith(f"testapp.Empty: {expected}")


@pytest.mark.parametrize("engine", ENGINES)
def test_notes_columns_of_the_source_that_stay_behind(databases: FreshDatabases, engine: str) -> None:
    pair = Pair(f"{engine}_a", "sqlite_b")
    databases.fresh(*pair)
    insert_rows(Empty, pair.source, [{"name": "one"}])
    execute(pair.source, "ALTER TABLE testapp_empty ADD COLUMN mood varchar(9)")
    finished = move(pair, "testapp.Empty")
    assert finished.code == 0, finished.err
    expected = (
        f"testapp.Empty: columns of {pair.source!r} that the model does not have are not copied: mood. "
        "Add them to the model first if they matter."
    )
    assert expected in notes(finished)


@pytest.mark.parametrize("engine", ENGINES)
def test_computed_columns_are_no_columns_too_many(databases: FreshDatabases, engine: str) -> None:
    pair = Pair(f"{engine}_a", f"{engine}_b")
    databases.fresh(*pair)
    insert_rows(Counted, pair.source, [{"width": 2, "height": 3}])
    finished = move(pair, "testapp.Counted")
    assert finished.code == 0, finished.err
    assert not any("column" in note for note in notes(finished))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "plain"])
def test_refuses_a_destination_that_does_not_compute_a_column(
    databases: FreshDatabases, engine: str, is_there: bool
) -> None:
    pair = Pair("sqlite_a", f"{engine}_b")
    databases.fresh(*pair)
    execute(pair.dest, "ALTER TABLE testapp_counted DROP COLUMN area")
    if is_there:
        execute(pair.dest, "ALTER TABLE testapp_counted ADD COLUMN area bigint")
    (finding,) = refused(pair, "testapp.Counted")
    missing = f"table 'testapp_counted' of {pair.dest!r} lacks the columns area. "
    plain = f"generated fields are ordinary columns in {pair.dest!r}, and would stay empty: area. "
    assert finding.startswith(f"testapp.Counted: {plain if is_there else missing}")


# -- what is left out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_names_the_tables_that_no_model_describes(databases: FreshDatabases, engine: str) -> None:
    pair = Pair(f"{engine}_a", "sqlite_b")
    databases.fresh(*pair)
    execute(
        pair.source,
        "CREATE TABLE zz_orphaned (id integer)",
        "CREATE TABLE aa_orphaned (id integer)",
        "CREATE VIEW a_view AS SELECT 1 AS one",
    )
    try:
        whole, part = move(pair, "--dry-run"), move(pair, "testapp.Tag", "--dry-run")
    finally:
        execute(pair.source, "DROP VIEW a_view")
    assert facts(whole.out)["no model"] == "these tables are left out: aa_orphaned, zz_orphaned"
    assert "no model" not in facts(part.out)


def test_says_of_every_model_why_it_is_left_out(sqlite: Pair) -> None:
    insert_rows(Tag, sqlite.source, [{"name": "one"}])
    insert_rows(UniqueCode, sqlite.source, [{"code": "a", "label": "a"}])
    insert_rows(Legacy, sqlite.source, [{"code": "a"}])
    with override_settings(DATABASE_ROUTERS=["tests.databases.planning.test_schema.KeepsCodesAtHome"]):
        finished = move(sqlite, "-e", "sessions", "-e", "testapp.TreeNode", "-v", "2")
    assert finished.code == 0, finished.err
    plan, _, _ = finished.out.partition("DONE  ")
    assert facts(plan)["left out"] == (
        "sessions.Session (excluded), testapp.Legacy (unmanaged; name it to copy it), testapp.TreeNode (excluded), "
        "testapp.UniqueCode (the database router does not allow it in 'sqlite_b')"
    )
    assert QuerySet(Tag, using=sqlite.dest).exists()
    assert not QuerySet(UniqueCode, using=sqlite.dest).exists()
    assert not QuerySet(Legacy, using=sqlite.dest).exists()


class KeepsCodesAtHome:
    """A router by which one model has a table in one database only."""

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        return db != "sqlite_b" if model_name == "uniquecode" else None


def test_copies_an_unmanaged_table_that_is_named(sqlite: Pair) -> None:
    insert_rows(Legacy, sqlite.source, [{"code": "a", "amount": 3}])
    assert move(sqlite, "testapp.Legacy").code == 0
    assert QuerySet(Legacy, using=sqlite.dest).values_list("code", "amount").get() == ("a", 3)


@pytest.mark.parametrize("dest", ["sqlite_b", "postgresql_b", "mysql_b"])
def test_notes_unique_texts_that_the_destination_tells_apart_by_their_case(
    databases: FreshDatabases, dest: str
) -> None:
    """People log in with their name in any case as long as MySQL compares it."""
    pair = Pair("mysql_a", dest)
    databases.fresh(*pair)
    execute(pair.source, "ALTER TABLE auth_user MODIFY username varchar(150) COLLATE utf8mb4_general_ci NOT NULL")
    note = f"Note: {dest}: its collations are case-sensitive and those of 'mysql_a' are not: auth.User.username. "
    if dest == "mysql_b":
        execute(pair.dest, "ALTER TABLE auth_user MODIFY username varchar(150) COLLATE utf8mb4_general_ci NOT NULL")
    finished = run("batch_migrate", "--source", pair.source, "--dest", dest, "--dry-run", "auth.User")
    assert finished.code == 0, finished.err
    assert (note in finished.out) is (dest != "mysql_b")


@pytest.mark.parametrize("engine", ENGINES)
def test_warns_of_triggers_that_fire_while_rows_are_loaded(databases: FreshDatabases, engine: str) -> None:
    pair = Pair("sqlite_a", f"{engine}_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"name": "one"}])
    statements = {
        "sqlite": ["CREATE TRIGGER noted AFTER INSERT ON testapp_tag BEGIN SELECT 1; END"],
        "postgresql": [
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER noted BEFORE INSERT ON testapp_tag FOR EACH ROW EXECUTE FUNCTION noted()",
        ],
        "mysql": ["CREATE TRIGGER noted BEFORE INSERT ON testapp_tag FOR EACH ROW SET NEW.name = NEW.name"],
    }[engine]
    execute(pair.dest, *statements)
    try:
        finished = move(pair, "testapp.Tag")
    finally:
        if engine == "postgresql":
            execute(pair.dest, "DROP FUNCTION noted CASCADE")
        if engine == "mysql":
            execute(pair.dest, "DROP TRIGGER noted")
    assert finished.code == 0, finished.err
    (note,) = (note for note in notes(finished) if "trigger" in note)
    assert note.startswith(f"{pair.dest}: ")
    assert "testapp_tag.noted" in note
