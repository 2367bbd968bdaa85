"""Whether two tables hold the same values: by checksums made in both databases, and row by row if those differ.

Checksums that differ prove nothing yet, because one value may have two text forms: the rows of that range are then read
from both sides and compared as values. Tables with a column that has no common text form are compared so at once,
except JSON documents: they are read in the order of the keys, in addition to checksums of the other columns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property

from django.db import DatabaseError

from ...console.progress import Progress, Task
from ..chunks import Bounds, Restriction, find_bounds, outer_bounds, where_clause
from ..planning.columns import TableEnds, Way
from ..planning.comparable_columns import RowTexts, row_texts
from ..tables import Kind
from .checksums import Checksums, Prover
from .compared_side import sides
from .contents import BY_CHECKSUM, BY_ROW, NOT_COMPARED, SAMPLED, Contents, Differences, Pairing, Sample, lacking
from .range_segments import FEWEST_ROWS, MOST_SEGMENTS, Segments, segments_of_numbers, segments_of_texts
from .rows import (
    MISSING,
    Found,
    RowDifference,
    compare_keys,
    differing_rows,
    digests,
    extra_rows,
    longest,
    merged_rows,
    nulls,
    nulls_in,
)

_Restrictions = tuple[Restriction | None, Restriction | None]

NO_KEY = "it has no primary key to find its rows by"
# Rows of a range whose digests are held in memory.
MOST_DIGESTS = 100_000
# Rows from either end of a table that go into every sample.
OUTER_ROWS = 100


def compare_contents(
    pairings: Sequence[Pairing], *, sample: Sample | None, chunk_size: int, most: int, progress: Progress
) -> tuple[Contents, ...]:
    """Compare the rows of tables: all of them in chunks of ``chunk_size`` rows, or a sample.

    Up to ``most`` rows that differ are listed for each table, and all are counted.
    """
    found = []
    for pairing, ends in zip(pairings, ends_of(pairings), strict=True):
        comparison = TableComparison(pairing, most, progress, ends=ends)
        with comparison.reading_everything():
            found.append(comparison.sampled(sample) if sample else comparison.all_rows(chunk_size))
    return tuple(found)


def find_differences(
    pairing: Pairing, *, chunk_size: int, progress: Progress, each: Callable[[RowDifference], None]
) -> Contents:
    """Compare all rows of a table, and pass each that differs to ``each`` instead of listing it."""
    comparison = TableComparison(pairing, 0, progress, each)
    with comparison.reading_everything():
        return comparison.all_rows(chunk_size)


def prover(pairing: Pairing, ends: TableEnds) -> Prover | None:
    """Return what proves by checksums that rows are equal; ``None`` for a table whose values have no common text."""
    return TableComparison(pairing, 0, ends=ends).prover()


def ends_of(pairings: Sequence[Pairing]) -> Iterator[TableEnds]:
    """Yield how both sides store each pairing's table; all pairings are of the same two databases."""
    if pairings:
        names = [pairing.table.name for pairing in pairings]
        source, dest = pairings[0].source, pairings[0].dest
        here, there = (side.catalogue.stored_tables(names) for side in (source, dest))
        yield from (TableEnds(source, dest, here[name], there[name]) for name in names)


class TableComparison:
    """The comparison of one table: of all its rows, range after range, or of a sample."""

    def __init__(
        self,
        pairing: Pairing,
        most: int,
        progress: Progress | None = None,
        each: Callable[[RowDifference], None] = lambda difference: None,
        *,
        ends: TableEnds | None = None,
    ) -> None:
        self._pairing, self._most, self._progress, self._each = pairing, most, progress or Progress(), each
        self._ends = ends or next(ends_of([pairing]))
        both = (self._ends.source, self._ends.source_stored), (self._ends.dest, self._ends.dest_stored)
        self._lacking = [column for engine, stored in both for column in lacking(engine, pairing.table, stored)]
        if not self._lacking:
            self._left, self._right = sides(pairing.table, self._ends, pairing.mappings)
        for engine, _ in both:
            engine.digests.prepare()
        # Until a range differs in most of its segments: to find those costs as much as the range's checksum did.
        self._differs_in_few = True

    @contextmanager
    def reading_everything(self) -> Iterator[None]:
        """Have both databases show all rows within the context."""
        with self._pairing.source.reading_everything(), self._pairing.dest.reading_everything():
            yield

    # -- what is compared ---------------------------------------------------------------------------------------

    def all_rows(self, chunk_size: int) -> Contents:
        """Compare every row."""
        found, rows = self.begin(), self._pairing.rows
        if found.method == NOT_COMPARED:
            return found
        with (
            self._progress.task(f"{found.label} (compare by {found.method})", rows) as task,
            self._checksums.helped(rows) if self._checksums else nullcontext(),
        ):
            for bounds in self.ranges(chunk_size):
                self.compare(bounds, found, task)
        return found

    def of_range(self, bounds: Bounds) -> Differences:
        """Compare the rows of a range, and return what was found."""
        started, found = time.perf_counter(), Differences()
        with self.reading_everything(), Progress().task("", 0) as task:
            self.compare(bounds, found, task)
        found.seconds = time.perf_counter() - started
        return found

    def begin(self) -> Contents:
        """Return the record of a comparison of all rows, before the first one; it says whether and how they can be."""
        if self._lacking:
            return self._not_compared(f"{'; '.join(self._lacking[:3])}")
        if self._checksums is None and not self._pairing.table.key:
            return self._not_compared(NO_KEY)
        return self._begin(BY_CHECKSUM if self._checksums else BY_ROW)

    def ranges(self, chunk_size: int) -> Iterator[Bounds]:
        """Yield ranges of ``chunk_size`` rows if both sides sort the keys the same way, otherwise the whole table."""
        pairing, table = self._pairing, self._pairing.table
        if self._pairing.sorts_keys_alike:
            yield from find_bounds(pairing.source, table.name, table.key, pairing.rows, chunk_size, pairing.restriction)
        else:
            yield Bounds()

    def prover(self) -> Prover | None:
        """Return what :func:`prover` returns."""
        if self._checksums is None:
            return None
        return Prover(self._checksums, self._falling_back_to_rows, proves_ranges=self._pairing.sorts_keys_alike)

    def sampled(self, sample: Sample) -> Contents:
        """Compare about ``sample.rows`` rows that a seed chooses, the same on both sides, and those at either end."""
        table = self._pairing.table
        if self._pairing.rows <= max(sample.rows, 2 * OUTER_ROWS) or self._pairing.has_translated_keys:
            return self.all_rows(chunk_size=max(sample.rows, 2 * OUTER_ROWS))
        if self._lacking:
            return self._not_compared(f"{'; '.join(self._lacking[:3])}")
        texts = self._texts(table.key) if table.key else None
        if texts is None or texts.without:
            return self._not_compared("its primary key has no common text form" if table.key else NO_KEY)
        found = self._begin(SAMPLED)
        with self._progress.task(f"{table.label} (sample)", sample.rows) as task:
            first, last = outer_bounds(self._pairing.source, table.name, table.key, OUTER_ROWS)
            for bounds in (first, last):
                self._by_row(bounds, None, None, found, task)
            here, there = (
                Restriction(engine.digests.chosen(text, sample.seed, sample.rows / self._pairing.rows), ())
                for engine, text in ((self._pairing.source, texts.here), (self._pairing.dest, texts.there))
            )
            self._by_row(Bounds(first.upper, last.lower), here, there, found, task)
        self._compare_longest(found)
        self._compare_nulls(found)
        return found

    def _compare_longest(self, found: Contents) -> None:
        """Compare the rows that hold the longest texts, which are the first to be truncated."""
        texts = (column.name for column in self._pairing.table.columns if column.kind in (Kind.TEXT, Kind.BINARY))
        keys = dict.fromkeys(key for name in texts if (key := longest(self._left, name)))
        listed = {difference.key for difference in found.differences}
        for difference in compare_keys(self._left, self._right, [key for key in keys if key not in listed]):
            self._note(found, difference)

    def _compare_nulls(self, found: Contents) -> None:
        """Count each column's NULLs in all rows of both sides, so that a column that was lost shows."""
        table = self._pairing.table
        here, there = (nulls(engine, table) for engine in (self._pairing.source, self._pairing.dest))
        rejected = nulls_in(self._left, list(self._pairing.rejected_keys))
        here = tuple(count - less for count, less in zip(here, rejected, strict=True))
        found.nulls = {
            column.attname: (one, other)
            for column, one, other in zip(table.columns, here, there, strict=True)
            if one != other
        }

    def _begin(self, method: str, reason: str = "") -> Contents:
        table = self._pairing.table
        return Contents(label=table.label, table=table, method=method, rejected=self._pairing.rejected, reason=reason)

    def _not_compared(self, reason: str) -> Contents:
        return self._begin(NOT_COMPARED, reason)

    def _note(self, found: Differences, difference: RowDifference) -> None:
        if difference.kind == MISSING and difference.key in self._pairing.rejected_keys:
            return
        found.add(difference, self._most)
        self._each(difference)

    # -- what can be compared -----------------------------------------------------------------------------------

    @cached_property
    def _checksums(self) -> Checksums | None:
        """The checksums of rows, or ``None`` if not all rows of both sides can be compared by their texts.

        Documents may be missing in the texts: they are read in addition, in the order of the keys.
        """
        pairing = self._pairing
        if self._lacking or pairing.mappings or pairing.allows_extra or pairing.restriction:
            return None
        texts = self._texts([column.name for column in pairing.table.columns])
        if texts is None:
            return None
        if texts.without:
            ways = {r.column.name: (r.way, r.column.kind) for side in (self._left, self._right) for r in side.readings}
            are_documents = all(ways[column.name] == (Way.PROVEN, Kind.JSON) for column in texts.without)
            if not (are_documents and pairing.table.key and pairing.has_keys_of(Kind.INTEGER, Kind.UUID)):
                return None
        joins = all(engine.digests.joins_blocks for engine in (self._ends.source, self._ends.dest))
        is_number = pairing.sorts_keys_alike and len(pairing.table.key) == 1
        number = pairing.table.key[0] if joins and is_number else None
        return Checksums(self._left, self._right, texts, number)

    def _texts(self, names: Sequence[str]) -> RowTexts | None:
        """Return the SQL for the text of these columns, on both sides."""
        return row_texts([self._pairing.table.column(name) for name in names], self._ends)

    # -- one range ----------------------------------------------------------------------------------------------

    def compare(self, bounds: Bounds, found: Differences, task: Task) -> None:
        """Compare the rows of a range."""
        restriction, checksums = self._pairing.restriction, self._checksums
        if checksums is None:
            self._by_row(bounds, restriction, restriction, found, task)
            return
        is_proven: bool | None = None
        with self._falling_back_to_rows():
            here, there = checksums.of(bounds)
            is_proven = checksums.prove(bounds, here, there)
        if is_proven is None:
            self._by_row(bounds, restriction, restriction, found, task)
        elif is_proven:
            found.checked += here.rows
            task.advance(here.rows)
        elif not self._pairing.table.key:
            found.missing, found.extra = max(here.rows - there.rows, 0), max(there.rows - here.rows, 0)
            found.changed = min(here.rows, there.rows)
            found.reason = f"{NO_KEY}: these counts of rows that differ are upper limits"
        elif suspects := self._suspects(checksums, bounds, max(here.rows, there.rows)):
            self._by_digest(checksums.texts, bounds, *suspects, found)
            found.checked += here.rows
            task.advance(here.rows)
        else:
            self._by_row(bounds, restriction, restriction, found, task)

    @contextmanager
    def _falling_back_to_rows(self) -> Iterator[None]:
        """Suppress the error of a database that cannot make a checksum because of what is in a row."""
        try:
            yield
        except DatabaseError as error:
            engines = (self._pairing.source, self._pairing.dest)
            for engine in engines:
                engine.recover()
            if not (self._pairing.table.key and any(e.owns(error) and e.is_about_rows(error) for e in engines)):
                raise

    def _suspects(self, checksums: Checksums, bounds: Bounds, rows: int) -> _Restrictions | None:
        """Return conditions for both sides that all differing rows of a range with ``rows`` rows meet.

        ``None`` if those are too many rows to hold their digests in memory, or if not all columns have digests.
        """
        if checksums.texts.without:
            return None
        if self._differs_in_few and rows >= FEWEST_ROWS and (segments := self._segments(bounds, rows)):
            sums = checksums.by_segment(bounds, segments)
            differing = {segment: both for segment, both in sums.items() if not both[0].proves(both[1])}
            suspects = sum(max(here.rows, there.rows) for here, there in differing.values())
            self._differs_in_few = 2 * suspects <= rows and len(differing) <= MOST_SEGMENTS
            if self._differs_in_few and suspects <= MOST_DIGESTS and None not in differing:
                return segments.chosen(differing)
        return (None, None) if rows <= MOST_DIGESTS else None

    def _segments(self, bounds: Bounds, rows: int) -> Segments | None:
        """Divide a range into segments, if its keys allow it."""
        source, dest, key = self._pairing.source, self._pairing.dest, self._pairing.table.key
        if self._pairing.sorts_keys_alike:
            return segments_of_numbers(source, dest, key[0], bounds, rows) if len(key) == 1 else None
        texts = self._texts(key)
        return segments_of_texts(source, dest, texts, rows) if texts and not texts.without else None

    def _by_digest(
        self, texts: RowTexts, bounds: Bounds, here: Restriction | None, there: Restriction | None, found: Differences
    ) -> None:
        """Read the digests of rows in a range from both sides, and compare the rows whose digests differ."""
        own = digests(self._left, texts.here, bounds, here)
        other = digests(self._right, texts.there, bounds, there)
        suspects = [key for key, digest in own.items() if digest is None or other.get(key) != digest]
        suspects += [key for key in other if key not in own]
        found.equivalent += len(suspects)
        for difference in compare_keys(self._left, self._right, suspects):
            self._note(found, difference)
            found.equivalent -= 1

    def _by_row(
        self, bounds: Bounds, here: Restriction | None, there: Restriction | None, found: Differences, task: Task
    ) -> None:
        """Compare the rows of a range one by one: those that meet ``here`` and, in the destination, ``there``."""
        pairing, count = self._pairing, Found()
        is_merged = self._pairing.sorts_keys_alike and not pairing.allows_extra
        for difference in (
            merged_rows(self._left, self._right, bounds, here, there, count)
            if is_merged
            else differing_rows(self._left, self._right, bounds, here, count)
        ):
            self._note(found, difference)
        found.checked += count.looked_up
        task.advance(count.looked_up)
        if is_merged or pairing.allows_extra:
            return
        where, params = where_clause(pairing.dest, pairing.table.key, bounds, there)
        name = pairing.dest.quote(pairing.table.name)
        if pairing.dest.fetch_value(f"SELECT COUNT(*) FROM {name}{where}", params) != count.there:
            for difference in extra_rows(self._left, self._right, bounds, there):
                self._note(found, difference)
