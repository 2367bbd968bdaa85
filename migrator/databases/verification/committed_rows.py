"""What an interrupted run has committed of a table, compared with the source as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

from ..chunks import Bounds
from ..journal.journal import Journal
from ..journal.records import Chunk
from ..planning.columns import TableEnds
from ..planning.plan import TablePlan
from .compared_side import ComparedSide, sides
from .contents import Pairing
from .rows import Found, differing_rows, merged_rows
from .table_comparison import prover

# Rows that one statement on each side compares: a server sorts so many texts in memory.
SPAN_ROWS = 50_000


@dataclass(frozen=True)
class Span:
    """Adjacent chunks of a table, from the ``first`` number to the ``last``, and how many rows they were written."""

    table: str
    first: int
    last: int
    bounds: Bounds
    rows: int


@dataclass(frozen=True)
class Changes:
    """The numbers of a span's chunks that have to be copied again.

    ``are_gone``: copied rows are gone from the source, and their keys are unknown.
    """

    chunks: tuple[int, ...] = ()
    are_gone: bool = False


def adjoined(chunks: Iterable[Chunk], most_rows: int) -> Iterator[Span]:
    """Join adjacent chunks, which come in their order, to spans of at most so many rows, if not one chunk has more."""
    span: Span | None = None
    for chunk in chunks:
        bounds, rows = chunk.bounds(), chunk.rows_written
        if span and chunk.number == span.last + 1 and span.rows + rows <= most_rows:
            joined = Bounds(span.bounds.lower, bounds.upper)
            span = replace(span, last=chunk.number, bounds=joined, rows=span.rows + rows)
            continue
        if span:
            yield span
        span = Span(chunk.table, chunk.number, chunk.number, bounds, rows)
    if span:
        yield span


class CommittedRows:
    """The committed rows of one table; ``ends`` are the sessions that compare them."""

    def __init__(self, planned: TablePlan, ends: TableEnds, journal: Journal, *, adds_rows: bool) -> None:
        route = planned.route
        self.planned, self._ends, self._journal = planned, ends, journal
        self._pairing = Pairing(
            planned.table,
            ends.source,
            ends.dest,
            planned.source_rows,
            route.restriction,
            route.mappings,
            allows_extra=adds_rows,
        )
        self._prover = prover(self._pairing, ends) if planned.table.key else None

    @cached_property
    def sides(self) -> tuple[ComparedSide, ComparedSide]:
        """Both sides of the comparison."""
        return sides(self.planned.table, self._ends, self._pairing.mappings)

    @property
    def owns_ranges(self) -> bool:
        """Whether all rows of the destination in the range of a chunk are that chunk's."""
        return self._pairing.sorts_keys_alike and not self._pairing.allows_extra

    @property
    def proves_all(self) -> bool:
        """Whether only all rows together can be proven equal, because the two databases may sort the keys otherwise."""
        return self._prover is not None and not self._prover.proves_ranges

    @property
    def is_looked_up(self) -> bool:
        """Whether rows are found in the destination by their keys."""
        return not (self._prover is not None and self._prover.proves_ranges)

    @property
    def span_rows(self) -> int:
        """The rows of a span. Without checksums of ranges, each chunk is one."""
        return 0 if self.is_looked_up else SPAN_ROWS

    def are_all_equal(self, spans: Sequence[Span], written: int) -> bool:
        """Whether one checksum of each side proves that all ``written`` rows are those of the source in these spans."""
        if self._prover is None:
            return False
        with self._reading_everything():
            return self._prover.rows_of_all([span.bounds for span in spans]) == written

    def changes(self, span: Span) -> Changes:
        """Compare a span, and return which of its chunks have to be copied again.

        A chunk whose checksums differ is not read: to copy it again takes less time than to compare its values.
        """
        prove = self._prover
        with self._reading_everything():
            if prove is None or not prove.proves_ranges:
                return self._read(span)
            if prove.rows(span.bounds) == span.rows:
                return Changes()
            if span.first == span.last:
                return Changes((span.first,))
            chunks = self._journal.done_chunks(span.table, span.first, span.last)
            return Changes(tuple(c.number for c in chunks if prove.rows(c.bounds()) != c.rows_written))

    def _read(self, span: Span) -> Changes:
        """Compare a chunk row by row."""
        found, (source, dest), restriction = Found(), self.sides, self._pairing.restriction
        differing = list(
            merged_rows(source, dest, span.bounds, None, None, found)
            if self.owns_ranges
            else differing_rows(source, dest, span.bounds, restriction, found)
        )
        if found.there != span.rows and not self.owns_ranges:
            return Changes(are_gone=True)
        return Changes((span.first,) if differing or found.there != span.rows else ())

    def _reading_everything(self) -> ExitStack:
        stack = ExitStack()
        for engine in (self._ends.source, self._ends.dest):
            stack.enter_context(engine.reading_everything())
        return stack
