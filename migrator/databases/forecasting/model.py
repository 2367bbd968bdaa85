"""From what two samples of a table took to what all of its rows will take: numbers only, no database."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# How much faster or slower than computed a move may be. Rows of a sample cost more each than those of a whole table,
# and indexes grow faster than between two samples: both errors are large, and partly cancel each other.
FASTER, SLOWER = 0.7, 1.5
# Within which share of the average cost of a row the cost of one more row may be: two samples that differ little, on a
# machine that does other work, would otherwise lead anywhere.
LEAST_SLOPE, MOST_SLOPE_OF_ROWS, MOST_SLOPE_OF_INDEXES = 0.5, 1.0, 1.5

# Of the seconds in which two sessions work at the same time, how many that saves: each of them is slower than alone.
# Measured with bench/forecast.py on two cores, which also served the databases.
SAVED_SHARE = 0.5


class Timing(NamedTuple):
    """How many seconds so many rows took."""

    rows: int
    seconds: float


@dataclass(frozen=True)
class TableForecast:
    """What a table is likely to take, in seconds, and how many of its rows were copied to find that out.

    ``is_measured``: its own rows were; otherwise it is computed from those of other tables.
    """

    label: str
    table: str
    rows: int
    sampled_rows: int
    seconds_rows: float
    seconds_indexes: float
    is_measured: bool = True


@dataclass(frozen=True)
class Forecast:
    """How long a move is likely to take, in seconds, and its parts.

    ``plan``: the checks before the first write, measured in full. ``saved``: of the seconds of indexes, those that are
    saved because several sessions work at the same time. ``keys``: the checks of foreign keys, row counts and
    sequences. ``values``: the comparison of all values, a part of the move only if ``compares_values``. ``tables``:
    those with rows, in the order of the copy.
    """

    scratch: str
    plan: float
    tables: tuple[TableForecast, ...]
    saved: float
    keys: float
    values: float
    compares_values: bool
    # What the reader has to know of it, as sentences.
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> float:
        """The seconds in which the rows are copied."""
        return sum(table.seconds_rows for table in self.tables)

    @property
    def indexes(self) -> float:
        """The seconds in which indexes are recreated, as if one after another."""
        return sum(table.seconds_indexes for table in self.tables)

    @property
    def sampled_rows(self) -> int:
        """How many rows were copied to measure this."""
        return sum(table.sampled_rows for table in self.tables)

    @property
    def computed(self) -> float:
        """The seconds after the checks, as computed."""
        return self.rows + self.indexes - self.saved + self.keys + (self.values if self.compares_values else 0.0)

    @property
    def low(self) -> float:
        return self.plan + FASTER * self.computed

    @property
    def high(self) -> float:
        return self.plan + SLOWER * self.computed

    @property
    def update_low(self) -> float:
        """The least seconds of a pass with ``--update`` that changes little, which compares all values."""
        return self.plan + FASTER * (self.values + self.keys)

    @property
    def update_high(self) -> float:
        """The most seconds of such a pass."""
        return self.plan + SLOWER * (self.values + self.keys)


def seconds_of_rows(small: Timing, large: Timing, rows: int) -> float:
    """Return how long so many rows take to be copied: as the larger sample, and each further row by the slope.

    What a sample costs once, such as its transactions, is in both samples, and so not in their slope.
    """
    return _extrapolated(small, large, rows, float, MOST_SLOPE_OF_ROWS)


def seconds_of_indexes(small: Timing, large: Timing, rows: int) -> float:
    """Return how long the indexes of so many rows take, whose work grows as n log n."""
    return _extrapolated(small, large, rows, _sorting, MOST_SLOPE_OF_INDEXES)


def _sorting(rows: float) -> float:
    return rows * math.log2(rows + 1)


def _extrapolated(small: Timing, large: Timing, rows: int, work: Callable[[float], float], most: float) -> float:
    done, left = work(large.rows), work(rows) - work(large.rows)
    if left <= 0 or not done:
        return large.seconds
    average = large.seconds / done
    between = done - work(small.rows)
    slope = (large.seconds - small.seconds) / between if between > 0 else average
    return large.seconds + left * min(max(slope, LEAST_SLOPE * average), most * average)


def seconds_per_row(tables: Sequence[TableForecast]) -> tuple[float, float]:
    """Return what a row of these tables takes on average, and its entries in indexes, in seconds."""
    rows = max(sum(table.rows for table in tables), 1)
    return sum(t.seconds_rows for t in tables) / rows, sum(t.seconds_indexes for t in tables) / rows


def saved_by_copy(tables: Sequence[TableForecast], fewest: int) -> float:
    """Return how many seconds are saved by recreating indexes while rows are copied, in the order of these tables.

    A second session begins once a table with more than ``fewest`` rows is complete, and recreates the indexes of each
    complete table. After the last row, both sessions do what is left.
    """
    clock, is_helped = 0.0, False
    ready: list[tuple[float, float]] = []
    waiting: list[float] = []
    for table in tables:
        clock += table.seconds_rows
        is_helped = is_helped or table.rows > fewest
        waiting.append(table.seconds_indexes)
        if is_helped:
            ready += [(clock, seconds) for seconds in waiting]
            waiting = []
    loaded, helper, left = clock, 0.0, []
    for since, seconds in ready:
        if max(helper, since) < loaded:
            helper = max(helper, since) + seconds
        else:
            left.append(seconds)
    ends = [max(helper, loaded), loaded] if is_helped else [loaded]
    for seconds in sorted([*left, *waiting], reverse=True):
        ends[ends.index(min(ends))] += seconds
    return SAVED_SHARE * max(loaded + sum(table.seconds_indexes for table in tables) - max(ends), 0.0)


def saved_by_processes(tables: Sequence[TableForecast], jobs: int) -> float:
    """Return how many seconds are saved if so many processes recreate the indexes."""
    each = [table.seconds_indexes for table in tables]
    return SAVED_SHARE * (sum(each) - max(sum(each) / jobs, max(each, default=0.0)))
