"""The memory that a run takes does not grow with what it moves."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from tests.databases.snapshots import insert_rows
from tests.servers.databases import FILE_PAIRS, PAIRS, Pair
from tests.testapp.models import BinaryValue, Tag, TextValue

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.slow

# Each engine once as source and once as destination.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]
# Those with a way of their own.
OTHER_PAIRS = [PAIRS[0], PAIRS[4], FILE_PAIRS[1]]
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


def peak_of(process: subprocess.Popen[str]) -> float:
    """Wait for the end of a process whose output fits into its pipes, and return the MiB it took at most.

    The kernel's own answer after the end would count the memory of this process too, which it was a copy of.
    """
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
            peak = int(found[1]) if found else peak
        time.sleep(0.02)
    return peak / 1024


@pytest.mark.parametrize(
    ("pair", "shape"),
    [*((pair, shape) for pair in THREE_PAIRS for shape in FILLED), *((pair, "large rows") for pair in OTHER_PAIRS)],
    ids=str,
)
def test_stays_below_the_limit(
    pair: Pair, shape: str, databases: FreshDatabases, start_manage: Callable[..., Any]
) -> None:
    databases.fresh(*pair)
    fill, rows = FILLED[shape]
    fill(pair.source)
    connections.close_all()
    labels = [model._meta.label for model in rows]
    with start_manage("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", *labels) as process:
        peak = peak_of(process)
        out, err = process.communicate()
    assert process.returncode == 0, err + out
    assert 20 < peak < LIMIT_MIB
    assert {model: QuerySet(model, using=pair.dest).count() for model in rows} == rows
    databases.fresh(*pair)
