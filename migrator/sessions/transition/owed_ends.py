"""Ends that a side has missed while it did not answer, remembered by the worker and made up for when it does.

Until then the worker does not take such a session from there. One that is killed before leaves it to the comparison
of both sides, which finds it.
"""

from __future__ import annotations

from .sides import TransitionSide

# More than these are not remembered: by then the side has to be emptied anyway.
MOST_OWED = 100_000


class OwedEnds:
    """The keys of sessions that a side still has to end."""

    def __init__(self, side: TransitionSide) -> None:
        self._side = side
        self._keys: set[str] = set()

    def owe(self, key: str) -> None:
        """Remember that a session has ended."""
        if len(self._keys) < MOST_OWED:
            self._keys.add(key)

    def forget(self, key: str) -> None:
        """Say that the side has ended a session."""
        self._keys.discard(key)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def pay(self) -> int:
        """End them, as the side has just answered; return how many that were."""
        if not self._keys or self._side.transactions:
            return 0
        paid = 0
        try:
            for key in list(self._keys):
                self._side.delete(key)
                self.forget(key)
                paid += 1
        except Exception:  # it is down again
            self._side.close()
        return paid
