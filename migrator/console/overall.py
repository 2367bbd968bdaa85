"""How far a run of several stages is as a whole: arithmetic only, drawn elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping


class Overall:
    """The stages of a run, of which each is a part of the work by its weight, and counts its own units.

    A stage without a weight takes no time worth counting. One that counts no units is over when the next begins.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)
        self._started = self._stage_started = time.monotonic()
        # Parts of the whole: what earlier stages were, and what was there without any work of this process.
        self._before = self._given = 0.0
        self._next = 0
        self.stage, self.unit = "", ""
        self.total = self.count = self._first_count = 0

    def begin(self, stage: str, total: int, done: int, unit: str) -> None:
        """Begin a stage of ``total`` units, of which ``done`` are complete already."""
        self._before += self._part(self.stage)
        names = list(self._weights)
        if stage in names:
            place = names.index(stage)
            self._before = sum(map(self._part, names[:place]))
            self._given += sum(map(self._part, names[self._next : place]))  # they were not needed
            self._next = place + 1
        self.stage, self.total, self.unit = stage, total, unit
        self.count = self._first_count = min(done, total)
        self._given += self._part(stage) * self._share(self.count)
        self._stage_started = time.monotonic()

    def advance(self, count: int, unit: str) -> None:
        """Count units of the stage; other units are not its own."""
        if unit == self.unit:
            self.count += count

    @property
    def fraction(self) -> float:
        """The part of the whole work that is done, below 1 until the last stage is."""
        return min(self._before + self._part(self.stage) * self._share(self.count), 1.0)

    @property
    def seconds(self) -> float:
        """How long the run has taken."""
        return time.monotonic() - self._started

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the speed so far; ``None`` while nothing shows that."""
        done = self.fraction - self._given
        return self.seconds * (1 - self.fraction) / done if done > 0 else None

    @property
    def rate(self) -> float | None:
        """How many units of the stage are done in a second; ``None`` while it has counted none."""
        seconds, counted = time.monotonic() - self._stage_started, self.count - self._first_count
        return counted / seconds if counted and seconds > 0 else None

    def _part(self, stage: str) -> float:
        return self._weights.get(stage, 0.0) / (sum(self._weights.values()) or 1.0)

    def _share(self, count: int) -> float:
        return min(count / self.total, 1.0) if self.total else 0.0
