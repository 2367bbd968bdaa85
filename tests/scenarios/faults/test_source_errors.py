"""What a server says of a row while it reads is that row's error: it is named, or rejected, and no link is lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from tests.databases.copying.test_retry import execute
from tests.databases.snapshots import insert_rows
from tests.management.running import run
from tests.scenarios.faults.oracle import assert_ended, count_rows, journal_tables
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import TextKey, TextValue, TreeNode

pytestmark = pytest.mark.driver

LATIN = b"caf\xe9"
ROW = "testapp.TextValue with primary key 77"
FROM_POSTGRESQL = [PAIRS[3], PAIRS[4], PAIRS[5]]
from_postgresql = pytest.mark.parametrize("pair", FROM_POSTGRESQL, ids=str)


def command(pair: Pair, *more: str) -> tuple[str, ...]:
    ends = ("--source", pair.source, "--dest", pair.dest)
    return ("batch_migrate", *ends, "--no-input", "--chunk-size", "40", *more, "testapp.TextValue")


def fill(alias: str) -> None:
    insert_rows(TextValue, alias, [{"id": n, "label": f"row {n}", "value": f"wörd {n}"} for n in range(1, 101)])


def rejected(path: Path) -> dict[str, Any]:
    (line,) = map(json.loads, path.read_text().splitlines())
    return dict(line)


# -- a database that stores any bytes ---------------------------------------------------------------------------------


@pytest.fixture
def of_any_bytes(databases: Any) -> str:
    """Give a PostgreSQL database without an encoding, whose texts are UTF-8 except one."""
    alias = "postgresql_a"
    databases.fresh(alias)
    server = databases._kinds["postgresql"]
    connections[alias].close()
    server.drop(alias)
    encoding = "ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    server.administer(alias, f"CREATE DATABASE {server.name(alias)} TEMPLATE template0 {encoding}")
    for model in (TextValue, TextKey):
        with connections[alias].schema_editor() as editor:
            editor.create_model(model)
    fill(alias)
    execute(alias, f"UPDATE testapp_textvalue SET value = {of_bytes(LATIN)} WHERE id = 77")
    return alias


def of_bytes(data: bytes) -> str:
    return f"convert_from('\\x{data.hex()}', 'SQL_ASCII')"


@from_postgresql
def test_a_text_in_no_encoding_is_named_or_rejected_with_its_bytes(
    of_any_bytes: str, pair: Pair, databases: Any, tmp_path: Path
) -> None:
    databases.fresh(pair.dest)
    stopped = run(*command(pair))
    assert stopped.code == 1
    assert "value" in stopped.err
    assert "77" in stopped.err
    assert "link" not in stopped.err
    rejects = tmp_path / "rejects.jsonl"
    on = ["--resume"] if journal_tables(pair.dest) else []
    assert_ended(run(*command(pair, *on, "--on-error", "skip", "--rejects", str(rejects), "--verify", "full")), 4)
    line = rejected(rejects)
    assert (line["pk"], line["field"]) == ("77", "value")
    assert line["row"]["value"] == {"base64": base64.b64encode(LATIN).decode()}
    assert count_rows(TextValue, pair.dest) == 99
    ends = ("--source", pair.source, "--dest", pair.dest, "testapp.TextValue", "--rejects", str(rejects))
    assert "is not in the destination, as the run left it." in run("verify_counts", *ends).out


@from_postgresql
def test_a_text_in_no_encoding_is_one_difference(of_any_bytes: str, pair: Pair, databases: Any) -> None:
    databases.fresh(pair.dest)
    QuerySet(TextValue, using=of_any_bytes).filter(pk=77).update(value="plain")
    assert_ended(run(*command(pair)), 0)
    execute(of_any_bytes, f"UPDATE testapp_textvalue SET value = {of_bytes(LATIN)} WHERE id = 77")
    QuerySet(TextValue, using=of_any_bytes).filter(pk=5).update(value="changed")
    ends = ("--source", pair.source, "--dest", pair.dest)
    compared = run("verify_counts", *ends, "testapp.TextValue", "--mode", "full")
    assert_ended(compared, 3)
    assert "77" in compared.out
    updated = run(*command(pair, "--update"))
    assert updated.code == 1
    assert "77" in updated.err
    assert "link" not in updated.err
    execute(of_any_bytes, "DELETE FROM testapp_textvalue WHERE id = 77")
    assert_ended(run(*command(pair, "--update", "--verify", "full")), 0)


@pytest.mark.parametrize("rows", ["40", "1"], ids=["in a chunk", "at a chunk's end"])
def test_a_primary_key_in_no_encoding_is_rejected(of_any_bytes: str, databases: Any, tmp_path: Path, rows: str) -> None:
    pair = FROM_POSTGRESQL[0]
    databases.fresh(pair.dest)
    insert_rows(TextKey, of_any_bytes, [{"code": f"kéy {n}", "label": f"{n}"} for n in range(30)])
    execute(of_any_bytes, f"INSERT INTO testapp_textkey (code, label) VALUES ({of_bytes(b'k' + LATIN)}, 'the one')")
    rejects = tmp_path / "rejects.jsonl"
    words = [word.replace("TextValue", "TextKey") for word in command(pair, "--chunk-size", rows)]
    assert_ended(run(*words, "--on-error", "skip", "--rejects", str(rejects)), 4)
    assert rejected(rejects)["row"]["label"] == "the one"
    assert count_rows(TextKey, pair.dest) == 30


# -- whatever else a server says --------------------------------------------------------------------------------------


@pytest.fixture
def failing(request: pytest.FixtureRequest, databases: Any) -> Iterator[str]:
    """Give a source that fails with the error of this code whenever the text of row 77 is read."""
    alias, code = "postgresql_a", request.param
    databases.fresh(alias)
    fill(alias)
    execute(
        alias,
        "CREATE FUNCTION fails(text) RETURNS text LANGUAGE plpgsql STABLE AS"
        f" $$ BEGIN RAISE EXCEPTION 'it fails' USING ERRCODE = '{code}'; END $$",
        "ALTER TABLE testapp_textvalue RENAME TO texts",
        "CREATE VIEW testapp_textvalue AS SELECT id, label, CASE id WHEN 77 THEN fails(value) ELSE value END AS value"
        " FROM texts",
    )
    yield alias
    connections[alias].close()
    execute(
        alias, "DROP VIEW testapp_textvalue", "ALTER TABLE texts RENAME TO testapp_textvalue", "DROP FUNCTION fails"
    )


# A failed cast, a cancelled statement, a damaged page, what a function raises.
@pytest.mark.parametrize("failing", ["22P02", "57014", "XX001", "P0001"], indirect=True)
def test_an_error_of_the_source_is_that_of_its_row(failing: str, databases: Any, tmp_path: Path) -> None:
    for pair in FROM_POSTGRESQL[:2]:
        databases.fresh(pair.dest)
        assert_ended(run(*command(pair)), 1, f"{ROW}, field value", "it fails", "--resume")
        assert_ended(run(*command(pair, "--resume")), 1, f"{ROW}, field value")
        rejects = tmp_path / f"{pair}.jsonl"
        words = ("--resume", "--on-error", "skip", "--rejects", str(rejects), "--verify", "full")
        assert_ended(run(*command(pair, *words)), 4)
        line = rejected(rejects)
        assert (line["pk"], line["field"], line["row"]["label"]) == ("77", "value", "row 77")
        assert count_rows(TextValue, pair.dest) == 99
        assert journal_tables(pair.dest) == set()


@pytest.mark.parametrize("failing", ["22P02"], indirect=True)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_such_a_row_is_rejected_from_the_first_run_on(failing: str, databases: Any, tmp_path: Path, jobs: str) -> None:
    pair = FROM_POSTGRESQL[1]
    databases.fresh(pair.dest)
    rejects = tmp_path / "rejects.jsonl"
    words = ("--on-error", "skip", "--rejects", str(rejects), "--jobs", jobs)
    assert_ended(run(*command(pair, *words)), 4)
    assert rejected(rejects)["pk"] == "77"
    assert count_rows(TextValue, pair.dest) == 99


def damage(alias: str, text: bytes) -> None:
    """Overwrite the page of a SQLite file that holds these bytes."""
    connections[alias].close()
    path = Path(connections[alias].settings_dict["NAME"])
    data, size = bytearray(path.read_bytes()), 4096
    start = data.index(text) // size * size
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)


def test_a_damaged_page_of_a_sqlite_source_ends_each_command_with_the_way_on(databases: Any, tmp_path: Path) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    insert_rows(TreeNode, pair.source, [{"id": n, "name": f"node {n:05}", "parent_id": None} for n in range(1, 2_001)])
    fill(pair.source)
    damage(pair.source, b"node 01000")
    rejects = ("--on-error", "skip", "--rejects", str(tmp_path / "rejects.jsonl"))
    ways = ((), ("--resume", *rejects), ("--cleanup",), ("--replace", pair.dest), ("--cleanup",), ("--update",))
    for more in ways:
        finished = run(*command(pair, *more, "testapp.TreeNode"))
        if more == ("--cleanup",):
            assert_ended(finished, 0)
        else:
            assert_ended(finished, 1, "sqlite_a", "malformed", ".recover")
    assert journal_tables(pair.dest) == set()
