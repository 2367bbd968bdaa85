"""A table of the source as the destination sees it: the selected rows, with text compared as in the destination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..engines.base.engine import Engine
from ..tables import Column, Kind, StoredColumn
from .table_route import Route

# The alias of the view in queries; a table's own name may include a schema.
ROWS = "rows_"


@dataclass(frozen=True)
class View:
    """A subquery for ``FROM``, with its parameters, and its columns that hold a row's primary key."""

    sql: str
    params: tuple[Any, ...]
    key: tuple[str, ...]


def is_folded(column: Column, own: StoredColumn, other: StoredColumn) -> bool:
    """Whether the destination's collation of a column (``other``) equates texts that differ in the source (``own``)."""
    is_loose = any(_ignored(own, other)) or (other.ignores_ascii_case and not own.ignores_case)
    return column.kind is Kind.TEXT and is_loose


def _ignored(own: StoredColumn, other: StoredColumn) -> tuple[bool, bool]:
    """Return whether the destination's collation ignores case, and trailing spaces, if the source's does not."""
    return other.ignores_case and not own.ignores_case, other.ignores_spaces and not own.ignores_spaces


def view_of(route: Route, engine: Engine, columns: Sequence[Column], *, as_stored: bool = False) -> View:
    """Build the view of a table with these columns under their own names.

    ``as_stored``: with the values as the source stores them, not folded as the destination compares them.
    """
    table = route.table
    key = tuple(f"key_{number}" for number, _ in enumerate(table.key))
    parts = [f"{engine.quote(name)} AS {alias}" for name, alias in zip(table.key, key, strict=True)]
    for column in columns:
        name, (own, other) = engine.quote(column.name), route.ends.of(column)
        text, is_text = name, engine.values.storage(own) == "text"
        if as_stored:
            pass
        elif other.ignores_ascii_case and column.kind is Kind.TEXT:
            apart = engine.values.exact_text(column.name, own) if is_text else engine.values.as_text(column.name)
            text = engine.values.ascii_lower(apart)
        elif is_folded(column, own, other):
            text = engine.values.folded(column.name, *_ignored(own, other))
        elif is_text and not other.ignores_case:
            text = engine.values.exact_text(column.name, own)
        parts.append(f"{text} AS {name}")
    where, params = (f" WHERE {route.restriction.sql}", route.restriction.params) if route.restriction else ("", ())
    sql = f"(SELECT {', '.join(parts)} FROM {engine.quote(table.name)}{where}) {ROWS}"
    return View(sql, params, key)
