"""The store for each cache backend, found by dotted name and imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache

from ..console.suggestions import did_you_mean
from ..errors import Refused, UsageError
from .key_store import KeyStore

STORES = {
    "django.core.cache.backends.redis.RedisCache": "redis.store.RedisStore",
    "django_redis.cache.RedisCache": "redis.clients.ClientRedisStore",
    "django_valkey.cache.ValkeyCache": "redis.clients.ClientRedisStore",
    "django_valkey.cluster_cache.cache.ClusterValkeyCache": "redis.clients.ClientRedisStore",
    "django.core.cache.backends.memcached.PyMemcacheCache": "memcached.store.MemcachedStore",
    "django.core.cache.backends.db.DatabaseCache": "table.store.TableStore",
    "django.core.cache.backends.filebased.FileBasedCache": "files.FileStore",
}
# For transitions, which use the caches of this process over the connections that it has.
LIVE_STORES = {
    **STORES,
    "django.core.cache.backends.memcached.PyMemcacheCache": "memcached.client.ClientMemcachedStore",
    "django.core.cache.backends.locmem.LocMemCache": "locmem.LocMemStore",
}
REFUSALS = {
    "django.core.cache.backends.dummy.DummyCache": "DummyCache keeps nothing: reading finds no key, and what is "
    "written is lost",
    "django.core.cache.backends.locmem.LocMemCache": "LocMemCache lives inside each process: this command does "
    "not see those of the web workers",
    "django.core.cache.backends.memcached.PyLibMCCache": "values of pylibmc cannot be copied unread. Define each "
    "of its servers as a cache of its own with PyMemcacheCache, and copy from each of them. Copy into several "
    "servers only if the site itself uses PyMemcacheCache, which maps keys to them differently than pylibmc",
    "migrator.caches.transition.cache.TransitionCache": "it is two caches. Name one of them by its alias; "
    "OLD and NEW may be aliases",
}


def open_store(*, alias: str, trust_pickle: bool = False) -> KeyStore:
    """Open the cache ``alias`` for listing, reading and writing many keys.

    Raises :exc:`UsageError` for an unknown alias, :exc:`Refused` for a cache that cannot be moved.
    """
    cache = _cache(alias)
    known = {**STORES, **REFUSALS}
    name = next((name for name in dotted_names(type(cache)) if name in known), None)
    if name in REFUSALS:
        raise Refused(f"The cache {alias!r} cannot be copied: {REFUSALS[name]}.")
    if found := store_class(type(cache), STORES):
        return _opened(found, alias, cache, trust_pickle)
    raise Refused(
        f"The cache {alias!r} is a {type(cache).__module__}.{type(cache).__qualname__}, which cannot be copied. "
        f"Define the same server once more with one of these backends: {', '.join(sorted(STORES))}."
    )


def store_class(backend: type, stores: Mapping[str, str]) -> type[KeyStore] | None:
    """Return the store of a cache backend, or of the nearest class that it extends; None if no store knows it."""
    for name in dotted_names(backend):
        if name in stores:
            module, _, store = stores[name].rpartition(".")
            return cast("type[KeyStore]", getattr(import_module(f"{__name__}.{module}"), store))
    return None


def dotted_names(backend: type) -> list[str]:
    """Return the dotted names of a class and of all classes that it extends, the nearest first."""
    return [f"{base.__module__}.{base.__qualname__}" for base in backend.__mro__]


def _opened(store: type[KeyStore], alias: str, cache: BaseCache, trust_pickle: bool) -> KeyStore:
    try:
        opened = store(alias=alias, cache=cache, trust_pickle=trust_pickle)
        opened.check_reachable()
        return opened
    except (ValueError, TypeError, ImportError) as error:
        # The library's message may quote a password from LOCATION.
        raise Refused(
            f"The cache {alias!r} cannot be opened ({type(error).__name__}). Check its LOCATION and its OPTIONS."
        ) from error


def _cache(alias: str) -> BaseCache:
    try:
        return caches[alias]
    except InvalidCacheBackendError as error:
        if alias in caches.settings:
            raise Refused(f"The cache {alias!r} cannot be opened: {error}.") from error
        known = ", ".join(sorted(caches.settings))
        meant = did_you_mean(alias, caches.settings)
        raise UsageError(f"CACHES has no alias {alias!r}.{meant} Its aliases are: {known}.") from error
