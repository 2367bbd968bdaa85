"""Sessions in a cache: a plain dictionary under a prefixed key, serialized by the cache and not signed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.cache import caches

from ...errors import Refused
from ...stores import open_store
from ...stores.base import WHOLE, Record, RecordProblem, Share
from ...stores.key_space import SESSION_KEY, elsewhere, key_space, unlisted_key_space
from ...stores.key_store import KeyStore
from ...stores.pickles import UnsafePickle
from ...stores.stored_values import ELSEWHERE, RejectedValue, reason_against
from ...stores.wrapped_store import WrappedStore
from ..codec import Data, UnreadableSession, checked
from ..engines import PROBE_KEY, others_beginning_with
from .base import BaseSessionStore
from .custom_values import own_values

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase


class CacheStore(BaseSessionStore, WrappedStore[KeyStore]):
    """The sessions of one cache alias under the prefix of one engine.

    Without ``is_listed`` its keys are always given, so that any KEY_FUNCTION is possible.
    """

    keeps_text = False

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
        cache = open_store(alias=alias, trust_pickle=trust_pickle)
        WrappedStore.__init__(self, cache, is_listed=is_listed)
        BaseSessionStore.__init__(self, engine=engine, keys_from=keys_from)
        self.alias = alias
        self._trust_pickle = trust_pickle
        self._own = own_values(type(engine))
        self._pattern = re.compile(key_regex)
        self._prefix = prefix
        self._unlisted: Refused | None = None
        self.inner = self._within_prefix(cache, is_listed)
        # Without a prefix every key of the cache would look like a hidden session.
        self._others = others_beginning_with(prefix) if prefix else ("",)
        # Whether the pattern also matches keys that continue with the prefix of another engine.
        self._may_be_others = bool(prefix) and any(
            self._pattern.fullmatch(f"{other}{'0' * 32}") for other in self._others
        )

    def _within_prefix(self, cache: KeyStore, is_listed: bool) -> KeyStore:
        make_key = cache.cache.make_key
        if is_listed and not self.can_list_keys:
            self._unlisted = Refused(
                f"The keys of the cache {self.alias!r} cannot be listed: {cache.why_unlisted()}. "
                "Give them with --keys-from FILE, one on each line."
            )
        elif is_listed and self._keys_from is None:
            try:
                return cache.within(key_space(make_key, alias=self.alias, prefix=self._prefix))
            except Refused as error:  # it still takes sessions, and reads those whose keys are given
                self._unlisted, self.can_list_keys = error, False
        return cache.within(unlisted_key_space(make_key, prefix=self._prefix))

    def in_this_thread(self) -> CacheStore:
        """Return the store for another thread; if possible without asking the server again what it is."""
        found = copy(self)
        if self.inner.can_change_threads:
            found.inner = copy(self.inner)
            found.inner.cache = caches[self.alias]
        else:
            opened = open_store(alias=self.alias, trust_pickle=self._trust_pickle)
            found.inner = opened.within(self.inner.space)
        return found

    # Keys

    def keys(self, size: int, share: Share = WHOLE) -> Iterator[list[str]]:
        if self._keys_from is None and self.can_list_keys:
            for page in self.inner.keys(size, share):
                if found := self._sessions_among(page):
                    yield found
            return
        if self._unlisted and self._keys_from is None:
            raise self._unlisted
        for page in self.given_keys(size, share):
            yield self._sessions_among(page)

    def _sessions_among(self, listed: Sequence[str]) -> list[str]:
        """Return the listed keys that are a session's; remember those that only begin like one."""
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
        return not self.inner.space.is_stock

    def under_other_heads(self) -> set[str]:
        """Return raw keys like those of this engine's sessions that the cache's key function does not make here.

        Those of other caches in CACHES are left out. The set is empty if keys cannot be listed.
        """
        if not self.can_list_keys or self._keys_from is not None or not self._prefix:
            return set()
        others = self.inner.within(elsewhere(self.inner.space, self._pattern))
        found = {raw for page in others.keys(10_000) for raw in page}
        return found.difference(*(self._raws_of(alias, found) for alias in caches.settings if alias != self.alias))

    def _raws_of(self, alias: str, raws: Iterable[str]) -> set[str]:
        """Return those of ``raws`` that are keys of the cache ``alias``."""
        try:
            make_key = caches[alias].make_key
            return {raw for raw in raws if make_key(self._prefix + self.key_in(raw)) == raw}
        except Exception:  # the alias has mistakes of its own, which do not matter here
            return set()

    def key_in(self, raw: str) -> str:
        """Return the session key in a raw key."""
        end = len(raw) - len(self.inner.space.tail)
        return raw[raw.rindex(self._prefix) + len(self._prefix) : end]

    def head_of(self, raw: str) -> str:
        """Return a raw key without its session key, which is secret."""
        return raw[: raw.rindex(self._prefix) + len(self._prefix)]

    def delete(self, keys: Sequence[str]) -> None:
        """Delete sessions, whatever they hold."""
        self.inner.delete(keys)

    # Sessions

    def check(self, session: Record) -> None:
        if reason := reason_against(session.raw):
            raise RecordProblem("unreadable" if session.raw is ELSEWHERE else "foreign", reason)

    def load(self, session: Record) -> Data:
        self.check(session)
        try:
            value = self.inner.decode(session.raw)
        except (UnsafePickle, RejectedValue) as error:
            raise RecordProblem("unsafe", str(error)) from None
        except Exception as error:
            raise UnreadableSession(f"the cache's serializer fails on it ({type(error).__name__})") from None
        if self._own:
            return self._own.read(session.key, value)
        try:
            return checked(value)
        except UnreadableSession as error:
            raise RecordProblem("foreign", str(error)) from None

    def dump(self, data: Data, expires: int | None, saved_at: int, *, key: str = "") -> tuple[str | bytes, bool]:
        if self._own:
            raw = self.inner.encode(self._own.value(key or PROBE_KEY, data), expires)
            return raw, self._own.read(key or PROBE_KEY, self.inner.decode(raw)) == data
        raw = self.inner.encode(data, expires)
        return raw, self.inner.has_exact_values or self.inner.decode(raw) == data

    def takes_verbatim(self, other: BaseSessionStore) -> bool:
        if not isinstance(other, CacheStore) or not self.inner.takes_verbatim(other.inner):
            return False
        return self._own == other._own
