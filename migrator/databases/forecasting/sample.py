"""Which rows of a move are a sample of it: several pieces of each large table, spread over its primary keys."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..chunks import Bounds, find_bounds, integer_limits, upper_bound
from ..copying.load import Load
from ..engines.base.engine import Engine
from ..planning.plan import Plan, TablePlan
from ..primary_keys import Key
from ..tables import Table

PIECES = 5
# Of all rows, and the least and the most rows of a sample, unless a table is small or rows are very large.
SHARE, LEAST_ROWS, MOST_ROWS = 0.02, 150_000, 1_000_000
MOST_BYTES = 2 * 1024**3
# Smaller tables are copied whole, as long as they are not too many.
WHOLE_ROWS, WHOLE_BYTES = 5_000, 64 * 1024**2
# A larger share of a table would hardly be less than the whole.
MOST_OF_TABLE = 0.5
# The smaller of the two samples, as a share of the larger.
SMALL = 1 / 3


@dataclass(frozen=True)
class TableSample:
    """Some rows of a table: a few ranges of keys with about ``rows`` rows, or all rows if it ``is_whole``.

    ``starts``: where pieces begin; none if the table can only be copied as a whole. ``is_undivided``: each share of the
    sample is the whole table, too. ``seconds``: how long it took to find the pieces.
    """

    planned: TablePlan
    rows: int
    is_whole: bool
    starts: tuple[Key | None, ...] = ()
    is_undivided: bool = False
    seconds: float = field(default=0.0, compare=False)

    @property
    def table(self) -> Table:
        return self.planned.table

    @property
    def is_possible(self) -> bool:
        """Whether the rows can be copied without reading the whole table."""
        return self.is_whole or bool(self.starts)

    def rows_of(self, share: float = 1.0) -> int:
        """Return about how many rows are copied for a share of the sample."""
        return self.planned.source_rows if self._takes_all(share) else self._piece_rows(share) * len(self.starts)

    def _takes_all(self, share: float) -> bool:
        return self.is_whole and (share == 1.0 or self.is_undivided or not self.starts)

    def _piece_rows(self, share: float) -> int:
        return max(round(self.rows * share / len(self.starts)), 1)

    def copied(self, load: Load, share: float = 1.0) -> list[Bounds]:
        """Return the ranges to copy for a share of the sample, no larger than the chunks of the whole move."""
        return self._all(load) if self._takes_all(share) else self._pieces(load, share)

    def compared(self, load: Load, share: float = 1.0) -> list[Bounds]:
        """Return the ranges of these to compare."""
        is_part = self.is_undivided and self.starts
        return self._pieces(load, share) if is_part else self.copied(load, share)

    def _all(self, load: Load) -> list[Bounds]:
        planned, source, size = self.planned, self.planned.route.source, load.rows_in_chunk(self.planned)
        return list(find_bounds(source, planned.table.name, planned.table.key, planned.source_rows, size, None))

    def _pieces(self, load: Load, share: float) -> list[Bounds]:
        source, size = self.planned.route.source, load.rows_in_chunk(self.planned)
        rows, found = self._piece_rows(share), list[Bounds]()
        with source.following_keys():
            for start in self.starts:
                lower = _after(start, found[-1].upper if found else None)
                found += _piece(source, self.table, lower, rows, size)
        return found


def _after(start: Key | None, last: Key | None) -> Key | None:
    """Return where a piece begins that has no row in common with the last one: numbers may lie close together."""
    if start is None or last is None or type(start[0]) is not int:
        return start
    return max(start, last)


def _piece(source: Engine, table: Table, lower: Key | None, rows: int, size: int) -> Iterator[Bounds]:
    while rows > 0:
        upper = upper_bound(source, table.name, table.key, Bounds(lower), min(rows, size))
        if upper is None:
            return
        yield Bounds(lower, upper)
        lower, rows = upper, rows - size


def take_sample(plan: Plan) -> list[TableSample]:
    """Choose rows of all tables of a plan that have any."""
    filled = [planned for planned in plan.tables if planned.source_rows]
    share = _share(plan, filled)
    small = min(WHOLE_ROWS, MOST_ROWS // max(len(filled), 1))
    return [_of_table(planned, share, min(small, _rows_in(WHOLE_BYTES, plan.row_bytes(planned)))) for planned in filled]


def _rows_in(size: int, row_bytes: float | None) -> int:
    """Return how many rows of a table have about so many bytes together, and any number if that is unknown."""
    return max(int(size / row_bytes), PIECES) if row_bytes else MOST_ROWS


def _share(plan: Plan, filled: Sequence[TablePlan]) -> float:
    rows = sum(planned.source_rows for planned in filled)
    size = sum(planned.source_rows * (plan.row_bytes(planned) or 0.0) for planned in filled)
    wanted = min(max(rows * SHARE, LEAST_ROWS), MOST_ROWS)
    return min(wanted / max(rows, 1), MOST_BYTES / size if size else 1.0, 1.0)


def _of_table(planned: TablePlan, share: float, small: int) -> TableSample:
    source, table, all_rows = planned.route.source, planned.table, planned.source_rows
    rows = min(all_rows, max(math.ceil(all_rows * share), small))
    is_whole = rows > all_rows * MOST_OF_TABLE
    # Copied in one statement, which is much faster than one for each piece.
    is_undivided = planned.route.rows_within(all_rows) >= all_rows
    began = time.perf_counter()
    starts = tuple(_starts(source, table, all_rows)) if all_rows > small else ()
    return TableSample(
        planned, rows, is_whole or is_undivided, starts, is_undivided, seconds=time.perf_counter() - began
    )


def _starts(source: Engine, table: Table, rows: int) -> Iterator[Key | None]:
    """Yield where pieces of a table begin: none if its rows cannot be found by their keys."""
    if not table.key or not source.catalogue.is_indexed(table.name, table.key[0]):
        return
    yield None
    limits = integer_limits(source, table.name, table.key)
    if limits is None:
        yield from _jumps(source, table, rows // PIECES)
        return
    for piece in range(1, PIECES):
        yield (limits[0] + (limits[1] - limits[0]) * piece // PIECES,)


def _jumps(source: Engine, table: Table, size: int) -> Iterator[Key]:
    """Yield where pieces of a table begin after the first whose keys are not numbers, each so many rows further."""
    start: Key | None = None
    with source.following_keys():
        for _ in range(1, PIECES):
            start = upper_bound(source, table.name, table.key, Bounds(start), size)
            if start is None:
                return
            yield start
