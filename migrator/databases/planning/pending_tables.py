"""Tables that migrations will create or change before a run; until then, only their rows can be counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...console.wording import plural, shortened
from ..endpoints import Endpoints
from ..engines.base.engine import Engine
from ..findings import Finding
from ..tables import Table
from .natural_keys import made_by_migrate
from .ordering import load_order
from .pending_migrations import Pending
from .plan import AwaitedTable, TablePlan
from .rows_of_migrations import Made, holds_rows_of_others
from .schema import StoredTables


def awaited_names(tables: Sequence[Table], dest_has: StoredTables, lacking: Pending) -> frozenset[str]:
    """Return the names of the tables that ``migrate`` will create or change in the destination.

    A migration can do anything to the tables of its app and to the columns by which other tables refer to them, and it
    can create a table for another app.
    """
    if not lacking:
        return frozenset()
    apps = {name.partition(".")[0] for name in lacking.migrations}
    changed = {table.name for table in tables if table.model._meta.app_label in apps}
    return frozenset(
        table.name
        for table in tables
        if table.name in changed
        or not dest_has[table.name]
        or any(reference.target_table in changed for reference in table.references)
    )


def awaited_tables(
    endpoints: Endpoints,
    tables: Sequence[Table],
    source_has: StoredTables,
    dest_has: StoredTables,
    awaited: frozenset[str],
    made: Made,
) -> tuple[AwaitedTable, ...]:
    """Return the awaited tables with the counts of their rows, if they exist, in load order."""
    waiting = [table for table in tables if table.name in awaited]
    source_rows = endpoints.source.counts([table.name for table in waiting if source_has[table.name]])
    dest_rows = endpoints.dest.counts([table.name for table in waiting if dest_has[table.name]])
    of_migrations = made.tables(endpoints.dest, dest_rows)
    return tuple(
        AwaitedTable(
            table,
            source_rows.get(table.name, 0),
            dest_rows.get(table.name),
            _is_made_by_migrate(endpoints, table, dest_rows),
            table.name in of_migrations,
        )
        for group in load_order(waiting)
        for table in group
    )


def _is_made_by_migrate(endpoints: Endpoints, table: Table, dest_rows: Mapping[str, int]) -> bool:
    rows = dest_rows.get(table.name, 0)
    return rows > 0 and made_by_migrate(endpoints.dest, table, rows)


def announcement(dest: Engine, lacking: Pending, made: Made) -> Finding:
    """Announce which migrations will be applied, and what happens to the rows that they create."""
    fate = "It has no rows yet: rows that these create are listed before the copy, and replaced without --replace."
    if holds_rows_of_others(dest, made):
        fate = (
            "It has rows already, so rows that these create cannot be distinguished from yours. Replacing them "
            f"requires --replace {dest.alias}."
        )
    parts = []
    if lacking.migrations:
        parts.append(
            f"{plural(len(lacking.migrations), 'migration')} will be applied first: {_few(lacking.migrations)}"
        )
    if lacking.tables:
        count = plural(len(lacking.tables), "table")
        parts.append(f"{count} of apps without migrations will be created first: {_few(lacking.tables)}")
    return Finding(dest.alias, "; ".join(parts), fate, stops=False)


def _few(names: Sequence[str]) -> str:
    return shortened(names, 3)


def mark_made_by_migrations(
    groups: tuple[tuple[TablePlan, ...], ...], made: Made, dest: Engine
) -> tuple[tuple[TablePlan, ...], ...]:
    """Return the groups, with a mark on tables whose rows in the destination migrations have created."""
    rows = {t.table.name: t.dest_rows for group in groups for t in group if not t.is_made_by_migrate}
    known = made.tables(dest, rows)
    return tuple(tuple(replace(t, is_made_by_migrations=t.table.name in known) for t in group) for group in groups)
