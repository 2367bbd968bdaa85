"""Which table or chunk is copied next, whichever worker does it."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
from itertools import count
from typing import Protocol

from ..planning.plan import Plan, TablePlan, is_bound_late, parents_of
from .worker_tasks import CopyChunk, CopyGroup, CopyTable, SplitTable, WorkerTask

# Large tables are split first, so that all workers have chunks to copy. A group is one long task, so it starts early.
SPLIT, GROUP, COPY = range(3)


class Schedule(Protocol):
    """The tasks that are left, some of which may have to wait for others."""

    def next(self, running: Collection[WorkerTask]) -> WorkerTask | None:
        """Take the next task that can be carried out at the same time as these, or ``None``."""

    def give_back(self, task: WorkerTask) -> None:
        """Return a task that was not carried out."""

    def is_empty(self) -> bool:
        """Whether all tasks have been taken."""


class LoadSchedule:
    """The tables of a plan, the largest first, in chunks.

    With ``keeps_order``, because foreign keys are enforced during the load, a table waits until the tables that it
    references are complete.
    """

    def __init__(self, plan: Plan, chunk_size: int, *, keeps_order: bool) -> None:
        self.complete: set[str] = set()
        self._chunk_size = chunk_size
        self._rows = {planned.table.name: planned.source_rows for planned in plan.tables}
        self._left: dict[str, int] = {}
        self._ready: list[tuple[int, int, int, WorkerTask]] = []
        self._ties = count()
        own = set(self._rows)
        self._waiting = [
            (parents_of([planned.table for planned in group]) & own if keeps_order else set(), group)
            for group in plan.groups
        ]
        self._release()

    def _release(self) -> None:
        """Start the tables that no longer have to wait."""
        still_waiting = []
        for parents, group in self._waiting:
            if parents <= self.complete:
                self._begin(group)
            else:
                still_waiting.append((parents, group))
        self._waiting = still_waiting

    def _begin(self, group: Sequence[TablePlan]) -> None:
        names = tuple(planned.table.name for planned in group)
        if is_bound_late(group):
            self._push(GROUP, names[0], CopyGroup(names))
            return
        for planned in group:
            name = planned.table.name
            if planned.table.key and planned.source_rows > self._chunk_size:
                self._push(SPLIT, name, SplitTable(name))
            else:
                self._push(COPY, name, CopyTable(name))

    def _push(self, rank: int, table: str, task: WorkerTask) -> None:
        heapq.heappush(self._ready, (rank, -self._rows[table], next(self._ties), task))

    def next(self, running: Collection[WorkerTask]) -> WorkerTask | None:
        """Take the next task, the largest table first, or ``None``."""
        return heapq.heappop(self._ready)[-1] if self._ready else None

    def give_back(self, task: WorkerTask) -> None:
        """Return a task that was not carried out."""
        match task:
            case SplitTable(table):
                self._push(SPLIT, table, task)
            case CopyGroup(tables):
                self._push(GROUP, tables[0], task)
            case CopyTable(table) | CopyChunk(table, _):
                self._push(COPY, table, task)

    def is_empty(self) -> bool:
        """Whether all tasks have been taken."""
        return not self._ready and not self._waiting

    def add_chunks(self, table: str, chunks: Sequence[int]) -> None:
        """Add the chunks of a table that are not copied yet, by their keys in the journal."""
        self._left[table] = len(chunks)
        for chunk in chunks:
            self._push(COPY, table, CopyChunk(table, chunk))
        if not chunks:
            self._complete([table])

    def done(self, task: WorkerTask) -> None:
        """Note that a task was carried out."""
        match task:
            case CopyTable(table):
                self._complete([table])
            case CopyGroup(tables):
                self._complete(tables)
            case CopyChunk(table, _):
                self._left[table] -= 1
                if not self._left[table]:
                    self._complete([table])

    def _complete(self, tables: Iterable[str]) -> None:
        self.complete.update(tables)
        self._release()
