"""Which piece of work comes next: the tables' chunks, then indexes, then foreign keys. It knows no worker."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import count

from .engines.base.catalogue import TakenOff
from .load import is_bound_late
from .orders import CopyChunk, CopyGroup, CopyTable, CutTable, Order, PutBack, RefreshStatistics
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
        self._waiting = [(_parents(group) & own if keeps_order else set(), group) for group in plan.groups]
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


class StatisticsSchedule(Schedule):
    """The statistics of tables, the largest first."""

    def __init__(self, rows: Mapping[str, int]) -> None:
        self._orders: list[Order] = [RefreshStatistics(table) for table in sorted(rows, key=rows.__getitem__)]

    def next(self, running: Collection[Order]) -> Order | None:
        return self._orders.pop() if self._orders else None

    def give_back(self, order: Order) -> None:
        self._orders.append(order)

    def is_empty(self) -> bool:
        return not self._orders


def _parents(group: Sequence[TablePlan]) -> set[str]:
    own = {planned.table.name for planned in group}
    return {reference.target_table for planned in group for reference in planned.table.references} - own


class PutBackSchedule(Schedule):
    """What was taken off: all indexes, those of large tables first, and then the foreign keys.

    ``touched`` names what two foreign keys that are put back at once may not share.
    """

    def __init__(
        self,
        items: Sequence[TakenOff],
        rows: Mapping[str, int],
        *,
        by_table: bool,
        touched: Callable[[TakenOff], frozenset[str]],
    ) -> None:
        self._touched = touched
        groups: dict[tuple[bool, str, str], list[TakenOff]] = {}
        for item in items:
            is_key = item.kind != "index"
            groups.setdefault((is_key, item.table, "" if by_table else item.name), []).append(item)
        ordered = sorted(groups.items(), key=lambda group: (-rows.get(group[0][1], 0), group[0]))
        self._indexes = [PutBack(tuple(group)) for (is_key, _, _), group in ordered if not is_key]
        self._keys = [PutBack(tuple(group)) for (is_key, _, _), group in ordered if is_key]

    def next(self, running: Collection[Order]) -> Order | None:
        if self._indexes:
            return self._indexes.pop(0)
        others = [order for order in running if isinstance(order, PutBack)]
        if any(item.kind == "index" for order in others for item in order.items):
            return None
        taken = {name for order in others for name in self._names(order)}
        for position, order in enumerate(self._keys):
            if not taken & self._names(order):
                return self._keys.pop(position)
        return None

    def _names(self, order: PutBack) -> set[str]:
        return {name for item in order.items for name in self._touched(item)}

    def give_back(self, order: Order) -> None:
        if isinstance(order, PutBack):
            (self._indexes if order.items[0].kind == "index" else self._keys).insert(0, order)

    def is_empty(self) -> bool:
        return not self._indexes and not self._keys

    def left(self) -> list[TakenOff]:
        """List what nobody has put back."""
        return [item for order in (*self._indexes, *self._keys) for item in order.items]
