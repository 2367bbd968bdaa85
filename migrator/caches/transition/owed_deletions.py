"""Deletions that NEW missed while it was down, remembered by the worker and repeated when NEW answers again."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import Any

logger = logging.getLogger("migrator.caches.transition")

RETRY_SECONDS = 1.0
# More deletions than these are not remembered: by then NEW has to be cleared anyway.
MOST_OWED = 100_000


class OwedDeletions:
    """The keys, with their version, that NEW may still hold with an earlier value; shared by a process's threads."""

    def __init__(self, cache_name: str) -> None:
        self._cache_name = cache_name
        self._keys: set[tuple[str, int | None]] = set()
        self._has_overflowed = False
        # When reads may try again, by time.monotonic().
        self.retry_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(self, keys: Collection[str], version: int | None) -> None:
        """Remember keys whose deletion failed."""
        self.retry_at = time.monotonic() + RETRY_SECONDS
        if len(self._keys) + len(keys) <= MOST_OWED:
            self._keys.update((key, version) for key in keys)
        elif not self._has_overflowed:
            self._has_overflowed = True
            logger.error(
                "NEW of the cache %r has missed more deletions than are remembered: clear it before dual_new.",
                self._cache_name,
            )

    def is_due(self) -> bool:
        """Whether a read should repeat the deletions now, at most once a second; the next attempt is put off."""
        if not self._keys or self.retry_at > time.monotonic():
            return False
        self.retry_at = time.monotonic() + RETRY_SECONDS
        return True

    def repeat(self, new: Any) -> None:
        """Delete the keys from NEW; raise what it raises."""
        owed = list(self._keys)
        for version in {version for _, version in owed}:
            new.delete_many([key for key, other in owed if other == version], version=version)
        self._keys.difference_update(owed)

    def clear(self) -> None:
        """Forget the keys: NEW has been cleared."""
        self._keys.clear()
