"""MySQL and MariaDB: sessions of other hosts that begin the snapshot of a command at the same moment as it does.

No session can join such a snapshot later, so those of other hosts are enlisted before it begins. All that the two sides
exchange is who holds which named lock of the source: such locks need no privilege, write nothing, and end with their
session (MySQL manual, "Locking Functions"). In names of locks, ``name`` is that of the invitation:

- ``{name}-command`` is held as long as the command's own snapshot lives;
- ``{name}-door`` as long as more sessions may enlist, and ``{name}-rounds`` as long as they may have to begin again;
- ``{name}-gate-{round}`` until that round begins: sessions wait for it, and pass it on at once;
- ``{name}-seat-{seat}`` by an enlisted session, and ``{name}-begun-{round}-{seat}`` once its snapshot has begun.

The command alone decides which snapshots are valid: those that have begun while it keeps all writers from committing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from ..base.session import DatabaseSession
from ..base.shared_snapshots import Invitation

# So long the first session has to enlist, and each further one after the last that came.
FIRST_SECONDS = 10.0
NEXT_SECONDS = 3.0
# So long all enlisted sessions have to begin, while writers may wait for them.
BEGIN_SECONDS = 2.0
POLL_SECONDS = 0.02
# How often a waiting session looks whether the command still exists.
WAIT_SECONDS = 1


class EnlistedSessions:
    """The command's side. ``session`` holds the locks, and is of no other use to the server's transactions."""

    def __init__(self, session: DatabaseSession, invitation: Invitation) -> None:
        self._session, self._invitation = session, invitation
        self._round = 0
        # The server's numbers of the sessions that have begun in the last round.
        self.begun: frozenset[int] = frozenset()

    def gather(self) -> None:
        """Invite sessions, and wait until they have enlisted, or no more come."""
        for lock in ("door", "rounds", "gate-0"):
            _take(self._session, self._lock(lock))
        self._invitation.send()
        count, deadline = 0, time.monotonic() + FIRST_SECONDS
        while count < self._invitation.sessions and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            self._invitation.check()
            if (now := len(self._holders("seat"))) > count:
                count, deadline = now, time.monotonic() + NEXT_SECONDS
        _release(self._session, self._lock("door"))

    def begin(self) -> None:
        """Let the enlisted sessions begin, in a new round."""
        _take(self._session, self._lock(f"gate-{self._round + 1}"))
        _release(self._session, self._lock(f"gate-{self._round}"))
        deadline = time.monotonic() + BEGIN_SECONDS
        while True:
            self.begun = self._holders(f"begun-{self._round}")
            if self.begun >= self._holders("seat") or time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS / 10)
        self._round += 1

    def end(self) -> None:
        """Let the sessions keep the snapshots that they have begun: in this order, or one might begin another."""
        _release(self._session, self._lock("rounds"))
        _release(self._session, self._lock(f"gate-{self._round}"))

    def _holders(self, kind: str) -> frozenset[int]:
        seats = range(self._invitation.sessions)
        names = [self._lock(f"{kind}-{seat}") for seat in seats]
        ((*held,),) = self._session.fetch_all(f"SELECT {', '.join(['IS_USED_LOCK(%s)'] * len(names))}", names)
        return frozenset(int(holder) for holder in held if holder is not None)

    def _lock(self, name: str) -> str:
        return f"{self._invitation.name}-{name}"


def hold_for_command(session: DatabaseSession, name: str) -> None:
    """Let the enlisted sessions see that the command exists, as long as ``session`` does."""
    _take(session, f"{name}-command")


def dismiss(session: DatabaseSession, name: str) -> None:
    """Let the enlisted sessions end."""
    _release(session, f"{name}-command")


def is_command_there(session: DatabaseSession, name: str) -> bool:
    """Whether the command of an invitation still exists."""
    return _is_held(session, f"{name}-command")


def begin_with_command(session: DatabaseSession, name: str, seat: int, begin: Callable[[], None]) -> bool:
    """Enlist a session, and ``begin`` its snapshot together with the command's, in as many rounds as that needs.

    Returns whether a snapshot has begun; it is valid if the command counts it.
    """
    if not _take(session, f"{name}-seat-{seat}") or not _is_held(session, f"{name}-door"):
        return False
    rounds = 0
    while _passes_gate(session, name, rounds) and _is_held(session, f"{name}-rounds"):
        begin()
        _take(session, f"{name}-begun-{rounds}-{seat}")
        rounds += 1
    return rounds > 0 and is_command_there(session, name)


def named(name: str, enlisted: Collection[int]) -> str:
    """Return the name of a snapshot that the sessions with these numbers have begun with the command."""
    return f"{name}:{','.join(map(str, sorted(enlisted)))}"


def is_enlisted(session: DatabaseSession, snapshot: str) -> bool:
    """Whether a session has begun the snapshot of that name, and is still the same session."""
    name, _, enlisted = snapshot.partition(":")
    number = session.fetch_value("SELECT CONNECTION_ID()")
    return str(number) in enlisted.split(",") and is_command_there(session, name)


def _passes_gate(session: DatabaseSession, name: str, number: int) -> bool:
    """Wait until a round begins, or there will be none; return whether the command exists."""
    gate = f"{name}-gate-{number}"
    while not _take(session, gate, WAIT_SECONDS):
        if not is_command_there(session, name):
            return False
    _release(session, gate)
    return True


def _take(session: DatabaseSession, lock: str, seconds: int = 0) -> bool:
    return bool(session.fetch_value("SELECT GET_LOCK(%s, %s)", (lock, seconds)) == 1)


def _release(session: DatabaseSession, lock: str) -> None:
    session.fetch_value("SELECT RELEASE_LOCK(%s)", (lock,))


def _is_held(session: DatabaseSession, lock: str) -> bool:
    return session.fetch_value("SELECT IS_USED_LOCK(%s)", (lock,)) is not None
