"""Counters of a transition that add up over all workers: summed in memory, now and then added to a shared place."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.signals import setting_changed
from django.db import connections

from .metrics_storage import CachePlace, Clock, DatabasePlace, Place, Record, Sums
from .phases import Phase

logger = logging.getLogger("migrator.tally")

RETRY_SECONDS = 30.0
# How long the end of a process waits for an addition that is on its way.
EXIT_SECONDS = 5.0


class Metrics:
    """The counters of one transition. Counting takes a microsecond, and never raises.

    What was counted is added to the place some seconds later, in a thread of its own: so no transaction of a request
    has a part in it, and no event loop waits for it. Where the place does not answer, that is logged once and the
    counts are kept.
    """

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self.place = place
        self._added = -place.interval
        self._has_failed = False
        self._begin()

    def _begin(self) -> None:
        """Begin with nothing counted; after a fork the parent's counts, locks and threads are not the child's."""
        self._sums: Sums = Counter()
        self._is_scheduled = False
        self._counting, self._adding = threading.Lock(), threading.Lock()

    def count(self, event: str, number: int = 1, *, phase: Phase) -> None:
        """Count what happened in a phase; ``event`` is one of :data:`migrator.transitions.metrics_storage.EVENTS`."""
        with self._counting:
            self._sums[phase, event] += number
            if self._is_scheduled:
                return
            self._is_scheduled = True
        self._schedule(self._added + self.place.interval - time.monotonic())

    def flush(self) -> None:
        """Add what was counted to the place now, and wait for that."""
        thread = self._thread(self._add_apart)
        thread.start()
        thread.join()

    def read(self) -> Record:
        """Read what all workers have added so far; raise whatever the place raises."""
        with self._adding:
            return self.place.read(self.name)

    def reset(self) -> None:
        """Forget what all workers have counted; raise whatever the place raises."""
        with self._adding:
            self.place.reset(self.name)

    def forget(self) -> None:
        """Forget what this process counted and has not added, once an addition that is on its way has ended."""
        with self._adding:
            self._taken()

    def _schedule(self, delay: float) -> None:
        def wait_and_add() -> None:
            time.sleep(max(delay, 0.0))
            self._add_apart()

        try:
            self._thread(wait_and_add).start()
        except RuntimeError as error:  # no more threads, or the process is about to end
            self._complain(error)
            self._is_scheduled = False

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=work, name=f"tally of {self.name}", daemon=True)

    def _add_apart(self) -> None:
        """Add in a thread of its own, with connections of its own."""
        try:
            self._add()
        finally:
            connections.close_all()

    def _add(self, patience: float = -1) -> None:
        if not self._adding.acquire(timeout=patience):
            return
        try:
            sums = self._taken()
            if not sums:
                return
            try:
                self.place.add(self.name, sums)
                self._has_failed = False
            except Exception as error:
                self._keep(sums)
                self._complain(error)
        finally:
            self._adding.release()

    def _taken(self) -> Sums:
        with self._counting:
            sums, self._sums, self._is_scheduled = self._sums, Counter(), False
            self._added = time.monotonic()
        return sums

    def _keep(self, sums: Sums) -> None:
        """Take back what could not be added, and try again later even if nothing more is counted."""
        with self._counting:
            self._sums.update(sums)
            is_scheduled, self._is_scheduled = self._is_scheduled, True
        if not is_scheduled:
            self._schedule(RETRY_SECONDS)

    def _complain(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            kind = f"{type(error).__module__}.{type(error).__qualname__}"
            logger.warning("The counts of %s could not be kept in %s (%s).", self.name, self.place, kind)


_tallies: dict[str, Metrics] = {}
_making = threading.Lock()


def metrics_for_cache(name: str, cache: BaseCache, clock: Clock = lambda server: None) -> Metrics:
    """Return the process's one tally of that name, kept in a cache."""
    return _tally(name, lambda: CachePlace(cache, clock))


def metrics_for_database(name: str, alias: str, clock: Clock = lambda server: None) -> Metrics:
    """Return the process's one tally of that name, kept in a small table of a database, made when first needed."""
    return _tally(name, lambda: DatabasePlace(alias, clock))


def _tally(name: str, place: Callable[[], Place]) -> Metrics:
    with _making:
        if name not in _tallies:
            _tallies[name] = Metrics(name, place())
        return _tallies[name]


def _begin_anew_after_fork() -> None:
    global _making
    _making = threading.Lock()
    for tally in _tallies.values():
        tally._begin()
        tally.place.begin_anew()


def _add_at_exit() -> None:
    for tally in list(_tallies.values()):
        tally._add(EXIT_SECONDS)


def _forget_places(*, setting: str, **kwargs: Any) -> None:
    """Make tallies anew where a test changes the settings that their places come from."""
    if setting in ("CACHES", "DATABASES", "MIGRATOR"):
        for tally in _tallies.values():
            tally.forget()
        _tallies.clear()


os.register_at_fork(after_in_child=_begin_anew_after_fork)
atexit.register(_add_at_exit)
setting_changed.connect(_forget_places)
