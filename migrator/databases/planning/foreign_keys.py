"""Foreign keys and the rows that break them: orphans within one database, and rows of tables outside a run."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.apps import apps
from django.db.models import ForeignKey, Model

from ...console.wording import plural
from ..engines.base.engine import Engine
from ..engines.base.session import Query, Row
from ..findings import Cause, FoundRows
from ..primary_keys import key_text
from ..tables import Reference, Table, table_of
from .parallel_queries import ParallelQueries, deferred

EXAMPLES = 3

# A reference with its table, and whether its texts must match their parents' exactly.
_LookedUp = tuple[Table, Reference, bool]


@dataclass(frozen=True)
class Orphans:
    """Rows of one table whose foreign key has no matching row; ``keys`` are the primary keys of a few, as text.

    ``has_other_case``: there is a row that matches to the source, which ignores case, and not to the destination.
    """

    table: Table
    reference: Reference
    rows: int
    keys: tuple[str, ...]
    has_other_case: bool = False
    # The values without a matching row, if the parents are in another database, which no anti-join can reach.
    values: tuple[Any, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        attname = self.table.column(self.reference.column).attname
        has = "has" if self.rows == 1 else "have"
        target = label_of(self.reference.target_table)
        return (
            f"{plural(self.rows, 'row')} {has} no matching row of {target} for {attname} "
            f"{'in the same letter case ' if self.has_other_case else ''}"
            f"(for example primary key {', '.join(self.keys)})"
        )


def label_of(table: str) -> str:
    """Return the label of a table's model, or the table's name if it has no model."""
    models = apps.get_models(include_auto_created=True)
    return next((model._meta.label for model in models if model._meta.db_table == table), table)


def field_name(table: Table, reference: Reference) -> str:
    """Return the name of the field that a reference belongs to, as field lookups use it."""
    fields = table.model._meta.local_concrete_fields
    return next((field.name for field in fields if field.column == reference.column), reference.column)


def constrained(table: Table) -> Iterator[Reference]:
    """Yield the references that have a foreign key constraint in the database."""
    return (reference for reference in table.references if reference.has_constraint)


def find_orphans(
    sessions: ParallelQueries,
    tables: Sequence[Table],
    rows: Mapping[str, int],
    *,
    trusts_constraints: bool = False,
    exactly: Collection[tuple[str, str]] = (),
) -> Future[list[Orphans]]:
    """Queue an anti-join for each foreign key of one database; the answer lists the orphans by table and foreign key.

    An answer without orphans may come from a later snapshot: the destination's are checked too once all is copied.
    ``rows``: about how many rows a table has, by table name, as far as known. ``trusts_constraints``: constraints that
    the database enforces were added after the rows, and checked against them all. ``exactly``: columns, as pairs of
    table and column name, whose texts must match their parents' exactly.
    """
    references = [(table, reference) for table in tables for reference in constrained(table)]
    if trusts_constraints:
        enforced = sessions.engine.catalogue.enforced([(table.name, reference) for table, reference in references])
        references = [asked for asked, is_enforced in zip(references, enforced, strict=True) if not is_enforced]
    looked_up = [(table, reference, (table.name, reference.column) in exactly) for table, reference in references]
    small: list[_LookedUp] = []
    large: list[_LookedUp] = []
    for one in looked_up:
        (small if sessions.should_join(rows.get(one[0].name, sys.maxsize)) else large).append(one)
    asked = [
        sessions.ask(
            partial(_find_orphans, of),
            sum(rows.get(table.name, 0) for table, _, _ in of),
            may_be_later=lambda orphans: not orphans,
        )
        for of in (small, *([one] for one in large))
        if of
    ]

    def in_order() -> list[Orphans]:
        found = {(one.table.name, one.reference): one for future in asked for one in future.result()}
        return [found[key] for table, reference in references if (key := (table.name, reference)) in found]

    return deferred(in_order)


def _find_orphans(looked_up: Sequence[_LookedUp], engine: Engine) -> list[Orphans]:
    """Count the orphans of each reference, of several in one statement."""
    queries: list[Query] = [
        (engine.orphan_query(table.name, reference, "COUNT(*)", exactly=exactly), ())
        for table, reference, exactly in looked_up
    ]
    return [
        Orphans(table, reference, int(count), _examples(engine, table, reference, exactly), exactly)
        for (table, reference, exactly), (count,) in zip(looked_up, engine.fetch_each(queries), strict=True)
        if count
    ]


def _examples(engine: Engine, table: Table, reference: Reference, exactly: bool) -> tuple[str, ...]:
    names = ", ".join(f"child.{engine.quote(name)}" for name in table.key) or "1"
    query = engine.orphan_query(table.name, reference, names, exactly=exactly)
    ordering = f" ORDER BY {names}" if table.key else ""
    return tuple(key_text(table, row) for row in engine.fetch_all(f"{query}{ordering} LIMIT {EXAMPLES}"))


def orphan_rows(orphans: Orphans) -> FoundRows:
    """Return how to read the primary keys of orphans within the source."""

    def keys(source: Engine) -> Iterator[Row]:
        names = ", ".join(f"child.{source.quote(name)}" for name in orphans.table.key) or "1"
        query = source.orphan_query(orphans.table.name, orphans.reference, names, exactly=orphans.has_other_case)
        for batch in source.stream(query, ()):
            yield from batch

    return FoundRows(orphans.table.name, Cause.ORPHAN, keys)


def _refers_to(model: type[Model], tables: Collection[str]) -> bool:
    fields = model._meta.local_concrete_fields
    return any(isinstance(field, ForeignKey) and field.target_field.model._meta.db_table in tables for field in fields)


def outside_references(dest: Engine, tables: Sequence[Table]) -> list[str]:
    """Describe the tables outside the run whose rows reference tables in it, including tables without a model."""
    selected = {table.name for table in tables}
    models = apps.get_models(include_auto_created=True)
    outside = [
        table_of(model)
        for model in models
        if not (model._meta.proxy or model._meta.swapped or model._meta.db_table in selected)
        and _refers_to(model, selected)
    ]
    leading = [(table, [ref for ref in constrained(table) if ref.target_table in selected]) for table in outside]
    stored = dest.catalogue.stored_tables([table.name for table, references in leading if references])
    # What is to be counted, with its name and what it references.
    asked: list[tuple[str, str, str]] = []
    for table, references in leading:
        there = [reference for reference in references if reference.column in stored[table.name]]
        if there:
            where = " OR ".join(f"{dest.quote(reference.column)} IS NOT NULL" for reference in there)
            targets = ", ".join(sorted({reference.target_table for reference in there}))
            asked.append((f"SELECT COUNT(*) FROM {dest.quote(table.name)} WHERE {where}", table.label, targets))
    described = {model._meta.db_table for model in models}
    for owner, column, target in dest.catalogue.foreign_keys_into(selected, but=described):
        query = f"SELECT COUNT(*) FROM {owner} WHERE {column} IS NOT NULL"
        asked.append((query, f"the table {owner}", target))
    counts = dest.fetch_each([(query, ()) for query, _, _ in asked])
    return [
        f"{name} ({plural(rows, 'row')} referencing {targets})"
        for (_, name, targets), (rows,) in zip(asked, counts, strict=True)
        if rows
    ]
