"""What follows a run: the time of each phase, the progress as a whole, and the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..console.progress import Progress
from ..console.wording import plural
from .phases import Phase, Stopwatch
from .planning.plan import Plan

logger = logging.getLogger("migrator.run")
# Without any handler, logging itself would print errors to standard error, where the command shows them already.
logger.addHandler(logging.NullHandler())

# How much work a phase is, compared with copying the rows. The others take a few seconds.
WEIGHTS: Mapping[Phase, float] = {
    Phase.RECHECK: 0.5,
    Phase.COPYING: 1.0,
    Phase.INDEXES: 0.5,
    Phase.COMPARING: 1.0,
    Phase.WRITING: 0.2,
    Phase.VERIFICATION: 0.1,
}
# Of a verification that compares all values.
WEIGHT_OF_VALUES = 1.0


class RunMonitor:
    """Follows a run from phase to phase: keeps their times, shows them, and logs them."""

    def __init__(self, progress: Progress, stopwatch: Stopwatch | None = None) -> None:
        self._progress, self.stopwatch = progress, stopwatch or Stopwatch()

    def enter(self, phase: Phase, total: int = 0, *, done: int = 0, unit: str = "rows", ticks: bool = False) -> None:
        """Begin a phase; its tasks count ``total`` units, of which ``done`` are complete already.

        ``ticks`` is that of :meth:`~migrator.console.progress.Progress.stage`.
        """
        self.stopwatch.begin(phase)
        self._progress.stage(phase, total, done=done, unit=unit, ticks=ticks)
        logger.info("%s%s", phase.capitalize(), f": {total:,} {unit}" if total else "")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for the user's answer; that time is not the run's."""
        phase = self.stopwatch.phase
        self.stopwatch.begin(Phase.WAITING)
        yield
        self.stopwatch.begin(phase)

    def log_plan(self, plan: Plan) -> None:
        """Log what a run will do."""
        rows = sum(planned.source_rows for planned in plan.tables)
        logger.info(
            "Plan: %s of %s from %r to %r",
            plural(rows, "row"),
            plural(len(plan.tables), "table"),
            plan.source.alias,
            plan.dest.alias,
        )

    @contextmanager
    def showing(self, plan: Plan, *, compares_values: bool) -> Iterator[None]:
        """Show the whole of what follows as one piece of work."""
        with self._progress.run(weights_of(plan, compares_values=compares_values)):
            yield


def weights_of(plan: Plan, *, compares_values: bool) -> dict[str, float]:
    """Return how much work each phase of a run is that may take long, in their order."""
    if plan.updates:
        phases = [Phase.COMPARING, Phase.WRITING, Phase.VERIFICATION]
    else:
        phases = [Phase.COPYING, *([Phase.INDEXES] if plan.deferred else []), Phase.VERIFICATION]
    if plan.is_resumed:
        phases.insert(0, Phase.RECHECK)
    weights = {str(phase): WEIGHTS[phase] for phase in phases}
    if compares_values:
        weights[Phase.VERIFICATION] += WEIGHT_OF_VALUES
    return weights
