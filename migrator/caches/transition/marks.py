"""Marks kept in NEW that say which values of OLD must not come back.

A mark on a key: a write of it did not reach OLD. The fence: something changed NEW alone, so no value of OLD is to be
trusted. They are read only where a value would be taken from OLD.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

from django.core.cache.backends.base import BaseCache

FENCE = "migrator.transition.fence"
# Longer than any value waits in OLD for a change to be over.
MARK_SECONDS = 30 * 24 * 3600
# More than a worker takes for one value, and than clocks differ.
_KNOWN_TO_ALL_SECONDS = 10.0


class Marks:
    """The marks of one pair of caches."""

    def __init__(self, *, old: BaseCache, new: BaseCache) -> None:
        self._old: Any = old
        self._new: Any = new

    def distrust(self, keys: Iterable[str], version: int | None) -> None:
        """Mark keys whose value in OLD may be an earlier one."""
        self._new.set_many({self._mark(key, version): 1 for key in keys}, MARK_SECONDS)

    def fence(self) -> bool:
        """Say that no value of OLD may be taken any more, until NEW is cleared; tell whether that is news to some."""
        said = self._new.get(FENCE)
        if said is None:
            self._new.set(FENCE, time.time(), None)
        return said is None or abs(time.time() - said) < _KNOWN_TO_ALL_SECONDS

    def unfence_old(self) -> bool:
        """Remove a fence from OLD, where none belongs; tell whether there was one."""
        return self._old.get(FENCE) is not None and bool(self._old.delete(FENCE))

    def barred(self, keys: Iterable[str], version: int | None) -> set[str]:
        """Return those of the keys whose value in OLD must not be taken."""
        marks = {self._mark(key, version): key for key in keys}
        found = self._new.get_many([FENCE, *marks])
        return set(marks.values()) if FENCE in found else {marks[mark] for mark in found}

    def _mark(self, key: str, version: int | None) -> str:
        # Of one length, and of signs that every backend takes.
        named = f"{self._old.version if version is None else version}:{key}"
        return f"migrator.transition.{hashlib.sha256(named.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
