"""The two caches of a transition, which errors of theirs are tolerated, and what is counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router, transaction

from ...stores.value_reader import ValueReader
from ...transitions.metrics import Metrics
from ...transitions.phases import Phase
from .markers import Fence, Marks
from .owed_deletions import RETRY_SECONDS
from .process_state import Worker
from .same_store import same_by_server, shares_given_versions

logger = logging.getLogger("migrator.caches.transition")

# How long it takes until servers that did not answer are asked again.
PROBE_SECONDS = 60.0


class Sides:
    """OLD and NEW as objects of this thread, with what belongs to both."""

    def __init__(
        self,
        *,
        name: str,
        old: BaseCache,
        new: BaseCache,
        worker: Worker,
        metrics: Callable[[], Metrics],
        misses_when_old_is_down: bool,
        clears_old: bool,
    ) -> None:
        self.name = name
        self.old: Any = old
        self.new: Any = new
        self.worker = worker
        self.misses_when_old_is_down = misses_when_old_is_down
        self.clears_old = clears_old
        self.marks = Marks(old=old, new=new)
        self.fence = Fence(self.marks, worker)
        self.reader, self.new_reader = ValueReader(old), ValueReader(new)
        self._metrics = metrics

    def count(self, event: str, number: int = 1, *, phase: Phase) -> None:
        """Count an event; a number of 0 counts nothing."""
        if number:
            self._metrics().count(event, number, phase=phase)

    def forgive(self, error: Exception, what: str, *, phase: Phase) -> None:
        """Log and count an error of the side that is not authoritative."""
        side = "OLD" if phase.new_decides else "NEW"
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        # An error's own text may contain keys.
        logger.warning("%s of the cache %r failed to %s in phase %s (%s).", side, self.name, what, phase, kind)
        self.count("shadow_error", phase=phase)

    def clean_old(self) -> None:
        """Once a minute, remove a fence from OLD that a copy from NEW brought there on the way back.

        The next copy from OLD to NEW would bring it along, and NEW would not believe any value of OLD.
        """
        if not self.fence.is_cleaning_due():
            return
        with suppress(Exception), self.savepoint(self.old):  # if it is down, the call that follows raises
            if self.marks.remove_fence_from_old():
                logger.warning("A fence that was copied into OLD of the cache %r was removed.", self.name)

    def lift_fence(self) -> None:
        """Lift the fence before the first write in ``dual_old``; while NEW is down, try again once a second."""
        if self.worker.lifting_due > time.monotonic():
            return
        try:
            with self.savepoint(self.new):
                self.fence.lift()
        except Exception:  # the deletion in NEW that follows is counted
            self.worker.lifting_due = time.monotonic() + RETRY_SECONDS
        else:
            self.worker.lifting_due = float("inf")

    def check_stores_differ(self) -> None:
        """Raise :exc:`ImproperlyConfigured` if what is written to NEW is found in OLD; asked once in a process."""
        if self.worker.probe_due <= time.monotonic():
            try:
                with self.savepoint(self.old), self.savepoint(self.new):
                    self.worker.is_same_store = same_by_server(self.old, self.new)
                    self.worker.shares_given_versions = shares_given_versions(self.old, self.new)
                self.worker.probe_due = float("inf")
            except Exception:  # if a side is down, the call that needs it raises
                self.worker.probe_due = time.monotonic() + PROBE_SECONDS
        if self.worker.is_same_store:
            raise ImproperlyConfigured(
                f"OLD and NEW of the cache {self.name!r} are the same store: what is written to NEW is found in OLD. "
                "Give NEW another LOCATION or KEY_PREFIX."
            )

    def check_version(self, version: int | None) -> None:
        """Raise :exc:`ImproperlyConfigured` for a version passed with the call if both sides share its keys."""
        if version is not None and self.worker.shares_given_versions:
            raise ImproperlyConfigured(
                f"OLD and NEW of the cache {self.name!r} differ only in VERSION, so a call with version={version} uses "
                "the same key in both: deleting it from one deletes it from the other. Give NEW another LOCATION or "
                "KEY_PREFIX."
            )

    def savepoint(self, cache: Any) -> AbstractContextManager[Any]:
        """Keep a failing statement in a cache's table from breaking the transaction that it is part of."""
        if not isinstance(cache, BaseDatabaseCache):
            return nullcontext()
        database = router.db_for_write(cache.cache_model_class)
        return transaction.atomic(using=database) if connections[database].in_atomic_block else nullcontext()

    def after_commit(self, act: Callable[[], object]) -> None:
        """Act again after the commit if OLD's table was changed in a transaction.

        Until then other workers read, and promote, the earlier value.
        """
        if isinstance(self.old, BaseDatabaseCache):
            database = router.db_for_write(self.old.cache_model_class)
            if connections[database].in_atomic_block:
                transaction.on_commit(act, using=database, robust=True)

    def repeat_owed_deletions(self, *, phase: Phase) -> None:
        """Delete from NEW what it missed, for workers that only read; at most once a second."""
        if not self.worker.owed.is_due():
            return
        try:
            with self.savepoint(self.new):
                self.worker.owed.repeat(self.new)
        except Exception as error:
            if phase.new_decides:
                raise
            self.forgive(error, "delete", phase=phase)
