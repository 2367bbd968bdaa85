"""SQLite: many rows are loaded by one statement, and no row is lost or named wrongly for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import connections

from migrator.databases.api import batch_migrate
from migrator.databases.engines.base.loading import Target
from migrator.databases.engines.sqlite.engine import SQLite
from migrator.databases.tables import Kind
from tests.databases.snapshots import insert_rows, snapshot
from tests.testapp.models import CharValue

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.sqlite


@pytest.mark.parametrize("columns", [1, 3, 40, 1200])
@pytest.mark.parametrize("rows", [0, 1, 49, 50, 51, 173])
def test_every_row_arrives_once_and_in_order(databases: FreshDatabases, columns: int, rows: int) -> None:
    databases.fresh("sqlite_b")
    engine = SQLite(connections["sqlite_b"])
    names = [f"c{n}" for n in range(columns)]
    engine.execute(f"CREATE TABLE loaded ({', '.join(names)})")
    given = [tuple(f"{row} {name}" for name in names) for row in range(rows)]
    writer = engine.writer("loaded", [Target(name, Kind.TEXT) for name in names])
    for batch in (given[:70], given[70:]):
        writer.write(batch)
    writer.finish()
    assert engine.fetch_all("SELECT * FROM loaded ORDER BY rowid") == given


@pytest.mark.parametrize("rows", [1, 50, 51])
def test_signs_of_placeholders_in_names_and_fields_sql_are_no_placeholders(
    databases: FreshDatabases, rows: int
) -> None:
    databases.fresh("sqlite_b")
    engine = SQLite(connections["sqlite_b"])
    engine.execute('CREATE TABLE "100%% or %%s?" ("so? %%s", "50 %%", "%%(x)s")')
    targets = [
        Target("so? %s", Kind.TEXT),
        Target("50 %", Kind.OTHER, "%s || ' of 100 %%, or %%s?'"),
        Target("%(x)s", Kind.TEXT),
    ]
    engine.writer("100% or %s?", targets).write([(f"{row}", "50", None) for row in range(rows)])
    assert engine.fetch_all('SELECT * FROM "100%% or %%s?" ORDER BY rowid') == [
        (f"{row}", "50 of 100 %, or %s?", None) for row in range(rows)
    ]


def test_one_refused_row_is_told_from_those_of_its_statement(databases: FreshDatabases, tmp_path: Path) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    rows = [{"id": n, "label": f"row {n}", "value": f"word {n}"} for n in range(1, 121)]
    rows[76]["value"] = "word 3"
    insert_rows(CharValue, "sqlite_a", rows)
    with connections["sqlite_b"].cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX own ON testapp_charvalue (value)")
    outcome = batch_migrate(
        source="sqlite_a",
        dest="sqlite_b",
        labels=["testapp.CharValue"],
        on_error="skip",
        rejects=tmp_path / "rejects",
    )
    (tally,) = outcome.row_counts.values()
    assert (tally.rows_written, tally.rows_rejected) == (119, 1)
    assert set(snapshot("sqlite_b", [CharValue])["testapp.CharValue"]) == {str(n) for n in range(1, 121) if n != 77}
