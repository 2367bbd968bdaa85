"""The counts of a transition in a cache."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.utils.functional import cached_property

from ..stores.ignore_exceptions import heard
from .metrics_storage import EVENTS, Clock, Count, MetricsStorage, Record, Sums
from .phases import Phase


class CacheMetricsStorage(MetricsStorage):
    """Counts under keys without expiry.

    ``<count>`` holds the moment of its start, ``<count>.<moment>.number`` and ``….last`` the rest. If the cache drops
    one of them, the count is unknown, and starts at a later moment when the event is counted next. All events of a
    phase start when the phase is first seen.
    """

    def __init__(self, cache: BaseCache, clock: Clock = lambda server: None) -> None:
        super().__init__(clock)
        self._given = cache
        self._own: Any = None

    def __str__(self) -> str:
        return f"a cache ({type(self._given).__name__})"

    def reset_after_fork(self) -> None:
        self._own = None

    @property
    def _cache(self) -> Any:
        """The cache with its own client: some clients must not be used by two threads."""
        if self._own is None:
            # A cache that hides its failures would lose counts.
            self._own = copy.copy(heard(self._given))
            if isinstance(getattr(type(self._own), "_cache", None), cached_property):
                vars(self._own).pop("_cache", None)
        return self._own

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Leave no connection open afterwards."""
        try:
            yield
        finally:
            self._cache.close()
            # Django's own close() leaves those of its Redis client open (django/core/cache/backends/redis.py).
            for pool in getattr(vars(self._cache).get("_cache"), "_pools", {}).values():
                pool.disconnect()

    def add(self, name: str, sums: Sums) -> None:
        with self._in_use():
            self._add(name, sums)

    def _add(self, name: str, sums: Sums) -> None:
        moment, _ = self._server_time(self._cache)
        phases = {phase for phase, _ in sums}
        wanted = [(phase, event) for phase in phases for event in EVENTS]
        started = self._started(name, dict.fromkeys([*wanted, *sums]))
        if all(phase.new_decides for phase in phases):
            self._cache.add(_new_decides_key(name), moment, timeout=None)
        else:
            self._cache.delete(_new_decides_key(name))
        for counter in [*wanted, *sums]:
            if counter not in started:
                started[counter] = self._start(name, counter, moment)
        for counter, number in list(sums.items()):
            if not self._increase(_key(name, counter, started[counter], "number"), number):
                started[counter] = self._start(name, counter, moment, overwrite=True)
                self._increase(_key(name, counter, started[counter], "number"), number)
            self._cache.set(_key(name, counter, started[counter], "last"), moment, timeout=None)
            del sums[counter]

    def _started(self, name: str, counters: Mapping[tuple[Phase, str], Any]) -> dict[tuple[Phase, str], int]:
        """Return the moment at which each count started, without those that the cache does not have."""
        found = self._cache.get_many([_key(name, counter) for counter in counters])
        return {counter: found[_key(name, counter)] for counter in counters if _key(name, counter) in found}

    def _start(self, name: str, counter: tuple[Phase, str], moment: int, *, overwrite: bool = False) -> int:
        """Start a count at 0; return its moment, or that of the worker that started it first."""
        self._cache.add(_key(name, counter, moment, "number"), 0, timeout=None)
        if overwrite:
            self._cache.set(_key(name, counter), moment, timeout=None)
        elif not self._cache.add(_key(name, counter), moment, timeout=None):
            first: int | None = self._cache.get(_key(name, counter))
            return moment if first is None else first
        return moment

    def _increase(self, key: str, number: int) -> bool:
        """Add to a number; return whether it existed."""
        if type(self._cache).incr is not BaseCache.incr:
            try:
                self._cache.incr(key, number)
                return True
            except ValueError:
                return False
            except NotImplementedError:  # django-redis' HerdClient
                pass
        # Django's own incr() would set the default timeout (django/core/cache/backends/base.py).
        value = self._cache.get(key)
        if value is None:
            return False
        self._cache.set(key, value + number, timeout=None)
        return True

    def read(self, name: str) -> Record:
        with self._in_use():
            return self._read(name)

    def _read(self, name: str) -> Record:
        started = self._started(name, dict.fromkeys((phase, event) for phase in Phase for event in EVENTS))
        keys = [_key(name, counter, since, what) for counter, since in started.items() for what in ("number", "last")]
        found = self._cache.get_many([*keys, _new_decides_key(name)])
        counts = {}
        for counter, since in started.items():
            number = found.get(_key(name, counter, since, "number"))
            last = found.get(_key(name, counter, since, "last"))
            if number is not None and (last is not None or not number):
                counts[counter] = Count(number, since, last)
        return Record(counts, found.get(_new_decides_key(name)), *self._server_time(self._cache))

    def reset(self, name: str) -> None:
        with self._in_use():
            self._reset(name)

    def _reset(self, name: str) -> None:
        counters = [(phase, event) for phase in Phase for event in EVENTS]
        started = self._started(name, dict.fromkeys(counters))
        keys = [_key(name, counter, since, what) for counter, since in started.items() for what in ("number", "last")]
        self._cache.delete_many([*keys, *(_key(name, counter) for counter in counters), _new_decides_key(name)])


def _key(name: str, counter: tuple[Phase, str], since: int | None = None, what: str = "") -> str:
    head = f"migrator.tally.{name}.{counter[0]}.{counter[1]}"
    return head if since is None else f"{head}.{since}.{what}"


def _new_decides_key(name: str) -> str:
    return f"migrator.tally.{name}.new_decides_since"
