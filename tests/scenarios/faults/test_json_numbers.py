"""MySQL's own JSON, which rounds large whole numbers and ends at 100 levels: such documents are found before.

MariaDB has no such type. If it is the server, the destination's catalogue says that its column has that type: what is
asked of the source, and of each value on its way, depends on nothing else.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db.models import QuerySet

from migrator.databases.engines.base.json_text import depth, has_wide_whole_number
from migrator.databases.engines.mysql.catalogue import MySQLCatalogue
from migrator.databases.tables import StoredColumn
from tests.databases.snapshots import insert_rows
from tests.management.running import execute, nothing_changes, run
from tests.servers.databases import ENGINES, Pair, is_mysql
from tests.testapp.models import JSONValue

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.driver

KEPT: Mapping[str, Any] = {
    "largest": {"a": [2**64 - 1]},
    "least": -(2**63),
    "float": 1e300,
    "small float": {"a": 12345678901.25},
    "as text": ["12345678901234567890123", 'a "quoted": 12345678901234567890123, and more'],
    "in a key": {"12345678901234567890123": [1, "\\", ""]},
    "none": None,
}
ROUNDED: Mapping[str, Any] = {
    "above": 2**64,
    "below": {"a": [1, -(2**63) - 1]},
    "snowflake": {"id": 12345678901234567890123, "text": 'quoted " and \\'},
    "first of a list": [10**20, 1],
}


def nested(levels: int) -> Any:
    value: Any = 1
    for number in range(levels):
        value = [value] if number % 2 else {"a": value}
    return value


@pytest.fixture(params=ENGINES)
def pair(request: pytest.FixtureRequest, databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch) -> Pair:
    pair = Pair(f"{request.param}_a", "mysql_b")
    databases.fresh(*pair)
    if not is_mysql(pair.dest):  # MariaDB's json is a text with a check, which MySQL's own has not
        execute(pair.dest, "ALTER TABLE testapp_jsonvalue MODIFY value longtext NULL")
    real = MySQLCatalogue.stored_tables

    def with_own_type(self: MySQLCatalogue, tables: Collection[str]) -> dict[str, dict[str, StoredColumn]]:
        found = real(self, tables)
        if self.alias == pair.dest and (own := found.get("testapp_jsonvalue")):
            own["value"] = dataclasses.replace(own["value"], type="json", declared="json", max_bytes=None)
        return found

    monkeypatch.setattr(MySQLCatalogue, "stored_tables", with_own_type)
    return pair


def insert(pair: Pair, documents: Mapping[str, Any]) -> None:
    insert_rows(JSONValue, pair.source, [{"label": label, "value": value} for label, value in documents.items()])


def move(pair: Pair, *words: str) -> Any:
    ends = ("--source", pair.source, "--dest", pair.dest, "--no-input")
    return run("batch_migrate", *ends, *words, "testapp.JSONValue")


def test_whole_numbers_beyond_64_bits_are_found_and_set_aside(pair: Pair, tmp_path: Path) -> None:
    kept = dict(KEPT)
    if pair.source.startswith("postgresql"):
        del kept["float"]  # PostgreSQL itself makes a whole number of it
    insert(pair, {**kept, **({} if is_mysql(pair.source) else ROUNDED)})
    if is_mysql(pair.source):
        assert move(pair, "--verify", "full").code == 0
        return
    with nothing_changes(*pair):
        finished = move(pair, "--dry-run")
    assert finished.code == 1
    assert f"testapp.JSONValue.value: {len(ROUNDED)} values: an integer beyond 64 bits" in finished.err
    skipped = move(pair, "--on-error", "skip", "--rejects", str(tmp_path / "kept"), "--verify", "full")
    assert skipped.code == 4, skipped.err
    rejected = [
        json.loads(line)["row"]["label"] for line in (tmp_path / "kept").read_text(encoding="utf-8").splitlines()
    ]
    assert sorted(rejected) == sorted(ROUNDED)
    arrived = dict(QuerySet(JSONValue, using=pair.dest).values_list("label", "value"))
    assert arrived == kept


def test_documents_of_too_many_levels_are_found_and_set_aside(pair: Pair, tmp_path: Path) -> None:
    most = 30 if pair.source.startswith("mysql") else 100  # a text of MariaDB's that is checked has 31 at most
    insert(pair, {"deep": nested(most), "brackets": "[{" * 200})
    finished = move(pair, "--dry-run")
    assert finished.code == 0, finished.err
    if pair.source.startswith("mysql"):
        return
    insert_rows(JSONValue, pair.source, [{"id": 101, "label": "too deep", "value": nested(101)}])
    with nothing_changes(*pair):
        finished = move(pair, "--dry-run")
    assert finished.code == 1
    assert (
        "testapp.JSONValue.value: 1 value: a document of more than 100 levels (for example primary key 101)"
        in finished.err
    )


@pytest.mark.parametrize(
    ("text", "is_wide", "levels"),
    [
        ("18446744073709551615", False, 0),
        ("[18446744073709551616]", True, 1),
        ("-9223372036854775808", False, 0),
        ('{"a": {"b": -9223372036854775809}}', True, 2),
        ("12345678901234567890.5", False, 0),
        ("12345678901234567890123E2", False, 0),
        ("1.12345678901234567890123", False, 0),
        ('{"[[[": "12345678901234567890123"}', False, 1),
        ('["\\\\", 99999999999999999999]', True, 1),
        ('["\\"", "\\\\\\" 99999999999999999999"]', False, 1),
    ],
)
def test_reads_numbers_and_levels_of_a_document(text: str, is_wide: bool, levels: int) -> None:
    assert (has_wide_whole_number(text), depth(text)) == (is_wide, levels)
