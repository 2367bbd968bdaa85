"""The tables of a run, selected by labels of apps and models; what is left out, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.apps import apps
from django.db import router
from django.db.models import ForeignKey, Model

from ...console.suggestions import did_you_mean
from ...errors import UsageError
from ..tables import Table, table_of
from .natural_keys import MADE_BY_MIGRATE


@dataclass(frozen=True)
class LeftOut:
    """A model or table that is not copied, and the reason."""

    label: str
    reason: str


@dataclass(frozen=True)
class Choice:
    """The labels of apps and models that were asked for, all without any, and those to leave out."""

    labels: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


EVERYTHING = Choice()


@dataclass(frozen=True)
class Selection:
    """The tables of a run, each once, and what is left out."""

    tables: tuple[Table, ...]
    left_out: tuple[LeftOut, ...]
    # The models that labels name, without those whose tables are added to theirs.
    named: frozenset[type[Model]] = frozenset()
    # The names of the tables that are selected only because rows of others refer to theirs.
    brought: frozenset[str] = frozenset()
    choice: Choice = EVERYTHING

    @property
    def names(self) -> list[str]:
        """The tables' names in the database."""
        return [table.name for table in self.tables]


def models_of(label: str) -> list[type[Model]]:
    """Return the models of ``app_label`` or ``app_label.Model``, including automatic through models.

    Raises :exc:`UsageError` for a label that no installed app or model has.
    """
    app_label, _, model_name = label.partition(".")
    try:
        config = apps.get_app_config(app_label)
        if model_name:
            return [config.get_model(model_name)]
    except LookupError as error:
        raise UsageError(f"{label!r} is not an installed app or model: {error}{_suggestion(label)}") from None
    return list(config.get_models(include_auto_created=True))


def _suggestion(label: str) -> str:
    """Suggest labels like an unknown one: of models, or of apps for a label without a dot and models of that name."""
    models = [model._meta.label for model in apps.get_models(include_auto_created=True)]
    app_label, dot, _ = label.partition(".")
    if dot:
        in_app = [one for one in models if one.partition(".")[0] == app_label]
        return did_you_mean(label, in_app) or did_you_mean(label, models)
    same_name = [one for one in models if one.rpartition(".")[2].casefold() == label.casefold()]
    return did_you_mean(label, [config.label for config in apps.get_app_configs()]) or did_you_mean(
        f"{label}.{label}", same_name, similarity=0
    )


def with_their_tables(models: Iterable[type[Model]]) -> list[type[Model]]:
    """Return the models with those whose tables hold parts of their rows: concrete parents and many-to-many tables."""
    found: dict[type[Model], None] = {}
    for model in models:
        for owner in (*model._meta.all_parents, model):
            if owner._meta.proxy:
                continue
            found[owner] = None
            for field in owner._meta.local_many_to_many:
                through = field.remote_field.through
                if through is not None:
                    found[through] = None
    return list(found)


def with_their_parents(models: Iterable[type[Model]], excluded: Collection[type[Model]]) -> list[type[Model]]:
    """Return the models with those that they refer to, transitively, except excluded ones and those behind them.

    Django's ``migrate`` makes the rows of some models in every database: these are not followed.
    """
    found = dict.fromkeys(models)
    waiting = list(found)
    while waiting:
        model = waiting.pop()
        for field in model._meta.local_concrete_fields:
            parent = _concrete(field.related_model) if isinstance(field, ForeignKey) else None
            if parent in found or parent is None or parent in excluded or parent._meta.label in MADE_BY_MIGRATE:
                continue
            found[parent] = None
            waiting.append(parent)
    return list(found)


def select(
    *,
    source: str,
    dest: str,
    labels: Sequence[str] = (),
    exclude: Sequence[str] = (),
    brings_parents: bool = False,
) -> Selection:
    """Select the tables of all models of the project, or of ``labels``, without those of ``exclude``.

    With ``brings_parents`` also those that selected tables refer to, transitively. Proxies and swapped-out models have
    no table of their own. Unmanaged models are selected only by name.
    Raises :exc:`UsageError` for a label that names nothing.
    """
    by_name = {_concrete(model) for label in labels if "." in label for model in models_of(label)}
    by_app = {model for label in labels if "." not in label for model in models_of(label)}
    excluded = _excluded(exclude)
    wanted = with_their_tables(by_name | by_app) if labels else apps.get_models(include_auto_created=True)
    of_labels = {model._meta.db_table for model in wanted}
    if brings_parents:
        wanted = with_their_parents([model for model in wanted if model not in excluded], excluded)
    chosen: dict[str, type[Model]] = {}
    left_out: list[LeftOut] = []
    for model in sorted(wanted, key=lambda model: model._meta.label):
        reason = _reason_to_leave_out(model, source, dest, excluded, by_name)
        if reason:
            left_out.append(LeftOut(model._meta.label, reason))
            continue
        if model._meta.proxy or model._meta.swapped:
            continue
        _keep_once(chosen, left_out, model)
    if labels and not chosen:
        raise UsageError(f"Nothing to do: no table belongs to {', '.join(map(repr, labels))}.")
    return Selection(
        tuple(table_of(model) for model in chosen.values()),
        tuple(left_out),
        frozenset(by_name | by_app),
        frozenset(chosen.keys() - of_labels),
        Choice(tuple(labels), tuple(exclude)),
    )


def _concrete(model: type[Model]) -> type[Model]:
    concrete = model._meta.concrete_model
    return model if concrete is None else concrete


def _excluded(labels: Sequence[str]) -> set[type[Model]]:
    """Return the models that ``--exclude`` names, with their automatic through tables but not their parents."""
    models = {_concrete(model) if "." in label else model for label in labels for model in models_of(label)}
    throughs = {
        field.remote_field.through
        for model in models
        for field in model._meta.local_many_to_many
        if field.remote_field.through is not None and field.remote_field.through._meta.auto_created
    }
    return models | throughs


def _reason_to_leave_out(
    model: type[Model], source: str, dest: str, excluded: set[type[Model]], by_name: set[type[Model]]
) -> str | None:
    if model._meta.proxy or model._meta.swapped:
        return None
    if model in excluded:
        return "excluded"
    if not model._meta.managed and model not in by_name:
        return "unmanaged; name it to copy it"
    for alias in (source, dest):
        if not router.allow_migrate_model(alias, model):
            return f"the database router does not allow it in {alias!r}"
    return None


def _keep_once(chosen: dict[str, type[Model]], left_out: list[LeftOut], model: type[Model]) -> None:
    """Keep one model per table: the one with the most columns."""
    rival = chosen.setdefault(model._meta.db_table, model)
    if rival is model:
        return
    if len(model._meta.local_concrete_fields) > len(rival._meta.local_concrete_fields):
        chosen[model._meta.db_table] = model
        model, rival = rival, model
    left_out.append(LeftOut(model._meta.label, f"its table is copied as {rival._meta.label}"))
