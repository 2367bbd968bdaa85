"""What workers count during a transition, and the interface of the storages in which the counts add up.

A count that a storage has lost must never look like a count of 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..clock import elapsed_since, now
from .phases import Phase

EVENTS = ("hit_old", "hit_new", "fallback", "promoted", "miss", "shadow_error", "repaired", "changed", "unreadable")

Sums = Counter[tuple[Phase, str]]
# Takes the cache, or the connection to the database, and returns the time of its server in microseconds of Unix time;
# None if the server does not report it.
Clock = Callable[[Any], int | None]
# A host's clock that differs by less than this from the server's counts as correct, in microseconds.
TOLERATED = 2_000_000


@dataclass(frozen=True)
class Count:
    """How often an event was counted, since when, and when last, in microseconds of Unix time.

    ``last`` is None if the event was never counted.
    """

    number: int
    since: int
    last: int | None


@dataclass(frozen=True)
class Record:
    """What all workers have counted, by phase and event. An event that is missing in ``counts`` is unknown, not 0."""

    counts: Mapping[tuple[Phase, str], Count]
    # Since when no worker was seen in a phase in which OLD is authoritative; None if that is unknown.
    new_decides_since: int | None
    # When it was read, by the storage server's clock, and how far this host's clock is ahead of that; in microseconds.
    read_at: int = field(default_factory=now, compare=False)
    ahead: int = field(default=0, compare=False)

    def first_seen(self, phase: Phase) -> int | None:
        """Return when a worker was first seen in a phase; None if none was, or if that is unknown."""
        return min((count.since for (of, _), count in self.counts.items() if of is phase), default=None)

    def last_seen(self, phase: Phase) -> int | None:
        """Return when a worker was last seen in a phase; None if none was, or if that is unknown."""
        return max((count.last or count.since for (of, _), count in self.counts.items() if of is phase), default=None)

    def seen(self) -> dict[Phase, int]:
        """Return when a worker was last seen in each phase, without the phases in which none was."""
        moments = {phase: self.last_seen(phase) for phase in Phase}
        return {phase: moment for phase, moment in moments.items() if moment is not None}

    def last_phase(self, *, other_than: Phase) -> Phase | None:
        """Return the phase in which a worker was last seen, of all but one; None if none was seen in the others."""
        seen = {phase: moment for phase, moment in self.seen().items() if phase is not other_than}
        return max(seen, key=lambda phase: seen[phase], default=None)


class MetricsStorage:
    """The interface of all storages. Each method may raise what the cache or the database raises."""

    # How many seconds a worker waits between two additions.
    interval = 5.0

    def __init__(self, clock: Clock = lambda server: None) -> None:
        self._clock = clock

    def _server_time(self, server: Any) -> tuple[int, int]:
        """Return the server's time, by which all workers' moments are stored, and how far this host is ahead of it.

        If each worker used its own clock, one whose clock is minutes behind would look as if it were gone.
        """
        ahead = self._ahead(server)
        return now() - ahead, ahead

    def _ahead(self, server: Any) -> int:
        try:
            time = self._clock(server)
        except Exception:  # without the permission, or the command
            time = None
        ahead = 0 if time is None else elapsed_since(time)
        return ahead if abs(ahead) >= TOLERATED else 0

    def add(self, name: str, sums: Sums) -> None:
        """Add to the counts under ``name``; remove from ``sums`` what was added, so that the rest can be retried."""
        raise NotImplementedError

    def read(self, name: str) -> Record:
        """Return the counts under ``name``."""
        raise NotImplementedError

    def reset(self, name: str) -> None:
        """Delete the counts under ``name``."""
        raise NotImplementedError

    def reset_after_fork(self) -> None:
        """Drop the connections that belong to the parent of this process."""
