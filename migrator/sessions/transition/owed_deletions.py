"""Deletions that a side missed while it was down, remembered by the worker and repeated when it answers again.

Until then the worker does not take such a session from that side. If the worker is killed before, comparing both sides
finds the session.
"""

from __future__ import annotations

from .sides import TransitionSide

# More than these are not remembered: by then the side has to be emptied anyway.
MOST_OWED = 100_000


class OwedDeletions:
    """The keys of sessions that a side still has to delete."""

    def __init__(self, side: TransitionSide) -> None:
        self._side = side
        self._keys: set[str] = set()

    def add(self, key: str) -> None:
        """Remember that a session was deleted in the other side."""
        if len(self._keys) < MOST_OWED:
            self._keys.add(key)

    def forget(self, key: str) -> None:
        """Note that the side has deleted a session."""
        self._keys.discard(key)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def repeat(self) -> int:
        """Delete the sessions, as the side has just answered; return how many were deleted."""
        if not self._keys or self._side.transactions:
            return 0
        count = 0
        try:
            for key in list(self._keys):
                self._side.delete(key)
                self.forget(key)
                count += 1
        except Exception:  # it is down again
            self._side.close()
        return count
