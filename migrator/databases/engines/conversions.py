"""Conversions and limits that more than one engine needs."""

from __future__ import annotations

import datetime

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.duration import duration_microseconds

from ..tables import Column
from .base import Convert, Limit, LimitName, Unstorable

BIGINT = (-(2**63), 2**63 - 1)


def integer_limit(connection: BaseDatabaseWrapper, column: Column, stored: tuple[int, int], declared: str) -> Limit:
    """Describe the integers of a column: those of its real type that its field allows, too.

    A positive field's column has a check of its own, and Django knows the ranges of its fields.
    """
    smallest: int | None = None
    largest: int | None = None
    try:
        smallest, largest = connection.ops.integer_field_range(column.field.get_internal_type())
    except KeyError:
        pass  # a field that Django has no range for
    low = stored[0] if smallest is None else max(stored[0], smallest)
    high = stored[1] if largest is None else min(stored[1], largest)
    return Limit(
        LimitName.OUTSIDE,
        (low, high),
        f"outside the range of {declared} ({low} to {high})",
        "Correct the value, or change the field to a larger integer field and migrate the destination.",
    )


def within(limit: Limit, smallest: int, largest: int) -> bool:
    """Tell whether a source's own range lies within a limit."""
    return limit.arguments[0] <= smallest and largest <= limit.arguments[1]


def duration_limit() -> Limit:
    """Describe what a duration kept in microseconds as a 64-bit integer can hold."""
    return Limit(
        LimitName.OUTSIDE,
        BIGINT,
        "a duration of more than 292,471 years, too long for microseconds in a bigint column",
        "Shorten these values.",
    )


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
