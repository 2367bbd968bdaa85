"""The copy of a plan's tables: one process makes all of its steps, and each worker some of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
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
from .orphans import reject_orphans
from .rejects import Rejects
from .retry import Retries

CHUNK_BYTES = 32 * 1024 * 1024
CHUNKS_PER_PROCESS = 4  # of one table, so that no process waits long for the last chunk

Result = TypeVar("Result")


@dataclass(frozen=True)
class Load:
    """What is needed to copy the tables of a plan.

    ``chunk_size``: the rows of a chunk, if the user chose them. ``before``: by table name, what earlier processes of a
    resumed run have committed.
    """

    plan: Plan
    journal: Journal
    rejects: Rejects
    chunk_size: int | None
    retries: Retries
    before: Mapping[str, RowCounts] = field(default_factory=dict)

    @property
    def endpoints(self) -> Endpoints:
        return self.retries.endpoints

    @property
    def progress(self) -> Progress:
        return self.retries.progress

    def rows_in_chunk(self, planned: TablePlan) -> int:
        """Return how many rows of a table are copied in one transaction, unless the user chose that.

        Each chunk costs a few round trips to the destination, so small ones are slow. Wide rows fill a transaction
        sooner: by default a chunk has about :data:`CHUNK_BYTES`.
        """
        if self.chunk_size is not None:
            return self.chunk_size
        rows, route = planned.source_rows, planned.route
        if rows <= DEFAULT_CHUNK_SIZE:
            return DEFAULT_CHUNK_SIZE
        fitting = rows * CHUNK_BYTES // (route.source.catalogue.table_bytes(route.table.name) or sys.maxsize)
        most = LARGEST_CHUNK_SIZE if self.endpoints.jobs == 1 else rows // (self.endpoints.jobs * CHUNKS_PER_PROCESS)
        return max(DEFAULT_CHUNK_SIZE, min(fitting, most, LARGEST_CHUNK_SIZE), route.rows_in_chunk(rows))

    def check(self) -> None:
        """Raise if the run has to stop between two chunks."""
        self.retries.check()

    def with_retries(self, action: Callable[[], Result]) -> Result:
        """Run an action, again after a transient error."""
        return self.retries.run(action)

    def record_small_tables(self) -> dict[str, list[Chunk]]:
        """Record the tables of one chunk in one statement, and return their chunks by table; empty tables are done."""
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
        counts: dict[str, RowCounts],
        on_complete: Callable[[Mapping[str, int]], None] = lambda tables: None,
        *,
        complete: Collection[str] = (),
        recorded: Mapping[str, list[Chunk]] = MappingProxyType({}),
    ) -> None:
        """Copy the tables one after another, except those that are ``complete``, and add to their ``counts``.

        ``on_complete`` is called with the names and rows of tables that became complete. ``recorded`` has the chunks
        of tables that :meth:`record_small_tables` recorded.
        """
        for group in largest_first(self.plan.groups):
            if all(planned.table.name in complete for planned in group):
                continue
            if is_bound_late(group):
                self.with_retries(partial(self.copy_group, group, counts))
                self.rejects.settle()
                on_complete({planned.table.name: planned.source_rows for planned in group})
            else:
                for planned in group:
                    if planned.table.name not in complete:
                        self.copy_table(planned, counts, recorded.get(planned.table.name))
                        on_complete({planned.table.name: planned.source_rows})
        names = [planned.table.name for planned in self.plan.tables]
        if not self.with_retries(lambda: self.journal.is_complete(names)):
            self.copy_all(counts, on_complete)  # a server that crashed may have lost its last commits

    def copy_group(self, group: Sequence[TablePlan], counts: dict[str, RowCounts]) -> None:
        """Copy a cycle of tables in one transaction, because their foreign keys hold only when all rows are there."""
        silenced = [planned.table.name for planned in group if planned.route.disables_triggers]
        with transaction.atomic(using=self.endpoints.dest.alias), without_triggers(self.endpoints.dest, silenced):
            for planned in group:
                self.copy_table(planned, counts)
            if self.rejects.skips_rows:  # at the commit, no row may reference a rejected one
                removed = reject_orphans(group, self.rejects, self.journal, adds_rows=self.plan.adds_rows)
                for table, rows in removed.items():
                    counts[table].reject_committed(rows)

    def copy_table(
        self, planned: TablePlan, counts: dict[str, RowCounts], chunks: Sequence[Chunk] | None = None
    ) -> None:
        """Copy the rest of a table, by its ``chunks`` if they are known, and set its ``counts``."""
        if chunks is None:
            chunks = self.with_retries(lambda: self.chunks_of(planned))
        of_table = counts[planned.table.name] = self.counts_of(chunks)
        rows_done = sum(chunk.rows_read for chunk in chunks if chunk.is_done)
        pending = [chunk for chunk in chunks if not chunk.is_done]
        with (
            self.progress.task(planned.table.label, planned.source_rows, done=rows_done) as task,
            closing(self.copy_chunks(planned, pending)) as copies,
        ):
            for copied in copies:
                of_table.add(copied)
                task.advance(copied.rows_read)

    def copy_chunks(self, planned: TablePlan, chunks: Sequence[Chunk]) -> Generator[RowCounts]:
        """Copy chunks of a table, each again after a transient error, and yield their counts."""
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
        """Return a table's chunks, and split it into chunks first if it was not."""
        table, route = planned.table, planned.route
        if chunks := self.journal.chunks(table.name):
            return chunks
        bounds = find_bounds(
            route.source, table.name, table.key, planned.source_rows, self.rows_in_chunk(planned), route.restriction
        )
        return self.journal.add_chunks(table.name, bounds)

    def counts_of(self, chunks: Sequence[Chunk]) -> RowCounts:
        """Return what this process has copied of a table, and what was there before; ``chunks`` are all of them."""
        counts = RowCounts()
        for chunk in chunks:
            if chunk.is_done:
                counts.add(chunk.counts())
        before = self.before.get(chunks[0].table) if chunks else None
        return counts.since(before) if before else counts
