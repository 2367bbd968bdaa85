"""Metrics of a transition that add up over all workers: counted in memory, and added to a shared storage later."""

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

from .cache_metrics import CacheMetricsStorage
from .database_metrics import DatabaseMetricsStorage
from .metrics_storage import Clock, MetricsStorage, Record, Sums
from .phases import Phase

logger = logging.getLogger("migrator.tally")

RETRY_SECONDS = 30.0
# How long a process that exits waits for an addition that is running.
EXIT_SECONDS = 5.0


class Metrics:
    """The counts of one transition. Counting takes a microsecond and never raises.

    The counts are added to the storage some seconds later, in a separate thread: they are not part of any request's
    transaction, and no event loop waits for them. If the storage fails, that is logged once and the counts are kept.
    """

    def __init__(self, name: str, storage: MetricsStorage) -> None:
        self.name = name
        self.storage = storage
        self._added = -storage.interval
        self._has_failed = False
        self._start_empty()

    def _start_empty(self) -> None:
        """Start without counts; after a fork the parent's counts, locks and threads are not the child's."""
        self._sums: Sums = Counter()
        self._is_scheduled = False
        self._counting, self._adding = threading.Lock(), threading.Lock()

    def count(self, event: str, number: int = 1, *, phase: Phase) -> None:
        """Count an event, one of :data:`migrator.transitions.metrics_storage.EVENTS`, in a phase."""
        with self._counting:
            self._sums[phase, event] += number
            if self._is_scheduled:
                return
            self._is_scheduled = True
        self._schedule(self._added + self.storage.interval - time.monotonic())

    def flush(self) -> None:
        """Add the counts of this process to the storage now, and wait for that."""
        thread = self._thread(self._add_in_thread)
        thread.start()
        thread.join()

    def read(self) -> Record:
        """Return what all workers have added so far; raise what the storage raises."""
        with self._adding:
            return self.storage.read(self.name)

    def reset(self) -> None:
        """Delete the counts of all workers; raise what the storage raises."""
        with self._adding:
            self.storage.reset(self.name)

    def forget(self) -> None:
        """Drop the counts that this process has not added, after an addition that is running has ended."""
        with self._adding:
            self._taken()

    def _schedule(self, delay: float) -> None:
        def wait_and_add() -> None:
            time.sleep(max(delay, 0.0))
            self._add_in_thread()

        try:
            self._thread(wait_and_add).start()
        except RuntimeError as error:  # no more threads, or the process is about to exit
            self._log_failure(error)
            self._is_scheduled = False

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=work, name=f"metrics of {self.name}", daemon=True)

    def _add_in_thread(self) -> None:
        """Add in a separate thread, and close the connections of that thread."""
        try:
            self._add()
        finally:
            connections.close_all()

    def _add(self, timeout: float = -1) -> None:
        if not self._adding.acquire(timeout=timeout):
            return
        try:
            sums = self._taken()
            if not sums:
                return
            try:
                self.storage.add(self.name, sums)
                self._has_failed = False
            except Exception as error:
                self._keep(sums)
                self._log_failure(error)
        finally:
            self._adding.release()

    def _taken(self) -> Sums:
        """Return the counts of this process and start again without any."""
        with self._counting:
            sums, self._sums, self._is_scheduled = self._sums, Counter(), False
            self._added = time.monotonic()
        return sums

    def _keep(self, sums: Sums) -> None:
        """Keep what could not be added, and try again later even if nothing more is counted."""
        with self._counting:
            self._sums.update(sums)
            is_scheduled, self._is_scheduled = self._is_scheduled, True
        if not is_scheduled:
            self._schedule(RETRY_SECONDS)

    def _log_failure(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            kind = f"{type(error).__module__}.{type(error).__qualname__}"
            logger.warning("The counts of %s could not be stored in %s (%s).", self.name, self.storage, kind)


_by_name: dict[str, Metrics] = {}
_creating = threading.Lock()


def metrics_for_cache(name: str, cache: BaseCache, clock: Clock = lambda server: None) -> Metrics:
    """Return this process's only metrics of that name, stored in a cache."""
    return _metrics(name, lambda: CacheMetricsStorage(cache, clock))


def metrics_for_database(name: str, alias: str, clock: Clock = lambda server: None) -> Metrics:
    """Return this process's only metrics of that name, stored in a small table that is created when first needed."""
    return _metrics(name, lambda: DatabaseMetricsStorage(alias, clock))


def _metrics(name: str, storage: Callable[[], MetricsStorage]) -> Metrics:
    with _creating:
        if name not in _by_name:
            _by_name[name] = Metrics(name, storage())
        return _by_name[name]


def _reset_after_fork() -> None:
    global _creating
    _creating = threading.Lock()
    for metrics in _by_name.values():
        metrics._start_empty()
        metrics.storage.reset_after_fork()


def _add_at_exit() -> None:
    for metrics in list(_by_name.values()):
        metrics._add(EXIT_SECONDS)


def _forget_storages(*, setting: str, **kwargs: Any) -> None:
    """Drop all metrics when a test changes the settings that their storages come from."""
    if setting in ("CACHES", "DATABASES", "MIGRATOR"):
        for metrics in _by_name.values():
            metrics.forget()
        _by_name.clear()


os.register_at_fork(after_in_child=_reset_after_fork)
atexit.register(_add_at_exit)
setting_changed.connect(_forget_storages)
