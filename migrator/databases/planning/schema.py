"""Whether both databases have the tables that the models describe."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

from ...console.wording import listed, plural, shortened
from ..engines.base.engine import Engine
from ..findings import Finding
from ..journal.records import TABLES as JOURNAL_TABLES
from ..tables import StoredColumn, Table
from .column_types import check_types
from .table_names import names_elsewhere

DJANGOS_OWN = ("django_migrations", *JOURNAL_TABLES)

StoredTables = Mapping[str, Mapping[str, StoredColumn]]


@dataclass(frozen=True)
class Pending:
    """What ``migrate --run-syncdb`` would do to a database: apply migrations, and create tables of apps without any.

    ``tables`` are the labels of their models.
    """

    migrations: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.migrations or self.tables)

    def creates(self, model: type[Model]) -> bool:
        """Return whether the table of a model may come of it."""
        meta = _maker(model)._meta
        return meta.label in self.tables or any(name.startswith(f"{meta.app_label}.") for name in self.migrations)

    def announced(self, alias: str) -> str:
        """Say what is to be done, as an order."""
        applied = f"apply {plural(len(self.migrations), 'migration')} to {alias!r}" if self.migrations else ""
        created = f"create {plural(len(self.tables), 'table')} of apps without migrations" if self.tables else ""
        where = "" if applied else f" in {alias!r}"
        return " and ".join(filter(None, (applied, created and created + where)))

    def reported(self, alias: str) -> str:
        """Say that it was done."""
        applied = f"{plural(len(self.migrations), 'migration was', 'migrations were')} applied to {alias!r}"
        created = f"{plural(len(self.tables), 'table was', 'tables were')} created in {alias!r}"
        return " and ".join([applied] * bool(self.migrations) + [created] * bool(self.tables))


def pending(connection: BaseDatabaseWrapper) -> Pending:
    """List the migrations that the project has and the database has not, and tables that no migration creates."""
    executor = MigrationExecutor(connection)
    return Pending(tuple(_unapplied(executor)), tuple(_not_created(executor)))


def _not_created(executor: MigrationExecutor) -> Iterator[str]:
    """List the models of apps without migrations whose tables are missing, as ``Command.sync_apps`` of Django does."""
    connection, labels = executor.connection, executor.loader.unmigrated_apps
    models = [
        model
        for config in apps.get_app_configs()
        if config.label in labels and config.models_module is not None
        for model in router.get_migratable_models(config, connection.alias)
        if model._meta.can_migrate(connection)
    ]
    if models:
        fold = connection.introspection.identifier_converter
        present = {fold(name) for name in connection.introspection.table_names()}
        yield from (model._meta.label for model in models if fold(model._meta.db_table) not in present)


def _unapplied(executor: MigrationExecutor) -> list[str]:
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def _newer(loader: MigrationLoader) -> set[str]:
    """List the applied migrations that come after all that the project has of their app: its code is an older one.

    Squashed migrations name those that they replace: these are known, whether their files are still there or not.
    """
    last: dict[str, str] = {}
    replaced: set[tuple[str, str]] = set()
    for (app_label, name), migration in (loader.disk_migrations or {}).items():
        last[app_label] = max(name, last.get(app_label, ""))
        replaced |= {(old_label, old_name) for old_label, old_name in migration.replaces}
    unknown = (loader.applied_migrations or {}).keys() - replaced
    return {f"{app_label}.{name}" for app_label, name in unknown if name > last.get(app_label, name)}


def check_migrations(
    source: Engine, dest: Engine, labels: set[str], *, will_migrate: bool, can_migrate: bool = True
) -> Iterator[Finding]:
    """Refuse databases on which migrations of the selected apps are missing.

    ``will_migrate``: those of the destination are about to be applied.
    """
    newer: dict[Engine, list[str]] = {}
    for engine in (source, dest):
        if not MigrationRecorder(engine.connection).has_table():
            if engine is source or not will_migrate:
                text = "it has no table of applied migrations, so only its tables and columns could be compared"
                yield Finding(engine.alias, text, "", stops=False)
            continue
        executor = MigrationExecutor(engine.connection)
        newer[engine] = sorted(name for name in _newer(executor.loader) if name.partition(".")[0] in labels)
        if engine is dest and will_migrate:
            continue
        if missing := [name for name in _unapplied(executor) if name.partition(".")[0] in labels]:
            advice = f"Run manage.py migrate --database {engine.alias}, or check out the code that fits this database."
            if engine is dest and can_migrate:
                advice = "Pass --migrate to apply them first."
                if is_unrecorded(executor):
                    advice = (
                        "Tables that they create are there already. If all are complete, record these migrations by "
                        f"manage.py migrate --database {engine.alias} --fake, or else choose an empty database."
                    )
            count = plural(len(missing), "migration is", "migrations are")
            yield Finding(engine.alias, f"{count} not applied: {shortened(missing)}", advice)
    yield from _ahead_of_the_code(newer)


def is_unrecorded(executor: MigrationExecutor) -> bool:
    """Return whether the first migration that is left has been applied, and its record is lost or was never made."""
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return bool(plan and executor.detect_soft_applied(None, plan[0][0])[0])


def _ahead_of_the_code(newer: Mapping[Engine, Sequence[str]]) -> Iterator[Finding]:
    """Note migrations that the code does not have, once where both databases have the same."""
    aliases: dict[tuple[str, ...], list[str]] = {}
    for engine, names in newer.items():
        aliases.setdefault(tuple(names), []).append(engine.alias)
    for names, owners in aliases.items():
        if names:
            yield Finding(
                listed(owners),
                f"migrations were applied there that this code does not have yet: {shortened(names)}",
                "Columns and tables that they made are not copied. Check out the code that fits that database.",
                stops=False,
            )


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
    """Compare the models' columns with those that both databases really have.

    Tables that are ``awaited``, which migrations will create or change, are not compared with the destination's.
    ``creatable``: what ``--migrate`` would do there, if it could be passed.
    """
    for table in tables:
        is_there = table.name not in awaited
        yield from _missing(table, source, source_has[table.name], is_dest=False)
        if is_there:
            yield from _missing(table, dest, dest_has[table.name], is_dest=True, creatable=creatable)
        elif reason := why_impossible(table.model, dest.connection):
            yield _impossible(table, dest, reason)
        elif too_long := _too_long(table, dest, [column.name for column in table.with_generated().columns]):
            yield too_long
        yield from _surplus(table, source, source_has[table.name])
        if is_there and source_has[table.name] and dest_has[table.name]:
            yield from _demanded(table, dest, dest_has[table.name])
            yield from _left_empty(table, dest, dest_has[table.name])
            yield from _computed(table, dest, dest_has[table.name])
    settled = [table for table in tables if table.name not in awaited]
    yield from check_types(settled, source, dest, source_has, dest_has)


def why_impossible(model: type[Model], connection: BaseDatabaseWrapper) -> str | None:
    """Return why Django makes no table for a model in a database (``Options.can_migrate``), None if it does."""
    owner = _maker(model)
    vendor, needed = owner._meta.required_db_vendor, owner._meta.required_db_features
    if vendor:
        return None if vendor == connection.vendor else f"its Meta.required_db_vendor is {vendor!r}"
    missing = [name for name in needed if not getattr(connection.features, name, False)]
    return f"it lacks {shortened(missing)} of the model's Meta.required_db_features" if missing else None


def _impossible(table: Table, engine: Engine, reason: str) -> Finding:
    return Finding(
        table.label,
        f"{engine.alias!r} cannot have this model's table: {reason}",
        f"Leave the model out with --exclude {_maker(table.model)._meta.label}.",
    )


def _maker(model: type[Model]) -> type[Model]:
    """Return the model that a table comes and goes with: for an automatic many-to-many table, that of the field."""
    maker: Any = model._meta.auto_created or model
    return cast("type[Model]", maker)


def _missing(
    table: Table,
    engine: Engine,
    stored: Mapping[str, StoredColumn],
    *,
    is_dest: bool,
    creatable: Pending | None = None,
) -> Iterator[Finding]:
    if not stored:
        if reason := why_impossible(table.model, engine.connection):
            yield _impossible(table, engine, reason)
            return
        if is_dest and (misnamed := _misnamed(table, engine)):
            yield misnamed
            return
        way_on = "Apply the project's migrations there"
        if creatable is not None:
            way_on = "No migration that is left creates it: run manage.py makemigrations, create it yourself"
            if creatable.creates(table.model):
                way_on = "Pass --migrate to create it"
        yield Finding(
            table.label,
            f"{engine.alias!r} has no table {table.name!r}",
            f"{way_on}, {_grant(engine)}or leave the model out with --exclude.",
        )
        return
    absent = [column.name for column in table.with_generated().columns if column.name not in stored]
    if too_long := _too_long(table, engine, absent):
        yield too_long
    elif absent:
        yield Finding(
            table.label,
            f"table {table.name!r} of {engine.alias!r} lacks the columns {shortened(absent)}",
            "Apply the project's migrations there, check out the code that fits that database, "
            f"{_grant(engine)}or leave the model out with --exclude.",
        )


def _misnamed(table: Table, dest: Engine) -> Finding | None:
    """Find a table under a name that the site, with this engine as `default`, will not look for."""
    for name in names_elsewhere(table.model):
        if dest.catalogue.stored_columns(name):
            return Finding(
                table.label,
                f"{dest.alias!r} has its table as {name!r}, and the site will look for {table.name!r} there, as Django "
                f"cuts automatic names to the length that the engine of {DEFAULT_DB_ALIAS!r} allows",
                f"Rename it: ALTER TABLE {dest.identifier(name)} RENAME TO {dest.identifier(table.name)}.",
            )
    return None


def _too_long(table: Table, engine: Engine, columns: Sequence[str]) -> Finding | None:
    """Find names that an engine cuts off or refuses: Django does not cut those of columns (its check models.E018)."""
    length = engine.connection.ops.max_name_length()
    names = [name for name in columns if length and len(name) > length]
    if not names:
        return None
    return Finding(
        table.label,
        f"names of columns in {engine.alias!r} have {length} characters at most, too few for {shortened(names)}",
        "Give the field a db_column, or a many-to-many field a through model of its own, before the move; or leave the "
        f"model out with --exclude {_maker(table.model)._meta.label}.",
    )


def _grant(engine: Engine) -> str:
    return "grant this user rights on all of it, " if engine.features.hides_tables_without_rights else ""


def _surplus(table: Table, source: Engine, stored: Mapping[str, StoredColumn]) -> Iterator[Finding]:
    known = {column.name for column in table.with_generated().columns}
    unknown = [name for name, column in stored.items() if name not in known and not column.is_generated]
    if unknown:
        yield Finding(
            table.label,
            f"columns of {source.alias!r} that the model does not know are not copied: {shortened(unknown)}",
            "Add them to the model first if they matter.",
            stops=False,
        )


def _demanded(table: Table, dest: Engine, stored: Mapping[str, StoredColumn]) -> Iterator[Finding]:
    length = dest.connection.ops.max_name_length()  # beyond which some engines cut
    known = {name for column in table.with_generated().columns for name in (column.name, column.name[:length])}
    demanded = [
        name
        for name, column in stored.items()
        if name not in known and not (column.nullable or column.has_default or column.is_generated)
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


def _computed(table: Table, dest: Engine, stored: Mapping[str, StoredColumn]) -> Iterator[Finding]:
    if computed := [c.name for c in table.columns if c.name in stored and stored[c.name].is_generated]:
        yield Finding(
            table.label,
            f"{dest.alias!r} computes columns by itself that the model fills: {shortened(computed)}",
            "Make them plain columns there, apply the project's migrations, or leave the model out with --exclude.",
        )


def tables_without_model(source: Engine, known: set[str]) -> list[str]:
    """List the source's tables that belong to no model of the project, and so are not copied."""
    return sorted(name for name in source.catalogue.table_names() if name not in known and name not in DJANGOS_OWN)
