"""The limits of columns: of the types that Django chooses, and of others that accept some of the values."""

from __future__ import annotations

import contextlib
import datetime
import math
import struct

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from ...tables import Column, Kind, StoredColumn
from .values import BIGINT, Limit, LimitName

# The ranges in which floats of single and of double precision hold every integer.
SINGLE_WHOLE = (-(2**24), 2**24)
DOUBLE_WHOLE = (-(2**53), 2**53)
# The range of a 32-bit Unix time in MySQL's TIMESTAMP; zero stands for no time (MySQL manual, "The TIMESTAMP Type").
UNIX_TIME = (
    datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC),
    datetime.datetime(2038, 1, 19, 3, 14, 7, 999_999, tzinfo=datetime.UTC),
)
# The range in which single precision has all of its digits.
SINGLE_RANGE = (1.2e-38, 3.4e38)
# So many digits distinguish all numbers of single precision (C's FLT_DECIMAL_DIG); the shortest form has no more.
MOST_SINGLE_DIGITS = 9
# The characters of the longest IPv6 address.
LONGEST_ADDRESS = 39


def integer_limit(connection: BaseDatabaseWrapper, column: Column, stored: tuple[int, int], declared: str) -> Limit:
    """Describe the integers of a column: those of its real type that its field also allows.

    A positive field's column has a CHECK constraint, and Django knows the ranges of its fields.
    """
    smallest: int | None = None
    largest: int | None = None
    with contextlib.suppress(KeyError):  # raised for a field that Django has no range for
        smallest, largest = connection.ops.integer_field_range(column.field.get_internal_type())
    low = stored[0] if smallest is None else max(stored[0], smallest)
    high = stored[1] if largest is None else min(stored[1], largest)
    return Limit(
        LimitName.OUTSIDE,
        (low, high),
        f"outside the range of {declared} ({low} to {high})",
        "Correct the value, or change the field to a larger integer field and migrate the destination.",
    )


def plain_limit(name: LimitName, reason: str, *arguments: float) -> Limit:
    """Describe a limit that only other values or another field can meet."""
    return Limit(name, arguments, reason, "Correct these values in the source, or change the field.")


def declared_limits(kind: Kind, stored: StoredColumn) -> list[Limit]:
    """Describe the limits of a column's declaration: its length, its digits, its fractions of a second."""
    limits = []
    is_sized = kind in (Kind.TEXT, Kind.BINARY, Kind.JSON)
    if kind is Kind.ADDRESS and stored.max_length is not None:
        is_sized = stored.max_length < LONGEST_ADDRESS
    if is_sized and stored.max_length is not None:
        reason = f"longer than the {stored.max_length} characters of {stored.declared}"
        limits.append(plain_limit(LimitName.LONGER_THAN, reason, stored.max_length))
    elif is_sized and stored.max_bytes is not None:
        reason = f"larger than the {stored.max_bytes} bytes of {stored.declared}"
        limits.append(plain_limit(LimitName.LARGER_THAN, reason, stored.max_bytes))
    elif stored.precision is not None and kind is Kind.DECIMAL:
        scale = stored.scale or 0
        reason = f"too large for {stored.declared}"
        limits.append(plain_limit(LimitName.MORE_WHOLE_DIGITS_THAN, reason, stored.precision - scale))
        limits.append(plain_limit(LimitName.MORE_DECIMALS_THAN, f"would be rounded by {stored.declared}", scale))
    elif stored.precision is not None and kind in (Kind.DATETIME, Kind.TIME):
        limits.append(fraction_limit(stored, stored.precision))
    return limits


def fraction_limit(stored: StoredColumn, digits: int) -> Limit:
    """Describe a column that stores fractions of a second to so many digits."""
    reason = f"has a finer fraction of a second than {stored.declared} stores"
    return plain_limit(LimitName.FRACTIONAL_SECONDS, reason, digits)


def duration_limit(stored: tuple[int, int] = BIGINT) -> Limit:
    """Describe a column that stores durations as integers of this range, in microseconds."""
    reason = f"a duration outside the range of its column ({stored[0]} to {stored[1]} microseconds)"
    if stored == BIGINT:
        reason = "a duration of more than 292,471 years, too long for microseconds in a bigint column"
    return Limit(LimitName.OUTSIDE, stored, reason, "Shorten these values.")


def whole_number_limits(stored: StoredColumn, held: tuple[int, int] | None) -> list[Limit]:
    """Describe the integers that a column of another type holds: those of a range, or of so many digits."""
    if held is not None:
        reason = f"outside the range in which {stored.declared} holds every integer ({held[0]} to {held[1]})"
        return [plain_limit(LimitName.OUTSIDE, reason, *held)]
    if stored.precision is None:
        return []
    digits = stored.precision - (stored.scale or 0)
    return [plain_limit(LimitName.OUTSIDE, f"too large for {stored.declared}", -(10**digits) + 1, 10**digits - 1)]


def label_limit(stored: StoredColumn, *, is_set: bool = False) -> Limit:
    """Describe the texts of an enumerated type, or of a set: its members, each once and in their order."""
    advice = "Add them to the type in the destination, or correct these values in the source."
    if is_set:
        reason = f"not a list of values of {stored.declared}, each once and in their order"
        return Limit(LimitName.NOT_SOME_OF, stored.labels, reason, advice)
    return Limit(LimitName.NOT_AMONG, stored.labels, f"not a value of {stored.declared}", advice)


def single_precision_limit(stored: StoredColumn, digits: int) -> Limit:
    """Describe the numbers of single precision, of which the server returns ``digits``."""
    reason = f"has more digits than {stored.declared} keeps"
    return plain_limit(LimitName.SINGLE_PRECISION, reason, digits)


def unix_time(connection: BaseDatabaseWrapper) -> tuple[str, str]:
    """Return the first and the last moment of 32-bit Unix time as SQL, in the local time that Django stores."""
    zone = (connection.timezone if settings.USE_TZ else None) or datetime.UTC
    first, last = (moment.astimezone(zone).replace(tzinfo=None).isoformat(" ") for moment in UNIX_TIME)
    return f"'{first}'", f"'{last}'"


def is_shown_otherwise(value: float, digits: int) -> bool:
    """Whether a number changes if it is stored in single precision and read back with at most ``digits``."""
    if value == 0 or not math.isfinite(value):
        return False
    if not SINGLE_RANGE[0] <= abs(value) <= SINGLE_RANGE[1]:
        return True
    if digits < MOST_SINGLE_DIGITS:
        return float(f"{value:.{digits}g}") != value
    single = _as_single(value)
    shortest = (float(f"{single:.{shown}g}") for shown in range(1, digits + 1))
    return next(number for number in shortest if _as_single(number) == single) != value


def _as_single(value: float) -> float:
    number: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return number
