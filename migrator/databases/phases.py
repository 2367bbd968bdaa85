"""The phases of a run, and how long each of them took: their seconds add up to the whole run."""

from __future__ import annotations

import time
from enum import StrEnum


class Phase(StrEnum):
    """What a run is doing. Reports and documents show these words."""

    CHECKS = "checks"
    MIGRATIONS = "migrations"
    WAITING = "waiting"  # for the user's answer; not counted as part of the run
    PREPARATION = "preparation"
    RECHECK = "re-check"
    COPYING = "copying"
    INDEXES = "indexes and keys"
    SEQUENCES = "sequences"
    VERIFICATION = "verification"
    COMPARING = "comparing"
    WRITING = "writing"
    FOLLOWING = "following"
    SAMPLE = "sample"  # of a forecast
    CLEANUP = "cleanup"


class Stopwatch:
    """Measures phases, one after another: one lasts until the next begins, and may come again."""

    def __init__(self, phase: Phase = Phase.CHECKS) -> None:
        self.phase = phase
        self._began = time.perf_counter()
        self._seconds: dict[Phase, float] = {}

    def begin(self, phase: Phase) -> None:
        """End the current phase, and begin another."""
        self._stop()
        self.phase = phase

    def seconds(self, phase: Phase) -> float:
        """Return how long a phase has taken so far."""
        self._stop()
        return self._seconds.get(phase, 0.0)

    def timings(self) -> tuple[tuple[str, float], ...]:
        """Return how long each phase has taken so far, in the order in which they began, without the waiting."""
        self._stop()
        return tuple((str(phase), spent) for phase, spent in self._seconds.items() if phase is not Phase.WAITING)

    def _stop(self) -> None:
        now = time.perf_counter()
        self._seconds[self.phase] = self._seconds.get(self.phase, 0.0) + now - self._began
        self._began = now
