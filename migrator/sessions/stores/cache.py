"""Sessions kept in a cache: the plain dictionary under a prefixed key, spelled by the cache and not signed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.cache import caches

from ...errors import Refused
from ...stores import open_store
from ...stores.base import ELSEWHERE, WHOLE, Item, RejectedItem, Share, reason_against
from ...stores.key_space import SESSION_KEY, KeySpace, elsewhere, key_space, unlisted_key_space
from ...stores.pickles import UnsafePickle
from ..codec import Data, UnreadableSession, checked
from ..engines import PROBE_KEY, others_beginning_with
from ..records import SessionProblem, SessionRecord
from .base import Store
from .custom_values import own_values

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase


class CacheStore(Store):
    """The sessions of one cache alias under the prefix of one engine.

    Without ``is_listed`` its keys are always given, so that any KEY_FUNCTION will do.
    """

    keeps_text = False
    keeps_forever = True

    def __init__(
        self,
        *,
        alias: str,
        engine: SessionBase,
        prefix: str,
        keys_from: Path | None = None,
        key_regex: str = SESSION_KEY,
        trust_pickle: bool = False,
        is_listed: bool = True,
    ) -> None:
        super().__init__(engine=engine, keys_from=keys_from)
        self.alias = alias
        self._trust_pickle = trust_pickle
        self.cache = open_store(alias=alias, trust_pickle=trust_pickle)
        self._own = own_values(type(engine))
        self._pattern = re.compile(key_regex)
        self._prefix = prefix
        self._unlisted: Refused | None = None
        self.can_list_keys = is_listed and self.cache.can_list_keys
        self.has_size_limit = self.cache.has_size_limit
        self.can_share = self.cache.can_share
        self._space = self._key_space(prefix, is_listed)
        # Without a prefix every key of the cache would look like a hidden session.
        self._others = others_beginning_with(prefix) if prefix else ("",)
        # Whether the pattern alone does not tell this engine's keys from those that go on with another one's prefix.
        self._may_be_others = bool(prefix) and any(
            self._pattern.fullmatch(f"{other}{'0' * 32}") for other in self._others
        )

    def _key_space(self, prefix: str, is_listed: bool) -> KeySpace:
        make_key = self.cache.cache.make_key
        if is_listed and not self.can_list_keys:
            self._unlisted = Refused(
                f"The keys of the cache {self.alias!r} cannot be listed: {self.cache.why_unlisted()}. "
                "Give them with --keys-from FILE, one on each line."
            )
        elif is_listed and self._keys_from is None:
            try:
                return key_space(make_key, alias=self.alias, prefix=prefix)
            except Refused as error:  # it still takes sessions, and reads those whose keys are given
                self._unlisted, self.can_list_keys = error, False
        return unlisted_key_space(make_key, prefix=prefix)

    def close(self) -> None:
        self.cache.close()

    def in_this_thread(self) -> CacheStore:
        """Return the place for another thread; a server that need not is not asked again what it is."""
        found = copy(self)
        if self.cache.can_change_threads:
            found.cache = copy(self.cache)
            found.cache.cache = caches[self.alias]
        else:
            found.cache = open_store(alias=self.alias, trust_pickle=self._trust_pickle)
        return found

    # What it is

    def label(self) -> str:
        return f"cache {self.alias!r} ({self.cache.address()}), keys {self._space.raw('…')}"

    def identities(self) -> frozenset[str]:
        raw = self._space.raw("probe")
        return frozenset(f"{place} {raw}" for place in self.cache.identities())

    def databases(self) -> frozenset[str]:
        database = self.cache.database
        return frozenset() if database is None else frozenset({database})

    def capacity(self) -> int | None:
        return self.cache.capacity()

    def held(self) -> int:
        return self.cache.held()

    def refusal(self) -> str | None:
        return self.cache.refusal(self._space)

    def demand_all(self) -> None:
        self.cache.demand_all()

    def blind_spot(self) -> str | None:
        return self.cache.blind_spot(self._space)

    def notes(self) -> list[str]:
        return self.cache.notes()

    def evictions(self) -> int:
        return self.cache.evictions()

    def count(self) -> int | None:
        if not self.can_list_keys and self._keys_from is None:
            return None
        pages = self.keys(10_000)
        return sum(len(self.present(page)) if self._keys_from else len(page) for page in pages)

    # Sessions

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        if self._keys_from is None and self.can_list_keys:
            for page in self.cache.list_keys(self._space, size, share):
                if found := self._sessions_among(page):
                    yield found
            return
        if self._unlisted and self._keys_from is None:
            raise self._unlisted
        for page in self.given_keys(size, share):
            yield self._sessions_among(page)

    def _sessions_among(self, listed: Sequence[str]) -> list[str]:
        """Return the listed keys that are a session's; remember those that only begin as one does."""
        found = list(filter(self._pattern.fullmatch, listed))
        if len(found) < len(listed):
            left = set(listed).difference(found)
            self.hidden.update(key for key in left if not key.startswith(self._others))
        return [key for key in found if not key.startswith(self._others)] if self._may_be_others else found

    @property
    def pattern(self) -> str:
        return self._pattern.pattern

    @property
    def has_own_key_function(self) -> bool:
        """Whether raw keys may depend on more than KEY_PREFIX and VERSION, such as a tenant."""
        return not self._space.is_stock

    def under_other_heads(self) -> set[str]:
        """List raw keys like those of this engine's sessions that the cache's key function does not give here.

        Those of other caches of CACHES are left out. A cache whose keys are not listed gives none.
        """
        if not self.can_list_keys or self._keys_from is not None or not self._prefix:
            return set()
        space = elsewhere(self._space, self._pattern)
        found = {raw for page in self.cache.list_keys(space, 10_000) for raw in page}
        return found.difference(*(self._raws_of(alias, found) for alias in caches.settings if alias != self.alias))

    def _raws_of(self, alias: str, raws: Iterable[str]) -> set[str]:
        """Return those of ``raws`` that are keys of the cache ``alias``."""
        try:
            make_key = caches[alias].make_key
            return {raw for raw in raws if make_key(self._prefix + self.key_in(raw)) == raw}
        except Exception:  # an alias of its own mistakes, which are not the subject here
            return set()

    def key_in(self, raw: str) -> str:
        """Return the key of the session in a raw key."""
        end = len(raw) - len(self._space.tail)
        return raw[raw.rindex(self._prefix) + len(self._prefix) : end]

    def head_of(self, raw: str) -> str:
        """Return a raw key without the key of its session, which is secret."""
        return raw[: raw.rindex(self._prefix) + len(self._prefix)]

    def pages(self, size: int, share: Share = WHOLE) -> Iterator[list[SessionRecord]]:
        for page in self.keys(size, share):
            yield list(self.read(page).values())

    def read(self, keys: Sequence[str]) -> dict[str, SessionRecord]:
        return _sessions(self.cache.read(self._space, keys))

    def fetch(self, keys: Sequence[str]) -> dict[str, SessionRecord]:
        return _sessions(self.cache.fetch(self._space, keys))

    def are_as_seen(self, sessions: Sequence[SessionRecord]) -> bool:
        return self.cache.are_as_seen(self._space, [_item(session) for session in sessions])

    def present(self, keys: Sequence[str]) -> set[str]:
        return self.cache.present(self._space, keys)

    def add(self, sessions: Sequence[SessionRecord]) -> set[str]:
        return self.cache.add(self._space, [_item(session) for session in sessions])

    def update(self, session: SessionRecord) -> bool:
        return self.cache.update(self._space, _item(session))

    def replace(self, pairs: Sequence[tuple[SessionRecord, SessionRecord]]) -> set[str]:
        return self.cache.replace(self._space, [(_item(seen), _item(new)) for seen, new in pairs])

    def discard(self, sessions: Sequence[SessionRecord]) -> set[str]:
        return self.cache.discard(self._space, [_item(session) for session in sessions])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete sessions, whatever they hold."""
        self.cache.delete(self._space, keys)

    # Payloads

    def check(self, session: SessionRecord) -> None:
        raw = _bytes(session.payload)
        if reason := reason_against(raw):
            raise SessionProblem("unreadable" if raw is ELSEWHERE else "foreign", reason)

    def load(self, session: SessionRecord) -> Data:
        self.check(session)
        raw = _bytes(session.payload)
        try:
            value = self.cache.decode(raw)
        except (UnsafePickle, RejectedItem) as error:
            raise SessionProblem("unsafe", str(error)) from None
        except Exception as error:
            raise UnreadableSession(f"the cache's serializer fails on it ({type(error).__name__})") from None
        if self._own:
            return self._own.read(session.key, value)
        try:
            return checked(value)
        except UnreadableSession as error:
            raise SessionProblem("foreign", str(error)) from None

    def dump(self, data: Data, expires: int | None, saved_at: int, *, key: str = "") -> tuple[str | bytes, bool]:
        if self._own:
            raw = self.cache.encode(self._own.value(key or PROBE_KEY, data), expires)
            return raw, self._own.read(key or PROBE_KEY, self.cache.decode(raw)) == data
        raw = self.cache.encode(data, expires)
        return raw, self.cache.has_exact_values or self.cache.decode(raw) == data

    def takes_verbatim(self, other: Store) -> bool:
        if not isinstance(other, CacheStore) or not self.cache.takes_verbatim(other.cache):
            return False
        return self._own == other._own

    def fits(self, session: SessionRecord) -> str | None:
        return self.cache.fits(self._space, _item(session))

    def rounded(self, expires: int | None) -> int | None:
        return self.cache.rounded(expires)

    def same_expiry(self, one: int | None, other: int | None) -> bool:
        return self.cache.same_expiry(one, other)


def _sessions(items: Mapping[str, Item]) -> dict[str, SessionRecord]:
    return {key: SessionRecord(key, item.raw, item.expires) for key, item in items.items()}


def _bytes(payload: str | bytes) -> bytes:
    return payload if isinstance(payload, bytes) else payload.encode()


def _item(session: SessionRecord) -> Item:
    return Item(session.key, _bytes(session.payload), session.expires)
