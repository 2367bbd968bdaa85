"""Columns of a session model that no source knows, filled as ``Model.save()`` and the database would fill them.

Values come from a field's default, from ``pre_save()`` such as ``auto_now`` has, or from the database. The model is
made without its ``__init__()``: that would send signals to the project's receivers.
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
from ..layouts import ModelColumn

# Stands for a value that the database gives where the column is left out.
BY_DATABASE = object()


def bare_row(model: Any, alias: str, **values: Any) -> Any:
    """Return an instance with the defaults of its fields and these values; nothing of the project runs but defaults."""
    row = model.__new__(model)
    row._state = ModelState()
    row._state.db = alias
    for field in model._meta.concrete_fields:
        row.__dict__[field.attname] = values.get(field.attname) if field.attname in values else field.get_default()
    return row


def value_for(column: ModelColumn, row: Any) -> Any:
    """Return what ``save()`` of a new ``row`` would write, None where nothing tells.

    :data:`BY_DATABASE` stands for a ``db_default`` or a key that the database counts.
    """
    field = column.own
    if field is None:
        return None
    value = field.pre_save(row, True)
    if isinstance(value, DatabaseDefault) or hasattr(value, "resolve_expression"):
        return BY_DATABASE
    return BY_DATABASE if value is None and isinstance(field, AutoField) else value


def is_stamped_once(column: ModelColumn) -> bool:
    """Whether a column says when its row was made, so that a later state of the session does not change it."""
    return column.role == "created" or bool(getattr(column.own, "auto_now_add", False))


def user_of(data: Data) -> Any:
    """Return the key of the user who is logged in, None for nobody."""
    try:
        return get_user_model()._meta.pk.to_python(data[USER_KEY])
    except (KeyError, ValidationError):
        return None
