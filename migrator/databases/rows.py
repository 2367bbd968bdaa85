"""Chosen models and rows, added to a destination that may already hold others."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldError, ValidationError
from django.db.models import Model
from django.db.models.query import QuerySet

from ..conf import load
from ..errors import UsageError
from ..interrupts import Interrupts
from .abandoning import abandon_run
from .choices import RESUME_HINT, Choices, Watcher, check_choices
from .chunks import Restriction
from .ends import open_ends
from .engines.base.engine import Engine
from .move import Move
from .naming import named_for, renamed
from .outcome import Outcome
from .selection import select

MANY_VALUES = ("in", "range")
TRUTHS: Mapping[str, bool] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def batch_migrate_models(
    *,
    models: Sequence[str],
    source: str,
    dest: str,
    filters: Sequence[str] = (),
    exclude: Sequence[str] = (),
    chunk_size: int | None = None,
    dry_run: bool = False,
    resume: bool = False,
    trust_done: bool = False,
    cleanup: bool = False,
    keep_triggers: bool = False,
    verify: str = "count",
    on_error: str = "stop",
    rejects: Path | None = None,
    keep_journal: bool = False,
    jobs: int = 1,
    resume_hint: str = RESUME_HINT,
    watcher: Watcher | None = None,
) -> Outcome:
    """Copy the rows of chosen models, with their parents' tables and many-to-many tables, beside those that are there.

    ``models`` are ``app_label.Model``; ``filters`` are Django lookups as ``field__lookup=value``, which all have to be
    met and which apply to each of the models (``in`` and ``range`` take values separated by commas). ``exclude`` leaves
    out apps or models that would come along.

    Raises :exc:`~migrator.errors.UsageError` for unknown models and lookups, :exc:`~migrator.errors.Refused` where a
    chosen row's parent is missing or its key is taken, and what :func:`~migrator.databases.copy.batch_migrate` raises.
    """
    settings = load()
    choices = Choices(
        settings.CHUNK_SIZE if chunk_size is None else chunk_size,
        dry_run=dry_run,
        resume=resume,
        trust_done=trust_done,
        cleanup=cleanup,
        keep_triggers=keep_triggers,
        verify=verify,
        on_error=on_error,
        rejects=rejects,
        keep_journal=keep_journal,
        jobs=jobs,
        resume_hint=resume_hint,
    )
    check_choices(choices, dest)
    if not models:
        raise UsageError("Name at least one model, as app_label.Model.")
    lookups = dict(parse_filter(text) for text in filters)
    watcher = watcher or Watcher()
    if cleanup:
        return abandon_run(source=source, dest=dest, labels=models, exclude=exclude, choices=choices, watcher=watcher)
    with ExitStack() as stack:
        stack.enter_context(named_for(source, dest))
        selection = select(source=source, dest=dest, labels=models, exclude=exclude)
        interrupts = stack.enter_context(Interrupts())
        ends = stack.enter_context(
            open_ends(source, dest, settings, selection.names, jobs=choices.jobs, is_dry=dry_run)
        )
        restrictions = restrictions_for(
            ends.source, [table.model for table in selection.tables], selection.named, lookups
        )
        move = Move(ends, selection, choices, watcher, interrupts, restrictions, adds_rows=True)
        return move.make(is_whole=False)


def parse_filter(text: str) -> tuple[str, Any]:
    """Read ``field__lookup=value``.

    Raises :exc:`UsageError` where there is no ``=`` or a truth value cannot be understood.
    """
    lookup, equals, value = text.partition("=")
    if not (equals and lookup):
        raise UsageError(f"--filter {text!r} is no field__lookup=value.")
    last = lookup.rpartition("__")[2]
    if last in MANY_VALUES:
        return lookup, value.split(",")
    if last == "isnull":
        if value.lower() not in TRUTHS:
            raise UsageError(f"--filter {text!r}: isnull takes true or false.")
        return lookup, TRUTHS[value.lower()]
    return lookup, value


def restrictions_for(
    source: Engine, tables: Sequence[type[Model]], named: Iterable[type[Model]], lookups: Mapping[str, Any]
) -> dict[str, Restriction | None]:
    """Say for each table which of its rows are chosen: ``None`` for all of them.

    A parent's table gives the rows that the chosen ones are spread over, and a many-to-many table those that belong
    to chosen rows; what several named models choose of one table adds up.
    """
    run_names = {source.stored_name(model._meta.db_table): model._meta.db_table for model in tables}
    every = apps.get_models(include_auto_created=True) if source.has_other_names else []
    with renamed({model: source.stored_name(model._meta.db_table) for model in every}):
        found = _restrictions(source, tables, named, lookups)
    return {run_names[table]: _any_of(parts) for table, parts in found.items()}


def _restrictions(
    source: Engine, tables: Sequence[type[Model]], named: Iterable[type[Model]], lookups: Mapping[str, Any]
) -> dict[str, list[Restriction | None]]:
    found: dict[str, list[Restriction | None]] = {model._meta.db_table: [] for model in tables}
    for model in named:
        if model._meta.db_table not in found:
            continue
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


def _chosen(source: Engine, model: type[Model], lookups: Mapping[str, Any]) -> QuerySet[Any]:
    try:
        with warnings.catch_warnings():  # of a time without its zone, which Django takes to be in TIME_ZONE
            warnings.simplefilter("ignore", RuntimeWarning)
            return QuerySet(model, using=source.alias).filter(**lookups).order_by()
    except (FieldError, ValidationError, ValueError, TypeError) as error:
        text = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        raise UsageError(f"--filter does not fit {model._meta.label}: {text}") from None


def _within(
    source: Engine, model: type[Model], attnames: Sequence[str], chosen: QuerySet[Any], wanted: Sequence[str]
) -> Restriction:
    """Restrict a table to rows whose columns are among the wanted ones of the chosen rows."""
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
