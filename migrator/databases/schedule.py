"""Which piece of work comes next: the tables' chunks, and what comes after their last rows. It knows no worker."""

from __future__ import annotations

import enum
import heapq
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import count
from operator import attrgetter

from .engines.base.catalogue import FOREIGN_KEY, INDEX, TRIGGER, UNIQUE_KEY, TakenOff
from .load import is_bound_late, parents_of
from .orders import CopyChunk, CopyGroup, CopyTable, CutTable, Finish, Order, PutBack, RefreshStatistics
from .plan import Plan, TablePlan

# Cutting comes first, for others can begin with what was cut; a group is one long piece, so it begins early, too.
CUT, GROUP, COPY = range(3)


class Schedule(ABC):
    """Orders that are left, some of which may have to wait for others."""

    @abstractmethod
    def next(self, running: Collection[Order]) -> Order | None:
        """Take the next order that can be carried out beside these, or ``None``."""

    @abstractmethod
    def give_back(self, order: Order) -> None:
        """Take an order again that was not carried out."""

    @abstractmethod
    def is_empty(self) -> bool:
        """Tell whether no order is left but those that were taken."""


class LoadSchedule(Schedule):
    """The tables of a plan, the largest first, in chunks.

    Where foreign keys bind while rows are loaded, a table waits until those that it refers to are complete.
    """

    def __init__(self, plan: Plan, chunk_size: int, *, keeps_order: bool) -> None:
        self.complete: set[str] = set()
        self._chunk_size = chunk_size
        self._rows = {planned.table.name: planned.source_rows for planned in plan.tables}
        self._left: dict[str, int] = {}
        self._ready: list[tuple[int, int, int, Order]] = []
        self._ties = count()
        own = set(self._rows)
        self._waiting = [(parents_of(group) & own if keeps_order else set(), group) for group in plan.groups]
        self._release()

    def _release(self) -> None:
        """Let those tables begin that need not wait any more."""
        still = []
        for parents, group in self._waiting:
            if parents <= self.complete:
                self._begin(group)
            else:
                still.append((parents, group))
        self._waiting = still

    def _begin(self, group: Sequence[TablePlan]) -> None:
        names = tuple(planned.table.name for planned in group)
        if is_bound_late(group):
            self._push(GROUP, names[0], CopyGroup(names))
            return
        for planned in group:
            name = planned.table.name
            if planned.table.key and planned.source_rows > self._chunk_size:
                self._push(CUT, name, CutTable(name))
            else:
                self._push(COPY, name, CopyTable(name))

    def _push(self, rank: int, table: str, order: Order) -> None:
        heapq.heappush(self._ready, (rank, -self._rows[table], next(self._ties), order))

    def next(self, running: Collection[Order]) -> Order | None:
        return heapq.heappop(self._ready)[-1] if self._ready else None

    def give_back(self, order: Order) -> None:
        match order:
            case CutTable(table):
                self._push(CUT, table, order)
            case CopyGroup(tables):
                self._push(GROUP, tables[0], order)
            case CopyTable(table) | CopyChunk(table, _):
                self._push(COPY, table, order)

    def is_empty(self) -> bool:
        return not self._ready and not self._waiting

    def cut(self, table: str, chunks: Sequence[int]) -> None:
        """Take note of the chunks of a table that are left."""
        self._left[table] = len(chunks)
        for chunk in chunks:
            self._push(COPY, table, CopyChunk(table, chunk))
        if not chunks:
            self._complete([table])

    def done(self, order: Order) -> None:
        """Take note of what was copied."""
        match order:
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


class FinishSchedule(Schedule):
    """What comes after a table's last row: unique keys, indexes, statistics, foreign keys, triggers.

    What others wait for comes first. It begins when the table is complete, and with foreign keys when those that it
    refers to are complete as well. ``keys_wait``: foreign keys and triggers wait for :meth:`release`. ``touched`` names
    what two of these that are put back at once may not share.
    """

    def __init__(
        self,
        items: Iterable[TakenOff],
        tables: Collection[TablePlan],
        *,
        by_table: bool,
        touched: Callable[[TakenOff], frozenset[str]],
        keys_wait: bool = False,
    ) -> None:
        self._incomplete = {planned.table.name for planned in tables}
        self._keys_wait = keys_wait
        targets = {planned.table.name: parents_of([planned]) for planned in tables}
        places = _places(tables, targets)
        filled = {planned.table.name for planned in tables if planned.source_rows}
        groups: dict[tuple[_Rank, str, str], list[TakenOff]] = {}
        for item in items:
            rank = RANKS[item.kind]
            groups.setdefault((rank, item.table, "" if by_table else item.name), []).append(item)
        steps = []
        for (rank, table, _), group in groups.items():
            needs = {table} | (targets.get(table, set()) if rank is _Rank.KEY else set())
            names = needs if rank is _Rank.INDEX else needs.union(*map(touched, group))
            place = (*places.get(table, LAST), rank)
            steps.append(_Step(rank, place, PutBack(tuple(group)), needs, names))
        rank = _Rank.STATISTICS
        steps += [
            _Step(rank, (*place, rank), RefreshStatistics(table), {table}, {table})
            for table, place in places.items()
            if table in filled
        ]
        self._steps = {step.order: step for step in sorted(steps, key=_place)}
        self._waiting = list(self._steps.values())

    def complete(self, tables: Iterable[str]) -> None:
        """Take note of tables that have all their rows."""
        self._incomplete.difference_update(tables)

    def release(self) -> None:
        """Take note that all tables have their rows, and only such that foreign keys may bind."""
        self._incomplete.clear()
        self._keys_wait = False

    def next(self, running: Collection[Order]) -> Finish | None:
        others = [self._steps[order] for order in running if isinstance(order, Finish)]
        for position, step in enumerate(self._waiting):
            if self._is_ready(step, others):
                return self._waiting.pop(position).order
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

    def give_back(self, order: Order) -> None:
        if isinstance(order, Finish):
            self._waiting.append(self._steps[order])
            self._waiting.sort(key=_place)

    def is_empty(self) -> bool:
        return not self._waiting

    def objects(self) -> int:
        """Count the indexes and foreign keys that nobody has taken."""
        return sum(len(step.order.items) for step in self._waiting if isinstance(step.order, PutBack))


class _Rank(enum.IntEnum):
    UNIQUE, INDEX, STATISTICS, KEY, TRIGGER = range(5)


RANKS = {UNIQUE_KEY: _Rank.UNIQUE, INDEX: _Rank.INDEX, FOREIGN_KEY: _Rank.KEY, TRIGGER: _Rank.TRIGGER}
LAST = (0, sys.maxsize)

_place = attrgetter("place")


@dataclass(frozen=True)
class _Step:
    """A part of the finish: the tables that it ``needs`` complete, and the ``names`` that no other may touch then."""

    rank: _Rank
    place: tuple[int, int, _Rank]
    order: Finish
    needs: Set[str]
    names: Set[str]


def _places(tables: Collection[TablePlan], targets: Mapping[str, Set[str]]) -> dict[str, tuple[int, int]]:
    """Give each table its place by the largest that waits for it, itself among them; of equals, parents come first."""
    largest = {planned.table.name: planned.source_rows for planned in tables}
    for child in reversed(largest):
        for parent in targets[child] & largest.keys():
            largest[parent] = max(largest[parent], largest[child])
    return {table: (-rows, position) for position, (table, rows) in enumerate(largest.items())}
