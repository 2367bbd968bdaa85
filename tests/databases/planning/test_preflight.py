"""What can go wrong before a run is refused before its first write, in one line, with the reason and the way on."""

from __future__ import annotations

import inspect
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sites.models import Site
from django.db import DatabaseError, connections, transaction
from django.db.backends.sqlite3 import base as sqlite3_backend
from django.db.models import Model, QuerySet
from django.test import override_settings

from migrator.databases import comparison
from migrator.databases.api import Console, batch_migrate, batch_migrate_models
from migrator.databases.comparison import verify_counts
from migrator.errors import MigratorError, Refused, UsageError
from settings.base import ROOT
from tests.databases.snapshots import insert_rows
from tests.manage import Finished
from tests.management.running import another_alias, entry_of, error_in, execute, facts, nothing_changes, run
from tests.servers.base import PASSWORD
from tests.servers.databases import ENGINES, Pair
from tests.testapp.models import Article, Chapter, Empty, OddNames, Place, Pointer, Rating, Tag, TextKey

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
TO_EACH_ENGINE = [Pair("postgresql_a", "sqlite_b"), Pair("sqlite_a", "postgresql_b"), Pair("postgresql_a", "mysql_b")]


@pytest.fixture
def sqlite(databases: FreshDatabases) -> Pair:
    """Give two fresh SQLite databases, for what no engine makes a difference to."""
    databases.fresh(*SQLITE)
    return SQLITE


def move(pair: Pair, *words: str) -> Finished:
    return run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", *words)


def ends_with_error(finished: Finished, code: int, message: str) -> None:
    """Assert that this one line is the error, and how the command ended."""
    assert (finished.code, error_in(finished)) == (code, f"CommandError: {message}\n")


def ends_with_usage(finished: Finished, command: str, message: str) -> None:
    """Assert that the command line was refused the way `argparse` does."""
    assert (finished.code, finished.out) == (2, "")
    usage, _, last = finished.err.rpartition(f"manage.py {command}: error: ")
    assert usage.startswith(f"usage: manage.py {command} ")
    assert last == f"{message}\n"


def rows_of(model: type[Model], alias: str) -> QuerySet[Any, Any]:
    return QuerySet(model, using=alias)


def tags(alias: str, count: int = 3) -> None:
    insert_rows(Tag, alias, [{"id": number, "name": f"tag {number}"} for number in range(1, count + 1)])


# -- words that cannot be right -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["batch_migrate", "verify_counts"])
@pytest.mark.parametrize("side", ["--source", "--dest"])
def test_refuses_an_unknown_alias(sqlite: Pair, command: str, side: str) -> None:
    words = {"--source": sqlite.source, "--dest": sqlite.dest, side: "nowhere"}
    with nothing_changes(*sqlite):
        finished = run(command, *(word for item in words.items() for word in item))
    known = ", ".join(repr(alias) for alias in sorted(connections))
    ends_with_error(finished, 2, f"There is no database 'nowhere'. DATABASES has {known}.")
    assert finished.out == ""


@pytest.mark.parametrize("command", ["batch_migrate", "verify_counts"])
def test_refuses_equal_aliases(sqlite: Pair, command: str) -> None:
    with nothing_changes(*sqlite):
        finished = run(command, "--source", sqlite.source, "--dest", sqlite.source)
    ends_with_error(finished, 2, "--source and --dest are both 'sqlite_a'.")


@pytest.mark.parametrize("command", ["batch_migrate", "verify_counts"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "'nothing' is not an installed app or model: No installed app with label 'nothing'."),
        (
            ["testapp.Nothing"],
            "'testapp.Nothing' is not an installed app or model: App 'testapp' doesn't have a 'Nothing'",
        ),
        (["-e", "nothing"], "'nothing' is not an installed app or model: No installed app with label 'nothing'."),
        (["testapp.Tag", "-e", "testapp.Tag"], "Nothing to do: no table belongs to 'testapp.Tag'."),
        (["testapp.SwappedUser"], "Nothing to do: no table belongs to 'testapp.SwappedUser'."),
    ],
    ids=["app", "model", "excluded", "none left", "swapped"],
)
def test_refuses_a_label_that_names_nothing(sqlite: Pair, command: str, words: list[str], message: str) -> None:
    with nothing_changes(*sqlite):
        finished = run(command, "--source", sqlite.source, "--dest", sqlite.dest, *words)
    assert (finished.code, finished.out) == (2, "")
    assert finished.err.startswith(f"CommandError: {message}")
    assert finished.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["testap"], "Did you mean 'testapp'?"),
        (["testapp.Artcle"], "Did you mean 'testapp.Article'?"),
        (["testapp.chapters"], "Did you mean 'testapp.Chapter'?"),
        (["-e", "tesapp.Tag"], "Did you mean 'testapp.Tag'?"),
        (["rating"], "Did you mean 'testapp.Rating'?"),
        (["--dest", "sqllite_b"], "There is no database 'sqllite_b'. Did you mean 'sqlite_b'"),
    ],
    ids=" ".join,
)
def test_suggests_what_was_meant(words: list[str], suggestion: str) -> None:
    finished = run("batch_migrate", "--source", "sqlite_a", "--dest", "sqlite_b", *words)
    assert finished.code == 2
    assert suggestion in finished.err


@pytest.mark.parametrize(
    ("lookup", "suggestion"),
    [("nmae=x", "Did you mean 'name'?"), ("article__nmae=x", "Did you mean 'name'?"), ("qqq=x", "")],
)
def test_suggests_the_field_that_a_filter_meant(sqlite: Pair, lookup: str, suggestion: str) -> None:
    finished = run(
        "batch_migrate_models", "testapp.Tag", "--source", sqlite.source, "--dest", sqlite.dest, "--filter", lookup
    )
    assert finished.code == 2
    assert finished.err.endswith(f" {suggestion}\n" if suggestion else "\n")
    assert ("Did you mean" in finished.err) == bool(suggestion)


@pytest.mark.parametrize("command", ["batch_migrate", "verify_counts"])
def test_refuses_an_unknown_option(command: str) -> None:
    finished = run(command, "--source", "sqlite_a", "--dest", "sqlite_b", "--quickly")
    ends_with_usage(finished, command, "unrecognized arguments: --quickly")


@pytest.mark.parametrize("command", ["batch_migrate", "verify_counts"])
def test_asks_for_both_ends(command: str) -> None:
    ends_with_usage(run(command), command, "the following arguments are required: --source, --dest")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--chunk-size", "0"], "argument --chunk-size: '0' is not a whole number above zero"),
        (["--chunk-size", "many"], "argument --chunk-size: 'many' is not a whole number above zero"),
        (["--verify", "all"], "argument --verify: invalid choice: 'all' (choose from 'none', 'count', 'full')"),
        (["--on-error", "ignore"], "argument --on-error: invalid choice: 'ignore' (choose from 'stop', 'skip')"),
        (["--format", "xml"], "argument --format: invalid choice: 'xml' (choose from 'text', 'json', 'jsonl')"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refuses_a_value_that_an_option_does_not_take(words: list[str], message: str) -> None:
    finished = run("batch_migrate", "--source", "sqlite_a", "--dest", "sqlite_b", *words)
    assert (finished.code, finished.out) == (2, "")
    # Python 3.12 and later leave the quotes around choices out.
    assert finished.err.replace("'", "").endswith(f"batch_migrate: error: {message}\n".replace("'", ""))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--replace", "sqlite_a"],
            "--replace names 'sqlite_a', and the destination is 'sqlite_b'. It has to name the database whose rows "
            "will be lost. Nothing was written.",
        ),
        (
            ["--on-error", "skip"],
            "--on-error skip needs --rejects FILE: rejected rows have to be kept somewhere.",
        ),
        (
            ["--resume", "--cleanup"],
            "--resume and --cleanup exclude each other: a run is completed or abandoned.",
        ),
    ],
    ids=["another alias", "nowhere to keep rows", "on and off"],
)
def test_refuses_options_that_contradict_each_other(sqlite: Pair, words: list[str], message: str) -> None:
    tags(sqlite.source)
    tags(sqlite.dest, 1)
    with nothing_changes(*sqlite):
        finished = move(sqlite, *words)
    ends_with_error(finished, 2, message)
    assert finished.out == ""


# -- calls from code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [batch_migrate, batch_migrate_models, verify_counts])
def test_every_command_is_a_function_that_takes_keywords_alone(function: Callable[..., Any]) -> None:
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    assert [p.name for p in parameters if p.kind not in kinds] == []
    required = {p.name for p in parameters if p.kind is kinds[0] and p.default is inspect.Parameter.empty}
    assert required - {"models"} == {"source", "dest"}


def test_functions_need_no_command_line(sqlite: Pair, capfd: pytest.CaptureFixture[str]) -> None:
    tags(sqlite.source)
    outcome = batch_migrate(source=sqlite.source, dest=sqlite.dest, labels=["testapp.Tag"])
    comparison = verify_counts(source=sqlite.source, dest=sqlite.dest, labels=["testapp.Tag"])
    assert (outcome.exit_code, outcome.row_counts["testapp_tag"].rows_written) == (0, 3)
    assert (comparison.exit_code, [c.dest_rows for c in comparison.verification.counts]) == (0, [3])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("side", ["source", "dest"])
def test_refuses_to_run_inside_a_transaction(databases: FreshDatabases, engine: str, side: str) -> None:
    pair = Pair(f"{engine}_a", f"{engine}_b")
    databases.fresh(*pair)
    alias = getattr(pair, side)
    expected = f"{alias!r} is inside a transaction. A run opens its own, so call it outside of atomic()."
    for function in (batch_migrate, verify_counts):
        with transaction.atomic(using=alias):
            insert_rows(Tag, alias, [{"name": "of the caller"}])
            with pytest.raises(UsageError) as raised:
                function(source=pair.source, dest=pair.dest)
            assert str(raised.value) == expected
        assert rows_of(Tag, alias).count() == 1, "the caller's transaction goes on"
        rows_of(Tag, alias).delete()


@pytest.mark.parametrize("words", [{"verify": "all"}, {"on_error": "ignore"}, {"chunk_size": 0}, {"chunk_size": -5}])
def test_refuses_arguments_that_the_command_line_would_not_let_through(sqlite: Pair, words: dict[str, Any]) -> None:
    tags(sqlite.source)
    with nothing_changes(*sqlite), pytest.raises(UsageError):
        batch_migrate(source=sqlite.source, dest=sqlite.dest, labels=["testapp.Tag"], **words)


# -- which database ---------------------------------------------------------------------------------------------------


@override_settings(MIGRATOR={"PROTECTED": ["default", "sqlite_b"]})
@pytest.mark.parametrize("words", [["--replace", "sqlite_b"], ["--migrate"], ["--dry-run"], ["--cleanup"]], ids=str)
def test_never_writes_to_a_protected_database(sqlite: Pair, words: list[str]) -> None:
    tags(sqlite.source)
    with nothing_changes(*sqlite):
        finished = move(sqlite, *words)
    message = "'sqlite_b' is in MIGRATOR['PROTECTED'], so it can never be a destination."
    ends_with_error(finished, 1, message)


@pytest.mark.parametrize("words", ["sqlite_b", ("sqlite_b",), {"sqlite_b"}], ids=str)
def test_protects_however_the_setting_is_written(sqlite: Pair, words: Any) -> None:
    """Calls from code run no system checks, which would find a text in place of a list."""
    tags(sqlite.source)
    with override_settings(MIGRATOR={"PROTECTED": words}), nothing_changes(*sqlite), pytest.raises(MigratorError):
        batch_migrate(source=sqlite.source, dest=sqlite.dest, labels=["testapp.Tag"])


@override_settings(MIGRATOR={"PROTECTED": ["sqlite_a"]})
def test_reads_from_a_protected_database(sqlite: Pair) -> None:
    tags(sqlite.source)
    assert move(sqlite, "testapp.Tag").code == 0


def other_name_of(host: str) -> str:
    """Name a server in another way."""
    if host in ("127.0.0.1", "localhost", "::1", ""):
        return "127.1"
    return socket.gethostbyname(host)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
@pytest.mark.parametrize("words", [["--dry-run"], ["--replace", "twin"]], ids=str)
def test_refuses_the_same_database_on_a_server_named_twice(
    databases: FreshDatabases, engine: str, words: list[str]
) -> None:
    alias = f"{engine}_a"
    databases.fresh(alias)
    tags(alias)
    entry = entry_of(alias)
    with another_alias("twin", **{**entry, "HOST": other_name_of(entry["HOST"])}), nothing_changes(alias):
        finished = move(Pair(alias, "twin"), *words)
    expected = (
        f"'{alias}' and 'twin' are the same database ({entry['NAME']!r}). Nothing was written. Correct DATABASES."
    )
    ends_with_error(finished, 1, expected)


@pytest.mark.parametrize("link", ["symbolic", "hard", "roundabout", "relative"])
def test_refuses_the_same_file_named_twice(sqlite: Pair, tmp_path: Path, link: str) -> None:
    file, other = Path(connections["sqlite_a"].settings_dict["NAME"]), tmp_path / "other.sqlite3"
    tags("sqlite_a")
    match link:
        case "symbolic":
            other.symlink_to(file)
        case "hard":
            os.link(file, other)
        case "roundabout":
            other = file.parent / ".." / file.parent.name / file.name
        case "relative":
            other = Path(os.path.relpath(file))
    entry = entry_of("sqlite_a", NAME=str(other))
    with another_alias("twin", **entry), nothing_changes("sqlite_a"):
        finished = move(Pair("sqlite_a", "twin"), "--replace", "twin")
    if link == "hard":
        other.unlink()  # nothing is written to a file with two names
    assert finished.code == 1
    assert finished.err.startswith("CommandError: 'sqlite_a' and 'twin' are the same database (")
    assert finished.err.endswith("). Nothing was written. Correct DATABASES.\n")


@pytest.mark.parametrize("engine", ENGINES)
def test_tells_two_databases_of_one_server_apart(databases: FreshDatabases, engine: str) -> None:
    pair = Pair(f"{engine}_a", f"{engine}_b")
    databases.fresh(*pair)
    finished = move(pair, "testapp.Tag", "--dry-run")
    assert (finished.code, error_in(finished)) == (0, "")


def closed_port() -> str:
    """Find a port where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.mark.parametrize("command", ["batch_migrate", "verify_counts"])
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
@pytest.mark.parametrize("fault", ["nobody listens", "wrong password", "no such database"])
def test_says_in_one_line_that_a_database_does_not_answer(sqlite: Pair, command: str, engine: str, fault: str) -> None:
    changes = {
        "nobody listens": {"PORT": closed_port()},
        "wrong password": {"PASSWORD": "an0ther-s3cret"},
        "no such database": {"NAME": "migrator_test_nowhere"},
    }[fault]
    with another_alias("down", **entry_of(f"{engine}_b", **changes)), nothing_changes(sqlite.source):
        for source, dest in ((sqlite.source, "down"), ("down", sqlite.source)):
            finished = run(command, "--source", source, "--dest", dest)
            assert (finished.code, finished.out) == (1, "")
            assert finished.err.startswith("CommandError: Cannot connect to 'down': ")
            assert finished.err.count("\n") == 1
            assert "Traceback" not in finished.err
            assert "s3cret" not in finished.err


@pytest.mark.parametrize("command", ["batch_migrate", "verify_counts"])
@pytest.mark.parametrize("side", ["source", "dest"])
def test_makes_no_file_for_a_database_that_is_not_there(sqlite: Pair, tmp_path: Path, command: str, side: str) -> None:
    """A misspelt path must not become an empty database that looks like one."""
    if command == "batch_migrate" and side == "dest":
        pytest.skip("a new destination is a new file; what has no tables is refused all the same")
    with another_alias("missing", **entry_of("sqlite_a", NAME=str(tmp_path / "misspelt.sqlite3"))):
        source, dest = ("missing", sqlite.dest) if side == "source" else (sqlite.source, "missing")
        finished = run(command, "--source", source, "--dest", dest)
    assert finished.code in (1, 3)
    assert list(tmp_path.iterdir()) == []


def test_says_that_a_file_cannot_be_opened(sqlite: Pair, tmp_path: Path) -> None:
    with another_alias("missing", **entry_of("sqlite_a", NAME=str(tmp_path / "nowhere" / "it.sqlite3"))):
        for pair in (Pair("missing", sqlite.dest), Pair(sqlite.source, "missing")):
            finished = move(pair)
            assert finished.code == 1
            assert re.fullmatch(r"CommandError: Cannot connect to 'missing': .+\n", error_in(finished))


NO_DRIVERS = """
import sys
for name in ("psycopg", "psycopg2", "MySQLdb", "oracledb", "cx_Oracle"):
    sys.modules[name] = None
from settings.test import *
DATABASES["postgresql_x"] = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "PASSWORD": "%s"}
DATABASES["mysql_x"] = {"ENGINE": "django.db.backends.mysql", "NAME": "x", "PASSWORD": "%s"}
DATABASES["oracle_x"] = {"ENGINE": "django.db.backends.oracle", "NAME": "x"}
"""

TRY_ALL = """
import sys
import django
django.setup()
from tests.management.running import run
pairs = [("postgresql_x", "sqlite_b"), ("sqlite_a", "mysql_x"), ("sqlite_a", "oracle_x"), ("sqlite_a", "sqlite_b")]
for source, dest in pairs:
    finished = run("batch_migrate", "--source", source, "--dest", dest, "testapp.Tag", "--no-input", "-v", "0")
    print(finished.code, finished.out + finished.err.strip())
"""


def test_a_missing_driver_hurts_only_who_needs_it(sqlite: Pair, tmp_path: Path) -> None:
    (tmp_path / "settings_without_drivers.py").write_text(NO_DRIVERS % (PASSWORD, PASSWORD))
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "settings_without_drivers",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
    }
    tags(sqlite.source)
    finished = subprocess.run(
        [sys.executable, "-c", TRY_ALL], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.stderr == ""
    to_postgresql, to_mysql, to_oracle, to_sqlite = finished.stdout.splitlines()
    assert to_postgresql.startswith("2 CommandError: The driver for 'postgresql_x' is missing: ")
    assert "psycopg" in to_postgresql
    assert to_mysql.startswith("2 CommandError: The driver for 'mysql_x' is missing: ")
    assert "MySQLdb" in to_mysql
    assert to_oracle.startswith("2 CommandError: The driver for 'oracle_x' is missing: ")
    assert to_sqlite == "0 "
    assert rows_of(Tag, sqlite.dest).count() == 3


@pytest.mark.parametrize("command", ["batch_migrate", "verify_counts"])
def test_refuses_an_engine_that_it_does_not_know(sqlite: Pair, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class DatabaseWrapper(sqlite3_backend.DatabaseWrapper):
        vendor = "punchcards"
        display_name = "Punch cards"

    backend = ModuleType("punchcards.base")
    backend.DatabaseWrapper = DatabaseWrapper  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "punchcards", ModuleType("punchcards"))
    monkeypatch.setitem(sys.modules, "punchcards.base", backend)
    with another_alias("cards", **entry_of(sqlite.dest, ENGINE="punchcards")), nothing_changes(*sqlite):
        finished = run(command, "--source", sqlite.source, "--dest", "cards")
    message = "'cards' is a Punch cards database; migrator moves rows between mysql, postgresql, sqlite."
    ends_with_error(finished, 2, message)


# -- the source is only read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_the_database_itself_rejects_a_write_to_the_source(databases: FreshDatabases, engine: str) -> None:
    pair = Pair(f"{engine}_a", "sqlite_b" if engine != "sqlite" else "postgresql_b")
    databases.fresh(*pair)
    errors = []

    def write(plan: Any) -> None:
        with pytest.raises(DatabaseError) as raised, connections[pair.source].cursor() as cursor:
            cursor.execute("INSERT INTO testapp_empty (name) VALUES ('intruder')")
        errors.append(str(raised.value))

    batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.Empty"], dry_run=True, console=Console(write))
    assert len(errors) == 1
    assert "read" in errors[0].lower(), errors
    assert "only" in errors[0].lower(), errors
    assert not rows_of(Empty, pair.source).exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_comparison_can_write_to_neither_side(
    databases: FreshDatabases, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(f"{engine}_a", f"{engine}_b")
    databases.fresh(*pair)
    tried = []

    def write(source: Any, dest: Any, *more: Any) -> Any:
        for side in (source, dest):
            with pytest.raises(DatabaseError, match=r"(?i)read.?only"):
                side.execute("INSERT INTO testapp_empty (name) VALUES ('intruder')")
            tried.append(side.alias)
        raise Refused("enough")

    monkeypatch.setattr(comparison, "verify", write)
    with pytest.raises(Refused, match="enough"):
        verify_counts(source=pair.source, dest=pair.dest)
    assert tried == [*pair]


@pytest.mark.parametrize("engine", ENGINES)
def test_leaves_the_sessions_of_the_caller_as_they_were(databases: FreshDatabases, engine: str) -> None:
    """A program that calls the function goes on with its connections: they can write, and check foreign keys."""
    pair = Pair(f"{engine}_a", f"{engine}_b")
    databases.fresh(*pair)
    tags(pair.source)
    batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.Tag"])
    for alias in pair:
        Tag(id=12345, name="later").save(using=alias, force_insert=True)
        assert rows_of(Tag, alias).filter(name="later").exists()
        orphan = Chapter(title="of nothing", tag_id=54321, _order=0)
        with pytest.raises(DatabaseError):
            orphan.save_base(using=alias, raw=True)  # in a transaction of its own, at whose end PostgreSQL looks


# -- what a destination holds -----------------------------------------------------------------------------------------


LOST = (
    "{end} holds rows that will be LOST: testapp.Tag (2). Nothing was written. Pass --replace {alias} if they may be "
    "lost, or choose an empty destination."
)


@pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
def test_destroys_nothing_without_a_decision(pair: Pair) -> None:
    tags(pair.source)
    tags(pair.dest, 2)
    with nothing_changes(*pair):
        finished = move(pair, "testapp.Tag")
        end = facts(finished.out)["to"]
        ends_with_error(finished, 1, LOST.format(end=end, alias=pair.dest))
        without = run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "testapp.Tag")
        ends_with_error(without, 1, LOST.format(end=end, alias=pair.dest))
    name, host = connections[pair.dest].settings_dict["NAME"], connections[pair.dest].settings_dict["HOST"]
    assert f"database {name!r} on {host or 'this machine'}" in end


def test_asks_even_where_nothing_is_lost(sqlite: Pair) -> None:
    tags(sqlite.source)
    with nothing_changes(*sqlite):
        finished = run("batch_migrate", "--source", sqlite.source, "--dest", sqlite.dest, "testapp.Tag")
    assert finished.code == 1
    assert finished.out.startswith("PLAN  ")
    assert re.fullmatch(
        r"CommandError: There is no terminal to ask on \(Copy 3 rows of 1 tables? from 'sqlite_a' to 'sqlite_b'\?\)\. "
        r"Nothing was written\. Pass --no-input to continue without a question\.\n",
        error_in(finished),
    )


@pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
def test_empties_only_the_selected_tables(pair: Pair) -> None:
    tags(pair.source)
    tags(pair.dest, 2)
    insert_rows(Place, pair.dest, [{"name": "of my own"}])
    insert_rows(Empty, pair.dest, [{"name": "of my own"}])
    finished = move(pair, "testapp.Tag", "testapp.Empty", "--replace", pair.dest)
    assert finished.code == 0, finished.err
    assert "  delete first  3 rows: testapp.Tag 2, testapp.Empty 1" in finished.out
    assert rows_of(Tag, pair.dest).count() == 3
    assert not rows_of(Empty, pair.dest).exists()
    assert rows_of(Place, pair.dest).get().name == "of my own"


@pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
def test_refuses_to_pull_the_ground_from_under_other_rows(pair: Pair) -> None:
    """Rows outside of the selection point at rows that would go."""
    tags(pair.source)
    tags(pair.dest)
    insert_rows(Chapter, pair.dest, [{"title": "mine", "tag_id": 1, "_order": 0}])
    insert_rows(Article, pair.dest, [{"name": "mine"}])
    insert_rows(Rating, pair.dest, [{"article_id": 1, "tag_id": 2, "stars": 5}])
    with nothing_changes(*pair):
        finished = move(pair, "testapp.Tag", "--replace", pair.dest)
    assert finished.code == 1
    assert "testapp.Chapter (1 row referencing testapp_tag)" in finished.err.replace("1 rows", "1 row")
    assert "testapp.Rating (1 row referencing testapp_tag)" in finished.err.replace("1 rows", "1 row")
    assert "Select it as well, or empty it yourself: " in finished.err
    assert error_in(finished).startswith("CommandError: Nothing was written.")


@pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
@pytest.mark.parametrize("holds", [True, False], ids=["rows", "no rows"])
def test_refuses_to_empty_what_a_table_without_a_model_points_at(pair: Pair, holds: bool) -> None:
    """Its rows might go with those that they point at, and nobody would be told."""
    tags(pair.source)
    tags(pair.dest)
    kind = "integer" if pair.dest.startswith("sqlite") else "bigint"
    key = f"tag {kind} REFERENCES testapp_tag (id) ON DELETE CASCADE"
    if pair.dest.startswith("mysql"):
        key = f"tag {kind}, FOREIGN KEY (tag) REFERENCES testapp_tag (id) ON DELETE CASCADE"
    execute(pair.dest, f"CREATE TABLE left_over ({key})")
    execute(pair.dest, f"INSERT INTO left_over VALUES ({1 if holds else 'NULL'})")
    finished = move(pair, "testapp.Tag", "--replace", pair.dest)
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM left_over")
        assert cursor.fetchone()[0] == 1
    if not holds:
        assert finished.code == 0, finished.err
        return
    assert finished.code == 1
    assert re.search(r"the table \W?left_over\W? \(1 row referencing testapp_tag\) is not part of", finished.err)


@pytest.mark.postgresql
def test_refuses_to_empty_what_a_table_of_another_schema_points_at(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    tags(pair.source)
    tags(pair.dest)
    execute(pair.dest, "CREATE SCHEMA theirs", "CREATE TABLE theirs.one (tag bigint REFERENCES testapp_tag (id))")
    execute(pair.dest, "INSERT INTO theirs.one VALUES (1)")
    try:
        finished = move(pair, "testapp.Tag", "--replace", pair.dest)
    finally:
        execute(pair.dest, "DROP SCHEMA theirs CASCADE")
    assert finished.code == 1
    assert "the table theirs.one (1 row referencing testapp_tag) is not part of this run" in finished.err


def test_rows_of_the_selection_may_point_at_each_other(sqlite: Pair) -> None:
    tags(sqlite.source)
    tags(sqlite.dest)
    insert_rows(Chapter, sqlite.dest, [{"title": "mine", "tag_id": 1, "_order": 0}])
    assert move(sqlite, "testapp.Tag", "testapp.Chapter", "--replace", "sqlite_b").code == 0
    assert not rows_of(Chapter, sqlite.dest).exists()


@pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
def test_refuses_rows_whose_parents_are_neither_selected_nor_there(pair: Pair) -> None:
    """Or the destination's foreign keys would not come back."""
    tags(pair.source)
    insert_rows(Chapter, pair.source, [{"title": "one", "tag_id": 1, "_order": 0}])
    with nothing_changes(*pair):
        finished = move(pair, "testapp.Chapter")
    assert finished.code == 1
    assert error_in(finished).startswith("CommandError: Nothing was written.")
    assert "testapp.Chapter" in finished.err
    assert "tag_id" in finished.err


def dropped_references(alias: str, table: str) -> list[str]:
    """Return the statements that drop the foreign keys to a table of MariaDB: from 11 on, they keep its key's type."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT table_name, constraint_name FROM information_schema.key_column_usage "
            "WHERE table_schema = DATABASE() AND referenced_table_name = %s",
            (table,),
        )
        return [f"ALTER TABLE {child} DROP FOREIGN KEY {name}" for child, name in cursor.fetchall()]


@pytest.mark.parametrize("dest", ["postgresql_b", "sqlite_b", "mysql_b"])
def test_refuses_references_that_only_the_source_follows(databases: FreshDatabases, dest: str) -> None:
    """Its collation ignores case, and the destination would miss the parent when all rows are there."""
    pair = Pair("mysql_a", dest)
    databases.fresh(*pair)
    for alias in pair if dest == "mysql_b" else pair[:1]:
        ignoring = "varchar(60) COLLATE utf8mb4_general_ci"
        execute(
            alias,
            *dropped_references(alias, "testapp_textkey"),
            f"ALTER TABLE testapp_textkey MODIFY code {ignoring} NOT NULL",
            f"ALTER TABLE testapp_pointer MODIFY to_text_id {ignoring}",
            "ALTER TABLE testapp_pointer ADD FOREIGN KEY (to_text_id) REFERENCES testapp_textkey (code)",
        )
    insert_rows(TextKey, pair.source, [{"code": "abc", "label": "parent"}])
    insert_rows(Pointer, pair.source, [{"id": 1, "to_text_id": "abc"}, {"id": 2, "to_text_id": "ABC"}])
    finished = move(
        pair,
        "testapp.TextKey",
        "testapp.Pointer",
        "testapp.AutoKey",
        "testapp.BigAutoKey",
        "testapp.UUIDKey",
        "testapp.UniqueCode",
    )
    if dest == "mysql_b":
        assert finished.code == 0, finished.err
        return
    assert finished.code == 1
    text = "1 row has no matching row of testapp.TextKey for to_text_id in the same letter case (for example"
    assert f"{text} primary key 2)" in finished.err
    assert not rows_of(Pointer, dest).exists()


@pytest.mark.parametrize("dest", ["postgresql_b", "sqlite_b"])
def test_follows_references_of_digits_in_any_case(databases: FreshDatabases, dest: str) -> None:
    """A UUID is the same in capitals, and MariaDB had no type for it once."""
    pair = Pair("mysql_a", dest)
    databases.fresh(*pair)
    execute(
        pair.source,
        *dropped_references(pair.source, "testapp_uuidkey"),
        "ALTER TABLE testapp_uuidkey MODIFY id char(32) COLLATE utf8mb4_general_ci NOT NULL",
        "ALTER TABLE testapp_pointer MODIFY to_uuid_id char(32) COLLATE utf8mb4_general_ci",
    )
    key = "16fd27068baf433b82eb8c7fada847da"
    execute(pair.source, f"INSERT INTO testapp_uuidkey (id, label) VALUES ('{key}', 'parent')")
    execute(pair.source, f"INSERT INTO testapp_pointer (id, to_uuid_id) VALUES (1, '{key.upper()}')")
    labels = [f"testapp.{name}" for name in ("Pointer", "UUIDKey", "TextKey", "AutoKey", "BigAutoKey", "UniqueCode")]
    finished = move(pair, *labels)
    assert finished.code == 0, finished.err
    assert "testapp.UUIDKey.id" not in finished.out
    assert rows_of(Pointer, dest).get().to_uuid.label == "parent"


@pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
def test_takes_rows_whose_parents_are_there_already(pair: Pair) -> None:
    tags(pair.source)
    tags(pair.dest)
    insert_rows(Chapter, pair.source, [{"title": "one", "tag_id": 1, "_order": 0}])
    finished = move(pair, "testapp.Chapter")
    assert finished.code == 0, finished.err
    assert rows_of(Chapter, pair.dest).get().tag_id == 1


@pytest.mark.parametrize(
    ("pair", "words"),
    [*[(pair, []) for pair in TO_EACH_ENGINE], (SQLITE, ["--dry-run"]), (SQLITE, ["--replace", "sqlite_b"]),
     (SQLITE, ["--on-error", "skip", "--rejects"])],
    ids=str, indirect=["pair"],
)  # fmt: skip
def test_refuses_an_empty_source_over_a_full_destination(pair: Pair, words: list[str], tmp_path: Path) -> None:
    tags(pair.dest, 1200)
    with nothing_changes(*pair):
        finished = move(pair, *words, *([str(tmp_path / "rejects")] if words[-1:] == ["--rejects"] else []))
    assert finished.code == 1
    assert finished.out.startswith("PLAN  ")
    assert re.fullmatch(
        r"CommandError: Nothing was written\. 1 problems? stops? this run:\n"
        rf"  - {pair.source}: the source is empty, and the destination holds 1,200 rows\. "
        r"Did you swap --source and --dest\?\n",
        error_in(finished),
    )
    assert list(tmp_path.iterdir()) == []


def test_an_empty_source_fills_an_empty_destination(sqlite: Pair) -> None:
    finished = move(sqlite)
    assert finished.code == 0, finished.err


@pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
def test_replaces_what_migrate_made_without_a_decision(pair: Pair) -> None:
    tags(pair.source)
    insert_rows(ContentType, pair.source, [{"id": 9001, "app_label": "gone", "model": "gone"}])
    assert move(pair, "-e", "testapp.Legacy").code == 0
    assert rows_of(ContentType, pair.dest).filter(pk=9001).exists()
    for model in (ContentType, Permission, Site, Tag):
        assert set(rows_of(model, pair.dest).values_list()) == set(rows_of(model, pair.source).values_list())


def test_the_plan_tells_what_of_migrate_is_replaced(sqlite: Pair) -> None:
    counts = {m._meta.label: rows_of(m, sqlite.dest).count() for m in (ContentType, Permission, Site)}
    finished = move(sqlite, "contenttypes", "auth.Permission", "sites", "--dry-run")
    assert facts(finished.out)["replace"] == (
        f"{sum(counts.values())} rows created by Django's migrate: "
        f"auth.Permission {counts['auth.Permission']}, "
        f"contenttypes.ContentType {counts['contenttypes.ContentType']}, sites.Site 1"
    )
    assert "delete first" not in finished.out


@pytest.mark.parametrize("change", ["renamed", "another"])
def test_a_site_of_somebody_needs_a_decision(sqlite: Pair, change: str) -> None:
    if change == "renamed":
        rows_of(Site, sqlite.dest).update(domain="shop.example.org")
    else:
        insert_rows(Site, sqlite.dest, [{"id": 2, "domain": "shop.example.org", "name": "shop"}])
    tags(sqlite.source)
    with nothing_changes(*sqlite):
        finished = move(sqlite)
    assert finished.code == 1
    assert f"holds rows that will be LOST: sites.Site ({1 if change == 'renamed' else 2})." in finished.err
    assert move(sqlite, "--replace", sqlite.dest).code == 0
    assert rows_of(Site, sqlite.dest).get().domain == "example.com"


def test_permissions_of_groups_and_users_are_no_rows_of_migrate(sqlite: Pair) -> None:
    tags(sqlite.source)
    insert_rows(Group, sqlite.dest, [{"name": "staff"}])
    with nothing_changes(*sqlite):
        finished = move(sqlite)
    assert finished.code == 1
    assert "LOST: auth.Group (1)" in finished.err


@pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
def test_an_empty_destination_is_filled_without_a_decision(pair: Pair) -> None:
    tags(pair.source)
    insert_rows(OddNames, pair.source, [{"value": "v", "order": 1, "dashed": 2, "accented": "é", "tag_id": 2}])
    assert move(pair, "testapp.Tag", "testapp.OddNames").code == 0
    assert rows_of(Tag, pair.dest).count() == 3


def test_a_destination_that_was_filled_is_full_for_the_second_run(sqlite: Pair) -> None:
    tags(sqlite.source)
    assert move(sqlite, "testapp.Tag").code == 0
    with nothing_changes(*sqlite):
        assert move(sqlite, "testapp.Tag").code == 1


# -- orphans in the source --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
def test_refuses_orphans_of_the_source_and_names_them(pair: Pair) -> None:
    tags(pair.source, 1)
    with foreign_keys_off(pair.source):
        insert_rows(Chapter, pair.source, [{"id": 7, "title": "lost", "tag_id": 404, "_order": 0}])
    with nothing_changes(pair.dest):
        finished = move(pair, "testapp.Tag", "testapp.Chapter")
    assert finished.code == 1
    for part in ("testapp.Chapter", "tag_id", "primary key 7", "--on-error skip --rejects FILE"):
        assert part in finished.err


class foreign_keys_off:  # noqa: N801
    """Let rows point at nothing, on any engine: PostgreSQL forgets the constraints, which the test's end puts back."""

    def __init__(self, alias: str) -> None:
        self._connection = connections[alias]

    def __enter__(self) -> None:
        if self._connection.vendor == "postgresql":
            with self._connection.cursor() as cursor:
                named = self._connection.introspection.get_constraints(cursor, "testapp_chapter")
                name = next(name for name, made in named.items() if made["foreign_key"])
                cursor.execute(f'ALTER TABLE testapp_chapter DROP CONSTRAINT "{name}"')
        elif self._connection.vendor == "sqlite":
            with self._connection.cursor() as cursor:
                cursor.execute("PRAGMA foreign_keys = OFF")
        else:
            self._connection.disable_constraint_checking()

    def __exit__(self, *args: object) -> None:
        self._connection.close()
