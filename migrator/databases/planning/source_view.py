"""A table of the source as its destination will look at it: the chosen rows, and texts told apart as they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..engines.base.engine import Engine
from ..tables import Column, Kind, StoredColumn
from .route import Route

_Stored = Mapping[str, StoredColumn]
# The name of a table's rows in queries; a table's own name may be two, with a schema's before it.
ROWS = "rows_"


@dataclass(frozen=True)
class View:
    """What follows ``FROM``, with its parameters, and the columns of a row's key in it."""

    sql: str
    params: tuple[Any, ...]
    key: tuple[str, ...]


def is_folded(column: Column, source_stored: _Stored, dest_stored: _Stored) -> bool:
    """Return whether the destination takes texts of a column for equal that the source tells apart."""
    own, other = source_stored[column.name], dest_stored[column.name]
    is_loose = any(_ignored(own, other)) or (other.ignores_ascii_case and not own.ignores_case)
    return column.kind is Kind.TEXT and is_loose


def _ignored(own: StoredColumn, other: StoredColumn) -> tuple[bool, bool]:
    """Return whether the destination's collation ignores case, and spaces at the end, if the source's does not."""
    return other.ignores_case and not own.ignores_case, other.ignores_spaces and not own.ignores_spaces


def view_of(
    route: Route,
    engine: Engine,
    columns: Sequence[Column],
    source_stored: _Stored,
    dest_stored: _Stored,
    *,
    as_stored: bool = False,
) -> View:
    """Build the view of a table with these columns, which are called as in the table, or as they are ``as_stored``."""
    table = route.table
    key = tuple(f"key_{number}" for number, _ in enumerate(table.key))
    parts = [f"{engine.quote(name)} AS {alias}" for name, alias in zip(table.key, key, strict=True)]
    for column in columns:
        name, own, other = engine.quote(column.name), source_stored[column.name], dest_stored[column.name]
        text, is_text = name, engine.values.storage(own) == "text"
        if as_stored:
            pass
        elif other.ignores_ascii_case and column.kind is Kind.TEXT:
            apart = engine.values.exact_text(column.name, own) if is_text else engine.values.as_text(column.name)
            text = engine.values.ascii_lower(apart)
        elif is_folded(column, source_stored, dest_stored):
            text = engine.values.folded(column.name, *_ignored(own, other))
        elif is_text and not other.ignores_case:
            text = engine.values.exact_text(column.name, own)
        parts.append(f"{text} AS {name}")
    where, params = (f" WHERE {route.restriction.sql}", route.restriction.params) if route.restriction else ("", ())
    sql = f"(SELECT {', '.join(parts)} FROM {engine.quote(table.name)}{where}) {ROWS}"
    return View(sql, params, key)
