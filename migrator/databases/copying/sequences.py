"""The sequences of the copied tables, set after the last row."""

from __future__ import annotations

import contextlib

from ..engines.base.engine import Engine
from ..engines.base.values import BIGINT
from ..planning.plan import Plan
from ..tables import Table


def reset_sequences(plan: Plan) -> None:
    """Set the sequence of every copied table so that the next key is free.

    In a destination that becomes equal to the source, it continues from the source's sequence, which may be above the
    largest key. Otherwise the key of a deleted row would be reused, and something may still refer to it by its number.
    """
    if not plan.tables:
        return
    tables, route = [planned.table for planned in plan.tables], plan.tables[0].route
    next_keys = {} if plan.adds_rows else route.source.catalogue.next_keys(tables)
    storable = {
        table.name: next_keys[table.name]
        for table in tables
        if table.name in next_keys and next_keys[table.name] <= _largest_key(table, route.dest)
    }
    route.dest.catalogue.reset_sequences(tables, storable, may_lower=not (plan.adds_rows or plan.updates))


def _largest_key(table: Table, dest: Engine) -> int:
    largest: int | None = None
    with contextlib.suppress(KeyError):  # Django has no range for this field
        largest = dest.connection.ops.integer_field_range(table.column(table.key[0]).field.get_internal_type())[1]
    return BIGINT[1] if largest is None else largest
