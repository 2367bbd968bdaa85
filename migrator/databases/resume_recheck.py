"""The re-check of a resumed run: committed chunks are compared with the source as it is now, and kept if they match.

The snapshot of the first attempt ended with it. Chunks that differ from the new snapshot are copied again, so that the
whole destination equals the source at one moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain

from django.db import Error, transaction

from ..console.progress import Progress, Task
from ..console.wording import plural
from ..errors import MigratorError
from .chunks import where_clause
from .copying.drops import drop_objects
from .copying.retry import Retries
from .engines.base.catalogue import UNIQUE_KEY, DeferredObject
from .journal.journal import Journal
from .journal.records import Chunk, ChunkState, Run, RunState
from .parallel.comparing import Helpers, side_by_side
from .planning.columns import TableEnds
from .planning.draft_plan import stored_tables
from .planning.plan import Plan
from .row_counts import RowCounts
from .verification.committed_rows import Changes, CommittedRows, Span, adjoined
from .verification.rows import by_key, pages


@dataclass(frozen=True)
class Change:
    """What has to be copied again of a table: the chunks with these numbers, or the whole table without any."""

    rows: CommittedRows
    chunks: tuple[int, ...] = ()

    def undo(self, journal: Journal, progress: Progress) -> None:
        """Delete the rows in question from the destination, and mark their chunks as not copied."""
        planned = self.rows.planned
        label, name, dest = planned.table.label, planned.table.name, planned.route.dest
        if self.chunks:
            count = plural(len(self.chunks), "chunk")
            progress.message(f"  {label}: {count} changed since the interruption and will be copied again.")
            for number in self.chunks:
                self._undo_chunk(journal, journal.chunk(name, number))
            return
        progress.message(f"  {label} changed since the interruption and will be copied again.")
        with transaction.atomic(using=dest.alias):
            dest.delete_rows(name)
            journal.forget(name)

    def _undo_chunk(self, journal: Journal, chunk: Chunk) -> None:
        planned, (source, dest) = self.rows.planned, self.rows.sides
        route, table = planned.route, planned.route.dest.quote(planned.table.name)
        with route.source.reading_everything(), transaction.atomic(using=route.dest.alias):
            if self.rows.owns_ranges:
                where, params = where_clause(route.dest, planned.table.key, chunk.bounds(), None)
                route.dest.execute(f"DELETE FROM {table}{where}", params)
            else:
                for page in pages(source, chunk.bounds(), route.restriction):
                    where, params = dest.key_test(list(by_key(source, page)))
                    route.dest.execute(f"DELETE FROM {table}{where}", params)
            chunk.state = ChunkState.PENDING
            journal.save(chunk)


def recheck(run: Run, plan: Plan, journal: Journal, retries: Retries) -> None:
    """Compare what a run has committed with the source as it is now, and mark what differs as not copied."""
    dest = retries.endpoints.dest
    found = _Recheck(run, plan, journal, retries)
    changes = found.changes()
    if changes:
        # Some may have been recreated already.
        drop_objects(dest, [item for item in run.dropped_objects() if item.kind != UNIQUE_KEY], retries)
        journal.set_state(run, RunState.COPYING)
        for change in reversed(changes):
            change.undo(journal, retries.progress)


class _Recheck:
    """The comparison of all tables: which spans of committed rows there are, and what was found in them."""

    def __init__(self, run: Run, plan: Plan, journal: Journal, retries: Retries) -> None:
        self._plan, self._journal, self._retries = plan, journal, retries
        self._planned = {planned.table.name: planned for planned in plan.tables}
        self._has = stored_tables(retries.endpoints, [planned.table for planned in plan.tables])
        self._counts = journal.counts_done()
        self._dropped = defaultdict[str, list[DeferredObject]](list)
        for item in run.dropped_objects():
            if item.kind == UNIQUE_KEY:
                self._dropped[item.table].append(item)
        # By table name: the numbers of chunks that changed; none if the whole table has to be copied again.
        self._changed: dict[str, set[int] | None] = {}
        self._shown: Task

    def changes(self) -> list[Change]:
        """Compare all tables, and return what changed, in the order of the plan."""
        rows = sum(self._written(table) for table in self._planned)
        retries, progress = self._retries, self._retries.progress if rows else Progress()
        helpers = Helpers(retries, retries.endpoints.jobs, lambda: retries.run(self._journal.heartbeat))
        with (
            progress.task("committed rows (re-check)", rows) as self._shown,
            closing(side_by_side(self._spans(), self._changes_of, helpers, rows)) as spans,
        ):
            for span, changes in spans:
                if changes.are_gone or (changes.chunks and self._has_rejected_afterwards(span.table)):
                    self._copy_all_again(span.table)
                elif changes.chunks and (numbers := self._changed.setdefault(span.table, set())) is not None:
                    numbers.update(changes.chunks)
                self._shown.advance(span.rows)
        return [
            Change(self.committed(table), tuple(sorted(self._changed[table] or ())))
            for table in self._planned
            if table in self._changed
        ]

    def _changes_of(self, table: str) -> Callable[[Span], Changes]:
        return self.committed(table).changes

    def committed(self, table: str) -> CommittedRows:
        """Prepare the comparison of a table."""
        endpoints, (source_has, dest_has) = self._retries.endpoints, self._has
        ends = TableEnds(endpoints.source, endpoints.dest, source_has[table], dest_has[table])
        return CommittedRows(self._planned[table], ends, self._journal, adds_rows=self._plan.adds_rows)

    def _has_rejected_afterwards(self, table: str) -> bool:
        """Whether rows were rejected after the last chunk, so that chunks copied again would have them twice."""
        return not self._plan.adds_rows and self._retries.run(partial(self._journal.is_done, table, None))

    def _written(self, table: str) -> int:
        """Return how many rows the chunks of a table have, less those that were rejected afterwards."""
        return self._counts.get(table, RowCounts()).rows_written

    def _spans(self) -> Iterator[Span]:
        """Yield the committed rows of all tables that have to be compared."""
        for table in self._planned:
            self._retries.check()
            yield from self._spans_of(table)

    def _spans_of(self, table: str) -> Iterator[Span]:
        written, key = self._written(table), self._planned[table].table.key
        if not self._plan.adds_rows and self._retries.endpoints.dest.count(table) != written:
            self._copy_all_again(table)
            return
        done = chain.from_iterable(self._journal.chunks(table, ChunkState.DONE))
        if (first := next(done, None)) is None:
            return
        if not key:
            self._copy_all_again(table)
            return
        chunks, committed = chain([first], done), self.committed(table)
        if committed.proves_all:
            every = list(adjoined(chunks, written))
            if committed.are_all_equal(every, written):
                self._shown.advance(written)
                return
            chunks = chain.from_iterable(self._journal.chunks(table, ChunkState.DONE))
        if committed.is_looked_up:
            label, rows = committed.planned.table.label, plural(written, "committed row")
            self._retries.progress.message(
                f"  {label}: {rows} compared row by row, which may take longer than copying them."
            )
        yield from self._findable(table, adjoined(chunks, committed.span_rows))

    def _findable(self, table: str, spans: Iterator[Span]) -> Iterator[Span]:
        """Recreate the key of a table that has several spans: otherwise each would be searched for in all rows.

        It stays. Other keys are recreated after the last row, as in a run that was not interrupted.
        """
        first, second = next(spans, None), next(spans, None)
        if second is not None or (first is not None and self.committed(table).is_looked_up):
            self._recreate_key(table)
        for span in chain((first, second), spans):
            if span is None or self._changed.get(table, ()) is None:
                return
            yield span

    def _recreate_key(self, table: str) -> None:
        dest, key = self._retries.endpoints.dest, self._planned[table].table.key
        for item in self._dropped[table]:
            if dest.catalogue.key_columns(item) != tuple(key):
                continue
            try:
                self._retries.run(partial(dest.catalogue.recreate, [item]))
            except Error as error:
                if not dest.is_about_rows(error):  # the re-check is about to find such rows
                    raise

    def _copy_all_again(self, table: str) -> None:
        """Note that a whole table has to be copied again.

        Raises :exc:`MigratorError` if the copied rows cannot be distinguished from the destination's own.
        """
        if self._plan.adds_rows:
            raise MigratorError(
                f"{self._planned[table].table.label}: rows that were copied before the interruption are gone from the "
                "source. The destination had rows of its own, so the copied ones cannot be identified. Delete them "
                "there by hand, run again with --cleanup, and start over."
            )
        self._changed[table] = None
