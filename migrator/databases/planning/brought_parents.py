"""``--with-parents``: the rows that chosen rows refer to, transitively, as a condition on each parent's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ...errors import UsageError
from ..chunks import Restriction
from ..engines.base.engine import Engine
from ..tables import Reference, Table
from .ordering import load_order

NO_ROWS = Restriction("0 = 1", ())

_Selected = Mapping[str, Restriction | None]  # by table name; ``None`` for all rows


def bring_parents(
    source: Engine, tables: Sequence[Table], selected: _Selected, brought: Collection[str]
) -> dict[str, Restriction | None]:
    """Return which rows of each table are selected if those come along that selected rows refer to.

    ``brought`` names the tables that are in the run for that alone. Raises :exc:`UsageError` for tables that refer to
    each other: SQL has no condition for that.
    """
    found: dict[str, Restriction | None] = {}
    children: list[Table] = []
    for group in reversed(load_order(tables)):  # children first
        if len(group) > 1:
            if any(table.name in brought or selected[table.name] for table in group):
                raise _cycle(group)
            found |= {table.name: None for table in group}
        else:
            (table,) = group
            own = NO_ROWS if table.name in brought else selected[table.name]
            if own is not None:
                own = _with_ancestors(source, table, _any_of(source, table, own, children, found))
            found[table.name] = own
        children += group
    return {table.name: found[table.name] for table in tables}


def _cycle(group: Sequence[Table]) -> UsageError:
    labels = " and ".join(table.label for table in group)
    return UsageError(
        f"--with-parents cannot follow foreign keys in a circle: {labels} refer to each other. Leave one of them out "
        "with --exclude, or name them without a filter, which copies all of their rows."
    )


def _any_of(
    source: Engine, table: Table, own: Restriction, children: Sequence[Table], selected: _Selected
) -> Restriction:
    """Return the condition for rows that are selected themselves, or that a selected row of a child refers to."""
    parts = [] if own is NO_ROWS else [own]
    for child in children:
        for reference in _references(child, table):
            chosen = selected[child.name] or Restriction("1 = 1", ())
            sql = f"SELECT {source.quote(reference.column)} FROM {source.quote(child.name)} WHERE {chosen.sql}"
            parts.append(Restriction(f"{source.quote(reference.target_column)} IN ({sql})", chosen.params))
    if not parts:
        return NO_ROWS
    sql = " OR ".join(f"({part.sql})" for part in parts)
    return Restriction(sql, tuple(value for part in parts for value in part.params))


def _with_ancestors(source: Engine, table: Table, chosen: Restriction) -> Restriction:
    """Add the rows that selected rows of the same table refer to, and those that these refer to."""
    references = _references(table, table)
    if not references or chosen is NO_ROWS:
        return chosen
    targets = {reference.target_column for reference in references}
    if len(targets) > 1:
        raise UsageError(
            f"--with-parents cannot follow the foreign keys of {table.label} to itself, because they refer to "
            "different columns. Leave the model out with --exclude, or name it without a filter, which copies all rows."
        )
    key, name = source.quote(targets.pop()), source.quote(table.name)
    # A recursive query may name itself once, so one row is made of each foreign key of a row.
    numbers = " UNION ALL ".join(f"SELECT {number} AS number" for number in range(len(references)))
    cases = " ".join(f"WHEN {i} THEN child.{source.quote(one.column)}" for i, one in enumerate(references))
    parent = f"CASE numbers.number {cases} END"
    sql = (
        f"{key} IN (WITH RECURSIVE ancestors (own) AS (SELECT {key} FROM {name} WHERE {chosen.sql} UNION "
        f"SELECT {parent} FROM ancestors JOIN {name} child ON child.{key} = ancestors.own "
        f"CROSS JOIN ({numbers}) numbers WHERE {parent} IS NOT NULL) SELECT own FROM ancestors)"
    )
    return Restriction(sql, chosen.params)


def _references(child: Table, parent: Table) -> list[Reference]:
    return [reference for reference in child.references if reference.target_table == parent.name]
