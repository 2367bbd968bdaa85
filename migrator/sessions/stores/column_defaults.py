"""Columns of a session model that the source does not have, filled as ``Model.save()`` and the database would.

Values come from a field's default, from its ``pre_save()`` (as ``auto_now`` does), or from the database. The instance
is made without ``__init__()``, which would send signals to the project's receivers.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import AutoField
from django.db.models.base import ModelState
from django.db.models.expressions import DatabaseDefault

from ..codec import Data
from ..table_layouts import ModelColumn

# Stands for a value that the database fills in if the column is omitted.
BY_DATABASE = object()


def bare_row(model: Any, alias: str, **values: Any) -> Any:
    """Return an instance with these values and the defaults of its other fields; no other code of the project runs."""
    row = model.__new__(model)
    row._state = ModelState()
    row._state.db = alias
    for field in model._meta.concrete_fields:
        row.__dict__[field.attname] = values.get(field.attname) if field.attname in values else field.get_default()
    return row


def value_for(column: ModelColumn, row: Any) -> Any:
    """Return what ``save()`` of a new ``row`` would write, None if that is not known.

    :data:`BY_DATABASE` stands for a ``db_default`` or an automatic key.
    """
    field = column.own
    if field is None:
        return None
    value = field.pre_save(row, True)
    if isinstance(value, DatabaseDefault) or hasattr(value, "resolve_expression"):
        return BY_DATABASE
    return BY_DATABASE if value is None and isinstance(field, AutoField) else value


def is_stamped_once(column: ModelColumn) -> bool:
    """Whether a column holds when its row was created, which later states of the session do not change."""
    return column.role == "created" or bool(getattr(column.own, "auto_now_add", False))


def user_of(data: Data) -> Any:
    """Return the primary key of the user who is logged in, None if no one is."""
    try:
        return get_user_model()._meta.pk.to_python(data[USER_KEY])
    except (KeyError, ValidationError):
        return None
