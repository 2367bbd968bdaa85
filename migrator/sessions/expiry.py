"""When a session ends, as its data and its engine tell where the store does not."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from .codec import Data

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

SECOND = 1_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def from_data(data: Data, engine: SessionBase, saved: int) -> int:
    """Return the expiry in microseconds of Unix time of data that was saved at ``saved``.

    ``_session_expiry`` is what ``set_expiry`` leaves: seconds from each save, nought for the browser's close, or a
    moment. Without it the age of the cookie holds.
    """
    age = engine.get_session_cookie_age() * SECOND
    given: Any = data.get("_session_expiry")
    if isinstance(given, str):
        try:
            given = dt.datetime.fromisoformat(given)
        except ValueError:
            return saved + age
    if isinstance(given, dt.datetime):
        moment = timezone.make_aware(given) if timezone.is_naive(given) else given
        return (moment - _EPOCH) // dt.timedelta(microseconds=1)
    if isinstance(given, int) and given:
        return saved + given * SECOND
    return saved + age
