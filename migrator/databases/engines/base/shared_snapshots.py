"""One snapshot that the sessions of several processes read."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass

from .session_lifecycle import Lifecycle


@dataclass(frozen=True)
class Invitation:
    """An invitation of sessions on other hosts to begin a snapshot together with the command.

    ``name`` is of no other command; at most as many ``sessions`` as this are wanted. ``send`` invites one for each
    seat, by its number, and ``check`` is called while the command waits for them.
    """

    name: str
    sessions: int
    send: Callable[[], None]
    check: Callable[[], None]


class SharedSnapshots(Lifecycle, ABC):
    """How other sessions read the snapshot of this one. The defaults: they don't."""

    # How many other sessions can read the snapshot, and why they are fewer than were requested.
    readers: int = 0
    readers_note: str | None = None
    # Whom :meth:`open_source` invites, if its snapshot has no name, and how many have begun it: ``None`` if none were.
    invitation: Invitation | None = None
    enlisted: int | None = None

    @property
    def snapshot_name(self) -> str | None:
        """The name by which sessions of other hosts can read the snapshot; ``None`` if it has no name."""
        return None

    def join_named_snapshot(self, name: str) -> None:
        """Read the snapshot of a session on another host, by its :attr:`snapshot_name`.

        Raises :exc:`~.errors.SnapshotLost` if that session has ended, or is one of another database.
        """
        raise NotImplementedError

    def begin_with_command(self, name: str, seat: int) -> bool:
        """Begin a snapshot together with the command of an :class:`Invitation`; return whether one has begun."""
        raise NotImplementedError

    def is_command_there(self) -> bool:
        """Whether the command still exists with which this session began its snapshot."""
        raise NotImplementedError

    def can_join(self, reader: int) -> bool:
        """Whether the process with this number can join the snapshot."""
        return False

    def join_snapshot(self, reader: int) -> None:
        """Read, in another process, the snapshot of the inherited session.

        Raises :exc:`~.errors.SnapshotLost` if that is no longer possible.
        """
        raise NotImplementedError

    def rejoin_snapshot(self) -> bool:
        """Join the same snapshot again after the connection was lost; return whether that worked."""
        return False

    def lose_reader(self, reader: int) -> None:
        """Clean up after a reader's process that has ended."""
        return
