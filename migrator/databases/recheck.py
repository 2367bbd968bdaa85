"""A run that was cut off goes on: what was committed is held against the source as it is now, and kept if it agrees.

The snapshot of the first attempt ended with it. Comparing what is there with the new snapshot, and copying again what
changed in between, makes the whole destination equal to one moment of the source all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from ..console.progress import Progress
from ..errors import MigratorError
from .journal.journal import Journal
from .journal.records import AFTERWARDS, Chunk, ChunkState
from .planning.plan import TablePlan
from .planning.schema import StoredTables
from .verification.compared_side import ComparedSide, sides
from .verification.contents import Pairing
from .verification.rows import Found, by_key, differing_rows, pages
from .verification.table_comparison import range_prover


@dataclass(frozen=True)
class Change:
    """What of a table has to be copied again: these chunks, or, where there are none, the table from its first row."""

    table: TablePlan
    chunks: tuple[Chunk, ...]
    source: ComparedSide
    dest: ComparedSide

    def undo(self, journal: Journal, progress: Progress) -> None:
        """Take the rows in question out of the destination, and mark their chunks as not copied."""
        label, dest = self.table.table.label, self.table.route.dest
        if self.chunks:
            progress.message(f"  {label}: {len(self.chunks)} chunks changed since the interruption; copied again.")
            for chunk in self.chunks:
                self._undo_chunk(journal, chunk)
            return
        progress.message(f"  {label} changed since the interruption; it is copied again.")
        with transaction.atomic(using=dest.alias):
            dest.delete_rows(self.table.table.name)
            journal.forget(self.table.table.name)

    def _undo_chunk(self, journal: Journal, chunk: Chunk) -> None:
        route, dest = self.table.route, self.dest
        with route.source.reading_everything(), transaction.atomic(using=route.dest.alias):
            for page in pages(self.source, chunk.bounds(), route.restriction):
                where, params = dest.key_test(list(by_key(self.source, page)))
                route.dest.execute(f"DELETE FROM {route.dest.quote(self.table.table.name)}{where}", params)
            chunk.state = ChunkState.PENDING
            journal.save(chunk)


def find_change(
    table: TablePlan,
    journal: Journal,
    source_has: StoredTables,
    dest_has: StoredTables,
    progress: Progress,
    *,
    adds_rows: bool,
) -> Change | None:
    """Hold the committed chunks of a table against the source.

    Raises :exc:`MigratorError` where copied rows are gone from the source, and cannot be told from others that the
    destination has of its own.
    """
    route = table.route
    own, other = source_has[table.table.name], dest_has[table.table.name]
    chunks = journal.chunks(table.table.name)
    done = [chunk for chunk in chunks if chunk.is_done and chunk.number != AFTERWARDS]
    written = sum(chunk.rows_written for chunk in chunks if chunk.is_done)
    source, dest = sides(table.table, route.source, route.dest, own, other, route.mappings)
    from_the_start = Change(table, (), source, dest)
    if not adds_rows and route.dest.count(table.table.name) != written:
        return from_the_start
    if not done:
        return None
    if not table.table.key:
        return _unless_mixed(from_the_start, adds_rows=adds_rows)
    pairing = Pairing(
        table.table, route.source, route.dest, written, route.restriction, route.mappings, allows_extra=adds_rows
    )
    rows_proven = range_prover(pairing)
    changed = []
    with progress.task(f"{table.table.label} (re-check)", written) as task:
        for chunk in done:
            found = Found()
            with route.source.reading_everything(), route.dest.reading_everything():
                if rows_proven and rows_proven(chunk.bounds()) == chunk.rows_written:
                    task.advance(chunk.rows_written)
                    continue
                differing = list(differing_rows(source, dest, chunk.bounds(), route.restriction, found))
            if found.there != chunk.rows_written:  # some are gone from the source, and their keys with them
                return _unless_mixed(from_the_start, adds_rows=adds_rows)
            if differing:
                changed.append(chunk)
            task.advance(chunk.rows_written)
    return Change(table, tuple(changed), source, dest) if changed else None


def _unless_mixed(change: Change, *, adds_rows: bool) -> Change:
    if not adds_rows:
        return change
    raise MigratorError(
        f"{change.table.table.label}: rows that were copied before the interruption are gone from the source, and the "
        "destination had rows of its own, so they cannot be told apart. Delete the copied rows there by hand, run "
        "again with --cleanup, and start anew."
    )
