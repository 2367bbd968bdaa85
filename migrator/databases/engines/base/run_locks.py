"""Which database a connection reaches, and the lock that keeps a second run out of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from .session_lifecycle import Lifecycle

# The most processes of a command that can share a run, and the most workers, those on other hosts included: each has a
# lock of its own in the destination.
MOST_PROCESSES = 64
MOST_WORKERS = 256


class RunLocks(Lifecycle, ABC):
    """The lock of a run, and the locks of its workers."""

    @abstractmethod
    def is_same_database(self, other: Lifecycle) -> bool:
        """Probe whether two connections of this engine reach the same physical database."""

    def follows(self, other: Lifecycle) -> bool:
        """Whether this is a replica of the other, a database of this engine, and receives what is written there."""
        return False

    def claim(self, tables: Sequence[str]) -> None:
        """Note the tables that a run writes to: its lock has to cover every schema that they are in."""
        return

    @abstractmethod
    def lock(self) -> bool:
        """Take the lock that keeps a second run off this destination; return ``False`` if another run holds it.

        With a ``worker`` it is that worker's own lock, which the server holds until it notices the worker's end.
        """

    def lock_holder(self) -> int | None:
        """Return the server's number for the session that holds that lock."""
        return None

    def is_locked(self) -> bool:
        """Whether a session holds that lock, without taking it."""
        return self.lock_holder() is not None

    @abstractmethod
    def unlock(self) -> None:
        """Release that lock."""

    def workers(self) -> set[int]:
        """Return the workers of a run that the server still has sessions of, whether their processes live or not."""
        return set()
