"""Whether both databases have the tables that the models describe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from .engines.base.engine import Engine
from .findings import Finding
from .journal import TABLES as JOURNAL_TABLES
from .tables import StoredColumn, Table

SHOWN = 10
DJANGOS_OWN = ("django_migrations", *JOURNAL_TABLES)

StoredTables = Mapping[str, Mapping[str, StoredColumn]]


def shortened(names: Sequence[str], shown: int = SHOWN) -> str:
    """Join names for a message, a long list cut."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def unapplied_migrations(connection: BaseDatabaseWrapper) -> list[str]:
    """List the migrations that the project has and the database has not."""
    return _unapplied(MigrationExecutor(connection))


def _unapplied(executor: MigrationExecutor) -> list[str]:
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def _newer(loader: MigrationLoader) -> list[str]:
    """List the applied migrations that come after all that the project has of their app: its code is an older one."""
    last: dict[str, str] = {}
    for app_label, name in loader.disk_migrations or ():
        last[app_label] = max(name, last.get(app_label, ""))
    applied = sorted(loader.applied_migrations or ())
    return [f"{app_label}.{name}" for app_label, name in applied if name > last.get(app_label, name)]


def check_migrations(engine: Engine, labels: set[str], *, is_dest: bool) -> Iterator[Finding]:
    """Refuse a database on which migrations of the selected apps are missing."""
    recorder = MigrationRecorder(engine.connection)
    if not recorder.has_table():
        yield Finding(
            engine.alias,
            "it has no table of applied migrations, so only its tables and columns could be compared",
            "",
            stops=False,
        )
        return
    executor = MigrationExecutor(engine.connection)
    if newer := [name for name in _newer(executor.loader) if name.partition(".")[0] in labels]:
        yield Finding(
            engine.alias,
            f"migrations were applied there that this code does not have yet: {shortened(newer)}",
            "Columns and tables that they made are not copied. Check out the code that fits that database.",
            stops=False,
        )
    missing = [name for name in _unapplied(executor) if name.partition(".")[0] in labels]
    if missing:
        yield Finding(
            engine.alias,
            f"{len(missing)} migrations are not applied: {shortened(missing)}",
            f"Run manage.py migrate --database {engine.alias}{', or pass --migrate' if is_dest else ''}.",
        )


def check_columns(
    tables: Sequence[Table], source: Engine, dest: Engine, source_has: StoredTables, dest_has: StoredTables
) -> Iterator[Finding]:
    """Compare the models' columns with those that both databases really have."""
    for table in tables:
        for engine, catalogue in ((source, source_has), (dest, dest_has)):
            yield from _missing(table, engine, catalogue[table.name], is_dest=engine is dest)
        if source_has[table.name] and dest_has[table.name]:
            yield from _surplus(table, source, dest, source_has[table.name], dest_has[table.name])
            yield from _left_empty(table, dest, dest_has[table.name])


def _missing(table: Table, engine: Engine, stored: Mapping[str, StoredColumn], *, is_dest: bool) -> Iterator[Finding]:
    if not stored:
        way_on = "Pass --migrate to create it" if is_dest else "Apply the project's migrations there"
        yield Finding(
            table.label,
            f"{engine.alias!r} has no table {table.name!r}",
            f"{way_on}, or leave the model out with --exclude.",
        )
        return
    absent = [column.name for column in table.with_generated().columns if column.name not in stored]
    if absent:
        yield Finding(
            table.label,
            f"table {table.name!r} of {engine.alias!r} lacks the columns {shortened(absent)}",
            "Apply the project's migrations there, check out the code that fits that database, or leave the model out "
            "with --exclude.",
        )


def _surplus(
    table: Table,
    source: Engine,
    dest: Engine,
    source_stored: Mapping[str, StoredColumn],
    dest_stored: Mapping[str, StoredColumn],
) -> Iterator[Finding]:
    known = {column.name for column in table.with_generated().columns}
    unknown = [name for name, stored in source_stored.items() if name not in known and not stored.is_generated]
    if unknown:
        yield Finding(
            table.label,
            f"columns of {source.alias!r} that the model does not know are not copied: {shortened(unknown)}",
            "Add them to the model first if they matter.",
            stops=False,
        )
    demanded = [
        name
        for name, stored in dest_stored.items()
        if name not in known and not (stored.nullable or stored.has_default or stored.is_generated)
    ]
    if demanded:
        yield Finding(
            table.label,
            f"columns of {dest.alias!r} need a value that the model does not give: {shortened(demanded)}",
            "Give them a default in the destination, or remove them.",
        )


def _left_empty(table: Table, dest: Engine, stored: Mapping[str, StoredColumn]) -> Iterator[Finding]:
    generated = [stored[column.name] for column in table.generated if column.name in stored]
    plain = [column.name for column in generated if not column.is_generated]
    if plain:
        yield Finding(
            table.label,
            f"{dest.alias!r} does not compute what it should, and nobody would fill it: {shortened(plain)}",
            "Apply the project's migrations there, or leave the model out with --exclude.",
        )


def tables_without_model(source: Engine, known: set[str]) -> list[str]:
    """List the source's tables that belong to no model of the project, and so are not copied."""
    return sorted(name for name in source.catalogue.table_names() if name not in known and name not in DJANGOS_OWN)
