"""Texts that the source's collation compares regardless of case, and the destination's doesn't."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import UniqueConstraint

from ..tables import Column, Kind, Table
from .columns import Stored


def becomes_case_sensitive(column: Column, source_stored: Stored, dest_stored: Stored) -> bool:
    """Whether texts of a column that differ only in case are equal in the source, and not in the destination."""
    ignores_case = source_stored[column.name].ignores_case and not dest_stored[column.name].ignores_case
    return column.kind is Kind.TEXT and ignores_case


def unique_fields_becoming_case_sensitive(table: Table, source_stored: Stored, dest_stored: Stored) -> list[str]:
    """Return the unique fields of a table for which that is so, as ``app.Model.field``."""
    names = [
        column.attname
        for columns in _unique_sets(table)
        for column in columns
        if becomes_case_sensitive(column, source_stored, dest_stored)
    ]
    return [f"{table.label}.{name}" for name in dict.fromkeys(names)]


def _unique_sets(table: Table) -> Iterator[Sequence[Column]]:
    """Yield the sets of columns that a model declares unique for all rows."""
    meta = table.model._meta
    own = {column.attname: column for column in table.columns}
    by_name = {field.name: own[field.attname] for field in meta.local_concrete_fields if field.attname in own}
    for field in meta.local_concrete_fields:
        if field.unique and field.attname in own:
            yield [own[field.attname]]
    groups = [list(group) for group in meta.unique_together]
    groups += [
        list(constraint.fields)
        for constraint in meta.constraints
        if isinstance(constraint, UniqueConstraint) and constraint.fields and constraint.condition is None
    ]
    for group in groups:
        if all(name in by_name for name in group):
            yield [by_name[name] for name in group]
