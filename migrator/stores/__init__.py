"""Which store reads and writes which cache backend, found by dotted name and imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache

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
REFUSALS = {
    "django.core.cache.backends.dummy.DummyCache": "DummyCache keeps nothing: there is nothing to read, and what is "
    "written is lost",
    "django.core.cache.backends.locmem.LocMemCache": "LocMemCache lives inside each process: this command sees "
    "another one than the web workers do",
    "django.core.cache.backends.memcached.PyLibMCCache": "values of pylibmc cannot be moved unread. Define each "
    "of its servers as a cache of its own with PyMemcacheCache, and copy from one after the other; into several "
    "servers copy only when the site itself uses PyMemcacheCache, which looks for a key on another of them than "
    "pylibmc does",
    "migrator.caches.transition.cache.TransitionCache": "it is two caches; name one of them by an alias, "
    "which its OLD and NEW may be",
}


def open_store(*, alias: str, trust_pickle: bool = False) -> KeyStore:
    """Open the cache ``alias`` for listing, reading and writing many keys.

    Raises :exc:`UsageError` for an unknown alias, :exc:`Refused` for a cache that cannot be moved.
    """
    cache = _cache(alias)
    for name in _dotted_names(type(cache)):
        if name in REFUSALS:
            raise Refused(f"The cache {alias!r} cannot be copied: {REFUSALS[name]}.")
        if name in STORES:
            module, _, store = STORES[name].rpartition(".")
            found = getattr(import_module(f"{__name__}.{module}"), store)
            return _opened(found, alias, cache, trust_pickle)
    raise Refused(
        f"The cache {alias!r} is a {type(cache).__module__}.{type(cache).__qualname__}, which is none of "
        f"{', '.join(sorted(STORES))}. Define the same server once more with one of these backends."
    )


def _opened(store: Any, alias: str, cache: BaseCache, trust_pickle: bool) -> KeyStore:
    try:
        return cast("KeyStore", store(alias=alias, cache=cache, trust_pickle=trust_pickle))
    except (ValueError, TypeError, ImportError) as error:
        # The library's words may quote a password out of LOCATION.
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
        raise UsageError(f"There is no cache {alias!r} in CACHES. There are: {known}.") from error


def _dotted_names(backend: type) -> list[str]:
    return [f"{base.__module__}.{base.__qualname__}" for base in backend.__mro__]
