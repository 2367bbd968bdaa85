"""Whether both sides of a transition are one store, as their servers report it; :mod:`.same_store` asks settings."""

from __future__ import annotations

from ..stores.base import BaseSessionStore
from ..stores.cache import CacheStore
from ..stores.table import SessionTableStore
from .configuration import Transition


def one_place(change: Transition) -> str | None:
    """Say what the servers take for one place of both sides, None for nothing; raise what asking them raises."""
    old, new = change.old.store, change.new.store
    if old.identities() & new.identities():
        return f"both are {new.label()}"
    one, other = _cache_of(old), _cache_of(new)
    if one and other and one.identities() & other.identities():
        return f"both keep sessions in {other.label()}"
    return None


def _cache_of(store: BaseSessionStore) -> CacheStore | None:
    """Return the cache that a place is, or has before its rows."""
    if isinstance(store, SessionTableStore):
        return store.before
    return store if isinstance(store, CacheStore) else None
