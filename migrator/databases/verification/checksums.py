"""Checksums of a range of rows, computed in both databases of a comparison at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import DatabaseError

from ..chunks import Bounds, where_in_any
from ..engines.base.digests import Checksum, Digests
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..planning.columns import Way
from ..planning.comparable_columns import RowTexts
from .compared_side import ComparedSide
from .range_segments import Segments
from .rows import hold_the_same_documents

# Smaller tables are compared before another process has started.
HELPED_ROWS = 50_000

T = TypeVar("T")
# Builds the query for checksums in one of both databases, with this WHERE clause.
Query = Callable[[Engine, str], str]
# Reads the result of that query.
Read = Callable[[Digests, Sequence[Row]], T]
# Which rows of the source, and which of the destination.
Ranges = tuple[Sequence[Bounds], Sequence[Bounds]]
EVERY_ROW = (Bounds(),)


class Checksums:
    """The checksums of a table's rows on both sides: of the rows as they are stored if possible, else of ``texts``.

    The texts may lack documents, which are read in addition. ``number``: the primary key, if that is one whole number.
    """

    def __init__(self, source: ComparedSide, dest: ComparedSide, texts: RowTexts, number: str | None = None) -> None:
        self.texts, self._number = texts, number
        self._source, self._dest, self._table = source, dest, source.table
        readings = (*source.readings, *dest.readings)
        self._is_as_stored = all(reading.way is Way.RAW for reading in readings) and bool(
            source.engine.digests.checksum_of_rows_query(self._table.columns, self._table.name, "")
        )
        # The destination's session in another process, if there is one.
        self._helper: Engine | None = None

    @contextmanager
    def helped(self, rows: int) -> Iterator[None]:
        """Let a helper process add up one side's digests, if this process would have to add up those of both sides.

        Only a table with many ``rows`` is worth that.
        """
        is_worth_it = self._adds_up_both and rows > HELPED_ROWS
        helper = self._helper = self._dest.engine.open_helper_session() if is_worth_it else None
        with nullcontext() if helper is None else closing(helper):
            yield
        self._helper = None

    def of(self, bounds: Bounds) -> tuple[Checksum, Checksum]:
        """Add up the digests of a range on both sides: those of blocks of rows if possible, else those of rows."""
        ranges = (bounds,), (bounds,)
        if self._number is not None:
            here, there = self._added(ranges, self._number, _only_checksum)
            if not (here.undigested or there.undigested):
                return here, there
        return self._added(ranges, None, _only_checksum)

    def of_every_row(self, ranges: Sequence[Bounds]) -> tuple[Checksum, Checksum]:
        """Add up the digests of the source's rows in these ranges, and of every row of the destination."""
        return self._added((ranges, EVERY_ROW), None, _only_checksum)

    def by_segment(self, bounds: Bounds, segments: Segments) -> dict[Any, tuple[Checksum, Checksum]]:
        """Add up the digests of a range on both sides; return source and destination checksum by segment."""
        empty = Checksum(0, 0)
        here, there = self._added(((bounds,), (bounds,)), segments, _by_segment)
        return {segment: (here.get(segment, empty), there.get(segment, empty)) for segment in here | there}

    def _added(self, ranges: Ranges, by: Segments | str | None, read: Read[T]) -> tuple[T, T]:
        """Add up digests: by segments, or those of blocks by a key, or those of all rows."""
        table, source = self._table, self._source.engine

        def segment_of(engine: Engine) -> str | None:
            return (by.here if engine is source else by.there) if isinstance(by, Segments) else None

        def of_rows(engine: Engine, where: str) -> str:
            if isinstance(by, str):
                return engine.digests.checksum_of_stored_blocks_query(table.columns, table.name, where, by) or ""
            return engine.digests.checksum_of_rows_query(table.columns, table.name, where, segment_of(engine)) or ""

        def of_texts(engine: Engine, where: str) -> str:
            text = self.texts.here if engine is source else self.texts.there
            if isinstance(by, str):
                return engine.digests.checksum_of_blocks_query(text, table.name, where, by)
            return engine.digests.checksum_query(text, table.name, where, segment_of(engine))

        if self._is_as_stored:
            try:
                return self._query_both(of_rows, read, ranges)
            except DatabaseError:  # a row that is too large to be read this way
                self._is_as_stored = False
                for side in (self._source, self._dest):
                    side.engine.recover()
        return self._query_both(of_texts, read, ranges)

    def prove(self, bounds: Bounds, here: Checksum, there: Checksum) -> bool:
        """Whether a range with these checksums holds the same values on both sides, documents included."""
        if not here.proves(there):
            return False
        if not self.texts.without:
            return True
        names = {*self._table.key, *(column.name for column in self.texts.without)}
        return hold_the_same_documents(self._source.narrowed(names), self._dest.narrowed(names), bounds)

    @property
    def _adds_up_both(self) -> bool:
        return all(side.engine.features.computes_checksums_locally for side in (self._source, self._dest))

    def _query_both(self, query: Query, read: Read[T], ranges: Ranges) -> tuple[T, T]:
        """Query both databases, at the same time if that saves time."""
        source, dest = self._source.engine, self._dest.engine
        if self._adds_up_both and self._helper is None:
            return self._query(source, query, read, ranges[0]), self._query(dest, query, read, ranges[1])
        with _lent(dest), ThreadPoolExecutor(1) as pool:
            there = pool.submit(self._query_dest, query, read, ranges[1])
            return self._query(source, query, read, ranges[0]), there.result()

    def _query_dest(self, query: Query, read: Read[T], ranges: Sequence[Bounds]) -> T:
        if self._helper is not None:
            try:
                return self._query(self._helper, query, read, ranges)
            except (DatabaseError, EOFError, OSError):  # the destination's own session is queried instead
                self._helper = None
        return self._query(self._dest.engine, query, read, ranges)

    def _query(self, engine: Engine, query: Query, read: Read[T], ranges: Sequence[Bounds]) -> T:
        where, params = where_in_any(engine, self._table.key, ranges)
        return read(engine.digests, engine.fetch_all(query(engine, where), params))


@dataclass(frozen=True)
class Prover:
    """Proves by checksums that both sides of a table hold the same rows.

    ``falling_back``: suppresses the error of a database that cannot make a checksum because of what is in a row.
    ``proves_ranges``: whether a range of keys has the same rows on both sides, because both sort the keys alike.
    """

    checksums: Checksums
    falling_back: Callable[[], AbstractContextManager[None]]
    proves_ranges: bool

    def rows(self, bounds: Bounds) -> int | None:
        """Return how many rows a range has if they are proven equal, otherwise ``None``."""
        with self.falling_back():
            here, there = self.checksums.of(bounds)
            return here.rows if self.checksums.prove(bounds, here, there) else None
        return None

    def rows_of_all(self, ranges: Sequence[Bounds]) -> int | None:
        """Return how many rows the destination has if they are proven to be those of these ranges of the source."""
        if self.checksums.texts.without:
            return None
        with self.falling_back():
            here, there = self.checksums.of_every_row(ranges)
            return here.rows if here.proves(there) else None
        return None


def _only_checksum(digests: Digests, rows: Sequence[Row]) -> Checksum:
    return digests.checksum(rows[0])


def _by_segment(digests: Digests, rows: Sequence[Row]) -> dict[Any, Checksum]:
    return digests.checksums_by_segment(rows)


@contextmanager
def _lent(engine: Engine) -> Iterator[None]:
    """Let another thread use a connection of this one, which waits for it."""
    engine.connection.inc_thread_sharing()
    try:
        yield
    finally:
        engine.connection.dec_thread_sharing()
