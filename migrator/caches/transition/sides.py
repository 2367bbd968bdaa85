"""The two caches of a transition, how errors of the one that does not decide are borne, and what is counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router, transaction

from ...transitions.metrics import Metrics
from ...transitions.phases import Phase
from .marks import Marks
from .readers import CacheReader, TableReader, reader_of

logger = logging.getLogger("migrator.caches.transition")

FENCE_SECONDS = 60.0
# A promotion that was begun before the fence was put up, and takes no longer, is over before NEW is changed alone.
GRACE_SECONDS = 0.1
_PROBE = "migrator.transition.probe"
_PROBE_SECONDS = 60
PAY_SECONDS = 1.0
# More deletions than these are not remembered: by then NEW has to be cleared anyway.
MOST_OWED = 100_000


@dataclass
class Worker:
    """What one process knows of a transition, whichever of its threads learnt it."""

    fence_due: float = 0.0
    probe_due: float = 0.0
    cleaning_due: float = 0.0
    is_one_place: bool = False
    # Whether a key of a version that is given with the call is one and the same on both sides.
    shares_versions: bool = False
    owed: set[tuple[str, int | None]] = field(default_factory=set)
    pay_due: float = 0.0
    has_overflowed: bool = False


class Sides:
    """OLD and NEW as objects of this thread, with what belongs to both."""

    def __init__(
        self,
        *,
        name: str,
        old: BaseCache,
        new: BaseCache,
        worker: Worker,
        tally: Callable[[], Metrics],
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
        self.reader: CacheReader = reader_of(old)
        self.new_reader: CacheReader = reader_of(new)
        self._tally = tally

    def count(self, event: str, number: int = 1, *, phase: Phase) -> None:
        """Count what happened; nothing is counted for nought."""
        if number:
            self._tally().count(event, number, phase=phase)

    def forgive(self, error: Exception, what: str, *, phase: Phase) -> None:
        """Log and count an error of the side that does not decide."""
        side = "OLD" if phase.new_decides else "NEW"
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        # An error's own text may hold keys.
        logger.warning("%s of the cache %r failed to %s in phase %s (%s).", side, self.name, what, phase, kind)
        self.count("shadow_error", phase=phase)

    def keep_fence(self) -> None:
        """Before NEW is changed alone: say so, once a minute, to workers that would still ask OLD."""
        if self.worker.fence_due > time.monotonic():
            return
        self.fence()
        self.worker.fence_due = time.monotonic() + FENCE_SECONDS

    def fence(self) -> None:
        """Put up the fence, and let others end what they had begun before."""
        if self.marks.fence():
            time.sleep(GRACE_SECONDS)

    def clean_old(self) -> None:
        """Once a minute, take a fence out of OLD, where a copy from NEW brought it on a way back.

        The next copy from OLD to NEW would bring it along, and NEW would believe nothing of OLD.
        """
        if self.worker.cleaning_due > time.monotonic():
            return
        self.worker.cleaning_due = time.monotonic() + FENCE_SECONDS
        with suppress(Exception), self.sparing(self.old):  # where it is down, the call that is due says so
            if self.marks.unfence_old():
                logger.warning("A fence that was copied into OLD of the cache %r was removed.", self.name)

    def check_apart(self) -> None:
        """Raise :exc:`ImproperlyConfigured` where what is written to NEW is found in OLD; asked once in a process."""
        if self.worker.probe_due <= time.monotonic():
            try:
                with self.sparing(self.old), self.sparing(self.new):
                    self.worker.is_one_place = is_one_place(self.old, self.new)
                    self.worker.shares_versions = shares_versions(self.old, self.new)
                self.worker.probe_due = float("inf")
            except Exception:  # a side that is down says so itself where it matters
                self.worker.probe_due = time.monotonic() + FENCE_SECONDS
        if self.worker.is_one_place:
            raise ImproperlyConfigured(
                f"OLD and NEW of the cache {self.name!r} are the same place: what is written to NEW is found in OLD. "
                "Give NEW another LOCATION or KEY_PREFIX."
            )

    def check_version(self, version: int | None) -> None:
        """Raise :exc:`ImproperlyConfigured` for a version that is given, where it leads to one key of both sides."""
        if version is not None and self.worker.shares_versions:
            raise ImproperlyConfigured(
                f"OLD and NEW of the cache {self.name!r} differ in VERSION alone, so a key of the given version "
                f"{version} is the same in both: what is deleted from one is gone. Give NEW another LOCATION or "
                "KEY_PREFIX."
            )

    def sparing(self, cache: Any) -> AbstractContextManager[Any]:
        """Keep a statement that fails in the table of a cache from breaking the transaction that it is a part of."""
        if not isinstance(cache, BaseDatabaseCache):
            return nullcontext()
        database = router.db_for_write(cache.cache_model_class)
        return transaction.atomic(using=database) if connections[database].in_atomic_block else nullcontext()

    def after_commit(self, act: Callable[[], object]) -> None:
        """Act once more when the transaction ends in which OLD's table was changed; until then others see it as it was.

        What they promote meanwhile is the earlier value.
        """
        if isinstance(self.reader, TableReader):
            database = router.db_for_write(self.old.cache_model_class)
            if connections[database].in_atomic_block:
                transaction.on_commit(act, using=database, robust=True)

    # Deletions in NEW that did not reach it

    def owe(self, keys: Collection[str], version: int | None) -> None:
        """Remember keys that NEW may still hold with an earlier value."""
        self.worker.pay_due = time.monotonic() + PAY_SECONDS
        if len(self.worker.owed) + len(keys) <= MOST_OWED:
            self.worker.owed.update((key, version) for key in keys)
        elif not self.worker.has_overflowed:
            self.worker.has_overflowed = True
            logger.error(
                "NEW of the cache %r has missed more deletions than are remembered: clear it before it decides.",
                self.name,
            )

    def pay(self) -> None:
        """Delete from NEW what could not be deleted when it was due."""
        owed = list(self.worker.owed)
        for version in {version for _, version in owed}:
            self.new.delete_many([key for key, other in owed if other == version], version=version)
        self.worker.owed.difference_update(owed)

    def try_to_pay(self, *, phase: Phase) -> None:
        """Pay where nothing else is written, once a second at most."""
        if self.worker.owed and self.worker.pay_due <= time.monotonic():
            self.worker.pay_due = time.monotonic() + PAY_SECONDS
            try:
                with self.sparing(self.new):
                    self.pay()
            except Exception as error:
                if phase.new_decides:
                    raise
                self.forgive(error, "delete", phase=phase)


def is_one_place(old: Any, new: Any, version: int | None = None) -> bool:
    """Tell whether two caches hold their keys in one place, by writing a key to one and looking for it in the other."""
    token, key = uuid4().hex, f"{_PROBE}.{uuid4().hex}"
    new.set(key, token, _PROBE_SECONDS, version=version)
    try:
        return bool(old.get(key, version=version) == token)
    finally:
        new.delete(key, version=version)


def shares_versions(old: Any, new: Any) -> bool:
    """Tell whether two caches that keep their own keys apart by VERSION hold keys of a given version in one place."""
    if old.make_key(_PROBE) == new.make_key(_PROBE):
        return False
    same = old.make_key(_PROBE, version=0) == new.make_key(_PROBE, version=0)
    return same and is_one_place(old, new, version=0)
