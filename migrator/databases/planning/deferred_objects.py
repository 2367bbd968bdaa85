"""What is deferred until rows are loaded: triggers, foreign keys, indexes, and keys that the source enforces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..endpoints import Endpoints
from ..engines.base.catalogue import FOREIGN_KEY, DeferredObject
from ..tables import Kind, StoredColumn
from .columns import Conversion, Way
from .plan import TablePlan
from .schema import StoredTables

# The fewest rows of a table whose indexes are dropped, and whose keys are; for fewer, it costs more than it saves.
FEWEST_INDEXED_ROWS, FEWEST_ROWS = 1_000, 100_000


def to_defer(
    endpoints: Endpoints,
    tables: Sequence[TablePlan],
    dest_has: StoredTables,
    *,
    keeps_indexes: bool,
    keeps_triggers: bool,
    skips_rows: bool,
) -> tuple[DeferredObject, ...]:
    """Return what is dropped from the tables that a run fills, in the order of the drops.

    ``keeps_indexes``: all indexes stay; ``keeps_triggers``: triggers fire; ``skips_rows``: unique keys stay, because
    they find the rows to reject.
    """
    names = [planned.table.name for planned in tables]
    large = {t.table.name for t in tables if t.source_rows >= FEWEST_INDEXED_ROWS and not keeps_indexes}
    items = [] if keeps_triggers else endpoints.dest.catalogue.deferrable_triggers(names)
    items += endpoints.dest.catalogue.deferrable(names, large)
    if endpoints.is_one_database:
        # Dropping one locks the table that it references, which the source's session may be reading.
        kept = endpoints.dest.visibility.keys_to_others(names)
        items = [item for item in items if item.kind != FOREIGN_KEY or (item.table, item.name) not in kept]
    if not (keeps_indexes or skips_rows):
        items += _keys(endpoints, tables, dest_has)
    return tuple(items)


def _keys(endpoints: Endpoints, tables: Sequence[TablePlan], dest_has: StoredTables) -> Iterator[DeferredObject]:
    """Yield the unique keys of large tables that the source enforces, so that its rows cannot violate them."""
    others = [table.table for table in tables]
    for planned in tables:
        name = planned.table.name
        if planned.source_rows < FEWEST_ROWS or name in endpoints.source.outside_snapshot:
            continue
        if not (droppable := endpoints.dest.catalogue.deferrable_keys(planned.table, others)):
            continue
        enforced = endpoints.source.catalogue.unique_keys(name)
        distinct = {
            conversion.column.name
            for conversion in planned.route.conversions
            if _stays_distinct(conversion) and not _is_loose(dest_has[name][conversion.column.name])
        }
        for item, columns in droppable.items():
            if columns <= distinct and any(key <= columns for key in enforced):
                yield item


def _is_loose(stored: StoredColumn) -> bool:
    """Whether a column's collation equates some texts that differ."""
    return stored.ignores_case or stored.ignores_spaces


def _stays_distinct(conversion: Conversion) -> bool:
    """Whether two values that differ in the source always differ in the destination."""
    if conversion.mapping is not None:
        return False
    is_plain = conversion.column.kind in (Kind.INTEGER, Kind.TEXT)
    return conversion.way is Way.RAW or (conversion.way is Way.PROVEN and is_plain)
