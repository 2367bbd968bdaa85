"""Checksums of a range of rows, made on both sides of a comparison at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from typing import Any, TypeVar

from django.db import DatabaseError

from ..chunks import Bounds, where_clause
from ..engines.base.digests import Checksum, Digests
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..planning.columns import RowTexts, Way
from .rows import ComparedSide, hold_the_same_documents
from .segments import Segments

# Smaller tables are compared before another process has begun.
HELPED_ROWS = 50_000

T = TypeVar("T")
# Builds the query for checksums of one of both databases, with this WHERE clause.
Query = Callable[[Engine, str], str]
# Reads what that query gives.
Read = Callable[[Digests, Sequence[Row]], T]


class Checksums:
    """The checksums of a table's rows on both sides: of the rows as they are stored if that can be, else of ``texts``.

    The texts may lack documents, which are read beside them.
    """

    def __init__(self, source: ComparedSide, dest: ComparedSide, texts: RowTexts) -> None:
        self.texts = texts
        self._source, self._dest, self._table = source, dest, source.table
        readings = (*source.readings, *dest.readings)
        self._is_as_stored = all(reading.way is Way.RAW for reading in readings) and bool(
            source.engine.digests.checksum_of_rows_query(self._table.columns, self._table.name, "")
        )
        # The destination's session in another process, if there is one.
        self._helper: Engine | None = None

    @contextmanager
    def helped(self, rows: int) -> Iterator[None]:
        """Have another process add up the one side's digests, where this one would have to add up both sides'.

        It is worth that only where the table has many ``rows``.
        """
        is_worth_it = self._adds_up_both and rows > HELPED_ROWS
        helper = self._helper = self._dest.engine.open_helper_session() if is_worth_it else None
        with nullcontext() if helper is None else closing(helper):
            yield
        self._helper = None

    def of(self, bounds: Bounds) -> tuple[Checksum, Checksum]:
        """Add up the digests of a range on both sides."""
        return self._added(bounds, None, _only_checksum)

    def by_part(self, bounds: Bounds, parts: Segments) -> dict[Any, tuple[Checksum, Checksum]]:
        """Add up the digests of a range on both sides, part by part."""
        none = Checksum(0, 0)
        here, there = self._added(bounds, parts, _by_part)
        return {part: (here.get(part, none), there.get(part, none)) for part in here | there}

    def _added(self, bounds: Bounds, parts: Segments | None, read: Read[T]) -> tuple[T, T]:
        table, source = self._table, self._source.engine

        def part_of(engine: Engine) -> str | None:
            return None if parts is None else parts.here if engine is source else parts.there

        def of_rows(engine: Engine, where: str) -> str:
            return engine.digests.checksum_of_rows_query(table.columns, table.name, where, part_of(engine)) or ""

        def of_texts(engine: Engine, where: str) -> str:
            text = self.texts.here if engine is source else self.texts.there
            return engine.digests.checksum_query(text, table.name, where, part_of(engine))

        if self._is_as_stored:
            try:
                return self._ask_both(of_rows, read, bounds)
            except DatabaseError:  # a row that is too large to be read so
                self._is_as_stored = False
                for side in (self._source, self._dest):
                    side.engine.recover()
        return self._ask_both(of_texts, read, bounds)

    def prove(self, bounds: Bounds, here: Checksum, there: Checksum) -> bool:
        """Tell whether a range with these checksums holds the same values on both sides, documents included."""
        if not here.proves(there):
            return False
        if not self.texts.without:
            return True
        names = {*self._table.key, *(column.name for column in self.texts.without)}
        return hold_the_same_documents(self._source.narrowed(names), self._dest.narrowed(names), bounds)

    @property
    def _adds_up_both(self) -> bool:
        return all(side.engine.features.computes_checksums_locally for side in (self._source, self._dest))

    def _ask_both(self, query: Query, read: Read[T], bounds: Bounds) -> tuple[T, T]:
        """Ask both databases, at the same time if that saves any."""
        source, dest = self._source.engine, self._dest.engine
        if self._adds_up_both and self._helper is None:
            return self._ask(source, query, read, bounds), self._ask(dest, query, read, bounds)
        with _lent(dest), ThreadPoolExecutor(1) as pool:
            there = pool.submit(self._ask_dest, query, read, bounds)
            return self._ask(source, query, read, bounds), there.result()

    def _ask_dest(self, query: Query, read: Read[T], bounds: Bounds) -> T:
        if self._helper is not None:
            try:
                return self._ask(self._helper, query, read, bounds)
            except (DatabaseError, EOFError, OSError):  # what it fails at, the session itself is asked
                self._helper = None
        return self._ask(self._dest.engine, query, read, bounds)

    def _ask(self, engine: Engine, query: Query, read: Read[T], bounds: Bounds) -> T:
        where, params = where_clause(engine, self._table.key, bounds, None)
        return read(engine.digests, engine.fetch_all(query(engine, where), params))


def _only_checksum(digests: Digests, rows: Sequence[Row]) -> Checksum:
    return digests.checksum(rows[0])


def _by_part(digests: Digests, rows: Sequence[Row]) -> dict[Any, Checksum]:
    return digests.checksums_by_segment(rows)


@contextmanager
def _lent(engine: Engine) -> Iterator[None]:
    """Let another thread use a connection that this one made, while this one waits for it."""
    engine.connection.inc_thread_sharing()
    try:
        yield
    finally:
        engine.connection.dec_thread_sharing()
