"""Markers kept in NEW: which values of OLD must not come back.

A marker for a key says that a write of it did not reach OLD. The fence says that NEW was changed alone, so that no
value of OLD is believed any more. Both are read only when a value would be taken from OLD.

The fence holds the moment at which it was set. A negative one says that no write is missing in OLD: it was emptied, or
NEW was cleared without it. Such a fence is removed by the first worker that writes in ``dual_old``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

from django.core.cache.backends.base import BaseCache

from .process_state import Worker

FENCE = "migrator.transition.fence"
# Longer than any value waits in OLD until the transition is over.
MARK_SECONDS = 30 * 24 * 3600
# More than a worker takes for one value, and more than clocks differ.
_KNOWN_TO_ALL_SECONDS = 10.0
# How often a worker renews the fence.
FENCE_SECONDS = 60.0
# A promotion that began before the fence was set, and takes no longer than this, is over before NEW is changed alone.
GRACE_SECONDS = 0.1


class Marks:
    """The markers of one pair of caches."""

    def __init__(self, *, old: BaseCache, new: BaseCache) -> None:
        self._old: Any = old
        self._new: Any = new

    def distrust(self, keys: Iterable[str], version: int | None) -> None:
        """Mark keys whose value in OLD may be an earlier one."""
        self._new.set_many({self._mark(key, version): 1 for key in keys}, MARK_SECONDS)

    def set_fence(self, *, old_lacks_writes: bool = True) -> bool:
        """Bar all values of OLD; return whether some workers may not have seen the fence yet."""
        set_at = self._new.get(FENCE)
        if set_at is None or (set_at < 0 and old_lacks_writes):
            self._new.set(FENCE, time.time() if old_lacks_writes else -time.time(), None)
        return set_at is None or abs(time.time() - abs(set_at)) < _KNOWN_TO_ALL_SECONDS

    def is_fenced(self) -> bool:
        """Whether all values of OLD are barred."""
        return self._new.get(FENCE) is not None

    def is_old_complete(self) -> bool:
        """Whether there is a fence that says that no write is missing in OLD."""
        return (self._new.get(FENCE) or 0) < 0

    def note_old_is_emptied(self) -> None:
        """Change the fence to one that says that no write is missing in OLD."""
        self._new.set(FENCE, -time.time(), None)

    def remove_fence(self) -> None:
        """Bar no value of OLD any more, except those that were marked one by one."""
        self._new.delete(FENCE)

    def remove_fence_from_old(self) -> bool:
        """Remove a fence from OLD, where it does not belong; return whether there was one."""
        return self._old.get(FENCE) is not None and bool(self._old.delete(FENCE))

    def barred(self, keys: Iterable[str], version: int | None) -> set[str]:
        """Return those of the keys whose value in OLD must not be taken."""
        marks = {self._mark(key, version): key for key in keys}
        found = self._new.get_many([FENCE, *marks])
        return set(marks.values()) if FENCE in found else {marks[mark] for mark in found}

    def _mark(self, key: str, version: int | None) -> str:
        # Of one length, and of characters that every backend accepts.
        named = f"{self._old.version if version is None else version}:{key}"
        return f"migrator.transition.{hashlib.sha256(named.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


class Fence:
    """Sets the fence for one worker, before it changes NEW alone."""

    def __init__(self, marks: Marks, worker: Worker) -> None:
        self._marks, self._worker = marks, worker

    def set(self, *, old_lacks_writes: bool = True) -> None:
        """Set the fence, and let other workers finish what they began before."""
        if self._marks.set_fence(old_lacks_writes=old_lacks_writes):
            time.sleep(GRACE_SECONDS)

    def lift(self) -> None:
        """Remove the fence before this worker writes to OLD alone, unless OLD lacks writes.

        Workers in ``dual_new`` must believe what is written then. What they began behind the fence is finished first.
        """
        if self._marks.is_old_complete():
            self._marks.remove_fence()
            time.sleep(GRACE_SECONDS)

    def renew(self) -> None:
        """Set the fence once a minute, for workers that would still ask OLD."""
        if self._worker.fence_due > time.monotonic():
            return
        self.set()
        self._worker.fence_due = time.monotonic() + FENCE_SECONDS

    def is_cleaning_due(self) -> bool:
        """Whether OLD should be searched for a fence now, at most once a minute; the next search is put off."""
        if self._worker.cleaning_due > time.monotonic():
            return False
        self._worker.cleaning_due = time.monotonic() + FENCE_SECONDS
        return True
