"""The order in which indexes, foreign keys and triggers are recreated, and statistics refreshed."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter

from ..engines.base.catalogue import FOREIGN_KEY, INDEX, TRIGGER, UNIQUE_KEY, Catalogue, DeferredObject
from ..planning.plan import parents_of
from ..tables import Table


@dataclass(frozen=True)
class Recreate:
    """Recreate indexes, or foreign keys, of one table. A worker's result: the seconds that it took, or ``None``."""

    items: tuple[DeferredObject, ...]

    @property
    def table(self) -> str:
        return self.items[0].table

    def carry_out(self, catalogue: Catalogue) -> None:
        catalogue.recreate(self.items)


@dataclass(frozen=True)
class RefreshStatistics:
    """Refresh a table's statistics for the query planner. A worker's result: the seconds that it took, or ``None``."""

    table: str

    def carry_out(self, catalogue: Catalogue) -> None:
        catalogue.refresh_statistics([self.table])


FinishTask = Recreate | RefreshStatistics


class RecreationSchedule:
    """The tasks after a table's last row: unique keys, indexes, statistics, foreign keys, triggers.

    Tasks that others wait for come first. They start when the table is complete; foreign keys, when the tables that
    they reference are complete as well. ``tables``: parents first, each with its number of rows. ``keys_wait``:
    foreign keys and triggers wait for :meth:`release`. ``locked_tables`` returns names of what the recreation of
    an object locks, which no other task may lock at the same time.
    """

    def __init__(
        self,
        items: Iterable[DeferredObject],
        tables: Sequence[tuple[Table, int]],
        *,
        by_table: bool,
        locked_tables: Callable[[DeferredObject], frozenset[str]],
        keys_wait: bool = False,
    ) -> None:
        self._incomplete = {table.name for table, _ in tables}
        self._keys_wait = keys_wait
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
            _Step(rank, (*position, rank), RefreshStatistics(table), {table}, {table})
            for table, position in positions.items()
            if table in filled
        ]
        self._steps = {step.task: step for step in sorted(steps, key=_by_position)}
        self._waiting = list(self._steps.values())

    def complete(self, tables: Iterable[str]) -> None:
        """Note that these tables have all their rows."""
        self._incomplete.difference_update(tables)

    def release(self) -> None:
        """Note that all tables have all their rows, and only rows for which foreign keys can hold."""
        self._incomplete.clear()
        self._keys_wait = False

    def next(self, running: Collection[object]) -> FinishTask | None:
        """Take the next task that can be carried out at the same time as these, or ``None``."""
        others = [self._steps[task] for task in running if isinstance(task, FinishTask)]
        for index, step in enumerate(self._waiting):
            if self._is_ready(step, others):
                return self._waiting.pop(index).task
        return None

    def _is_ready(self, step: _Step, running: Sequence[_Step]) -> bool:
        if step.needs & self._incomplete or (step.rank >= _Rank.KEY and self._keys_wait):
            return False
        if step.rank is _Rank.INDEX:
            return not any(other.names & step.names for other in running if other.rank is not _Rank.INDEX)
        if step.rank is not _Rank.UNIQUE and any(
            other.needs & step.needs or other.names & step.names for other in self._waiting if other.rank <= _Rank.INDEX
        ):
            return False
        return not any(other.names & step.names for other in running)

    def give_back(self, task: object) -> None:
        """Return a task that was not carried out; what is not a task of this schedule is ignored."""
        if isinstance(task, FinishTask):
            self._waiting.append(self._steps[task])
            self._waiting.sort(key=_by_position)

    def is_empty(self) -> bool:
        """Whether all tasks have been taken."""
        return not self._waiting

    def objects(self) -> int:
        """Return how many indexes and foreign keys have not been taken yet."""
        return sum(len(step.task.items) for step in self._waiting if isinstance(step.task, Recreate))


class _Rank(enum.IntEnum):
    UNIQUE, INDEX, STATISTICS, KEY, TRIGGER = range(5)


RANKS = {UNIQUE_KEY: _Rank.UNIQUE, INDEX: _Rank.INDEX, FOREIGN_KEY: _Rank.KEY, TRIGGER: _Rank.TRIGGER}

LAST = (0, sys.maxsize)

_by_position = attrgetter("position")


@dataclass(frozen=True)
class _Step:
    """A task with the tables that it ``needs`` complete, and those that it locks, their ``names``."""

    rank: _Rank
    position: tuple[int, int, _Rank]
    task: FinishTask
    needs: Set[str]
    names: Set[str]


def _positions(tables: Sequence[tuple[Table, int]], targets: Mapping[str, Set[str]]) -> dict[str, tuple[int, int]]:
    """Return each table's position: by the rows of the largest table that waits for it, or its own; parents first."""
    largest = {table.name: rows for table, rows in tables}
    for child in reversed(largest):
        for parent in targets[child] & largest.keys():
            largest[parent] = max(largest[parent], largest[child])
    return {table: (-rows, number) for number, (table, rows) in enumerate(largest.items())}
