"""Values that a column of a session table cannot hold, found before one of them makes the server reject a page."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from ...stores.table.base import KeyedTable
from ...stores.table.layout import Convert
from ..table_layouts import ModelColumn


def misfit(column: ModelColumn, value: Any, dump: Convert | None, table: KeyedTable) -> str | None:
    """Return why a column cannot hold a value, without quoting it; None if it can."""
    name, field = column.column.name, column.field
    if isinstance(field, models.GenericIPAddressField) and value and not table.takes_address(str(value)):
        return f"its {name} is not an IP address"
    is_limited = isinstance(field, models.CharField) and column.role != "user_agent"
    limit = column.max_length if is_limited and table.limits_lengths else None
    if limit and len(str(value or "")) > limit:
        return f"its {name} is longer than the column allows ({limit} characters)"
    try:
        cell = dump(value) if dump and value is not None else value
    except (TypeError, ValueError, OverflowError, ValidationError) as error:
        return f"its {name} is invalid for the column ({type(error).__name__})"
    return f"its {name} is empty, and the column takes no NULL" if cell is None and not column.takes_null else None
