"""What chosen rows need or meet in the destination: the parents of their foreign keys, and their own primary keys."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...console.wording import plural
from ..chunks import Restriction, order_by
from ..endpoints import Endpoints
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..findings import Cause, Finding, FoundRows
from ..primary_keys import key_text
from ..tables import Reference, Table
from .foreign_keys import EXAMPLES, Orphans, constrained, field_name, label_of
from .key_lookup import absent_in, existing_keys, pages, taken_rows
from .natural_keys import Mappings
from .plan import TablePlan

_Selected = Mapping[str, Restriction | None]  # which rows of a table are part of the run, by table name


def check_parents(
    endpoints: Endpoints,
    tables: Sequence[TablePlan],
    mappings: Mappings,
    awaited: Collection[str] = (),
    *,
    trusts_whole: bool = True,
) -> Iterator[Finding]:
    """Check that the parents of rows are part of the run, as ``awaited`` tables are, or exist in the destination.

    ``mappings``: the ids that natural keys have in the destination. ``trusts_whole``: foreign keys within the source
    have been checked, as far as the parents' whole table is part of the run.
    """
    selected: dict[str, Restriction | None] = dict.fromkeys(awaited)
    selected |= {table.table.name: table.route.restriction for table in tables}
    for table in tables:
        chosen = table.route.restriction
        for absent in _missing_parents(
            endpoints.source, endpoints.dest, table.table, selected, mappings, trusts_whole=trusts_whole
        ):
            yield Finding(
                table.table.label,
                f"{absent}, neither in this run nor in {endpoints.dest.alias!r}",
                _advice_on_parents(absent, selected, can_bring="" if trusts_whole else ", or pass --with-parents"),
                is_about_rows=True,
                rows=_rows_without_parents(absent, chosen),
            )


def _advice_on_parents(absent: Orphans, selected: _Selected, *, can_bring: str) -> str:
    """Return how to get the parents of chosen rows into the destination; ``can_bring`` names an option for that."""
    target = absent.reference.target_table
    if target not in selected:
        return f"Copy the rows of {label_of(target)} too{can_bring}."
    if selected[target] is None:
        return "Delete or correct these rows in the source."
    lookup = f"{field_name(absent.table, absent.reference)}__LOOKUP=VALUE"
    return (
        f"The filter leaves those rows of {label_of(target)} out. Copy {absent.table.label} in a command of its own, "
        f"with that filter through its field: --filter {lookup}{can_bring}."
    )


def check_added(endpoints: Endpoints, tables: Sequence[TablePlan], mappings: Mappings) -> Iterator[Finding]:
    """Check a run that adds rows to those that the destination has."""
    yield from check_parents(endpoints, tables, mappings, trusts_whole=False)
    for table in tables:
        count, examples = existing_keys(endpoints.source, endpoints.dest, table.table, table.route.restriction)
        if count:
            yield Finding(
                table.table.label,
                f"{plural(count, 'chosen row has', 'chosen rows have')} a primary key that the destination already has "
                f"(for example {', '.join(examples)})",
                "Choose rows that are not there yet, or delete them there.",
                is_about_rows=True,
                rows=taken_rows(endpoints.dest, table.table, table.route.restriction),
            )


# -- queries -----------------------------------------------------------------------------------------------------------


def _missing_parents(
    source: Engine, dest: Engine, table: Table, selected: _Selected, mappings: Mappings, *, trusts_whole: bool
) -> Iterator[Orphans]:
    """Find chosen rows whose parents are neither chosen nor in the destination."""
    restriction = selected[table.name]
    whole = {name for name, chosen in selected.items() if chosen is None and trusts_whole}
    for reference in constrained(table):
        if reference.target_table in whole:
            continue
        wanted = _values_without_chosen_parent(source, table, reference, selected)
        if reference.target_table in mappings:
            absent = [value for value in wanted if value not in mappings[reference.target_table]]
        else:
            absent = list(absent_in(dest, source, table, reference, wanted))
        if absent:
            rows, keys = _count_children(source, table, reference, restriction, absent)
            yield Orphans(table, reference, rows, keys, values=tuple(absent))


def _values_without_chosen_parent(
    source: Engine, table: Table, reference: Reference, selected: _Selected
) -> Iterator[Any]:
    """Yield the distinct values of a foreign key in the chosen rows that no chosen parent has."""
    restriction, column = selected[table.name], source.quote(reference.column)
    parts: list[str] = [f"{column} IS NOT NULL"]
    params: list[Any] = []
    if restriction:
        parts.append(restriction.sql)
        params += restriction.params
    if reference.target_table in selected:
        target, parent_restriction = source.quote(reference.target_column), selected[reference.target_table]
        chosen = f"{target} IS NOT NULL"
        if parent_restriction:
            chosen += f" AND ({parent_restriction.sql})"
            params += parent_restriction.params
        parts.append(f"{column} NOT IN (SELECT {target} FROM {source.quote(reference.target_table)} WHERE {chosen})")
    where = " AND ".join(f"({part})" for part in parts)
    sql = f"SELECT DISTINCT {column} FROM {source.quote(table.name)} WHERE {where}"
    for batch in source.stream(sql, params):
        yield from (row[0] for row in batch)


def _count_children(
    source: Engine, table: Table, reference: Reference, restriction: Restriction | None, values: Sequence[Any]
) -> tuple[int, tuple[str, ...]]:
    """Return how many chosen rows have one of these values as their foreign key, and a few of their keys as text."""
    names = ", ".join(source.quote(name) for name in table.key) or "1"
    count = 0
    keys: list[Row] = []
    for page in pages(values):
        where, params = _having(source, reference, restriction, page)
        count += source.count(table.name, where, params)
        if len(keys) < EXAMPLES:
            sql = f"SELECT {names} FROM {source.quote(table.name)} WHERE {where}{order_by(source, table.key)}"
            keys += source.fetch_all(f"{sql} LIMIT {EXAMPLES}", params)
    return count, tuple(key_text(table, row) for row in keys[:EXAMPLES] if table.key)


def children_of(
    source: Engine, table: Table, reference: Reference, restriction: Restriction | None, values: Iterable[Any]
) -> Iterator[Row]:
    """Yield the primary keys of chosen rows that have one of these values as their foreign key."""
    names = ", ".join(source.quote(name) for name in table.key) or "1"
    for page in pages(values):
        where, params = _having(source, reference, restriction, page)
        yield from source.fetch_all(f"SELECT {names} FROM {source.quote(table.name)} WHERE {where}", params)


def _rows_without_parents(absent: Orphans, restriction: Restriction | None) -> FoundRows:
    table, reference, values = absent.table, absent.reference, absent.values
    return FoundRows(
        table.name, Cause.ORPHAN, lambda source: children_of(source, table, reference, restriction, values)
    )


def _having(
    source: Engine, reference: Reference, restriction: Restriction | None, values: Sequence[Any]
) -> tuple[str, list[Any]]:
    """Build the condition for chosen rows with one of these values as their foreign key, and its parameters."""
    where = f"{source.quote(reference.column)} IN ({', '.join(['%s'] * len(values))})"
    if restriction is None:
        return where, [*values]
    return f"{where} AND ({restriction.sql})", [*values, *restriction.params]
