"""A plan before the source's rows have been checked: how its tables travel, and how many rows they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..chunks import Restriction
from ..endpoints import Endpoints
from ..tables import Table
from .columns import TableEnds, conversions
from .natural_keys import Mappings, id_mappings, made_by_migrate, mapped_columns
from .ordering import is_cycle, load_order
from .pending_migrations import Pending, pending
from .pending_tables import awaited_names, awaited_tables, mark_made_by_migrations
from .plan import AwaitedTable, TablePlan
from .plan_request import PlanRequest
from .schema import StoredTables
from .table_route import Route
from .transports import choose_transport

# How many rows of a table are selected in the source, and how many the destination has.
Rows = tuple[int, int]


@dataclass(frozen=True)
class Schemas:
    """What both databases have of the selected tables; ``pending``: what ``--migrate`` would add to the destination.

    ``awaited`` names the tables that it would create or change.
    """

    source: StoredTables
    dest: StoredTables
    pending: Pending
    awaited: frozenset[str]


@dataclass(frozen=True)
class Draft:
    """A plan before the source's rows have been checked."""

    endpoints: Endpoints
    request: PlanRequest
    schemas: Schemas
    awaited: tuple[AwaitedTable, ...]
    mappings: Mappings
    groups: tuple[tuple[TablePlan, ...], ...]

    @property
    def tables(self) -> list[TablePlan]:
        """All tables in load order, except the awaited ones."""
        return [table for group in self.groups for table in group]


def stored_tables(endpoints: Endpoints, tables: Sequence[Table]) -> tuple[StoredTables, StoredTables]:
    """Return the tables' columns as the source and the destination have them, by table and by column."""
    source, dest = endpoints.source.catalogue, endpoints.dest.catalogue
    return (
        source.stored_tables([table.name for table in tables]),
        dest.stored_tables([table.name for table in tables]),
    )


def read_schemas(endpoints: Endpoints, tables: Sequence[Table], request: PlanRequest) -> Schemas:
    """Read what both databases have of the tables, and which migrations are pending if the run applies them."""
    source_has, dest_has = stored_tables(endpoints, tables)
    lacking = pending(endpoints.dest.connection) if request.will_migrate else Pending()
    return Schemas(source_has, dest_has, lacking, awaited_names(tables, dest_has, lacking))


def make_draft(
    endpoints: Endpoints, tables: Sequence[Table], request: PlanRequest, schemas: Schemas, *, maps_ids: bool
) -> Draft:
    """Plan the tables. ``maps_ids``: the rows that ``migrate`` makes can be read, so that their ids can be mapped."""
    awaited = awaited_tables(endpoints, tables, schemas.source, schemas.dest, schemas.awaited, request.made)
    names = {table.name for table in tables}
    mappings = id_mappings(endpoints.source, endpoints.dest, names) if maps_ids else {}
    present = [table for table in tables if table.name not in schemas.awaited and _is_complete(table, schemas)]
    rows = _count(endpoints, present, request.restrictions)
    groups = mark_made_by_migrations(
        _groups(endpoints, present, request, schemas, mappings, rows), request.made, endpoints.dest
    )
    return Draft(endpoints, request, schemas, awaited, mappings, groups)


def draft_groups(
    endpoints: Endpoints, tables: Sequence[Table], request: PlanRequest, rows: Mapping[str, Rows]
) -> tuple[tuple[TablePlan, ...], ...]:
    """Plan tables whose ``rows`` have been counted, in groups and load order; without those that a database lacks."""
    schemas = read_schemas(endpoints, tables, request)
    present = [table for table in tables if _is_complete(table, schemas)]
    mappings = id_mappings(endpoints.source, endpoints.dest, {table.name for table in tables})
    return _groups(endpoints, present, request, schemas, mappings, rows)


def _groups(
    endpoints: Endpoints,
    tables: Sequence[Table],
    request: PlanRequest,
    schemas: Schemas,
    mappings: Mappings,
    rows: Mapping[str, Rows],
) -> tuple[tuple[TablePlan, ...], ...]:
    """Plan tables that both databases have, in groups and load order."""
    can_break_keys = not request.adds_rows or endpoints.dest.features.can_switch_off_foreign_keys
    return tuple(
        tuple(
            _table_plan(
                _route(endpoints, table, request, schemas, mappings, binds_late=is_cycle(group) and not can_break_keys),
                *rows[table.name],
            )
            for table in group
        )
        for group in load_order(tables)
    )


def _is_complete(table: Table, schemas: Schemas) -> bool:
    has = (schemas.source[table.name], schemas.dest[table.name])
    return all(column.name in stored for stored in has for column in table.columns)


def _count(
    endpoints: Endpoints, tables: Sequence[Table], restrictions: Mapping[str, Restriction | None]
) -> dict[str, Rows]:
    """Return the row counts of tables, by name: of the selected rows in the source, of all rows in the destination."""
    names = [table.name for table in tables]
    chosen = {name: restriction for name in names if (restriction := restrictions.get(name)) is not None}
    source_rows = endpoints.source.counts([name for name in names if name not in chosen])
    for name, restriction in chosen.items():
        source_rows[name] = endpoints.source.count(name, restriction.sql, restriction.params)
    dest_rows = endpoints.dest.counts(names)
    return {name: (source_rows[name], dest_rows[name]) for name in names}


def _route(
    endpoints: Endpoints,
    table: Table,
    request: PlanRequest,
    schemas: Schemas,
    mappings: Mappings,
    *,
    binds_late: bool,
) -> Route:
    source, dest = endpoints.source, endpoints.dest
    ends = TableEnds(source, dest, schemas.source[table.name], schemas.dest[table.name])
    restriction = request.restrictions.get(table.name)
    checked = conversions(table, ends, mapped_columns(table, mappings))
    return Route(
        table,
        source,
        dest,
        checked,
        ends.source_stored,
        ends.dest_stored,
        choose_transport(table, checked, ends, restriction),
        restriction,
        binds_late,
        disables_triggers=request.adds_rows and not request.keeps_triggers,
    )


def _table_plan(route: Route, source_rows: int, dest_rows: int) -> TablePlan:
    is_made_by_migrate = dest_rows > 0 and made_by_migrate(route.dest, route.table, dest_rows)
    return TablePlan(route, source_rows, dest_rows, is_made_by_migrate)
