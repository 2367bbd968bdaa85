"""Foreign keys held against the rows: what points nowhere, and what would point nowhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.apps import apps

from ...console.wording import plural
from ..chunks import Restriction, key_text, order
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..engines.base.values import Convert
from ..findings import Cause, FoundRows
from ..tables import Kind, Reference, Table, converting_field, table_of
from .natural_keys import Mappings
from .parallel_queries import ParallelQueries

EXAMPLES = 3
LOOKUP = 500  # values in a statement, of which some databases take no more than 999


@dataclass(frozen=True)
class Orphans:
    """Rows of one table whose reference leads nowhere; ``keys`` are examples.

    ``has_other_case``: a row is there that the source takes for the right one, and the destination does not.
    """

    table: Table
    reference: Reference
    rows: int
    keys: tuple[str, ...]
    has_other_case: bool = False
    # The values that lead nowhere, where they are known and the rest of the rows' parents are not.
    values: tuple[Any, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        attname = self.table.column(self.reference.column).attname
        point = "points" if self.rows == 1 else "point"
        target = label_of(self.reference.target_table)
        return (
            f"{plural(self.rows, 'row')} {point} by {attname} at a row of {target} that is missing "
            f"{'in that spelling ' if self.has_other_case else ''}(for example primary key {', '.join(self.keys)})"
        )


def label_of(table: str) -> str:
    """Name the model of a table, or the table itself where no model has it."""
    models = apps.get_models(include_auto_created=True)
    return next((model._meta.label for model in models if model._meta.db_table == table), table)


def constrained(table: Table) -> Iterator[Reference]:
    """Give the references that have to lead somewhere: those with a constraint in the database."""
    return (reference for reference in table.references if reference.has_constraint)


def find_orphans(
    sessions: ParallelQueries,
    tables: Sequence[Table],
    rows: Mapping[str, int],
    *,
    trusts_constraints: bool = False,
    exactly: Collection[tuple[str, str]] = (),
) -> Callable[[], list[Orphans]]:
    """Ask for the orphans within one database, by an anti-join per reference; what this returns gives them.

    That there are none may be told of a later moment, for the destination's are looked up, too, when all is copied.
    ``rows``: about how many each table has, as far as that is known. ``trusts_constraints``: those that the database
    enforces were made after the rows, and held against them all. ``exactly`` names columns, each after its table, whose
    texts have to be those that they point at.
    """

    def find(table: Table, reference: Reference, engine: Engine) -> Orphans | None:
        is_exact = (table.name, reference.column) in exactly
        rows = int(engine.fetch_value(engine.orphan_query(table.name, reference, "COUNT(*)", exactly=is_exact)))
        if not rows:
            return None
        return Orphans(table, reference, rows, example_orphans(engine, table, reference, is_exact), is_exact)

    references = [(table, reference) for table in tables for reference in constrained(table)]
    if trusts_constraints:
        enforced = sessions.engine.catalogue.enforced([(table.name, reference) for table, reference in references])
        references = [asked for asked, is_enforced in zip(references, enforced, strict=True) if not is_enforced]
    answers = [
        sessions.ask(
            partial(find, table, reference), rows.get(table.name, 0), may_be_later=lambda dangling: dangling is None
        )
        for table, reference in references
    ]
    return lambda: [dangling for answer in answers if (dangling := answer()) is not None]


def example_orphans(engine: Engine, table: Table, reference: Reference, exactly: bool) -> tuple[str, ...]:
    """Name a few of the rows that a reference leaves dangling."""
    names = ", ".join(f"child.{engine.quote(name)}" for name in table.key) or "1"
    query = engine.orphan_query(table.name, reference, names, exactly=exactly)
    ordering = f" ORDER BY {names}" if table.key else ""
    return tuple(key_text(table, row) for row in engine.fetch_all(f"{query}{ordering} LIMIT {EXAMPLES}"))


def outside_references(dest: Engine, tables: Sequence[Table]) -> list[str]:
    """Name the tables outside of the selection whose rows point into it, also those that no model describes."""
    selected = {table.name for table in tables}
    described: set[str] = set()
    found = []
    for model in apps.get_models(include_auto_created=True):
        table = table_of(model)
        described.add(table.name)
        if table.name in selected or model._meta.proxy or model._meta.swapped:
            continue
        leading = [ref for ref in constrained(table) if ref.target_table in selected]
        stored = dest.catalogue.stored_columns(table.name) if leading else {}
        leading = [ref for ref in leading if ref.column in stored]
        targets = sorted({ref.target_table for ref in leading})
        if not leading:
            continue
        where = " OR ".join(f"{dest.quote(ref.column)} IS NOT NULL" for ref in leading)
        rows = dest.count(table.name, where)
        if rows:
            found.append(f"{table.label} ({plural(rows, 'row')} pointing into {', '.join(targets)})")
    for owner, column, target in dest.catalogue.pointing_at(selected, but=described):
        rows = dest.fetch_value(f"SELECT COUNT(*) FROM {owner} WHERE {column} IS NOT NULL")
        if rows:
            found.append(f"the table {owner} ({plural(rows, 'row')} pointing into {target})")
    return found


# -- rows that are added to a database that has others ---------------------------------------------------------------


def missing_parents(
    source: Engine,
    dest: Engine,
    table: Table,
    restriction: Restriction | None,
    selected: Mapping[str, Restriction | None],
    mappings: Mappings,
    *,
    trusts_whole: bool,
) -> list[Orphans]:
    """Find chosen rows whose parents are neither chosen nor in the destination.

    ``mappings`` tells of parents that the destination has under other ids; ``trusts_whole``: no row points nowhere
    within the source, as far as tables are chosen whole.
    """
    found = []
    whole = {name for name, chosen in selected.items() if chosen is None and trusts_whole}
    for reference in constrained(table):
        if reference.target_table in whole:
            continue
        wanted = _wanted(source, table, reference, restriction, selected)
        if reference.target_table in mappings:
            absent = [value for value in wanted if value not in mappings[reference.target_table]]
        else:
            absent = list(absent_in(dest, source, table, reference, wanted))
        if absent:
            rows, keys = _pointing_at(source, table, reference, restriction, absent)
            found.append(Orphans(table, reference, rows, keys, values=tuple(absent)))
    return found


def _wanted(
    source: Engine,
    table: Table,
    reference: Reference,
    restriction: Restriction | None,
    selected: Mapping[str, Restriction | None],
) -> Iterator[Any]:
    """Give the distinct values of a reference among the chosen rows that no chosen row answers to."""
    column = source.quote(reference.column)
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


def absent_in(dest: Engine, source: Engine, table: Table, reference: Reference, values: Iterator[Any]) -> Iterator[Any]:
    """Give the values that no row of the destination answers to."""
    column = table.column(reference.column)
    field = converting_field(column.field)
    target = dest.catalogue.stored_columns(reference.target_table)[reference.target_column]
    load = source.values.key_loader(column, source.catalogue.stored_columns(table.name)[column.name])
    load_there = None if column.kind is Kind.OTHER else dest.values.key_loader(column, target)
    dump = dest.values.dumper(column, target)
    for batch in _pages(values):
        by_param = {}
        for value in batch:
            neutral = load(value) if load else value
            param = dump(neutral) if dump else field.get_db_prep_value(neutral, dest.connection, prepared=False)
            by_param[param] = (value, neutral)
        marks = ", ".join(["%s"] * len(by_param))
        name = dest.quote(reference.target_column)
        sql = f"SELECT {name} FROM {dest.quote(reference.target_table)} WHERE {name} IN ({marks})"
        there = [row[0] for row in dest.fetch_all(sql, list(by_param))]
        present = {*there, *(map(load_there, there) if load_there else ())}
        yield from (value for param, (value, neutral) in by_param.items() if present.isdisjoint((param, neutral)))


def _pages(values: Iterator[Any], size: int = LOOKUP) -> Iterator[list[Any]]:
    page: list[Any] = []
    for value in values:
        page.append(value)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page


def _pointing_at(
    source: Engine, table: Table, reference: Reference, restriction: Restriction | None, values: list[Any]
) -> tuple[int, tuple[str, ...]]:
    """Count the chosen rows that point at these values, and name a few of them."""
    names = ", ".join(source.quote(name) for name in table.key) or "1"
    count = 0
    keys: list[Row] = []
    for page in _pages(iter(values)):
        where, params = pointing_at(source, reference, restriction, page)
        count += source.count(table.name, where, params)
        if len(keys) < EXAMPLES:
            sql = f"SELECT {names} FROM {source.quote(table.name)} WHERE {where}{order(source, table.key)}"
            keys += source.fetch_all(f"{sql} LIMIT {EXAMPLES}", params)
    return count, tuple(key_text(table, row) for row in keys[:EXAMPLES] if table.key)


def pointing_at(
    source: Engine, reference: Reference, restriction: Restriction | None, values: Sequence[Any]
) -> tuple[str, list[Any]]:
    """Build the condition for chosen rows that point at one of these values, and its parameters."""
    where = f"{source.quote(reference.column)} IN ({', '.join(['%s'] * len(values))})"
    if restriction is None:
        return where, [*values]
    return f"{where} AND ({restriction.sql})", [*values, *restriction.params]


def children_of(
    source: Engine, table: Table, reference: Reference, restriction: Restriction | None, values: Iterable[Any]
) -> Iterator[Row]:
    """Read the primary keys of chosen rows that point at one of these values."""
    names = ", ".join(source.quote(name) for name in table.key) or "1"
    for page in _pages(iter(values)):
        where, params = pointing_at(source, reference, restriction, page)
        yield from source.fetch_all(f"SELECT {names} FROM {source.quote(table.name)} WHERE {where}", params)


def orphan_rows(dangling: Orphans, restriction: Restriction | None = None) -> FoundRows:
    """Say how the rows are read whose reference leads nowhere; of chosen rows, those that ``restriction`` chooses."""
    table, reference = dangling.table, dangling.reference

    def keys(source: Engine) -> Iterator[Row]:
        if dangling.values:
            return children_of(source, table, reference, restriction, dangling.values)
        return _orphans(source, table, reference, exactly=dangling.has_other_case)

    return FoundRows(table.name, Cause.ORPHAN, keys)


def taken_rows(dest: Engine, table: Table, restriction: Restriction | None) -> FoundRows:
    """Say how the chosen rows are read whose primary key the destination has already."""
    return FoundRows(table.name, Cause.TAKEN, lambda source: taken_keys(source, dest, table, restriction))


def field_name(table: Table, reference: Reference) -> str:
    """Return the name of the field that a reference belongs to, as lookups have it."""
    fields = table.model._meta.local_concrete_fields
    return next((field.name for field in fields if field.column == reference.column), reference.column)


def _orphans(source: Engine, table: Table, reference: Reference, *, exactly: bool) -> Iterator[Row]:
    """Read the primary keys of the rows that a reference leaves dangling."""
    names = ", ".join(f"child.{source.quote(name)}" for name in table.key) or "1"
    for batch in source.stream(source.orphan_query(table.name, reference, names, exactly=exactly), ()):
        yield from batch


def existing_keys(
    source: Engine, dest: Engine, table: Table, restriction: Restriction | None
) -> tuple[int, tuple[str, ...]]:
    """Count the chosen rows whose primary key the destination has already, and name a few."""
    count = 0
    examples: list[str] = []
    for _, found in _looked_up(source, dest, table, restriction):
        count += len(found)
        examples += [key_text(table, row) for row in found[: EXAMPLES - len(examples)]]
    return count, tuple(examples)


def taken_keys(source: Engine, dest: Engine, table: Table, restriction: Restriction | None) -> Iterator[Row]:
    """Read the primary keys of the chosen rows that the destination has already, in the source's own values."""
    loads = _loads(source, table), _loads(dest, table)
    for page, found in _looked_up(source, dest, table, restriction):
        there = {_folded(loads[1], row) for row in found}
        yield from (row for row in page if _folded(loads[0], row) in there)


def _loads(engine: Engine, table: Table) -> list[Convert | None]:
    stored = engine.catalogue.stored_columns(table.name)
    return [engine.values.key_loader(table.column(name), stored[name]) for name in table.key]


def _folded(loads: Sequence[Convert | None], row: Row) -> Row:
    """Turn a key into values that are equal in both databases, whichever of them ignores the case of texts."""
    values = (load(value) if load else value for load, value in zip(loads, row, strict=True))
    return tuple(value.casefold().rstrip(" ") if isinstance(value, str) else value for value in values)


def chosen_among(
    source: Engine, dest: Engine, table: Table, restriction: Restriction | None, keys: Iterable[Row]
) -> Iterator[tuple[Row, Row]]:
    """Give the chosen rows' keys that are among these of the destination, as the source has them and as it has them."""
    loads = _loads(source, table), _loads(dest, table)
    wanted = {_folded(loads[1], key): key for key in keys}
    if not wanted:
        return
    names = ", ".join(source.quote(name) for name in table.key)
    where, params = (f" WHERE {restriction.sql}", restriction.params) if restriction else ("", ())
    for batch in source.stream(f"SELECT {names} FROM {source.quote(table.name)}{where}", params):
        for row in batch:
            if (folded := _folded(loads[0], row)) in wanted:
                yield row, wanted[folded]


def _looked_up(
    source: Engine, dest: Engine, table: Table, restriction: Restriction | None
) -> Iterator[tuple[list[Row], list[Row]]]:
    """Give the keys of chosen rows in pages, each with those among them that the destination has, as it has them."""
    if not table.key or dest.is_empty(table.name):
        return
    names = ", ".join(source.quote(name) for name in table.key)
    where, params = (f" WHERE {restriction.sql}", restriction.params) if restriction else ("", ())
    dest_stored = dest.catalogue.stored_columns(table.name)
    loads = _loads(source, table)
    dumps = [dest.values.dumper(table.column(name), dest_stored[name]) for name in table.key]
    test = " AND ".join(f"{dest.quote(name)} = %s" for name in table.key)
    dest_names = ", ".join(dest.quote(name) for name in table.key)
    rows = (
        row
        for batch in source.stream(f"SELECT {names} FROM {source.quote(table.name)}{where}", params)
        for row in batch
    )
    for page in _pages(rows, LOOKUP // len(table.key)):
        wanted = []
        for row in page:
            neutral = [load(value) if load else value for load, value in zip(loads, row, strict=True)]
            wanted += [dump(value) if dump else value for dump, value in zip(dumps, neutral, strict=True)]
        sql = " OR ".join([f"({test})"] * len(page))
        yield page, dest.fetch_all(f"SELECT {dest_names} FROM {dest.quote(table.name)} WHERE {sql}", wanted)
