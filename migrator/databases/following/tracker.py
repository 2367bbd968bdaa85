"""Keeps up with a feed while the run does something else, because the server keeps what has not been read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..engines.base.change_feed import ChangeFeed, FeedLost
from .changed_keys import ChangedKeys

# Between two readings, and so many times as long as the last one took: the server may read its WAL again each time,
# from the beginning of the oldest open transaction on.
EVERY_SECONDS = 10.0
TIMES_THE_LAST = 10


class ChangeTracker:
    """A feed and the keys that it has reported."""

    def __init__(self, feed: ChangeFeed) -> None:
        self.feed = feed
        self.changed = ChangedKeys()
        self._is_in_round = False
        self._lost: str | None = None
        self.has_ended = False
        self._due = time.monotonic() + EVERY_SECONDS

    def keep_up(self) -> None:
        """Read the feed if that is due; :meth:`read` raises what goes wrong."""
        if self._lost is None and not (self.has_ended or self._is_in_round) and time.monotonic() >= self._due:
            try:
                self.read()
                self.changed.settle(self.feed)
            except FeedLost as error:
                self._lost = str(error)

    @contextmanager
    def in_round(self) -> Iterator[None]:
        """Keep the keys of a round as they are until it ends."""
        self._is_in_round = True
        try:
            yield
        finally:
            self._is_in_round = False

    def read(self) -> None:
        """Read all that the feed has to report.

        Raises :exc:`FeedLost`.
        """
        if self._lost is not None:
            raise FeedLost(self._lost)
        began = time.monotonic()
        self.changed.read(self.feed)
        now = time.monotonic()
        self._due = now + max(EVERY_SECONDS, TIMES_THE_LAST * (now - began))

    def end(self) -> None:
        """End a feed of which changes may be missing; another one has to replace it."""
        self.has_ended = True
        self.feed.close()

    def replace(self, feed: ChangeFeed) -> None:
        """Begin again with another feed."""
        self.feed = feed
        self.changed.clear()
        self._lost, self.has_ended = None, False

    def close(self) -> None:
        """End the feed, and forget what it reported."""
        self.feed.close()
        self.changed.close()
