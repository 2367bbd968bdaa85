"""Values of both databases made comparable: equal if they mean the same."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Field

from ..engines.base.values import Unreadable
from ..tables import Kind
from .json_documents import Document


def _comparable_instant(value: Any) -> Any:
    """Return an instant in UTC, because Python never calls instants in a repeated hour equal (PEP 495).

    A column of another type may hold something else, which equals no instant.
    """
    if not isinstance(value, datetime.datetime) or value.tzinfo is None:
        return value
    try:
        return value.astimezone(datetime.UTC)
    except OverflowError:  # in UTC it is outside of the years 1 to 9999
        return value


class _NotANumber:
    """The placeholder for NaN, which does not equal itself."""


def _equal_to_itself(value: Any) -> Any:
    return value if value == value else _NotANumber


class ByMeaning:
    """A value without equality of its own, which equals another one that its field would store the same way."""

    def __init__(self, value: Any, stored: Any) -> None:
        self.value, self._stored = value, stored

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByMeaning) and type(self.value) is type(other.value) and self._stored == other._stored

    def __hash__(self) -> int:
        return hash(repr(self._stored))


def comparable_of_field(field: Field[Any, Any], value: Any) -> Any:
    """Make a value that a field has read comparable; one without its own equality compares as the field stores it."""
    if isinstance(value, datetime.datetime):
        return _comparable_instant(value)
    try:
        if value is None or _has_equality(value):
            return _equal_to_itself(value)
        return ByMeaning(value, field.get_prep_value(value))
    except Exception as error:  # a field's own, which may raise anything
        return Unreadable(f"its conversion failed with {type(error).__name__}")


def _has_equality(value: Any) -> bool:
    """Whether a value defines equality: not identity as objects do, and not element by element as arrays do."""
    has_own = any("__eq__" in vars(cls) for cls in type(value).__mro__[:-1])
    return has_own and isinstance(value == value, bool)


COMPARABLE: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.FLOAT: _equal_to_itself,
    Kind.DECIMAL: _equal_to_itself,
    Kind.OTHER: _equal_to_itself,
    Kind.JSON: Document,
    Kind.DATETIME: _comparable_instant,
}
