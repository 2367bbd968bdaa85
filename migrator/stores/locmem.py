"""Django's ``LocMemCache``, as far as a transition needs it: its values live in this process alone."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from ..clock import MICROSECONDS_PER_SECOND
from .base import Record
from .key_store import KeyStore


class LocMemStore(KeyStore):
    """A value is a pickle; its expiry is in another dictionary, in seconds of Unix time."""

    expiry_step = 1

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        return {key: record for key in keys if (record := self._read(key))}

    def _read(self, key: str) -> Record | None:
        raw = self.space.raw(key)
        with self.cache._lock:
            if raw not in self.cache._cache or self.cache._has_expired(raw):
                return None
            expires = self.cache._expire_info[raw]
            return Record(key, self.cache._cache[raw], expires and int(expires * MICROSECONDS_PER_SECOND))

    def decode(self, raw: bytes) -> Any:
        return pickle.loads(raw)  # noqa: S301  (as the backend itself reads it)
