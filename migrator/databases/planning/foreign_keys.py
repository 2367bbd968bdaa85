"""Foreign keys and the rows that break them: orphans within one database, and rows of tables outside a run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.apps import apps

from ...console.wording import plural
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..findings import Cause, FoundRows
from ..primary_keys import key_text
from ..tables import Reference, Table, table_of
from .parallel_queries import ParallelQueries, deferred

EXAMPLES = 3


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
    asked = [
        sessions.ask(
            partial(_find_orphans, table, reference, (table.name, reference.column) in exactly),
            rows.get(table.name, 0),
            may_be_later=lambda orphans: orphans is None,
        )
        for table, reference in references
    ]
    return deferred(lambda: [orphans for future in asked if (orphans := future.result()) is not None])


def _find_orphans(table: Table, reference: Reference, exactly: bool, engine: Engine) -> Orphans | None:
    rows = int(engine.fetch_value(engine.orphan_query(table.name, reference, "COUNT(*)", exactly=exactly)))
    if not rows:
        return None
    return Orphans(table, reference, rows, _examples(engine, table, reference, exactly), exactly)


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


def outside_references(dest: Engine, tables: Sequence[Table]) -> list[str]:
    """Describe the tables outside the run whose rows reference tables in it, including tables without a model."""
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
            found.append(f"{table.label} ({plural(rows, 'row')} referencing {', '.join(targets)})")
    for owner, column, target in dest.catalogue.foreign_keys_into(selected, but=described):
        rows = dest.fetch_value(f"SELECT COUNT(*) FROM {owner} WHERE {column} IS NOT NULL")
        if rows:
            found.append(f"the table {owner} ({plural(rows, 'row')} referencing {target})")
    return found
