"""What a run will do, as data: shown before the first write, walked by the run."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..chunks import Restriction
from ..endpoints import Endpoints
from ..engines.base.catalogue import DeferredObject
from ..engines.base.lifecycle import DatabaseInfo
from ..findings import Finding
from ..tables import Table
from .columns import conversions
from .natural_keys import Mappings, made_by_migrate, mapped_columns
from .ordering import is_cycle, load_order
from .route import Route
from .schema import StoredTables
from .selection import LeftOut, Selection
from .transports import Transport, choose_transport


@dataclass(frozen=True)
class TablePlan:
    """One table of a run: how it travels, and what is on both sides now."""

    route: Route
    source_rows: int
    dest_rows: int
    is_made_by_migrate: bool
    # The project's migrations made the destination's rows, in a database that held none of a person's.
    is_made_by_migrations: bool = False

    @property
    def table(self) -> Table:
        return self.route.table

    def by(self, transport: Transport) -> TablePlan:
        """Return this table with another transport."""
        return replace(self, route=replace(self.route, transport=transport))


@dataclass(frozen=True)
class AwaitedTable:
    """A table that ``--migrate`` has to create or change before more can be said of it than these counts."""

    table: Table
    source_rows: int
    dest_rows: int | None
    is_made_by_migrate: bool = False
    is_made_by_migrations: bool = False


@dataclass(frozen=True)
class Plan:
    """A run before it starts. Groups are in load order; a group is one table or a cycle of them."""

    source: DatabaseInfo
    dest: DatabaseInfo
    groups: tuple[tuple[TablePlan, ...], ...]
    left_out: tuple[LeftOut, ...]
    unknown_tables: tuple[str, ...]
    taken_off: tuple[DeferredObject, ...]
    findings: tuple[Finding, ...]
    adds_rows: bool
    keeps_indexes: bool
    # The tables that ``--migrate`` would create or change first; what is run has none.
    awaited: tuple[AwaitedTable, ...] = ()
    # The rows in the destination are the run's own.
    is_resumed: bool = False
    # Rows that cannot be stored are set aside.
    skips_rows: bool = False
    # The destination's rows stay where they are equal to the source's.
    updates: bool = False
    # Processes that copy side by side.
    jobs: int = 1
    # Tables on which triggers fire that nobody asked to keep: their rows may differ from the source's in the end.
    with_triggers: frozenset[str] = frozenset()
    # By table name, where a database has schemas.
    source_schemas: Mapping[str, str] = field(default_factory=dict)
    dest_schemas: Mapping[str, str] = field(default_factory=dict)
    # What this very command has migrated there before, in words.
    migrated: str = ""
    # Where rows are skipped, how many of each table will be, as far as the findings say which, and if all of them do.
    rejected: Mapping[str, int] = field(default_factory=dict)
    knows_rejected: bool = True

    @property
    def tables(self) -> tuple[TablePlan, ...]:
        """All tables in load order."""
        return tuple(table for group in self.groups for table in group)

    @property
    def emptied(self) -> tuple[TablePlan | AwaitedTable, ...]:
        """The destination's tables that are emptied first, children before parents."""
        if self.adds_rows or self.is_resumed or self.updates:
            return ()
        every: list[TablePlan | AwaitedTable] = [*self.awaited, *reversed(self.tables)]
        return tuple(table for table in every if table.dest_rows)

    @property
    def destroyed(self) -> tuple[TablePlan | AwaitedTable, ...]:
        """Those of them that hold rows other than those which migrations have made."""
        return tuple(t for t in self.emptied if not (t.is_made_by_migrate or t.is_made_by_migrations))

    @property
    def untouched(self) -> str:
        """What to say of a destination that was planned for, and no more."""
        if self.migrated:
            return f"Nothing was copied; {self.migrated}."
        return "Nothing was written."

    @property
    def stopping(self) -> tuple[Finding, ...]:
        """What keeps the run from starting."""
        return tuple(finding for finding in self.findings if finding.stops and finding not in self.set_aside)

    @property
    def set_aside(self) -> tuple[Finding, ...]:
        """What the rows that will be rejected have, where they are skipped."""
        return tuple(f for f in self.findings if f.stops and f.is_about_rows) if self.skips_rows else ()

    def identity(self) -> dict[str, Any]:
        """Describe what has to be the same for a run to be resumed."""
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
    """Return what takes the place of a plan if neither the source nor any row is looked at."""
    return Plan(DatabaseInfo(source, "", "", ""), dest, (), (), (), (), (), adds_rows=False, keeps_indexes=False)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Name what differs between the identity of a recorded run and that of the call that would resume it."""
    found = [name for name in new if name != "tables" and old.get(name) != new[name]]
    before, now = old.get("tables", {}), new["tables"]
    found += [f"table {name!r} is new" for name in now if name not in before]
    found += [f"table {name!r} is gone" for name in before if name not in now]
    found += [f"the columns or rows of table {name!r}" for name in now if name in before and before[name] != now[name]]
    return found


def _as_text(restriction: Restriction | None) -> list[str] | None:
    return None if restriction is None else [restriction.sql, *map(str, restriction.params)]


def stored_tables(endpoints: Endpoints, tables: Sequence[Table]) -> tuple[StoredTables, StoredTables]:
    """Describe the tables' columns as the source and the destination have them."""
    source, dest = endpoints.source.catalogue, endpoints.dest.catalogue
    return (
        source.stored_tables([table.name for table in tables]),
        dest.stored_tables([table.name for table in tables]),
    )


def table_plans(
    endpoints: Endpoints,
    selection: Selection,
    source_has: StoredTables,
    dest_has: StoredTables,
    restrictions: Mapping[str, Restriction | None],
    mappings: Mappings,
    *,
    adds_rows: bool,
    silences_triggers: bool,
    awaited: Collection[str] = (),
) -> tuple[tuple[TablePlan, ...], ...]:
    """Plan every table that both sides have, except ``awaited`` ones, in groups and load order."""
    present = [t for t in selection.tables if t.name not in awaited and _is_complete(t, source_has, dest_has)]
    rows = _count(endpoints, present, restrictions)
    groups = []
    for group in load_order(present):
        binds_late = is_cycle(group) and adds_rows and not endpoints.dest.features.can_switch_off_foreign_keys
        groups.append(
            tuple(
                _table_plan(
                    endpoints,
                    table,
                    source_has,
                    dest_has,
                    mappings,
                    restrictions.get(table.name),
                    rows[table.name],
                    binds_late=binds_late,
                    silences_triggers=silences_triggers,
                )
                for table in group
            )
        )
    return tuple(groups)


def _count(
    endpoints: Endpoints, tables: Sequence[Table], restrictions: Mapping[str, Restriction | None]
) -> dict[str, tuple[int, int]]:
    """Count the rows of tables, the chosen ones in the source and all in the destination."""
    names = [table.name for table in tables]
    chosen = {name: restriction for name in names if (restriction := restrictions.get(name)) is not None}
    source_rows = endpoints.source.counts([name for name in names if name not in chosen])
    for name, restriction in chosen.items():
        source_rows[name] = endpoints.source.count(name, restriction.sql, restriction.params)
    dest_rows = endpoints.dest.counts(names)
    return {name: (source_rows[name], dest_rows[name]) for name in names}


def _is_complete(table: Table, source_has: StoredTables, dest_has: StoredTables) -> bool:
    return all(column.name in catalogue[table.name] for catalogue in (source_has, dest_has) for column in table.columns)


def _table_plan(
    endpoints: Endpoints,
    table: Table,
    source_has: StoredTables,
    dest_has: StoredTables,
    mappings: Mappings,
    restriction: Restriction | None,
    rows: tuple[int, int],
    *,
    binds_late: bool,
    silences_triggers: bool,
) -> TablePlan:
    of_columns = mapped_columns(table, mappings)
    here, there = source_has[table.name], dest_has[table.name]
    ways = conversions(table, endpoints.source, endpoints.dest, here, there, of_columns)
    source_rows, dest_rows = rows
    return TablePlan(
        Route(
            table,
            endpoints.source,
            endpoints.dest,
            ways,
            here,
            there,
            choose_transport(endpoints, table, ways, here, there, restriction),
            restriction,
            binds_late,
            silences_triggers,
        ),
        source_rows,
        dest_rows,
        dest_rows > 0 and made_by_migrate(endpoints.dest, table, dest_rows),
    )


def largest_first(groups: Sequence[Sequence[TablePlan]]) -> Generator[Sequence[TablePlan]]:
    """Give the groups of a plan in the order to copy them in: parents first, and of those that may come the largest.

    So there is most left to copy while a large table's indexes are put back.
    """
    left = list(groups)
    while left:
        waiting = {planned.table.name for group in left for planned in group}
        ready = [group for group in left if not parents_of([one.table for one in group]) & waiting]
        chosen = max(ready, key=lambda group: sum(planned.source_rows for planned in group))
        left.remove(chosen)
        yield chosen


def parents_of(group: Sequence[Table]) -> set[str]:
    """Name the tables that those of a group refer to, but for themselves."""
    targets = {reference.target_table for table in group for reference in table.references}
    return targets - {table.name for table in group}


def is_bound_late(group: Sequence[TablePlan]) -> bool:
    """Tell whether the rows of a cycle are only right together, so that they are committed together."""
    return any(planned.route.binds_late for planned in group)
