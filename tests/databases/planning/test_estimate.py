"""The estimate of a run: its numbers, and the sizes that each engine gives for it without reading tables."""

from __future__ import annotations

from dataclasses import replace
from os import urandom
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.utils import OperationalError

from migrator.databases.api import batch_migrate, batch_migrate_models
from migrator.databases.engines.base.catalogue import Catalogue, TableSize
from migrator.databases.engines.registry import engine_for
from migrator.databases.planning import estimate as module
from migrator.databases.planning.estimate import Rate, estimate_run, sizes_of
from migrator.databases.planning.plan import AwaitedTable, Estimate, Plan
from migrator.databases.planning.transports import ConvertedRows, ServerSideCopy, TextStream
from migrator.databases.tables import table_of
from tests.databases.snapshots import insert_rows
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import BinaryValue, Empty, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
TAG = "testapp_tag"
RATES_BY_TRANSPORT = {
    TextStream: Rate(100.0, 1000.0),
    ServerSideCopy: Rate(1000.0, 1000.0),
    ConvertedRows: Rate(10.0, 1000.0),
}


@pytest.fixture(autouse=True)
def round_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reckon with numbers that a person can check."""
    monkeypatch.setattr(module, "RATES", RATES_BY_TRANSPORT)
    monkeypatch.setattr(module, "COMPARED", Rate(50.0, 1000.0))
    for name, value in {"FASTER": 2.0, "SLOWER": 3.0, "FIXED_SECONDS": (0.0, 1.0), "LEAST_SPACE": 0.5}.items():
        monkeypatch.setattr(module, name, value)


def estimate(rows: int, size: TableSize | None, **options: Any) -> Estimate:
    """Estimate one table that is loaded as text."""
    options = {"updates": False, "compares_values": False} | options
    return estimate_run([AwaitedTable(table_of(Tag), rows, None)], lambda one: size and size.width(rows), **options)


@pytest.mark.parametrize(
    ("rows", "size", "options", "expected"),
    [
        (1000, TableSize(2000), {}, Estimate(5.0, 31.0, 1000)),  # narrow: by the row
        (1000, TableSize(50_000), {}, Estimate(25.0, 151.0, 25_000)),  # wide: by the byte
        (1000, TableSize(500, rows=10), {}, Estimate(25.0, 151.0, 25_000)),  # the same, from ten of the rows
        (1000, None, {}, Estimate(5.0, 31.0, None)),
        (0, None, {}, Estimate(0.0, 1.0, 0)),
        (1000, TableSize(2000), {"jobs": 4}, Estimate(1.25, 31.0, 1000)),
        (1000, TableSize(2000), {"compares_values": True}, Estimate(15.0, 91.0, 1000)),
        (1000, TableSize(2000), {"updates": True}, Estimate(10.0, 61.0, None)),
    ],
)
def test_estimates_by_rows_or_bytes(rows: int, size: TableSize, options: dict[str, Any], expected: Estimate) -> None:
    assert estimate(rows, size, **options) == expected


def planned(pair: Pair, **options: Any) -> Plan:
    return batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.Tag"], dry_run=True, **options).plan


@pytest.fixture
def filled(databases: FreshDatabases) -> Pair:
    databases.fresh(*SQLITE)
    insert_rows(Tag, SQLITE.source, [{"id": n, "name": "x" * 38} for n in range(1, 201)])
    return SQLITE


def test_a_plan_has_an_estimate(filled: Pair) -> None:
    plan = planned(filled)
    assert plan.estimate is not None
    width = 40  # a key of at least one digit and the text, with a byte of header each
    assert plan.estimate.seconds_low == pytest.approx(200 * width / 1000 / 2, rel=0.1)
    assert plan.estimate.bytes_at_least == pytest.approx(200 * width * 0.5, rel=0.1)
    updated = planned(filled, update=True).estimate
    assert updated is not None
    assert updated.bytes_at_least is None


def test_a_part_of_a_table_takes_a_part_of_its_size(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen() -> Estimate | None:
        return batch_migrate_models(
            models=["testapp.Tag"], source=filled.source, dest=filled.dest, filters=["id__lte=20"], dry_run=True
        ).plan.estimate

    part, whole = chosen(), planned(filled).estimate
    assert part is not None
    assert whole is not None
    assert part.bytes_at_least == pytest.approx((whole.bytes_at_least or 0) / 10, rel=0.1)
    monkeypatch.setattr(
        type(engine_for(connections[filled.source]).catalogue), "table_sizes", lambda *args: {TAG: TableSize(10**9)}
    )
    part = chosen()
    assert part is not None
    assert part.bytes_at_least is None, "the size is that of all rows"


def test_a_plan_that_may_not_ask_for_sizes_is_still_made(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object) -> dict[str, TableSize]:
        raise OperationalError("permission denied")

    monkeypatch.setattr(type(engine_for(connections[filled.source]).catalogue), "table_sizes", forbidden)
    plan = planned(filled)
    assert plan.estimate == Estimate(pytest.approx(0.1), pytest.approx(1.6), None)


def test_sizes_are_about_those_of_the_rows(alias: str) -> None:
    engine = engine_for(connections[alias])
    rows, size = 200, 5000
    insert_rows(BinaryValue, alias, [{"id": n, "label": f"{n}", "value": urandom(size)} for n in range(rows)])
    with engine.connection.cursor() as cursor:
        if engine.connection.vendor == "mysql":
            cursor.execute("ANALYZE TABLE testapp_binaryvalue")
            cursor.fetchall()
    found = sizes_of(engine, [table_of(model) for model in (BinaryValue, Empty)])
    of_table = found["testapp_binaryvalue"]
    assert size < of_table.bytes / (of_table.rows or rows) < 3 * size
    empty = found.get("testapp_empty")
    assert empty is None or empty.bytes < 50_000


@pytest.mark.postgresql
def test_a_partitioned_table_is_as_large_as_its_partitions(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    engine = engine_for(connections["postgresql_a"])
    engine.execute("CREATE TABLE parted (id int, x text) PARTITION BY RANGE (id)")
    engine.execute("CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100000)")
    engine.execute("INSERT INTO parted SELECT n, repeat('x', 100) FROM generate_series(1, 10000) n")
    try:
        assert sizes_of(engine, [replace(table_of(Tag), name="parted")])["parted"].bytes > 1_000_000
    finally:
        engine.execute("DROP TABLE parted")


def test_the_last_rows_of_a_file_count_as_much_as_the_first(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a")
    rows = ({"id": n, "label": f"{n}", "value": bytes(10 if n < 500 else 10_000)} for n in range(1000))
    insert_rows(BinaryValue, "sqlite_a", list(rows))
    size = sizes_of(engine_for(connections["sqlite_a"]), [table_of(BinaryValue)])["testapp_binaryvalue"]
    assert size.width(1000) == pytest.approx(5000, rel=0.1)


def test_a_failed_query_for_sizes_ends_no_transaction(alias: str) -> None:
    """Of a source, whose snapshot would be lost with it."""
    engine = engine_for(connections[alias])
    missing = replace(table_of(Tag), name='no"such`table')
    engine.execute("BEGIN")
    try:
        assert sizes_of(engine, [missing]) == {}
        assert engine.count(TAG) == 0
    finally:
        engine.execute("ROLLBACK")


def test_an_engine_without_sizes_gives_none() -> None:
    assert Catalogue.table_sizes(Catalogue.__new__(Catalogue), [table_of(Tag)]) == {}  # type: ignore[type-abstract]
