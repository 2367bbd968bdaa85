"""What a cache holds under some keys, and for how long yet: read from where it is written, never from a replica."""

from __future__ import annotations

import base64
import pickle
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from django.core.cache.backends.base import BaseCache
from django.db import connections, models, router

from ...clock import MICROSECONDS_PER_SECOND
from ...stores.redis.pipeline import runner
from ...stores.table import server_time

# Anything later than the year 9990 was meant as never.
_ALMOST_NEVER = 9990


class CacheValue(NamedTuple):
    """What a key held when it was looked at. Equal states are one value; ``left`` is in seconds, None for never."""

    state: Any
    left: float | None


class CacheReader:
    """A cache of an unknown kind: its values can be read, the time that they have left cannot."""

    # Backends of one family keep keys in the same servers.
    family = ""
    can_tell = False
    # How far two answers about the same expiry may be apart, in seconds.
    slack = 0.2

    def __init__(self, cache: BaseCache) -> None:
        self.cache: Any = cache

    def look(self, keys: Iterable[str], version: int | None) -> dict[str, CacheValue]:
        """Return the state of those keys that exist."""
        return {}

    def load(self, seen: Mapping[str, CacheValue], version: int | None) -> dict[str, Any]:
        """Return the values of states that were just seen."""
        found: dict[str, Any] = self.cache.get_many(list(seen), version=version)
        return found

    def read(self, keys: Iterable[str], version: int | None) -> dict[str, Any]:
        """Return the values of those keys that exist."""
        return self.load({key: CacheValue(None, None) for key in keys}, version)

    def server_time(self) -> int | None:
        """Return the present by the clock of the cache's server, in microseconds; None where nothing tells."""
        return None

    def is_still(self, then: CacheValue, now: CacheValue | None, passed: float) -> bool:
        """Tell whether a key holds what it held ``passed`` seconds ago, for as long at least."""
        if now is None or now.state != then.state:
            return False
        if now.left is None:
            return True
        return then.left is not None and now.left >= then.left - passed - self.slack

    def _raw(self, key: str, version: int | None) -> str:
        return str(self.cache.make_key(key, version=version))


class RedisReader(CacheReader):
    """Django's ``RedisCache``."""

    family = "redis"
    can_tell = True

    def look(self, keys: Iterable[str], version: int | None) -> dict[str, CacheValue]:
        found = {}
        for client, group in self._by_client({self._raw(key, version): key for key in keys}):
            commands = [command for raw in group for command in ((b"GET", raw.encode()), (b"PTTL", raw.encode()))]
            answers = runner(client).run(commands)
            for key, value, left in zip(group.values(), answers[::2], answers[1::2], strict=True):
                for answer in (value, left):
                    if isinstance(answer, Exception):
                        raise answer
                if value is not None and left != -2:
                    found[key] = self._seen(value, None if left == -1 else left / 1000)
        return found

    def load(self, seen: Mapping[str, CacheValue], version: int | None) -> dict[str, Any]:
        return {key: self._decoded(one.state) for key, one in seen.items()}

    def read(self, keys: Iterable[str], version: int | None) -> dict[str, Any]:
        return self.load(self.look(keys, version), version)

    def server_time(self) -> int | None:
        client, _ = next(iter(self._by_client({self._raw("clock", None): "clock"})))
        seconds, microseconds = client.time()
        return int(seconds) * MICROSECONDS_PER_SECOND + int(microseconds)

    def _by_client(self, group: dict[str, str]) -> Iterable[tuple[Any, dict[str, str]]]:
        return [(self.cache._cache.get_client(None, write=True), group)]

    def _seen(self, value: Any, left: float | None) -> CacheValue:
        return CacheValue(value, left)

    def _decoded(self, value: bytes) -> Any:
        return self.cache._cache._serializer.loads(value)


class ClientReader(RedisReader):
    """django-redis and django-valkey, whose ``client`` holds connections, serializer and compressor."""

    def _by_client(self, group: dict[str, str]) -> Iterable[tuple[Any, dict[str, str]]]:
        client = self.cache.client
        if not getattr(client, "_serverdict", None):
            get_client = client.get_client if hasattr(client, "get_client") else client._get_client
            return [(get_client(write=True), group)]
        shards: dict[int, tuple[Any, dict[str, str]]] = {}
        for raw, key in group.items():
            server = client.get_server(raw)
            shards.setdefault(id(server), (server, {}))[1][raw] = key
        return shards.values()

    def _seen(self, value: Any, left: float | None) -> CacheValue:
        # The client that fears herds keeps a key a minute longer than its value, whose own end is beside it.
        inner = self._unpacked(value)
        return CacheValue(value, left if inner is None else max(inner[2] - time.time(), 0.0))

    def _decoded(self, value: bytes) -> Any:
        inner = self._unpacked(value)
        return self.cache.client.decode(value) if inner is None else inner[1]

    def _unpacked(self, value: bytes) -> tuple[Any, Any, Any] | None:
        marker = getattr(self.cache.client, "_marker", None)
        decoded = None if marker is None else self.cache.client.decode(value)
        if isinstance(decoded, tuple) and len(decoded) == 3 and isinstance(decoded[0], type(marker)):
            return decoded
        return None


class MemcachedReader(CacheReader):
    """``PyMemcacheCache``, on a server that knows the meta commands; where it does not, nothing can be told."""

    can_tell = True
    slack = 3.0

    def look(self, keys: Iterable[str], version: int | None) -> dict[str, CacheValue]:
        found = {}
        for key in keys:
            raw = self._raw(key, version)
            answer = self.cache._cache._get_client(raw).raw_command(b"mg %b t c" % raw.encode())
            flags = {part[:1]: int(part[1:]) for part in answer.split()[1:]}
            if answer.startswith(b"HD") and b"c" in flags:
                # The clock of the server ticks once a second, not when ours does.
                found[key] = CacheValue(flags[b"c"], None if flags[b"t"] == -1 else flags[b"t"] - 2.0)
        return found

    def server_time(self) -> int | None:
        return int(self.cache._cache._get_client(self._raw("clock", None)).stats()[b"time"]) * MICROSECONDS_PER_SECOND


class TableReader(CacheReader):
    """``DatabaseCache``, read where its router sends writes."""

    can_tell = True
    slack = 1.5

    def look(self, keys: Iterable[str], version: int | None) -> dict[str, CacheValue]:
        raws = {self._raw(key, version): key for key in keys}
        if not raws:
            return {}
        connection = connections[router.db_for_write(self.cache.cache_model_class)]
        quote = connection.ops.quote_name
        sql = (
            f"SELECT {quote('cache_key')}, {quote('value')}, {quote('expires')} FROM {quote(self.cache._table)} "
            f"WHERE {quote('cache_key')} IN ({', '.join(['%s'] * len(raws))})"
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, list(raws))
            rows = cursor.fetchall()
        expiry = models.Expression(output_field=models.DateTimeField())
        converters = [*connection.ops.get_db_converters(expiry), *expiry.get_db_converters(connection)]
        found = {}
        for raw, value, expires in rows:
            for convert in converters:
                expires = convert(expires, expiry, connection)
            left = None if expires.year > _ALMOST_NEVER else expires.timestamp() - time.time()
            if raw in raws and (left is None or left > 0):
                found[raws[raw]] = CacheValue(connection.ops.process_clob(value), left)
        return found

    def load(self, seen: Mapping[str, CacheValue], version: int | None) -> dict[str, Any]:
        # As the backend itself reads them.
        return {key: pickle.loads(base64.b64decode(one.state.encode())) for key, one in seen.items()}  # noqa: S301

    def read(self, keys: Iterable[str], version: int | None) -> dict[str, Any]:
        return self.load(self.look(keys, version), version)

    def server_time(self) -> int | None:
        return server_time(connections[router.db_for_write(self.cache.cache_model_class)])


class FileReader(CacheReader):
    """``FileBasedCache``: the expiry is the first pickle in the file."""

    can_tell = True

    def look(self, keys: Iterable[str], version: int | None) -> dict[str, CacheValue]:
        found = {}
        for key in keys:
            try:
                with Path(self.cache._key_to_file(key, version)).open("rb") as file:
                    expires = pickle.load(file)  # noqa: S301  (as the backend itself reads it)
                    left = None if expires is None else expires - time.time()
                    if left is None or left > 0:
                        found[key] = CacheValue(file.read(), left)
            except (FileNotFoundError, EOFError):
                continue
        return found


class LocalReader(CacheReader):
    """``LocMemCache``."""

    can_tell = True

    def look(self, keys: Iterable[str], version: int | None) -> dict[str, CacheValue]:
        return {key: seen for key in keys if (seen := self._one(self._raw(key, version)))}

    def _one(self, raw: str) -> CacheValue | None:
        with self.cache._lock:
            if raw not in self.cache._cache or self.cache._has_expired(raw):
                return None
            expires = self.cache._expire_info[raw]
            return CacheValue(self.cache._cache[raw], None if expires is None else expires - time.time())


READERS: dict[str, type[CacheReader]] = {
    "django.core.cache.backends.redis.RedisCache": RedisReader,
    "django_redis.cache.RedisCache": ClientReader,
    "django_valkey.cache.ValkeyCache": ClientReader,
    "django_valkey.cluster_cache.cache.ClusterValkeyCache": ClientReader,
    "django.core.cache.backends.memcached.PyMemcacheCache": MemcachedReader,
    "django.core.cache.backends.db.DatabaseCache": TableReader,
    "django.core.cache.backends.filebased.FileBasedCache": FileReader,
    "django.core.cache.backends.locmem.LocMemCache": LocalReader,
}


def reader_of(cache: BaseCache) -> CacheReader:
    """Return what reads a cache: by its class, or by the nearest one that it extends."""
    for name in dotted_names(type(cache)):
        if name in READERS:
            return READERS[name](cache)
    return CacheReader(cache)


def dotted_names(backend: type) -> Iterator[str]:
    """Name a class and all that it extends."""
    return (f"{base.__module__}.{base.__qualname__}" for base in backend.__mro__)
