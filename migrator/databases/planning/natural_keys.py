"""Rows that both databases have under ids of their own: content types and permissions.

If such a model is not part of a run, foreign keys to it are mapped by the natural keys of its rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.db.models.query import QuerySet

from ..engines.base.engine import Engine
from ..tables import Table

# By model label, the field lookups of its natural key (natural_key() of Django's own managers).
NATURAL_KEYS: Mapping[str, tuple[str, ...]] = {
    "contenttypes.ContentType": ("app_label", "model"),
    "auth.Permission": ("content_type__app_label", "content_type__model", "codename"),
}


# The models whose tables Django's own ``migrate`` fills, by handlers of ``post_migrate``.
MADE_BY_MIGRATE = (*NATURAL_KEYS, "sites.Site")

# By table name, the id in the destination by the id in the source.
Mappings = Mapping[str, Mapping[Any, Any]]


def consulted_tables() -> list[str]:
    """Return the names of the tables that every run reads, whether or not they are part of it."""
    return [apps.get_model(label)._meta.db_table for label in NATURAL_KEYS if _is_installed(label)]


def made_by_migrate(engine: Engine, table: Table, rows: int) -> bool:
    """Whether a table's rows are those that Django's own ``migrate`` creates in a new database."""
    if table.label in NATURAL_KEYS:
        return True
    if table.label == "sites.Site" and rows == 1:
        return QuerySet(table.model, using=engine.alias).filter(domain="example.com").exists()
    return False


def id_mappings(source: Engine, dest: Engine, tables: Collection[str]) -> Mappings:
    """Map the ids of rows that both databases have, for each such table that is not among ``tables``.

    Returns the mappings of source ids to destination ids by table name, without the tables whose ids are equal.
    """
    found = {}
    for label, natural_key in NATURAL_KEYS.items():
        if not _is_installed(label):
            continue
        model = apps.get_model(label)
        table = model._meta.db_table
        if table in tables or not (source.catalogue.stored_columns(table) and dest.catalogue.stored_columns(table)):
            continue
        ids = [
            {tuple(row[1:]): row[0] for row in QuerySet(model, using=alias).values_list("pk", *natural_key)}
            for alias in (source.alias, dest.alias)
        ]
        mapping = {ids[0][key]: ids[1][key] for key in ids[0] if key in ids[1]}
        if any(old != new for old, new in mapping.items()) or len(mapping) < len(ids[0]):
            found[table] = mapping
    return found


def translations(source: Engine, dest: Engine, tables: Sequence[Table]) -> dict[str, dict[str, Mapping[Any, Any]]]:
    """Return, by table and column, the ids of the same rows in both databases, for tables that are compared.

    Only these tables are read.
    """
    held = {table.name for table in tables} | {ref.target_table for table in tables for ref in table.references}
    mappings = id_mappings(source, dest, set(consulted_tables()) - held)
    return {table.name: mapped_columns(table, mappings) for table in tables}


def _is_installed(label: str) -> bool:
    return apps.is_installed(f"django.contrib.{label.partition('.')[0]}")


def mapped_columns(table: Table, mappings: Mappings) -> dict[str, Mapping[Any, Any]]:
    """Return the mappings of a table's columns, by name: of its foreign keys, and of its own primary key."""
    found = {ref.column: mappings[ref.target_table] for ref in table.references if ref.target_table in mappings}
    if table.name in mappings and len(table.key) == 1:
        found[table.key[0]] = mappings[table.name]
    return found


def clear_caches() -> None:
    """Clear this process's caches of content types and sites, whose rows have been replaced."""
    for label in ("contenttypes.ContentType", "sites.Site"):
        if apps.is_installed(f"django.contrib.{label.partition('.')[0]}"):
            apps.get_model(label).objects.clear_cache()
