"""Expiries of keys, read from a Redis of any version."""

from typing import Any

from django.core.cache import caches

# Before Redis 7 only the time left can be read. Added to the time it is exact if no millisecond ends in between.
_BEFORE_7 = """
local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local moment, left
repeat
  moment = milliseconds()
  left = redis.call('PTTL', KEYS[1])
until milliseconds() == moment
return left < 0 and left or moment + left
"""


def version_of(client: Any) -> tuple[int, ...]:
    """Return the version of Redis that a client's server is compatible with."""
    return tuple(map(int, client.info("server")["redis_version"].split(".")))


def expiry_of(client: Any, key: str) -> int:
    """Return when a key expires, in milliseconds of Unix time: -1 if never, -2 if there is no such key."""
    return int(client.pexpiretime(key) if version_of(client) >= (7,) else client.eval(_BEFORE_7, 1, key))


def _is_exact() -> bool:
    return version_of(caches["redis"]._cache.get_client(None, write=True)) >= (7,)  # type: ignore[attr-defined]


def reading_error() -> int:
    """Return by how many microseconds migrator may read an expiry too early from the tests' Redis."""
    return 0 if _is_exact() else 100_000


def notes_on_age(*aliases: str) -> tuple[str, ...]:
    """Return what a plan notes of these caches if their server is older than Redis 7."""
    age = "is older than Redis 7: expiries are exact to some milliseconds, and never later"
    return () if _is_exact() else tuple(f"{alias!r} {age}" for alias in aliases)
