"""Moments as whole microseconds of Unix time, which is how stores, journals and metrics keep them."""

from __future__ import annotations

import datetime as dt
from time import time_ns

from django.utils import timezone

MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_MILLISECOND = 1_000
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


def now() -> int:
    """Return the current time in microseconds of Unix time."""
    return time_ns() // 1000


def elapsed_since(moment: int) -> int:
    """Return how many microseconds ago a moment was, by the clock of this host; negative if it is in the future."""
    return now() - moment


def to_datetime(moment: int) -> dt.datetime:
    """Return microseconds of Unix time as a datetime in UTC.

    Raises :exc:`OverflowError` beyond the year 9999.
    """
    return EPOCH + moment * MICROSECOND


def from_datetime(moment: dt.datetime) -> int:
    """Return a datetime in microseconds of Unix time; a naive one is in Django's current time zone."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    return (moment - EPOCH) // MICROSECOND
