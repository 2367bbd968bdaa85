"""SQLite: decimals, which it stores as floating-point numbers and integers."""

from __future__ import annotations

import decimal
import functools
from typing import Any

from ...tables import Column
from ..base.values import Convert, Unstorable
from .functions import DIGITS

# printf('%g') writes numbers below this negative power of ten with an exponent.
MOST_ZEROS = 4
# A double has 15 to 17 significant digits and is meant to be rounded; an integer may be stored with more.
MORE_DIGITS = f"an integer with more than {DIGITS} significant digits"


def has_more_decimals(column: str, places: int) -> str:
    """Return the condition for numbers with more than ``places`` decimals; ``column`` is the quoted name."""
    # As a double: abs() of the least integer is an error (sqlite.org/lang_corefunc.html#abs).
    return f"abs({column} - round({column}, {places})) > abs({column} + 0.0) * 1e-14"


def is_exact_decimal(name: str, digits: int, places: int) -> str | None:
    """Return the condition for numbers that SQLite prints as the decimal that is meant, or ``None`` if none is known.

    A decimal is stored as the double that is closest to it, and so is the quotient of its digits and a power of ten. No
    other decimal of so few digits is as close to that double, and SQLite prints that many digits correctly.
    """
    whole, power = _whole_digits(digits, places), f"1e{places}"
    is_next = f"round({name} * {power}) / {power} = {name}"
    return None if whole < 0 else f"{name} BETWEEN -1e{whole} AND 1e{whole} AND {is_next}"


def _whole_digits(digits: int, places: int) -> int:
    return min(digits, DIGITS - 1) - places


def decimal_text(name: str, places: int) -> str:
    """Return the SQL for the text of a number with ``places`` decimals."""
    return f"printf('%%.{places}f', {name})"


def shortest_decimal(name: str, digits: int, places: int) -> tuple[str, str] | None:
    """Return the SQL for the shortest text of a number, and the condition for the numbers that it is correct for.

    Return ``None`` if a field of so many digits has no such numbers.
    """
    condition = is_exact_decimal(name, digits, places)
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
    """Return a function that turns a stored number into the decimal that a field of so many digits means by it."""
    create = decimal.Context(prec=DIGITS).create_decimal_from_float
    context, step = decimal.Context(prec=digits), decimal.Decimal(1).scaleb(-places)

    def load(value: Any) -> decimal.Decimal:
        if not isinstance(value, float | int):
            raise Unstorable(type(value).__name__, "SQLite stores it in a column of numbers", "Correct the value.")
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
