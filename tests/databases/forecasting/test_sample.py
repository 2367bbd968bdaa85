"""Which rows are a sample: a bounded number, from all over each table, and no row twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.db.models import QuerySet

from migrator.conf import load
from migrator.databases.chunks import Bounds, where_clause
from migrator.databases.endpoints import open_endpoints
from migrator.databases.forecasting import sample
from migrator.databases.forecasting.sample import TableSample, take_sample
from migrator.databases.planning.plan import Plan
from migrator.databases.planning.plan_request import PlanRequest
from migrator.databases.planning.preflight import make_plan
from migrator.databases.planning.selection import select
from tests.databases.snapshots import insert_rows
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import CompositeKey, Tag, UUIDKey

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[5], PAIRS[6]], ids=str, indirect=True)
CHUNK = 7
IN_SMALL_CHUNKS: Any = SimpleNamespace(rows_in_chunk=lambda planned: CHUNK)


@contextmanager
def samples_of(pair: Pair, *labels: str) -> Iterator[dict[str, TableSample]]:
    """Take the sample of a move of these models, by label."""
    selection = select(source=pair.source, dest=pair.dest, labels=labels)
    with open_endpoints(pair.source, pair.dest, load(), selection.names, is_dry=True) as endpoints:
        plan = make_plan(endpoints, selection, PlanRequest(checks_contents=False))
        yield {found.table.label: found for found in take_sample(plan)}


def keys_in(found: TableSample, ranges: list[Bounds]) -> list[Any]:
    """Return the keys in ranges, in their order; one that is in two ranges is there twice."""
    source, table, keys = found.planned.route.source, found.table, []
    names = ", ".join(source.quote(name) for name in table.key)
    for bounds in ranges:
        where, params = where_clause(source, table.key, bounds, None)
        rows = source.fetch_all(f"SELECT {names} FROM {source.quote(table.name)}{where} ORDER BY {names}", params)
        assert len(rows) <= CHUNK
        keys += [row[0] if len(row) == 1 else tuple(row) for row in rows]
    return keys


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take 50 rows in all."""
    monkeypatch.setattr(sample, "WHOLE_ROWS", 10)
    monkeypatch.setattr(sample, "LEAST_ROWS", 50)


@pytest.mark.usefixtures("few")
def test_takes_no_row_twice_where_numbers_lie_close_together(pair: Pair) -> None:
    """Most keys are in the first fifth of all numbers, and pieces of the others begin at the same key."""
    numbers = [*range(1, 481), *range(9_000, 9_020)]
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in numbers])
    with samples_of(pair, "testapp.Tag") as found:
        tags = found["testapp.Tag"]
        keys = keys_in(tags, tags.copied(IN_SMALL_CHUNKS))
        third = keys_in(tags, tags.copied(IN_SMALL_CHUNKS, sample.SMALL))
    assert len(set(keys)) == len(keys) <= 50
    assert {1, 9_000, 9_019} <= set(keys)
    assert len(keys) >= 30
    assert len(set(third)) == len(third) <= 17
    assert third[0] == keys[0]


@pytest.mark.usefixtures("few")
def test_takes_pieces_by_keys_that_are_not_numbers(pair: Pair) -> None:
    insert_rows(UUIDKey, pair.source, [{"id": uuid.UUID(int=n << 90), "label": f"{n}"} for n in range(250)])
    insert_rows(
        CompositeKey, pair.source, [{"tenant": f"t{n // 10:02}", "number": n % 10, "label": f"{n}"} for n in range(250)]
    )
    with samples_of(pair, "testapp.UUIDKey", "testapp.CompositeKey") as found:
        for one in found.values():
            keys = keys_in(one, one.copied(IN_SMALL_CHUNKS))
            assert len(set(keys)) == len(keys) == 25
            third = keys_in(one, one.copied(IN_SMALL_CHUNKS, sample.SMALL))
            assert set(third) < set(keys)
            assert len(third) == 10  # two of each piece


@pytest.mark.usefixtures("few")
def test_copies_small_tables_whole_and_no_empty_ones(pair: Pair) -> None:
    insert_rows(Tag, pair.source, [{"id": n * n, "name": f"tag {n}"} for n in range(1, 11)])
    with samples_of(pair, "testapp.Tag", "testapp.Empty") as found:
        assert list(found) == ["testapp.Tag"]
        assert found["testapp.Tag"].rows == 10
        for share in (1.0, sample.SMALL):
            ranges = found["testapp.Tag"].copied(IN_SMALL_CHUNKS, share)
            assert sorted(keys_in(found["testapp.Tag"], ranges)) == [n * n for n in range(1, 11)]


@pytest.mark.usefixtures("few")
def test_takes_fewer_of_large_rows(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in range(1, 501)])
    monkeypatch.setattr(sample, "MOST_BYTES", 20_000)
    monkeypatch.setattr(sample, "WHOLE_BYTES", 5_000)
    monkeypatch.setattr(Plan, "row_bytes", lambda plan, table: 1_000.0)
    with samples_of(pair, "testapp.Tag") as found:
        assert found["testapp.Tag"].rows == 20
        assert found["testapp.Tag"].rows_of(sample.SMALL) == 5
    assert QuerySet(Tag, using=pair.source).count() == 500
