"""The re-check of a resumed run: committed chunks are compared with the source as it is now, and kept if they match.

The snapshot of the first attempt ended with it. Chunks that differ from the new snapshot are copied again, so that the
whole destination equals the source at one moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from django.db import Error, transaction

from ..console.progress import Progress
from ..console.wording import plural
from ..errors import MigratorError
from .copying.retry import Retries
from .engines.base.catalogue import UNIQUE_KEY
from .journal.journal import Journal
from .journal.records import AFTERWARDS, Chunk, ChunkState, Run, RunState
from .planning.columns import TableEnds
from .planning.draft_plan import stored_tables
from .planning.plan import Plan, TablePlan
from .planning.schema import StoredTables
from .verification.compared_side import ComparedSide, sides
from .verification.contents import Pairing
from .verification.rows import Found, by_key, differing_rows, pages
from .verification.table_comparison import range_prover


@dataclass(frozen=True)
class Change:
    """What has to be copied again of a table: these chunks, or the whole table if there are none."""

    table: TablePlan
    chunks: tuple[Chunk, ...]
    source: ComparedSide
    dest: ComparedSide

    def undo(self, journal: Journal, progress: Progress) -> None:
        """Delete the rows in question from the destination, and mark their chunks as not copied."""
        label, dest = self.table.table.label, self.table.route.dest
        if self.chunks:
            count = plural(len(self.chunks), "chunk")
            progress.message(f"  {label}: {count} changed since the interruption and will be copied again.")
            for chunk in self.chunks:
                self._undo_chunk(journal, chunk)
            return
        progress.message(f"  {label} changed since the interruption and will be copied again.")
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


def recheck(run: Run, plan: Plan, journal: Journal, retries: Retries) -> None:
    """Compare what a run has committed with the source as it is now, and mark what differs as not copied.

    Rows are found by their keys, so the keys of tables with rows are recreated first, and stay: otherwise each chunk
    would be searched for in the whole table.
    """
    dest = retries.endpoints.dest
    source_has, dest_has = stored_tables(retries.endpoints, [table.table for table in plan.tables])
    _recreate_keys(run, journal, retries)
    changes = []
    for table in plan.tables:
        retries.check()
        change = find_change(table, journal, source_has, dest_has, retries.progress, adds_rows=plan.adds_rows)
        if change:
            changes.append(change)
    if changes:
        for item in run.dropped_objects():  # some may have been recreated already
            if item.kind != UNIQUE_KEY:
                dest.catalogue.drop(item)
        journal.set_state(run, RunState.COPYING)
        for change in reversed(changes):
            change.undo(journal, retries.progress)


def _recreate_keys(run: Run, journal: Journal, retries: Retries) -> None:
    dest = retries.endpoints.dest
    keys = [
        item
        for item in run.dropped_objects()
        if item.kind == UNIQUE_KEY and any(chunk.is_done for chunk in journal.chunks(item.table))
    ]
    progress = retries.progress if keys else Progress()
    with progress.task("keys (re-check)", len(keys), unit="objects") as task:
        for item in keys:
            retries.check()
            try:
                retries.run(partial(dest.catalogue.recreate, [item]))
            except Error as error:
                if not dest.is_about_rows(error):  # the re-check is about to find such rows
                    raise
            task.advance(1)


def find_change(
    table: TablePlan,
    journal: Journal,
    source_has: StoredTables,
    dest_has: StoredTables,
    progress: Progress,
    *,
    adds_rows: bool,
) -> Change | None:
    """Compare the committed chunks of a table with the source, and return what changed; ``None`` if nothing did.

    Raises :exc:`MigratorError` if copied rows are gone from the source, and cannot be distinguished from the
    destination's own rows.
    """
    route = table.route
    ends = TableEnds(route.source, route.dest, source_has[table.table.name], dest_has[table.table.name])
    chunks = journal.chunks(table.table.name)
    done = [chunk for chunk in chunks if chunk.is_done and chunk.number != AFTERWARDS]
    written = sum(chunk.rows_written for chunk in chunks if chunk.is_done)
    source, dest = sides(table.table, ends, route.mappings)
    whole_table = Change(table, (), source, dest)
    if not adds_rows and route.dest.count(table.table.name) != written:
        return whole_table
    if not done:
        return None
    if not table.table.key:
        return _unless_rows_are_mixed(whole_table, adds_rows=adds_rows)
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
            if found.there != chunk.rows_written:  # some are gone from the source, so their keys are unknown
                return _unless_rows_are_mixed(whole_table, adds_rows=adds_rows)
            if differing:
                changed.append(chunk)
            task.advance(chunk.rows_written)
    return Change(table, tuple(changed), source, dest) if changed else None


def _unless_rows_are_mixed(change: Change, *, adds_rows: bool) -> Change:
    if not adds_rows:
        return change
    raise MigratorError(
        f"{change.table.table.label}: rows that were copied before the interruption are gone from the source. The "
        "destination had rows of its own, so the copied ones cannot be identified. Delete them there by hand, run "
        "again with --cleanup, and start over."
    )
