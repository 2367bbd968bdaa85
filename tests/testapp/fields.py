"""Custom fields as projects write them; Django's tables of column types know none of them."""

from __future__ import annotations

import base64
import secrets
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class ReversedTextField(models.TextField):
    """Stores text in reverse: both converters matter, and neither is the identity."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return None if value is None else value[::-1]

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else str(value)[::-1]


class MoneyField(models.Field):
    """Has its own column type, a different one on each engine, and returns decimals."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        own_types = {"postgresql": "numeric(12, 2)", "mysql": "decimal(12, 2)"}
        return own_types.get(connection.vendor, "varchar(20)")

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Decimal | None:
        return None if value is None else Decimal(str(value))

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else str(value)


class SecretField(models.TextField):
    """Writes the same value differently each time, like encrypted fields; only values that were read compare equal."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        if value is None:
            return None
        _, _, body = value.partition("$")
        return base64.b64decode(body, validate=True).decode()

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        return f"{secrets.token_hex(4)}${base64.b64encode(str(value).encode()).decode()}"


class CommaListField(models.CharField):
    """Stores a list of words in one text column."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> list[str] | None:
        if value is None:
            return None
        return value.split(",") if value else []

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else ",".join(value)


class ShoutingField(models.CharField):
    """Changes its value whenever an instance is saved, like slug and timestamp fields."""

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        changed = str(getattr(model_instance, self.attname)).upper() + "!"
        setattr(model_instance, self.attname, changed)
        return changed
