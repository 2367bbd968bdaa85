"""When a session ends, as its data and its engine tell where the store does not."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from ..clock import MICROSECONDS_PER_SECOND, from_datetime
from .codec import Data

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

# An age is less than twenty years, and an absolute expiry is later than 1990.
_LONGEST_AGE = 20 * 365 * 86_400 * MICROSECONDS_PER_SECOND


def from_data(data: Data, engine: SessionBase, saved: int) -> int:
    """Return the expiry in microseconds of Unix time of data that was saved at ``saved``.

    ``_session_expiry`` is what ``set_expiry`` leaves: seconds from each save, nought for the browser's close, or a
    moment. Without it the age of the cookie holds.
    """
    age = engine.get_session_cookie_age() * MICROSECONDS_PER_SECOND
    given: Any = data.get("_session_expiry")
    if isinstance(given, str):
        try:
            given = dt.datetime.fromisoformat(given)
        except ValueError:
            return saved + age
    if isinstance(given, dt.datetime):
        return from_datetime(given)
    if isinstance(given, int) and given:
        return saved + given * MICROSECONDS_PER_SECOND
    return saved + age


def age_from_data(data: Data, engine: SessionBase) -> int | None:
    """Return how long after its save a session with these data expires, in microseconds; None if they hold a date."""
    age = from_data(data, engine, 0)
    return age if age < _LONGEST_AGE else None


def from_engine(engine: SessionBase) -> int:
    """Return when an engine says that its session expires, in microseconds of Unix time."""
    return from_datetime(engine.get_expiry_date())
