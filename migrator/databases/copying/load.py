"""The load of a plan's tables, step by step: what one process does by itself, and each worker a part of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from django.db import transaction

from ...conf import DEFAULT_CHUNK_SIZE, LARGEST_CHUNK_SIZE
from ...console.progress import Progress
from ..chunks import find_bounds
from ..endpoints import Endpoints
from ..journal.journal import Journal
from ..journal.records import Chunk
from ..planning.plan import Plan, TablePlan, is_bound_late, largest_first
from ..planning.triggers import without_triggers
from ..row_counts import RowCounts
from .chunk import ChunkCopier, prefetch_lines
from .orphans_and_sequences import reject_orphans
from .rejects import Rejects
from .retry import Retries

CHUNK_BYTES = 32 * 1024 * 1024
# Of a table that several processes copy, so that none waits long for the last one.
CHUNKS_FOR_EACH = 4

Result = TypeVar("Result")


@dataclass(frozen=True)
class Load:
    """What it takes to copy the tables of a plan."""

    plan: Plan
    journal: Journal
    rejects: Rejects
    chunk_size: int | None
    retries: Retries

    @property
    def endpoints(self) -> Endpoints:
        return self.retries.endpoints

    @property
    def progress(self) -> Progress:
        return self.retries.progress

    def rows_in_chunk(self, planned: TablePlan) -> int:
        """Choose how many rows of a table are copied in one transaction, where nobody has chosen.

        Each costs a few round trips to the destination, whatever it holds; and one of wide rows is long enough.
        """
        if self.chunk_size is not None:
            return self.chunk_size
        rows, route = planned.source_rows, planned.route
        if rows <= DEFAULT_CHUNK_SIZE:
            return DEFAULT_CHUNK_SIZE
        fitting = rows * CHUNK_BYTES // (route.source.catalogue.table_bytes(route.table.name) or sys.maxsize)
        most = LARGEST_CHUNK_SIZE if self.endpoints.jobs == 1 else rows // (self.endpoints.jobs * CHUNKS_FOR_EACH)
        return max(DEFAULT_CHUNK_SIZE, min(fitting, most, LARGEST_CHUNK_SIZE), route.rows_in_chunk(rows))

    def check(self) -> None:
        """Raise where the work shall end between two chunks."""
        self.retries.check()

    def again(self, action: Callable[[], Result]) -> Result:
        """Run an action, again where a fault passes."""
        return self.retries.run(action)

    def cut_small(self) -> dict[str, list[Chunk]]:
        """Record those tables at once that are one chunk, and return it by their names; an empty one is done."""
        most, changing = self.chunk_size or DEFAULT_CHUNK_SIZE, self.endpoints.source.outside_snapshot
        return self.journal.add_whole(
            {
                planned.table.name: planned.source_rows == 0 and planned.table.name not in changing
                for planned in self.plan.tables
                if planned.source_rows <= most
            }
        )

    def copy_all(
        self,
        tallies: dict[str, RowCounts],
        complete: Callable[[Mapping[str, int]], None] = lambda tables: None,
        *,
        but: Collection[str] = (),
        cut: Mapping[str, list[Chunk]] = MappingProxyType({}),
    ) -> None:
        """Copy the tables one after the other, except those that are complete already: ``but`` names them.

        ``complete`` is told the names and rows of those that have become so; ``cut`` has chunks that were recorded
        just now.
        """
        for group in largest_first(self.plan.groups):
            if all(planned.table.name in but for planned in group):
                continue
            if is_bound_late(group):
                self.again(partial(self.copy_group, group, tallies))
                self.rejects.settle()
                complete({planned.table.name: planned.source_rows for planned in group})
            else:
                for planned in group:
                    if planned.table.name not in but:
                        self.copy_table(planned, tallies, cut.get(planned.table.name))
                        complete({planned.table.name: planned.source_rows})
        names = [planned.table.name for planned in self.plan.tables]
        if not self.again(lambda: self.journal.is_complete(names)):
            self.copy_all(tallies, complete)  # a server that crashed may have forgotten its last commits

    def copy_group(self, group: Sequence[TablePlan], tallies: dict[str, RowCounts]) -> None:
        """Copy a cycle of tables in one transaction: its rows are only right together."""
        silenced = [planned.table.name for planned in group if planned.route.silences_triggers]
        with transaction.atomic(using=self.endpoints.dest.alias), without_triggers(self.endpoints.dest, silenced):
            for planned in group:
                self.copy_table(planned, tallies)
            if self.rejects.goes_on:  # nothing may point at a row that was rejected when this is committed
                removed = reject_orphans(group, self.rejects, self.journal, adds_rows=self.plan.adds_rows)
                for table, rows in removed.items():
                    tallies[table].add(RowCounts(rows_written=-rows, rows_rejected=rows))

    def copy_table(
        self, planned: TablePlan, tallies: dict[str, RowCounts], chunks: Sequence[Chunk] | None = None
    ) -> None:
        """Copy what is not copied of a table yet, of these ``chunks`` where they are known."""
        if chunks is None:
            chunks = self.again(lambda: self.chunks_of(planned))
        tally = tallies[planned.table.name] = done_before(chunks)
        pending = [chunk for chunk in chunks if not chunk.is_done]
        with (
            self.progress.task(planned.table.label, planned.source_rows, done=tally.rows_read) as task,
            closing(self.copy_chunks(planned, pending)) as copies,
        ):
            for copied in copies:
                tally.add(copied)
                task.advance(copied.rows_read)

    def copy_chunks(self, planned: TablePlan, chunks: Sequence[Chunk]) -> Generator[RowCounts]:
        """Copy chunks of a table, each again after a transient error."""
        with prefetch_lines(planned.route, [chunk.bounds() for chunk in chunks]) as prefetch:
            copier = ChunkCopier(planned.route, self.rejects, self.journal, prefetch)
            for chunk in chunks:
                self.check()
                yield self._copy_with_retries(copier, chunk, prefetch.stop)
                self.retries.run(self.journal.heartbeat, prefetch.stop)

    def _copy_with_retries(self, copier: ChunkCopier, chunk: Chunk, free_source: Callable[[], None]) -> RowCounts:
        """Copy a chunk, again after a transient error unless the destination has recorded it as done."""
        attempts = 0

        def attempt() -> RowCounts:
            nonlocal attempts
            if attempts and self.journal.is_done(chunk):  # the connection was lost between the commit and its answer
                return self.journal.chunk(chunk.pk).counts()
            attempts += 1
            return copier.copy(chunk)

        counts = self.retries.run(attempt, free_source)
        if not self.endpoints.dest.connection.in_atomic_block:
            self.rejects.settle()
        return counts

    def chunks_of(self, planned: TablePlan) -> list[Chunk]:
        """Return a table's chunks, after cutting it if that has not been done."""
        table, route = planned.table, planned.route
        if chunks := self.journal.chunks(table.name):
            return chunks
        bounds = find_bounds(
            route.source, table.name, table.key, planned.source_rows, self.rows_in_chunk(planned), route.restriction
        )
        return self.journal.add_chunks(table.name, bounds)


def done_before(chunks: Sequence[Chunk]) -> RowCounts:
    """Add up what was done of a table before."""
    tally = RowCounts()
    for chunk in chunks:
        if chunk.is_done:
            tally.add(chunk.counts())
    return tally
