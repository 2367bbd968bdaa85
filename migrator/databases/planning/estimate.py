"""About how long a run will take, and how much space: an estimate for people, which nothing depends on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import Error

from ..engines.base.catalogue import TableSize
from ..engines.base.engine import Engine
from ..tables import Table
from .plan import AwaitedTable, Estimate, TablePlan
from .transports import BinaryStream, ConvertedRows, ServerSideCopy, TextStream, Transport


@dataclass(frozen=True)
class Rate:
    """How many rows a second a whole move copies, its checks and indexes included, or how many bytes of wide rows."""

    rows: float
    bytes: float


# Measured with bench/rows.py, on one machine with two cores whose servers did not wait for the disk: 1,000,000 narrow
# rows by the slowest route of each transport, and 1,000 texts of 12 to 115 KB. The rates of converted rows are those of
# INSERT in place of a bulk load; their wide rows were not measured.
RATES: Mapping[type[Transport], Rate] = {
    ServerSideCopy: Rate(600_000, 370e6),
    BinaryStream: Rate(297_000, 45e6),
    TextStream: Rate(162_000, 40e6),
    ConvertedRows: Rate(115_000, 30e6),
}
# Of tables that migrations have yet to create, whose transport is unknown.
AWAITED: type[Transport] = TextStream
# Rows of both sides compared a second, by the slowest route.
COMPARED = Rate(212_000, 40e6)
# How much faster or slower than these rates a move may be: by the machine, the network, its indexes and other load.
FASTER, SLOWER = 1.5, 6.0
# Of a run's checks and statements, in seconds.
FIXED_SECONDS = (0.0, 3.0)
# Of the source's bytes, what they take at least in the tables of another engine, without any index.
LEAST_SPACE = 0.75


def estimate_run(
    tables: Iterable[TablePlan | AwaitedTable],
    row_bytes: Callable[[TablePlan | AwaitedTable], float | None],
    *,
    updates: bool,
    compares_values: bool,
    jobs: int = 1,
) -> Estimate:
    """Estimate a run over tables. ``row_bytes`` returns about how many bytes a row of one takes, or ``None``.

    Of an update, only the comparison: what it will write is not known.
    """
    seconds, space, is_sized = 0.0, 0.0, True
    for table in tables:
        rows, known = table.source_rows, row_bytes(table)
        transport, width = type(table.route.transport) if isinstance(table, TablePlan) else AWAITED, known or 0.0
        if not updates:
            seconds += _seconds(RATES[transport], rows, width)
        if updates or compares_values:
            seconds += _seconds(COMPARED, rows, width)
        space += rows * width
        is_sized = is_sized and (known is not None or not rows)
    low, high = FIXED_SECONDS
    return Estimate(
        low + seconds / FASTER / jobs,
        high + seconds * SLOWER,
        None if updates or not is_sized else math.floor(space * LEAST_SPACE),
    )


def _seconds(rate: Rate, rows: int, width: float) -> float:
    return rows * max(1 / rate.rows, width / rate.bytes)


def sizes_of(engine: Engine, tables: Sequence[Table]) -> Mapping[str, TableSize]:
    """Return how large tables are, by name; none of them if the user may not ask for that."""
    try:
        with engine.tentatively():
            return engine.catalogue.table_sizes(tables)
    except Error:
        return {}
