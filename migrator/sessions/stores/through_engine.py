"""Sessions of an engine that uses no cache of CACHES, no table and no files: one by one through the engine."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib.sessions.backends.base import CreateError, UpdateError

from ...stores.base import WHOLE, Record, Share
from ..codec import Data
from ..expiry import from_engine
from .base import BaseSessionStore


class EngineStore(BaseSessionStore):
    """What the engine's own methods can do. Its keys cannot be listed, and only the engine knows when sessions expire.

    ``Record.raw`` is the data, pickled and read back within this process.
    """

    keeps_text = False
    can_list_keys = False
    can_share = False

    def label(self) -> str:
        return f"the engine {type(self.engine).__module__}.{type(self.engine).__qualname__}"

    def identities(self) -> frozenset[str]:
        return frozenset({self.label()})

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        return self.given_keys(size, share)  # which raises Refused without --keys-from

    def fetch(self, keys: Sequence[str]) -> dict[str, Record]:
        return {key: session for key in keys if (session := self._read(key)) is not None}

    def _read(self, key: str) -> Record | None:
        engine = self._engine_of(key)
        if not engine.exists(key):  # some engines' load() does not show it
            return None
        data = engine.load()
        if engine.session_key != key:
            return None
        engine._session_cache = data
        return Record(key, pickle.dumps(data), from_engine(engine))

    def _engine_of(self, key: str) -> Any:
        return type(self.engine)(key)

    def present(self, keys: Sequence[str]) -> set[str]:
        return {key for key in keys if self._engine_of(key).exists(key)}

    def add(self, sessions: Sequence[Record]) -> set[str]:
        return {session.key for session in sessions if self._save(session, must_create=True)}

    def update(self, session: Record) -> bool:
        return self._engine_of(session.key).exists(session.key) and self._save(session, must_create=False)

    def _save(self, session: Record, *, must_create: bool) -> bool:
        engine = self._engine_of(session.key)
        engine._session_cache = self.load(session)
        try:
            engine.save(must_create=must_create)
        except (CreateError, UpdateError):
            return False
        return True

    def replace(self, pairs: Sequence[tuple[Record, Record]]) -> set[str]:
        return {seen.key for seen, new in pairs if self._is_as_seen(seen) and self.update(new)}

    def discard(self, sessions: Sequence[Record]) -> set[str]:
        found = {session.key for session in sessions if self._is_as_seen(session)}
        for key in found:
            self._engine_of(key).delete(key)
        return found

    def _is_as_seen(self, seen: Record) -> bool:
        current = self._read(seen.key)
        return current is not None and self.same(current, seen)

    # Payloads

    def load(self, session: Record) -> Data:
        data: Data = pickle.loads(session.raw)  # noqa: S301  (made in this process)
        return data

    def dump(self, data: Data, expires: int | None, saved_at: int, *, key: str = "") -> tuple[str | bytes, bool]:
        return pickle.dumps(data), True

    def same(self, one: Record, other: Record) -> bool:
        return self.load(one) == self.load(other)

    def same_expiry(self, one: int | None, other: int | None) -> bool:
        """Return True: the engine reports a time to live as if the session were saved now."""
        return True
