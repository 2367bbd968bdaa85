"""The memory that a run takes does not grow with what it moves."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import BinaryValue, Tag, TextValue

from .snapshots import insert_rows

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

# Each engine once as source and once as destination, and the stream between two PostgreSQL servers.
FOUR_PAIRS = [PAIRS[1], PAIRS[4], PAIRS[5], PAIRS[6]]
LIMIT_MIB = 150
FIRST_ROWS, DOUBLINGS = 9_375, 5  # 300,000 rows
LARGE_ROWS, LARGE_BYTES = 40, 4 * 1024 * 1024


def fill_long(alias: str) -> None:
    insert_rows(Tag, alias, [{"id": n, "name": f"the tag of the number {n}"} for n in range(1, FIRST_ROWS + 1)])
    with connections[alias].cursor() as cursor:
        for doubling in range(DOUBLINGS):
            above = FIRST_ROWS * 2**doubling
            cursor.execute(f"INSERT INTO testapp_tag (id, name) SELECT id + {above}, name FROM testapp_tag")


def fill_large(alias: str) -> None:
    text, data = "wörd\n\t\\ " * (LARGE_BYTES // 9), bytes(range(256)) * (LARGE_BYTES // 256)
    for model, value in ((TextValue, text), (BinaryValue, data)):
        for n in range(1, LARGE_ROWS // 2 + 1):
            insert_rows(model, alias, [{"id": n, "label": f"large {n}", "value": value}])


FILLED: dict[str, tuple[Callable[[str], None], dict[Any, int]]] = {
    "many rows": (fill_long, {Tag: FIRST_ROWS * 2**DOUBLINGS}),
    "large rows": (fill_large, {TextValue: LARGE_ROWS // 2, BinaryValue: LARGE_ROWS // 2}),
}


@pytest.mark.parametrize("shape", FILLED)
@pytest.mark.parametrize("pair", FOUR_PAIRS, ids=str)
def test_stays_below_the_limit(
    pair: Pair, shape: str, databases: FreshDatabases, start_manage: Callable[..., Any]
) -> None:
    databases.fresh(*pair)
    fill, rows = FILLED[shape]
    fill(pair.source)
    connections.close_all()
    labels = [model._meta.label for model in rows]
    process = start_manage("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", *labels)
    # Its few lines fit into the pipes.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    out, err = process.communicate()
    assert process.returncode == 0, err + out
    assert usage.ru_maxrss / 1024 < LIMIT_MIB
    assert {model: QuerySet(model, using=pair.dest).count() for model in rows} == rows
    databases.fresh(*pair)
