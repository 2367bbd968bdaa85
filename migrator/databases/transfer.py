"""One chunk: read, convert, write, and record it as done, in one transaction of the destination.

``copy_chunk`` can be called twice or be killed, and the destination is right each time: either the chunk's rows and its
record are there, or neither is. Where a row is in the way, the chunk is done again with care, to find that row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import transaction

from ..errors import MigratorError
from .careful import copy_carefully
from .chunks import Bounds
from .columns import Conversion
from .engines.base.engine import Severity
from .engines.base.session import Row
from .journal import DONE, Chunk, Journal
from .rejects import Rejects
from .route import ReadFailed, Route, Tally, severity_of


def copy_chunk(route: Route, chunk: Chunk, journal: Journal, rejects: Rejects) -> Tally:
    """Copy one chunk and record it as done, in one transaction. One that turns out to be done is left alone.

    Raises :exc:`migrator.errors.DataRejected` for a row that cannot be stored (unless ``rejects`` skips it), and the
    database's own error for anything else.
    """

    def claim() -> Tally | None:
        rejects.begin()
        return journal.claim(chunk)

    def record(tally: Tally) -> None:
        chunk.state = DONE
        chunk.rows_read, chunk.rows_written = tally.rows_read, tally.rows_written
        chunk.rows_rejected, chunk.bytes_written = tally.rows_rejected, tally.bytes_written
        journal.save(chunk)
        rejects.commit()

    return copy_rows(route, chunk.bounds(), rejects, number=chunk.number, claim=claim, record=record)


def copy_rows(
    route: Route,
    bounds: Bounds,
    rejects: Rejects,
    *,
    number: int = 0,
    claim: Callable[[], Tally | None] = lambda: None,
    record: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Copy a range in one transaction, of which ``record`` is the last step; raise what :func:`copy_chunk` raises.

    ``number`` is what rejected rows remember of where they were. Where ``claim``, the first step, gives what was moved
    before, nothing is copied.
    """
    try:
        with transaction.atomic(using=route.dest.alias):
            if (done := claim()) is not None:
                return done
            tally = _copy_fast(route, bounds)
            record(tally)
    except MigratorError:
        raise
    except Exception as error:
        if severity_of(route, error) is not Severity.DATA:
            raise
        with transaction.atomic(using=route.dest.alias):
            if (done := claim()) is not None:
                return done
            tally = copy_carefully(route, bounds, number, rejects)
            record(tally)
    finally:
        route.dest.connection.queries_log.clear()
        route.source.connection.queries_log.clear()
    return tally


# -- the fast way -------------------------------------------------------------------------------------------------


def _copy_fast(route: Route, bounds: Bounds) -> Tally:
    expressions = [conversion.expression for conversion in route.conversions]
    if route.is_piped:
        # Without the casts of raw expressions: a COPY renders every value as its type's text anyway.
        select, params = route.query(bounds, [route.source.quote(c.column.name) for c in route.conversions])
        targets = [conversion.target for conversion in route.conversions]
        started = time.perf_counter()
        rows, size = route.source.pipe(select, params, route.dest, route.table.name, targets)
        return Tally(rows, rows, 0, size, writing=time.perf_counter() - started)
    tally = Tally()
    writer = route.writer()
    for raw in _timed_batches(route, route.query(bounds, expressions), tally):
        started = time.perf_counter()
        rows_out = convert_rows(raw, route.conversions)
        converted = time.perf_counter()
        tally.bytes_written += writer.write(rows_out)
        tally.writing += time.perf_counter() - converted
        tally.converting += converted - started
        tally.rows_read += len(raw)
        tally.rows_written += len(raw)
    return tally


def _timed_batches(route: Route, query: tuple[str, list[Any]], tally: Tally) -> Iterator[list[Row]]:
    batches = route.source.stream(*query)
    while True:
        started = time.perf_counter()
        try:
            batch = next(batches, None)
        except Exception as error:
            raise ReadFailed(str(error)) from error
        tally.reading += time.perf_counter() - started
        if batch is None:
            return
        yield batch


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
