"""The order in which indexes, foreign keys and triggers are recreated, and statistics refreshed."""

from __future__ import annotations

import enum
import sys
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter

from ..engines.base.catalogue import FOREIGN_KEY, INDEX, TRIGGER, UNIQUE_KEY, Catalogue, DeferredObject
from ..planning.plan import parents_of
from ..tables import Table


@dataclass(frozen=True)
class Recreate:
    """Recreate objects of one kind, of a table or of several small ones.

    A worker's result: the seconds that it took, or ``None``.
    """

    items: tuple[DeferredObject, ...]

    @property
    def table(self) -> str:
        """The table, or the first of several."""
        return self.items[0].table

    def carry_out(self, catalogue: Catalogue) -> None:
        """Recreate the objects: all of them or, after an error, some."""
        catalogue.recreate(self.items)

    def parts(self) -> list[Recreate]:
        """Return the same work object by object."""
        return [Recreate((item,)) for item in self.items]

    def shares(self, seconds: float) -> Iterator[tuple[str, float]]:
        """Yield the table of each object, and the part of the seconds that it counts."""
        return ((item.table, seconds / len(self.items)) for item in self.items)


@dataclass(frozen=True)
class RefreshStatistics:
    """Refresh tables' statistics for the query planner. A worker's result: the seconds that it took, or ``None``."""

    tables: tuple[str, ...]

    @property
    def table(self) -> str:
        """The table, or the first of several."""
        return self.tables[0]

    def carry_out(self, catalogue: Catalogue) -> None:
        """Refresh the statistics."""
        catalogue.refresh_statistics(self.tables)

    def parts(self) -> list[RefreshStatistics]:
        """Return the same work table by table."""
        return [RefreshStatistics((table,)) for table in self.tables]


TOGETHER = 50  # small tables of one task

FinishTask = Recreate | RefreshStatistics


class RecreationSchedule:
    """The tasks after a table's last row: unique keys, indexes, statistics, foreign keys, triggers.

    Tasks that others wait for come first. They start when the table is complete; foreign keys, when the tables that
    they reference are complete as well. ``tables``: parents first, each with its number of rows. ``keys_wait``:
    foreign keys and triggers wait for :meth:`release`. ``locked_tables`` returns names of what the recreation of
    an object locks, which no other task may lock at the same time. Tables of at most ``few_rows`` share their tasks,
    because these take less time than their round trips.
    """

    def __init__(
        self,
        items: Iterable[DeferredObject],
        tables: Sequence[tuple[Table, int]],
        *,
        by_table: bool,
        locked_tables: Callable[[DeferredObject], frozenset[str]],
        keys_wait: bool = False,
        few_rows: int = 0,
    ) -> None:
        self._incomplete = {table.name for table, _ in tables}
        targets = {table.name: parents_of([table]) for table, _ in tables}
        positions = _positions(tables, targets)
        filled = {table.name for table, rows in tables if rows}
        groups: dict[tuple[_Rank, str, str], list[DeferredObject]] = {}
        for item in items:
            rank = RANKS[item.kind]
            groups.setdefault((rank, item.table, "" if by_table else item.name), []).append(item)
        steps = []
        for (rank, table, _), group in groups.items():
            needs = {table} | (targets.get(table, set()) if rank is _Rank.KEY else set())
            names = needs if rank is _Rank.INDEX else needs.union(*map(locked_tables, group))
            position = (*positions.get(table, LAST), rank)
            steps.append(_Step(rank, position, Recreate(tuple(group)), needs, names))
        rank = _Rank.STATISTICS
        steps += [
            _Step(rank, (*position, rank), RefreshStatistics((table,)), {table}, {table})
            for table, position in positions.items()
            if table in filled
        ]
        steps = _shared(steps, {table.name for table, rows in tables if rows <= few_rows})
        self._steps = {step.task: step for step in sorted(steps, key=_by_position)}
        self._waiting = dict(self._steps)
        # Of the steps that wait: those whose tables are complete, by position; how many of its tables each of the
        # others lacks; and the others by those tables.
        self._open: list[_Step] = []
        self._lacks: dict[FinishTask, int] = {}
        self._lacking = defaultdict[str, list[_Step]](list)
        for step in self._steps.values():
            lacks = step.needs & self._incomplete | ({_RELEASE} if step.rank >= _Rank.KEY and keys_wait else set())
            for name in lacks:
                self._lacking[name].append(step)
            if lacks:
                self._lacks[step.task] = len(lacks)
            else:
                self._open.append(step)
        # In how many waiting steps that come before keys and statistics a table is needed, or locked.
        self._needed, self._locked = Counter[str](), Counter[str]()
        for step in self._steps.values():
            self._count(step, 1)

    def complete(self, tables: Iterable[str]) -> None:
        """Note that these tables have all their rows."""
        for table in tables:
            self._incomplete.discard(table)
            for step in self._lacking.pop(table, ()):
                self._lacks[step.task] -= 1
                if not self._lacks[step.task]:
                    del self._lacks[step.task]
                    insort(self._open, step, key=_by_position)

    def release(self) -> None:
        """Note that all tables have all their rows, and only rows for which foreign keys can hold."""
        self.complete([*self._incomplete, _RELEASE])

    def next(self, running: Collection[object]) -> FinishTask | None:
        """Take the next task that can be carried out at the same time as these, or ``None``."""
        others = [self._steps[task] for task in running if isinstance(task, FinishTask)]
        for index, step in enumerate(self._open):
            if self._is_ready(step, others):
                del self._open[index], self._waiting[step.task]
                self._count(step, -1)
                return step.task
        return None

    def next_chunk(self) -> None:
        """Return ``None``: what is recreated has no chunks."""

    def _is_ready(self, step: _Step, running: Sequence[_Step]) -> bool:
        if step.rank is _Rank.INDEX:
            return not any(other.names & step.names for other in running if other.rank is not _Rank.INDEX)
        if step.rank is not _Rank.UNIQUE and (
            any(self._needed[name] for name in step.needs) or any(self._locked[name] for name in step.names)
        ):
            return False
        return not any(other.names & step.names for other in running)

    def _count(self, step: _Step, number: int) -> None:
        if step.rank <= _Rank.INDEX:
            self._needed.update(dict.fromkeys(step.needs, number))
            self._locked.update(dict.fromkeys(step.names, number))

    def give_back(self, task: object) -> None:
        """Return a task that was not carried out; what is not a task of this schedule is ignored."""
        if isinstance(task, FinishTask):
            step = self._waiting[task] = self._steps[task]
            insort(self._open, step, key=_by_position)
            self._count(step, 1)

    def is_empty(self) -> bool:
        """Whether all tasks have been taken."""
        return not self._waiting

    def objects(self) -> int:
        """Return how many indexes and foreign keys have not been taken yet."""
        return sum(len(task.items) for task in self._waiting if isinstance(task, Recreate))


class _Rank(enum.IntEnum):
    UNIQUE, INDEX, STATISTICS, KEY, TRIGGER = range(5)


RANKS = {UNIQUE_KEY: _Rank.UNIQUE, INDEX: _Rank.INDEX, FOREIGN_KEY: _Rank.KEY, TRIGGER: _Rank.TRIGGER}

LAST = (0, sys.maxsize)
_RELEASE = ""  # among the tables that a step lacks, it stands for the call of `release`

_by_position = attrgetter("position")


@dataclass(frozen=True)
class _Step:
    """A task with the tables that it ``needs`` complete, and those that it locks, their ``names``."""

    rank: _Rank
    position: tuple[int, int, _Rank]
    task: FinishTask
    needs: Set[str]
    names: Set[str]


def _shared(steps: Iterable[_Step], small: Set[str]) -> list[_Step]:
    """Join the statistics of small tables to common steps, and so their foreign keys, and their triggers."""
    found: list[_Step] = []
    shared: dict[_Rank, list[_Step]] = {_Rank.STATISTICS: [], _Rank.KEY: [], _Rank.TRIGGER: []}
    for step in sorted(steps, key=_by_position):
        (shared[step.rank] if step.rank in shared and step.needs <= small else found).append(step)
    for parts in shared.values():
        found += (_joined(parts[start : start + TOGETHER]) for start in range(0, len(parts), TOGETHER))
    return found


def _joined(parts: Sequence[_Step]) -> _Step:
    """Join steps of one rank, which follow each other. Statistics come before the first key, and keys after them."""
    rank = parts[0].rank
    needs, names = {name for part in parts for name in part.needs}, {name for part in parts for name in part.names}
    if rank is _Rank.STATISTICS:
        return _Step(rank, parts[0].position, RefreshStatistics(tuple(p.task.table for p in parts)), needs, names)
    items = tuple(item for part in parts if isinstance(part.task, Recreate) for item in part.task.items)
    return _Step(rank, parts[-1].position, Recreate(items), needs, names)


def _positions(tables: Sequence[tuple[Table, int]], targets: Mapping[str, Set[str]]) -> dict[str, tuple[int, int]]:
    """Return each table's position: by the rows of the largest table that waits for it, or its own; parents first."""
    largest = {table.name: rows for table, rows in tables}
    for child in reversed(largest):
        for parent in targets[child] & largest.keys():
            largest[parent] = max(largest[parent], largest[child])
    return {table: (-rows, number) for number, (table, rows) in enumerate(largest.items())}
