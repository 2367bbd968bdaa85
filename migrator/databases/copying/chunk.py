"""One chunk: read, convert, write, and record it as done, in one transaction of the destination.

A chunk can be copied twice, or its copy be killed, and the destination is right each time: either the chunk's rows and
its record are there, or neither is. If a row cannot be stored, the chunk is copied again row by row to find that row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from django.db import transaction

from ...errors import MigratorError
from ...processes.prefetch import Prefetch
from ..chunks import Bounds
from ..engines.base.errors import Severity
from ..engines.base.loading import TextWriter
from ..engines.base.server_lines import Block, Unrendered
from ..engines.base.session import Row
from ..journal.journal import Journal
from ..journal.records import Chunk, ChunkState
from ..planning.columns import Conversion
from ..planning.table_route import ReadFailed, Route, severity_of
from ..planning.transports import BinaryStream, ConvertedRows, ServerSideCopy, TextStream
from ..planning.triggers import without_triggers
from ..row_counts import RowCounts
from .read_back import read_back
from .rejects import Rejects
from .row_by_row import copy_row_by_row, release_values

PREFETCH_BYTES = 4 * 1024 * 1024

Batch = TypeVar("Batch", Block, list[Row])
LinePrefetch = Prefetch[Bounds, Block]


def prefetch_lines(route: Route, ranges: Sequence[Bounds]) -> LinePrefetch:
    """Return the prefetch of these ranges of a table as lines. It reads in the session of the source."""
    return Prefetch(
        route.lines,
        ranges,
        size=lambda block: len(block.data),
        limit=PREFETCH_BYTES,
        connection=route.source.connection,
    )


@dataclass(frozen=True)
class ChunkCopier:
    """Copies ranges of one table, each in one transaction: fast, and row by row if a row cannot be stored.

    ``journal`` records chunks as done; ``prefetch``, if given, has their lines.

    Both methods raise :exc:`migrator.errors.DataRejected` for a row that cannot be stored (unless ``rejects`` skips
    it), and the database's own error for anything else.
    """

    route: Route
    rejects: Rejects
    journal: Journal | None = None
    prefetch: LinePrefetch | None = None

    def copy(self, chunk: Chunk) -> RowCounts:
        """Copy one chunk and record it as done; if it is done already, only return what was copied."""
        return self._copy(chunk.bounds(), chunk)

    def copy_range(self, bounds: Bounds) -> RowCounts:
        """Copy a range of keys without a record of it."""
        return self._copy(bounds, None)

    def _copy(self, bounds: Bounds, chunk: Chunk | None) -> RowCounts:
        route, prefetch = self.route, self.prefetch
        try:
            with prefetch.stopped_on_error() if prefetch else nullcontext():
                return self._in_transaction(chunk, partial(copy_by_transport, route, bounds, prefetch))
        except MigratorError:
            raise
        except Exception as error:
            if severity_of(route, error) is not Severity.DATA:
                raise
            release_values(error)
            route.source.recover()
            number = chunk.number if chunk else 0
            return self._in_transaction(chunk, partial(copy_row_by_row, route, bounds, number, self.rejects))
        finally:
            route.dest.connection.queries_log.clear()
            route.source.connection.queries_log.clear()

    def _in_transaction(self, chunk: Chunk | None, copy_rows: Callable[[], RowCounts]) -> RowCounts:
        """Claim the chunk, copy its rows and record it, in one transaction of the destination."""
        with transaction.atomic(using=self.route.dest.alias):
            if (done := self._claim(chunk)) is not None:
                return done
            with _triggers_disabled(self.route):
                counts = copy_rows()
            self._record(chunk, counts)
        return counts

    def _claim(self, chunk: Chunk | None) -> RowCounts | None:
        """Lock the chunk's record until the end of the transaction; return what was copied if it is done already."""
        if chunk is None or self.journal is None:
            return None
        self.rejects.begin()
        return self.journal.claim(chunk)

    def _record(self, chunk: Chunk | None, counts: RowCounts) -> None:
        if chunk is None or self.journal is None:
            return
        chunk.state = ChunkState.DONE
        chunk.rows_read, chunk.rows_written = counts.rows_read, counts.rows_written
        chunk.rows_rejected, chunk.bytes_written = counts.rows_rejected, counts.bytes_written
        self.journal.save(chunk)
        self.rejects.commit()


def _triggers_disabled(route: Route) -> AbstractContextManager[None]:
    """Disable triggers for the rows of one chunk; a group of tables in one transaction has them disabled as a whole."""
    if route.disables_triggers and not route.binds_late:
        return without_triggers(route.dest, [route.table.name])
    return nullcontext()


# -- by the route's transport ------------------------------------------------------------------------------------


def copy_by_transport(route: Route, bounds: Bounds, prefetch: LinePrefetch | None = None) -> RowCounts:
    """Copy a range in the current transaction, as fast as the route allows; no row may need to be rejected."""
    match route.transport:
        case ServerSideCopy(fallback):
            copied = _copy_within(route, bounds)
            return _copy_values(route, bounds, fallback.conversions) if copied is None else copied
        case BinaryStream():
            return _copy_lines(route, route.binary_writer(), bounds, prefetch)
        case TextStream(fallback=fallback):
            loader = route.text_writer()
            if loader is None:
                return _copy_values(route, bounds, fallback.conversions)
            return _copy_lines(route, loader, bounds, prefetch)
        case ConvertedRows(conversions):
            return _copy_values(route, bounds, conversions)


def _copy_within(route: Route, bounds: Bounds) -> RowCounts | None:
    started = time.perf_counter()
    if (copied := route.copy_within(bounds)) is None:
        return None
    rows, size = copied
    return RowCounts(rows, rows, 0, size, writing=time.perf_counter() - started)


def _copy_lines(route: Route, loader: TextWriter, bounds: Bounds, prefetch: LinePrefetch | None) -> RowCounts:
    counts = RowCounts()
    started = time.perf_counter()
    lines = prefetch.read(bounds) if prefetch else route.lines(bounds)
    with closing(_timed_blocks(lines, counts)) as blocks:
        counts.rows_written, counts.bytes_written = loader.write(blocks)
    counts.writing = time.perf_counter() - started - counts.reading
    if counts.rows_written != counts.rows_read:
        raise MigratorError(
            f"{route.table.label}: {counts.rows_read:,} rows were read and {counts.rows_written:,} were loaded. Does a "
            f"trigger or a rule in {route.dest.alias!r} keep rows out of {route.table.name!r}? Disable it for the run."
        )
    return counts


def _timed_blocks(lines: Generator[Block], counts: RowCounts) -> Generator[bytes]:
    with closing(lines) as blocks:
        for block in _timed(blocks, counts):
            counts.rows_read += block.rows
            if block.data:  # to a loader, an empty block is the end
                yield block.data
            del block  # it may be large, and so may the next


def _copy_values(route: Route, bounds: Bounds, conversions: Sequence[Conversion]) -> RowCounts:
    expressions = [conversion.expression for conversion in conversions]
    counts = RowCounts()
    writer = route.writer()
    with closing(route.source.stream_table(route.table.name, *route.query(bounds, expressions))) as batches:
        for raw in _timed(batches, counts):
            started = time.perf_counter()
            rows = convert_rows(raw, conversions)
            converted = time.perf_counter()
            counts.bytes_written += writer.write(rows)
            counts.writing += time.perf_counter() - converted
            counts.converting += converted - started
            counts.rows_read += len(raw)
            counts.rows_written += len(raw)
    started = time.perf_counter()
    writer.finish()
    if (written := read_back(route)) is not None:
        written.check(bounds, route.restriction)
    counts.writing += time.perf_counter() - started
    return counts


def _timed(batches: Iterator[Batch], counts: RowCounts) -> Iterator[Batch]:
    while True:
        started = time.perf_counter()
        try:
            batch = next(batches, None)
        except Unrendered:
            raise
        except Exception as error:
            raise ReadFailed(str(error)) from error
        counts.reading += time.perf_counter() - started
        if batch is None:
            return
        yield batch
        del batch  # it may be large, and so may the next


def convert_rows(rows: Sequence[Row], conversions: Sequence[Conversion]) -> Sequence[Row]:
    """Convert a batch column by column. NULL stays NULL, whatever a field's own conversion returns for it."""
    if not any(conversion.convert for conversion in conversions):
        return rows
    columns: list[Sequence[Any]] = []
    for conversion, values in zip(conversions, zip(*rows, strict=True), strict=True):
        convert = conversion.convert
        if convert is None:
            columns.append(values)
        else:
            columns.append([None if value is None else convert(value) for value in values])
    return list(zip(*columns, strict=True))
