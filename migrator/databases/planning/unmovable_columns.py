"""Columns that cannot be copied between two databases at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..engines.base.engine import Engine
from ..findings import Finding
from ..tables import Kind
from .plan import TablePlan


def check_unmovable(tables: Sequence[TablePlan], source: Engine, dest: Engine) -> Iterator[Finding]:
    """Find geometry columns if the engines differ, and booleans that are stored as bits."""
    for planned in tables:
        table = planned.table
        for column in table.columns if planned.source_rows else ():
            subject = f"{table.label}.{column.attname}"
            stored = planned.route.stored[column.name]
            # All of GeoDjango's fields have it (BaseSpatialField); this needs none of its libraries.
            if hasattr(column.field, "geom_type") and source.vendor != dest.vendor:
                yield Finding(
                    subject,
                    "geometry values are not copied between different engines",
                    f"Leave the model out with --exclude {table.label}, and copy it with GeoDjango itself.",
                )
            elif column.kind is Kind.BOOLEAN and source.values.is_bits(stored):
                yield Finding(
                    subject,
                    f"{source.alias!r} stores this boolean as {stored.declared}, which Django reads as bytes",
                    "Change the column there to the type that Django gives it "
                    f"({column.field.db_type(source.connection)}), or leave the model out with --exclude "
                    f"{table.label}.",
                )
