"""Whether the two sides of a transition, or their caches, are one store: by settings, and by the servers' answers."""

from __future__ import annotations

from typing import Any

from django.core.cache import caches
from django.db import connections

from ...caches.transition.same_store import kept_at
from ..engines import cache_prefix
from ..stores.base import BaseSessionStore
from ..stores.cache import CacheStore
from ..stores.table import SessionTableStore
from .sides import TransitionSide

# The keys of DATABASES that say which table a name means. Only the servers can see through other notations of them.
_ADDRESS = ("ENGINE", "HOST", "PORT", "NAME", "USER", "OPTIONS")
_BOTH = "Both sides of MIGRATOR['SESSIONS']"


def same_by_settings(old: TransitionSide, new: TransitionSide) -> str | None:
    """Return why two sides are, or may be, the same store; None if they differ. No server is asked."""
    if old.model is not None and old.model is new.model:
        if None in (old.setting.DATABASE, new.setting.DATABASE):
            return f"{_BOTH} keep {old.model._meta.label}. Set DATABASE for each of them to say in which database."
        return _same(_database(old.database), _database(new.database), "databases", old.database, new.database)
    if old.keeps_rows or new.keeps_rows or old.is_elsewhere:
        return None
    return _same(_keys(old), _keys(new), "caches", old.cache, new.cache)


def shared_cache(old: TransitionSide, new: TransitionSide) -> str | None:
    """Return that the cache before one side's table is also the other side's; None if it is not. No server is asked.

    A session that one side puts there is found by the other, and taken for one of its own.
    """
    if not (old.keeps_rows or new.keeps_rows) or _keys(old) is None or _keys(old) != _keys(new):
        return None
    caches_named = " and ".join(dict.fromkeys(repr(side.cache) for side in (old, new)))
    return f"{_BOTH} keep a session under the same key of the cache {caches_named}."


def same_by_server(old: TransitionSide, new: TransitionSide) -> str | None:
    """Return what both sides share, by their servers' answers; None if nothing. Raises what the servers raise."""
    one, other = old.store, new.store
    if one.identities() & other.identities():
        return f"both are {other.label()}"
    one_cache, other_cache = _cache_of(one), _cache_of(other)
    if one_cache and other_cache and one_cache.identities() & other_cache.identities():
        return f"both keep sessions in {other_cache.label()}"
    return None


def _same(one: Any, other: Any, kind: str, alias: str | None, other_alias: str | None) -> str | None:
    if one != other:
        return None
    if alias == other_alias:
        return f"{_BOTH} are the same store."
    return f"{_BOTH} are the same store: the {kind} {alias!r} and {other_alias!r} are one."


def _database(alias: Any) -> tuple[str, ...]:
    """Return the address of a database."""
    known = connections.settings[alias]
    if str(known.get("NAME")) == ":memory:":
        return (alias,)  # each alias has its own
    return tuple(str(known.get(name)) for name in _ADDRESS)


def _keys(side: TransitionSide) -> tuple[Any, ...] | None:
    """Return what identifies the keys of a side's sessions in its cache, None without a cache."""
    prefix, alias = cache_prefix(side.engine), side.cache
    if prefix is None or alias is None:
        return None
    try:
        return kept_at(caches.settings[alias], f"{prefix}probe")
    except (KeyError, ImportError):  # which is reported where the cache is opened
        return (alias, prefix)


def _cache_of(store: BaseSessionStore) -> CacheStore | None:
    """Return the cache that a store is, or has before its rows."""
    if isinstance(store, SessionTableStore):
        return store.front_cache
    return store if isinstance(store, CacheStore) else None
