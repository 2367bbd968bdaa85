"""The names of tables, which Django truncates to the length that the engine of ``default`` allows.

The automatic name of a model's table depends on the engine of the site. A move between two engines has two of them, and
only one is that of ``default`` in this process: in the other database, some tables may have other names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.utils import strip_quotes, truncate_name
from django.db.models import Model
from django.utils.connection import ConnectionDoesNotExist

from ...errors import MigratorError
from ..engines.base.session import with_table_names
from ..engines.registry import engine_for

Names = Mapping[type[Model], str]


def automatic_name(model: type[Model], length: int | None) -> str | None:
    """Return the name that Django gives a model's table if names have at most ``length`` characters.

    ``None`` if the model sets it. See ``Options.contribute_to_class`` and, for many-to-many tables, Django's
    ``ManyToManyField._get_m2m_db_table``: their names begin with the model's, which may be truncated already.
    """
    meta = model._meta
    if isinstance(owner := meta.auto_created, type):
        fields = [field for field in owner._meta.local_many_to_many if field.remote_field.through is model]
        if not fields or fields[0].db_table:
            return None
        base = automatic_name(owner, length) or owner._meta.db_table
        return str(truncate_name(f"{strip_quotes(base)}_{fields[0].name}", length))
    if "db_table" in meta.original_attrs:
        return None
    return str(truncate_name(f"{meta.app_label}_{meta.model_name}", length))


def names_with(length: int | None) -> dict[type[Model], str]:
    """Return the automatic names of tables if names have at most ``length`` characters, by model."""
    usual = connections[DEFAULT_DB_ALIAS].ops.max_name_length()
    found = {}
    for model in apps.get_models(include_auto_created=True):
        here, there = automatic_name(model, usual), automatic_name(model, length)
        # Otherwise the project has set the name.
        if here is not None and there is not None and here == model._meta.db_table:
            found[model] = there
    return found


@contextlib.contextmanager
def named_for(source: str, dest: str) -> Iterator[None]:
    """Within this context, give models the table names of the destination, and map them to those of the source.

    If one of the two databases is ``default``, these are the names that the site has with the destination's engine as
    ``default``; otherwise, the names that the destination has. Does nothing if all names are the same, as those of at
    most 63 characters are.
    """
    try:
        lengths = {alias: connections[alias].ops.max_name_length() for alias in (source, dest)}
    except (ConnectionDoesNotExist, ImproperlyConfigured, ImportError):  # reported when they are opened
        yield
        return
    usual = {model: model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    in_dest, in_source = names_with(lengths[dest]), names_with(lengths[source])
    if DEFAULT_DB_ALIAS not in (source, dest):
        own = {model: (usual[model], name) for model, name in in_dest.items() if name != usual[model]}
        in_dest |= _first_there(dest, own)
    changed = {model: name for model, name in in_dest.items() if name != usual[model]}
    either = {
        model: (in_source[model], usual[model], name)
        for model, name in in_dest.items()
        if {in_source[model], usual[model]} != {name}
    }
    there = _first_there(source, either)
    translated = {in_dest[model]: name for model, name in there.items() if name != in_dest[model]}
    with renamed(changed), with_table_names(source, translated):
        yield


def _first_there(alias: str, names: Mapping[type[Model], Sequence[str]]) -> dict[type[Model], str]:
    """Return, by model, the first of several names that the database has as a table, or the last of them."""
    found = {model: candidates[-1] for model, candidates in names.items()}
    if not names:
        return found
    engine = engine_for(connections[alias].copy())
    with contextlib.suppress(MigratorError, Error):  # reported when it is opened
        engine.check_address(must_exist=True)
        engine.connect()
        stored = engine.catalogue.stored_tables({name for candidates in names.values() for name in candidates})
        found |= {
            model: next((name for name in candidates if stored[name]), candidates[-1])
            for model, candidates in names.items()
        }
    engine.connection.close()
    return found


@contextlib.contextmanager
def renamed(names: Names) -> Iterator[None]:
    """Within this context, give models other table names."""
    former = {model: model._meta.db_table for model in names}
    _rename(names)
    try:
        yield
    finally:
        _rename(former)


def _rename(names: Names) -> None:
    for model, name in names.items():
        model._meta.db_table = name
        for field in model._meta.local_fields:
            vars(field).pop("cached_col", None)  # it holds the name


def names_elsewhere(model: type[Model]) -> list[str]:
    """Return the names that a model's table has with other engines, without its current name."""
    lengths = {connections[alias].ops.max_name_length() for alias in _usable_aliases()} | {None}
    names = {automatic_name(model, length) for length in lengths} - {None, model._meta.db_table}
    return sorted(name for name in names if name)


def _usable_aliases() -> Iterator[str]:
    for alias in connections:
        with contextlib.suppress(ImportError, ImproperlyConfigured):
            connections[alias].ops  # noqa: B018
            yield alias
