"""Rows that differ, as tables for pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...console.reports import Cell, Grid
from ...console.wording import plural
from ..primary_keys import key_text
from ..verification.contents import EQUAL, Contents
from ..verification.counts import Verification
from .verification import shown_value

HEADERS = ("model", "key", "kind", "fields")


def row_grids(verification: Verification | None, *, with_values: bool = False) -> tuple[Grid, ...]:
    """Return the tables of all rows that are listed as differing; values are only shown ``with_values``.

    Rows that were rejected have a table of their own: they are known to be missing.
    """
    contents = verification.contents if verification else ()
    differing = [found for found in contents if found.status != EQUAL]
    rejected = [found for found in contents if found.status == EQUAL]
    grids = (
        _grid("Rows that differ", differing, with_values),
        _grid("Rejected rows, which the destination lacks", rejected, with_values=False),
    )
    return tuple(grid for grid in grids if grid.rows)


def _grid(title: str, contents: Sequence[Contents], with_values: bool) -> Grid:
    rows = tuple(row for found in contents for row in _rows(found, with_values))
    unlisted = sum(max(found.differing - len(found.differences), 0) for found in contents)
    more = f" (and {plural(unlisted, 'more row')} not listed)" if unlisted else ""
    headers = (*HEADERS, "values in the source", "values in the destination") if with_values else HEADERS
    return Grid(f"{title}{more}", headers, rows)


def _rows(found: Contents, with_values: bool) -> Iterator[tuple[Cell, ...]]:
    for each in found.differences:
        row: tuple[Cell, ...] = (found.label, key_text(found.table, each.key), each.kind, ", ".join(each.fields))
        if with_values:
            sides = zip(*each.values.values(), strict=True) if each.values else ((), ())
            row += tuple(", ".join(map(shown_value, side)) for side in sides)
        yield row
