"""Values on their way: neutral ones, what a column cannot hold, and conversions that engines share."""

from __future__ import annotations

import contextlib
import datetime
import enum
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import JSONField
from django.utils import timezone
from django.utils.duration import duration_microseconds

from ...tables import Column, Kind, StoredColumn
from .characters import Ranges
from .session import DatabaseSession

Convert = Callable[[Any], Any]

BIGINT = (-(2**63), 2**63 - 1)
# Of an IPv6 address, in characters.
LONGEST_ADDRESS = 39


class Unstorable(ValueError):
    """A value that a column of the destination cannot hold as it is, or that its source cannot mean.

    ``kind`` tells what the value is without showing it, ``reason`` why it stops, ``advice`` what to do.
    """

    def __init__(self, kind: str, reason: str, advice: str) -> None:
        super().__init__(f"{kind}: {reason}. {advice}")
        self.kind, self.reason, self.advice = kind, reason, advice


class Unreadable:
    """A stored value that its column cannot mean; it equals nothing but the same bytes, where those are known."""

    def __init__(self, reason: str, stored: bytes | None = None) -> None:
        self.reason, self.stored = reason, stored

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Unreadable) and self.stored is not None and self.stored == other.stored
        )

    def __hash__(self) -> int:
        return id(self) if self.stored is None else hash(self.stored)

    def __repr__(self) -> str:
        return f"<{self.reason}>"


class FilledUp(str):
    """A text of which nobody knows whether the spaces at its end are its own; it equals the same one without them."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.rstrip(" ") == other.rstrip(" ")

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.rstrip(" "))


class LimitName(enum.Enum):
    """What can be too much for a column; the arguments that go with each are in brackets."""

    LONGER_THAN = "longer than (characters)"
    LARGER_THAN = "larger than (bytes)"
    OUTSIDE = "outside of (smallest, largest)"
    NUL_CHARACTER = "holds the NUL character"
    NUL_ESCAPE = "holds the escape of the NUL character, in JSON"
    FOUR_BYTE_CHARACTER = "holds a character outside of the basic plane"
    NOT_A_NUMBER = "is not a number"
    INFINITE = "is infinite"
    MORE_DIGITS_THAN = "more significant digits than (digits)"
    MORE_WHOLE_DIGITS_THAN = "more digits before the decimal point than (digits)"
    MORE_DECIMALS_THAN = "more digits behind the decimal point than (digits)"
    FRACTIONAL_SECONDS = "has fractions of a second finer than (digits)"
    SPACE_AT_END = "ends with a space"
    FILLED_UP_TO = "fewer characters than (characters), to which spaces fill it up"
    SHORTER_THAN = "shorter than (bytes)"
    NOT_AMONG = "is none of (texts)"
    NOT_SOME_OF = "is no list of some of (texts) in their order"
    SINGLE_PRECISION = "is read otherwise from a single-precision float, of which (digits) are shown"
    OUTSIDE_UNIX_TIME = "is before 1970 or after 03:14:07 UTC on 19 January 2038"
    WIDE_WHOLE_NUMBER = "holds a whole number beyond 64 bits, in JSON"
    DEEPER_THAN = "is nested deeper than (levels), in JSON"
    HIGH_VERSION = "has a seventh byte of 80 or above and a ninth from 01 to 80, in a UUID"


@dataclass(frozen=True)
class Limit:
    """One thing that a destination's column cannot hold."""

    name: LimitName
    arguments: tuple[Any, ...]
    reason: str
    advice: str


@dataclass(frozen=True)
class SourceCheck:
    """An SQL condition that is true for values which the source holds and the field cannot mean.

    ``cheap_condition`` is a cheaper one, which is true for all of these and perhaps for some others.
    """

    condition: str
    reason: str
    advice: str
    cheap_condition: str | None = None


class Values(DatabaseSession):
    """What the columns of one database hold, and how their values become neutral and back. The safe answers."""

    @abstractmethod
    def stores(self, kind: Kind, stored: StoredColumn) -> bool:
        """Tell whether a column's real type is one that the shortcuts for ``kind`` are proven for."""

    def stores_documents(self, column: Column, stored: StoredColumn) -> bool:
        """Whether a column holds plain documents of JSON, whatever the class of its field makes of them."""
        # A type that holds documents and no other text is one for documents of any class.
        is_document = isinstance(column.field, JSONField) or not self.stores(Kind.TEXT, stored)
        return is_document and self.stores(Kind.JSON, stored)

    @abstractmethod
    def storage(self, stored: StoredColumn) -> str:
        """Name the family of a column's real type; two columns of one family can hold each other's raw values."""

    def read_expression(self, column: Column, stored: StoredColumn) -> str:
        """Give the SQL by which a proven column is read."""
        return self.quote(column.name)

    def unconverted(self, expression: str) -> str:
        """Return the SQL for what is stored, where the driver would make something else of it for its column's type."""
        return expression

    def raw_expression(self, column: Column) -> str:
        """Give the SQL by which a column is read as it is stored, for a column of the same storage."""
        return self.quote(column.name)

    def text_form(self, column: Column, stored: StoredColumn) -> str | None:
        """Give the SQL for a column's values as Django stores them where a database has no type for their kind.

        ``None`` where that is not known. It has to be right only for values which nothing is suspicious about.
        """
        return None

    def accepts_text_form(self, column: Column, stored: StoredColumn) -> bool:
        """Tell whether a column, as a destination, has values stored so."""
        return False

    def as_text(self, name: str) -> str:
        """Give the SQL for a column as text, for functions that take nothing else."""
        return f"CAST({self.quote(name)} AS TEXT)"

    def stored_bytes(self, expression: str) -> str:
        """Give the SQL for the bytes of a value that the driver can make nothing of."""
        return f"CAST({expression} AS BLOB)"

    def folded(self, name: str, case: bool, spaces: bool) -> str:
        """Give the SQL for a text without its case, or the spaces at its end, to find what is the same then."""
        text = f"RTRIM({self.as_text(name)})" if spaces else self.as_text(name)
        return f"LOWER({text})" if case else text

    def ascii_lower(self, text: str) -> str:
        """Give the SQL for a text with its ASCII letters in lower case, and all others as they are."""
        for letter in ascii_uppercase:
            text = f"REPLACE({text}, '{letter}', '{letter.lower()}')"
        return text

    def is_bits(self, stored: StoredColumn) -> bool:
        """Return whether a column holds bits, which its driver gives as bytes."""
        return False

    def has_characters_outside(self, column: str, ranges: Ranges) -> str | None:
        """Return the SQL condition for texts with characters outside of these ranges; ``None`` if there is none.

        ``column`` is the quoted name.
        """
        return None

    def size(self, name: str, stored: StoredColumn) -> str:
        """Return the SQL for how many bytes a text or binary value has."""
        return f"octet_length({self.as_text(name)})"

    def exact_text(self, name: str, stored: StoredColumn) -> str:
        """Return the SQL for a text that equals none but itself, and is a text to functions all the same."""
        return self.quote(name)

    def loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        """Give what turns a driver's value into the neutral one, or ``None`` where it is neutral already."""
        return None

    def key_loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        """Return what turns a key that is read by its column alone into the neutral value, None if the driver does.

        A driver makes moments of such keys, where :meth:`read_expression` would give their text.
        """
        load = self.loader(column, stored)
        if load is None or column.kind not in (Kind.DATE, Kind.TIME, Kind.DATETIME):
            return load
        return lambda value: load(str(value))

    def dumper(self, column: Column, stored: StoredColumn) -> Convert | None:
        """Give what turns a neutral value into one for :class:`Writer`, or ``None`` where it can be taken as it is.

        It raises :exc:`Unstorable` for a value that the column would not give back unchanged.
        """
        return None

    def limits(self, column: Column, stored: StoredColumn) -> list[Limit]:
        """List what this column, as a destination, cannot hold."""
        return []

    def violation(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        """Give the SQL condition for the source's values beyond ``limit``; ``None`` where there can be none.

        ``column`` is the quoted name.
        """
        return None if self._is_kept_by(limit, stored) else self.condition(limit, column, stored)

    def condition(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        """Give that condition for a column whose own type does not keep within the limit."""
        return None

    def integer_range(self, stored: StoredColumn) -> tuple[int, int] | None:
        """Give the integers that a column's real type holds; ``None`` where it is no integer type."""
        return None

    def _is_kept_by(self, limit: Limit, stored: StoredColumn) -> bool:
        match limit.name:
            case LimitName.LONGER_THAN:
                own = stored.max_length
            case LimitName.MORE_DIGITS_THAN:
                own = stored.precision
            case LimitName.MORE_WHOLE_DIGITS_THAN:
                own = None if stored.precision is None else stored.precision - (stored.scale or 0)
            case LimitName.MORE_DECIMALS_THAN:
                own = None if stored.precision is None else stored.scale or 0
            case LimitName.FRACTIONAL_SECONDS:
                # The digits of an integer are not decimals of a second: it holds a duration in microseconds.
                own = stored.precision if self.integer_range(stored) is None else None
            case LimitName.OUTSIDE:
                held = self.integer_range(stored)
                return held is not None and limit.arguments[0] <= held[0] and held[1] <= limit.arguments[1]
            case _:
                return False
        return own is not None and own <= limit.arguments[0]

    def source_checks(self, column: Column, stored: StoredColumn) -> list[SourceCheck]:
        """List the conditions for values that this database, as a source, would not give faithfully."""
        return []


def integer_limit(connection: BaseDatabaseWrapper, column: Column, stored: tuple[int, int], declared: str) -> Limit:
    """Describe the integers of a column: those of its real type that its field allows, too.

    A positive field's column has a check of its own, and Django knows the ranges of its fields.
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
    """Describe a limit that only other values or another field can keep."""
    return Limit(name, arguments, reason, "Correct these values in the source, or change the field.")


def declared_limits(kind: Kind, stored: StoredColumn) -> list[Limit]:
    """Describe what a column's declaration says: its length, its digits, its fraction of a second."""
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
    """Describe a column that keeps no more than so many digits of a fraction of a second."""
    reason = f"has a finer fraction of a second than {stored.declared} keeps"
    return plain_limit(LimitName.FRACTIONAL_SECONDS, reason, digits)


def duration_limit(stored: tuple[int, int] = BIGINT) -> Limit:
    """Describe what a duration kept in microseconds as an integer of this range can hold."""
    reason = f"a duration outside the range of its column ({stored[0]} to {stored[1]} microseconds)"
    if stored == BIGINT:
        reason = "a duration of more than 292,471 years, too long for microseconds in a bigint column"
    return Limit(LimitName.OUTSIDE, stored, reason, "Shorten these values.")


def microseconds(value: datetime.timedelta) -> int:
    """Give a duration as Django stores it where there is no interval type."""
    return duration_microseconds(value)


def datetime_dumper(zone: datetime.tzinfo | None) -> Convert:
    """Give what writes an instant as the local time that Django keeps in columns without a time zone.

    It raises :exc:`Unstorable` for an instant whose local time is ambiguous and would be read as another one.
    """
    if not settings.USE_TZ or zone is None:
        return lambda value: value.isoformat(" ")
    if zone is datetime.UTC:
        return lambda value: value.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(" ")

    def dump(value: datetime.datetime) -> str:
        try:
            local = timezone.make_naive(value, zone)
        except OverflowError:
            reason = f"its local time in {zone} is outside of the years 1 to 9999"
            raise Unstorable("date and time", reason, "Set TIME_ZONE of this database to 'UTC'.") from None
        # As UTC, because Python never calls equal what falls into a repeated hour of another zone (PEP 495).
        if local.replace(tzinfo=zone, fold=0).astimezone(datetime.UTC) != value.astimezone(datetime.UTC):
            raise Unstorable(
                "date and time",
                f"its local time in {zone} happens twice, and would be read as the earlier one",
                "Set TIME_ZONE of this database to 'UTC', or leave it out.",
            )
        return local.replace(fold=0).isoformat(" ")

    return dump
