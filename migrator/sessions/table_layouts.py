"""The table and the columns that hold the sessions of a model, whether its app is installed or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models
from django.db.models.expressions import Col
from django.utils import timezone

from ..errors import Refused, UsageError
from ..stores.table.layout import Layout, LayoutColumn

STOCK_MODEL = "sessions.Session"
# What the columns of session models mean, by the attribute names that the packages use.
ROLES = {
    "user_id": "user",
    "ip": "ip",
    "user_agent": "user_agent",
    "created_at": "created",
    "updated_at": "updated",
    "last_activity": "updated",
}


@dataclass(frozen=True)
class ModelColumn:
    """A column in addition to key, data and expiry: its role, maximum length, whether it accepts NULL, and its field.

    Without a field, values are read and written unchanged. ``own`` is the model's own field, which differs from
    ``field`` for a foreign key; None for a model whose app is not installed.
    """

    role: str
    column: LayoutColumn
    max_length: int | None = None
    takes_null: bool = True
    field: Any = None
    own: Any = None

    @property
    def is_key_of_user(self) -> bool:
        """Whether the database may reject a user that does not exist."""
        return self.role == "user" and (self.own is None or self.own.is_relation)

    def at(self, connection: Any) -> LayoutColumn:
        """Return the column for one database, with the conversions of its field."""
        if self.field is None or self.column.is_moment:
            return self.column
        field, expression = self.field, Col(self.column.name, self.field)
        converters = [*connection.ops.get_db_converters(expression), *field.get_db_converters(connection)]

        def load(value: Any) -> Any:
            for convert in converters:
                value = convert(value, expression, connection)
            return value

        def dump(value: Any) -> Any:
            return field.get_db_prep_save(value, connection)

        return replace(self.column, load=load if converters else None, dump=dump)


@dataclass(frozen=True)
class SessionLayout:
    """A session table. ``model`` is None if its app is not installed, ``longest_key`` if a key may have any length."""

    name: str
    layout: Layout
    columns: tuple[ModelColumn, ...]
    model: type[models.Model] | None
    longest_key: int | None = 40

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(column.role for column in self.columns)


def _user_column(name: str) -> ModelColumn:
    return ModelColumn("user", LayoutColumn(name), field=_key_of(get_user_model()._meta.pk))


def _key_of(field: Any) -> Any:
    """Return the field that defines the values of a foreign key, at the end of a chain of foreign keys."""
    while field.is_relation:
        field = field.target_field
    return field


def _address_column(name: str) -> ModelColumn:
    return ModelColumn("ip", LayoutColumn(name), field=models.GenericIPAddressField())


def _text(role: str, name: str, max_length: int) -> ModelColumn:
    return ModelColumn(role, LayoutColumn(name), max_length)


def _moment(role: str, name: str, *, takes_null: bool) -> ModelColumn:
    return ModelColumn(role, LayoutColumn(name, is_moment=True), takes_null=takes_null)


# The two packages cannot be installed together, so one of them is read without its model.
UNINSTALLED: dict[str, Callable[[], tuple[str, tuple[ModelColumn, ...]]]] = {
    STOCK_MODEL: lambda: ("django_session", ()),
    "user_sessions.Session": lambda: (
        "user_sessions_session",
        (
            _user_column("user_id"),
            _text("user_agent", "user_agent", 200),
            _moment("updated", "last_activity", takes_null=False),
            _address_column("ip"),
        ),
    ),
    "qsessions.Session": lambda: (
        "qsessions_session",
        (
            _user_column("user_id"),
            _text("user_agent", "user_agent", 300),
            _moment("created", "created_at", takes_null=True),
            _moment("updated", "updated_at", takes_null=False),
            _address_column("ip"),
        ),
    ),
}


def session_layout(name: str) -> SessionLayout:
    """Return the table of a session model, named ``app_label.Model``.

    Raises :exc:`UsageError` for a model that is neither installed nor known, :exc:`Refused` for one without
    sessions.
    """
    try:
        return _installed(name, apps.get_model(name))
    except (LookupError, ValueError) as error:
        if name in UNINSTALLED:
            table, columns = UNINSTALLED[name]()
            return SessionLayout(name, _layout(name, table, columns), columns, None)
        known = ", ".join(UNINSTALLED)
        raise UsageError(
            f"The session model {name!r} does not exist: {str(error).removesuffix('.')}. Models that are known without "
            f"their app: {known}."
        ) from None


def _layout(name: str, table: str, columns: tuple[ModelColumn, ...]) -> Layout:
    return Layout(
        table,
        "session_key",
        "session_data",
        "expire_date",
        tuple(column.column for column in columns),
        missing_hint=f"Run migrate {name.partition('.')[0]} for it first, with --database",
    )


def _installed(name: str, model: type[models.Model]) -> SessionLayout:
    found = {field.attname: field for field in model._meta.concrete_fields if not field.generated}
    base = [found.pop(part, None) for part in ("session_key", "session_data", "expire_date")]
    if None in base:
        raise Refused(f"{name!r} does not keep sessions: it lacks session_key, session_data or expire_date.")
    for field, kinds in zip(base, _PLAIN, strict=True):
        if field is not None and (not isinstance(field, kinds) or _has_own_values(field)):
            raise Refused(
                f"{name!r} keeps {field.attname} in a {type(field).__name__}, but sessions are copied as the text and "
                f"times of Django's own fields. batch_migrate_models {name} copies its rows unchanged to another "
                "database."
            )
    columns = tuple(_model_column(field) for field in found.values())
    key, data, expires = (str(field.column) for field in base if field is not None)
    app = model._meta.app_label
    layout = Layout(
        model._meta.db_table,
        key,
        data,
        expires,
        tuple(column.column for column in columns),
        missing_hint=f"Run migrate {app} for it first, with --database",
    )
    return SessionLayout(model._meta.label, layout, columns, model, getattr(base[0], "max_length", None))


# The fields of key, data and expiry: their values are written and compared without the field's conversions.
_PLAIN = (models.CharField | models.TextField,) * 2 + (models.DateTimeField,)


def _has_own_values(field: Any) -> bool:
    """Whether a field stores something other than the value itself, such as encrypted text."""
    value = timezone.now() if isinstance(field, models.DateTimeField) else "probe:1"
    try:
        kept = field.get_prep_value(value)
        return bool(
            kept != value or (hasattr(field, "from_db_value") and field.from_db_value(value, None, None) != value)
        )
    except Exception:  # it rejects the value
        return True


def _has_role(field: Any, role: str) -> bool:
    """Whether a field holds what its name means in the packages: a datetime, and a key of the user model."""
    if role == "user":
        return not field.is_relation or field.related_model is get_user_model()
    return bool(role) and (role not in ("created", "updated") or isinstance(field, models.DateTimeField))


def _model_column(field: Any) -> ModelColumn:
    name = str(field.column)
    role = ROLES.get(field.attname, "")
    role = role if _has_role(field, role) else f"column {name}"
    column = LayoutColumn(name, is_moment=isinstance(field, models.DateTimeField))
    return ModelColumn(role, column, field.max_length, field.null, _key_of(field), field)
