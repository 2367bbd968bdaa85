"""The contract of stores over a cache backend: the keys of one cache, with values in the backend's format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, Self

from ..clock import MICROSECONDS_PER_SECOND
from .base import Store
from .key_space import KeySpace, unlisted_key_space
from .pickles import loader
from .stored_values import RejectedValue, Value


class KeyStore(Store):
    """The keys of one :class:`KeySpace` in one cache. Until :meth:`within`, they are given and never listed."""

    can_list_keys = False
    keeps_forever = True
    # Whether all connections are the cache object's, so that the object of another thread can take its place.
    can_change_threads = False
    expiry_step = MICROSECONDS_PER_SECOND

    def __init__(self, *, alias: str, cache: Any, trust_pickle: bool) -> None:
        super().__init__()
        self.alias = alias
        self.cache: Any = cache
        self.space: KeySpace = unlisted_key_space(cache.make_key)
        self.version: int | None = None
        self._unpickle = loader(trusted=trust_pickle)

    def within(self, space: KeySpace) -> Self:
        """Return the store for the keys of ``space``, over the same connections."""
        found = copy(self)
        found.space = space
        return found

    def at_version(self, version: int | None) -> Self:
        """Return the store for all keys of a version, None for the cache's own."""
        found = self.within(unlisted_key_space(partial(self.cache.make_key, version=version)))
        found.version = version
        return found

    def by_own_clock(self) -> Self:
        """Return the store with expiries by the clock of this host, for callers that set times to live by them."""
        return self

    # The store

    def check_reachable(self) -> None:
        """Raise :exc:`migrator.errors.Refused` if the server does not answer, or does not have the cache's table."""

    def server_time(self) -> int | None:
        """Return the current time by the server's clock in microseconds of Unix time, None if it has no clock."""
        return None

    def label(self) -> str:
        return f"cache {self.alias!r} ({self.address()}), keys {self.space.raw('…')}"

    def identities(self) -> frozenset[str]:
        raw = self.space.raw("probe")
        return frozenset(f"{location} {raw}" for location in self.locations())

    def address(self) -> str:
        """Return the address of the servers, the table or the directory for people, without a password."""
        raise NotImplementedError

    def locations(self) -> frozenset[str]:
        """Return names of where all keys of the cache are; two caches with a name in common share their keys."""
        raise NotImplementedError

    def encoding(self) -> str:
        """Return the name of the format of values; stores of equal encoding exchange raw values."""
        raise NotImplementedError

    def why_unlisted(self) -> str:
        """Return why keys cannot be listed, for the middle of a sentence."""
        return "this kind of cache keeps no list of its keys"

    # Keys

    def delete(self, keys: Sequence[str]) -> None:
        """Delete keys, whatever they hold."""
        self.cache.delete_many([self.space.prefix + key for key in keys])

    # Values

    def decode(self, raw: bytes) -> Any:
        """Return the object of a stored value; raise whatever its serializer raises."""
        raise NotImplementedError

    def load(self, raws: Mapping[str, Any]) -> dict[str, Any]:
        """Return the objects of stored values, by key, as the backend itself reads them."""
        return {key: self.decode(raw) for key, raw in raws.items()}

    def encode(self, value: Any, expires: int | None) -> bytes:
        """Return a value as the backend would store it under a key that expires then."""
        raise NotImplementedError

    @property
    def has_exact_values(self) -> bool:
        """Whether every value that can be encoded is read back equal, as pickles are and JSON is not."""
        return True

    def takes_verbatim(self, other: KeyStore) -> bool:
        """Whether raw values of another store can be written here as they are."""
        return self.encoding() == other.encoding()

    def unwrap(self, raw: bytes) -> Value:
        """Return a value without the store's format. Raises :exc:`RejectedValue` if only the backend can read it."""
        raise RejectedValue(f"values of the cache {self.alias!r} cannot be converted unread")

    def wrap(self, value: Value) -> bytes:
        """Return a value in the store's format. Raises :exc:`RejectedValue` if the format cannot express it."""
        raise RejectedValue(f"the cache {self.alias!r} has no way to hold a {value.kind} value")
