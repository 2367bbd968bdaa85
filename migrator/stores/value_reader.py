"""What a cache holds under some keys, and for how long: for transitions, which go on with it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from django.core.cache.backends.base import BaseCache

from ..clock import MICROSECONDS_PER_SECOND, now
from ..errors import Refused
from . import LIVE_STORES, store_class
from .key_store import KeyStore

# How much later a second reading may be than was measured, in seconds.
_SLACK = 0.2


class SeenValue(NamedTuple):
    """What a key held when it was read. Equal states are one value; ``left`` is in seconds, None for never."""

    state: Any
    left: float | None


class ValueReader:
    """Reads a cache as its backend does, from the primary. No server is asked anything before the first reading.

    Of a backend of an unknown kind the values can be read, but not the time that they have left.
    """

    def __init__(self, cache: BaseCache) -> None:
        self._cache: Any = cache
        self._store: KeyStore | None = None
        if found := store_class(type(cache), LIVE_STORES):
            with suppress(Refused):  # a table of another database engine
                self._store = found(alias="", cache=cache, trust_pickle=True).by_own_clock()

    @property
    def can_tell(self) -> bool:
        """Whether the time that a value has left is known."""
        return self._store is not None

    def look(self, keys: Iterable[str], version: int | None) -> dict[str, SeenValue]:
        """Return the state of those keys that exist."""
        if self._store is None:
            return {}
        records, moment = self._store.at_version(version).fetch(list(keys)), now()
        return {
            key: SeenValue(one.raw, None if one.expires is None else (one.expires - moment) / MICROSECONDS_PER_SECOND)
            for key, one in records.items()
        }

    def load(self, seen: Mapping[str, SeenValue], version: int | None) -> dict[str, Any]:
        """Return the values of states that were just seen, by key."""
        if self._store is None:
            return self.read(seen, version)
        return self._store.at_version(version).load({key: one.state for key, one in seen.items()})

    def read(self, keys: Iterable[str], version: int | None) -> dict[str, Any]:
        """Return the values of those keys that exist."""
        if self._store is None:
            found: dict[str, Any] = self._cache.get_many(list(keys), version=version)
            return found
        return self.load(self.look(keys, version), version)

    def server_time(self) -> int | None:
        """Return the current time by the clock of the cache's server, in microseconds; None if it is not known."""
        return None if self._store is None else self._store.server_time()

    def is_still(self, then: SeenValue, current: SeenValue | None, passed: float) -> bool:
        """Whether a key holds what it held ``passed`` seconds ago, for at least as long."""
        if self._store is None or current is None or current.state != then.state:
            return False
        if current.left is None:
            return True
        slack = _SLACK + (self._store.expiry_step + self._store.expiry_slack) / MICROSECONDS_PER_SECOND
        return then.left is not None and current.left >= then.left - passed - slack
