"""Which table or chunk is copied next, whichever worker does it."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from ..planning.plan import Plan, TablePlan, is_bound_late, parents_of
from .worker_tasks import CopyChunk, CopyGroup, CopyTable, CopyTables, SplitTable, WorkerTask

# Large tables are split first, so that all workers have chunks to copy. A group is one long task, so it starts early.
SPLIT, GROUP, COPY = range(3)


@dataclass(frozen=True)
class _Chunks:
    """Chunks of a table that are ready, by their numbers: a table may have millions of them."""

    table: str
    numbers: range


class Schedule(Protocol):
    """The tasks that are left, some of which may have to wait for others."""

    def next(self, running: Collection[WorkerTask]) -> WorkerTask | None:
        """Take the next task that can be carried out at the same time as these, or ``None``."""

    def next_chunk(self) -> CopyChunk | None:
        """Take the next chunk, which any worker can copy, or ``None``."""

    def give_back(self, task: WorkerTask) -> None:
        """Return a task that was not carried out."""

    def is_empty(self) -> bool:
        """Whether all tasks have been taken."""


class LoadSchedule:
    """The tables of a plan, the largest first, in chunks.

    With ``keeps_order``, because foreign keys are enforced during the load, a table waits until the tables that it
    references are complete. Tables that ``can_share`` a transaction are one task.
    """

    def __init__(
        self,
        plan: Plan,
        is_one_chunk: Callable[[TablePlan], bool],
        *,
        keeps_order: bool,
        can_share: Callable[[Sequence[TablePlan]], bool] = lambda tables: False,
    ) -> None:
        self.complete: set[str] = set()
        self._is_one_chunk, self._can_share = is_one_chunk, can_share
        self._planned = {planned.table.name: planned for planned in plan.tables}
        self._alone: set[str] = set()  # tables that a worker did not come to the end of, together with others
        self._rows = {planned.table.name: planned.source_rows for planned in plan.tables}
        self._left: dict[str, int] = {}
        self._ready: list[tuple[int, int, int, WorkerTask]] = []
        self._chunks: list[tuple[int, int, int, _Chunks]] = []
        self._ties = count()
        # Groups that wait for other tables: how many of these are not complete, and by table, which groups wait for it.
        self._waiting: dict[int, int] = {}
        self._waits_for = defaultdict[str, list[int]](list)
        self._groups = plan.groups
        for number, group in enumerate(plan.groups):
            parents = parents_of([planned.table for planned in group]) & self._rows.keys() if keeps_order else ()
            for parent in parents:
                self._waits_for[parent].append(number)
            if parents:
                self._waiting[number] = len(parents)
            else:
                self._begin(group)

    def _begin(self, group: Sequence[TablePlan]) -> None:
        names = tuple(planned.table.name for planned in group)
        if is_bound_late(group):
            self._push(GROUP, names[0], CopyGroup(names))
            return
        for planned in group:
            name = planned.table.name
            if self._is_one_chunk(planned):
                self._push(COPY, name, CopyTable(name))
            else:
                self._push(SPLIT, name, SplitTable(name))

    def _push(self, rank: int, table: str, task: WorkerTask) -> None:
        heapq.heappush(self._ready, (rank, -self._rows[table], next(self._ties), task))

    def _push_chunks(self, table: str, numbers: range) -> None:
        heapq.heappush(self._chunks, (COPY, -self._rows[table], next(self._ties), _Chunks(table, numbers)))

    def next(self, running: Collection[WorkerTask]) -> WorkerTask | None:
        """Take the next task, the largest table first, or ``None``."""
        if self._ready and (not self._chunks or self._ready[0][:3] < self._chunks[0][:3]):
            task = heapq.heappop(self._ready)[-1]
            return self._with_others(task) if isinstance(task, CopyTable) else task
        return self.next_chunk()

    def next_chunk(self) -> CopyChunk | None:
        """Take the next chunk of the largest table that is split, or ``None``."""
        if not self._chunks:
            return None
        rank, rows, tie, ready = heapq.heappop(self._chunks)
        if rest := ready.numbers[1:]:
            heapq.heappush(self._chunks, (rank, rows, tie, _Chunks(ready.table, rest)))
        return CopyChunk(ready.table, ready.numbers[0])

    def _with_others(self, task: CopyTable) -> CopyTable | CopyTables:
        """Add to a table those that come next, as far as they can share a transaction."""
        tables = [task.table]
        while self._ready and isinstance(other := self._ready[0][-1], CopyTable):
            together = [*tables, other.table]
            if self._alone.intersection(together) or not self._can_share([self._planned[table] for table in together]):
                break
            heapq.heappop(self._ready)
            tables = together
        return CopyTables(tuple(tables)) if len(tables) > 1 else task

    def give_back(self, task: WorkerTask) -> None:
        """Return a task that was not carried out; small tables that were one are then copied one by one."""
        match task:
            case CopyTables(tables):
                self._alone.update(tables)
                for table in tables:
                    self._push(COPY, table, CopyTable(table))
            case SplitTable(table):
                self._push(SPLIT, table, task)
            case CopyGroup(tables):
                self._push(GROUP, tables[0], task)
            case CopyTable(table):
                self._push(COPY, table, task)
            case CopyChunk(table, number):
                self._push_chunks(table, range(number, number + 1))

    def is_empty(self) -> bool:
        """Whether all tasks have been taken."""
        return not (self._ready or self._chunks or self._waiting)

    def add_chunks(self, table: str, chunks: Sequence[range]) -> None:
        """Add the chunks of a table that are not copied yet, by their numbers."""
        self._left[table] = sum(map(len, chunks))
        for numbers in chunks:
            self._push_chunks(table, numbers)
        if not chunks:
            self._complete([table])

    def done(self, task: WorkerTask) -> None:
        """Note that a task was carried out."""
        match task:
            case CopyTable(table):
                self._complete([table])
            case CopyGroup(tables) | CopyTables(tables):
                self._complete(tables)
            case CopyChunk(table, _):
                self._left[table] -= 1
                if not self._left[table]:
                    self._complete([table])

    def _complete(self, tables: Iterable[str]) -> None:
        """Start the groups that no longer have to wait."""
        self.complete.update(tables)
        for table in tables:
            for number in self._waits_for.pop(table, ()):
                self._waiting[number] -= 1
                if not self._waiting[number]:
                    del self._waiting[number]
                    self._begin(self._groups[number])
