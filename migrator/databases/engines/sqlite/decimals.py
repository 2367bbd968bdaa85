"""SQLite: decimals, which it keeps as floating point and as whole numbers."""

from __future__ import annotations

import decimal
import functools
from typing import Any

from ...tables import Column
from ..base.values import Convert, Unstorable
from .functions import DIGITS

# A smaller number than this negative power of ten is printed with an exponent.
MOST_ZEROS = 4
# A double has 15 to 17 of them, and is meant to be rounded; a whole number may be stored with all of its own.
MORE_DIGITS = f"a whole number of more than {DIGITS} significant digits"


def more_decimals(column: str, places: int) -> str:
    """Give the condition for numbers with more digits behind the point; ``column`` is the quoted name."""
    # As a double, for abs() fails at the least integer.
    return f"abs({column} - round({column}, {places})) > abs({column} + 0.0) * 1e-14"


def exact_decimal(name: str, digits: int, places: int) -> str | None:
    """Give the condition for numbers which SQLite spells as the decimal that is meant; ``None`` where none is known.

    A quotient of two whole numbers is the double that is next to it, and that is how a decimal is stored. No other one
    of so few digits is as close to it, and they are fewer than those that SQLite spells right.
    """
    whole, power = _whole_digits(digits, places), f"1e{places}"
    is_next = f"round({name} * {power}) / {power} = {name}"
    return None if whole < 0 else f"{name} BETWEEN -1e{whole} AND 1e{whole} AND {is_next}"


def _whole_digits(digits: int, places: int) -> int:
    return min(digits, DIGITS - 1) - places


def spelled_decimal(name: str, places: int) -> str:
    """Give the SQL for a number with so many decimals."""
    return f"printf('%%.{places}f', {name})"


def shortest_decimal(name: str, digits: int, places: int) -> tuple[str, str] | None:
    """Give the SQL for a number in as few digits as there can be, and the condition for the numbers it is right for.

    There is none where a field of so many digits has no such numbers.
    """
    condition = exact_decimal(name, digits, places)
    if condition is None:
        return None
    if places > MOST_ZEROS:
        condition += f" AND ({name} = 0 OR abs({name}) >= 1e-{MOST_ZEROS})"
    return f"printf('%%.{_whole_digits(digits, places) + places + 1}g', {name} + 0.0)", condition  # -0.0 + 0.0 is 0


def declared_digits(column: Column) -> tuple[int, int]:
    """Return the digits of a decimal field, and how many of them are decimals."""
    field: Any = column.field
    return field.max_digits, field.decimal_places


@functools.cache
def decimal_loader(digits: int, places: int) -> Convert:
    """Give what makes of a number the decimal that a field of so many digits means by it."""
    create = decimal.Context(prec=DIGITS).create_decimal_from_float
    context, step = decimal.Context(prec=digits), decimal.Decimal(1).scaleb(-places)

    def load(value: Any) -> decimal.Decimal:
        if not isinstance(value, float | int):
            raise Unstorable(type(value).__name__, "SQLite holds it where a number belongs", "Correct the value.")
        exact = create(value)
        if type(value) is int and exact != value:
            raise Unstorable("number", MORE_DIGITS, f"Round it to {DIGITS} significant digits.")
        try:
            quantized = exact.quantize(step, context=context)
        except decimal.InvalidOperation:
            reason = f"too large for {digits} digits with {places} decimals"
            raise Unstorable("number", reason, "Correct the value.") from None
        if quantized != exact:
            raise Unstorable("number", f"more than the field's {places} decimals", "Round it.")
        return quantized

    return load
