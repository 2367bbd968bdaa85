"""All checks of a plan are listed by name, with their results; `migrator_doctor` makes them without a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import connections

from migrator.databases.doctor import Diagnosis, migrator_doctor
from migrator.databases.planning.checks import Check, Outcome
from migrator.databases.planning.plan_request import Mode
from tests.databases.snapshots import insert_rows
from tests.management.running import another_alias, entry_of, execute, nothing_changes, run
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
# Each engine once as source and once as destination.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]


def outcomes(found: Diagnosis) -> dict[Check, Outcome]:
    return {result.check: result.outcome for result in found.checks}


@pytest.fixture
def sqlite(databases: FreshDatabases) -> Pair:
    databases.fresh(*SQLITE)
    insert_rows(Tag, SQLITE.source, [{"id": 1, "name": "one"}])
    return SQLITE


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str)
def test_a_healthy_pair_passes(databases: FreshDatabases, pair: Pair) -> None:
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": 1, "name": "one"}])
    with nothing_changes(*pair):
        found = migrator_doctor(source=pair.source, dest=pair.dest, labels=["testapp.Tag"])
    assert found.exit_code == 0
    results = outcomes(found)
    assert set(results) == {check for check in Check if Mode.REPLACE in check.modes} | {Check.RUN}
    assert not {Outcome.FAILED, Outcome.NOT_MADE} & set(results.values()), results
    assert [name for name, _ in found.versions] == ["Python", "Django", "migrator"]
    for side in (found.source, found.dest):
        assert side
        assert side.driver.split()[0] in ("sqlite3.dbapi2", "psycopg", "psycopg2", "MySQLdb")
        assert {"size"} < {name for name, _ in side.settings}


def test_names_the_check_that_failed_and_those_that_could_not_be_made(sqlite: Pair) -> None:
    execute(sqlite.dest, "DROP TABLE testapp_tag")
    shown = run("migrator_doctor", "testapp.Tag", "--source", sqlite.source, "--dest", sqlite.dest)
    assert shown.code == 1
    assert "\nFailed (tables): testapp.Tag: 'sqlite_b' has no table 'testapp_tag'. " in shown.out
    assert shown.out.splitlines()[0].endswith(" 1 failed, 13 not made. Nothing was written."), shown.out
    document = json.loads(
        run("migrator_doctor", "testapp.Tag", "--source", sqlite.source, "--dest", sqlite.dest, "--format", "json").out
    )
    assert (document["schema"], document["exit_code"]) == ("migrator/doctor@1", 1)
    by_id = {one["id"]: one for one in document["checks"]}
    assert (by_id["tables"]["result"], by_id["values"]["result"]) == ("failed", "not made")
    assert by_id["tables"]["findings"][0]["subject"] == "testapp.Tag"


def test_a_warning_fails_nothing(sqlite: Pair) -> None:
    execute(sqlite.source, "ALTER TABLE testapp_tag ADD colour varchar(20)")
    found = migrator_doctor(source=sqlite.source, dest=sqlite.dest, labels=["testapp.Tag"])
    assert (found.exit_code, outcomes(found)[Check.TABLES]) == (0, Outcome.WARNING)


def test_orphans_of_the_source_are_a_failed_check(sqlite: Pair) -> None:
    execute(
        sqlite.source,
        "PRAGMA foreign_keys = OFF",
        "INSERT INTO testapp_rating (id, article_id, tag_id, stars) VALUES (1, 404, 1, 5)",
    )
    found = migrator_doctor(source=sqlite.source, dest=sqlite.dest, labels=["testapp.Tag", "testapp.Article"])
    assert outcomes(found)[Check.ORPHANS] is Outcome.FAILED


def test_a_database_that_does_not_answer_is_a_failed_check(sqlite: Pair, tmp_path: Path) -> None:
    with another_alias("missing", **entry_of("sqlite_a", NAME=str(tmp_path / "nowhere.sqlite3"))):
        shown = run("migrator_doctor", "--source", "missing", "--dest", sqlite.dest)
    assert shown.code == 1
    assert "Failed (connections): missing and sqlite_b: " in shown.out
    assert "nowhere.sqlite3' does not exist." in shown.out


def test_an_empty_destination_can_be_migrated_first(sqlite: Pair, tmp_path: Path) -> None:
    with another_alias("bare", **entry_of("sqlite_b", NAME=str(tmp_path / "bare.sqlite3"))):
        found = migrator_doctor(source=sqlite.source, dest="bare")
        connections["bare"].close()
    assert (found.exit_code, outcomes(found)[Check.MIGRATIONS]) == (0, Outcome.WARNING)
    assert outcomes(found)[Check.VALUES] is Outcome.NOT_MADE, "it has no tables yet"


def test_a_full_disk_is_a_warning(sqlite: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.databases.engines.sqlite.engine.SQLite.free_bytes", lambda engine: 0)
    found = migrator_doctor(source=sqlite.source, dest=sqlite.dest, labels=["testapp.Tag"])
    (result,) = [result for result in found.checks if result.check is Check.SPACE]
    assert (result.outcome, found.exit_code) == (Outcome.WARNING, 0)
    assert "its disk has 0 B left, and the rows take at least " in str(result.findings[0])


def test_the_plan_of_a_dry_run_lists_all_checks(sqlite: Pair) -> None:
    words = ["testapp.Tag", "--source", sqlite.source, "--dest", sqlite.dest, "--dry-run", "--format", "json"]
    checks = json.loads(run("batch_migrate", *words).out)["plan"]["checks"]
    assert {"orphans", "values", "triggers"} <= {one["id"] for one in checks if one["result"] == "passed"}


def test_refuses_a_report_whose_suffix_names_no_format(sqlite: Pair, tmp_path: Path) -> None:
    with nothing_changes(*sqlite):
        shown = run(
            "batch_migrate", "--source", sqlite.source, "--dest", sqlite.dest, "--report", tmp_path / "report.pdf"
        )
    assert shown.code == 2
    assert shown.err.endswith("its suffix decides the format, and has to be .txt, .json, .jsonl, .html or .htm.\n")
    assert list(tmp_path.iterdir()) == []
