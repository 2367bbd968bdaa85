"""The copy of a plan's tables: one process makes all of its steps, and each worker some of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
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
from ..journal.records import Chunk, ChunkState
from ..planning.plan import Plan, TablePlan, is_bound_late, largest_first
from ..planning.triggers import without_triggers
from ..row_counts import RowCounts
from .chunk import ChunkCopier, prefetch_lines
from .orphans import reject_orphans
from .rejects import Rejects
from .retry import Retries, once
from .small_tables import SharedTransactions, copy_together

CHUNK_BYTES, LARGEST_CHUNK_BYTES = 32 * 1024 * 1024, 128 * 1024 * 1024
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
    # How many workers on other hosts are expected to copy chunks.
    workers: int = 0

    @property
    def endpoints(self) -> Endpoints:
        return self.retries.endpoints

    @property
    def progress(self) -> Progress:
        return self.retries.progress

    def rows_in_chunk(self, planned: TablePlan) -> int:
        """Return how many rows of a table are copied in one transaction, unless the user chose that.

        Each chunk costs a few round trips to the destination, so small ones are slow. Wide rows fill a transaction
        sooner, which an interrupted run has to repeat: by default a chunk has about :data:`CHUNK_BYTES`, or as many
        rows as cost little, and at most about :data:`LARGEST_CHUNK_BYTES` if the destination does not want more.
        """
        if self.chunk_size is not None:
            return self.chunk_size
        rows, route, width = planned.source_rows, planned.route, self.plan.row_bytes(planned)
        fitting, most_fitting = (
            (int(CHUNK_BYTES / width), int(LARGEST_CHUNK_BYTES / width)) if width else (0, sys.maxsize)
        )
        processes = self.endpoints.jobs + self.workers
        share = LARGEST_CHUNK_SIZE if processes == 1 else rows // (processes * CHUNKS_PER_PROCESS)
        worth_it = max(DEFAULT_CHUNK_SIZE, route.dest.features.rows_worth_a_commit)
        wanted = max(worth_it, min(fitting, share, LARGEST_CHUNK_SIZE))
        return max(1, min(wanted, most_fitting), route.rows_within(rows))

    @property
    def shared(self) -> SharedTransactions:
        """Which small tables share a transaction."""
        return SharedTransactions(self.plan, min(self.chunk_size or DEFAULT_CHUNK_SIZE, DEFAULT_CHUNK_SIZE))

    def is_one_chunk(self, planned: TablePlan) -> bool:
        """Whether a table is copied in one transaction."""
        return not planned.table.key or planned.source_rows <= self.rows_in_chunk(planned)

    def check(self) -> None:
        """Raise if the run has to stop between two chunks."""
        self.retries.check()

    def with_retries(self, action: Callable[[], Result]) -> Result:
        """Run an action, again after a transient error."""
        return self.retries.run(action)

    def record_small_tables(self) -> dict[str, list[Chunk]]:
        """Record the tables of one chunk in one statement, and return their chunks by table; empty tables are done."""
        changing = self.endpoints.source.outside_snapshot
        return self.journal.add_whole(
            {
                planned.table.name: planned.source_rows == 0 and planned.table.name not in changing
                for planned in self.plan.tables
                if self.is_one_chunk(planned)
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
        done = {*complete, *(name for name, chunks in recorded.items() if all(chunk.is_done for chunk in chunks))}
        for batch in self.shared.batches(largest_first(self.plan.groups), recorded, done):
            if all(planned.table.name in complete for planned in batch):
                continue
            if is_bound_late(batch):
                self.with_retries(partial(self.copy_group, batch, counts))
                self.rejects.settle()
            elif len(batch) == 1:
                self.copy_table(batch[0], counts, recorded.get(batch[0].table.name))
            else:
                self.copy_small_tables(batch, counts, recorded)
            on_complete({planned.table.name: planned.source_rows for planned in batch})
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

    def copy_small_tables(
        self, tables: Sequence[TablePlan], counts: dict[str, RowCounts], recorded: Mapping[str, Sequence[Chunk]]
    ) -> None:
        """Copy tables of one chunk each in one transaction, or one by one if that fails, and set their ``counts``."""
        if not tables:
            return
        self.check()
        chunks = [(planned.route, recorded[planned.table.name][0]) for planned in tables]
        copied = self.with_retries(once(partial(copy_together, chunks, self.journal)))
        if copied is None:
            for planned in tables:
                self.copy_table(planned, counts, recorded[planned.table.name])
            return
        for planned in tables:
            counts[planned.table.name] = self.since_before(planned.table.name, RowCounts())
            counts[planned.table.name].add(copied[planned.table.name])
        for planned in tables:
            with self.progress.task(planned.table.label, planned.source_rows) as task:
                task.advance(copied[planned.table.name].rows_read)
        self.with_retries(self.journal.heartbeat)

    def copy_table(
        self, planned: TablePlan, counts: dict[str, RowCounts], chunks: Sequence[Chunk] | None = None
    ) -> None:
        """Copy the rest of a table, by its ``chunks`` if they are known, and set its ``counts``."""
        name = planned.table.name
        if chunks is None:
            self.with_retries(lambda: self.split(planned))
            done = self.with_retries(lambda: self.journal.counts_of(name))
            pages: Iterator[Sequence[Chunk]] = self.journal.chunks(name, ChunkState.PENDING, self.with_retries)
        else:
            done = RowCounts()
            for chunk in chunks:
                if chunk.is_done:
                    done.add(chunk.counts())
            pages = iter([[chunk for chunk in chunks if not chunk.is_done]])
        of_table = counts[name] = self.since_before(name, done)
        with self.progress.task(planned.table.label, planned.source_rows, done=done.rows_read) as task:
            for page in pages:
                with closing(self.copy_chunks(planned, page)) as copies:
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
            # The connection may have been lost between the commit and its answer.
            if attempts and self.journal.is_done(chunk.table, chunk.number):
                return self.journal.chunk(chunk.table, chunk.number).counts()
            attempts += 1
            return copier.copy(chunk)

        counts = self.retries.run(attempt, free_source)
        if not self.endpoints.dest.connection.in_atomic_block:
            self.rejects.settle()
        return counts

    def split(self, planned: TablePlan) -> None:
        """Split a table into chunks, unless it was."""
        table, route = planned.table, planned.route
        if self.journal.is_split(table.name):
            return
        bounds = find_bounds(
            route.source, table.name, table.key, planned.source_rows, self.rows_in_chunk(planned), route.restriction
        )
        self.journal.add_chunks(table.name, bounds)

    def since_before(self, table: str, done: RowCounts) -> RowCounts:
        """Return how much of what is ``done`` of a table this run has copied since it was resumed, if it was."""
        before = self.before.get(table)
        return done.since(before) if before else done
