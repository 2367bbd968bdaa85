"""Whether both databases have the tables that the models describe."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from django.db import DEFAULT_DB_ALIAS
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from ...console.wording import shortened
from ..engines.base.engine import Engine
from ..findings import Finding
from ..journal.records import ALL_TABLES as JOURNAL_TABLES
from ..tables import StoredColumn, Table
from .missing_tables import grant_advice, missing_tables
from .pending_migrations import Pending, creating_model
from .table_names import names_elsewhere

BOOKKEEPING_TABLES = ("django_migrations", *JOURNAL_TABLES)

StoredTables = Mapping[str, Mapping[str, StoredColumn]]


def check_columns(
    tables: Sequence[Table],
    source: Engine,
    dest: Engine,
    source_has: StoredTables,
    dest_has: StoredTables,
    awaited: Collection[str] = (),
    *,
    creatable: Pending | None = None,
) -> Iterator[Finding]:
    """Compare the models' columns with those of both databases.

    Tables that are ``awaited``, which migrations will create or change, are not compared with the destination's.
    ``creatable``: what ``--migrate`` would do there; ``None`` if it cannot be passed.
    """
    settled = [table for table in tables if table.name not in awaited]
    yield from missing_tables(source, _absent(tables, source, source_has), len(tables), creatable=None, is_source=True)
    absent = [table for table in _absent(settled, dest, dest_has) if not _misnamed(table, dest)]
    yield from missing_tables(dest, absent, len(tables), creatable=creatable, is_source=False)
    for table in tables:
        is_there = table.name not in awaited
        yield from _missing(table, source, source_has[table.name], is_dest=False)
        if is_there:
            yield from _missing(table, dest, dest_has[table.name], is_dest=True)
        elif reason := why_impossible(table.model, dest.connection):
            yield _impossible(table, dest, reason)
        elif too_long := _too_long(table, dest, [column.name for column in table.with_generated().columns]):
            yield too_long
        yield from _unknown_columns(table, source, source_has[table.name])
        if is_there and source_has[table.name] and dest_has[table.name]:
            yield from _required(table, dest, dest_has[table.name])
            yield from _not_generated(table, dest, dest_has[table.name])
            yield from _generated(table, dest, dest_has[table.name])


def why_impossible(model: type[Model], connection: BaseDatabaseWrapper) -> str | None:
    """Return why Django creates no table for a model in a database (``Options.can_migrate``), ``None`` if it does."""
    owner = creating_model(model)
    vendor, needed = owner._meta.required_db_vendor, owner._meta.required_db_features
    if vendor:
        return None if vendor == connection.vendor else f"its Meta.required_db_vendor is {vendor!r}"
    missing = [name for name in needed if not getattr(connection.features, name, False)]
    return f"it lacks {shortened(missing)} of the model's Meta.required_db_features" if missing else None


def _impossible(table: Table, engine: Engine, reason: str) -> Finding:
    return Finding(
        table.label,
        f"{engine.alias!r} cannot have this model's table: {reason}",
        f"Leave the model out with --exclude {creating_model(table.model)._meta.label}.",
    )


def _absent(tables: Sequence[Table], engine: Engine, stored: StoredTables) -> list[Table]:
    """Return the tables that a database lacks, though Django could create them there."""
    return [t for t in tables if not stored[t.name] and not why_impossible(t.model, engine.connection)]


def _missing(table: Table, engine: Engine, stored: Mapping[str, StoredColumn], *, is_dest: bool) -> Iterator[Finding]:
    """Find what a database lacks of a table, except a table that could simply be created there."""
    if stored:
        yield from _missing_columns(table, engine, stored)
    elif reason := why_impossible(table.model, engine.connection):
        yield _impossible(table, engine, reason)
    elif is_dest and (misnamed := _misnamed(table, engine)):
        yield misnamed


def _missing_columns(table: Table, engine: Engine, stored: Mapping[str, StoredColumn]) -> Iterator[Finding]:
    absent = [column.name for column in table.with_generated().columns if column.name not in stored]
    if too_long := _too_long(table, engine, absent):
        yield too_long
    elif absent:
        yield Finding(
            table.label,
            f"table {table.name!r} of {engine.alias!r} lacks the columns {shortened(absent)}",
            "Apply the project's migrations there, check out the code that matches that database, "
            f"{grant_advice(engine)}or leave the model out with --exclude.",
        )


def _misnamed(table: Table, dest: Engine) -> Finding | None:
    """Find a model's table under a name that a site whose ``default`` has this engine does not use."""
    for name in names_elsewhere(table.model):
        if dest.catalogue.stored_columns(name):
            return Finding(
                table.label,
                f"{dest.alias!r} has its table as {name!r}, but the site will use {table.name!r} there: Django "
                f"truncates automatic names to the length that the engine of {DEFAULT_DB_ALIAS!r} allows",
                f"Rename it: ALTER TABLE {dest.identifier(name)} RENAME TO {dest.identifier(table.name)}.",
            )
    return None


def _too_long(table: Table, engine: Engine, columns: Sequence[str]) -> Finding | None:
    """Find names that an engine truncates or rejects; Django truncates none of columns (system check models.E018)."""
    length = engine.connection.ops.max_name_length()
    names = [name for name in columns if length and len(name) > length]
    if not names:
        return None
    return Finding(
        table.label,
        f"column names in {engine.alias!r} have at most {length} characters, too few for {shortened(names)}",
        "Give the field a db_column, or a many-to-many field its own through model, before the move; or leave the "
        f"model out with --exclude {creating_model(table.model)._meta.label}.",
    )


def _unknown_columns(table: Table, source: Engine, stored: Mapping[str, StoredColumn]) -> Iterator[Finding]:
    known = {column.name for column in table.with_generated().columns}
    unknown = [name for name, column in stored.items() if name not in known and not column.is_generated]
    if unknown:
        yield Finding(
            table.label,
            f"columns of {source.alias!r} that the model does not have are not copied: {shortened(unknown)}",
            "Add them to the model first if they matter.",
            stops=False,
        )


def _required(table: Table, dest: Engine, stored: Mapping[str, StoredColumn]) -> Iterator[Finding]:
    length = dest.connection.ops.max_name_length()  # some engines truncate longer names
    known = {name for column in table.with_generated().columns for name in (column.name, column.name[:length])}
    required = [
        name
        for name, column in stored.items()
        if name not in known and not (column.nullable or column.has_default or column.is_generated)
    ]
    if required:
        yield Finding(
            table.label,
            f"columns of {dest.alias!r} require a value that the model does not have: {shortened(required)}",
            "Give them a default in the destination, or remove them.",
        )


def _not_generated(table: Table, dest: Engine, stored: Mapping[str, StoredColumn]) -> Iterator[Finding]:
    generated = [stored[column.name] for column in table.generated if column.name in stored]
    plain = [column.name for column in generated if not column.is_generated]
    if plain:
        yield Finding(
            table.label,
            f"generated fields are ordinary columns in {dest.alias!r}, and would stay empty: {shortened(plain)}",
            "Apply the project's migrations there, or leave the model out with --exclude.",
        )


def _generated(table: Table, dest: Engine, stored: Mapping[str, StoredColumn]) -> Iterator[Finding]:
    if computed := [c.name for c in table.columns if c.name in stored and stored[c.name].is_generated]:
        yield Finding(
            table.label,
            f"ordinary fields are generated columns in {dest.alias!r}: {shortened(computed)}",
            "Make them ordinary columns there, apply the project's migrations, or leave the model out with --exclude.",
        )


def tables_without_model(source: Engine, known: set[str]) -> list[str]:
    """Return the source's tables that no model of the project has; they are not copied."""
    return sorted(
        name for name in source.catalogue.table_names() if name not in known and name not in BOOKKEEPING_TABLES
    )
