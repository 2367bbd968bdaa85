"""When a session expires, from its data and its engine, for stores that do not keep an expiry."""

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
    """Return the expiry of data that were saved at ``saved``, both in microseconds of Unix time.

    ``set_expiry()`` keeps ``_session_expiry`` in the data: seconds after each save, 0 for the end of the browser
    session, or a date. Without it, and with 0, the cookie's age counts (``SessionBase.get_expiry_date``).
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
