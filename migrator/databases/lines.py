"""Whether a table's rows can travel as lines of text: when both sides know every column's spelling."""

from __future__ import annotations

from collections.abc import Sequence

from .columns import Conversion, Stored, Way
from .engines.base.engine import Engine
from .engines.base.lines import Form, LineField
from .tables import Table


def line_fields(
    table: Table,
    source: Engine,
    dest: Engine,
    conversions: Sequence[Conversion],
    source_stored: Stored,
    dest_stored: Stored,
) -> tuple[LineField, ...] | None:
    """Choose how the source renders each column, or return ``None`` where the rows' values have to be converted."""
    if table.name in source.outside_snapshot:
        return None  # what is asked of its values before the first write need not be true later
    if dest.text_writer(table.name, [conversion.target for conversion in conversions]) is None:
        return None
    found = []
    for conversion in conversions:
        field = _field(conversion, source, dest, source_stored, dest_stored)
        if field is None:
            return None
        found.append(field)
    return tuple(found)


def _field(
    conversion: Conversion, source: Engine, dest: Engine, source_stored: Stored, dest_stored: Stored
) -> LineField | None:
    column = conversion.column
    if conversion.way is Way.FIELD or conversion.mapping is not None:
        return None
    form = Form.STORED if conversion.way is Way.RAW else dest.lines.form(column, dest_stored[column.name])
    return None if form is None else source.lines.field(form, column, source_stored[column.name])
