"""The cost of `TransitionCache` between two databases of a Redis, by phase, relative to Django's own backend."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from django.core.cache import caches
from django.test import override_settings

from bench.transition import Line
from migrator.transitions.phases import Phase

VALUE = {"name": "x" * 300, "numbers": list(range(20))}
PLAIN = "plain"
MANY = 20
# A process sets its fence, and checks that its sides are different, once; that is not measured.
WAYS = (PLAIN, *Phase)

_numbers = count()


class Trips:
    """Counts how often this thread sends to a server."""

    number = 0


def measure(calls: int, rounds: int) -> list[Line]:
    """Measure every operation."""
    with _caches(), _counted():
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for operation in OPERATIONS:
                for way in WAYS:
                    found.setdefault((operation, way), []).append(_one(operation, way, calls))
    medians = {
        key: (statistics.median(seconds for seconds, _ in runs), statistics.median(trips for _, trips in runs))
        for key, runs in found.items()
    }
    return [
        Line("caches: Redis to Redis", operation, way, seconds * 1e6, seconds / medians[operation, PLAIN][0], trips)
        for (operation, way), (seconds, trips) in medians.items()
    ]


def _one(operation: str, way: str, calls: int) -> tuple[float, float]:
    cache = caches["new" if way == PLAIN else f"in_{way}"]
    prepare, act = OPERATIONS[operation]
    keys = [f"bench:{next(_numbers)}" for _ in range(calls)]
    cache.set("warm", 1)
    prepare(cache, keys)
    trips, started = Trips.number, time.perf_counter()
    for key in keys:
        act(cache, key)
    return (time.perf_counter() - started) / calls, (Trips.number - trips) / calls


def _nothing(cache: Any, keys: list[str]) -> None:
    """Set up with keys that do not exist."""


def _filled(cache: Any, keys: list[str]) -> None:
    cache.set_many(dict.fromkeys(keys, VALUE), 1000)


def _numbered(cache: Any, keys: list[str]) -> None:
    cache.set_many(dict.fromkeys(keys, 1), 1000)


def _only_in_old(cache: Any, keys: list[str]) -> None:
    if hasattr(cache, "OLD"):
        cache.NEW.delete("migrator.transition.fence")
        cache.OLD.set_many(dict.fromkeys(keys, VALUE), 1000)
    else:
        _filled(cache, keys)


def _many(cache: Any, keys: list[str]) -> None:
    cache.set_many({f"{key}:{number}": VALUE for key in keys for number in range(MANY)}, 1000)


def _several(key: str) -> list[str]:
    return [f"{key}:{number}" for number in range(MANY)]


Operation = tuple[Callable[[Any, list[str]], None], Callable[[Any, str], Any]]
OPERATIONS: dict[str, Operation] = {
    "get, there": (_filled, lambda cache, key: cache.get(key)),
    "get, nowhere": (_nothing, lambda cache, key: cache.get(key)),
    "get, only in OLD": (_only_in_old, lambda cache, key: cache.get(key)),
    "set": (_nothing, lambda cache, key: cache.set(key, VALUE, 1000)),
    "set over": (_filled, lambda cache, key: cache.set(key, VALUE, 1000)),
    "add, missing key": (_nothing, lambda cache, key: cache.add(key, VALUE, 1000)),
    "add, there": (_filled, lambda cache, key: cache.add(key, VALUE, 1000)),
    "incr": (_numbered, lambda cache, key: cache.incr(key)),
    "touch": (_filled, lambda cache, key: cache.touch(key, 1000)),
    "delete": (_filled, lambda cache, key: cache.delete(key)),
    f"get_many of {MANY}": (_many, lambda cache, key: cache.get_many(_several(key))),
    f"set_many of {MANY}": (_nothing, lambda cache, key: cache.set_many(dict.fromkeys(_several(key), VALUE), 1000)),
    f"delete_many of {MANY}": (_many, lambda cache, key: cache.delete_many(_several(key))),
}


@contextmanager
def _caches() -> Iterator[None]:
    addresses = {name: caches.settings[f"redis_{letter}"]["LOCATION"] for name, letter in (("old", "a"), ("new", "b"))}
    sides = {
        name: {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": address, "KEY_PREFIX": "bench"}
        for name, address in addresses.items()
    }
    transitions = {
        f"in_{phase}": {"BACKEND": "migrator.caches.TransitionCache", "OLD": "old", "NEW": "new", "PHASE": str(phase)}
        for phase in Phase
    }
    with override_settings(CACHES={"default": sides["new"], **sides, **transitions}):
        for name in sides:
            caches[name].clear()
        yield
        for name in sides:
            caches[name].clear()


@contextmanager
def _counted() -> Iterator[None]:
    from redis.connection import AbstractConnection

    plain = AbstractConnection.send_packed_command
    mine = threading.get_ident()

    def send(connection: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == mine:  # another thread writes the counters
            Trips.number += 1
        return plain(connection, *args, **kwargs)

    AbstractConnection.send_packed_command = send  # type: ignore[method-assign]
    try:
        yield
    finally:
        AbstractConnection.send_packed_command = plain  # type: ignore[method-assign]
