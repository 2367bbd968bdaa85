"""Values: their neutral form, the limits of columns, and conversions that engines share."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import JSONField
from django.utils import timezone
from django.utils.duration import duration_microseconds

from ...tables import Column, Kind, StoredColumn
from .characters import Ranges
from .session import DatabaseSession

Convert = Callable[[Any], Any]

BIGINT = (-(2**63), 2**63 - 1)


class Unstorable(ValueError):
    """A value that a column of the destination cannot store unchanged, or that is invalid in its source.

    ``kind`` describes the value without showing it; ``reason`` is why it stops, ``advice`` what to do.
    """

    def __init__(self, kind: str, reason: str, advice: str) -> None:
        super().__init__(f"{kind}: {reason}. {advice}")
        self.kind, self.reason, self.advice = kind, reason, advice


class Unreadable:
    """A stored value that is invalid in its column; it equals only the same bytes, if they are known."""

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
    """A text from a padded column: it equals the same text without trailing spaces."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.rstrip(" ") == other.rstrip(" ")

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.rstrip(" "))


class LimitName(enum.Enum):
    """What a column may not be able to store; the arguments of each limit are in parentheses."""

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
    MORE_DECIMALS_THAN = "more digits after the decimal point than (digits)"
    FRACTIONAL_SECONDS = "has fractions of a second finer than (digits)"
    SPACE_AT_END = "ends with a space"
    FILLED_UP_TO = "fewer characters than (characters), to which it is padded with spaces"
    SHORTER_THAN = "shorter than (bytes)"
    NOT_AMONG = "is not one of (texts)"
    NOT_SOME_OF = "is not a list of some of (texts) in their order"
    SINGLE_PRECISION = "is read back differently from a single-precision float, of which (digits) are returned"
    OUTSIDE_UNIX_TIME = "is before 1970 or after 03:14:07 UTC on 19 January 2038"
    WIDE_WHOLE_NUMBER = "holds an integer beyond 64 bits, in JSON"
    DEEPER_THAN = "is nested deeper than (levels), in JSON"
    HIGH_VERSION = "has a seventh byte of 80 or above and a ninth from 01 to 80, in a UUID"


@dataclass(frozen=True)
class Limit:
    """One limit of a destination's column."""

    name: LimitName
    arguments: tuple[Any, ...]
    reason: str
    advice: str


@dataclass(frozen=True)
class SourceCheck:
    """An SQL condition that is true for values which the source holds and which are invalid for the field.

    ``cheap_condition`` is a cheaper one, which is true for all of these and perhaps for some others.
    """

    condition: str
    reason: str
    advice: str
    cheap_condition: str | None = None


class Values(DatabaseSession):
    """What the columns of one database hold, and how their values are converted to neutral ones and back.

    The defaults are the safe answers. ``proven_types`` are the column types that the conversions of a kind are proven
    for; ``families`` has those types whose columns can store each other's raw values, with the name of their family.
    ``conditions`` has the SQL for values beyond a limit, for :meth:`str.format`: ``{column}`` is the quoted name,
    ``{0}`` and ``{1}`` are the limit's arguments.
    """

    proven_types: ClassVar[Mapping[Kind, Collection[str]]]
    families: ClassVar[Mapping[str, str]]
    conditions: ClassVar[Mapping[LimitName, str]]

    def stores(self, kind: Kind, stored: StoredColumn) -> bool:
        """Whether a column's real type is one that the conversions of ``kind`` are proven for."""
        return stored.type in self.proven_types.get(kind, ())

    def stores_documents(self, column: Column, stored: StoredColumn) -> bool:
        """Whether a column holds plain JSON documents, whatever the class of its field converts them to."""
        # A type that holds documents and no other text holds documents for a field of any class.
        is_document = isinstance(column.field, JSONField) or not self.stores(Kind.TEXT, stored)
        return is_document and self.stores(Kind.JSON, stored)

    def storage(self, stored: StoredColumn) -> str:
        """Return the family of a column's real type; two columns of one family can store each other's raw values."""
        return self.families.get(stored.type, stored.declared)

    def read_expression(self, column: Column, stored: StoredColumn) -> str:
        """Return the SQL that reads a proven column."""
        return self.quote(column.name)

    def unconverted(self, expression: str) -> str:
        """Return the SQL for the stored value, if the driver would convert it by its column's type."""
        return expression

    def raw_expression(self, column: Column) -> str:
        """Return the SQL that reads a column as stored, for a column of the same storage."""
        return self.quote(column.name)

    def text_form(self, column: Column, stored: StoredColumn) -> str | None:
        """Return the SQL for a column's values as Django stores them in a database without a type for their kind.

        ``None`` if the engine can't. It has to be right only for values that no source check finds.
        """
        return None

    def accepts_text_form(self, column: Column, stored: StoredColumn) -> bool:
        """Whether a column, as a destination, accepts values in that form."""
        return False

    def as_text(self, name: str) -> str:
        """Return the SQL for a column as text, for functions that accept only text."""
        return f"CAST({self.quote(name)} AS TEXT)"

    def stored_bytes(self, expression: str) -> str:
        """Return the SQL for the bytes of a value that the driver cannot decode."""
        return f"CAST({expression} AS BLOB)"

    def folded(self, name: str, case: bool, spaces: bool) -> str:
        """Return the SQL for a text in lower case, or without trailing spaces, to find texts that are equal then."""
        text = f"RTRIM({self.as_text(name)})" if spaces else self.as_text(name)
        return f"LOWER({text})" if case else text

    def ascii_lower(self, text: str) -> str:
        """Return the SQL for a text with its ASCII letters in lower case, and all others unchanged."""
        for letter in ascii_uppercase:
            text = f"REPLACE({text}, '{letter}', '{letter.lower()}')"
        return text

    def is_bits(self, stored: StoredColumn) -> bool:
        """Whether a column holds bits, which its driver returns as bytes."""
        return False

    def has_characters_outside(self, column: str, ranges: Ranges) -> str | None:
        """Return the SQL condition for texts with characters outside of these ranges; ``None`` if not searchable.

        ``column`` is the quoted name.
        """
        return None

    def size(self, name: str, stored: StoredColumn) -> str:
        """Return the SQL for the size of a text or binary value in bytes."""
        return f"octet_length({self.as_text(name)})"

    def exact_text(self, name: str, stored: StoredColumn) -> str:
        """Return the SQL for a text that equals only itself, and is still a text to functions."""
        return self.quote(name)

    def loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        """Return the function that converts a driver's value to the neutral one; ``None`` if it is neutral."""
        return None

    def key_loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        """Return the function that converts a key, read as the plain column, to the neutral value; ``None`` if neutral.

        The driver converts such keys to dates and times, where :meth:`read_expression` would return their text.
        """
        load = self.loader(column, stored)
        if load is None or column.kind not in (Kind.DATE, Kind.TIME, Kind.DATETIME):
            return load
        return lambda value: load(str(value))

    def dumper(self, column: Column, stored: StoredColumn) -> Convert | None:
        """Return the function that converts a neutral value for :class:`~.loading.Writer`; ``None`` for no conversion.

        It raises :exc:`Unstorable` for a value that the column would not return unchanged.
        """
        return None

    def limits(self, column: Column, stored: StoredColumn) -> list[Limit]:
        """List the limits of this column as a destination."""
        return []

    def violation(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        """Return the SQL condition for the source's values beyond ``limit``; ``None`` if it holds no such values.

        ``column`` is the quoted name.
        """
        return None if self._is_kept_by(limit, stored) else self.condition(limit, column, stored)

    def condition(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        """Return that condition for a column whose own type allows values beyond the limit."""
        condition = self.conditions.get(limit.name)
        return None if condition is None else condition.format(*limit.arguments, column=column)

    def integer_range(self, stored: StoredColumn) -> tuple[int, int] | None:
        """Return the smallest and largest integer of a column's real type; ``None`` if it isn't an integer type."""
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
                # An integer's precision counts no fractions of a second: it is a duration in microseconds.
                own = stored.precision if self.integer_range(stored) is None else None
            case LimitName.OUTSIDE:
                held = self.integer_range(stored)
                return held is not None and limit.arguments[0] <= held[0] and held[1] <= limit.arguments[1]
            case _:
                return False
        return own is not None and own <= limit.arguments[0]

    def source_checks(self, column: Column, stored: StoredColumn) -> list[SourceCheck]:
        """List the conditions for values that this database, as a source, would not return faithfully."""
        return []


def microseconds(value: datetime.timedelta) -> int:
    """Return a duration as Django stores it in a database without an interval type."""
    return duration_microseconds(value)


def datetime_dumper(zone: datetime.tzinfo | None) -> Convert:
    """Return the function that formats an instant as the local time that Django stores without a time zone.

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
        # As UTC: Python never considers times in a repeated hour equal across zones (PEP 495).
        if local.replace(tzinfo=zone, fold=0).astimezone(datetime.UTC) != value.astimezone(datetime.UTC):
            raise Unstorable(
                "date and time",
                f"its local time in {zone} occurs twice, and would be read as the earlier one",
                "Set TIME_ZONE of this database to 'UTC', or remove it.",
            )
        return local.replace(fold=0).isoformat(" ")

    return dump
