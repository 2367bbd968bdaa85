"""What tables are called where Django cuts their automatic names to the length that the engine of ``default`` allows.

A model's table has the name that its code gets with the engine that the site runs on. Whoever moves such a site has two
engines, and one of them is that of ``default`` in this process: the other database calls some tables otherwise.
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
    """Return the name that Django gives a model's table with an engine of that length, None if the model says it.

    Django does so in ``Options.contribute_to_class`` and, for tables of many-to-many fields, in
    ``ManyToManyField._get_m2m_db_table``: such a name begins with that of the model, which may be cut already.
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
    """Return the tables' names with an engine of that length, of the models whose name depends on it."""
    usual = connections[DEFAULT_DB_ALIAS].ops.max_name_length()
    found = {}
    for model in apps.get_models(include_auto_created=True):
        here, there = automatic_name(model, usual), automatic_name(model, length)
        # Anything else has named it by hand.
        if here is not None and there is not None and here == model._meta.db_table:
            found[model] = there
    return found


@contextlib.contextmanager
def named_for(source: str, dest: str) -> Iterator[None]:
    """Call the models' tables as the site will in the destination, and translate for the source, until this ends.

    The site will use the names that it gets with the destination's engine as ``default``, if one of the two is
    ``default``. Of two other databases the names that the destination has are taken. Does nothing where all names are
    the same, as those of 63 characters and fewer are.
    """
    try:
        lengths = {alias: connections[alias].ops.max_name_length() for alias in (source, dest)}
    except (ConnectionDoesNotExist, ImproperlyConfigured):  # as will be said where they are opened
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
    """Choose for each model the first of several names under which the database has a table; none, the last of them."""
    found = {model: candidates[-1] for model, candidates in names.items()}
    if not names:
        return found
    engine = engine_for(connections[alias].copy())
    with contextlib.suppress(MigratorError, Error):  # as will be said where it is opened
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
    """Let models use other tables for a while."""
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
            vars(field).pop("cached_col", None)  # Django keeps the name in there


def names_elsewhere(model: type[Model]) -> list[str]:
    """List the names that a table gets with other engines, its own left out."""
    lengths = {connections[alias].ops.max_name_length() for alias in _usable_aliases()} | {None}
    names = {automatic_name(model, length) for length in lengths} - {None, model._meta.db_table}
    return sorted(name for name in names if name)


def _usable_aliases() -> Iterator[str]:
    for alias in connections:
        with contextlib.suppress(ImportError, ImproperlyConfigured):
            connections[alias].ops  # noqa: B018
            yield alias
