"""What is refused before the first write, for it could only end badly, and what nobody decided by saying nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections

from migrator.databases.api import Console, batch_migrate
from migrator.databases.planning.schema import why_impossible
from settings.base import ROOT
from tests.management.running import another_alias, contents, entry_of, execute, nothing_changes, run
from tests.scenarios.faults.oracle import THREE_PAIRS, Oracle, assert_ended, assert_unlocked, fill, words
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Article, Empty

to_each_engine = pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mysql"])
def test_one_database_under_two_names(engine: str, databases: Any, tmp_path: Path) -> None:
    alias = f"{engine}_a"
    databases.fresh(alias)
    fill(alias)
    entry = entry_of(alias)
    others = [{**entry, "HOST": "127.1"}]
    if engine == "sqlite":
        others = [{**entry, "NAME": str(tmp_path / name)} for name in ("soft", "hard")]
        (tmp_path / "soft").symlink_to(entry["NAME"])
        os.link(entry["NAME"], tmp_path / "hard")
    for other in others:
        with another_alias("twin", **other), nothing_changes(alias):
            for more in (["--dry-run"], ["--replace", "twin"]):
                finished = run(*words(Pair(alias, "twin"), *more))
                assert_ended(finished, 1, f"'{alias}' and 'twin' are the same database (")
    (tmp_path / "hard").unlink(missing_ok=True)


def test_a_file_with_two_names_is_not_written_to(databases: Any, tmp_path: Path) -> None:
    """Two runs could each have the lock of a name of its own, and SQLite itself damages such a file."""
    pair = PAIRS[0]
    databases.fresh(*pair)
    fill(pair.source)
    other = tmp_path / "other"
    os.link(connections[pair.dest].settings_dict["NAME"], other)
    try:
        with nothing_changes(*pair):
            for more in ([], ["--dry-run"], ["--cleanup"]):
                finished = run(*words(pair, *more))
                assert_ended(finished, 1, "its file has 2 names (hard links)", "Nothing was written.")
    finally:
        other.unlink()
    assert_ended(run(*words(pair)), 0)


@to_each_engine
def test_ends_that_look_swapped(pair: Pair) -> None:
    fill(pair.dest)
    with nothing_changes(*pair):
        for more in ([], ["--replace", pair.dest]):
            assert_ended(run(*words(pair, *more)), 1, "Did you swap --source and --dest?", "Nothing was written.")


@to_each_engine
def test_rows_that_would_be_lost(pair: Pair, oracle: Oracle) -> None:
    """`--no-input` answers questions; it decides about nobody's rows."""
    fill(pair.dest, 3)
    with nothing_changes(*pair):
        assert_ended(
            run(*words(pair)), 1, "holds rows that will be LOST: ", "testapp.Tag (3)", f"--replace {pair.dest}"
        )
        assert_ended(run(*words(pair, "--replace", pair.source)), 2, "It has to name the database whose rows")
    assert_ended(run(*words(pair, "--replace", pair.dest)), 0)
    oracle.assert_complete()


@pytest.mark.parametrize("side", ["source", "dest"])
@to_each_engine
def test_migrations_that_are_not_applied(pair: Pair, oracle: Oracle, side: str) -> None:
    alias = getattr(pair, side)
    execute(alias, "DELETE FROM django_migrations WHERE app = 'testapp'")
    with nothing_changes(*pair):
        assert_ended(run(*words(pair)), 1, f"  - {alias}: ", "testapp.0001_models", "Nothing was written.")


CANNOT_BE = [
    ({"required_db_vendor": "postgresql"}, Pair("postgresql_a", "sqlite_b"), "sqlite_b", "required_db_vendor is"),
    ({"required_db_vendor": "postgresql"}, Pair("mysql_a", "postgresql_b"), "mysql_a", "required_db_vendor is"),
    (
        {"required_db_features": ["supports_json_field", "has_native_duration_field"]},
        Pair("postgresql_a", "mysql_b"),
        "mysql_b",
        "it lacks has_native_duration_field of the model's Meta.required_db_features",
    ),
]


@pytest.mark.parametrize(("meta", "pair", "alias", "reason"), CANNOT_BE, ids=["no dest", "no source", "no feature"])
def test_a_model_that_a_database_cannot_have(
    databases: Any,
    monkeypatch: pytest.MonkeyPatch,
    meta: dict[str, Any],
    pair: Pair,
    alias: str,
    reason: str,
) -> None:
    databases.fresh(*pair)
    for name, value in meta.items():
        monkeypatch.setattr(Empty._meta, name, value)
        monkeypatch.setattr(Article._meta, name, value)
    execute(alias, "DROP TABLE testapp_empty")
    move = ("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input")
    with nothing_changes(*pair):
        finished = run(*move, "testapp.Empty", "testapp.Tag")
    assert_ended(
        finished, 1, f"  - testapp.Empty: {alias!r} cannot have this model's table: ", reason,
        "Leave the model out with --exclude testapp.Empty.", "Nothing was written.",
    )  # fmt: skip
    assert why_impossible(Article.tags.through, connections[alias]), "its many-to-many tables come with the model's"
    assert_ended(run(*move, "testapp.Empty", "testapp.Tag", "-e", "testapp.Empty"), 0)


SHAPES = {
    "a column missing": ("ALTER TABLE testapp_place RENAME COLUMN name TO title", "name"),
    "a column that nobody fills": ("ALTER TABLE testapp_place ADD COLUMN extra integer NOT NULL", "extra"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[5]], ids=str, indirect=True)
def test_tables_of_another_shape(pair: Pair, oracle: Oracle, shape: str) -> None:
    statement, column = SHAPES[shape]
    execute(pair.dest, statement)
    with nothing_changes(*pair):
        assert_ended(run(*words(pair)), 1, "  - testapp.Place", column, "Nothing was written.")


READ_ONLY: dict[str, dict[str, Any]] = {
    "postgresql": {"OPTIONS": {"options": "-c default_transaction_read_only=on"}},
    "mysql": {"OPTIONS": {"init_command": "SET SESSION TRANSACTION READ ONLY"}},
    "sqlite": {},
}


@contextmanager
def read_only(alias: str) -> Iterator[str]:
    """Give the database another name, under which it takes no writes."""
    entry = entry_of(alias)
    changes = READ_ONLY[alias.partition("_")[0]]
    if not changes:
        changes = {"NAME": f"file:{entry['NAME']}?mode=ro", "OPTIONS": {"uri": True}}
    with another_alias("stone", **{**entry, **changes}) as name:
        yield name
        connections["stone"].close()


@to_each_engine
def test_a_destination_that_takes_no_writes(pair: Pair, oracle: Oracle) -> None:
    with read_only(pair.dest) as stone, nothing_changes(pair.source):
        for more in ([], ["--dry-run"]):
            finished = run(*words(Pair(pair.source, stone), *more))
            assert_ended(finished, 1, "  - stone: ", "Choose a database that can be written.", "Nothing was written.")
    oracle.assert_untouched()


@pytest.mark.postgresql
def test_a_source_that_takes_no_writes_is_as_good_as_any(databases: Any) -> None:
    pair = Pair("postgresql_a", "sqlite_b")
    databases.fresh(*pair)
    fill(pair.source)
    with read_only(pair.source) as stone:
        assert_ended(run(*words(Pair(stone, pair.dest))), 0)


@pytest.mark.parametrize("stdin", ["</dev/null", "<&-", "< <(yes)"])
def test_nobody_was_asked(databases: Any, stdin: str) -> None:
    """Without a terminal and without `--no-input` there is no yes, not even one that is piped in."""
    pair = PAIRS[0]
    databases.fresh(*pair)
    fill(pair.source)
    command = [sys.executable, "manage.py", *(word for word in words(pair) if word != "--no-input")]
    with nothing_changes(*pair):
        finished = subprocess.run(
            ["/bin/bash", "-c", f"{shlex.join(command)} {stdin}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert finished.returncode == 1
    assert "There is no terminal to ask on (" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert_unlocked(pair.dest)


@to_each_engine
def test_a_write_to_the_source_is_refused_by_the_source(pair: Pair, oracle: Oracle) -> None:
    before = contents(pair.source)
    tried = []

    def write(plan: Any) -> None:
        with pytest.raises(DatabaseError, match=r"(?i)read.?only") as refused:
            connections[pair.source].cursor().execute("DELETE FROM testapp_pizzeria")
        tried.append(refused.value)

    batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp"], dry_run=True, console=Console(show=write))
    assert len(tried) == 1
    assert contents(pair.source) == before
    oracle.assert_untouched()


@to_each_engine
def test_a_trial_locks_nobody_out_and_writes_nothing(pair: Pair, oracle: Oracle) -> None:
    def look(plan: Any) -> None:
        assert_unlocked(pair.dest)

    with nothing_changes(*pair):
        batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp"], dry_run=True, console=Console(show=look))
        assert_ended(run(*words(pair, "--dry-run")), 0)
    oracle.assert_untouched()
