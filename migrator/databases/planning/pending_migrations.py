"""Migrations that a database lacks, and tables that no migration creates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.apps import apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

from ...console.wording import listed, plural, shortened
from ..engines.base.engine import Engine
from ..findings import Finding


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
        """Whether it may create the table of a model."""
        meta = creating_model(model)._meta
        return meta.label in self.tables or any(name.startswith(f"{meta.app_label}.") for name in self.migrations)

    def announced(self, alias: str) -> str:
        """Return what is to be done, in the imperative."""
        applied = f"apply {plural(len(self.migrations), 'migration')} to {alias!r}" if self.migrations else ""
        created = f"create {plural(len(self.tables), 'table')} of apps without migrations" if self.tables else ""
        where = "" if applied else f" in {alias!r}"
        return " and ".join(filter(None, (applied, created and created + where)))

    def reported(self, alias: str) -> str:
        """Return that it was done, in the past tense."""
        applied = f"{plural(len(self.migrations), 'migration was', 'migrations were')} applied to {alias!r}"
        created = f"{plural(len(self.tables), 'table was', 'tables were')} created in {alias!r}"
        return " and ".join([applied] * bool(self.migrations) + [created] * bool(self.tables))


def creating_model(model: type[Model]) -> type[Model]:
    """Return the model that a table is created with: for an automatic many-to-many table, the model of the field."""
    maker: Any = model._meta.auto_created or model
    return cast("type[Model]", maker)


def pending(connection: BaseDatabaseWrapper) -> Pending:
    """Return the project's migrations that a database lacks, and the tables that no migration creates."""
    executor = MigrationExecutor(connection)
    return Pending(tuple(_unapplied(executor)), tuple(_not_created(executor)))


def _not_created(executor: MigrationExecutor) -> Iterator[str]:
    """Yield the models of apps without migrations whose tables are missing, as Django's ``Command.sync_apps`` does."""
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
    """Return the applied migrations that are newer than all of the project's for their app: the code is outdated.

    Squashed migrations name those that they replace; these are known even if their files have been deleted.
    """
    last: dict[str, str] = {}
    replaced: set[tuple[str, str]] = set()
    for (app_label, name), migration in (loader.disk_migrations or {}).items():
        last[app_label] = max(name, last.get(app_label, ""))
        replaced |= {(old_label, old_name) for old_label, old_name in migration.replaces}
    unknown = (loader.applied_migrations or {}).keys() - replaced
    return {f"{app_label}.{name}" for app_label, name in unknown if name > last.get(app_label, name)}


def check_migrations(
    source: Engine, dest: Engine, labels: set[str], *, will_migrate: bool, can_migrate: bool, bare: Collection[Engine]
) -> Iterator[Finding]:
    """Check that both databases have the migrations of the selected apps, except ``bare`` ones, which lack all tables.

    ``will_migrate``: the destination's are about to be applied; ``can_migrate``: ``--migrate`` could apply them.
    """
    newer: dict[Engine, list[str]] = {}
    for engine in [engine for engine in (source, dest) if engine not in bare]:
        if not MigrationRecorder(engine.connection).has_table():
            if engine is source or not will_migrate:
                text = "it has no table of applied migrations, so only its tables and columns can be compared"
                yield Finding(engine.alias, text, "", stops=False)
            continue
        executor = MigrationExecutor(engine.connection)
        newer[engine] = sorted(name for name in _newer(executor.loader) if name.partition(".")[0] in labels)
        if engine is dest and will_migrate:
            continue
        if missing := [name for name in _unapplied(executor) if name.partition(".")[0] in labels]:
            advice = _advice(executor, engine.alias, can_migrate=engine is dest and can_migrate)
            count = plural(len(missing), "migration is", "migrations are")
            yield Finding(engine.alias, f"{count} not applied: {shortened(missing)}", advice)
    yield from _ahead_of_the_code(newer)


def _advice(executor: MigrationExecutor, alias: str, *, can_migrate: bool) -> str:
    if not can_migrate:
        return f"Run manage.py migrate --database {alias}, or check out the code that matches this database."
    if is_unrecorded(executor):
        return (
            "Tables that they create exist already. If all are complete, record these migrations with "
            f"manage.py migrate --database {alias} --fake; otherwise choose an empty database."
        )
    return "Pass --migrate to apply them first."


def is_unrecorded(executor: MigrationExecutor) -> bool:
    """Whether the next pending migration has been applied without a record of it."""
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return bool(plan and executor.detect_soft_applied(None, plan[0][0])[0])


def _ahead_of_the_code(newer: Mapping[Engine, Sequence[str]]) -> Iterator[Finding]:
    """Note migrations that the code does not have; once if both databases have the same."""
    aliases: dict[tuple[str, ...], list[str]] = {}
    for engine, names in newer.items():
        aliases.setdefault(tuple(names), []).append(engine.alias)
    for names, owners in aliases.items():
        if names:
            yield Finding(
                listed(owners),
                f"migrations were applied there that this code does not have yet: {shortened(names)}",
                "Columns and tables that they created are not copied. Check out the code that matches that database.",
                stops=False,
            )
