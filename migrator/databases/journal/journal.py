"""The journal of one destination: what a run and its chunks have done, read and written."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Sum
from django.db.models.query import QuerySet
from django.utils import timezone

from ...errors import MigratorError
from ..chunks import Bounds
from ..engines.base.catalogue import DeferredObject
from ..primary_keys import encode_key
from ..row_counts import RowCounts
from .checks import OTHER_COLUMNS, check_chunks, check_run, damaged, refuse_other_format
from .format import stamped
from .records import AFTERWARDS, COPIED, COUNTS, NOT_UNFINISHED, TABLES, Chunk, ChunkState, Outcome, Run, RunState
from .tables import JournalTables

BATCH = 500
PAGE = 1000
HEARTBEAT_SECONDS = 15.0

# Queries one page of records.
Page = Callable[[], list[Any]]


class ChunkTaken(MigratorError):
    """Another session copies this chunk at the moment."""


class Journal(JournalTables):
    """Reads and writes the journal of one destination. Every write belongs to the caller's transaction.

    With ``waits``, :meth:`claim` waits for a chunk that another session has locked.
    """

    def __init__(self, alias: str, *, waits: bool = True) -> None:
        super().__init__(alias)
        self._waits = waits
        self._last_heartbeat = time.monotonic()

    # -- the run ------------------------------------------------------------------------------------------------

    def current(self) -> Run | None:
        """Return the unfinished run, or ``None``.

        Raises :exc:`~migrator.databases.journal.checks.DamagedJournal` if the tables contradict themselves.
        """
        present = self._present()
        try:
            run = QuerySet(Run, using=self.alias).order_by("-id").first() if TABLES[0] in present else None
            if run is None:
                if TABLES[1] in present and QuerySet(Chunk, using=self.alias).exists():
                    raise damaged(self.alias, "it has chunks and no run")
                return None
            if run.state in NOT_UNFINISHED:
                return None
            if TABLES[1] not in present:
                raise damaged(self.alias, f"the table {TABLES[1]} is missing")
            self._check(run)
        except DatabaseError as error:
            raise damaged(self.alias, OTHER_COLUMNS) from error
        return run

    def _check(self, run: Run) -> None:
        check_run(self.alias, run)
        if run.written_in.is_ours:
            QuerySet(Chunk, using=self.alias).first()  # with all columns, one of which may be missing
            if not run.is_forecast:  # a sample has gaps
                check_chunks(self.alias, self._ranges())

    def _ranges(self) -> Iterator[tuple[str, int, str | None, str | None]]:
        """Yield the table, the number and the bounds of all chunks by their keys, those of a table in their order."""
        of_all: QuerySet[Chunk] = QuerySet(Chunk, using=self.alias)
        for page in _pages(of_all.values_list("pk", "table", "number", "lower", "upper"), "pk"):
            yield from (row[1:] for row in page)

    def refuse_other_format(self, run: Run) -> None:
        """Raise :exc:`~migrator.errors.Refused` for a run whose record has a format that this release cannot resume."""
        refuse_other_format(self.alias, run)

    def begin(
        self,
        identity: dict[str, Any],
        dropped: Iterable[DeferredObject],
        *,
        empties: bool,
        rows: Mapping[str, int] | None = None,
        hint: str = "",
        state: RunState = RunState.PREPARING,
    ) -> Run:
        """Record a run, and the objects that it will drop, before it changes anything.

        ``rows``: how many it will copy, by table, for those who ask how far it is. ``hint``: how to continue it.
        ``state``: its first stage.
        """
        self.create()
        now = timezone.now()
        with transaction.atomic(using=self.alias):
            self._delete(Chunk)
            self._delete(Run)
            run: Any = Run(
                identity=json.dumps(stamped(identity, rows or {}, hint), sort_keys=True),
                state=state,
                empties=empties,
                taken_off=json.dumps([item.as_json() for item in dropped]),
                host=socket.gethostname(),
                pid=os.getpid(),
                started=now,
                heartbeat=now,
            )
            run.sign()
            QuerySet(Run, using=self.alias).bulk_create([run])
            return QuerySet(Run, using=self.alias).get()  # with its key, which not every engine returns

    def set_state(self, run: Run, state: RunState) -> None:
        """Move the run to its next stage."""
        run.state = state
        self._update(run, "state")

    def end(self, run: Run, *, rows_rejected: int, is_kept: bool, outcome: Outcome) -> None:
        """Close a run that is complete, and drop the journal unless it is to be kept."""
        run.state, run.rows_rejected = RunState.KEPT if is_kept else RunState.FINISHED, rows_rejected
        run.outcome = outcome
        self._update(run, "state", "rows_rejected", "identity", "taken_off")
        if not is_kept:
            self.drop()

    def abandon(self, run: Run) -> bool:
        """Close a run that is abandoned; return whether its tables could be dropped, which no other run depends on."""
        run.state = RunState.KEPT
        self._update(run, "state")
        try:
            self.drop()
        except DatabaseError:
            return False
        return True

    def clear_away(self) -> Run | None:
        """Drop what a crash within :meth:`begin` or :meth:`end` left, and return the finished run if there is one."""
        present = self._present()
        models = [model for model in (Run, Chunk) if model._meta.db_table in present]
        try:
            is_empty = bool(present) and not any(QuerySet(model, using=self.alias).exists() for model in models)
            run = QuerySet(Run, using=self.alias).filter(state=RunState.FINISHED).first() if Run in models else None
        except DatabaseError as error:
            raise damaged(self.alias, OTHER_COLUMNS) from error
        if is_empty:
            self.drop()
            return None
        if run is not None:
            self.drop()
        return run

    # -- before a run: what migrations have done ----------------------------------------------------------------

    def record_made(self, fingerprints: Mapping[str, list[Any]]) -> None:
        """Record the fingerprints of rows that migrations have made, by table, until the next run begins."""
        if not fingerprints and not self.made_by_migrations():
            return
        self._replace(RunState.MIGRATED, json.dumps(fingerprints))

    def _replace(self, state: RunState, identity: str) -> None:
        """Record what is not a run, instead of the last such record."""
        self.create()
        now = timezone.now()
        run: Any = Run(
            identity=identity,
            state=state,
            taken_off="[]",
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
            heartbeat=now,
        )
        run.sign()
        with transaction.atomic(using=self.alias):
            self._delete(Run, " WHERE state = %s", [state])
            QuerySet(Run, using=self.alias).bulk_create([run])

    def made_by_migrations(self) -> dict[str, list[Any]]:
        """Return what :meth:`record_made` recorded; nothing unless this project signed it."""
        if TABLES[0] not in self._present():
            return {}
        run: Run | None = QuerySet(Run, using=self.alias).filter(state=RunState.MIGRATED).order_by("-id").first()
        made: dict[str, list[Any]] = json.loads(run.identity) if run and run.is_signed else {}
        return made

    def forget_made(self) -> None:
        """Drop what is recorded of migrations, and the tables with it if they hold nothing else."""
        self._forget(RunState.MIGRATED)
        self._forget(RunState.HANDLERS)

    def _forget(self, state: RunState) -> None:
        if TABLES[0] in self._present():
            self._delete(Run, " WHERE state = %s", [state])
            self.clear_away()

    def record_handlers(self, *, lacking: bool) -> None:
        """Record whether handlers of ``post_migrate`` still have to run after migrations that are all applied."""
        if lacking:
            self._replace(RunState.HANDLERS, "{}")
        else:
            self._forget(RunState.HANDLERS)

    def lacks_handlers(self) -> bool:
        """Whether such handlers still have to run, as recorded until the next run begins."""
        return TABLES[0] in self._present() and QuerySet(Run, using=self.alias).filter(state=RunState.HANDLERS).exists()

    # -- the process that makes the run -------------------------------------------------------------------------

    def heartbeat(self) -> None:
        """Record that the run is alive, unless that was recorded less than :data:`HEARTBEAT_SECONDS` ago."""
        if time.monotonic() - self._last_heartbeat > HEARTBEAT_SECONDS:
            self._last_heartbeat = time.monotonic()
            QuerySet(Run, using=self.alias).update(heartbeat=timezone.now())

    def take_over(self, run: Run) -> None:
        """Record this process as the one that makes the run."""
        run.host, run.pid, run.heartbeat = socket.gethostname(), os.getpid(), timezone.now()
        self._update(run, "host", "pid", "heartbeat")

    def is_run_by(self, run: Run) -> bool:
        """Whether the process that this record names still makes the run."""
        return QuerySet(Run, using=self.alias).filter(pk=run.pk, host=run.host, pid=run.pid).exists()

    # -- the chunks ---------------------------------------------------------------------------------------------

    def is_complete(self, tables: Iterable[str]) -> bool:
        """Whether the destination has recorded chunks of all these tables, and all chunks as done."""
        states = set(QuerySet(Chunk, using=self.alias).values_list("table", "state").distinct())
        return all((table, ChunkState.DONE) in states and (table, ChunkState.PENDING) not in states for table in tables)

    def counts_done(self) -> dict[str, RowCounts]:
        """Return what is committed of each table, by its name."""
        return self._counts(QuerySet(Chunk, using=self.alias))

    def counts_of(self, table: str) -> RowCounts:
        """Return what is committed of one table."""
        return self._counts(QuerySet(Chunk, using=self.alias).filter(table=table)).get(table, RowCounts())

    def _counts(self, chunks: QuerySet[Any]) -> dict[str, RowCounts]:
        done = chunks.filter(state=ChunkState.DONE)
        found = done.values_list("table").annotate(*(Sum(name) for name in COUNTS))
        return {table: RowCounts(*map(int, sums)) for table, *sums in found}

    def is_split(self, table: str) -> bool:
        """Whether the chunks of a table are recorded."""
        return QuerySet(Chunk, using=self.alias).filter(table=table).exists()

    def chunks(
        self, table: str, state: ChunkState, run: Callable[[Page], list[Any]] = lambda query: query()
    ) -> Iterator[list[Chunk]]:
        """Yield the chunks of a table in a state, in their order, in pages: there may be millions of them.

        ``run`` runs the query of a page, perhaps several times.
        """
        return _pages(self._of_table(table, state), "number", run)

    def done_chunks(self, table: str, first: int, last: int) -> list[Chunk]:
        """Return the chunks of a table that are committed, from one number to another, in their order."""
        found = self._of_table(table, ChunkState.DONE).filter(number__range=(first, last))
        return list(found.order_by("number"))

    def pending_numbers(self, table: str) -> list[range]:
        """Return the numbers of a table's chunks that are not copied yet, in ranges."""
        found: list[range] = []
        pages = _pages(self._of_table(table, ChunkState.PENDING).values_list("number"), "number")
        for (number,) in chain.from_iterable(pages):
            if found and found[-1].stop == number:
                found[-1] = range(found[-1].start, number + 1)
            else:
                found.append(range(number, number + 1))
        return found

    def _of_table(self, table: str, state: ChunkState) -> QuerySet[Any]:
        of_all: QuerySet[Any] = QuerySet(Chunk, using=self.alias)
        return of_all.filter(table=table, state=state, number__gt=AFTERWARDS)

    def add_chunks(self, table: str, ranges: Iterable[Bounds]) -> None:
        """Record the chunks of a table, all of them or none."""
        chunks: Iterator[Any] = (
            Chunk(table=table, number=number, lower=encode_key(bounds.lower), upper=encode_key(bounds.upper))
            for number, bounds in enumerate(ranges)
        )
        with transaction.atomic(using=self.alias):
            while batch := list(islice(chunks, BATCH)):
                QuerySet(Chunk, using=self.alias).bulk_create(batch)

    def add_whole(self, tables: Mapping[str, bool]) -> dict[str, list[Chunk]]:
        """Record tables that are not split yet as one chunk each, done if ``True``.

        Returns the chunks of those that are recorded so, by table: now or before.
        """
        of_all: QuerySet[Chunk] = QuerySet(Chunk, using=self.alias)
        known = set(of_all.values_list("table", flat=True).distinct())
        chunks: list[Any] = [
            Chunk(table=table, number=0, state=ChunkState.DONE if is_done else ChunkState.PENDING)
            for table, is_done in tables.items()
            if table not in known
        ]
        with transaction.atomic(using=self.alias):
            of_all.bulk_create(chunks, batch_size=BATCH)
        return self.whole(tables)

    def whole(self, tables: Collection[str]) -> dict[str, list[Chunk]]:
        """Return the chunks of those of these tables that are recorded as one, of which no row was rejected later."""
        of_all: QuerySet[Chunk] = QuerySet(Chunk, using=self.alias)
        found = list(of_all.filter(table__in=tables, number__lte=0, lower__isnull=True, upper__isnull=True))
        afterwards = {chunk.table for chunk in found if chunk.number == AFTERWARDS}
        return {chunk.table: [chunk] for chunk in found if chunk.table not in afterwards}

    def is_done(self, table: str, number: int | None) -> bool:
        """Whether the destination has committed a chunk; without a number, what was rejected after the last one."""
        number = AFTERWARDS if number is None else number
        return QuerySet(Chunk, using=self.alias).filter(table=table, number=number, state=ChunkState.DONE).exists()

    def claim(self, chunk: Chunk) -> RowCounts | None:
        """Lock a chunk's record until the end of the transaction; return what was copied if it is done already.

        The server may still work on the chunk for a process that is gone: then this waits for the end of that. Raises
        :exc:`ChunkTaken` if it does not wait.
        """
        return self.claim_tables([chunk]).get(chunk.table)

    def claim_tables(self, chunks: Sequence[Chunk]) -> dict[str, RowCounts]:
        """Do what :meth:`claim` does for chunks of different tables, and return by table what is done already."""
        if not self._connection.features.has_select_for_update:
            return {}  # nothing outlives the process
        of_all: QuerySet[Chunk] = QuerySet(Chunk, using=self.alias)
        keys = [chunk.pk for chunk in chunks]
        locked = of_all.select_for_update(skip_locked=not self._waits).order_by("pk").filter(pk__in=keys)
        held = {chunk.table: chunk for chunk in locked}
        if gone := [chunk.table for chunk in chunks if chunk.table not in held]:
            if not self._waits and of_all.filter(pk__in=keys).count() == len(keys):
                raise ChunkTaken
            raise damaged(self.alias, f"a chunk of table {gone[0]!r} is gone")
        return {table: chunk.counts() for table, chunk in held.items() if chunk.is_done}

    def chunk(self, table: str, number: int) -> Chunk:
        """Return one chunk of a table by its number."""
        return QuerySet(Chunk, using=self.alias).get(table=table, number=number)

    def save(self, chunk: Chunk) -> None:
        """Record the state and the counts of a chunk."""
        self._update(chunk, *(field.attname for field in Chunk._meta.concrete_fields if not field.primary_key))

    def save_tables(self, chunks: Sequence[Chunk], copied: Mapping[str, RowCounts]) -> None:
        """Record chunks of different tables as done, with the counts of what was ``copied`` by table."""
        records = [chunk.done(copied[chunk.table]) for chunk in chunks]
        of_all: QuerySet[Chunk] = QuerySet(Chunk, using=self.alias)
        if records and of_all.bulk_update(records, COPIED) != len(records):
            raise self._gone(Chunk)

    def record_rejected_afterwards(self, table: str, rows: int) -> None:
        """Record that so many rows of a table were rejected after all its chunks were done."""
        of_all: QuerySet[Chunk] = QuerySet(Chunk, using=self.alias)
        found = of_all.filter(table=table, number=AFTERWARDS).first() or Chunk(table=table, number=AFTERWARDS)
        found.state = ChunkState.DONE
        found.rows_written -= rows
        found.rows_rejected += rows
        if found.pk is None:
            of_all.bulk_create([found])
        else:
            self.save(found)

    def forget(self, table: str) -> None:
        """Delete the chunks of a table, so that all of it is copied again."""
        self._delete(Chunk, f" WHERE {self._connection.ops.quote_name('table')} = %s", [table])


def _pages(of: QuerySet[Any], by: str, run: Callable[[Page], list[Any]] = lambda query: query()) -> Iterator[list[Any]]:
    """Yield what a query finds in pages, in the order of a number. Tuples begin with that number."""

    def after(last: Any) -> list[Any]:
        found = of if last is None else of.filter(**{f"{by}__gt": last[0] if isinstance(last, tuple) else last.number})
        return list(found.order_by(by)[:PAGE])

    page = run(partial(after, None))
    while page:
        yield page
        page = run(partial(after, page[-1]))
