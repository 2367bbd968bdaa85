"""The value of a field's own type for what its column returns, if the column has another type than Django gives it.

It is an equal value, or an error: no part of a value is ever dropped.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import DecimalField
from django.utils import timezone

from ..engines.base.values import Convert, Unstorable
from ..tables import Column, Kind

# Types whose text form has all of the value.
HAVE_TEXT = (int, float, decimal.Decimal, datetime.date, datetime.time, uuid.UUID)
# The decimal digits that every double keeps (DBL_DIG).
FLOAT_DIGITS = 15


def meaning_of(column: Column) -> Convert | None:
    """Return a conversion to the field's own type; ``None`` for fields with converters of their own.

    It raises :exc:`Unstorable` for a value that has no equal of that type.
    """
    mean = MEANINGS.get(column.kind)
    if mean is None:
        return None

    def convert(value: Any) -> Any:
        if value is None:
            return None
        try:
            meant = _decimal(column, value) if column.kind is Kind.DECIMAL else mean(value)
        except (ValueError, TypeError, ArithmeticError, ValidationError):
            meant = None
        if meant is None:
            raise Unstorable(
                type(value).__name__,
                f"cannot be converted to {column.kind}, the kind of its field, without a change",
                "Correct these values in the source, or change the column there to the type that Django gives it.",
            )
        return meant

    return convert


def lenient(convert: Convert | None) -> Convert | None:
    """Return a conversion that leaves what it cannot convert unchanged: that equals no value of the field."""
    if convert is None:
        return None

    def tried(value: Any) -> Any:
        with contextlib.suppress(Unstorable):
            return convert(value)
        return value

    return tried


def _decimal(column: Column, value: Any) -> decimal.Decimal | None:
    """Return a number with no more decimal places than its field; Django would round others when it stores them."""
    exact, field = _number(value), column.field
    candidates = [exact, decimal.Decimal(f"{value:.{FLOAT_DIGITS}g}")] if isinstance(value, float) else [exact]
    for number in candidates:
        if (
            not isinstance(field, DecimalField)
            or not number.is_finite()
            or number == round(number, field.decimal_places)
        ):
            return number
    return None


def _number(value: Any) -> decimal.Decimal:
    """Return a number exactly; a float by its shortest text form."""
    if isinstance(value, int | decimal.Decimal):
        return decimal.Decimal(value)
    if isinstance(value, float | str):
        return decimal.Decimal(repr(value) if isinstance(value, float) else value)
    raise TypeError


def _integer(value: Any) -> int | None:
    if isinstance(value, int):
        return int(value)
    number = int(_number(value))
    # Text of digits can have more than a number: '007'.
    is_same = str(number) == value if isinstance(value, str) else number == _number(value)
    return number if is_same else None


def _float(value: Any) -> float | None:
    if isinstance(value, float):
        return value
    number = float(_number(value))
    return number if math.isnan(number) or _number(number) == _number(value) else None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    found = {"1": True, "0": False, "t": True, "f": False, "true": True, "false": False}
    return found.get(value.lower() if isinstance(value, str) else str(_integer(value)))


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, HAVE_TEXT) else None


def _binary(value: Any) -> bytes | None:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


def _date(value: Any) -> datetime.date | None:
    if isinstance(value, datetime.datetime):
        return value.date() if value.tzinfo is None and value.time() == datetime.time.min else None
    if isinstance(value, datetime.date):
        return value
    found = datetime.datetime.fromisoformat(value)
    return _date(found) if value.startswith(found.date().isoformat()) else None


def _time(value: Any) -> datetime.time | None:
    found = value if isinstance(value, datetime.time) else datetime.time.fromisoformat(value)
    return found if found.tzinfo is None else None


def _datetime(value: Any) -> datetime.datetime | None:
    found = value if isinstance(value, datetime.datetime) else datetime.datetime.fromisoformat(value)
    if (found.tzinfo is not None) is settings.USE_TZ:
        return found
    return timezone.make_aware(found, timezone.get_default_timezone()) if settings.USE_TZ else None


def _duration(value: Any) -> datetime.timedelta | None:
    return value if isinstance(value, datetime.timedelta) else None


def _uuid(value: Any) -> uuid.UUID | None:
    if isinstance(value, str):
        return uuid.UUID(value)
    return value if isinstance(value, uuid.UUID) else None


def _address(value: Any) -> str | None:
    return value if isinstance(value, str) else None


MEANINGS: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _number,
    Kind.TEXT: _text,
    Kind.BINARY: _binary,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.DATETIME: _datetime,
    Kind.DURATION: _duration,
    Kind.UUID: _uuid,
    Kind.ADDRESS: _address,
}
