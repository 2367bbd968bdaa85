"""What a run will do, as data: shown before the first write, then carried out."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..chunks import Restriction
from ..engines.base.catalogue import DeferredObject, TableSize
from ..engines.base.session_lifecycle import DatabaseInfo
from ..findings import Finding
from ..tables import Table
from .checks import CheckResult
from .plan_request import PlanRequest
from .selection import EVERYTHING, Choice, LeftOut
from .table_route import Route
from .transports import Transport


@dataclass(frozen=True)
class TablePlan:
    """One table of a run: how it travels, and how many rows both databases have now."""

    route: Route
    source_rows: int
    dest_rows: int
    is_made_by_migrate: bool
    # The project's migrations made the destination's rows, in a database that held no one's data.
    is_made_by_migrations: bool = False

    @property
    def table(self) -> Table:
        return self.route.table

    def with_transport(self, transport: Transport) -> TablePlan:
        """Return this table with another transport."""
        return replace(self, route=replace(self.route, transport=transport))


@dataclass(frozen=True)
class AwaitedTable:
    """A table that ``--migrate`` has to create or change first; until then, only these counts are known."""

    table: Table
    source_rows: int
    dest_rows: int | None
    is_made_by_migrate: bool = False
    is_made_by_migrations: bool = False


@dataclass(frozen=True)
class Estimate:
    """Within which range a run's seconds are likely to be, and the least space that its rows take in the destination.

    The space is without indexes and logs, and ``None`` if it is unknown or nothing new is stored.
    """

    seconds_low: float
    seconds_high: float
    bytes_at_least: int | None


@dataclass(frozen=True)
class Plan:
    """A run before it starts. Groups are in load order; a group is one table or a cycle of them."""

    request: PlanRequest
    source: DatabaseInfo
    dest: DatabaseInfo
    groups: tuple[tuple[TablePlan, ...], ...]
    left_out: tuple[LeftOut, ...] = ()
    unknown_tables: tuple[str, ...] = ()
    # What is dropped while rows are loaded, in that order.
    deferred: tuple[DeferredObject, ...] = ()
    findings: tuple[Finding, ...] = ()
    # The tables that ``--migrate`` would create or change first; a plan that is carried out has no such tables.
    awaited: tuple[AwaitedTable, ...] = ()
    # Processes that copy in parallel.
    jobs: int = 1
    # Tables on which triggers fire without --keep-triggers: their rows may differ from the source's in the end.
    with_triggers: frozenset[str] = frozenset()
    # By table name, if a database has schemas.
    source_schemas: Mapping[str, str] = field(default_factory=dict)
    dest_schemas: Mapping[str, str] = field(default_factory=dict)
    # If rows are skipped: how many of each table will be rejected as far as the findings know it, and whether they
    # know it of all.
    rejected: Mapping[str, int] = field(default_factory=dict)
    knows_rejected: bool = True
    # Of tables in the source, by name, as far as the engine knows.
    sizes: Mapping[str, TableSize] = field(default_factory=dict)
    # None if the run cannot start, or was interrupted: what is left of it is not known.
    estimate: Estimate | None = None
    # All checks of the plan, also those that found nothing.
    checks: tuple[CheckResult, ...] = ()
    # Which tables were asked for.
    choice: Choice = EVERYTHING
    # Migrations will be applied to the destination first.
    migrates: bool = False

    @property
    def adds_rows(self) -> bool:
        """Whether the destination keeps its rows."""
        return self.request.adds_rows

    @property
    def updates(self) -> bool:
        """Whether the destination's rows stay where they are equal to the source's."""
        return self.request.updates

    @property
    def is_resumed(self) -> bool:
        """Whether the rows in the destination are the run's own."""
        return self.request.is_resumed

    @property
    def keeps_indexes(self) -> bool:
        """Whether indexes stay while rows are loaded."""
        return self.request.keeps_indexes

    @property
    def skips_rows(self) -> bool:
        """Whether rows that cannot be stored are rejected."""
        return self.request.skips_rows

    @property
    def is_confirmed(self) -> bool:
        """Whether rows of the destination are deleted without asking."""
        return self.request.is_confirmed

    @property
    def migrated(self) -> str:
        """What this very command has migrated in the destination before, in words."""
        return self.request.migrated.what

    @property
    def tables(self) -> tuple[TablePlan, ...]:
        """All tables in load order."""
        return tuple(table for group in self.groups for table in group)

    @property
    def every(self) -> tuple[TablePlan | AwaitedTable, ...]:
        """All tables, those that have to be created or changed first at the end."""
        return (*self.tables, *self.awaited)

    @property
    def emptied(self) -> tuple[TablePlan | AwaitedTable, ...]:
        """The tables of the destination that are emptied first, children before parents."""
        if self.adds_rows or self.is_resumed or self.updates:
            return ()
        every: list[TablePlan | AwaitedTable] = [*self.awaited, *reversed(self.tables)]
        return tuple(table for table in every if table.dest_rows)

    @property
    def destroyed(self) -> tuple[TablePlan | AwaitedTable, ...]:
        """The emptied tables that hold rows which no migration made."""
        return tuple(t for t in self.emptied if not (t.is_made_by_migrate or t.is_made_by_migrations))

    def row_bytes(self, table: TablePlan | AwaitedTable) -> float | None:
        """Return about how many bytes a row takes in the source; ``None`` if that is unknown."""
        size = self.sizes.get(table.table.name)
        is_part = isinstance(table, TablePlan) and table.route.restriction is not None
        if size is None or (is_part and size.rows is None):  # then it is that of rows that are not chosen, too
            return None
        return size.width(table.source_rows)

    @property
    def untouched(self) -> str:
        """The message that a run wrote nothing after its plan."""
        if self.migrated:
            return f"Nothing was copied; {self.migrated}."
        return "Nothing was written."

    @property
    def stopping(self) -> tuple[Finding, ...]:
        """The findings that keep the run from starting."""
        return tuple(finding for finding in self.findings if finding.stops and finding not in self.rejecting)

    @property
    def rejecting(self) -> tuple[Finding, ...]:
        """The findings whose rows are rejected, if rows are skipped."""
        return tuple(f for f in self.findings if f.stops and f.is_about_rows) if self.skips_rows else ()

    def identity(self) -> dict[str, Any]:
        """Return what must be unchanged for the run to be resumed. Journals record it."""
        return {
            "source": str(self.source),
            "destination": str(self.dest),
            "adds rows": self.adds_rows,
            "keeps indexes": self.keeps_indexes,
            "tables": {
                table.table.name: {
                    "columns": [[c.column.name, str(c.column.kind), str(c.way)] for c in table.route.conversions],
                    "key": list(table.table.key),
                    "restriction": _as_text(table.route.restriction),
                }
                for table in self.tables
            },
        }


def unread_plan(source: str, dest: DatabaseInfo) -> Plan:
    """Return a plan without tables, for a run that reads neither the source nor any row."""
    return Plan(PlanRequest(), DatabaseInfo(source, "", "", ""), dest, ())


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the differences between the identity of a recorded run and that of the call that would resume it."""
    found = [name for name in new if name != "tables" and old.get(name) != new[name]]
    before, now = old.get("tables", {}), new["tables"]
    found += [f"table {name!r} is new" for name in now if name not in before]
    found += [f"table {name!r} is gone" for name in before if name not in now]
    found += [f"the columns or rows of table {name!r}" for name in now if name in before and before[name] != now[name]]
    return found


def _as_text(restriction: Restriction | None) -> list[str] | None:
    return None if restriction is None else [restriction.sql, *map(str, restriction.params)]


def largest_first(groups: Sequence[Sequence[TablePlan]]) -> Generator[Sequence[TablePlan]]:
    """Yield the groups of a plan in the order of the copy: parents first, and the largest of those that are ready.

    A large table's indexes are then recreated while most of the rest is still to be copied.
    """
    group_of = {planned.table.name: number for number, group in enumerate(groups) for planned in group}
    children = defaultdict[int, list[int]](list)
    waits_for = []
    for number, group in enumerate(groups):
        parents = {group_of[name] for name in parents_of([one.table for one in group]) if name in group_of}
        waits_for.append(len(parents))
        for parent in parents:
            children[parent].append(number)
    rows = [sum(planned.source_rows for planned in group) for group in groups]
    ready = [(-rows[number], number) for number, count in enumerate(waits_for) if not count]
    heapq.heapify(ready)
    while ready:
        _, number = heapq.heappop(ready)
        yield groups[number]
        for child in children[number]:
            waits_for[child] -= 1
            if not waits_for[child]:
                heapq.heappush(ready, (-rows[child], child))


def parents_of(group: Sequence[Table]) -> set[str]:
    """Return the names of the tables that a group refers to, without its own."""
    targets = {reference.target_table for table in group for reference in table.references}
    return targets - {table.name for table in group}


def is_bound_late(group: Sequence[TablePlan]) -> bool:
    """Whether the rows of a cycle must be committed together, because its foreign keys hold only then."""
    return any(planned.route.binds_late for planned in group)
