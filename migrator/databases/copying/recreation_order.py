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
    """Put back indexes, or foreign keys, of one table; answered by the seconds that it took, or ``None``."""

    items: tuple[DeferredObject, ...]

    @property
    def table(self) -> str:
        return self.items[0].table

    def carry_out(self, catalogue: Catalogue) -> None:
        catalogue.recreate(self.items)


@dataclass(frozen=True)
class RefreshStatistics:
    """Let the query planner know of a table's rows; answered by the seconds that it took."""

    table: str

    def carry_out(self, catalogue: Catalogue) -> None:
        catalogue.refresh_statistics([self.table])


FinishTask = Recreate | RefreshStatistics


class RecreationSchedule:
    """What comes after a table's last row: unique keys, indexes, statistics, foreign keys, triggers.

    What others wait for comes first. It begins when the table is complete, and with foreign keys when those that it
    refers to are complete as well. ``tables``: parents first, each with its rows. ``keys_wait``: foreign keys and
    triggers wait for :meth:`release`. ``touched`` names what two of these that are put back at once may not share.
    """

    def __init__(
        self,
        items: Iterable[DeferredObject],
        tables: Sequence[tuple[Table, int]],
        *,
        by_table: bool,
        touched: Callable[[DeferredObject], frozenset[str]],
        keys_wait: bool = False,
    ) -> None:
        self._incomplete = {table.name for table, _ in tables}
        self._keys_wait = keys_wait
        targets = {table.name: parents_of([table]) for table, _ in tables}
        places = _places(tables, targets)
        filled = {table.name for table, rows in tables if rows}
        groups: dict[tuple[_Rank, str, str], list[DeferredObject]] = {}
        for item in items:
            rank = RANKS[item.kind]
            groups.setdefault((rank, item.table, "" if by_table else item.name), []).append(item)
        steps = []
        for (rank, table, _), group in groups.items():
            needs = {table} | (targets.get(table, set()) if rank is _Rank.KEY else set())
            names = needs if rank is _Rank.INDEX else needs.union(*map(touched, group))
            place = (*places.get(table, LAST), rank)
            steps.append(_Step(rank, place, Recreate(tuple(group)), needs, names))
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

    def next(self, running: Collection[object]) -> FinishTask | None:
        """Take the next step that can be carried out at the same time as these, or ``None``."""
        others = [self._steps[order] for order in running if isinstance(order, FinishTask)]
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

    def give_back(self, order: object) -> None:
        """Return a step that was not carried out; what is not a step of this schedule is ignored."""
        if isinstance(order, FinishTask):
            self._waiting.append(self._steps[order])
            self._waiting.sort(key=_place)

    def is_empty(self) -> bool:
        """Whether all steps have been taken."""
        return not self._waiting

    def objects(self) -> int:
        """Count the indexes and foreign keys that nobody has taken."""
        return sum(len(step.order.items) for step in self._waiting if isinstance(step.order, Recreate))


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
    order: FinishTask
    needs: Set[str]
    names: Set[str]


def _places(tables: Sequence[tuple[Table, int]], targets: Mapping[str, Set[str]]) -> dict[str, tuple[int, int]]:
    """Give each table its place by the largest that waits for it, itself among them; of equals, parents come first."""
    largest = {table.name: rows for table, rows in tables}
    for child in reversed(largest):
        for parent in targets[child] & largest.keys():
            largest[parent] = max(largest[parent], largest[child])
    return {table: (-rows, position) for position, (table, rows) in enumerate(largest.items())}
