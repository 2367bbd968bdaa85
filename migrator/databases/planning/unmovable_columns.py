"""Columns that cannot be moved at all between two databases, told before the first write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..engines.base.engine import Engine
from ..findings import Finding
from ..tables import Kind
from .plan import TablePlan
from .schema import StoredTables


def check_unmovable(
    tables: Sequence[TablePlan], source: Engine, dest: Engine, source_has: StoredTables
) -> Iterator[Finding]:
    """Find columns of geometry on the way to another engine, and booleans that are stored as bits."""
    for planned in tables:
        table = planned.table
        for column in table.columns if planned.source_rows else ():
            subject = f"{table.label}.{column.attname}"
            stored = source_has[table.name][column.name]
            # GeoDjango's fields all have it (BaseSpatialField); its libraries need not be there to ask.
            if hasattr(column.field, "geom_type") and source.vendor != dest.vendor:
                yield Finding(
                    subject,
                    "values of geometry are not moved between different engines",
                    f"Leave the model out with --exclude {table.label}, and move it by GeoDjango itself.",
                )
            elif column.kind is Kind.BOOLEAN and source.values.is_bits(stored):
                yield Finding(
                    subject,
                    f"{source.alias!r} stores this boolean as {stored.declared}, which Django reads as bytes",
                    "Change the column there to the type that Django gives it "
                    f"({column.field.db_type(source.connection)}), or leave the model out with --exclude "
                    f"{table.label}.",
                )
