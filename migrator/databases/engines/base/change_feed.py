"""The changes that transactions commit to a source while its rows are copied: the keys of rows, never their values.

A feed begins before the snapshot of the copy. What it reports twice, or too early, costs one look-up by the key. It
must never leave out a change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import Error

from .session_lifecycle import Lifecycle

KeyText = tuple[str | bytes, ...]


@dataclass(frozen=True)
class Change:
    """A row that a transaction has inserted, changed or deleted.

    ``table`` is the run's name of the table, and ``key`` the row's primary key in the order of the table's key columns,
    each value as a text (of binary values: bytes) that the database casts to the column's type; ``None`` if any row of
    the table may have changed. ``transaction`` is the feed's number for it. ``removes``: the row with this key may be
    gone, because it was deleted or got another key.
    """

    table: str
    key: KeyText | None
    transaction: int
    removes: bool = False


class FeedLost(Exception):
    """Changes may be missing from now on; the message says why, as the rest of a sentence."""


@contextmanager
def lost_with_session() -> Iterator[None]:
    """Convert an error of the session that reads changes into :exc:`FeedLost`: what it had is gone, or may be."""
    try:
        yield
    except Error as error:
        raise FeedLost(f"the session that reads changes failed ({type(error).__name__})") from error


class Moment(ABC):
    """A snapshot of the source, as the feed sees it."""

    @abstractmethod
    def sees(self, transaction: int) -> bool:
        """Whether the snapshot certainly has the changes of a transaction that the feed has reported."""

    def may_see(self, transaction: int) -> bool:
        """Whether it may have them: they are then used now, and once more in the next snapshot."""
        return self.sees(transaction)


class ChangeFeed(ABC):
    """The changes of some tables of one database, over a connection of its own that ends with the process.

    Nothing of it stays on the server when the connection ends, for whatever reason.
    """

    # The tables whose changes it cannot report: all their rows have to be compared.
    unreported: frozenset[str] = frozenset()

    def expect_snapshot(self) -> None:
        """Note what a snapshot sees that begins next, if no more can be known about it."""
        return

    @abstractmethod
    def moment(self, snapshot: str) -> Moment:
        """Describe a snapshot that has just begun, given what its session returned for :attr:`snapshot_query`.

        Raises :exc:`FeedLost` if the feed cannot get as far as what the snapshot has.
        """

    @property
    @abstractmethod
    def snapshot_query(self) -> str | None:
        """The query that names the snapshot of the session that runs it; ``None`` if there is none to run."""

    @abstractmethod
    def read(self) -> Iterator[Change]:
        """Yield each change once that was committed since the last call, at least all that the last moment sees.

        Raises :exc:`FeedLost`.
        """

    @abstractmethod
    def settled(self, transaction: int) -> bool:
        """Whether every snapshot that begins from now on has the changes of a transaction."""

    def being_written(self) -> frozenset[str]:
        """Return the tables to which transactions have written that are still open, as far as that is known.

        Raises :exc:`FeedLost`.
        """
        return frozenset()

    @abstractmethod
    def check(self, source: Lifecycle) -> None:
        """Check that the feed is complete so far: of the same server as ``source``, which keeps what is not read yet.

        Raises :exc:`FeedLost`.
        """

    @abstractmethod
    def close(self) -> None:
        """End the connection, and with it all that the server keeps for the feed."""
