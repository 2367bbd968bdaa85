"""``--filter``: which rows of the selected models are copied, as a condition on each table."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldError, ValidationError
from django.db.models import BooleanField, Model
from django.db.models.query import QuerySet

from ...console.suggestions import did_you_mean
from ...errors import UsageError
from ..chunks import Restriction
from ..engines.base.engine import Engine
from .selection import models_of
from .table_names import renamed

MANY_VALUES = ("in", "range")
TRUTH_VALUES: Mapping[str, bool] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Filter:
    """A field lookup with its value, for one model or, without one, for each model of the run."""

    lookup: str
    value: Any
    model: type[Model] | None = None


def parse_filter(text: str) -> Filter:
    """Parse ``field__lookup=value`` or ``app_label.Model:field__lookup=value``.

    Raises :exc:`UsageError` if the ``=`` is missing, if no model has the label, or if ``isnull`` has no truth value.
    """
    name, equals, value = text.partition("=")
    label, colon, lookup = name.rpartition(":")
    if not (equals and lookup):
        raise UsageError(f"--filter {text!r} is not a field lookup: field__lookup=value.")
    if colon and "." not in label:
        raise UsageError(f"--filter {text!r} names {label!r}, which is not a model: app_label.Model.")
    model = models_of(label)[0] if colon else None
    last = lookup.rpartition("__")[2]
    if last in MANY_VALUES:
        return Filter(lookup, value.split(","), model)
    if last == "isnull":
        if value.lower() not in TRUTH_VALUES:
            raise UsageError(f"--filter {text!r}: isnull takes true or false.")
        return Filter(lookup, TRUTH_VALUES[value.lower()], model)
    return Filter(lookup, value, model)


def check_filters(filters: Iterable[Filter], named: Collection[type[Model]]) -> None:
    """Raise :exc:`UsageError` for a filter whose model is not among those that are copied by name."""
    for model in {one.model for one in filters if one.model is not None}:
        if model._meta.concrete_model not in {one._meta.concrete_model for one in named}:
            labels = sorted(one._meta.label for one in named)
            meant = did_you_mean(model._meta.label, labels)
            raise UsageError(f"--filter is for {model._meta.label}, which is not one of the models to copy.{meant}")


def restrictions_for(
    source: Engine, tables: Sequence[type[Model]], named: Iterable[type[Model]], filters: Sequence[Filter]
) -> dict[str, Restriction | None]:
    """Return which rows of each table are selected, by name; ``None`` for all of them.

    Of a parent's table, these are the rows that belong to selected children; of a many-to-many table, the rows of
    selected models. If several named models select rows of one table, all of these are copied.
    """
    run_names = {source.stored_name(model._meta.db_table): model._meta.db_table for model in tables}
    every = apps.get_models(include_auto_created=True) if source.has_renamed_tables else []
    with renamed({model: source.stored_name(model._meta.db_table) for model in every}):
        found = _restrictions(source, tables, named, filters)
    return {run_names[table]: _any_of(parts) for table, parts in found.items()}


def _restrictions(
    source: Engine, tables: Sequence[type[Model]], named: Iterable[type[Model]], filters: Sequence[Filter]
) -> dict[str, list[Restriction | None]]:
    found: dict[str, list[Restriction | None]] = {model._meta.db_table: [] for model in tables}
    for model in named:
        if model._meta.db_table not in found:
            continue
        lookups = _lookups(model, filters)
        chosen = _chosen(source, model, lookups)
        own_key = [field.attname for field in model._meta.pk_fields]
        found[model._meta.db_table].append(_within(source, model, own_key, chosen, own_key) if lookups else None)
        for parent in model._meta.all_parents:
            link = model._meta.get_ancestor_link(parent)
            if parent._meta.db_table in found and link is not None:
                parent_key = [field.attname for field in parent._meta.pk_fields]
                found[parent._meta.db_table].append(_within(source, parent, parent_key, chosen, [link.attname]))
        for field in model._meta.many_to_many:
            through = field.remote_field.through
            if through is None or through in named or through._meta.db_table not in found:
                continue
            to_chosen: Any = through._meta.get_field(field.m2m_field_name())
            target = to_chosen.target_field.attname
            found[through._meta.db_table].append(
                _within(source, through, [to_chosen.attname], chosen, [target]) if lookups else None
            )
    return found


def _lookups(model: type[Model], filters: Iterable[Filter]) -> dict[str, Any]:
    """Return the lookups that apply to a model."""
    own = (one for one in filters if one.model is None or one.model._meta.concrete_model is model)
    return {one.lookup: _as_truth_value(model, one) for one in own}


def _as_truth_value(model: type[Model], one: Filter) -> Any:
    """Return the value of a filter: a boolean field also takes ``true`` and ``false``, which Django does not."""
    parts = one.lookup.removesuffix("__exact").split("__")
    meta: Any = model._meta
    for part in parts:
        field = next((field for field in meta.get_fields() if field.name == part), None)
        related = getattr(field, "related_model", None)
        if related is None:
            is_boolean = part == parts[-1] and isinstance(field, BooleanField)
            return TRUTH_VALUES.get(str(one.value).lower(), one.value) if is_boolean else one.value
        meta = related._meta
    return one.value


def _chosen(source: Engine, model: type[Model], lookups: Mapping[str, Any]) -> QuerySet[Any]:
    try:
        with warnings.catch_warnings():  # about a naive datetime, which Django interprets in TIME_ZONE
            warnings.simplefilter("ignore", RuntimeWarning)
            return QuerySet(model, using=source.alias).filter(**lookups).order_by()
    except (FieldError, ValidationError, ValueError, TypeError) as error:
        text = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        meant = _suggestion(model, lookups)
        raise UsageError(f"--filter cannot be applied to {model._meta.label}: {text}{meant}") from None


def _suggestion(model: type[Model], lookups: Iterable[str]) -> str:
    """Suggest a field for the first part of a lookup that names none, also after relations; empty if all parts do."""
    for lookup in lookups:
        meta: Any = model._meta
        relation: Any = None
        for part in lookup.split("__"):
            fields = {name: field for field in meta.get_fields() for name in (field.name, vars(field).get("attname"))}
            if part not in fields and part != "pk":
                if relation and relation.get_lookup(part):
                    break
                return did_you_mean(part, filter(None, fields))
            relation = fields.get(part)
            if not getattr(relation, "related_model", None):
                break
            meta = relation.related_model._meta
    return ""


def _within(
    source: Engine, model: type[Model], attnames: Sequence[str], chosen: QuerySet[Any], wanted: Sequence[str]
) -> Restriction:
    """Restrict a table to rows whose columns have values that the selected rows have in ``wanted``."""
    query = chosen.values_list(*wanted).query
    sql, params = query.get_compiler(using=source.alias).as_sql()
    columns = {field.attname: str(field.column) for field in model._meta.local_concrete_fields}
    names = ", ".join(source.quote(columns[attname]) for attname in attnames)
    return Restriction(f"{f'({names})' if len(attnames) > 1 else names} IN ({sql})", tuple(params))


def _any_of(parts: Sequence[Restriction | None]) -> Restriction | None:
    real = [part for part in parts if part is not None]
    if len(real) < len(parts) or not real:
        return None
    if len(real) == 1:
        return real[0]
    return Restriction(
        " OR ".join(f"({part.sql})" for part in real), tuple(value for part in real for value in part.params)
    )
