"""One chunk: read, convert, write, and record it as done, in one transaction of the destination.

``copy_chunk`` can be called twice or be killed, and the destination is right each time: either the chunk's rows and its
record are there, or neither is. Where a row is in the way, the chunk is done again with care, to find that row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, TypeVar

from django.db import transaction

from ...errors import MigratorError
from ..chunks import Bounds
from ..engines.base.engine import Severity
from ..engines.base.lines import Block, Unrendered
from ..engines.base.loading import TextWriter
from ..engines.base.session import Row
from ..journal import DONE, Chunk, Journal
from ..planning.columns import Conversion
from ..planning.route import ReadFailed, Route, severity_of
from ..planning.triggers import without_triggers
from ..row_counts import RowCounts
from .prefetch import Prefetch
from .read_back import read_back
from .rejects import Rejects
from .row_by_row import copy_row_by_row, release_values

Batch = TypeVar("Batch", Block, list[Row])


def copy_chunk(
    route: Route, chunk: Chunk, journal: Journal, rejects: Rejects, ahead: Prefetch | None = None
) -> RowCounts:
    """Copy one chunk and record it as done, in one transaction. One that turns out to be done is left alone.

    Its lines are taken from ``ahead``, where that is given.

    Raises :exc:`migrator.errors.DataRejected` for a row that cannot be stored (unless ``rejects`` skips it), and the
    database's own error for anything else.
    """

    def claim() -> RowCounts | None:
        rejects.begin()
        return journal.claim(chunk)

    def record(tally: RowCounts) -> None:
        chunk.state = DONE
        chunk.rows_read, chunk.rows_written = tally.rows_read, tally.rows_written
        chunk.rows_rejected, chunk.bytes_written = tally.rows_rejected, tally.bytes_written
        journal.save(chunk)
        rejects.commit()

    return copy_rows(route, chunk.bounds(), rejects, ahead, number=chunk.number, claim=claim, record=record)


def copy_rows(
    route: Route,
    bounds: Bounds,
    rejects: Rejects,
    ahead: Prefetch | None = None,
    *,
    number: int = 0,
    claim: Callable[[], RowCounts | None] = lambda: None,
    record: Callable[[RowCounts], None] = lambda tally: None,
) -> RowCounts:
    """Copy a range in one transaction, of which ``record`` is the last step; raise what :func:`copy_chunk` raises.

    ``number`` is what rejected rows remember of where they were. Where ``claim``, the first step, gives what was moved
    before, nothing is copied.
    """
    try:
        with ahead.stopped_on_error() if ahead else nullcontext(), transaction.atomic(using=route.dest.alias):
            if (done := claim()) is not None:
                return done
            with _silenced(route):
                tally = _copy_fast(route, bounds, ahead)
            record(tally)
    except MigratorError:
        raise
    except Exception as error:
        if severity_of(route, error) is not Severity.DATA:
            raise
        release_values(error)
        route.source.recover()
        with transaction.atomic(using=route.dest.alias):
            if (done := claim()) is not None:
                return done
            with _silenced(route):
                tally = copy_row_by_row(route, bounds, number, rejects)
            record(tally)
    finally:
        route.dest.connection.queries_log.clear()
        route.source.connection.queries_log.clear()
    return tally


def _silenced(route: Route) -> AbstractContextManager[None]:
    """Keep triggers off the rows of one chunk; those of tables that are bound together are off for all of them."""
    if route.silences_triggers and not route.binds_late:
        return without_triggers(route.dest, [route.table.name])
    return nullcontext()


# -- the fast way -------------------------------------------------------------------------------------------------


def _copy_fast(route: Route, bounds: Bounds, ahead: Prefetch | None) -> RowCounts:
    if route.is_within:
        started = time.perf_counter()
        if (copied := route.copy_within(bounds)) is not None:
            rows, size = copied
            return RowCounts(rows, rows, 0, size, writing=time.perf_counter() - started)
    loader = route.text_writer()
    if loader is None:
        return _copy_values(route, bounds)
    return _copy_lines(route, loader, ahead.read(bounds) if ahead else route.lines(bounds))


def _copy_lines(route: Route, loader: TextWriter, lines: Generator[Block]) -> RowCounts:
    tally = RowCounts()
    started = time.perf_counter()
    with closing(_timed_blocks(lines, tally)) as blocks:
        tally.rows_written, tally.bytes_written = loader.write(blocks)
    tally.writing = time.perf_counter() - started - tally.reading
    if tally.rows_written != tally.rows_read:
        raise MigratorError(
            f"{route.table.label}: {tally.rows_read:,} rows were read and {tally.rows_written:,} were loaded. Does a "
            f"trigger or a rule in {route.dest.alias!r} keep rows out of {route.table.name!r}? Disable it for the run."
        )
    return tally


def _timed_blocks(lines: Generator[Block], tally: RowCounts) -> Generator[bytes]:
    with closing(lines) as blocks:
        for block in _timed(blocks, tally):
            tally.rows_read += block.rows
            if block.data:  # a loader takes nothing for the end
                yield block.data
            del block  # it may be large, and so may the next


def _copy_values(route: Route, bounds: Bounds) -> RowCounts:
    conversions = route.trusted or route.conversions
    expressions = [conversion.expression for conversion in conversions]
    tally = RowCounts()
    writer = route.writer()
    with closing(route.source.stream_table(route.table.name, *route.query(bounds, expressions))) as batches:
        for raw in _timed(batches, tally):
            started = time.perf_counter()
            rows_out = convert_rows(raw, conversions)
            converted = time.perf_counter()
            tally.bytes_written += writer.write(rows_out)
            tally.writing += time.perf_counter() - converted
            tally.converting += converted - started
            tally.rows_read += len(raw)
            tally.rows_written += len(raw)
    started = time.perf_counter()
    writer.finish()
    if (written := read_back(route)) is not None:
        written.check(bounds, route.restriction)
    tally.writing += time.perf_counter() - started
    return tally


def _timed(batches: Iterator[Batch], tally: RowCounts) -> Iterator[Batch]:
    while True:
        started = time.perf_counter()
        try:
            batch = next(batches, None)
        except Unrendered:
            raise
        except Exception as error:
            raise ReadFailed(str(error)) from error
        tally.reading += time.perf_counter() - started
        if batch is None:
            return
        yield batch
        del batch  # it may be large, and so may the next


def convert_rows(rows: Sequence[Row], conversions: Sequence[Conversion]) -> Sequence[Row]:
    """Convert a batch column by column; NULL stays NULL whatever a field may make of it."""
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
